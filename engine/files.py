"""Files that are whole or not there: temporary name, fsync, rename, fsync of the folder.

A temporary file is called `<final name>.<space>.<pid>.<started>.<token>.partial`, so that whoever
finds it knows whether its writer still lives; <space> is where its pid counts (boot, container).
"""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxelmill.engine.errors import DiskFullError, StoreError
from voxelmill.engine.process import this_process

_PARTIAL = re.compile(r"\.([0-9a-f]{8})\.(\d+)\.(\d+)\.[0-9a-f]{12}\.partial$")
_STALE_SECONDS = 600  # of a temporary file whose writer is on another host
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Partial:
    """A file under a temporary name: bytes are appended and hashed; `rename` makes it appear."""

    def __init__(self, final: Path) -> None:
        import xxhash

        self.final = final
        self.path = temporary_name(final)
        self.size = 0
        self._hash = xxhash.xxh3_128()
        self._file = open(self.path, "xb", buffering=1 << 20)  # noqa: SIM115 - outlives this call

    def write(self, data: Any) -> int:
        """Append a buffer; returns the offset at which it stands."""
        offset = self.size
        self._file.write(data)
        self._hash.update(data)
        self.size += memoryview(data).nbytes
        return offset

    def close(self) -> str:
        """Put everything on the disk; returns the xxh3-128 of the file in hexadecimal."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return str(self._hash.hexdigest())

    def rename(self) -> None:
        """Give the file its name; its folder is still to be synced."""
        os.replace(self.path, self.final)

    def abandon(self) -> None:
        """Remove the temporary file; the final name is left as it was."""
        with suppress(OSError):  # a full disk: what is in the buffer cannot be written
            self._file.close()
        with suppress(FileNotFoundError):
            self.path.unlink()


def temporary_name(final: Path) -> Path:
    """A name beside `final` that no other writer has."""
    me = this_process()
    tag = f"{me.space}.{me.pid}.{me.started}.{secrets.token_hex(6)}"
    return final.with_name(f"{final.name}.{tag}.partial")


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that readers, also after a crash, see the old bytes or the new."""
    temporary = temporary_name(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, top: Path) -> None:
    """Make `folder` below `top` (which exists), each new name synced into its parent."""
    if folder == top or folder.is_dir():
        return
    make_folders(folder.parent, top)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def is_partial(name: str) -> bool:
    """Whether a file of this name is one that a writer had not finished."""
    return _PARTIAL.search(name) is not None


def is_leftover(path: Path) -> bool:
    """Whether `path` is a temporary file whose writer is dead (or, elsewhere, silent for long)."""
    found = _PARTIAL.search(path.name)
    if found is None:
        return False
    space, pid, start = found[1], int(found[2]), int(found[3])
    me = this_process()
    if space == me.space:
        return replace(me, pid=pid, started=start).gone()
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    return False


def partials(top: Path) -> Iterator[Path]:
    """All temporary files below `top`, live and dead, in order of their names."""
    for folder, folders, names in os.walk(top):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names) if is_partial(name))


@contextmanager
def write_errors(path: Path, needed: int, saved: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Turn what the system says about a failed write below `path` into words.

    needed: bytes that the step writes at most, 0 where few; saved: says what is safe.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            free = shutil.disk_usage(_nearest(path)).free
            due = f"up to {needed:,} bytes are needed and " if needed else ""
            raise DiskFullError(
                f"{path}: the disk is full: {due}{free:,} are free; {saved()}free some space and "
                "run the same `voxelmill make` again"
            ) from error
        raise StoreError(
            f"{path}: cannot be written ({error.strerror}: {error.filename}); choose a folder "
            "that you may write with -o, or change its permissions"
        ) from error


def _nearest(path: Path) -> Path:
    """The lowest folder of `path` that exists."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())
