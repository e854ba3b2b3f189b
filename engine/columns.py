"""The drawn numbers of all samples of a store, by the names of their columns."""

from collections.abc import Iterator, Mapping
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
