"""Cases for kernels/motion.py."""

import numpy as np
from reference import motion as twin

from cases import Case
from cases.kspace import noise


def turn():
    random = np.random.default_rng(0)
    image = noise(random, 2, 2, 3, 4, 5)
    matrix = np.eye(3, 4) + random.normal(0, 0.2, (2, 3, 4))
    matrix = matrix.astype(np.float32)
    expected = twin.turn(image, matrix).astype(np.complex64)
    return Case(image.size, (np.zeros_like(image), image, matrix), expected, 2e-5)


CASES = {"_turn_gpu": turn}
