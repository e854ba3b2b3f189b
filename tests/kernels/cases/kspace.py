"""Cases for kernels/kspace.py."""

import numpy as np
from reference import kspace as twin

from cases import Case


def noise(random, *shape):
    return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)


def weights(random, samples, pools, nz, ny, nx):
    """Gain, along and row for k-space of that shape, with lines of no weight."""
    gain = noise(random, samples, pools, nz, ny)
    gain[0, :, :, 1] = 0
    row = random.integers(-1, 3, (samples, nz, ny)).astype(np.int32)
    return gain, noise(random, samples, pools, 3, nx), row


def encode():
    random = np.random.default_rng(0)
    shape = (2, 2, 3, 2, 3, 4)
    k, out = noise(random, *shape), noise(random, 2, 2, 2, 3, 4)
    tables = weights(random, 2, 3, 2, 3, 4)
    expected = twin.encode(k, *tables, out=out).astype(np.complex64)
    return Case(out.size, (out, k, *tables, True), expected, 1e-5)


CASES = {"_encode_gpu": encode}
