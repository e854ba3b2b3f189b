"""kernels/elastic.py once more in obvious NumPy, in double precision, a patch at a time."""

from math import floor

import numpy as np
from reference import philox


def tables(size, inverse, amplitude_px, sigma_px):
    """Spacing and border in donor pixels, rows and columns of one patch's lattice."""
    scale = np.sqrt(abs(np.linalg.det(inverse[:, :2].astype(float))))  # donor px a canvas px
    if amplitude_px == 0:
        return 1.0, 0.0, (0, 0)
    spacing, border = np.sqrt(3) * float(sigma_px) * scale, 4 * float(amplitude_px) * scale
    return spacing, border, tuple(floor((n + 2 * border) / spacing) + 4 for n in size)


def nodes(lattice, inverse, amplitude_px, key, slot):
    """(rows, columns, 2) shifts in donor pixels."""
    scale = np.sqrt(abs(np.linalg.det(inverse[:, :2].astype(float))))
    k0, k1, name, low, high = key
    out = np.zeros((*lattice, 2))
    for iy, ix in np.ndindex(*lattice):
        words = philox.philox(slot * 2**20 + iy * 2**10 + ix, name, low, high, k0, k1)
        radius, angle = np.sqrt(-2 * np.log((words[0] + 1) / 2**32)), 2 * np.pi * words[1] / 2**32
        out[iy, ix] = radius * np.cos(angle), radius * np.sin(angle)
    return out * float(amplitude_px) * scale / (151 / 315)


def bspline(u):
    """The cubic B-spline around 0."""
    u = abs(u)
    if u < 1:
        return 2 / 3 - u * u + u**3 / 2
    return (2 - u) ** 3 / 6 if u < 2 else 0.0


def shift(y, x, lattice_nodes):
    """The shift at lattice coordinates (y, x); node (j, k) stands at (j - 1, k - 1)."""
    rows, columns, _ = lattice_nodes.shape
    if not (0 <= floor(y) < rows - 3 and 0 <= floor(x) < columns - 3):
        return np.zeros(2)
    wy = np.array([bspline(y + 1 - j) for j in range(rows)])
    wx = np.array([bspline(x + 1 - k) for k in range(columns)])
    return np.einsum("j,k,jkc->c", wy, wx, lattice_nodes)
