"""Cases for kernels/slices.py."""

import numpy as np
from reference import slices as twin

from cases import Case
from cases.kspace import noise


def between():
    slices = noise(np.random.default_rng(0), 2, 3, 2, 3)
    places = np.array([[0.5, 2, 4.75], [-1, 0, 7]], np.float32)
    expected = twin.between(slices, places, 6).astype(np.complex64)
    out = np.zeros_like(expected)
    return Case(out.size, (out, slices, places), expected, 1e-6)


CASES = {"_between_gpu": between}
