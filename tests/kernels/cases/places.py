"""Cases for kernels/places.py."""

import numpy as np
from reference import places as twin

from cases import Case


def along():
    random = np.random.default_rng(3)
    affine = random.normal(size=(2, 3, 4)).astype(np.float32)
    shift = random.normal(size=(2, 3, 2, 3, 4)).astype(np.float32)
    expected = twin.along_x(affine, shift, 10, 3)
    return Case(expected.size // 3, (np.zeros_like(expected), affine, shift, 3), expected, 1e-5)


CASES = {"_along_gpu": along}
