"""Cases for kernels/label_gaussians.py: nine voxels, so that a block is not full."""

import numpy as np
from reference import label_gaussians as twin

from cases import Case

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEADBEEF, 0xFFFFFFFF, 9]], np.uint32)
RNG_SEED, SHAPE = 0, (2, 1, 3, 3)


def gaussian():
    rng = np.random.default_rng(RNG_SEED)
    labels, gain = rng.integers(0, 4, SHAPE).astype(np.uint8), rng.uniform(size=SHAPE)
    mean, sd = rng.uniform(size=(2, 2, 4)).astype(np.float32)
    gain = gain.astype(np.float32)
    expected = twin.gaussian_labels(labels, mean, sd, KEYS, gain).reshape(2, 9)
    args = (np.zeros_like(expected), labels.reshape(2, 9), mean, sd, gain.reshape(2, 9), KEYS)
    return Case(6, args, expected, 1e-5)


def divide():
    rng = np.random.default_rng(RNG_SEED)
    labels, field = rng.integers(0, 4, SHAPE).astype(np.uint8), rng.normal(size=SHAPE)
    field, cuts = field.astype(np.float32), np.sort(rng.normal(size=(2, 4, 2))).astype(np.float32)
    expected = twin.subclusters(labels, field, cuts).reshape(2, 9)
    args = (np.zeros_like(expected), labels.reshape(2, 9), field.reshape(2, 9), cuts)
    return Case(18, args, expected, 0)


CASES = {"_gaussian_gpu": gaussian, "_divide_gpu": divide}
