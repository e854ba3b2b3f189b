"""Memory that arrays and PyTorch tensors share: views of it, and buffers to read batches into."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxelmill.engine.convert import Convert
from voxelmill.engine.recycled import Forms, Fresh, Recycled
from voxelmill.engine.sample import Field, Rows


def tensors(value: Any) -> Any:
    """A tensor on the memory of an array; `Rows` of two. Of pinned memory, the very tensor."""
    if isinstance(value, Rows):
        return Rows(tensors(value.values), tensors(value.starts))
    owner = value
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, torch.Tensor) and owner.shape[1:] == value.shape[1:]:
        return owner[: len(value)]
    return torch.from_numpy(value if value.flags.writeable else value.copy())


def buffers(source: Any, size: int, options: Mapping[str, Any], *, pinned: bool) -> Fresh:
    """What the dense fields of batches are read into, page-locked or not."""
    convert = Convert(options.get("scale") or {}, options.get("crop") or {})
    forms = {}
    for name in options.get("fields") or source.fields:
        f = source.fields.get(name)
        if isinstance(f, Field):
            forms[name] = ((size, *convert.shape(f)), convert.dtype(f))
    return Pinned(forms) if pinned else Recycled(forms)


class Pinned(Fresh):
    """Buffers that torch has page-locked.

    torch gives this memory to a later batch when nobody holds the tensor and the copies from it
    are done (an event on each stream that took part), so none is overwritten too early.
    """

    def __init__(self, forms: Forms) -> None:
        super().__init__(forms)
        # That of who takes the batches: the thread that asks would wake the first one.
        self._device = torch.cuda.current_device() if torch.cuda.is_available() else -1

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A buffer that nobody else holds, and no copy is made from."""
        shape, dtype = self.forms[name]
        with torch.cuda.device(self._device):
            return _locked(shape, torch.from_numpy(np.empty(0, dtype)).dtype).numpy()


def _locked(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, pin_memory=True)
