"""kernels/distance.py once more in obvious NumPy: every pixel against every background pixel."""

from itertools import pairwise

import numpy as np
from reference.tiles import patches


def depth(coverage, windows, starts):
    """Pixels up or down to the nearest background in the column; flat int32."""
    out = np.zeros(coverage.shape, np.int32)
    for patch, made in zip(
        patches(coverage, windows, starts), patches(out, windows, starts), strict=True
    ):
        padded = np.pad(patch, ((1, 1), (0, 0)))
        for x in range(patch.shape[1]):
            ground = np.flatnonzero(padded[:, x] < 0.5)
            for y in range(patch.shape[0]):
                made[y, x] = np.abs(ground - (y + 1)).min()
    return out


def squared_px(coverage, windows, starts):
    """Squared distance to the nearest background pixel, also outside the patch; flat int32."""
    out = np.zeros(coverage.shape, np.int32)
    for patch, made in zip(
        patches(coverage, windows, starts), patches(out, windows, starts), strict=True
    ):
        ground = np.argwhere(np.pad(patch, 1) < 0.5) - 1
        for y in range(patch.shape[0]):
            for x in range(patch.shape[1]):
                made[y, x] = ((ground - (y, x)) ** 2).sum(1).min()
    return out


def peaks(values, starts):
    """The greatest value of each range, 0 for an empty one."""
    return np.array([values[a:b].max(initial=0) for a, b in pairwise(starts)], values.dtype)


def thickness(coverage, windows, starts):
    """sqrt of the distance by the patch's greatest distance."""
    distance = np.sqrt(squared_px(coverage, windows, starts).astype(float))
    for patch in patches(distance, windows, starts):
        if patch.size and patch.max() > 0:
            patch[:] = np.sqrt(patch / patch.max())
    return distance.astype(np.float32)
