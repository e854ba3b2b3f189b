"""Cases for kernels/gaussian.py."""

import numpy as np
from reference import gaussian as twin

from cases import Case

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEADBEEF, 0xFFFFFFFF, 9]], np.uint32)


def white():
    out = np.zeros((2, 9), np.float32)
    return Case(6, (out, KEYS), twin.white(KEYS, (9,)), 1e-5)


CASES = {"_white_gpu": white}
