"""Dense fields of a local store: payloads of samples, from shard files straight into a batch."""

from collections.abc import Callable, Sequence
from contextlib import suppress
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
from voxelmill.engine.layout import stored_dtype
from voxelmill.engine.local_commits import Commits
from voxelmill.engine.local_shards import COLD_BATCHES, Process, Rules, ShardArray
from voxelmill.engine.sample import Field
from voxelmill.engine.shard_files import NOWAIT, Damage, ShardFile, place_in

_RUN = 4  # samples of a batch in each of its shards that speak for shuffling within shards
_MOST_WAITING = 32  # batches of which the kernel was not told yet

Convert = Callable[[NDArray[Any], NDArray[Any], int], None]  # (from, to, sample)
from_le = partial(int.from_bytes, byteorder="little")


class Target:
    """C-contiguous memory to be filled: as a view of bytes and by address; room for a checksum."""

    __slots__ = ("address", "crc", "view")

    def __init__(self, array: NDArray[Any]) -> None:
        flat = array.reshape(-1).view(np.uint8)
        self.view, self.address, self.crc = flat.data, flat.ctypes.data, bytearray(4)


class Dense(ShardArray):
    """A dense field: one inner chunk a sample, raw or zstd, each with its crc32c behind it."""

    def __init__(
        self,
        path: Path,
        description: Description,
        field: Field,
        commits: Commits,
        rules: Rules,
    ) -> None:
        super().__init__(path, description, field.name, commits, rules)
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
        if convert is None and not check.any() and self._quickly(here, samples, places, out):
            return
        copy = self._unpack if self._packed else self._copy
        size, per = self.nbytes, self.description.samples_per_shard
        if convert is None:
            steps, target = places * size, out
        else:
            steps, target = np.zeros_like(places), np.empty(self.field.shape, self.dtype)
        to, quick = Target(target), self._quick and not self._packed
        last, file, index = -1, None, None
        for sample, place, step, due in zip(
            samples.tolist(), places.tolist(), steps.tolist(), check.tolist(), strict=True
        ):
            shard, slot = divmod(sample, per)
            try:
                if shard != last or file is None:
                    file = self.file(here, shard)
                    index, last = self._index(here, shard, file), shard
                straight = quick and due and index is None and not file.loading
                if not (straight and self._straight(file, slot, to, step)):
                    at = self._place(index, slot)
                    if file.loading:
                        file.wait_for(at[0] + at[1])
                    copy(here, file, at, to, step, due)
            except Damage as damage:
                raise self.explained(shard, sample, damage) from None
            if convert is not None:
                convert(target, out[place], sample)
        if self.rules.check == "first":
            done = samples[check]
            np.bitwise_or.at(here.checked[self.name], done >> 3, _bit(done))

    def absent(self, here: Process, sample: int) -> bool:
        """Whether the disk must be asked for a sample, as far as a look at one byte can tell.

        False for what is wrong, which is left to `fill`.
        """
        shard, slot = divmod(sample, self.description.samples_per_shard)
        with suppress(Damage):
            file = self.file(here, shard)
            packed = file.size * slot // self.description.samples_in(shard)
            cached = file.cached(packed if self._packed else slot * (self.nbytes + 4))
            return not cached if cached is not None else (self.name, shard) not in here.asked
        return False

    def expect(self, here: Process, samples: Sequence[int], whole: bool = False) -> None:
        """Begin to bring `samples`, ascending, into the page cache.

        whole: the other samples of their shards are asked for soon. Then, and where several are of
        one shard, or all of the store fits into memory, shards are read whole: a disk gives them
        faster in one go. What is not asked for shard by shard is read whole once only.
        """
        size = self.description.samples_per_shard
        shards = {sample // size: sample for sample in samples}
        if not whole and len(samples) < _RUN * (1 if here.all_fits else len(shards)):
            if here.hints.waiting < _MOST_WAITING:
                here.hints.begin([partial(self._advise, here, samples)])
            return
        for shard, sample in shards.items():
            key = (self.name, shard)
            if key in here.loading or (not whole and key in here.asked):
                continue
            if self.absent(here, sample):
                here.asked.add(key)
                here.loading.add(key)
                here.hints.begin([partial(self._load, here, shard, whole)])

    def _load(self, here: Process, shard: int, awaited: bool) -> None:
        try:
            with suppress(Damage):
                self.file(here, shard).load(awaited)
        finally:
            here.loading.discard((self.name, shard))

    def _advise(self, here: Process, samples: Sequence[int]) -> None:
        for sample in samples:
            shard, slot = divmod(sample, self.description.samples_per_shard)
            with suppress(Damage):
                file = self.file(here, shard)
                file.expect(*self._place(self._index(here, shard, file), slot))

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
            index = self.fresh_index(shard, file)
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

    def _quickly(
        self,
        here: Process,
        samples: NDArray[np.int64],
        places: NDArray[np.intp],
        out: NDArray[Any],
    ) -> bool:
        """`fill` of raw samples that need no check. It hardly holds the GIL, which threads share.

        False if anything is unusual: `fill` then does it again and finds what it is.
        """
        if self._packed or not self._quick:
            return False
        size, view = self.nbytes, out.reshape(-1).view(np.uint8).data
        shards, slots = np.divmod(samples, self.description.samples_per_shard)
        files: dict[int, ShardFile] = {}
        try:
            for shard in np.unique(shards).tolist():
                file = files[shard] = self.file(here, shard)
                if file.loading or self._index(here, shard, file) is not None:
                    return False
            fds = [files[shard].fd for shard in shards.tolist()]
            offsets, steps = (slots * (size + 4)).tolist(), (places * size).tolist()
            for fd, offset, step in zip(fds, offsets, steps, strict=True):
                if preadv(fd, (view[step : step + size],), offset, NOWAIT) != size:
                    return False
        except (Damage, OSError):
            return False
        return True

    def _straight(self, file: ShardFile, slot: int, to: Target, step: int) -> bool:
        """The usual case of `_copy` with a check. False if anything is unusual, as there."""
        size = self.nbytes
        buffers = (to.view[step : step + size], to.crc)
        try:
            got = preadv(file.fd, buffers, slot * (size + 4), NOWAIT)
        except OSError:
            return False
        return got == size + 4 and self._crc(to.address + step, size) == from_le(to.crc)

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
            here.cold = COLD_BATCHES

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
            here.cold = COLD_BATCHES
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


def _bit(samples: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bit of each sample in its byte."""
    return np.left_shift(np.uint8(1), (samples & 7).astype(np.uint8))
