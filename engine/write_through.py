"""A spec read while its store is made: each sample is rendered once and kept.

A thread of this process makes the store, shard by shard in ascending order, as `voxelmill make`
would, and as fast as it can: what is ahead of the reader lies on the disk, so that memory stays
bounded. The reader follows it (`engine.follow`): the first epoch takes shards in ascending windows
of one, later ones the normal order. Only whole shards are committed; a process that ends leaves a
store that the same call, or `voxelmill make`, goes on with.
"""

from pathlib import Path
from threading import Event, Thread
from typing import Any
from weakref import finalize

from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.batches import Batches, Begin, Buffers, Pending
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError, VoxelmillError
from voxelmill.engine.follow import Following
from voxelmill.engine.made import Made
from voxelmill.engine.order import Shuffle
from voxelmill.engine.plan import Plan
from voxelmill.engine.reader import Reader
from voxelmill.engine.run_local import make


class WriteThrough(Reader):
    """A store that this process makes while it reads it; `[i]` waits for the shard of `i`.

    The making ends when it is closed, or dropped together with all batches of it. Raises what
    `make` raises, also later, when a batch is asked for that will never come.
    """

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self._maker = _Maker(plan, path)
        self._maker.wait_opened()
        super().__init__(path, follow=True)
        self._made = _Coming(self._made, self.description)
        finalize(self, self._maker.stop)  # also at exit: threads must not outlive the interpreter

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it only follows what this one makes."""
        return _following, (self.location,)

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        return f"WriteThrough({str(self.location)!r}, count={len(self)})"

    def batches(
        self, size: int, shuffle: bool | Shuffle = True, *, window: int = 1, **how: Any
    ) -> Batches:
        """As `Reader.batches`; the first batch waits for `window` shards, by default one."""
        return super().batches(size, shuffle, window=window, **how)

    def start(self, indices: ArrayLike, fields: Any = None, out: Buffers | None = None) -> Pending:
        """As `Reader.start`; `result()` waits until the samples are made."""
        return self.begin_made(self.checked(indices), self.checked_names(fields), out)

    def close(self) -> None:
        """Stop making; the shard in hand is given up, and the same call goes on with it."""
        self._maker.stop()

    def raise_failed(self) -> None:
        """Raise the error that ended the making, if one did."""
        self._maker.raise_failed(self.location.path)

    def _begin(self) -> Begin:
        made = self._made.shards
        return self.begin if made is None else _Watching(self, made).begin


class _Coming(Made):
    """Nothing is refused: what is not made yet comes."""

    def __init__(self, made: Made, description: Description) -> None:
        self._description, self.shards = description, made.shards

    def refuse_lacking(self, indices: NDArray[Any]) -> None:
        """See `Made.refuse_lacking`."""


class _Watching(Following):
    """Waits for shards, as long as they are still being made."""

    reader: WriteThrough

    def lacking(self, indices: NDArray[Any]) -> list[int]:
        """See `Following.lacking`."""
        lacking = super().lacking(indices)
        if lacking:
            self.reader.raise_failed()
            lacking = super().lacking(indices)  # the maker may have ended between the two looks
        return lacking


class _Stop(VoxelmillError):
    """The reader is closed."""


class _Maker:
    """The thread that makes the store."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self._plan, self._path = plan, path
        self._error: BaseException | None = None
        self._stopping = False
        self._opened = Event()
        self._thread = Thread(target=self._run, name="voxelmill-make", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            make(self._plan, self._path, progress=self._progress)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for a sample
            self._error = error
        finally:
            self._opened.set()

    def _progress(self, samples: int, nbytes: int, doing: str) -> None:
        self._opened.set()
        if self._stopping:
            raise _Stop

    def wait_opened(self) -> None:
        """Return when the store is there, or raise why it cannot be made."""
        self._opened.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()

    def raise_failed(self, path: Path) -> None:
        if isinstance(self._error, _Stop):
            raise StoreError(f"{path}: its reader was closed before all was made; open it again")
        if self._error is not None:
            raise self._error


def _following(location: Any) -> Reader:
    return Reader(location, follow=True)
