"""Ragged rows and params of a local store: small chunks, kept in memory once they were read."""

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from voxelmill.engine.description import Description
from voxelmill.engine.layout import ROWS, start_name, stored_dtype
from voxelmill.engine.local_commits import Commits
from voxelmill.engine.local_shards import Process, Rules, ShardArray
from voxelmill.engine.sample import Ragged, Rows
from voxelmill.engine.shard_files import Damage, place_in


class ParamsTable(ShardArray):
    """The array `params`: one chunk a shard."""

    def rows(self, here: Process, samples: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """Fill `out` (sample, column)."""
        shards, slots = np.divmod(samples, self.description.samples_per_shard)
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            out[mine] = self.table(here, shard)[slots[mine]]

    def table(self, here: Process, shard: int) -> NDArray[np.float64]:
        """(samples a shard, column). Raises StoreError."""
        found = here.chunks.get((self.name, shard))
        if found is None:
            columns = len(self.description.columns)
            try:
                data = self.whole(here, shard, indexed=True)
                if len(data) != self.description.samples_per_shard * columns * 8:
                    raise Damage(f"its table has {len(data)} bytes")
            except Damage as damage:
                raise self.explained(shard, None, damage) from None
            found = np.frombuffer(data, "<f8").reshape(-1, columns)
            here.chunks.put((self.name, shard), found)
        return found


class RaggedRows(ShardArray):
    """A ragged field: its rows in chunks of `ROWS`; `starts` says where those of samples are."""

    def __init__(self, field: Ragged, starts: ShardArray, *args: Any) -> None:
        super().__init__(*args)
        self.field, self._starts = field, starts
        self._packed = self.description.zstd_level(field) is not None

    def read(self, here: Process, samples: NDArray[np.int64]) -> Rows:
        """The rows of `samples`. Raises StoreError."""
        shards, slots = np.divmod(samples, self.description.samples_per_shard)
        bounds = np.empty((2, len(samples)), np.int64)
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            starts = self._starts_of(here, shard)
            bounds[:, mine] = starts[slots[mine]], starts[slots[mine] + 1]
        starts = np.zeros(len(samples) + 1, np.int64)
        np.cumsum(bounds[1] - bounds[0], out=starts[1:])
        values = np.empty((starts[-1], len(self.field.columns)), self.field.dtype)
        for shard, sample, first, last, at in zip(
            shards.tolist(), samples.tolist(), *bounds.tolist(), starts.tolist(), strict=False
        ):
            try:
                self._copy(here, shard, first, last, values[at : at + last - first])
            except Damage as damage:
                raise self.explained(shard, sample, damage) from None
        return Rows(values, starts)

    def _copy(self, here: Process, shard: int, first: int, last: int, out: NDArray[Any]) -> None:
        row = first
        while row < last:
            number, skip = divmod(row, ROWS)
            take = min(ROWS - skip, last - row)
            out[row - first : row - first + take] = self._chunk(here, shard, number)[
                skip : skip + take
            ]
            row += take

    def _chunk(self, here: Process, shard: int, number: int) -> NDArray[Any]:
        """(ROWS, column)."""
        key = (self.name, shard, number)
        found = here.chunks.get(key)
        if found is None:
            file = self.file(here, shard)
            data = file.read(*place_in(self.index(here, shard, file), number))
            payload = bytes(memoryview(data)[:-4])
            stored = int.from_bytes(data[-4:], "little")
            if self.rules.check != "never" and google_crc32c.value(payload) != stored:
                raise Damage(f"the checksum of rows {number * ROWS} and on is wrong")
            found = self._decoded(here, payload)
            here.chunks.put(key, found)
        return found

    def _decoded(self, here: Process, payload: bytes) -> NDArray[Any]:
        dtype, columns = stored_dtype(self.field.dtype), len(self.field.columns)
        size = ROWS * columns * dtype.itemsize
        if self._packed:
            try:
                payload = here.decompressor.decompress(payload, max_output_size=size)
            except zstandard.ZstdError as error:
                raise Damage(f"rows cannot be decoded: {error}") from None
        if len(payload) != size:
            raise Damage(f"{ROWS} rows have {len(payload)} bytes, not {size}")
        return np.frombuffer(payload, dtype).reshape(ROWS, columns)

    def _starts_of(self, here: Process, shard: int) -> NDArray[np.int64]:
        """(samples a shard + 1,) rows. Raises StoreError."""
        key = (self._starts.name, shard)
        found = here.chunks.get(key)
        if found is None:
            entries = self.description.samples_per_shard + 1
            try:
                starts = np.frombuffer(self._starts.whole(here, shard, indexed=False), "<u4")
                most = self.description.samples_per_shard * self.field.most
                if len(starts) != entries or starts[-1] > most or (starts[1:] < starts[:-1]).any():
                    raise Damage(f"its {len(starts)} starts do not ascend to {most} or less")
            except Damage as damage:
                raise self._starts.explained(shard, None, damage) from None
            found = starts
            here.chunks.put(key, found)
        return found


def ragged_rows(
    field: Ragged, path: Path, description: Description, commits: Commits, rules: Rules
) -> RaggedRows:
    """A ragged field with its starts."""
    starts = ShardArray(path, description, start_name(field), commits, rules)
    return RaggedRows(field, starts, path, description, field.name, commits, rules)
