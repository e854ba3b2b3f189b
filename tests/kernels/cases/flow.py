"""Cases for kernels/flow.py."""

import numpy as np
from reference import flow as twin

from cases import Case

SHIFT = np.random.default_rng(0).normal(size=(2, 3, 3, 4, 5)).astype(np.float32)


def square():
    expected = np.stack([twin.square(s.astype(float)) for s in SHIFT]).astype(np.float32)
    args = (np.zeros(expected.size, np.float32), SHIFT.ravel(), 2, *SHIFT.shape[2:])
    return Case(expected.size // 3, args, expected.ravel(), 2e-6)


def least():
    expected = np.stack([twin.corner_jacobians(s).min((0, 3)) for s in SHIFT]).astype(np.float32)
    return Case(expected.size, (np.zeros_like(expected), SHIFT), expected, 1e-4)


CASES = {"_square_gpu": square, "_least_gpu": least}
