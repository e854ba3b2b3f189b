"""Cases for kernels/patches.py."""

import numpy as np
from reference import patches as twin

from cases import Case

STARTS = np.array([0, 3, 3, 8, 15], np.int64)
FLAT = np.arange(15, dtype=np.float32) + 1
WHICH = np.array([3, 1, 0], np.int64)


def copy():
    expected, starts = twin.take(FLAT, STARTS, WHICH)
    return Case(len(WHICH), (np.zeros_like(expected), starts, FLAT, STARTS, WHICH), expected, 0)


def paste():
    taken, starts = twin.take(-FLAT, STARTS, WHICH)
    expected = FLAT.copy()
    twin.put(expected, STARTS, WHICH, taken)
    return Case(len(WHICH), (FLAT.copy(), STARTS, WHICH, taken, starts), expected, 0)


CASES = {"_copy_gpu": copy, "_paste_gpu": paste}
