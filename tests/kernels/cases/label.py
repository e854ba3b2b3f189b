"""Cases for kernels/label.py."""

import numpy as np
from reference import label as twin
from reference import tiles

from cases import Case

SHAPE, SAMPLES = (11, 13), np.array([0, 0, 0, 1, 1], np.int32)
WINDOWS, STARTS, COVERAGE = tiles.random_patches(7, SAMPLES, SHAPE)
IDS, CLASSES = np.array([1, 2, 3, 1, 17], np.uint8), np.array([4, 9, 9, 200, 1], np.uint8)
MAPS = twin.maps(COVERAGE, WINDOWS, STARTS, SAMPLES, IDS, CLASSES, 2, SHAPE)


def maps():
    empty = [np.zeros_like(made) for made in MAPS]
    bins = tiles.touched(WINDOWS, SAMPLES, SHAPE, 2, (4, 8))
    args = (*empty, COVERAGE, WINDOWS, STARTS, IDS, CLASSES, *bins, 4, 8)
    return Case(len(bins[0]) * 32, args, tuple(MAPS), 0)


def measure():
    modal = MAPS[0]
    parts = twin.measure(COVERAGE, WINDOWS, STARTS, SAMPLES, IDS, modal)
    expected = np.column_stack(parts).astype(np.int64)
    args = (np.ones_like(expected), COVERAGE, WINDOWS, STARTS, SAMPLES, IDS, modal)
    return Case(len(IDS), args, expected, 0)


CASES = {"_maps_gpu": maps, "_measure_gpu": measure}
