"""Cases for kernels/phase.py."""

import numpy as np
from reference import phase as twin

from cases import Case
from cases.kspace import noise


def turn():
    random = np.random.default_rng(0)
    images = noise(random, 2, 3, 1, 2, 5)
    off_hz = random.normal(0, 80, (2, 1, 2, 5)).astype(np.float32)
    seconds = np.array([0.03, -0.011], np.float32)
    expected = twin.turn(images, off_hz, seconds).astype(np.complex64)

    def flat(a):
        return a.view(np.float32).reshape(2, 3, 20)

    return Case(20, (flat(images), off_hz.reshape(2, 10), seconds), flat(expected), 1e-5)


CASES = {"_turn_gpu": turn}
