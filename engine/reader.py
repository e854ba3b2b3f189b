"""Read a store: by index, or as a stream of batches with reads in flight.

Knows neither PyTorch nor JAX: a batch is a dict of NumPy arrays, with `Rows` for ragged fields
and the numbers of its samples as "index". What is missing or damaged is an error, never zeros.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.arrays import Arrays, Reads
from voxelmill.engine.commit import manifest_entries, read_records
from voxelmill.engine.errors import StoreError
from voxelmill.engine.group import describe, read_group, state_in
from voxelmill.engine.order import shuffled, step_positions
from voxelmill.engine.sample import Field, Ragged, Rows

Batch = dict[str, Any]
_SPLITS = ("train", "val", "test")


def open_store(path: str | Path, partial: bool = False) -> "Reader":
    """Open the store at `path` for reading.

    partial: read what is there of a store that is still being made, which else is a StoreError.
    """
    return Reader(path, partial)


class Reader:
    """A store opened for reading. It pickles as its path, so that each process opens its own."""

    def __init__(self, path: str | Path, partial: bool = False) -> None:
        self.path, self.partial = Path(path), partial
        group = read_group(self.path)
        self.description = describe(self.path, group)
        self._made: dict[int, int] | None = None  # shard -> samples; None where all is there
        if state_in(group) == "whole":
            manifest_entries(self.path, self.description)
        else:
            records = read_records(self.path, self.description)
            self._made = {shard: record.samples for shard, record in records.items()}
            if not partial:
                raise StoreError(self._unfinished(state_in(group)))
        self._arrays = Arrays(self.path, self.description)

    def __reduce__(self) -> tuple[Any, ...]:
        """The path: arrays and caches stay in their process."""
        return Reader, (self.path, self.partial)

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        return f"Reader({str(self.path)!r}, count={len(self)}, partial={self.partial})"

    def __len__(self) -> int:
        """The samples of the store, also of those shards that are not made yet."""
        return self.description.count

    def __getitem__(self, index: Any) -> Batch:
        """Sample `index`; or the batch of a slice or of a list of indices.

        A ragged field of one sample is (row, column), and "params" (column,). Raises IndexError
        outside [0, count), StoreError for what is missing or damaged.
        """
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        if np.ndim(index):
            return self.start(index, self._all_names()).result()
        batch = self.start([index], self._all_names()).result()
        return {k: v.values if isinstance(v, Rows) else v[0] for k, v in batch.items()}

    @cached_property
    def fields(self) -> dict[str, Field | Ragged]:
        """What each sample holds, by name."""
        return {f.name: f for f in self.description.fields}

    @cached_property
    def labels(self) -> dict[str, dict[int, str]]:
        """The meaning of each value, of the fields that are labels."""
        dense = (f for f in self.description.fields if isinstance(f, Field) and f.labels)
        return {f.name: dict(f.labels) for f in dense}

    @cached_property
    def params(self) -> "Params":
        """Column -> (count,) float64 of all samples; each is read when it is first asked for."""
        return Params(self)

    @cached_property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """What the codes of a column of `params` index, for the columns that hold codes."""
        return {c.name: c.categories for c in self.description.columns if c.categories}

    @cached_property
    def subjects(self) -> NDArray[np.object_]:
        """The subject of each sample, (count,) of str; "" where it is not made yet.

        Raises StoreError if the store names no subjects.
        """
        codes, table = self._subject_codes()
        return np.array([*table, ""], object)[codes]

    def available(self) -> NDArray[np.int64]:
        """The indices that can be read: all, or of an unfinished store those that are made."""
        return np.concatenate([np.arange(0), *(np.arange(*run) for run in self._runs())])

    def split(self, name: str) -> NDArray[np.int64]:
        """The indices of the part `name` (train, val, test), by the subjects of the samples.

        Raises ValueError for another name, StoreError if the store names no subjects.
        """
        from voxelmill.engine.split import Split

        if name not in _SPLITS:
            raise ValueError(f"there is no split {name!r}; there are {', '.join(_SPLITS)}")
        rule = Split(**(self.description.spec.get("split") or {}))
        codes, table = self._subject_codes()
        return np.flatnonzero(np.array([*(rule.part(s) == name for s in table), False])[codes])

    def batches(
        self,
        size: int,
        shuffle: bool = True,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        ranks: int = 1,
        fields: Sequence[str] | None = None,
        split: str | None = None,
        ahead: int = 4,
        drop_last: bool = True,
    ) -> Iterator[Batch]:
        """One epoch in batches of `size` samples, with `ahead` more in flight.

        fields: all but "params" by default. Of an unfinished store, what is made. drop_last:
        leave out the last uneven step, so that all ranks take the same number of steps.
        """
        names = list(self.fields) if fields is None else list(fields)
        step_positions(0, size, rank, ranks)  # refuses bad numbers now, not at the first batch
        chosen = self._chosen(split)
        count = len(self) if chosen is None else len(chosen)
        steps = count // (size * ranks) if drop_last else -(-count // (size * ranks))
        if not steps or ahead < 0:
            raise ValueError(
                f"{count} samples are no batch of {size} for each of {ranks} ranks, {ahead} ahead; "
                "take smaller batches or drop_last=False, and ahead of 0 or more"
            )

        def begun() -> Iterator[Reads]:
            for step in range(steps):
                place = step_positions(step, size, rank, ranks)
                place = place[place < count]
                index = shuffled(place, count, seed=seed, epoch=epoch) if shuffle else place
                yield self.start(index if chosen is None else chosen[index], names)

        self._check_names(names)
        return _finished(begun(), ahead)

    def start(self, indices: ArrayLike, fields: Sequence[str] | None = None) -> Reads:
        """Begin to read samples; `result()` of what this gives waits for the batch.

        fields: all but "params" by default.
        """
        names = list(self.fields) if fields is None else list(fields)
        self._check_names(names)
        return Reads(self._arrays, self._checked(indices), names)

    def params_of(self, index: int) -> NDArray[np.float64]:
        """The row of `params` of one sample, (column,) in the order of `description.columns`."""
        if not self.description.columns:
            return np.empty(0)
        row: NDArray[np.float64] = self.start([index], ["params"]).result()["params"][0]
        return row

    def column(self, number: int) -> NDArray[np.float64]:
        """Column `number` of `params`, (count,) float64; NaN where a sample is not made yet."""
        out = np.full(len(self), np.nan)
        for first, last in self._runs():
            out[first:last] = self._arrays.column(first, last, number)
        return out

    def _runs(self) -> list[tuple[int, int]]:
        """The samples that can be read, in runs from the first to behind the last."""
        if self._made is None:
            return [(0, len(self))]
        size = self.description.samples_per_shard
        return [(shard * size, shard * size + n) for shard, n in sorted(self._made.items())]

    def _all_names(self) -> list[str]:
        return [*self.fields, *(["params"] if self.description.columns else [])]

    def _check_names(self, names: Sequence[str]) -> None:
        known = self._all_names()
        if strange := [name for name in names if name not in known]:
            raise ValueError(f"{self.path} has no field {strange[0]!r}; it has {', '.join(known)}")

    def _checked(self, indices: ArrayLike) -> NDArray[np.int64]:
        index = np.asarray(indices)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise TypeError(f"an index is an integer or a list of them, not {indices!r}")
        outside = (index < 0) | (index >= len(self))
        if outside.any():
            raise IndexError(f"{index[outside][0]} is not in [0, {len(self)}) of {self.path}")
        index = index.astype(np.int64)
        if self._made is not None:
            self._refuse_unmade(index, self._made)
        return index

    def _refuse_unmade(self, index: NDArray[np.int64], made: Mapping[int, int]) -> None:
        for i in index.tolist():
            shard, place = divmod(i, self.description.samples_per_shard)
            if place >= made.get(shard, 0):
                raise StoreError(
                    f"{self.path}: sample {i} is in shard {shard}, which is not made yet; run the "
                    "same `voxelmill make` to go on"
                )

    def _chosen(self, split: str | None) -> NDArray[np.int64] | None:
        if split is not None:
            return self.split(split)
        return None if self._made is None else self.available()

    def _subject_codes(self) -> tuple[NDArray[np.int64], list[str]]:
        """The subject of each sample as an index into a table; its length where not made yet."""
        table = [*self.categories.get("subject", ())]
        column = "subject" if table else "input"
        table = table or [str(s) for s in self.description.inputs.get("subjects", ())]
        if not table or column not in self.params:
            raise StoreError(f"{self.path} does not say which subject a sample is from")
        codes = self.params[column]
        return np.where(np.isnan(codes), len(table), codes).astype(np.int64), table

    def _unfinished(self, state: str) -> str:
        made, cure = self._made or {}, "run the same `voxelmill make` to go on"
        due = range(self.description.shards)
        lacking = [k for k in due if made.get(k, 0) < self.description.samples_in(k)]
        if not lacking:
            return f"{self.path}: all shards are made, but the store is not finished; {cure}"
        from voxelmill.engine.store import name_shards

        return (
            f"{self.path} is {state}: {name_shards(lacking)} not made yet; {cure}, or pass "
            "partial=True to read the rest"
        )


class Params(Mapping[str, NDArray[np.float64]]):
    """The columns of `params` by name, each (count,) float64; NaN where not made yet."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._numbers = {c.name: i for i, c in enumerate(reader.description.columns)}
        self._read: dict[str, NDArray[np.float64]] = {}

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """All values of `column`; raises KeyError if there is no such column."""
        number = self._numbers[column]
        if column not in self._read:
            self._read[column] = self._reader.column(number)
        return self._read[column]

    def __iter__(self) -> Iterator[str]:
        """The names, in their order."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """The number of columns."""
        return len(self._numbers)


def _finished(begun: Iterator[Reads], ahead: int) -> Iterator[Batch]:
    """Wait for one read after another, with `ahead` more under way."""
    inflight: deque[Reads] = deque()
    for reads in begun:
        inflight.append(reads)
        if len(inflight) > ahead:
            yield inflight.popleft().result()
    while inflight:
        yield inflight.popleft().result()
