"""A folder of this machine that keeps parts of remote stores, within a bound in bytes.

    <folder>/<store>/<array>/zarr.json, c/<shard>...   a Zarr store with holes

<store> is a hash of its manifest, so that a folder never holds anything else than its name says.
A file has the length of the whole shard from the start, and each inner chunk is written where it
belongs. Its own crc32c says whether it is there: a hole and a half-written chunk fail it, so
there are no locks, no lists of what is there, and any number of processes may write the same.

What is there stays: under a shuffle that is better than to throw out the least recently used
(of an epoch larger than the bound, the share that fits is read here, each epoch). Stores that
nobody has read for a while make room, the longest unread first.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from voxelmill.engine.errors import StoreError

BLOCK = 4096  # what a file system hands out at least
_SCAN_S = 1.0  # what other processes write is seen after this time
_TOUCH_S = 60.0
UNUSED_S = 600.0  # of a store that may be removed to make room


class Cache:
    """The folder and its bound. Processes that share a folder should give the same bound."""

    def __init__(self, folder: str | Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = Path(folder), most_bytes
        self._used, self._scanned, self._touched = 0, -_SCAN_S, -_TOUCH_S
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the cache folder {folder} cannot be made ({error.strerror}); name another one"
            ) from error

    def reserve(self, nbytes: int, store: str) -> bool:
        """Whether `nbytes` more of `store` fit, after others made room; they count from now."""
        with self._lock:
            now = time.monotonic()
            if now - self._scanned >= _SCAN_S:
                self._used, self._scanned = self.used(), now
                if self._used + nbytes > self.most_bytes:
                    self._used -= self._make_room(self._used + nbytes - self.most_bytes, store)
            if self._used + nbytes > self.most_bytes:
                return False
            self._used += nbytes
            return True

    def touch(self, store: str) -> None:
        """Say that `store` is in use; cheap."""
        now = time.monotonic()
        if now - self._touched >= _TOUCH_S:
            self._touched = now
            with suppress(OSError):
                os.utime(self.folder / store)

    def used(self) -> int:
        """The bytes of the disk that all files take."""
        return sum(size for _, size in _sizes(self.folder))

    def _make_room(self, nbytes: int, keep: str) -> int:
        """Remove stores that are not read any more; returns how many bytes became free."""
        freed, unused = 0, time.time() - UNUSED_S
        for store in sorted(_stores(self.folder), key=_last_use):
            if freed >= nbytes:
                break
            if store.name != keep and _last_use(store) < unused:
                freed += sum(size for _, size in _sizes(store))
                shutil.rmtree(store, ignore_errors=True)  # another process may do the same
        return freed


def _stores(folder: Path) -> list[Path]:
    try:
        return [Path(e.path) for e in os.scandir(folder) if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _last_use(store: Path) -> float:
    try:
        return store.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sizes(folder: Path) -> Iterator[tuple[Path, int]]:
    """All files below `folder` and what they take of the disk; holes take nothing."""
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            with suppress(FileNotFoundError):
                yield file, file.stat().st_blocks * 512
