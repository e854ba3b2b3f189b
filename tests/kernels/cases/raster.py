"""Cases for kernels/raster.py."""

import numpy as np
from reference import raster as twin

from cases import Case
from voxelmill.kernels import spans, sweep

STAR = [[0.3, 2.1], [5.2, 6.3], [1.4, 6.8], [4.9, 0.7], [2.2, 8.1]]  # crosses itself
TRIANGLE = [[1.0, -4.0], [4.5, 3.2], [2.25, 2.0]]  # sticks out on the left
LONG = [[1.3, 17.2], [5.6, 14.5], [3.5, 2.5]]  # simple too, the other way round, two chunks
SQUARE = [[1, 1], [1, 5], [5, 5], [5, 1]]
HOLE = [[2, 2], [2, 3], [3, 3], [3, 2]]
VERTICES = np.array([*STAR, *TRIANGLE, *LONG, *SQUARE, *HOLE], np.float32)
RINGS, SHAPES = np.array([0, 5, 8, 11, 15, 19]), np.array([0, 1, 2, 3, 5])
EVEN_ODD = np.array([False, False, True, True])
SAMPLES = np.array([1, 0, 0, 1])
CANVAS = (2, 6, 19)
FILLS = {spans.NON_ZERO, spans.SIMPLE, spans.SIMPLE_BACK, spans.EVEN_ODD}


def _arguments(flat, sizes, band_starts, runs, frames, starts, stride):
    made = spans.cut(VERTICES, RINGS, SHAPES, EVEN_ODD, frames, starts, stride)
    assert set(made.items[:, 2]) == FILLS  # each way through a row
    row, entries = np.zeros(sizes.sum(), np.int32), len(made.spans)
    scratch = np.zeros((2, entries), np.uint32), np.zeros(entries, np.float32)
    return flat, row, np.cumsum(sizes) - sizes, band_starts, runs, *made, *scratch


def draw():
    frames, _ = spans.windows(VERTICES, RINGS, SHAPES, CANVAS[1:], np.zeros(4, int))
    _, height, width = CANVAS
    band_starts, runs = spans.bands(SAMPLES, frames, CANVAS[0], height)
    lines = SAMPLES * height + frames[:, 0]
    canvas = np.full(CANVAS, 0.25, np.float32)
    expected = canvas.copy()
    twin.draw(expected, SAMPLES, VERTICES, RINGS, SHAPES, EVEN_ODD, 64)
    sizes = np.full(len(band_starts) - 1, sweep.row_size(width))
    arguments = _arguments(
        canvas.reshape(-1),
        sizes,
        band_starts,
        runs,
        frames,
        lines * width + frames[:, 1],
        width,
    )
    return Case(len(sizes), arguments, expected.reshape(-1), 1 / 60)


CASES = {"_draw_gpu": draw}
