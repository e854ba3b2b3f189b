"""The part of a rank's batches that one worker process of a loader reads.

Worker w of W takes the steps w, w + W, w + 2W... of its rank, so the loader, which asks the
workers in turn, hands over the same batches in the same order as with no worker.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from voxelmill.engine.batches import Batch, Batches
from voxelmill.engine.errors import StoreError
from voxelmill.engine.order import Order
from voxelmill.engine.permutation import Indices


@dataclass(frozen=True)
class Share(Order):
    """The steps of `whole` that `worker` of `workers` takes; `Share.of` makes one.

    Its own `epoch` and `start` count, not those of `whole`.
    """

    whole: Order = field(kw_only=True)
    worker: int = field(kw_only=True)
    workers: int = field(kw_only=True)

    @classmethod
    def of(cls, whole: Order, worker: int, workers: int) -> "Share":
        """The share of one worker. Raises ValueError unless 0 <= worker < workers."""
        if not 0 <= worker < workers:
            raise ValueError(f"worker {worker} of {workers}: a worker is 0 or more, and below them")
        common = {f.name: getattr(whole, f.name) for f in fields(Order)}
        return cls(**common, whole=whole, worker=worker, workers=workers)

    @property
    def steps(self) -> int:
        """The steps of this worker from `start` on; not the same for all workers."""
        return len(range(self.worker, self._now().steps, self.workers))

    @property
    def name(self) -> str:
        """As that of the whole."""
        return self.whole.name

    def delivered(self, step: int) -> int:
        """The positions that all ranks have had when each of their workers did `step` steps."""
        return self._now().delivered(step * self.workers)

    def positions(self, step: int) -> Indices:
        """The positions of this worker in its own `step`."""
        return self._now().positions(step * self.workers + self.worker)

    def samples(self, positions: Indices) -> Indices:
        """The sample at each of the `positions`, as in the whole."""
        return self._now().samples(positions)

    def _now(self) -> Order:
        return replace(self.whole, epoch=self.epoch, start=self.start)


class WorkerBatches(Iterator[Batch]):
    """The share of one worker, one epoch at a time: `go_to` says which, and from where.

    batches: those of the rank, which this takes over.
    """

    def __init__(self, batches: Batches, worker: int, workers: int) -> None:
        self._batches, self._whole = batches, batches.order
        self.number, self._workers = worker, workers
        self.go_to(batches.order.epoch, batches.order.start)

    @property
    def epoch(self) -> int:
        """The epoch in which it stands."""
        return self._share.epoch

    def go_to(self, epoch: int, delivered: int) -> None:
        """Stand at a position of an epoch; at its very end there is nothing left."""
        here = replace(self._whole, epoch=epoch, start=delivered)
        self._share = Share.of(here, self.number, self._workers)
        self._batches.order, self._taken = self._share, 0
        if self._share.steps:
            position = {"epoch": epoch, "delivered": delivered}
            self._batches.load_state_dict(self._batches.state_dict() | position)

    def __next__(self) -> Batch:
        """The next batch of the epoch. Raises StoreError as `Batches` does."""
        if self._taken == self._share.steps:
            raise StopIteration
        batch = next(self._batches)
        self._taken += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where this worker stands. As many workers and ranks can go on from it, no others."""
        return self._batches.state_dict() | {
            "epoch": self._share.epoch,
            "delivered": self._share.delivered(self._taken),
            "worker": self.number,
            "workers": self._workers,
            "ranks": self._share.ranks,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, by this worker or by the process of the loader.

        Raises StoreError, saying what differs, for a state that does not fit.
        """
        own, wanted = self.state_dict(), dict(state)
        for name in ("worker", "workers", "ranks"):
            if wanted.pop(name, own[name]) != own[name]:
                raise StoreError(
                    f"the state is of a worker with {name} {state[name]}, and here it is "
                    f"{own[name]}: with worker processes, as many must go on; num_workers=0 has no "
                    "such bound"
                )
        self._batches.load_state_dict(wanted)  # refuses what does not fit
        self.go_to(wanted["epoch"], wanted["delivered"])
