"""Cases for kernels/raster.py."""

import numpy as np
from reference import raster as twin

from cases import Case
from voxelmill.kernels import spans

STAR = [[0.3, 2.1], [5.2, 6.3], [1.4, 6.8], [4.9, 0.7], [2.2, 8.1]]  # crosses itself
TRIANGLE = [[1.0, -4.0], [4.5, 3.2], [2.25, 2.0]]  # sticks out on the left
SQUARE = [[1, 1], [1, 5], [5, 5], [5, 1]]
HOLE = [[2, 2], [2, 3], [3, 3], [3, 2]]
VERTICES = np.array([*STAR, *TRIANGLE, *SQUARE, *HOLE], np.float32)
RINGS, SHAPES = np.array([0, 5, 8, 12, 16]), np.array([0, 1, 2, 4])
EVEN_ODD = np.array([False, False, True])
SAMPLES = np.array([1, 0, 1])
CANVAS = (2, 6, 9)


def _cut(frames, starts, stride):
    made = spans.cut(VERTICES, RINGS, SHAPES, EVEN_ODD, frames, starts, stride)
    entries = len(made.spans)
    return (*made, np.zeros((2, entries), np.uint32), np.zeros(entries, np.float32))


def coverage():
    frames, starts = spans.windows(VERTICES, RINGS, SHAPES, CANVAS[1:], np.array([0, 1, 0]))
    arguments = _cut(frames, starts, -1)
    expected = twin.coverage(VERTICES, RINGS, SHAPES, EVEN_ODD, frames, starts, 64)
    return Case(len(arguments[0]), (np.zeros_like(expected), *arguments), expected, 1 / 60)


def draw():
    frames, _ = spans.windows(VERTICES, RINGS, SHAPES, CANVAS[1:], np.zeros(3, int))
    _, height, width = CANVAS
    band_starts, runs = spans.bands(SAMPLES, frames, CANVAS[0], height)
    lines = SAMPLES * height + frames[:, 0]
    arguments = _cut(frames, lines * width + frames[:, 1], width)
    canvas = np.full(CANVAS, 0.25, np.float32)
    expected = canvas.copy()
    twin.draw(expected, SAMPLES, VERTICES, RINGS, SHAPES, EVEN_ODD, 64)
    bands = len(band_starts) - 1
    sums = np.zeros(bands * width, np.float32)
    arguments = (canvas.reshape(-1), sums, band_starts, runs, *arguments)
    return Case(bands, arguments, expected.reshape(-1), 1 / 60)


CASES = {"_coverage_gpu": coverage, "_draw_gpu": draw}
