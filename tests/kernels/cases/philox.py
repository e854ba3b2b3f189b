"""Cases for kernels/philox.py."""

import numpy as np
from reference import philox as twin

from cases import Case

KEYS = np.array(
    [[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEADBEEF, 0xFFFFFFFF, 9], [0, 0, 0, 0, 0]], np.uint32
)


def words():
    return Case(6, (np.zeros((3, 2, 4), np.uint32), KEYS), twin.words(KEYS, 2), 0)


def normals():
    return Case(6, (np.zeros((3, 7), np.float32), KEYS), twin.normals(KEYS, 7), 2e-5)


CASES = {"_words_gpu": words, "_normals_gpu": normals}
