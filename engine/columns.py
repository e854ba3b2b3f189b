"""The drawn numbers of all samples of a store, by the names of their columns."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from voxelmill.engine.reader import Reader


class Params(Mapping[str, NDArray[np.float64]]):
    """The columns of `params` by name, each (count,) float64; NaN where not made yet."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader
        self._numbers = {c.name: i for i, c in enumerate(reader.description.columns)}
        self._read: dict[str, NDArray[np.float64]] = {}

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        """All values of `column`; raises KeyError if there is no such column."""
        number = self._numbers[column]
        if column not in self._read:
            values = self._reader.column(number)
            if self._reader.follow:  # more may come
                return values
            self._read[column] = values
        return self._read[column]

    def __iter__(self) -> Iterator[str]:
        """The names, in their order."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """The number of columns."""
        return len(self._numbers)
