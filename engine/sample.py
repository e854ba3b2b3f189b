"""What a sample holds: dense arrays, ragged rows and drawn parameters, each with its meaning."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, unit and meaning; codes index `categories` if it has any."""

    name: str
    unit: str = "1"
    meaning: str = ""
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """A dense array of every sample: `axes` (names, without `sample`) and `shape` go together.

    `labels` gives the meaning of each value of a label array; such an array is stored with zstd,
    an image raw. dtype is one of bool, (u)int8..64, float16/32/64.
    """

    name: str
    dtype: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    unit: str = "1"
    meaning: str = ""
    labels: Mapping[int, str] = field(default_factory=dict, hash=False)
    is_label: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Ragged:
    """Rows of which a sample has any number up to `most`: objects, boxes, runs.

    Stored as `<name>` (shard, row, column) and `<name>_start` (shard, sample + 1).
    """

    name: str
    columns: tuple[Column, ...]
    most: int
    dtype: str = "float64"
    meaning: str = ""

    def named(self, column: str, rows: NDArray[Any]) -> tuple[str, ...]:
        """The categories in a column of `rows` (row, column); () if it is not there, or has none.

        rows: of a sample.
        """
        for place, one in enumerate(self.columns):
            if one.name == column and one.categories:
                return tuple(one.categories[int(row[place])] for row in rows)
        return ()


class Rows(NamedTuple):
    """Ragged rows of a batch: those of sample b are `values[starts[b]:starts[b + 1]]`."""

    values: NDArray[Any]
    starts: NDArray[np.int64]


def columns_of(params: type) -> tuple[Column, ...]:
    """The columns of a recipe's Params: its fields that are numbers, in their order.

    A field's metadata may give `unit`, `meaning` and `categories`.
    """
    return tuple(
        Column(
            f.name,
            **{k: f.metadata[k] for k in ("unit", "meaning", "categories") if k in f.metadata},
        )
        for f in fields(params)
        if f.type in (float, int, bool)
    )
