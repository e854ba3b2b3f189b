"""The drawn numbers of all samples of a store, or of several, by the names of their columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.nearest import did_you_mean

if TYPE_CHECKING:
    from voxelmill.engine.reader import Reader


class Params(Mapping[str, NDArray[np.float64]]):
    """The columns of `params` by name, each (count,) float64; NaN where not made yet."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader
        self._numbers = {c.name: i for i, c in enumerate(reader.description.columns)}
        self._read: dict[str, NDArray[np.float64]] = {}

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """All values of `column`; raises KeyError, naming the nearest, if there is no such."""
        if column not in self._numbers:
            raise KeyError(f"no column {column!r} in params{did_you_mean(column, self._numbers)}")
        number = self._numbers[column]
        if column not in self._read:
            values = self._reader.column(number)
            if self._reader.follow:  # more may come
                return values
            self._read[column] = values
        return self._read[column]

    def __contains__(self, column: object) -> bool:
        """Whether there is such a column; nothing is read."""
        return column in self._numbers

    def __repr__(self) -> str:
        """The names; nothing is read."""
        return f"Params({', '.join(self._numbers)}: {len(self._reader)} samples)"

    def __iter__(self) -> Iterator[str]:
        """The names, in their order."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """The number of columns."""
        return len(self._numbers)


class JoinedParams(Mapping[str, NDArray[np.float64]]):
    """The columns that several stores have alike, the samples of one store behind the other.

    Alike are columns of one unit, and of codes those that index the same categories.
    """

    def __init__(self, readers: "Sequence[Reader]") -> None:
        self._readers = list(readers)
        kinds = [{c.name: (c.unit, c.categories) for c in r.description.columns} for r in readers]
        first, *rest = kinds
        self._names = [n for n, kind in first.items() if all(k.get(n) == kind for k in rest)]

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """All values of `column`; raises KeyError if a store has none such, or another."""
        for reader in self._readers:
            if column not in reader.params:
                cure = did_you_mean(column, self._names)
                raise KeyError(f"no column {column!r} in params of {reader.location}{cure}")
        if column not in self._names:
            raise KeyError(
                f"{column!r} has not one unit and the same categories in all stores; ask each of "
                "`readers` for its own"
            )
        return np.concatenate([reader.params[column] for reader in self._readers])

    def __contains__(self, column: object) -> bool:
        """Whether all stores have such a column; nothing is read."""
        return column in self._names

    def __repr__(self) -> str:
        """The names; nothing is read."""
        return f"JoinedParams({', '.join(self._names)}: {len(self._readers)} stores)"

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the first store."""
        return iter(self._names)

    def __len__(self) -> int:
        """The number of columns."""
        return len(self._names)
