"""Cases for kernels/distance.py."""

import numpy as np
from reference import distance as twin
from reference.tiles import random_patches

from cases import Case

WINDOWS, STARTS, COVERAGE = random_patches(3, [0, 0, 1, 1], (11, 13))
DEPTH = twin.depth(COVERAGE, WINDOWS, STARTS)
SQUARED = twin.squared_px(COVERAGE, WINDOWS, STARTS)


def starts_of(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def depth():
    columns = starts_of(WINDOWS[:, 3])
    args = (np.zeros_like(DEPTH), COVERAGE, WINDOWS, STARTS, columns)
    return Case(int(columns[-1]), args, DEPTH, 0)


def squared():
    args = (np.zeros_like(DEPTH), DEPTH, WINDOWS, STARTS, starts_of(WINDOWS[:, 2]))
    return Case(DEPTH.size, args, SQUARED, 0)


def peak():
    expected = twin.peaks(SQUARED, STARTS)
    return Case(len(WINDOWS), (np.ones_like(expected), SQUARED, STARTS), expected, 0)


def thickness():
    args = (np.zeros_like(COVERAGE), SQUARED, STARTS, twin.peaks(SQUARED, STARTS))
    return Case(COVERAGE.size, args, twin.thickness(COVERAGE, WINDOWS, STARTS), 1e-6)


CASES = {
    "_depth_gpu": depth,
    "_squared_gpu": squared,
    "_peak_gpu": peak,
    "_thickness_gpu": thickness,
}
