"""Read a store: by index, or as a stream of batches with reads in flight.

Knows neither PyTorch nor JAX: a batch is a dict of NumPy arrays, with `Rows` for ragged fields
and the numbers of its samples as "index". What is missing or damaged is an error, never zeros.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.access import Access, open_access, refuse_options
from voxelmill.engine.batches import TOLD_AHEAD, Batch, Batches, Begin, Buffers, Pending
from voxelmill.engine.columns import Params
from voxelmill.engine.convert import Convert
from voxelmill.engine.group import describe, read_group, state_in
from voxelmill.engine.local import LocalArrays, window_steps
from voxelmill.engine.location import Location
from voxelmill.engine.made import Made
from voxelmill.engine.order import WINDOW, End, Order, Shuffle, by_shard, subset_name
from voxelmill.engine.padding import Padded, rooms
from voxelmill.engine.sample import Field, Ragged, Rows
from voxelmill.engine.subset import integers, of_split, subject_codes, subset

if TYPE_CHECKING:
    from voxelmill.engine.mixed import MixedReader

Place = str | Path | Location


@overload
def open_store(
    path: Place, partial: bool = ..., *, follow: bool = ..., stall_s: float = ..., **access: Any
) -> "Reader": ...
@overload
def open_store(
    path: list[Any] | tuple[Any, ...],
    partial: bool = ...,
    *,
    weights: Sequence[float] | None = ...,
    **access: Any,
) -> "MixedReader": ...
def open_store(
    path: Place | list[Any] | tuple[Any, ...],
    partial: bool = False,
    *,
    follow: bool = False,
    stall_s: float = 600.0,
    weights: Sequence[float] | None = None,
    **access: Any,
) -> "Reader | MixedReader":
    """Open the store at `path` for reading; or several, as one: see `engine.mixed`.

    partial: read what is there of a store that is still being made, which else is a StoreError.
    follow: read it while it is being made, waiting for what comes: see `engine.follow`.
    weights: how often each of several stores is taken. access: see `engine.access.open_access`.
    """
    if isinstance(path, str | Path | Location):
        if weights is not None:
            raise ValueError("weights= are for a list of stores; one store needs none")
        return Reader(path, partial, follow=follow, stall_s=stall_s, **access)
    from voxelmill.engine.mixed import MixedReader

    return MixedReader([Reader(p, partial, follow=follow, **access) for p in path], weights)


class Reader:
    """A store opened for reading. It pickles as its path, so that each process opens its own.

    It has the samples that the store had when it was opened, also while the store grows.
    """

    def __init__(
        self,
        path: Place,
        partial: bool = False,
        *,
        follow: bool = False,
        stall_s: float = 600.0,
        grown_from: int | None = None,
        **access: Any,
    ) -> None:
        """grown_from: the count with which a whole store was opened, by who opens it again."""
        self.location, self.partial, self.follow = Location(path), partial, follow
        refuse_options(access, ("partial", "follow", "stall_s", "weights"))
        self.stall_s, self._options = stall_s, access
        group = read_group(self.location)
        self.description = describe(self.location, group)
        state: str = state_in(group)
        if grown_from is not None and grown_from < self.description.count:
            self.description, state = replace(self.description, count=grown_from), "grown"
        self._made = Made(self.location, self.description, state)
        if follow:
            self._made.forget_short()
        elif not partial:
            self._made.refuse_unfinished()

    def __reduce__(self) -> tuple[Any, ...]:
        """The path and the count: arrays and caches stay in their process."""
        options = self._options | {"grown_from": len(self)} if self.is_whole else self._options
        return _reopened, (self.location, self.partial, self.follow, self.stall_s, options)

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        follow = ", follow=True" if self.follow else ""
        return f"Reader({str(self.location)!r}, count={len(self)}, partial={self.partial}{follow})"

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
            return self.start(index, self.names).result()
        batch = self.start([index], self.names).result()
        return {k: v.values if isinstance(v, Rows) else v[0] for k, v in batch.items()}

    @property
    def path(self) -> Path:
        """The folder of the store. Raises StoreError if it is not on this machine."""
        return self.location.path

    @property
    def is_whole(self) -> bool:
        """Whether every sample was there when it was opened."""
        return self._made.shards is None

    @cached_property
    def fields(self) -> dict[str, Field | Ragged]:
        """What each sample holds, by name."""
        return {f.name: f for f in self.description.fields}

    @property
    def names(self) -> list[str]:
        """All that can be read of a sample: the fields, and "params" where there are any."""
        return [*self.fields, *(["params"] if self.description.columns else [])]

    @cached_property
    def labels(self) -> dict[str, dict[int, str]]:
        """The meaning of each value, of the fields that are labels."""
        dense = (f for f in self.description.fields if isinstance(f, Field) and f.labels)
        return {f.name: dict(f.labels) for f in dense}

    @cached_property
    def params(self) -> Params:
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
        codes, table = subject_codes(self)
        return np.array([*table, ""], object)[codes]

    def available(self) -> NDArray[np.int64]:
        """The indices that can be read: all, or of an unfinished store those that are made."""
        return np.concatenate([np.arange(0), *(np.arange(*run) for run in self._made.runs())])

    def split(self, name: str) -> NDArray[np.int64]:
        """The indices of the part `name` (train, val, test), by the subjects of the samples.

        Raises ValueError for another name, StoreError if the store names no subjects.
        """
        return of_split(self, name)

    def batches(
        self,
        size: int,
        shuffle: bool | Shuffle = True,
        *,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        ranks: int = 1,
        fields: Sequence[str] | None = None,
        split: str | None = None,
        where: str | None = None,
        indices: ArrayLike | None = None,
        end: End = "drop",
        window: int = WINDOW,
        ahead: int = 4,
        epochs: int | None = 1,
        out: Sequence[Buffers] | None = None,
        padded: Padded | None = None,
        scale: Mapping[str, tuple[float, float]] | None = None,
        crop: Mapping[str, int] | None = None,
    ) -> Batches:
        """Batches of `size` samples for `rank` of `ranks`, with `ahead` more in flight.

        shuffle, end, window: the order, see `Order`; True is "global", False "none".
        fields: all but "params" by default. split, where, indices: a subset, see
        `engine.subset`; of an unfinished store, what is made, and with `follow` indices only.
        epochs, out: see `Batches`, which says how to stop and go on.
        scale: field -> (factor, offset): value x factor + offset, in float32.
        crop: axis -> size: a window whose place is drawn by (seed, epoch, index), the same in all
        fields. Rows (boxes, points) stay in the pixels of the whole sample: batch["crop"],
        (sample, axis) int64, the axes in the order of `crop`, says where each window begins, and
        `y - batch["crop"][:, 0]` is in the pixels of the crop, maybe outside of it.
        padded: ragged field -> rows: (sample, rows, column), zeros behind, instead of `Rows`, and
        "<field>_count", how many are filled. Room for fewer rows than a sample may have is a
        ValueError; `(rows, "drop")` leaves the rest out, without a word.
        """
        names = self.checked_names(fields)
        rows = rooms(padded or {}, self.fields, names)
        convert = None
        if scale or crop:
            convert = Convert(scale or {}, crop or {}, seed=seed)
            convert = convert.sized(self.description.fields, names)
        chosen = subset(self, indices, split, where)
        kind = _KINDS.get(shuffle, shuffle)
        per_shard = self.description.samples_per_shard
        if chosen is not None and (kind == "shard" or (self.follow and kind == "global")):
            chosen, per_shard = by_shard(chosen, per_shard)
        order = Order(
            count=len(self) if chosen is None else len(chosen),
            batch=size,
            seed=seed,
            epoch=epoch,
            rank=rank,
            ranks=ranks,
            shuffle=kind,
            window=window,
            end=end,
            samples_per_shard=per_shard,
            subset=chosen,
            follow=self.follow,
        )
        digest = f"{self.description.content_digest[:16]}:{subset_name(chosen)}:{order.name}"
        tells = order.shuffle == "shard" and not self.follow
        steps = window_steps(order, self.description, names) if tells else 0
        return Batches(
            self._begin(),
            order,
            names,
            digest=digest,
            ahead=ahead,
            epochs=epochs,
            out=out,
            rows=rows,
            convert=convert,
            expect=partial(self._expect, whole=steps > 0) if tells else None,
            told=max(TOLD_AHEAD, steps),
        )

    def start(
        self, indices: ArrayLike, fields: Sequence[str] | None = None, out: Buffers | None = None
    ) -> Pending:
        """Begin to read samples; `result()` of what this gives waits for the batch.

        fields: all but "params" by default. out: arrays (sample, *shape) to read into, by name.
        """
        return self.begin(self.checked(indices), self.checked_names(fields), out)

    def begin(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """`start` without its checks: for indices and names that `checked` gave."""
        return self._access.start(indices, names, out, convert)

    def begin_made(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """As `begin`; of a store that is followed, `result()` waits until they are made."""
        return self._begin()(indices, names, out, convert)

    def _expect(self, indices: NDArray[np.int64], names: Sequence[str], whole: bool) -> None:
        """Tell a local store what will be read; others have no use for it."""
        if isinstance(self._access, LocalArrays):
            self._access.expect(indices, names, whole)

    def params_of(self, index: int) -> NDArray[np.float64]:
        """The row of `params` of one sample, (column,) in the order of `description.columns`."""
        if not self.description.columns:
            return np.empty(0)
        row: NDArray[np.float64] = self.start([index], ["params"]).result()["params"][0]
        return row

    def column(self, number: int) -> NDArray[np.float64]:
        """Column `number` of `params`, (count,) float64; NaN where a sample is not made yet."""
        out = np.full(len(self), np.nan)
        for first, last in self._made.runs():
            out[first:last] = self._access.column(first, last, number)
        return out

    def checked(self, indices: ArrayLike, made: bool = True) -> NDArray[np.int64]:
        """The indices as int64. Raises IndexError outside the store, StoreError if not made yet.

        made: False lets those that are not made yet through.
        """
        index = integers(indices)
        outside = (index < 0) | (index >= len(self))
        if outside.any():
            raise IndexError(f"{index[outside][0]} is not in [0, {len(self)}) of {self.location}")
        index = index.astype(np.int64)
        if made:
            if self.follow and self._made.shards is not None:
                from voxelmill.engine.follow import Following

                Following(self, self._made.shards).lacking(index)  # notes what came meanwhile
            self._made.refuse_lacking(index)
        return index

    def checked_names(self, names: Sequence[str] | None) -> list[str]:
        """The names of fields to read. Raises ValueError for one that the store has not."""
        if isinstance(names, str):
            raise TypeError(f"fields is a list of names, not {names!r}: write [{names!r}]")
        known = self.names
        for name in names or ():
            if name not in known:
                raise ValueError(
                    f"{self.location} has no field {name!r}; it has {', '.join(known)}"
                )
        return list(self.fields) if names is None else list(names)

    @cached_property
    def _access(self) -> Access:
        return open_access(self.location, self.description, **self._options)

    def _begin(self) -> Begin:
        if not self.follow or self._made.shards is None:
            return self.begin
        from voxelmill.engine.follow import Following

        return Following(self, self._made.shards).begin


_KINDS: dict[Any, Any] = {True: "global", False: "none"}


def _reopened(
    location: Location, partial: bool, follow: bool, stall_s: float, access: dict[str, Any]
) -> Reader:
    return Reader(location, partial, follow=follow, stall_s=stall_s, **access)
