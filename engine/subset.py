"""Which samples of a store a stream of batches is about: indices, a split, a condition.

All of them together: a subset holds what each of them names. It is an array of indices, so that
order, ranks and resuming are those of a whole store; its digest stands in the state.
"""

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.errors import StoreError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.where import Name, parse_where

if TYPE_CHECKING:
    from voxelmill.engine.reader import Reader

Indices = NDArray[np.int64]
SPLITS = ("train", "val", "test")
_AT_ONCE = 1 << 15  # samples of which the rows are asked together
_NOT_KNOWN = (
    "{} is followed while it is made, and which samples split= and where= choose stands in params "
    "that are not made yet: nobody knows how many they are, and so how many steps each rank is to "
    'take; pass indices=, take "params" along and choose in each batch, or wait until it is whole'
)


def subset(
    reader: "Reader",
    indices: ArrayLike | None = None,
    split: str | None = None,
    where: str | None = None,
) -> Indices | None:
    """The samples that all of the arguments name; None where that is the whole store.

    indices: in their own order, repeated ones too. Of an unfinished store, what is made; of one
    that is followed, indices also of what will be. Raises IndexError, ValueError or StoreError that
    names the wrong word, or that nothing is left.
    """
    coming = reader.follow and not reader.is_whole
    if coming and not (split is None and where is None):
        raise ValueError(_NOT_KNOWN.format(reader.location))
    kept: list[Indices] = []
    if split is not None:
        kept.append(of_split(reader, split))
    if where is not None:
        kept.append(of_where(reader, where))
    available = None if reader.is_whole or coming else reader.available()
    if indices is not None:
        chosen = reader.checked(indices, made=not coming)
        for part in kept:
            chosen = chosen[np.isin(chosen, part)]
    elif kept:
        chosen = kept[0]
        for part in kept[1:]:
            chosen = np.intersect1d(chosen, part, assume_unique=True)
        chosen = chosen if available is None else np.intersect1d(chosen, available)
    elif available is None:
        return None
    else:
        chosen = available
    if not len(chosen):
        words = {"split": split, "where": where, "indices": None if indices is None else "..."}
        said = ", ".join(f"{k}={v!r}" for k, v in words.items() if v is not None)
        raise ValueError(f"{reader.location} has no sample with {said or 'partial=True'}")
    return chosen


def integers(indices: ArrayLike) -> NDArray[Any]:
    """The indices as an array. Raises TypeError for what is no list of whole numbers."""
    index = np.asarray(indices)
    if index.dtype.kind == "b":
        raise TypeError(
            "an index is an integer or a list of them, not a mask: np.flatnonzero(mask)"
        )
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise TypeError(f"an index is an integer or a list of them, not {reprlib.repr(indices)}")
    return index


def of_split(reader: "Reader", name: str) -> Indices:
    """The samples of the part `name` (train, val, test), by their subjects.

    Raises ValueError for another name, StoreError if the store names no subjects.
    """
    from voxelmill.engine.split import Split

    if name not in SPLITS:
        cure = did_you_mean(name, SPLITS)
        raise ValueError(f"there is no split {name!r}{cure}")
    rule = Split(**(reader.description.spec.get("split") or {}))
    codes, table = subject_codes(reader)
    return np.flatnonzero(np.array([*(rule.part(s) == name for s in table), False])[codes])


def of_where(reader: "Reader", text: str) -> Indices:
    """The samples for which a condition holds: see `engine.where`."""
    where = parse_where(text, reader.description)
    columns = [*reader.params]
    drawn = {n: reader.params[columns[n.number]] for n in where.names if n.table is None}
    if where.table is None:
        holds = where(drawn)
        return np.flatnonzero(holds & np.isin(np.arange(len(reader)), reader.available()))
    found = []
    available = reader.available()
    for first in range(0, len(available), _AT_ONCE):
        part = available[first : first + _AT_ONCE]
        rows = reader.begin(part, [where.table]).result()[where.table]
        sample = np.repeat(part, np.diff(rows.starts))
        values = {n: column[sample] for n, column in drawn.items()}
        own = (n for n in where.names if n.table is not None)
        values |= {Name(n.table, n.number): rows.values[:, n.number] for n in own}
        found.append(np.unique(sample[where(values)]))
    return np.concatenate([np.empty(0, np.int64), *found])


def subject_codes(reader: "Reader") -> tuple[Indices, list[str]]:
    """The subject of each sample as an index into a table; its length where not made yet."""
    table = [*reader.categories.get("subject", ())]
    column = "subject" if table else "input"
    table = table or [str(s) for s in reader.description.inputs.get("subjects", ())]
    if not table or column not in reader.params:
        raise StoreError(f"{reader.location} does not say which subject a sample is from")
    codes = reader.params[column]
    return np.where(np.isnan(codes), len(table), codes).astype(np.int64), table
