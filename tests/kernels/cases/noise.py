"""Cases for kernels/noise.py: two channels of 1 x 3 x 3 voxels, so channels end inside a block."""

import numpy as np
from reference import noise as twin

from cases import Case

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEADBEEF, 0xFFFFFFFF, 9]], np.uint32)
SD = np.array([0.5, 2], np.float32)
SHAPE = (2, 2, 1, 3, 3)


def _made():
    rng = np.random.default_rng(0)
    image = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)).astype(np.complex64)
    return image, rng.uniform(0.5, 2, (2, 1, 3, 3)).astype(np.float32)


def _parts(image):
    return image.reshape(2, -1).view(np.float32)


def add():
    image, gain = _made()
    expected = _parts(twin.add_complex(image, SD, KEYS, gain))
    return Case(18, (_parts(image.copy()), SD, gain.reshape(2, -1), KEYS), expected, 1e-5)


def rician():
    image, gain = _made()
    expected = twin.rician(image, SD, KEYS, gain).reshape(2, -1)
    args = (np.zeros_like(expected), _parts(image), SD, gain.reshape(2, -1), KEYS)
    return Case(18, args, expected, 1e-5)


def squares():
    image, _ = _made()
    expected = twin.sum_of_squares(image).reshape(2, -1)
    args = (np.zeros_like(expected), image.reshape(2, 2, 9).view(np.float32))
    return Case(18, args, expected, 1e-6)


CASES = {"_add_gpu": add, "_rician_gpu": rician, "_squares_gpu": squares}
