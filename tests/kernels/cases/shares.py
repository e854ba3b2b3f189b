"""Cases for kernels/shares.py."""

import numpy as np
from reference import shares as twin

from cases import Case

FINE, WEIGHTS = (1, 2, 3), np.array([1, 2, 1], np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, (2, 3, 4, 6), np.uint8)
LABELS[0, :, :2, :3] = 2
TABLE = np.zeros((2, 256), np.uint8)
TABLE[:, :3] = [[1, 0, 3], [2, 2, 1]]
SHARES = twin.shares(LABELS, TABLE, 4, FINE, WEIGHTS)
INPUTS = (LABELS, TABLE, WEIGHTS, (*FINE, -1))


def shares():
    args = (np.ones(SHARES.shape, np.float32), *INPUTS)
    return Case(SHARES.size // 4, args, SHARES.astype(np.float32), 1e-6)


def largest():
    rounded = np.round(SHARES * 24) / 24  # equal sums are equal
    expected = twin.hard(rounded)
    return Case(expected.size, (np.ones_like(expected), *INPUTS), expected, 0)


def hard():
    held = np.round(SHARES * 4).astype(np.float32)  # ties
    expected = twin.hard(held)
    return Case(expected.size, (np.ones_like(expected), held), expected, 0)


CASES = {"_shares_gpu": shares, "_largest_gpu": largest, "_hard_gpu": hard}
