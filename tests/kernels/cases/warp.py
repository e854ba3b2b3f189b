"""Cases for kernels/warp.py."""

import numpy as np
from reference import warp as twin
from reference.places import along_x

from cases import Case

RANDOM = np.random.default_rng(4)
SHAPE, FINE = (2, 3, 4), (2, 1, 3)
MAPS = [RANDOM.integers(1, 9, shape, np.uint8) for shape in ((3, 4, 5), (2, 6, 3))]
FLAT = np.concatenate([m.ravel() for m in MAPS])
STARTS = np.array([0, 60, 96])
SHAPES = np.array([m.shape for m in MAPS], np.int32)
WHICH = np.array([1, 0], np.int32)
AFFINE = (RANDOM.normal(size=(2, 3, 4)) * 0.3 + np.eye(3, 4)).astype(np.float32)
SHIFT = RANDOM.normal(size=(2, 3, 2, 3, 2)).astype(np.float32)


def labels():
    expected, off = twin.pull_labels(MAPS, WHICH, AFFINE, SHIFT, SHAPE, FINE)
    assert off.min() > 1e-4  # else single precision may choose the neighbour
    along = along_x(AFFINE, SHIFT, SHAPE[2] * FINE[2], FINE[2])
    args = (np.ones_like(expected), FLAT, STARTS, SHAPES, WHICH, AFFINE, along, *FINE[:2])
    return Case(expected.size, args, expected, 0)


CASES = {"_labels_gpu": labels}
