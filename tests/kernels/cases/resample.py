"""Cases for kernels/resample.py."""

import numpy as np
from reference import resample as twin
from reference.places import along_x

from cases import Case
from cases.warp import AFFINE, RANDOM, SHAPE, SHIFT, WHICH


def pull():
    images = RANDOM.normal(size=(2, 3, 4, 5, 2)).astype(np.float32).view(np.complex64)[..., 0]
    expected = twin.pull(images, WHICH, AFFINE, SHIFT, SHAPE, True).astype(np.complex64)
    along = along_x(AFFINE, SHIFT, SHAPE[2], 1)
    args = (np.ones_like(expected), images, images.ravel(), WHICH, AFFINE, along, True)
    return Case(expected.size, args, expected, 1e-5)


CASES = {"_pull_gpu": pull}
