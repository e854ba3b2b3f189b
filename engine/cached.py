"""Read a remote store through a cache folder: each sample is fetched once, then read locally.

A batch of which all is here is read from here. Of any other, what is missing is fetched first;
what does not fit under the bound is read from the server each time.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.access import refuse_options
from voxelmill.engine.arrays import IN_FLIGHT_BYTES, REQUESTS_AT_ONCE, TIMEOUT_S, Arrays
from voxelmill.engine.cache import BLOCK, Cache
from voxelmill.engine.commit import manifest_entries
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import RemoteError
from voxelmill.engine.group import state_of
from voxelmill.engine.layout import ROWS, array_metadata, inner_chunks, start_name
from voxelmill.engine.local import LocalArrays, LocalPending
from voxelmill.engine.location import Location, tensorstore
from voxelmill.engine.mirror import File, Mirror
from voxelmill.engine.ranges import RangeReader
from voxelmill.engine.sample import Field, Ragged, Rows

_BATCHES_AT_ONCE = 4  # each with all its requests in flight

Need = dict[File, NDArray[np.int64]]


def open_remote(
    location: Location,
    description: Description,
    *,
    cache: str | Path | None = None,
    cache_bytes: int | None = None,
    whole_shards: bool = False,
    in_flight_bytes: int = IN_FLIGHT_BYTES,
    timeout_s: float = TIMEOUT_S,
    requests_at_once: int = REQUESTS_AT_ONCE,
) -> "Arrays | Cached":
    """How the arrays of a store behind a URL are read.

    cache, cache_bytes: a folder that keeps what was fetched, and its bound; both or neither.
    whole_shards: fetch whole shard files into it, in few requests. timeout_s: of one request.
    requests_at_once: to the server, for all arrays and batches together.
    Raises StoreError if the bound is smaller than what one sample takes.
    """
    limits: dict[str, Any] = {
        "in_flight_bytes": in_flight_bytes,
        "timeout_s": timeout_s,
        "requests_at_once": requests_at_once,
    }
    kept = {"cache": cache, "cache_bytes": cache_bytes, "whole_shards": whole_shards}
    refuse_options(limits | kept)
    if cache is None or cache_bytes is None:
        return Arrays(location, description, **limits)
    least = least_bytes(description)
    if cache_bytes < least:
        raise StoreError(
            f"a cache of {cache_bytes:,} bytes cannot hold one sample of {location} with the "
            f"indexes of its shard, {least:,} bytes; raise cache_bytes"
        )
    if state_of(location) != "whole":
        raise StoreError(
            f"{location} is not whole, and what may still change is not kept: leave out the cache "
            "until it is whole"
        )
    entries = manifest_entries(location, description)
    server = RangeReader(location, timeout_s, requests_at_once)
    mirror = Mirror(server, description, entries, Cache(cache, cache_bytes))
    remote = Arrays(location, description, **limits)
    return Cached(mirror, remote, whole_shards)


def least_bytes(description: Description) -> int:
    """What one sample takes in a cache at most, with the indexes of its shard."""
    total = 0
    for name, metadata in array_metadata(description).items():
        item = np.dtype(metadata["data_type"]).itemsize
        sharded = metadata["codecs"][0].get("configuration", {})
        chunk = sharded.get("chunk_shape", metadata["chunk_grid"]["configuration"]["chunk_shape"])
        index = 16 * inner_chunks(description, name) + 4
        total += int(np.prod(chunk)) * item + index + 4 * BLOCK
    return total


class Cached:
    """The arrays of a store that is read through a cache; begins and waits as `Arrays` does."""

    def __init__(self, mirror: Mirror, remote: Arrays, whole_shards: bool = False) -> None:
        self.mirror, self.remote, self.whole_shards = mirror, remote, whole_shards
        self.description = mirror.description
        self.starts = Arrays(mirror.path, self.description)  # of ragged rows
        self.local = LocalArrays(mirror.path, self.description)
        self.ragged = {f.name: f for f in self.description.fields if isinstance(f, Ragged)}
        self._pool: ThreadPoolExecutor | None = None

    def start(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Mapping[str, NDArray[Any]] | None = None,
    ) -> "CachedReads":
        """Begin to read the samples `indices`. out: arrays to be filled, by name."""
        return CachedReads(self, indices, list(names), out)

    def column(self, first: int, last: int, number: int) -> NDArray[np.float64]:
        """Column `number` of `params` of the samples `first` to `last`, the last not in."""
        need = self.need(np.arange(first, last), ["params"])
        self.mirror.fetch(need)
        here = all(known.all() for known in self.mirror.known(need).values())
        return (self.local if here else self.remote).column(first, last, number)

    def submit(self, work: Callable[[], dict[str, Any]]) -> "Future[dict[str, Any]]":
        """Run `work` in a thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_BATCHES_AT_ONCE, "voxelmill-cache")
        return self._pool.submit(work)

    def need(self, indices: NDArray[np.int64], names: Sequence[str]) -> Need:
        """The inner chunks that these samples are in; without the rows of ragged fields."""
        shard, place = np.divmod(indices, self.description.samples_per_shard)
        dense = {f.name for f in self.description.fields if isinstance(f, Field)}
        need: Need = {}
        for k in np.unique(shard).tolist():
            for name in names:
                array = start_name(self.ragged[name]) if name in self.ragged else name
                slots = place[shard == k] if name in dense else np.zeros(1, np.int64)
                need[array, k] = np.unique(slots)
        return need

    def need_rows(self, indices: NDArray[np.int64], names: Sequence[str]) -> Need:
        """The inner chunks of the rows of ragged fields, whose starts must be here."""
        shard = indices // self.description.samples_per_shard
        need: Need = {}
        for f in (self.ragged[name] for name in names if name in self.ragged):
            first, last = self.starts.row_bounds(f, indices)
            for k in np.unique(shard[last > first]).tolist():
                of_shard = (shard == k) & (last > first)
                spans = zip(first[of_shard], last[of_shard], strict=True)
                slots = [np.arange(a // ROWS, (b - 1) // ROWS + 1) for a, b in spans]
                need[f.name, k] = np.unique(np.concatenate(slots))
        return need

    def here(self, indices: NDArray[np.int64], names: Sequence[str]) -> bool:
        """Whether these samples are here with all their fields, as far as this process has seen."""
        for needs in (self.need, self.need_rows):
            if not all(known.all() for known in self.mirror.known(needs(indices, names)).values()):
                return False
        return True

    def bring(self, indices: NDArray[np.int64], names: Sequence[str]) -> None:
        """Fetch what is not here, as far as it fits."""
        need = self.need(indices, names)
        self.mirror.fetch(need, self.whole_shards)
        starts = all(known.all() for known in self.mirror.known(need).values())
        if starts and any(name in self.ragged for name in names):
            self.mirror.fetch(self.need_rows(indices, names), self.whole_shards)

    def forget(self, indices: NDArray[np.int64], names: Sequence[str]) -> None:
        """Look again what of these samples is here."""
        every = self.need(indices, names)
        self.mirror.forget(every | {(name, k): v for (_, k), v in every.items() for name in names})


class CachedReads:
    """A batch under way: `result` waits for all of its arrays."""

    def __init__(
        self,
        cached: Cached,
        indices: NDArray[np.int64],
        names: list[str],
        out: Mapping[str, NDArray[Any]] | None,
    ) -> None:
        self._cached, self._indices, self._names, self._out = cached, indices, names, out
        self._reads: LocalPending | Future[dict[str, Any]] | None = None
        tensorstore()  # says so after a fork, which the threads here do not survive either
        with suppress(StoreError):  # another process made room: `_read` sees to it
            if cached.here(indices, names):
                self._reads = cached.local.start(indices, names, out)
        if self._reads is None:
            self._reads = cached.submit(self._read)

    def result(self) -> dict[str, Any]:
        """Arrays (sample, ...) by name, `Rows` of ragged fields, and "index". Raises StoreError."""
        tensorstore()
        if not isinstance(self._reads, LocalPending):
            return self._reads.result() if self._reads else self._read()
        try:
            return self._reads.result()
        except StoreError:
            return self._read_remotely()

    def _read(self) -> dict[str, Any]:
        """Fetch what is missing, then read from here what is here and the rest remotely."""
        cached, indices, names = self._cached, self._indices, self._names
        try:
            cached.bring(indices, names)
            here = self._which()
            if here.all():
                return cached.local.start(indices, names, self._out).result()
            if not here.any():
                return cached.remote.start(indices, names, self._out).result()
            far = cached.remote.start(indices[~here], names)
            near = cached.local.start(indices[here], names).result()
            return self._merged(here, near, far.result())
        except RemoteError:
            raise
        except StoreError:  # of what is here; if the server's file is damaged, this says so
            return self._read_remotely()

    def _which(self) -> NDArray[np.bool_]:
        """Which samples of the batch are here."""
        cached, indices, names = self._cached, self._indices, self._names
        if cached.here(indices, names):
            return np.ones(len(indices), bool)
        return np.array([cached.here(indices[i : i + 1], names) for i in range(len(indices))])

    def _read_remotely(self) -> dict[str, Any]:
        self._cached.forget(self._indices, self._names)
        return self._cached.remote.start(self._indices, self._names, self._out).result()

    def _merged(
        self, here: NDArray[np.bool_], near: dict[str, Any], far: dict[str, Any]
    ) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for name in self._names:
            a, b = near[name], far[name]
            if isinstance(a, Rows):
                merged[name] = _merged_rows(here, a, b)
                continue
            whole = (self._out or {}).get(name)
            if whole is None:
                whole = np.empty((len(here), *a.shape[1:]), a.dtype)
            whole[here], whole[~here] = a, b
            merged[name] = whole
        return merged | {"index": self._indices}


def _merged_rows(here: NDArray[np.bool_], near: Rows, far: Rows) -> Rows:
    split = {True: np.split(near.values, near.starts[1:-1])}
    split[False] = np.split(far.values, far.starts[1:-1])
    parts = {key: iter(value) for key, value in split.items()}
    rows = [next(parts[key]) for key in here.tolist()]
    starts = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Rows(np.concatenate(rows), starts)
