"""The shard files of one array of a local store: where they are, what is in them, what they lack.

One `Process` holds what belongs to a process and must not cross a fork: threads, open files, what
was checked. `ShardArray` opens the files of an array and finds the inner chunks in them.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from voxelmill.engine.commit import FileState
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.kept import Kept
from voxelmill.engine.layout import inner_chunks, shard_files
from voxelmill.engine.local_commits import Commits
from voxelmill.engine.shard_files import (
    Damage,
    Files,
    ShardFile,
    place_in,
    read_index,
    read_mark,
)
from voxelmill.engine.threads import Pool

_INDEX_BYTES, _CHUNK_BYTES = 64 << 20, 64 << 20  # that are kept in memory
_NOT_COMMITTED = "it is not the file that was committed"
COLD_BATCHES = 64  # for which hints go on after a read that was not in the page cache


@dataclass(frozen=True)
class Rules:
    """How files are read: `way` mmap or preadv, `check` first, always or never."""

    way: str
    check: str
    threads: int


class Process:
    """What one process has of a store; nbytes: of its dense arrays, not packed."""

    def __init__(self, threads: int, nbytes: int) -> None:
        self.pid = os.getpid()
        self.all_fits = fits(nbytes)
        self.pool, self.hints = Pool(threads), Pool(1, "voxelmill-hint")
        self.files = Files()
        self.indexes: Kept[NDArray[Any]] = Kept(_INDEX_BYTES)
        self.chunks: Kept[NDArray[Any]] = Kept(_CHUNK_BYTES)
        self.checked: dict[str, NDArray[np.uint8]] = {}  # a bit a sample
        self.fixed: dict[str, NDArray[np.bool_]] = {}  # shards whose payloads are at even steps
        self.cold = 0  # batches for which the kernel is still told ahead
        self.asked: set[tuple[str, int]] = set()  # shards that it was asked to read whole
        self.loading: set[tuple[str, int]] = set()  # and those of which this is not done
        self._own = threading.local()

    @property
    def decompressor(self) -> zstandard.ZstdDecompressor:
        """That of the thread that asks: it is not thread safe."""
        found: zstandard.ZstdDecompressor | None = getattr(self._own, "zstd", None)
        if found is None:
            found = self._own.zstd = zstandard.ZstdDecompressor()
        return found


class ShardArray:
    """The shard files of array `name`; `commits` knows what was committed of them."""

    def __init__(
        self,
        path: Path,
        description: Description,
        name: str,
        commits: Commits,
        rules: Rules,
    ) -> None:
        self.path, self.description, self.name, self.rules = path, description, name, rules
        self._commits = commits
        self._remade: set[int] = set()  # shards of which files are not as they were committed
        first = shard_files(description, 0)[name]
        self._tail = first.removeprefix(f"{name}/c/0")
        self._head = f"{path.absolute()}/{name}/c/"
        self._entries = inner_chunks(description, name)
        self._fill = ShardFile.fill_mapped if rules.way == "mmap" else ShardFile.fill

    def file(self, here: Process, shard: int) -> ShardFile:
        """The open file. Raises Damage if it is missing or has not the size that was committed."""
        path = f"{self._head}{shard}{self._tail}"
        found = here.files.held(path)
        if found is not None:
            return found
        due = self._due(shard)
        try:
            return here.files.get(path, None if due is None else due.size)
        except Damage as damage:
            if damage.what != "is damaged":
                raise
            self._refuse(shard, damage, lambda state: state.size == os.stat(path).st_size)
        return here.files.get(path, None)

    def index(self, here: Process, shard: int, file: ShardFile) -> NDArray[Any]:
        """Where the inner chunks are: see `read_index`. Read once a shard, and kept."""
        found = here.indexes.get((self.name, shard))
        if found is None:
            found = self.fresh_index(shard, file)
            here.indexes.put((self.name, shard), found)
        return found

    def fresh_index(self, shard: int, file: ShardFile) -> NDArray[Any]:
        """`read_index` of a file that is the one that was committed. Raises Damage."""
        check = self.rules.check != "never"
        index = read_index(file, self._entries, check)
        due = self._due(shard) if check else None
        if due is not None and due.mark is not None:
            mark = read_mark(file, index).hex()
            if mark != due.mark:
                self._refuse(shard, Damage(_NOT_COMMITTED), lambda state: state.mark == mark)
        return index

    def whole(self, here: Process, shard: int, indexed: bool) -> bytes:
        """The payload of a file with one chunk, checked against its checksum and the commit."""
        file = self.file(here, shard)
        offset, size = place_in(self.index(here, shard, file), 0) if indexed else (0, file.size)
        data = file.read(0, file.size)
        payload = bytes(memoryview(data)[offset : offset + size - 4])
        if self.rules.check != "never":
            if google_crc32c.value(payload) != int.from_bytes(
                data[offset + size - 4 : offset + size], "little"
            ):
                raise Damage("its checksum is wrong")
            self._check_hash(shard, data)
        return payload

    def explained(self, shard: int, sample: int | None, damage: Damage) -> StoreError:
        """What to tell: the file, what it has, what to do."""
        file = self.path / shard_files(self.description, shard)[self.name]
        where = "" if sample is None else f"sample {sample}: "
        return StoreError(
            f"{file} {damage.what}; run `voxelmill check {self.path}` and do as it says, then run "
            f"the same `voxelmill make` again: it makes shard {shard} anew ({where}{damage.why})"
        )

    def _check_hash(self, shard: int, data: bytearray) -> None:
        """Find a file that is whole and of another shard; a big one only `check` hashes."""
        import xxhash

        due = self._due(shard)
        if due is None:
            return
        found = xxhash.xxh3_128_hexdigest(data)
        if found != due.xxh3_128:
            self._refuse(shard, Damage(_NOT_COMMITTED), lambda state: state.xxh3_128 == found)

    def _due(self, shard: int) -> FileState | None:
        """What the file of `shard` has to be; None: not known."""
        return None if shard in self._remade else self._commits.state(self.name, shard)

    def _refuse(self, shard: int, damage: Damage, same: Callable[[FileState], bool]) -> None:
        """Raise `damage` unless the file was made anew, as the last shard is when a store grows."""
        if not self._commits.was_remade(self.name, shard, same):
            raise damage
        self._remade.add(shard)


def fits(nbytes: int) -> bool:
    """Whether so much of the page cache can be counted on: half of what the kernel could give."""
    return nbytes < _memory_available() // 2


def _memory_available() -> int:
    """Bytes that the kernel could give, caches that it could drop among them; 0 if unknown."""
    with suppress(OSError, StopIteration), open("/proc/meminfo") as lines:
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) << 10
    return 0
