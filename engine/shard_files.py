"""Open shard files: bounded in number, read at offsets, told to the kernel ahead of time.

Sizes are compared with the commit records when a file is opened, and every read is of a known
length, so that a file that was cut since is an error here and nothing worse.
"""

import errno
import mmap
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import google_crc32c
import numpy as np
from numpy.typing import NDArray

NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_PIECE = 8 << 20
_AWAITED = 256 << 20  # that a load has yet to bring when it is still waited for
_MOST_OPEN, _LEAST_OPEN = 4096, 16
_ABSENT = 2**64 - 1
_NEAR = 1 << 16  # bytes in front of the index from which a mark has the checksums


class Damage(Exception):
    """What is wrong with a shard file: `what` ("is damaged", "is missing") and `why`.

    It never leaves the reader: it becomes a StoreError that names the file.
    """

    def __init__(self, why: str, what: str = "is damaged") -> None:
        super().__init__(what, why)
        self.what, self.why = what, why


class ShardFile:
    """An open shard file. It is closed when nobody holds it any more."""

    __slots__ = ("__weakref__", "_loaded", "_map", "_moved", "_path", "fd", "size")

    def __init__(self, path: str) -> None:
        self.fd, self._path = -1, path
        self._map: mmap.mmap | None = None
        self._loaded: int | None = None  # while `load` is at work: up to which byte it came
        self._moved = threading.Condition()
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self.fd).st_size

    def __del__(self, close: Any = os.close) -> None:
        """Close it; a map lives on for as long as something looks at it."""
        if self.fd >= 0:
            close(self.fd)

    def fill(self, buffers: Sequence[Any], offset: int, size: int) -> bool:
        """Read `size` bytes at `offset` into `buffers`, which are as long together.

        Returns whether they all were in the page cache. Raises Damage if the file is too short.
        """
        got, cached = 0, True
        try:
            got = os.preadv(self.fd, buffers, offset, NOWAIT)
        except BlockingIOError:
            cached = False
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise Damage(f"it cannot be read: {error.strerror}") from error
            cached = False  # a file system that cannot tell
        if got < size:
            cached = False
            self._rest(buffers, offset, size, max(got, 0))
        return cached

    def fill_mapped(self, buffers: Sequence[Any], offset: int, size: int) -> bool:
        """The same by a copy from a memory map."""
        if os.fstat(self.fd).st_size < offset + size:
            raise Damage(f"it ends before byte {offset + size}")
        if self._map is None:
            self._map = mmap.mmap(self.fd, 0, prot=mmap.PROT_READ)
        source: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        for buffer in buffers:
            to = np.frombuffer(buffer, np.uint8)
            np.copyto(to, source[offset : offset + len(to)])  # lets go of the GIL
            offset += len(to)
        return True

    def read(self, offset: int, size: int) -> bytearray:
        """`size` bytes at `offset`. Raises Damage if the file is too short."""
        data = bytearray(size)
        if offset < 0:
            raise Damage(f"it has {self.size} bytes only")
        self.fill((data,), offset, size)
        return data

    def expect(self, offset: int, size: int) -> None:
        """Ask the kernel to read ahead; a hint, so that no error matters."""
        with suppress(OSError):
            os.posix_fadvise(self.fd, offset, size, os.POSIX_FADV_WILLNEED)

    def cached(self, offset: int) -> bool | None:
        """Whether the byte at `offset` is in the page cache; None if the system cannot tell."""
        try:
            return os.preadv(self.fd, (bytearray(1),), offset, NOWAIT) >= 0
        except BlockingIOError:
            return False
        except OSError:
            return None

    @property
    def loading(self) -> bool:
        """Whether `load` is at work in another thread, and is to be waited for."""
        return self._loaded is not None

    def load(self, awaited: bool) -> None:
        """Bring all of it into the page cache, in one go and without a copy; waits for the disk.

        A sequential read makes large folios, from which `preadv` copies half as fast again as
        from the single pages that POSIX_FADV_WILLNEED and reads of single samples make. It has a
        file descriptor of its own, since the kernel keeps what it knows of a reader with it.
        awaited: who wants to read what is not there yet waits, see `wait_for`.
        """
        with suppress(OSError), open(self._path, "rb", buffering=0) as own:
            self._reach(0 if awaited else None)
            try:
                with open(os.devnull, "wb") as nowhere:
                    offset = 0
                    while sent := os.sendfile(nowhere.fileno(), own.fileno(), offset, _PIECE):
                        offset += sent
                        if awaited:
                            self._reach(offset)
            finally:
                self._reach(None)

    def wait_for(self, end: int) -> None:
        """Wait while `load` is about to bring the bytes before `end`.

        A disk that is asked for single samples meanwhile gives less of both. What `load` is far
        from is not waited for, so that the first batches of huge shards come soon.
        """
        with self._moved:
            while self._loaded is not None and self._loaded < end <= self._loaded + _AWAITED:
                self._moved.wait()

    def _reach(self, offset: int | None) -> None:
        with self._moved:
            self._loaded = offset
            self._moved.notify_all()

    def _rest(self, buffers: Sequence[Any], offset: int, size: int, done: int) -> None:
        views = [memoryview(b).cast("B") for b in buffers]
        while done < size:
            skip, left = done, []
            for view in views:
                if skip < len(view):
                    left.append(view[skip:])
                skip = max(0, skip - len(view))
            try:
                got = os.preadv(self.fd, left, offset + done)
            except OSError as error:
                raise Damage(f"it cannot be read: {error.strerror}") from error
            if not got:
                raise Damage(f"it ends before byte {offset + size}")
            done += got


