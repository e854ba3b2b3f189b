"""Batches and samples as PyTorch tensors.

`TorchStream` gives whole batches in the order of `Reader.batches`; its threads read ahead, so it
needs no worker processes. `TorchSamples` is a map-style view, for a sampler of one's own.
docs/training.md has starts for PyTorch, Lightning, Accelerate and the trainer of Hugging Face.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from voxelmill.engine.batches import Batch, Batches
from voxelmill.engine.convert import Convert
from voxelmill.engine.errors import StoreError
from voxelmill.engine.sample import Field, Ragged, Rows
from voxelmill.engine.share import WorkerBatches

__all__ = ["TorchSamples", "TorchStream"]

MOST_WORKERS = 256
_MOST_AHEAD = 64  # batches, in pinned memory
_EPOCH, _DELIVERED, _GOES_ON, _WORKERS = 0, 1, 2, 3  # in `_shared`
_OWN = ("_batches", "_pass", "_worker")  # what does not leave a process


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
        if (rank is None) != (ranks is None):
            raise ValueError(f"rank={rank} and ranks={ranks}: give both, or none of them")
        for name, cure in {"out": "pin_memory=", "epochs": "a loop around it"}.items():
            if name in options:
                raise ValueError(f"{name}= is not for TorchStream; use {cure}")
        self.source, self.size, self._options, self._pin = source, size, options, pin_memory
        self._given = None if rank is None or ranks is None else (rank, ranks)
        self._sent: tuple[int, int] | None = None  # rank and ranks of who started this worker
        # What the process of a loader and its workers tell each other: where the stream stands,
        # and of each worker the epoch that it takes next, -1 if it had none since.
        self._shared = torch.full((_WORKERS + MOST_WORKERS,), -1, dtype=torch.int64)
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
            worker = self._as_worker()
            if self._loaded:
                self._loaded = False
            else:
                worker.go_to(*self._next_of_worker())
            self._shared[_WORKERS + worker.number] = worker.epoch + 1
            self._pass = _Pass(self, worker)
            return self._pass
        batches, (epoch, delivered, goes_on) = self._stream(), self._standing()
        if delivered and not goes_on:
            epoch, delivered = epoch + 1, 0
        # Anew in each case: who took exactly `len` batches has not met the end of the last epoch.
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
        if bool((self._shared[_WORKERS:] >= 0).any()):
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
        reached = batches.state_dict()
        self._stand(reached["epoch"], reached["delivered"], goes_on=True)

    def following(self, turn: "_Pass") -> Batch:
        """The next batch of a pass, for `_Pass`."""
        if self._pass is not turn:
            raise RuntimeError("a later `for` over this stream has begun; make a stream for each")
        in_worker, batches = isinstance(turn.batches, WorkerBatches), turn.batches
        try:
            batch = next(batches)
        except StopIteration:
            self._pass = None
            raise
        except BaseException:
            if not in_worker:
                self._shared[_GOES_ON] = 1
            raise
        finally:
            if not in_worker:
                state = batches.state_dict()
                self._shared[:_GOES_ON] = torch.tensor([state["epoch"], state["delivered"]])
        return {name: _tensors(value) for name, value in batch.items()}

    def _open_nothing(self) -> None:
        self._batches = self._worker = self._pass = None
        self._built, self._loaded = (), False

    @staticmethod
    def _go_to(batches: Batches, epoch: int, delivered: int) -> None:
        position = {"epoch": epoch, "delivered": delivered}
        batches.load_state_dict(batches.state_dict() | position)

    def _standing(self) -> tuple[int, int, bool]:
        epoch, delivered, goes_on = self._shared[:_WORKERS].tolist()
        return epoch, delivered, bool(goes_on)

    def _stand(self, epoch: int, delivered: int, *, goes_on: bool) -> None:
        """Write down where the stream stands; what workers did before no longer counts."""
        self._shared[:_WORKERS] = torch.tensor([epoch, delivered, goes_on])
        self._shared[_WORKERS:] = -1

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
            self._go_to(batches, epoch, delivered)
            self._batches, self._built = batches, built
        return self._batches

    def _made(self, epoch: int) -> Batches:
        rank, ranks = self._where()
        out = _pinned(self.source, self.size, self._options) if self._pins() else {}
        batches: Batches = self.source.batches(
            self.size, rank=rank, ranks=ranks, epoch=epoch, **self._options, **out
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

    def _next_of_worker(self) -> tuple[int, int]:
        """The epoch that this worker takes next, and from where."""
        following = int(self._shared[_WORKERS + self._as_worker().number])
        if following >= 0:
            return following, 0
        epoch, delivered, goes_on = self._standing()
        return (epoch + 1, 0) if delivered and not goes_on else (epoch, delivered)


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
        wanted = np.asarray(indices, np.int64)
        outside = (wanted < 0) | (wanted >= len(self))
        if outside.any():
            raise IndexError(f"{wanted[outside][0]} is not in [0, {len(self)}) of {self.source}")
        batch = self.source.begin(wanted, self._names).result()
        whole = {name: _tensors(value) for name, value in batch.items()}
        return [{k: _one(v, i) for k, v in whole.items()} for i in range(len(wanted))]

    def collate(self, samples: Sequence[Batch]) -> Batch:
        """A batch of samples, as `TorchStream` gives it."""
        batch: Batch = {}
        for name in samples[0]:
            values = [s[name] for s in samples]
            if isinstance(self.source.fields.get(name), Ragged):
                lengths = torch.tensor([0, *(len(v) for v in values)])
                batch[name] = _rows(torch.cat(values), lengths.cumsum(0))
            else:
                batch[name] = torch.stack(values)
        return batch


class _Fresh(Mapping[str, NDArray[Any]]):
    """Buffers that are new memory each time they are asked for, page-locked by torch.

    torch gives this memory to a later batch when nobody holds the tensor and the copies from it
    are done (an event on each stream that took part), so none is overwritten too early.
    """

    def __init__(self, forms: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
        self._forms = forms

    def __getitem__(self, name: str) -> NDArray[Any]:
        shape, dtype = self._forms[name]
        return _locked(shape, torch.from_numpy(np.empty(0, dtype)).dtype).numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


def _locked(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, pin_memory=True)


def _pinned(source: Any, size: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What `batches` must be told to read dense fields into page-locked memory."""
    convert = Convert(options.get("scale") or {}, options.get("crop") or {})
    forms = {}
    for name in options.get("fields") or source.fields:
        f = source.fields.get(name)
        if isinstance(f, Field):
            forms[name] = ((size, *convert.shape(f)), convert.dtype(f))
    return {"out": [_Fresh(forms)] * (1 + _MOST_AHEAD)}


def _tensors(value: Any) -> Any:
    """A tensor on the memory of an array; `Rows` of two. Of pinned memory, the very tensor."""
    if isinstance(value, Rows):
        return _rows(_tensors(value.values), _tensors(value.starts))
    owner = value
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, torch.Tensor) and owner.shape[1:] == value.shape[1:]:
        return owner[: len(value)]
    return torch.from_numpy(value if value.flags.writeable else value.copy())


def _rows(values: Any, starts: Any) -> Rows:
    return Rows(values, starts)


def _one(value: Any, i: int) -> Any:
    if isinstance(value, Rows):
        return value.values[int(value.starts[i]) : int(value.starts[i + 1])]
    return value[i]
