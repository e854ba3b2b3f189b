"""The arrays of a store through TensorStore: opened when first read, many reads in flight.

The way for stores on S3, Google Cloud or HTTP, and for local ones whose codecs are not ours.
Absence is an error (`fill_missing_data_reads` false), and what TensorStore says of damage becomes
a StoreError that names the file. TensorStore is imported when the first array is opened.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import AbsentError, DamagedError, explained
from voxelmill.engine.in_flight import InFlight
from voxelmill.engine.layout import array_metadata, shard_files, start_name
from voxelmill.engine.location import FIRST_CONTACT_S, Location, tensorstore
from voxelmill.engine.sample import Field, Ragged, Rows

Where = tuple[NDArray[np.int64], ...]

IN_FLIGHT_BYTES = 512 << 20
REQUESTS_AT_ONCE = 64
TIMEOUT_S = 300.0  # longer than all retries of one request take

_BATCH = 64 << 20  # of the pool, beside the indexes
_MOST_POOL = 512 << 20
_MOST_STARTS = 4096  # shards of which the starts of ragged rows are kept
_inherited: list[Any] = []  # reads of the process that this was forked from: to drop one hangs


class Arrays:
    """The open arrays of the store at `location`, with a cache and limits of their own.

    in_flight_bytes: what batches under way take together; more wait for their turn, one alone
    may pass it. timeout_s: how long a batch is waited for before it is an error.
    requests_at_once: of all arrays together; fewer where a server is small and near.
    """

    def __init__(
        self,
        location: Location | str | Path,
        description: Description,
        *,
        in_flight_bytes: int = IN_FLIGHT_BYTES,
        timeout_s: float = TIMEOUT_S,
        requests_at_once: int = REQUESTS_AT_ONCE,
    ) -> None:
        self.location, self.description = Location(location), description
        self.timeout_s, self.requests_at_once = timeout_s, requests_at_once
        self.in_flight = InFlight(in_flight_bytes)
        self._opening: dict[str, Any] = {}  # name -> future of its TensorStore
        self._open: dict[str, Any] = {}
        self._context: Any = None
        self._starts: dict[tuple[str, int], NDArray[np.uint32]] = {}

    def start(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Mapping[str, NDArray[Any]] | None = None,
    ) -> "Reads":
        """Begin to read the samples `indices`; see `Reads`. out: arrays to be filled, by name."""
        return Reads(self, indices, names, out)

    def begin(self, name: str, where: Where, out: NDArray[Any] | None = None) -> "Pending":
        """Begin to read `name` at index arrays for its first axes; see `Pending`."""
        return Pending(self, name, where, out)

    def row_bounds(self, f: Ragged, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """From which row to which, within their shards, the rows of samples stand: (2, sample)."""
        shard, place = np.divmod(indices, self.description.samples_per_shard)
        if len(self._starts) > _MOST_STARTS:
            self._starts = {}  # not cleared: another thread may be reading the old one
        known = self._starts
        unknown = [k for k in np.unique(shard).tolist() if (f.name, k) not in known]
        if unknown:
            rows = self.begin(start_name(f), (np.array(unknown),)).result()
            known |= {(f.name, k): row for k, row in zip(unknown, rows, strict=True)}
        starts = [known[f.name, k] for k in shard.tolist()]
        bounds = [s[p : p + 2] for s, p in zip(starts, place.tolist(), strict=True)]
        return np.array(bounds, np.int64).reshape(-1, 2).T

    def column(self, first: int, last: int, number: int) -> NDArray[np.float64]:
        """Column `number` of `params` of the samples `first` to `last`, the last not in."""
        try:
            read = self.opened("params")[first:last, number].read()
            return np.asarray(read.result(timeout=self.timeout_s))
        except (ValueError, TimeoutError):
            samples = np.arange(first, last)
            return self.begin("params", (samples, np.full(len(samples), number))).result()

    def open_ahead(self, names: Sequence[str]) -> None:
        """Begin to open arrays, all at once: each is a request or more."""
        ts = tensorstore()
        for name in names:
            if name not in self._opening:
                self._opening[name] = self._begin_opening(ts, name)

    def opened(self, name: str) -> Any:
        """The TensorStore of array `name`. Raises StoreError after a fork, or if it cannot open."""
        self.open_ahead([name])
        if name not in self._open:
            try:
                store = self._opening[name].result(timeout=FIRST_CONTACT_S)
                self._check_shape(name, store)
            except (ValueError, TimeoutError, StoreError) as error:
                del self._opening[name]  # asked for again, it is tried again
                raise self._unopened(name, error) from None
            self._open[name] = store
        return self._open[name]

    def _begin_opening(self, ts: Any, name: str) -> Any:
        if self._context is None:
            arrays = len(shard_files(self.description, 0))
            indexes = 2 * 16 * self.description.count * arrays  # of shards, twice
            pool = min(indexes + _BATCH, _MOST_POOL)
            limits = self.location.limits(self.requests_at_once)
            self._context = ts.Context({"cache_pool": {"total_bytes_limit": pool}, **limits})
        spec = {
            "driver": "zarr3",
            "kvstore": self.location.kvstore(name),
            "recheck_cached_metadata": "open",
            "recheck_cached_data": "open",  # else a stat, or a conditional GET, at each read
            "fill_missing_data_reads": False,
        }
        return ts.open(spec, read=True, open=True, context=self._context)

    def _check_shape(self, name: str, store: Any) -> None:
        """Refuse an array that is not the described one; a store that grew meanwhile is longer."""
        due = array_metadata(self.description)[name]
        shape, dtype = list(store.shape), store.dtype.name
        fits = shape[1:] == due["shape"][1:] and shape[0] >= due["shape"][0]
        if not fits or dtype != due["data_type"]:
            raise DamagedError(f"it is {dtype} {shape}, not {due['data_type']} {due['shape']}")

    def _unopened(self, name: str, error: Exception) -> StoreError:
        url = self.location.join(f"{name}/zarr.json")
        found = explained(error, url, FIRST_CONTACT_S)
        if not isinstance(found, AbsentError | DamagedError):
            return found
        return type(found)(f"{url} is missing or damaged; {self._cure()} ({error})")

    def _cure(self, shard: int | None = None) -> str:
        if not self.location.is_local:
            return (
                "run `voxelmill check` on the store that was uploaded, and copy what it finds whole"
            )
        anew = "" if shard is None else f": it makes shard {shard} anew"
        return (
            f"run `voxelmill check {self.location}` and do as it says, then run the same "
            f"`voxelmill make` again{anew}"
        )

    def explain(self, error: Exception, name: str, where: Where) -> StoreError:
        """What went wrong in a read of `name`; of damage, in which file: shards are read again."""
        found = explained(error, self.location.join(name), self.timeout_s)
        if not isinstance(found, AbsentError | DamagedError) and not self.location.is_local:
            return found
        store, first = self.opened(name), where[0]
        rows = name in _by_shard(self.description)
        shards = first if rows else first // self.description.samples_per_shard
        for shard in np.unique(shards).tolist():
            try:
                at = tuple(a[shards == shard] for a in where)
                store.vindex[at].read().result(timeout=self.timeout_s)
            except (ValueError, TimeoutError) as again:
                found = self._located(again, shard, name)
                break
        if isinstance(found, AbsentError):  # TensorStore keeps absence too: look again next time
            self._opening, self._open, self._context = {}, {}, None
        return found

    def _located(self, error: Exception, shard: int, name: str) -> StoreError:
        file = shard_files(self.description, shard)[name]
        found = explained(error, self.location.join(file), self.timeout_s)
        if self.location.is_local:
            absent = not (self.location.path / file).exists()
            found = AbsentError("") if absent else DamagedError("")
        if not isinstance(found, AbsentError | DamagedError):
            return found
        what = "is missing" if isinstance(found, AbsentError) else "is damaged"
        return type(found)(f"{self.location.join(file)} {what}; {self._cure(shard)} ({error})")


class Pending:
    """A read under way of array `name` where its first axes are at `where`, element by element.

    out: what `result` fills.
    """

    def __init__(
        self, arrays: Arrays, name: str, where: Where, out: NDArray[Any] | None = None
    ) -> None:
        self._arrays, self._name, self._where, self._out = arrays, name, where, out
        self._future: Any = None
        self._failed: Exception | None = None
        self._begun, self._pid = False, os.getpid()
        store = arrays.opened(name)
        shape = (len(where[0]), *store.shape[len(where) :])
        self._dtype = store.dtype.numpy_dtype
        self.nbytes = int(np.prod(shape)) * self._dtype.itemsize
        if out is not None:
            _check_out(name, out, shape, self._dtype)
        arrays.in_flight.enter(self)

    def begin(self) -> None:
        """Ask TensorStore; what fails is said by `result`, since another read may make room."""
        self._begun = True
        try:
            self._future = self._arrays.opened(self._name).vindex[self._where].read()
        except (ValueError, StoreError) as error:
            self._failed = error

    def result(self) -> NDArray[Any]:
        """Wait: (element, *rest). Raises StoreError that names the first damaged file."""
        tensorstore()  # says so after a fork
        self._arrays.in_flight.now(self)
        try:
            if self._failed is not None:
                raise self._failed
            got = self._future.result(timeout=self._arrays.timeout_s)
        except (ValueError, TimeoutError) as error:
            raise self._arrays.explain(error, self._name, self._where) from None
        finally:
            self._leave()
        if self._out is None:
            return np.asarray(got)
        # Not by TensorStore, which would go on after the time-out, when who gave the buffer may
        # fill it with something else.
        np.copyto(self._out, got)
        return self._out

    def _leave(self) -> None:
        if self._begun:
            self._begun = False
            self._arrays.in_flight.leave(self.nbytes)

    def __del__(self) -> None:
        """What is dropped unread makes room for others."""
        if not getattr(self, "_begun", False):
            return
        if self._pid == os.getpid():
            self._leave()
        else:
            _inherited.append(self._future)


class Reads:
    """A batch under way: `result` waits for all of its arrays."""

    def __init__(
        self,
        arrays: Arrays,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self._indices = indices
        self._dense: dict[str, Pending] = {}
        self._rows: dict[str, tuple[Pending | NDArray[Any], NDArray[np.int64]]] = {}
        self._names = list(names)
        ragged = {f.name: f for f in arrays.description.fields if isinstance(f, Ragged)}
        starts = [start_name(ragged[name]) for name in names if name in ragged]
        arrays.open_ahead([*names, *starts])
        for name in names:
            if name not in ragged:
                self._dense[name] = arrays.begin(name, (indices,), (out or {}).get(name))
        for name in names:  # behind the images: the starts of new shards are waited for
            if name in ragged:
                self._rows[name] = _begin_rows(arrays, ragged[name], indices)

    def result(self) -> dict[str, Any]:
        """Arrays (sample, ...) by name, `Rows` of ragged fields, and "index". Raises StoreError."""
        batch: dict[str, Any] = {name: dense.result() for name, dense in self._dense.items()}
        for name, (read, starts) in self._rows.items():
            values = read if isinstance(read, np.ndarray) else read.result()
            batch[name] = Rows(values, starts)
        return {name: batch[name] for name in self._names} | {"index": self._indices}


def _begin_rows(
    arrays: Arrays, f: Ragged, indices: NDArray[np.int64]
) -> tuple[Pending | NDArray[Any], NDArray[np.int64]]:
    first, last = arrays.row_bounds(f, indices)
    sizes = last - first
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    if not starts[-1]:
        return np.empty((0, len(f.columns)), f.dtype), starts
    shard = np.repeat(indices // arrays.description.samples_per_shard, sizes)
    row = np.arange(starts[-1]) + np.repeat(first - starts[:-1], sizes)
    return arrays.begin(f.name, (shard, row)), starts


def _by_shard(description: Description) -> set[str]:
    """The arrays whose first axis is the shard."""
    ragged = [f for f in description.fields if not isinstance(f, Field)]
    return {f.name for f in ragged} | {start_name(f) for f in ragged}


def _check_out(name: str, out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        what = "" if out.flags.writeable else "read-only "
        raise ValueError(
            f"out[{name!r}] is {what}{out.dtype} {out.shape}, and this batch is {dtype} {shape}"
        )
