"""How fast this machine copies, for cases that say what share of it they reach."""

import time

import numpy as np
from numba import prange

from voxelmill.kernels.device import loop

PARTS = 256


@loop
def _copy(out, source):
    part = out.size // PARTS
    for i in prange(PARTS):
        out[i * part : (i + 1) * part] = source[i * part : (i + 1) * part]


def bandwidth():
    """Bytes read and written a second by a parallel copy of 128 MiB, far more than the caches."""
    source, out = np.ones((2, 2**25), np.float32)
    seconds = []
    for _ in range(16):
        start = time.perf_counter()
        _copy(out, source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)
