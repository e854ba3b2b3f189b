"""Cases for kernels/cutout.py."""

import numpy as np
from reference import cutout as twin
from reference import distance, elastic
from reference.tiles import random_patches

from cases import Case
from cases.elastic import KEYS, SLOTS

WINDOWS, STARTS, ALPHA = random_patches(2, [0, 0], (11, 13), (5, 6))
ROWS = np.concatenate([[0], np.cumsum(WINDOWS[:, 2])]).astype(np.int64)


def warp():
    random = np.random.default_rng(0)
    sizes = np.array([[4, 7], [6, 3]], np.int32)
    donors = [tuple(random.random((2, h, w), np.float32)) for h, w in sizes]
    donor_starts = np.array([0, 28, 46])
    which = np.array([1, 0], np.int32)
    y, x = (WINDOWS[:, :2] - 1).T
    inverse = np.array([[[0.8, 0.2, 0], [-0.3, 0.9, 0]], [[0, 1.1, 0], [1.2, 0, 0]]], np.float32)
    inverse[:, :, 2] = -(inverse[:, :, 0] * y[:, None] + inverse[:, :, 1] * x[:, None])
    amplitude, sigma = np.array([0.5, 0], np.float32), np.array([1.5, 0], np.float32)
    brightness = np.array([0.9, 1.2], np.float32)
    made = [
        elastic.tables(*of_patch)
        for of_patch in zip(sizes[which], inverse, amplitude, sigma, strict=True)
    ]
    spacing, border, lattice = (np.array(table) for table in zip(*made, strict=True))
    nodes = [
        elastic.nodes(*of_patch).reshape(-1, 2)
        for of_patch in zip(lattice, inverse, amplitude, KEYS, SLOTS, strict=True)
    ]
    node_starts = np.concatenate([[0], np.cumsum(lattice.prod(1))])
    expected = twin.sampled(
        donors, which, inverse, amplitude, sigma, brightness, KEYS, SLOTS, WINDOWS, STARTS
    )
    grey, alpha = (np.concatenate([d[i].ravel() for d in donors]) for i in range(2))
    args = (
        np.ones_like(expected), ROWS, grey, alpha, donor_starts, sizes, which, inverse,
        spacing.astype(np.float32), border.astype(np.float32),
        np.concatenate(nodes).astype(np.float32), node_starts, lattice, brightness, WINDOWS, STARTS,
    )  # fmt: skip
    return Case(ALPHA.size, args, expected, 1e-4)


def grow():
    grow_px = np.array([1.5, -1.0], np.float32)
    args = (np.ones_like(ALPHA), ALPHA, WINDOWS, STARTS, ROWS, grow_px)
    return Case(ALPHA.size, args, twin.grow(ALPHA, WINDOWS, STARTS, grow_px), 0)


def feather():
    width_px = np.array([2.5, 0], np.float32)
    squared = distance.squared_px(ALPHA, WINDOWS, STARTS)
    args = (np.ones_like(ALPHA), ALPHA, squared, STARTS, width_px)
    return Case(ALPHA.size, args, twin.feather(ALPHA, WINDOWS, STARTS, width_px), 1e-6)


CASES = {"_warp_gpu": warp, "_grow_gpu": grow, "_feather_gpu": feather}
