"""Cases for kernels/resolution.py: along the middle axis, of 2 samples of 1 plane."""

import numpy as np
from reference import resolution as twin

from cases import Case
from voxelmill.kernels.resolution import _bands


def band():
    volume = np.random.default_rng(0).normal(size=(2, 1, 7, 3)).astype(np.float32)
    spacing = np.array([[1, 2.5, 1], [1, 1, 1]])
    expected = twin.coarsened(volume, spacing).reshape(2, 7, 3)
    starts, weights = _bands(7, spacing[:, 1])
    args = (np.zeros_like(expected), volume.reshape(2, 7, 3), starts, weights)
    return Case(42, args, expected, 1e-6)


CASES = {"_band_gpu": band}
