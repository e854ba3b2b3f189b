"""The files of one store in a cache: which inner chunks are there, and fetching those that are not.

A chunk is known to be there once its crc32c was right in this process, on the disk or on its way
from the server. `fetch` asks for what is not there, neighbours in one request.
"""

import os
import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.cache import BLOCK, Cache
from voxelmill.engine.description import Description
from voxelmill.engine.group import write_arrays, write_group
from voxelmill.engine.layout import array_metadata, inner_chunks, shard_files, start_name
from voxelmill.engine.ranges import Range, RangeReader, joined
from voxelmill.engine.sample import Ragged

File = tuple[str, int]  # array, shard
Slots = Mapping[File, NDArray[np.int64]]  # the inner chunks that are needed of each file

_ABSENT = 2**64 - 1
_ENTRY = np.dtype([("size", "<u8"), ("hash", "V16")])


class Mirror:
    """What the cache holds of the store that `server` reads.

    entries: of its manifest.
    """

    def __init__(
        self,
        server: RangeReader,
        description: Description,
        entries: bytes,
        cache: Cache,
    ) -> None:
        import xxhash

        self.description, self.cache = description, cache
        self.timeout_s = server.timeout_s
        digests = f"{description.content_digest} {description.layout_digest} {description.count} "
        self.store = str(xxhash.xxh3_128_hexdigest(digests.encode() + entries))
        self.path = cache.folder / self.store
        self._names = {name: i for i, name in enumerate(array_metadata(description))}
        self._sizes = np.frombuffer(entries, _ENTRY)["size"].reshape(-1, len(self._names))
        self._server = server
        self._known: dict[File, NDArray[np.bool_]] = {}
        self._chunks: dict[File, NDArray[np.uint64]] = {}
        self._claimed: dict[tuple[File, int], threading.Event] = {}  # chunks on their way
        self._lock, self._opening = threading.Lock(), threading.Lock()
        for name in self._names:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        write_arrays(self.path, description)
        write_group(self.path, description, "making")  # it is never whole to any other program

    def known(self, need: Slots) -> dict[File, NDArray[np.bool_]]:
        """Which of the chunks are here, as far as this process has seen."""
        never = np.zeros(0, bool)
        found = {}
        for file, slots in need.items():
            known = self._known.get(file, never)
            found[file] = known[slots] if len(known) else np.zeros(len(slots), bool)
        return found

    def forget(self, need: Slots) -> None:
        """Look again whether these are here: another process has made room."""
        for file in need:
            self._known.pop(file, None)

    def fetch(self, need: Slots, whole: bool = False) -> None:
        """Bring chunks here, as far as the bound lets. Raises StoreError naming file and cure.

        whole: if one chunk of a file is missing, bring all of that file.
        """
        self.cache.touch(self.store)
        files = [f for f, known in self.known(need).items() if not known.all()]
        with self._opening:
            self._open([f for f in files if f not in self._known])
        done, others = threading.Event(), []
        mine: dict[File, NDArray[np.int64]] = {}
        with self._lock:
            for file in files:
                slots = self._stored(file) if whole else need[file]
                keys = [(file, i) for i in slots[~self._known[file][slots]].tolist()]
                others += [self._claimed[key] for key in keys if key in self._claimed]
                mine[file] = np.array([i for f, i in keys if (f, i) not in self._claimed], int)
                self._claimed |= {(file, i): done for i in mine[file].tolist()}
        try:
            self._bring(mine)
        finally:
            with self._lock:
                for file, slots in mine.items():
                    for i in slots.tolist():
                        del self._claimed[file, i]
            done.set()
        for event in others:  # what another thread is bringing; if it fails, it is read remotely
            event.wait(self.timeout_s)

    def file(self, file: File) -> str:
        """The path of a shard file inside the store."""
        return shard_files(self.description, file[1])[file[0]]

    def size(self, file: File) -> int:
        """The bytes of a shard file."""
        return int(self._sizes[file[1], self._names[file[0]]])

    def _open(self, files: list[File]) -> None:
        """Have the index of each file at hand; one that does not fit leaves no chunk here."""
        lacking: dict[File, Range] = {}
        for file in files:
            length = 16 * self._index_entries(file) + 4
            end = Range(self.file(file), self.size(file) - length, self.size(file))
            if length == 4:  # one chunk, without an index
                self._chunks[file] = np.array([[0, self.size(file)]], np.uint64)
            elif (index := _checked(self._stored_bytes(end))) is None:
                lacking[file] = end
            else:
                self._chunks[file] = np.frombuffer(index, "<u8").reshape(-1, 2)
        room = sum(_blocks(r) for r in lacking.values())
        if lacking and self.cache.reserve(room, self.store):
            read = self._server.read(list(lacking.values()))
            for (file, r), data in zip(lacking.items(), read, strict=True):
                if (index := _checked(data)) is None:
                    raise self._server.damaged(r)
                if self._write(file, data, r.first):
                    self._chunks[file] = np.frombuffer(index, "<u8").reshape(-1, 2)
        for file in files:
            self._known[file] = np.zeros(max(1, self._index_entries(file)), bool)

    def _stored(self, file: File) -> NDArray[np.int64]:
        """All chunks that a file has."""
        chunks = self._chunks.get(file)
        return (
            np.flatnonzero(chunks[:, 0] != np.uint64(_ABSENT))
            if chunks is not None
            else np.zeros(0, int)
        )

    def _bring(self, need: Slots) -> None:
        due: list[tuple[File, Range]] = []
        for file, slots in need.items():
            ranges = joined(self._missing(file, slots))
            if ranges and self.cache.reserve(sum(map(_blocks, ranges)), self.store):
                due += [(file, r) for r in ranges]
        read = self._server.read([r for _, r in due])
        for (file, r), data in zip(due, read, strict=True):
            self._keep(file, r, data)

    def _missing(self, file: File, slots: NDArray[np.int64]) -> list[Range]:
        """Where the chunks stand that are not here; those that are, are known from now."""
        chunks = self._chunks.get(file)
        if chunks is None:
            return []
        missing = []
        for slot in slots.tolist():
            start, length = chunks[slot].tolist()
            if start == _ABSENT:
                continue  # the remote read says what that means
            r = Range(self.file(file), start, start + length)
            written = any(self._stored_bytes(r._replace(first=r.last - 4)))  # else it is a hole
            if written and _checked(self._stored_bytes(r)) is not None:
                self._known[file][slot] = True
            else:
                missing.append(r)
        return missing

    def _keep(self, file: File, r: Range, data: bytes) -> None:
        chunks = self._chunks[file]
        inside = np.flatnonzero((chunks[:, 0] >= r.first) & (chunks[:, 0] < r.last))
        for start, length in (chunks[inside] - np.array([r.first, 0], np.uint64)).tolist():
            if _checked(data[start : start + length]) is None:
                raise self._server.damaged(r)
        if self._write(file, data, r.first):
            self._known[file][inside] = True

    def _stored_bytes(self, r: Range) -> bytes:
        """What stands here at `r`: zeros in a hole, nothing if there is no file."""
        try:
            descriptor = os.open(self.path / r.file, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, r.nbytes, r.first)
        finally:
            os.close(descriptor)

    def _write(self, file: File, data: bytes, start: int) -> bool:
        """Write into a file, which has the length of the whole shard from the start.

        False if that cannot be: the disk is full, or another process is making room here.
        """
        path = self.path / self.file(file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                if os.fstat(descriptor).st_size < self.size(file):
                    os.truncate(descriptor, self.size(file))
                return os.pwrite(descriptor, data, start) == len(data)
            finally:
                os.close(descriptor)
        except OSError:
            return False

    def _index_entries(self, file: File) -> int:
        """Entries in the index of a file; 0 if it has none."""
        unsharded = {start_name(f) for f in self.description.fields if isinstance(f, Ragged)}
        return 0 if file[0] in unsharded else inner_chunks(self.description, file[0])


def _checked(data: bytes) -> bytes | None:
    """`data` without the crc32c at its end; None if that is wrong, as it is of a hole."""
    import google_crc32c

    body, end = data[:-4], data[-4:]
    right = len(end) == 4 and int.from_bytes(end, "little") == google_crc32c.value(body)
    return body if right and any(end) else None


def _blocks(r: Range) -> int:
    return r.nbytes // BLOCK * BLOCK + 2 * BLOCK
