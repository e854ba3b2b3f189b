"""The shard files of one array of a local store: where they are, what is in them, what they lack.

One `Process` holds what belongs to a process and must not cross a fork: threads, open files, what
was checked. `ShardArray` opens the files of an array and finds the inner chunks in them.
"""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.layout import inner_chunks, shard_files
from voxelmill.engine.shard_files import (
    Damage,
    Files,
    Kept,
    ShardFile,
    place_in,
    read_index,
    read_mark,
)
from voxelmill.engine.threads import Pool

_INDEX_BYTES, _CHUNK_BYTES = 64 << 20, 64 << 20  # that are kept in memory
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
        self.indexes, self.chunks = Kept(_INDEX_BYTES), Kept(_CHUNK_BYTES)
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
    """The shard files of array `name`.

    committed: (shard,) records with `size` and `hash` from commits.bin, and `mark` where it has
    marks; None: sizes unknown.
    """

    def __init__(
        self,
        path: Path,
        description: Description,
        name: str,
        committed: NDArray[Any] | None,
        rules: Rules,
    ) -> None:
        self.path, self.description, self.name, self.rules = path, description, name, rules
        self._committed = committed
        first = shard_files(description, 0)[name]
        self._tail = first.removeprefix(f"{name}/c/0")
        self._head = f"{path.absolute()}/{name}/c/"
        self._entries = inner_chunks(description, name)
        marked = committed is not None and "mark" in (committed.dtype.names or ())
        self._marks = committed["mark"] if committed is not None and marked else None
        self._fill = ShardFile.fill_mapped if rules.way == "mmap" else ShardFile.fill

    def file(self, here: Process, shard: int) -> ShardFile:
        """The open file. Raises Damage if it is missing or has not the size that was committed."""
        size = None if self._committed is None else int(self._committed["size"][shard])
        return here.files.get(f"{self._head}{shard}{self._tail}", size, self._may_grow(shard))

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
        marks = None if not check or self._may_grow(shard) else self._marks
        if marks is not None and read_mark(file, index) != marks[shard].tobytes():
            raise Damage("it is not the file that was committed")
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

        if self._committed is None or self._may_grow(shard):
            return
        if xxhash.xxh3_128_digest(data) != self._committed["hash"][shard].tobytes():
            raise Damage("it is not the file that was committed")

    def _may_grow(self, shard: int) -> bool:
        """The last shard, if it is not full, is remade with more samples when a store grows."""
        last = shard == self.description.shards - 1
        return last and self.description.count % self.description.samples_per_shard > 0


def fits(nbytes: int) -> bool:
    """Whether so much of the page cache can be counted on: half of what the kernel could give."""
    return nbytes < _memory_available() // 2


def _memory_available() -> int:
    """Bytes that the kernel could give, caches that it could drop among them; 0 if unknown."""
    with suppress(OSError, StopIteration), open("/proc/meminfo") as lines:
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) << 10
    return 0
