"""Cases for kernels/epg.py."""

import numpy as np
from reference import epg as twin

from cases import Case
from voxelmill.kernels import epg

T1_MS, T2_MS = np.array([1412, 371, 4163], np.float32), np.array([40, 133, 1650], np.float32)
ESP_MS, B1 = np.array([10, 7.5, 22], np.float32), np.array([1, 0.7, 1.2], np.float32)
FLIPS_DEG = np.array([[150, 120, 60, 90, 170], [180] * 5, [30, 80, 140, 20, 65]], np.float32)
PHASES_DEG = np.array([90, 0, 20, -50, 180, 0], np.float32)


def train():
    expected = np.array(
        [
            twin.train(*atom, PHASES_DEG[1:], 80, PHASES_DEG[0])[0]
            for atom in zip(T1_MS, T2_MS, FLIPS_DEG, ESP_MS, B1, strict=True)
        ]
    )
    expected = np.stack([expected.real, expected.imag], 2).astype(np.float32)
    angles = np.radians(PHASES_DEG)
    axes = np.stack([np.cos(angles), np.sin(angles)], 1)
    scratch = np.full(epg.LANES * (15 + 6 * 5), np.nan, np.float32)
    tissue = np.stack([T1_MS, T2_MS, ESP_MS, B1])
    args = (np.zeros_like(expected), scratch, tissue, np.radians(FLIPS_DEG), axes)
    return Case(3, (*args, np.float32(np.radians(80))), expected, 2e-6)


CASES = {"_train_gpu": train}
