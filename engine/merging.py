"""A batch of several stores out of what each of them reads."""

from collections.abc import Sequence

import numpy as np

from voxelmill.engine.batches import Batch, Buffers, Pending
from voxelmill.engine.local import refuse_unfit
from voxelmill.engine.permutation import Indices
from voxelmill.engine.sample import Rows


class Merging:
    """A batch of which each store reads its samples."""

    def __init__(
        self, store: Indices, parts: dict[int, Pending], names: Sequence[str], out: Buffers
    ) -> None:
        self._store, self._parts, self._names, self._out = store, parts, names, out

    def result(self) -> Batch:
        """Wait for all stores: as of one, with "store", the number of each sample's store."""
        found = {k: part.result() for k, part in self._parts.items()}
        place = np.argsort(self._store, kind="stable")  # of the samples as the stores give them
        batch: Batch = {}
        for name in [*self._names, "index"]:
            values = [part[name] for part in found.values()]
            if isinstance(values[0], Rows):
                batch[name] = _merged_rows(values, place)
                continue
            shape, dtype = (len(place), *values[0].shape[1:]), values[0].dtype
            merged = self._out[name] if name in self._out else np.empty(shape, dtype)
            refuse_unfit(name, merged, shape, dtype)
            for k, value in zip(found, values, strict=True):
                merged[self._store == k] = value
            batch[name] = merged
        return batch | {"store": self._store}


def _merged_rows(parts: list[Rows], place: Indices) -> Rows:
    """The rows of all parts, where sample j of the parts together is sample `place[j]`."""
    values = np.concatenate([p.values for p in parts])
    counts = np.concatenate([np.diff(p.starts) for p in parts])
    firsts = np.cumsum(counts) - counts
    source = np.argsort(place)
    starts = np.concatenate([[0], np.cumsum(counts[source])])
    row = np.arange(starts[-1]) + np.repeat(firsts[source] - starts[:-1], counts[source])
    return Rows(values[row], starts)
