"""Two small thighs for tests of kernels/thigh.py, told apart by all their numbers."""

import numpy as np

from voxelmill.kernels import thigh

VOXEL_MM = (2.5, 2.25)


def tables(slices=2):
    """legs, muscles, vessels, noise: two legs a quarter of their size."""
    random = np.random.Generator(np.random.PCG64(5))
    legs = np.zeros((slices, 2, thigh.COLUMNS), np.float32)
    vessels = np.zeros((slices, 2, thigh.VESSELS, 4), np.float32)
    muscles = np.zeros((slices, 2, 4, 5), np.float32)
    for n in range(slices):
        for k, (y, x) in enumerate(((21.0, 21.3), (22.4, 62.1))):
            leg = legs[n, k]
            leg[: thigh.HULL] = y + n, x, y - 2, x + 1.5
            leg[thigh.HULL : thigh.THICKNESS] = 15 + k, 0.4, 0.3, 0.8, -0.5, 0.2, 0.3
            leg[thigh.THICKNESS : thigh.FEMUR] = 6, -0.8, 1.1, 0.3, 0.1, 0, 0.2
            leg[thigh.FEMUR : thigh.SHELL] = 6.3, 0.1, 0.2, 0.3, 0, 0, -0.2
            leg[thigh.SHELL : thigh.SKIN_MM] = 3.2, 0, 0.3, 0, 0, 0, 0
            leg[thigh.SKIN_MM :] = 2.1, 1.2, 0.6, 1.5, 0.4, 26
            vessels[n, k, 0] = y - 9, x - 6, 2.2, 1.5
            vessels[n, k, 1] = y - 7, x - 9, 2.4, 1.5
            vessels[n, k, 2] = y + 9.5, x + 2, 2.3, 1.6
            vessels[n, k, 3] = y + 4, x + 19, 1.9, 0
            for m in range(3):
                at = random.uniform(-9, 9, 2)
                muscles[n, k, m] = *at, 0.02 + 0.01 * m, 0.004 - 0.003 * m, 0.03
    noise = random.standard_normal((slices, thigh.NOISE, 7, 9)).astype(np.float32)
    return legs, muscles, vessels, noise


def depth_arrays(legs):
    """Arrays for `of_depths` of the same two legs: muscle, depth, hull, femur."""
    shape = (len(legs), 17, 36)
    random = np.random.Generator(np.random.PCG64(6))
    y, x = (i * mm for i, mm in zip(np.indices(shape[1:]), VOXEL_MM, strict=True))
    hull = np.stack([[(15.3 - np.hypot(y - g[0], x - g[1])) * 64 for g in leg] for leg in legs])
    femur = np.stack([np.max([6 - np.hypot(y - g[2], x - g[3]) for g in leg], 0) for leg in legs])
    muscle = random.integers(3, 15, shape, np.uint8)
    depth = random.integers(-200, 300, shape, np.int16)
    return muscle, depth, hull.astype(np.int16), (femur * 64).astype(np.int16)
