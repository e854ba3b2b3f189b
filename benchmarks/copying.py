"""How fast this machine copies, for cases that say what share of it they reach."""

import time

import numpy as np
from numba import prange

from voxelmill.kernels.device import loop


@loop
def _copy(out, source):
    for row in prange(out.shape[0]):
        out[row] = source[row]


def bandwidth():
    """Bytes read and written a second by a parallel copy far larger than the caches."""
    source = np.ones((4096, 2**14), np.float32)
    out, seconds = np.zeros_like(source), []
    for _ in range(12):
        start = time.perf_counter()
        _copy(out, source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)
