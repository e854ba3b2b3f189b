"""Cases for kernels/contrast.py: 2 x 1 x 3 voxels of 2 x 3 x 2 parts, four taps along z."""

import numpy as np
from reference import contrast as twin

from cases import Case


def paint():
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 3, (2, 4, 3, 6)).astype(np.uint8)
    fine[0, :3, :, :2] = 1  # a voxel of one row
    table = rng.normal(size=(2, 3, 4, 2, 1, 2)).astype(np.float32)
    b1, fat, texture = rng.uniform(0.2, 1, (3, 2, 2, 1, 3)).astype(np.float32)
    fat_rows, weights = np.array([-1, 2, -1], np.int16), np.array([1, 3, 3, 1]) / 8
    expected = twin.paint(
        fine, table, (2, 1, 3), weights, b1, (0.4, 0.125), fat, fat_rows, texture
    )  # fmt: skip
    expected = expected.view(np.float32).reshape(2, 2, 2, 1, 6)
    shares = np.repeat(weights / 6, 6).astype(np.float32)
    args = (
        np.zeros_like(expected), fine, table.reshape(2, 3, 4, 4), shares, b1, fat, texture,
        fat_rows, 4, np.float32(0.4), np.float32(8),
    )  # fmt: skip
    return Case(12, args, expected, 1e-5)


CASES = {"_paint_gpu": paint}
