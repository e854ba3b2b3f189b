"""Rasters on 512 x 512, one thread: 500 random 24-gons, 500 catheters of 400 points, 7 px wide.

Run: `pytest benchmarks/test_raster.py --benchmark-enable -s`. Clearing the canvas is outside every
timing, and so is conversion of 24-gons to the arrays that each program takes; edge binning,
outlining of strokes and all scratch are inside ours. Peers draw the same shapes: OpenCV with
LINE_AA and shift=8 on uint8 (it has no anti-aliasing on float32), the same with one conversion of
the canvas to float32, and scikit-image's `draw.polygon` on the bounding box at 4 x 4 points a
pixel, averaged and put in by maximum (it has no anti-aliased filling), and at one point a pixel,
which is not anti-aliased at all.
`extra_info` has microseconds a shape, the mean error of a shape's area, and the bound: the pixels
that a shape touches, read and written once at the copy bandwidth measured here.
What bounds ours is not memory but instructions: of 8 microseconds a spiky 24-gon (6 a round one),
three (two) cut its edges at the pixel rows and test whether they cross; the rest is 15-20 ns for
each edge in each of its rows, put on the canvas included.
"""

import time
from itertools import pairwise

import cv2
import numba
import numpy as np
import pytest
import skimage.draw

from voxelmill.kernels import outline, raster

COUNT, SIZE, WIDTH_PX, ROUNDS = 500, 512, 7.0, 15
EVEN_ODD, SAMPLES = np.zeros(COUNT, bool), np.zeros(COUNT, np.int32)


@pytest.fixture(autouse=True)
def _one_thread():
    before = numba.get_num_threads(), cv2.getNumThreads()
    numba.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    numba.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def spiky_gons():
    """24 vertices round a centre, each with a radius of its own: edges run across the rows."""
    return _gons((COUNT, 24))


def round_gons():
    """24 vertices at random angles on a circle."""
    return _gons((COUNT, 1))


def _gons(radii):
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (COUNT, 24)), 1)
    radius = rng.uniform(15, 60, radii)
    around = np.stack([radius * np.sin(angles), radius * np.cos(angles)], 2)
    return list((rng.uniform(61, SIZE - 61, (COUNT, 1, 2)) + around).astype(np.float32))


def catheters():
    """Smooth lines from the left to the right through five random points, evenly spaced."""
    rng, out = np.random.default_rng(1), []
    for _ in range(COUNT):
        knots = rng.uniform(20, SIZE - 20, (5, 2))
        knots[:, 1].sort()
        line = outline.catmull_rom(knots, 100).astype(float)
        length = np.append(0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
        at = np.linspace(0, length[-1], 400)
        out.append(np.stack([np.interp(at, length, line[:, k]) for k in (0, 1)], 1))
    return out


def ours(shapes):
    """Coverage by `raster.draw`; catheters are outlined first, inside the timing."""

    def packed(rings):
        return np.concatenate(rings), np.cumsum([0] + [len(r) for r in rings])

    gons = packed(shapes) if len(shapes[0]) == 24 else None

    def draw(canvas):
        vertices, starts = gons or packed([outline.stroke(p, WIDTH_PX)[0] for p in shapes])
        each = np.arange(len(shapes) + 1)
        raster.draw(canvas, SAMPLES[: len(shapes)], vertices, starts, each, EVEN_ODD[: len(shapes)])

    return np.zeros((1, SIZE, SIZE), np.float32), draw


def opencv(shapes):
    """Anti-aliased into uint8, coordinates in 1/256 px; it counts from pixel centres."""

    fixed = [np.round((p[:, ::-1] - 0.5) * 256).astype(np.int32) for p in shapes]

    def draw(canvas):
        for points in fixed:
            if len(points) == 24:
                cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA, 8)
            else:
                cv2.polylines(canvas, [points], False, 255, int(WIDTH_PX), cv2.LINE_AA, 8)

    return np.zeros((SIZE, SIZE), np.uint8), draw


def opencv_to_float(shapes):
    """And the canvas made float32 once."""

    canvas, fill = opencv(shapes)

    def draw(canvas):
        fill(canvas)
        return canvas.astype(np.float32) * np.float32(1 / 255)

    return canvas, draw


