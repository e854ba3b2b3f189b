"""kernels/coils.py once more in obvious NumPy, in double precision."""

import numpy as np


def heard(d, m, loop_mm):
    """Bx - i By of one loop of axis m at places d (..., 3), z, y, x: the curl of its potential."""
    square = (d**2).sum(-1, keepdims=True)
    f = (square + loop_mm**2) ** -1.5
    slope = -3 * (square + loop_mm**2) ** -2.5  # of f by d, over d
    field = m * (2 * f + square * slope) - d * (d @ m)[..., None] * slope
    return field[..., 2] - 1j * field[..., 1]


def sensitivities(centres, axes, loop_mm, voxel_mm, shape):
    """(sample, coil, z, y, x), with root of the sum of squares 1 in the middle."""
    samples, count, _ = centres.shape
    index = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    out = np.empty((samples, count, *shape), complex)
    for n in range(samples):
        place = index * voxel_mm[n].astype(float)
        coils = [
            (c.astype(float), m.astype(float)) for c, m in zip(centres[n], axes[n], strict=True)
        ]
        middle = [heard(-c, m, float(loop_mm[n])) for c, m in coils]
        for i, (c, m) in enumerate(coils):
            out[n, i] = heard(place - c, m, float(loop_mm[n])) / np.linalg.norm(middle)
    return out
