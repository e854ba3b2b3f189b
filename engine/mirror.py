"""The files of one store in a cache: which inner chunks are there, and fetching those that are not.

A chunk is known to be there once its crc32c was right in this process, on the disk or on its way
from the server. `fetch` asks for what is not there, neighbours in one request.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.cache import BLOCK, Cache
from voxelmill.engine.description import Description
from voxelmill.engine.faults import AbsentError, DamagedError, explained
from voxelmill.engine.group import write_arrays, write_group
from voxelmill.engine.layout import array_metadata, inner_chunks, shard_files, start_name
from voxelmill.engine.location import Location, tensorstore
from voxelmill.engine.sample import Ragged

File = tuple[str, int]  # array, shard
Slots = Mapping[File, NDArray[np.int64]]  # the inner chunks that are needed of each file

_MOST_REQUEST = 8 << 20
_ABSENT = np.uint64(2**64 - 1)
_ENTRY = np.dtype([("size", "<u8"), ("hash", "V16")])
_CURE = "run `voxelmill check` on the store that was uploaded, and copy what it finds whole"


class Mirror:
    """What the cache holds of the store at `location`.

    entries: of its manifest. timeout_s: how long one request is waited for.
    """

    def __init__(
        self,
        location: Location,
        description: Description,
        entries: bytes,
        cache: Cache,
        timeout_s: float,
    ) -> None:
        import xxhash

        self.remote, self.description, self.cache = location, description, cache
        self.timeout_s = timeout_s
        digests = f"{description.content_digest} {description.layout_digest} {description.count} "
        self.store = str(xxhash.xxh3_128_hexdigest(digests.encode() + entries))
        self.path = cache.folder / self.store
        self._names = {name: i for i, name in enumerate(array_metadata(description))}
        self._sizes = np.frombuffer(entries, _ENTRY)["size"].reshape(-1, len(self._names))
        self._server: Any = None
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
        lacking: dict[File, list[tuple[int, int]]] = {}
        for file in files:
            length = 16 * self._index_entries(file) + 4
            start = self.size(file) - length
            if length == 4:  # one chunk, without an index
                self._chunks[file] = np.array([[0, self.size(file)]], np.uint64)
            elif (data := _checked(_pread(self.path / self.file(file), start, length))) is None:
                lacking[file] = [(start, self.size(file))]
            else:
                self._chunks[file] = np.frombuffer(data, "<u8").reshape(-1, 2)
        room = sum(_blocks(ranges[0]) for ranges in lacking.values())
        if lacking and self.cache.reserve(room, self.store):
            for file, first, last, data in self._download(lacking):
                if (index := _checked(data)) is None:
                    raise self._damaged(file, first, last)
                if self._write(file, data, first):
                    self._chunks[file] = np.frombuffer(index, "<u8").reshape(-1, 2)
        for file in files:
            self._known[file] = np.zeros(max(1, self._index_entries(file)), bool)

    def _stored(self, file: File) -> NDArray[np.int64]:
        """All chunks that a file has."""
        chunks = self._chunks.get(file)
        return np.flatnonzero(chunks[:, 0] != _ABSENT) if chunks is not None else np.zeros(0, int)

    def _bring(self, need: Slots) -> None:
        ranges: dict[File, list[tuple[int, int]]] = {}
        for file, slots in need.items():
            chunks = self._chunks.get(file)
            if chunks is None or not len(slots):
                continue
            path = self.path / self.file(file)
            missing = []
            for slot in slots.tolist():
                start, length = chunks[slot]
                if start == _ABSENT:
                    continue  # the remote read says what that means
                if _checked(_pread(path, int(start), int(length))) is None:
                    missing.append((int(start), int(start + length)))
                else:
                    self._known[file][slot] = True
            if missing:
                ranges[file] = _joined(sorted(missing))
        room = sum(_blocks(r) for of_file in ranges.values() for r in of_file)
        if not ranges or not self.cache.reserve(room, self.store):
            return
        for file, first, last, data in self._download(ranges):
            self._keep(file, first, last, data)

    def _keep(self, file: File, first: int, last: int, data: bytes) -> None:
        chunks = self._chunks[file]
        inside = np.flatnonzero((chunks[:, 0] >= first) & (chunks[:, 0] < last))
        for start, length in (chunks[inside] - np.array([first, 0], np.uint64)).tolist():
            if _checked(data[start : start + length]) is None:
                raise self._damaged(file, first, last)
        if self._write(file, data, first):
            self._known[file][inside] = True

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

    def _download(
        self, ranges: Mapping[File, list[tuple[int, int]]]
    ) -> Iterator[tuple[File, int, int, bytes]]:
        """File, first, last and bytes of each range; all are asked for at once."""
        ts = tensorstore()
        if self._server is None:
            self._server = ts.KvStore.open(self.remote.kvstore()).result(timeout=self.timeout_s)
        asked = [
            (file, first, last, self._server.read(self.file(file), byte_range=slice(first, last)))
            for file, of_file in ranges.items()
            for first, last in of_file
        ]
        for file, first, last, future in asked:
            url = self.remote.join(self.file(file))
            try:
                got = future.result(timeout=self.timeout_s)
            except (ValueError, TimeoutError) as error:
                found = explained(error, url, self.timeout_s)
                if isinstance(found, DamagedError):  # it ends before the range
                    raise self._damaged(file, first, last) from None
                raise found from None
            if got.state != "value":
                raise AbsentError(f"{url} is missing; {_CURE}")
            if len(got.value) != last - first:
                raise self._damaged(file, first, last)
            yield file, first, last, got.value

    def _index_entries(self, file: File) -> int:
        """Entries in the index of a file; 0 if it has none."""
        unsharded = {start_name(f) for f in self.description.fields if isinstance(f, Ragged)}
        return 0 if file[0] in unsharded else inner_chunks(self.description, file[0])

    def _damaged(self, file: File, first: int, last: int) -> DamagedError:
        url = self.remote.join(self.file(file))
        return DamagedError(f"{url} is damaged in the bytes {first} to {last}; {_CURE}")


def _checked(data: bytes) -> bytes | None:
    """`data` without the crc32c at its end; None if that is wrong, as it is of a hole."""
    import google_crc32c

    body, end = data[:-4], data[-4:]
    right = len(end) == 4 and int.from_bytes(end, "little") == google_crc32c.value(body)
    return body if right and any(end) else None


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours as one, up to a length that is worth a request."""
    joined = [ranges[0]]
    for first, last in ranges[1:]:
        if first == joined[-1][1] and last - joined[-1][0] <= _MOST_REQUEST:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _blocks(range_: tuple[int, int]) -> int:
    return (range_[1] - range_[0]) // BLOCK * BLOCK + 2 * BLOCK


def _pread(path: Path, start: int, length: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, length, start)
    finally:
        os.close(descriptor)
