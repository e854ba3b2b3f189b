"""Cases for kernels/resolution.py: along y and along x, of 2 samples of 1 plane."""

import numpy as np
from reference import resolution as twin

from cases import Case
from voxelmill.kernels.resolution import _bands


def _made(shape, spacing, form):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = twin.coarsened(volume, spacing).reshape(form)
    starts, weights = _bands(7, spacing.max(1))
    args = (np.zeros_like(expected), volume.reshape(form), starts, weights)
    return Case(42, args, expected, 1e-6)


def planes():
    return _made((2, 1, 7, 3), np.array([[1, 2.5, 1], [1, 1, 1]]), (2, 7, 3))


def lines():
    return _made((2, 1, 3, 7), np.array([[1, 1, 2.5], [1, 1, 1]]), (6, 7))


CASES = {"_planes_gpu": planes, "_lines_gpu": lines}