_live: "WeakSet[Files]" = WeakSet()  # those of this process share its file descriptors


class Files:
    """Open files by path, the longest unused closed first.

    most: how many are held open; by default half of what the process may have, shared among all.
    """

    def __init__(self, most: int | None = None) -> None:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most, self._budget = most, min(_MOST_OPEN, max(0, soft) // 2 or _MOST_OPEN)
        self._open: OrderedDict[str, ShardFile] = OrderedDict()
        self._lock = threading.Lock()
        _live.add(self)

    def __len__(self) -> int:
        """How many are held open."""
        return len(self._open)

    def held(self, path: str) -> ShardFile | None:
        """The file at `path`, if it is held open."""
        with self._lock:
            file = self._open.get(path)
            if file is not None:
                self._open.move_to_end(path)
            return file

    def get(self, path: str, size: int | None) -> ShardFile:
        """The file at `path`, which has `size` bytes; None: any number. Raises Damage."""
        if (file := self.held(path)) is not None:
            return file
        file = self._opened(path)
        if size is not None and file.size != size:
            raise Damage(f"it has {file.size} bytes and {size} were committed")
        with self._lock:
            self._open[path] = file
            most = self._most or max(_LEAST_OPEN, self._budget // max(1, len(_live)))
            while len(self._open) > most:
                self._open.popitem(last=False)
        return file

    def clear(self) -> None:
        """Hold nothing open."""
        with self._lock:
            self._open.clear()

    def _opened(self, path: str) -> ShardFile:
        try:
            return ShardFile(path)
        except (FileNotFoundError, NotADirectoryError):
            raise Damage("there is no such file", "is missing") from None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._open:
                self.clear()  # the program itself has many open
                return self._opened(path)
            raise Damage(str(error.strerror), "cannot be opened") from error


def read_index(file: ShardFile, entries: int, check: bool) -> NDArray[Any]:
    """Where the inner chunks of a shard file are, from the index at its end.

    (n + 1,) bounds, four bytes each where they suffice, if the first n follow each other without
    a gap and the rest are absent: that is how shards are written. Else (entries, 2) offset and
    size, as stored. Raises Damage.
    """
    size = entries * 16 + 4
    data = file.read(file.size - size, size)
    stored, body = int.from_bytes(data[-4:], "little"), bytes(data[:-4])
    if check and google_crc32c.value(body) != stored:
        raise Damage("the checksum of its index is wrong")
    index = np.frombuffer(body, "<u8").reshape(entries, 2)
    there = index[:, 0] != _ABSENT
    known, limit = index[there], file.size - size
    if (known > limit).any() or (known.sum(1) > limit).any():
        raise Damage("its index points behind its end")
    bounds = np.append(np.uint64(0), known.cumsum(0)[:, 1]) if known.size else np.zeros(1, "u8")
    if there[: len(known)].all() and np.array_equal(bounds[:-1], known[:, 0]):
        return bounds.astype(np.uint32 if limit < 2**32 else np.uint64)
    return index


def read_mark(file: ShardFile, index: NDArray[Any]) -> bytes:
    """What tells a shard file from others of its size, in 8 bytes: see `engine.commit`.

    index: what `read_index` gave of it. Raises Damage if the file is too short.
    """
    ends = index[1:] if index.ndim == 1 else index[index[:, 0] != _ABSENT].sum(1)
    ends = ends.astype(np.int64)
    near = ends[ends > ends.max(initial=0) - _NEAR]
    crcs = b""
    if near.size:
        first, last = int(near.min()) - 4, int(near.max())
        data: NDArray[np.uint8] = np.frombuffer(file.read(first, last - first), np.uint8)
        crcs = data[(near - 4 - first)[:, None] + np.arange(4)].tobytes()
    return int(google_crc32c.value(crcs)).to_bytes(4, "little") + file.read(file.size - 4, 4)


def place_in(index: NDArray[Any], number: int) -> tuple[int, int]:
    """Offset and size of inner chunk `number`. Raises Damage if it is absent."""
    if index.ndim == 1:
        if number + 1 < len(index):
            first, last = index[number : number + 2].tolist()
            return first, last - first
    else:
        first, size = index[number].tolist()
        if first != _ABSENT:
            return first, size
    raise Damage(f"inner chunk {number} is absent")