def scikit_image_plain(shapes):
    """Without anti-aliasing: pixel centres, inside or not."""
    return scikit_image(shapes, points=1)


def scikit_image(shapes, points=4):
    """points x points a pixel in the bounding box, averaged, put in by maximum."""

    def draw(canvas):
        for ring in shapes:
            low, high = np.floor(ring.min(0)).astype(int), np.ceil(ring.max(0)).astype(int)
            height, width = high - low
            fine = np.zeros((height * points, width * points), np.float32)
            at = (ring - low) * points - 0.5
            fine[skimage.draw.polygon(at[:, 0], at[:, 1], fine.shape)] = 1
            cover = fine.reshape(height, points, width, points).mean((1, 3))
            window = canvas[low[0] : high[0], low[1] : high[1]]
            np.maximum(window, cover, out=window)

    return np.zeros((SIZE, SIZE), np.float32), draw


def area_of(shape):
    """Of a ring by the shoelace formula; of a line by 16 points a pixel, its crossings once."""
    if len(shape) == 24:
        y, x = shape.astype(float).T
        return abs(y @ np.roll(x, -1) - x @ np.roll(y, -1)) / 2
    fine, half = np.zeros((SIZE * 16, SIZE * 16), bool), WIDTH_PX / 2
    at = (np.arange(SIZE * 16) + 0.5) / 16
    for a, b in pairwise(shape):
        low = np.maximum((np.minimum(a, b) - half) * 16, 0).astype(int)
        high = ((np.maximum(a, b) + half) * 16).astype(int) + 1
        window = slice(low[0], high[0]), slice(low[1], high[1])
        y, x = at[window[0], None], at[None, window[1]]
        (dy, dx), length = (b - a), np.hypot(*(b - a))
        along = np.clip(((y - a[0]) * dy + (x - a[1]) * dx) / length**2, 0, 1)
        fine[window] |= np.hypot(y - a[0] - along * dy, x - a[1] - along * dx) <= half
    return fine.sum() / 256


def area_error(make, shapes):
    """The mean of |drawn area / area - 1|, each shape alone on the canvas."""
    errors = []
    for shape in shapes:
        canvas, draw = make([shape])
        draw(canvas)
        full = 255 if canvas.dtype == np.uint8 else 1
        errors.append(abs(canvas.sum(dtype=float) / full / area_of(shape) - 1))
    return float(np.mean(errors))


def bound_us(shapes):
    """Microseconds a shape to read and write the pixels that it touches."""
    touched = 0
    for shape in shapes[:20]:
        canvas, draw = ours([shape])
        draw(canvas)
        touched += np.count_nonzero(canvas) / 20
    source, target = np.ones((2, 2**22), np.float32)
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return float(1e6 * min(seconds) * touched / source.size)


MAKERS = [ours, opencv, opencv_to_float]
KINDS = {"round 24-gons": round_gons, "spiky 24-gons": spiky_gons, "catheters": catheters}
CASES = [(kind, make) for kind in KINDS for make in MAKERS]
CASES += [("round 24-gons", scikit_image_plain), ("round 24-gons", scikit_image)]


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_raster(benchmark, kind, make):
    """All shapes of a kind onto one canvas by one program."""
    shapes = KINDS[kind]()
    canvas, draw = make(shapes)
    benchmark.group = kind
    rounds = 2 if make in (scikit_image, scikit_image_plain) else ROUNDS

    def cleared():
        canvas.fill(0)
        return (canvas,), {}

    benchmark.pedantic(draw, setup=cleared, rounds=rounds, warmup_rounds=1)
    error = area_error(make, shapes[:3] if kind == "catheters" else shapes[:100])
    benchmark.extra_info["mean_area_error"] = error
    benchmark.extra_info["bound_us_each"] = bound_us(shapes)
    if benchmark.stats:
        benchmark.extra_info["us_each"] = 1e6 * benchmark.stats.stats.median / COUNT
    print(f"\n{kind} {make.__name__}: {benchmark.extra_info}")
    if make is ours:
        assert error < 1e-3
