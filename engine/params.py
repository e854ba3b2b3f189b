"""The table `params`: what a store says of each sample that has one value a sample."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Draw
from voxelmill.engine.errors import RecipeError
from voxelmill.engine.recipes import Recipe
from voxelmill.engine.sample import Column, columns_of

_SAMPLE = Column("sample", "1", "the sample's own number")
_DEVICES = Column("devices", "1", "1: the input shows devices of its own, 0: none; NaN: unknown")


def param_columns(recipe: Recipe, inputs: Any) -> tuple[Column, ...]:
    """The columns of `params`: the sample's number, what its input is, then the recipe's."""
    own = columns_of(recipe.Params)
    if inputs is None:
        return (_SAMPLE, *own)
    subjects = tuple(sorted(set(inputs.subjects)))
    return (
        _SAMPLE,
        Column("input", "1", "the input's id", tuple(inputs.ids)),
        Column("subject", "1", "the input's subject", subjects),
        *((_DEVICES,) if hasattr(inputs, "devices") else ()),
        *(c for c in own if c.name != "input"),
    )


def param_rows(
    columns: Sequence[Column], draws: Sequence[Draw[Any]], inputs: Any
) -> NDArray[np.float64]:
    """The rows of `params` for `draws`, (sample, column).

    Raises RecipeError for what is no number.
    """
    rows = np.empty((len(draws), len(columns)))
    codes: dict[str, int] = {}
    if inputs is not None:
        subjects = next(c.categories for c in columns if c.name == "subject")
        codes = {name: i for i, name in enumerate(subjects)}
    for row, one in zip(rows, draws, strict=True):
        known: dict[str, float] = {"sample": one.stream.index}
        if inputs is not None:
            i = one.params.input
            known["subject"] = codes[inputs.subjects[i]]
            if hasattr(inputs, "devices"):
                known["devices"] = float(inputs.devices[i])
        for place, column in enumerate(columns):
            value = known.get(column.name, getattr(one.params, column.name, None))
            try:
                row[place] = value
            except (TypeError, ValueError):
                raise RecipeError(
                    f"draw gave {column.name} = {value!r} for sample {one.stream.index}; a column "
                    "of params is one number (a category is its code)"
                ) from None
    return rows
