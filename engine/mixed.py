"""Several stores as one stream of batches; `engine.mix` has its order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.batches import Batch, Batches, Buffers, Pending
from voxelmill.engine.columns import JoinedParams
from voxelmill.engine.convert import Convert
from voxelmill.engine.merging import Merging
from voxelmill.engine.mix import MixedOrder, shares
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.order import WINDOW, End, Shuffle
from voxelmill.engine.padding import Padded
from voxelmill.engine.permutation import derived_seed
from voxelmill.engine.reader import Reader
from voxelmill.engine.sample import Column, Field, Ragged, Rows
from voxelmill.engine.subset import integers


class MixedReader:
    """Stores opened together; `readers` are each alone.

    Its samples are those of the first store, then those of the next; an index counts through all.
    weights: how often each is taken, in any unit; None takes every sample of all once an epoch.
    Raises ValueError for weights that cannot be met, and for stores that share no field.
    """

    def __init__(self, readers: Sequence[Reader], weights: Sequence[float] | None = None) -> None:
        self.readers = list(readers)
        if not self.readers:
            raise ValueError("a list of stores needs at least one")
        if any(r.follow for r in self.readers):
            raise ValueError("follow=True is for one store; open a list of stores without it")
        if not self.fields:
            told = "; ".join(f"{r.location} has {', '.join(r.fields)}" for r in self.readers)
            raise ValueError(f"the stores have no field in common: {told}")
        self.weights = None if weights is None else [float(w) for w in weights]
        self._slots = () if weights is None else shares(self.weights or [], len(self.readers))
        self._firsts = tuple(np.cumsum([0, *map(len, self.readers)])[:-1].tolist())

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        return f"MixedReader({self.readers!r}, weights={self.weights})"

    def __len__(self) -> int:
        """The samples of all stores together."""
        return sum(map(len, self.readers))

    def __getitem__(self, index: Any) -> Batch:
        """Sample `index`; or the batch of a slice or of a list of indices.

        As a Reader gives it, with all that the stores have in common, and with "store", the number
        of its store, and "index", its number there. Raises IndexError, StoreError, and ValueError
        for a batch of what is not the same in all stores.
        """
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        if np.ndim(index):
            return self.start(index, self.names).result()
        batch = self.begin(self.checked([index]), self.names).result()
        return {k: v.values if isinstance(v, Rows) else v[0] for k, v in batch.items()}

    @property
    def names(self) -> list[str]:
        """All that can be read of a sample of every store: fields, and "params" if there are."""
        return [n for n in self.readers[0].names if all(n in r.names for r in self.readers)]

    @cached_property
    def params(self) -> JoinedParams:
        """Column -> (count,) float64 of all samples, for the columns that all stores have alike."""
        return JoinedParams(self.readers)

    @property
    def fields(self) -> dict[str, Field | Ragged]:
        """What a sample of every store holds, by name."""
        first, rest = self.readers[0], self.readers[1:]
        return {n: f for n, f in first.fields.items() if all(n in r.fields for r in rest)}

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
        end: End = "drop",
        window: int = WINDOW,
        ahead: int = 4,
        epochs: int | None = 1,
        out: Sequence[Buffers] | None = None,
        padded: Padded | None = None,
        scale: Mapping[str, tuple[float, float]] | None = None,
        crop: Mapping[str, int] | None = None,
    ) -> Batches:
        """As `Reader.batches`; split and where choose in each store.

        A batch has "store", the number of each sample's store, and "index", its number there. An
        epoch has as many samples as all the subsets together. fields: by default what all stores
        have. Raises ValueError for a field that is not the same in all of them.
        """
        if shuffle == "shard" and self.weights is None:
            raise ValueError('shuffle="shard" goes store by store: give weights=, or "global"')
        names = self.checked_names(list(self.fields) if fields is None else fields)
        parts = [
            r.batches(
                1,
                shuffle,
                seed=derived_seed(seed, k),
                fields=names,
                split=split,
                where=where,
                window=window,
                padded=padded,
                scale=scale,
                crop=crop,
            )
            for k, r in enumerate(self.readers)
        ]
        orders, convert = tuple(p.order for p in parts), parts[0].convert
        order = MixedOrder(
            count=sum(o.count for o in orders),
            batch=size,
            seed=seed,
            epoch=epoch,
            rank=rank,
            ranks=ranks,
            shuffle=orders[0].shuffle,
            window=window,
            end=end,
            parts=orders,
            firsts=self._firsts,
            slots=self._slots,
        )
        stores, subsets = zip(*(p.digest.split(":")[:2] for p in parts), strict=True)
        return Batches(
            self.begin,
            order,
            names,
            digest=f"{'+'.join(stores)}:{'+'.join(subsets)}:{order.name}",
            ahead=ahead,
            epochs=epochs,
            out=out,
            rows=parts[0].rows,
            convert=None if convert is None else replace(convert, seed=seed),
        )

    def start(
        self, indices: ArrayLike, fields: Sequence[str] | None = None, out: Buffers | None = None
    ) -> Pending:
        """Begin to read samples; `result()` of what this gives waits for the batch.

        fields: by default what all stores have. out: arrays (sample, *shape) to fill, by name.
        """
        names = self.checked_names(list(self.fields) if fields is None else fields)
        return self.begin(self.checked(indices), names, out)

    def begin(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """Begin to read samples, counted through all stores."""
        for name in out or {}:
            if name not in names or isinstance(self.fields.get(name), Ragged):
                raise ValueError(
                    f"no buffer can be filled with {name!r}: it is not read, or ragged"
                )
        store = np.searchsorted(self._firsts, indices, "right") - 1
        parts = {
            k: self.readers[k].begin(indices[store == k] - self._firsts[k], names, None, convert)
            for k in np.unique(store).tolist() or [0]
        }
        return Merging(store, parts, names, out or {})

    def checked(self, indices: ArrayLike) -> NDArray[np.int64]:
        """The indices as int64. Raises IndexError outside, StoreError if not made yet."""
        index = integers(indices)
        outside = (index < 0) | (index >= len(self))
        if outside.any():
            raise IndexError(
                f"{index[outside][0]} is not in [0, {len(self)}) of {len(self.readers)} stores"
            )
        index = index.astype(np.int64)
        store = np.searchsorted(self._firsts, index, "right") - 1
        for k in np.unique(store).tolist():
            self.readers[k].checked(index[store == k] - self._firsts[k])
        return index

    def checked_names(self, names: Sequence[str]) -> list[str]:
        """The names. Raises ValueError for a field that is not the same in all stores."""
        first, *rest = self.readers
        for name in first.checked_names(names):
            for other in rest:
                if name not in other.names:
                    cure = did_you_mean(name, other.names)
                    raise ValueError(
                        f"{other.location} has no field {name!r}, as {first.location} has{cure}; "
                        "pass fields= with what all stores have"
                    )
                mine, theirs = _meaning(first, name), _meaning(other, name)
                if differing := [k for k in mine if mine[k] != theirs.get(k)]:
                    k = differing[0]
                    raise ValueError(
                        f"{name!r} is not the same in all stores: its {k} is {mine[k]} in "
                        f"{first.location} and {theirs.get(k)} in {other.location}; leave it out "
                        "of fields="
                    )
        return list(names)


def _meaning(reader: Reader, name: str) -> dict[str, Any]:
    """What must agree before two arrays can be one."""

    def of(columns: Sequence[Column]) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(c.name, c.unit, c.categories) for c in columns]

    if name == "params":
        return {"columns": of(reader.description.columns)}
    f = reader.fields[name]
    if isinstance(f, Ragged):
        return {"dtype": f.dtype, "columns": of(f.columns)}
    return {k: getattr(f, k) for k in ("dtype", "axes", "shape", "unit")} | {
        "labels": dict(f.labels)
    }
