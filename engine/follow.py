"""Batches of a store while it is still being made.

Epoch 0 takes the shards in ascending windows, the samples permuted inside each window by (seed,
epoch, window), each sample once: a weaker order than the global one, since no sample leaves its
window. It is a pure function all the same, so ranks and resuming are as ever; what is read only
waits until its shards are committed. From epoch 1 on the order is the normal one.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.batches import Batch, Buffers, Pending
from voxelmill.engine.commit import read_record, record_path
from voxelmill.engine.convert import Convert
from voxelmill.engine.errors import StoreError
from voxelmill.engine.owner import owners

if TYPE_CHECKING:
    from voxelmill.engine.reader import Reader

POLL_S = 0.2
_SLOWER_S = 2.0  # between looks, when nothing has come for long


class Following:
    """What begins to read samples of a store that is being made, once they are there.

    made: shard -> samples that are committed; it is kept up to date.
    """

    def __init__(self, reader: "Reader", made: dict[int, int]) -> None:
        self.reader, self.made = reader, made
        self._commits, self._progress = -1, time.monotonic()

    def begin(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """Begin at once if all samples are there; else `result()` of what it gives waits."""
        start = partial(self.reader.begin, indices, names, out, convert)
        return _Waiting(self, indices, start) if self.lacking(indices) else start()

    def lacking(self, indices: NDArray[np.int64]) -> list[int]:
        """The shards of `indices` that are not committed yet, ascending.

        A last shard that was not full counts as lacking until growing has made it anew.
        """
        description, lacking = self.reader.description, []
        for shard in np.unique(indices // description.samples_per_shard).tolist():
            due = description.samples_in(shard)
            if self.made.get(shard, 0) < due:
                record = read_record(record_path(self.reader.path, shard))
                sound = record is not None and record.shard == shard
                if record is not None and sound and record.may_be_of(description):
                    self.made[shard] = record.samples
                if self.made.get(shard, 0) < due:
                    lacking.append(shard)
        return lacking

    def wait(self, indices: NDArray[np.int64]) -> None:
        """Return when all samples are there.

        Raises StoreError when nothing was committed for `stall_s` and nobody is making shards.
        """
        self._progress, pause = time.monotonic(), POLL_S
        while lacking := self.lacking(indices):
            if self._came():
                pause = POLL_S
            stalled = time.monotonic() - self._progress
            if stalled >= self.reader.stall_s and not owners(self.reader.path):
                raise StoreError(self._stalled(lacking, stalled))
            time.sleep(min(pause, max(0.01, self.reader.stall_s / 4)))
            pause = min(_SLOWER_S, pause * 1.2)

    def _came(self) -> bool:
        """Whether shards were committed since it was last asked."""
        before, self._commits = self._commits, len(os.listdir(self.reader.path / "commits"))
        if self._commits > before >= 0:
            self._progress = time.monotonic()
            return True
        return False

    def _stalled(self, lacking: list[int], seconds: float) -> str:
        from voxelmill.engine.store import name_shards

        return (
            f"{self.reader.path}: {name_shards(lacking)} not made yet, nothing came for "
            f"{seconds:.0f} s, and nobody is making shards; run the same `voxelmill make` to go "
            "on, or pass a greater stall_s"
        )


class _Waiting:
    """A batch that begins when its shards are there."""

    begun = False

    def __init__(
        self, following: Following, indices: NDArray[np.int64], start: Callable[[], Pending]
    ) -> None:
        self._following, self._indices, self._start = following, indices, start

    def result(self) -> Batch:
        self._following.wait(self._indices)
        return self._start().result()
