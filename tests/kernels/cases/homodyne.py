"""Cases for kernels/homodyne.py."""

import numpy as np
from reference import homodyne as twin

from cases import Case
from cases.kspace import noise


def detect():
    random = np.random.default_rng(0)
    full, low = noise(random, 13), noise(random, 13)
    low[3] = 0
    expected = twin.detect(full, low).astype(np.complex64)
    return Case(13, (np.zeros_like(full), full, low), expected, 1e-5)


CASES = {"_detect_gpu": detect}
