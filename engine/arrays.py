"""The arrays of a store through TensorStore: opened when first read, many reads in flight.

Absence is an error (`fill_missing_data_reads` false), and what TensorStore says of damage becomes
a StoreError that names the file. TensorStore is imported when the first array is opened.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.layout import shard_files, start_name
from voxelmill.engine.sample import Field, Ragged, Rows

_LEAST_POOL, _MOST_POOL = 64 << 20, 512 << 20
_MOST_STARTS = 4096  # shards of which the starts of ragged rows are kept

_used_in: int | None = None  # the process in which TensorStore's threads run


class Arrays:
    """The open arrays of the store at `path`, with a cache and limits of their own."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path, self.description = path, description
        self._open: dict[str, Any] = {}
        self._context: Any = None
        self._starts: dict[tuple[str, int], NDArray[np.uint32]] = {}

    def begin(self, name: str, where: tuple[NDArray[np.int64], ...]) -> "Pending":
        """Begin to read `name` at index arrays for its first axes; see `Pending`."""
        return Pending(self, name, where)

    def row_bounds(self, f: Ragged, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """From which row to which, within their shards, the rows of samples stand: (2, sample)."""
        shard, place = np.divmod(indices, self.description.samples_per_shard)
        if len(self._starts) > _MOST_STARTS:
            self._starts.clear()
        unknown = [k for k in np.unique(shard).tolist() if (f.name, k) not in self._starts]
        if unknown:
            rows = self.begin(start_name(f), (np.array(unknown),)).result()
            self._starts |= {(f.name, k): row for k, row in zip(unknown, rows, strict=True)}
        starts = [self._starts[f.name, k] for k in shard.tolist()]
        bounds = [s[p : p + 2] for s, p in zip(starts, place.tolist(), strict=True)]
        return np.array(bounds, np.int64).reshape(-1, 2).T

    def column(self, first: int, last: int, number: int) -> NDArray[np.float64]:
        """Column `number` of `params` of the samples `first` to `last`, the last not in."""
        try:
            return np.asarray(self.opened("params")[first:last, number].read().result())
        except ValueError:
            samples = np.arange(first, last)
            return self.begin("params", (samples, np.full(len(samples), number))).result()

    def opened(self, name: str) -> Any:
        """The TensorStore of array `name`. Raises StoreError after a fork, or if it cannot open."""
        _refuse_fork()
        if name not in self._open:
            self._open[name] = self._opening(name)
        return self._open[name]

    def _opening(self, name: str) -> Any:
        import tensorstore as ts

        if self._context is None:
            arrays = len(shard_files(self.description, 0))
            indexes = 2 * 16 * self.description.count * arrays  # of shards, twice
            pool = min(max(indexes, _LEAST_POOL), _MOST_POOL)
            self._context = ts.Context({"cache_pool": {"total_bytes_limit": pool}})
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{self.path.absolute()}/{name}/"},
            "recheck_cached_metadata": "open",
            "recheck_cached_data": "open",  # else a stat at each read
            "fill_missing_data_reads": False,
        }
        try:
            return ts.open(spec, read=True, open=True, context=self._context).result()
        except ValueError as error:
            raise StoreError(
                f"{self.path}/{name}/zarr.json is missing or damaged; run `voxelmill check "
                f"{self.path}`, then the same `voxelmill make` again ({error})"
            ) from error


class Pending:
    """A read under way of array `name` where its first axes are at `where`, element by element."""

    def __init__(self, arrays: Arrays, name: str, where: tuple[NDArray[np.int64], ...]) -> None:
        self._arrays, self._name, self._where = arrays, name, where
        self._future = arrays.opened(name).vindex[where].read()

    def result(self) -> NDArray[Any]:
        """Wait: (element, *rest). Raises StoreError that names the first damaged file."""
        try:
            return np.asarray(self._future.result())
        except ValueError as error:
            raise self._explained(error) from error

    def _explained(self, error: ValueError) -> StoreError:
        """Read again shard by shard to learn which file it is."""
        store, path = self._arrays.opened(self._name), self._arrays.path
        first = self._where[0]
        rows = self._name in _by_shard(self._arrays.description)
        shards = first if rows else first // self._arrays.description.samples_per_shard
        for shard in np.unique(shards).tolist():
            try:
                store.vindex[tuple(a[shards == shard] for a in self._where)].read().result()
            except ValueError as again:
                file = path / shard_files(self._arrays.description, shard)[self._name]
                what = "is damaged" if file.exists() else "is missing"
                return StoreError(
                    f"{file} {what}; run `voxelmill check {path}` and do as it says, then run the "
                    f"same `voxelmill make` again: it makes shard {shard} anew ({again})"
                )
        return StoreError(f"{path}/{self._name}: {error}; look with `voxelmill check {path}`")


class Reads:
    """A batch under way: `result` waits for all of its arrays."""

    def __init__(self, arrays: Arrays, indices: NDArray[np.int64], names: list[str]) -> None:
        self._indices = indices
        self._dense: dict[str, Pending] = {}
        self._rows: dict[str, tuple[Pending | NDArray[Any], NDArray[np.int64]]] = {}
        self._names = names
        ragged = {f.name: f for f in arrays.description.fields if isinstance(f, Ragged)}
        for name in names:
            if name not in ragged:
                self._dense[name] = arrays.begin(name, (indices,))
        for name in names:  # behind the images: the starts of new shards are waited for
            if name in ragged:
                self._rows[name] = _begin_rows(arrays, ragged[name], indices)

    def result(self) -> dict[str, Any]:
        """Arrays (sample, ...) by name, `Rows` of ragged fields, and "index". Raises StoreError."""
        batch: dict[str, Any] = {name: read.result() for name, read in self._dense.items()}
        for name, (read, starts) in self._rows.items():
            values = read.result() if isinstance(read, Pending) else read
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


def _refuse_fork() -> None:
    """TensorStore kills a process that was forked after its first use; say so before it does."""
    global _used_in
    pid = os.getpid()
    if _used_in is None:
        _used_in = pid
    if _used_in != pid:
        raise StoreError(
            f"process {pid} was forked from {_used_in} after a store had been read there, and "
            "TensorStore's threads do not survive a fork: start workers with 'spawn' or "
            "'forkserver', or read nothing before the fork, or use threads (in PyTorch, "
            "num_workers=0)"
        )
