"""The samples of a store by number as PyTorch tensors, for a sampler of one's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from voxelmill.engine.batches import Batch
from voxelmill.engine.sample import Ragged, Rows
from voxelmill.engine.torch_memory import tensors


class TorchSamples(Dataset[Batch]):
    """The samples of a store by number, as dicts of tensors; a list of them is one read.

    fields: all but "params" by default. With ragged ones give DataLoader collate_fn=its `collate`.
    """

    def __init__(self, source: Any, fields: Sequence[str] | None = None) -> None:
        self.source = source
        self._names = source.checked_names(list(source.fields) if fields is None else fields)

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        return f"TorchSamples({self.source!r}, {self._names})"

    def __len__(self) -> int:
        """The samples of the store."""
        return len(self.source)

    def __getitem__(self, index: int) -> Batch:
        """One sample; a ragged field is (row, column). Raises IndexError outside [0, count)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Several samples, which the loaders of torch ask for together."""
        wanted = self.source.checked(np.asarray(indices, np.int64))
        batch = self.source.begin(wanted, self._names).result()
        whole = {name: tensors(value) for name, value in batch.items()}
        return [{k: _one(v, i) for k, v in whole.items()} for i in range(len(wanted))]

    def collate(self, samples: Sequence[Batch]) -> Batch:
        """A batch of samples, as `TorchStream` gives it."""
        batch: Batch = {}
        for name in samples[0]:
            values = [s[name] for s in samples]
            if isinstance(self.source.fields.get(name), Ragged):
                lengths = torch.tensor([0, *(len(v) for v in values)])
                parts: list[Any] = [torch.cat(values), lengths.cumsum(0)]
                batch[name] = Rows(*parts)
            else:
                batch[name] = torch.stack(values)
        return batch


def _one(value: Any, i: int) -> Any:
    if isinstance(value, Rows):
        return value.values[int(value.starts[i]) : int(value.starts[i + 1])]
    return value[i]
