"""The shard files of one array of a local store: where they are, what is in them, what they lack.

One `Process` holds what belongs to a process and must not cross a fork: threads, open files, what
was checked. `ShardArray` gives the inner chunks of a shard, and `Dense` copies those of samples
into a batch.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import preadv
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from voxelmill.engine.crc import crc32c_at
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.layout import inner_chunks, shard_files, stored_dtype
from voxelmill.engine.sample import Field
from voxelmill.engine.shard_files import (
    NOWAIT,
    Damage,
    Files,
    Kept,
    ShardFile,
    place_in,
    read_index,
)
from voxelmill.engine.threads import Pool

_INDEX_BYTES, _CHUNK_BYTES = 64 << 20, 64 << 20  # that are kept in memory
_COLD_BATCHES = 64  # for which hints go on after a read that was not in the page cache
_RUN = 4  # samples of a batch in each of its shards that speak for shuffling within shards
_ASKED = np.zeros(1, np.uint8)
_MOST_ASKED = 256

Convert = Callable[[NDArray[Any], NDArray[Any], int], None]  # (from, to, sample)


from_le = partial(int.from_bytes, byteorder="little")


class Target:
    """C-contiguous memory to be filled: as a view of bytes and by address; room for a checksum."""

    __slots__ = ("address", "crc", "view")

    def __init__(self, array: NDArray[Any]) -> None:
        flat = array.reshape(-1).view(np.uint8)
        self.view, self.address, self.crc = memoryview(flat), flat.ctypes.data, bytearray(4)


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
        self.all_fits = nbytes < _memory_available() // 2
        self.pool, self.hints = Pool(threads), Pool(1, "voxelmill-hint")
        self.files = Files()
        self.indexes, self.chunks = Kept(_INDEX_BYTES), Kept(_CHUNK_BYTES)
        self.checked: dict[str, NDArray[np.uint8]] = {}  # a bit a sample
        self.fixed: dict[str, NDArray[np.bool_]] = {}  # shards whose payloads are at even steps
        self.cold = _COLD_BATCHES // 8  # batches for which the kernel is still told ahead
        self.asked = Kept(_MOST_ASKED)  # shards that it was lately asked to read whole
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

    committed: (shard,) records with `size` and `hash` from commits.bin; None: sizes unknown.
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
        self._fill = ShardFile.fill_mapped if rules.way == "mmap" else ShardFile.fill

    def file(self, here: Process, shard: int) -> ShardFile:
        """The open file. Raises Damage if it is missing or has not the size that was committed."""
        size = None if self._committed is None else int(self._committed["size"][shard])
        return here.files.get(f"{self._head}{shard}{self._tail}", size, self._may_grow(shard))

    def index(self, here: Process, shard: int, file: ShardFile) -> NDArray[Any]:
        """Where the inner chunks are: see `read_index`. Read once a shard, and kept."""
        found = here.indexes.get((self.name, shard))
        if found is None:
            found = read_index(file, self._entries, self.rules.check != "never")
            here.indexes.put((self.name, shard), found)
        return found

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


class Dense(ShardArray):
    """A dense field: one inner chunk a sample, raw or zstd, each with its crc32c behind it."""

    def __init__(
        self,
        path: Path,
        description: Description,
        field: Field,
        committed: NDArray[Any] | None,
        rules: Rules,
    ) -> None:
        super().__init__(path, description, field.name, committed, rules)
        self.field, self.dtype, self.nbytes = field, stored_dtype(field.dtype), field.nbytes
        self._packed = description.zstd_level(field) is not None
        self._quick, self._crc = rules.way == "preadv", crc32c_at()

    def fill(
        self,
        here: Process,
        samples: NDArray[np.int64],
        places: NDArray[np.intp],
        out: NDArray[Any],
        convert: Convert | None = None,
    ) -> None:
        """Write `samples`, ascending, to `places` of `out` (batch, *shape), which is contiguous.

        convert: makes out[place] from a whole sample, which is read elsewhere then.
        Raises StoreError.
        """
        check = self._due_checks(here, samples)
        copy = self._unpack if self._packed else self._copy
        size, per = self.nbytes, self.description.samples_per_shard
        if convert is None:
            steps, target = places * size, out
        else:
            steps, target = np.zeros_like(places), np.empty(self.field.shape, self.dtype)
        to = Target(target)
        last, file, index = -1, None, None
        for sample, place, step, due in zip(
            samples.tolist(), places.tolist(), steps.tolist(), check.tolist(), strict=True
        ):
            shard, slot = divmod(sample, per)
            try:
                if shard != last or file is None:
                    file = self.file(here, shard)
                    index, last = self._index(here, shard, file), shard
                if index is not None or not self._straight(file, slot, to, step, due):
                    copy(here, file, self._place(index, slot), to, step, due)
            except Damage as damage:
                raise self.explained(shard, sample, damage) from None
            if convert is not None:
                convert(target, out[place], sample)
        if self.rules.check == "first":
            done = samples[check]
            np.bitwise_or.at(here.checked[self.name], done >> 3, _bit(done))

    def expect(self, here: Process, samples: Sequence[int]) -> None:
        """Bring `samples`, ascending, into the page cache. Leaves what is wrong to `fill`.

        Where several are of one shard, or all of the store fits into memory, it is whole shards,
        each once: their other samples are asked for soon, and a disk gives them faster in one go.
        """
        runs: dict[int, list[int]] = {}
        for sample in samples:
            shard, slot = divmod(sample, self.description.samples_per_shard)
            runs.setdefault(shard, []).append(slot)
        whole = len(samples) >= _RUN * (1 if here.all_fits else len(runs))
        for shard, slots in runs.items():
            with suppress(Damage):
                file = self.file(here, shard)
                if not whole:
                    index = self._index(here, shard, file)
                    for slot in slots:
                        file.expect(*self._place(index, slot))
                elif here.asked.get((self.name, shard)) is None:
                    here.asked.put((self.name, shard), _ASKED)
                    file.load()

    def _due_checks(self, here: Process, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self.rules.check != "first":
            return np.full(len(samples), self.rules.check == "always")
        bits = here.checked.get(self.name)
        if bits is None:
            bits = here.checked.setdefault(
                self.name, np.zeros(self.description.count // 8 + 1, np.uint8)
            )
        return bits[samples >> 3] & _bit(samples) == 0

    def _index(self, here: Process, shard: int, file: ShardFile) -> NDArray[Any] | None:
        """Where payloads are; None: at even steps, as is usual for raw ones."""
        if self._packed:
            return self.index(here, shard, file)
        fixed = here.fixed.setdefault(self.name, np.zeros(self.description.shards, np.bool_))
        if fixed[shard]:
            return None
        index = here.indexes.get((self.name, shard))
        if index is None:
            index = read_index(file, self._entries, self.rules.check != "never")
            due = self.description.samples_in(shard)
            record = self.nbytes + 4
            if len(index) > due and np.array_equal(index[: due + 1], np.arange(due + 1) * record):
                fixed[shard] = True
                return None
            here.indexes.put((self.name, shard), index)
        return index

    def _place(self, index: NDArray[Any] | None, slot: int) -> tuple[int, int]:
        record = self.nbytes + 4
        return (slot * record, record) if index is None else place_in(index, slot)

    def _straight(self, file: ShardFile, slot: int, to: Target, step: int, due: bool) -> bool:
        """The usual case of `_copy` with as little Python as may be: the threads share the GIL.

        False if anything is unusual: `_copy` then finds what it is.
        """
        size = self.nbytes
        try:
            if not due:
                buffers = (to.view[step : step + size],)
                return self._quick and preadv(file.fd, buffers, slot * (size + 4), NOWAIT) == size
            with_crc = (to.view[step : step + size], to.crc)
            got = self._quick and preadv(file.fd, with_crc, slot * (size + 4), NOWAIT)
            return got == size + 4 and self._crc(to.address + step, size) == from_le(to.crc)
        except OSError:
            return False

    def _copy(
        self,
        here: Process,
        file: ShardFile,
        place: tuple[int, int],
        to: Target,
        step: int,
        due: bool,
    ) -> None:
        """A raw payload, straight to where it belongs."""
        size = self.nbytes
        target = to.view[step : step + size]
        if place[1] != size + 4:
            raise Damage(f"it holds {place[1]} bytes where {size + 4} are due")
        if not due:
            cached = self._fill(file, (target,), place[0], size)
        else:
            cached = self._fill(file, (target, to.crc), place[0], size + 4)
            if self._crc(to.address + step, size) != from_le(to.crc):
                raise Damage("the checksum of the sample is wrong")
        if not cached:
            here.cold = _COLD_BATCHES

    def _unpack(
        self,
        here: Process,
        file: ShardFile,
        place: tuple[int, int],
        to: Target,
        step: int,
        due: bool,
    ) -> None:
        """A payload in zstd, decoded to where it belongs."""
        size = self.nbytes
        packed = bytearray(place[1])
        if not self._fill(file, (packed,), *place):
            here.cold = _COLD_BATCHES
        payload = bytes(memoryview(packed)[:-4])
        if due and google_crc32c.value(payload) != int.from_bytes(packed[-4:], "little"):
            raise Damage("the checksum of the sample is wrong")
        try:
            with here.decompressor.stream_reader(payload) as reader:  # into place, with no copy
                got = reader.readinto(to.view[step : step + size])
                if got != size or reader.read(1):
                    raise Damage(f"a sample decodes to another size than {size} bytes")
        except zstandard.ZstdError as error:
            raise Damage(f"a sample cannot be decoded: {error}") from None


def _memory_available() -> int:
    """Bytes that the kernel could give, caches that it could drop among them; 0 if unknown."""
    with suppress(OSError, StopIteration), open("/proc/meminfo") as lines:
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) << 10
    return 0


def _bit(samples: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bit of each sample in its byte."""
    return np.left_shift(np.uint8(1), (samples & 7).astype(np.uint8))
