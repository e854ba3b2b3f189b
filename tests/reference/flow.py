"""kernels/flow.py once more in obvious NumPy, in double precision, one sample at a time."""

from itertools import product

import numpy as np
from scipy.ndimage import map_coordinates


def square(shift):
    """(3, z, y, x): the displacement of `shift` twice."""
    at = np.indices(shift.shape[1:]) + shift
    return shift + [map_coordinates(s, at, order=1, mode="nearest") for s in shift]


def exponentiate(velocity, steps):
    """(3, z, y, x) float64."""
    shift = velocity.astype(float) / 2**steps
    for _ in range(steps):
        shift = square(shift)
    return shift


def edges(shift):
    """Of each cell its edges: for the axes z, y, x a dict of (corner, corner) -> (3, cells)."""
    shift = np.pad(shift.astype(float), [(0, 0)] + [(0, n == 1) for n in shift.shape[1:]], "edge")
    place = shift + np.indices(shift.shape[1:])
    cells = [n - 1 for n in shift.shape[1:]]

    def corner(*at):
        return place[(slice(None), *(slice(a, a + n) for a, n in zip(at, cells, strict=True)))]

    pairs = list(product((0, 1), repeat=2))
    return (
        {(y, x): corner(1, y, x) - corner(0, y, x) for y, x in pairs},
        {(z, x): corner(z, 1, x) - corner(z, 0, x) for z, x in pairs},
        {(z, y): corner(z, y, 1) - corner(z, y, 0) for z, y in pairs},
    )


def corner_jacobians(shift):
    """(corner, z, y, x) determinants at the corners of all cells."""
    along_z, along_y, along_x = edges(shift)
    return np.array([
        determinant(along_z[y, x], along_y[z, x], along_x[z, y])
        for z, y, x in product((0, 1), repeat=3)
    ])  # fmt: skip


def all_jacobians(shift):
    """Determinants of all choices of edges: inside a cell the Jacobian is between these."""
    along_z, along_y, along_x = edges(shift)
    return np.array([
        determinant(a, b, c)
        for a in along_z.values() for b in along_y.values() for c in along_x.values()
    ])  # fmt: skip


def determinant(a, b, c):
    """Of the vectors a, b, c, (3, ...) each."""
    return (a * np.cross(b, c, axis=0)).sum(0)
