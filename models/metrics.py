"""How well a segmentation fits: Dice and volumes of each class, on plain NumPy arrays."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Fit(NamedTuple):
    """Of each class, (classes,): Dice, and voxels in the truth and in what was found.

    Dice is NaN where a class is in neither.
    """

    dice: NDArray[np.float64]
    truth: NDArray[np.int64]
    found: NDArray[np.int64]

    @property
    def volume_error(self) -> NDArray[np.float64]:
        """(found - truth) / truth; NaN where the truth has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error = (self.found - self.truth) / self.truth
        return np.where(self.truth > 0, error, np.nan)


def fit(found: Array, truth: Array, classes: int) -> Fit:
    """How class numbers `found` fit `truth`, arrays of one shape.

    Raises ValueError for shapes that differ and for numbers outside [0, classes).
    """
    if found.shape != truth.shape:
        raise ValueError(f"found {found.shape} and truth {truth.shape} differ in shape")
    for name, values in (("found", found), ("truth", truth)):
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise ValueError(f"{name} holds {values.min()}..{values.max()}, not 0..{classes - 1}")
    pairs = truth.astype(np.int64).ravel() * classes + found.ravel()
    table = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    in_truth, in_found = table.sum(1), table.sum(0)
    each = in_truth + in_found
    with np.errstate(invalid="ignore"):
        dice = np.where(each > 0, 2 * table.diagonal() / each, np.nan)
    return Fit(dice, in_truth, in_found)
