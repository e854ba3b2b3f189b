"""Batches and samples as PyTorch tensors.

`TorchStream` gives whole batches in the order of `Reader.batches`; its threads read ahead, into the
next epoch too, so it needs no worker processes. `TorchSamples` is a map-style view, for a sampler
of one's own.
docs/training.md has starts for PyTorch, Lightning, Accelerate and the trainer of Hugging Face.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from voxelmill.engine.batches import Batch, Batches
from voxelmill.engine.errors import StoreError
from voxelmill.engine.share import WorkerBatches
from voxelmill.engine.torch_memory import buffers, tensors
from voxelmill.engine.torch_samples import TorchSamples

__all__ = ["TorchSamples", "TorchStream"]

MOST_WORKERS = 256
_EPOCH, _DELIVERED, _GOES_ON, _WRITTEN, _WORKERS = 0, 1, 2, 3, 4  # in `_shared`
_PASS_BIT, _BITS = 32, 2**32 - 1  # a worker tells its pass and its epoch in one number, at once
_OWN = ("_batches", "_pass", "_worker", "_numbers")  # what does not leave a process


class TorchStream(IterableDataset[Batch]):
    """Whole batches of `size` samples, as tensors; each `for` gives an epoch.

    source:      a reader, several mixed, or the stream of a spec.
    rank, ranks: by default those of torch.distributed, if it is initialised when the stream is
                 used, else 0 of 1.
    pin_memory:  whether arrays are read straight into pinned memory; by default if CUDA is there.
    options:     as for `Reader.batches`.

    A batch is a dict of tensors, sample axis first; ragged fields are `Rows(values, starts)` of
    tensors, or padded. It is never overwritten. As with every loader of torch, a new `for` is a
    new epoch, also when the last was left early; inside an epoch it goes on only after
    `load_state_dict` or an error. Iterate it as it is, or by DataLoader(stream, batch_size=None).
    """

    _numbers: NDArray[np.int64]  # of `_shared`, whose tensor is slow to write to
    _batches: Batches | None
    _worker: WorkerBatches | None
    _pass: "_Pass | None"
    _built: tuple[int, ...]  # process, rank and ranks that these are of
    _loaded: bool  # whether a state was loaded in this worker

    def __init__(
        self,
        source: Any,
        size: int,
        *,
        rank: int | None = None,
        ranks: int | None = None,
        pin_memory: bool | None = None,
        epoch: int = 0,
        **options: Any,
    ) -> None:
        if isinstance(source, str | os.PathLike):
            raise TypeError(f"TorchStream takes what open_store gives: open_store({str(source)!r})")
        if (rank is None) != (ranks is None):
            raise ValueError(f"rank={rank} and ranks={ranks}: give both, or none of them")
        for name, cure in {"out": "pin_memory=", "epochs": "a loop around it"}.items():
            if name in options:
                raise ValueError(f"{name}= is not for TorchStream; use {cure}")
        self.source, self.size, self._options, self._pin = source, size, options, pin_memory
        self._given = None if rank is None or ranks is None else (rank, ranks)
        self._refuse_bad(epoch)
        self._sent: tuple[int, int] | None = None  # rank and ranks of who started this worker
        # What the process of a loader and its workers tell each other: where the stream stands,
        # how often that was written, and of each worker which its last pass was and the epoch
        # behind that, -1 if it had none since.
        self._shared = torch.full((_WORKERS + MOST_WORKERS,), -1, dtype=torch.int64)
        self._written = self._passes = 0  # so often by this process, so many passes of it
        self._shared.share_memory_()  # type: ignore[no-untyped-call]
        self._open_nothing()
        self._stand(epoch, 0, goes_on=False)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process needs."""
        kept = {k: v for k, v in self.__dict__.items() if k not in _OWN}
        try:
            return kept | {"_sent": self._where()}
        except ValueError:  # it was not to be asked yet
            return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a worker process."""
        self.__dict__.update(state)
        self._open_nothing()

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        return f"TorchStream({self.source!r}, {self.size})"

    def __len__(self) -> int:
        """The batches of a whole epoch, of this rank."""
        return len(self._stream())

    def __iter__(self) -> "_Pass":
        """The next epoch; after `load_state_dict` or an error, the rest of that one."""
        if get_worker_info() is not None:
            worker, number = self._as_worker(), self._number_of_pass()
            if self._loaded:
                self._loaded = False
            else:
                worker.go_to(*self._next_of_worker(number))
            # One of an earlier pass that was left, and that comes late, has no say.
            if self._passes > 1 or self._written == self._numbers[_WRITTEN]:
                self._numbers[_WORKERS + worker.number] = number << _PASS_BIT | worker.epoch + 1
            self._pass = _Pass(self, worker)
            return self._pass
        batches, (epoch, delivered, goes_on) = self._stream(), self._standing()
        if delivered and not goes_on:
            epoch, delivered = epoch + 1, 0
        self._go_to(batches, epoch, delivered)
        self._stand(epoch, delivered, goes_on=False)
        self._pass = _Pass(self, batches)
        return self._pass

    def set_epoch(self, epoch: int) -> None:
        """The next `for` takes `epoch`: from its start, or where a state inside it was loaded.

        Workers of a loader hear of it too.
        """
        at, _, goes_on = self._standing()
        if at == epoch and goes_on:
            return
        if self._batches is not None:
            self._go_to(self._stream(), epoch, 0)
        self._stand(epoch, 0, goes_on=False)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: see `Batches.state_dict`; the same on all ranks after the same step.

        In a worker process it is where that worker stands. Raises StoreError in the process of a
        loader whose workers have read: it does not know how far.
        """
        if get_worker_info() is not None:
            return self._as_worker().state_dict()
        if bool((self._numbers[_WORKERS:] >= 0).any()):
            raise StoreError(
                "batches were read by worker processes, and only they know how far: take "
                "num_workers=0, or torchdata's StatefulDataLoader and the state of that"
            )
        return self._stream().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, also on other ranks and with another batch size.

        Raises StoreError, saying what differs, for a state that does not fit.
        """
        if get_worker_info() is not None:
            self._as_worker().load_state_dict(state)
            self._loaded = True
            return
        batches = self._stream()
        batches.load_state_dict(state)
        self._stand(*batches.at, goes_on=True)

    def following(self, turn: "_Pass") -> Batch:
        """The next batch of a pass, for `_Pass`."""
        if self._pass is not turn:
            raise RuntimeError("a later `for` over this stream has begun; make a stream for each")
        batches = turn.batches
        try:
            batch = next(batches)
        except StopIteration:
            self._pass = None
            raise
        except BaseException:
            if isinstance(batches, Batches):
                self._numbers[_GOES_ON] = 1
            raise
        finally:
            if isinstance(batches, Batches):
                self._numbers[_EPOCH], self._numbers[_DELIVERED] = batches.at
        return {name: tensors(value) for name, value in batch.items()}

    def _refuse_bad(self, epoch: int) -> None:
        """Raise what the first batch would, but for the rank and for what only params can tell."""
        rank, ranks = self._given or (0, 1)
        costly = ("split", "where")
        options = {k: v for k, v in self._options.items() if k not in costly}
        self.source.batches(self.size, rank=rank, ranks=ranks, epoch=epoch, **options)

    def _open_nothing(self) -> None:
        self._batches = self._worker = self._pass = None
        self._numbers = self._shared.numpy()
        self._built, self._loaded = (), False

    @staticmethod
    def _go_to(batches: Batches, epoch: int, delivered: int) -> None:
        """Stand there, and keep what was read ahead if it is of there."""
        if batches.at == (epoch, delivered):
            iter(batches)  # the end of the last epoch may not have been met
            return
        position = {"epoch": epoch, "delivered": delivered}
        batches.load_state_dict(batches.state_dict() | position)

    def _standing(self) -> tuple[int, int, bool]:
        epoch, delivered, goes_on = self._numbers[:_WRITTEN].tolist()
        return epoch, delivered, bool(goes_on)

    def _stand(self, epoch: int, delivered: int, *, goes_on: bool) -> None:
        """Write down where the stream stands; what workers did before no longer counts."""
        self._written += 1
        self._numbers[:_WORKERS] = epoch, delivered, goes_on, self._written
        self._numbers[_WORKERS:] = -1

    def _where(self) -> tuple[int, int]:
        """Rank and ranks."""
        if self._given is not None:
            return self._given
        if get_worker_info() is not None and self._sent is not None:
            return self._sent
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        world = os.environ.get("WORLD_SIZE", "1")
        if world.isdecimal() and int(world) > 1:
            raise ValueError(
                f"WORLD_SIZE is {world}, but torch.distributed is not initialised, and all "
                "processes would read the same samples: initialise it before the stream is used, "
                "or pass rank= and ranks="
            )
        return 0, 1

    def _stream(self) -> Batches:
        """The batches of this process and rank, made where the stream stands."""
        built = (os.getpid(), *self._where())
        if self._batches is None or built != self._built:
            epoch, delivered, _ = self._standing()
            batches = self._made(epoch)
            batches.read_on()
            self._go_to(batches, epoch, delivered)
            self._batches, self._built = batches, built
        return self._batches

    def _made(self, epoch: int) -> Batches:
        rank, ranks = self._where()
        out = buffers(self.source, self.size, self._options, pinned=self._pins())
        batches: Batches = self.source.batches(
            self.size, rank=rank, ranks=ranks, epoch=epoch, out=out, **self._options
        )
        return batches

    def _pins(self) -> bool:
        if get_worker_info() is not None:
            return False  # what a worker sends is copied into shared memory
        return torch.cuda.is_available() if self._pin is None else self._pin

    def _as_worker(self) -> WorkerBatches:
        """The share of this worker process."""
        info = get_worker_info()
        if self._worker is None or self._built != (os.getpid(), *self._where()):
            if info is None or info.num_workers > MOST_WORKERS:
                raise ValueError(f"at most {MOST_WORKERS} workers; none is recommended")
            self._worker = WorkerBatches(self._made(0), info.id, info.num_workers)
            self._built = (os.getpid(), *self._where())
        return self._worker

    def _number_of_pass(self) -> int:
        """What the workers of one pass of a loader have in common, and of two passes rarely."""
        info = get_worker_info()
        self._passes += 1
        seed = 0 if info is None else info.seed - info.id
        return (seed + self._passes) & (_BITS >> 1)

    def _next_of_worker(self, number: int) -> tuple[int, int]:
        """The epoch that the workers of pass `number` take, and from where."""
        epoch, delivered, goes_on = self._standing()
        first = (epoch + 1, 0) if delivered and not goes_on else (epoch, delivered)
        told = self._numbers[_WORKERS:].copy()  # others write meanwhile
        following, passes = np.where(told < 0, -1, told & _BITS), told >> _PASS_BIT
        same = following[passes == number].max(initial=-1)  # of those that began this pass
        own = self._as_worker().number
        if passes[own] == number and following[own] == same:  # an earlier one from the same seed
            same = -1
        chosen = int(same) - 1 if same >= 0 else int(following.max())
        return first if chosen in (-1, first[0]) else (chosen, 0)


class _Pass(Iterator[Batch]):
    """One epoch of a stream."""

    def __init__(self, stream: TorchStream, batches: Batches | WorkerBatches) -> None:
        self._stream, self.batches = stream, batches
        self._ended = False

    def __next__(self) -> Batch:
        if self._ended:
            raise StopIteration
        try:
            return self._stream.following(self)
        except StopIteration:
            self._ended = True
            raise
