"""Host preparation of kernels/raster.py: windows of shapes, and edges cut at the pixel rows."""

from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from voxelmill.kernels.device import loop, serial

BAND_ROWS = 16  # rows that one thread draws of all shapes: in turn, so that shapes do not race
# Fills. A simple ring meets itself nowhere: its edges count with their sense, in any order.
NON_ZERO, EVEN_ODD, SIMPLE, SIMPLE_BACK = range(4)
MOST_TESTED = 64  # edges of a ring of which all pairs are tested
STEEPEST = 1e9  # |dx / dy| that is kept: flatter edges are lower than a unit of cover


class Cut(NamedTuple):
    """The pixel rows of all shapes ("items", in order of shape and row) and the edges in them."""

    items: Any  # (I, 3) int64: flat place of the row's first pixel, its width, its fill
    item_starts: Any  # (I + 1,) int64 into spans
    spans: Any  # (E, 5) float32: y at the top, y at the bottom, x at the top, dx / dy, +-1


def windows(
    vertices: Any,
    ring_starts: Any,
    shape_starts: Any,
    canvas_shape: Any,
    margin_px: Any,
) -> tuple[Any, Any]:
    """The smallest pixel window of each shape, widened by its margin, and where patches start.

    vertices (V, 2) float32 (y, x), ring_starts (R + 1,), shape_starts (S + 1,): as in `coverage`.
    canvas_shape: (height, width). margin_px: (S,) whole pixels, not negative: it widens the
    window, and the window may stick out of the canvas by it, but no further.
    Returns (S, 4) int32 y0, x0, height, width, and (S + 1,) int64 offsets of the patches. A shape
    that does not reach the canvas has height and width 0.
    Raises ValueError if the offsets do not fit, or a vertex is not finite.
    """
    margin_px = np.asarray(margin_px)
    _check(vertices, ring_starts, shape_starts)
    if margin_px.shape != (len(shape_starts) - 1,) or (margin_px < 0).any():
        raise ValueError(f"margin_px is {len(shape_starts) - 1} numbers from 0 up, not {margin_px}")
    frames = np.zeros((len(margin_px), 4), np.int32)
    height, width = (int(n) for n in canvas_shape)
    bad = _frame(frames, vertices, ring_starts, shape_starts, height, width, margin_px)
    if bad >= 0:
        raise ValueError(f"vertex {bad} is {vertices[bad]}; vertices must be finite")
    starts = np.zeros(len(frames) + 1, np.int64)
    np.cumsum(frames[:, 2].astype(np.int64) * frames[:, 3], out=starts[1:])
    return frames, starts


def _check(vertices: Any, ring_starts: Any, shape_starts: Any) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 2 or vertices.dtype != np.float32:
        raise ValueError(
            f"vertices are (vertex, 2) float32 (y, x), not {vertices.shape} {vertices.dtype}"
        )
    below = {"ring_starts": (ring_starts, len(vertices))}
    below["shape_starts"] = (shape_starts, len(ring_starts) - 1)
    for name, (starts, count) in below.items():
        rises = len(starts) > 0 and starts[0] == 0 and (np.diff(starts) >= 0).all()
        if not rises or starts[-1] != count:
            raise ValueError(f"{name} must rise from 0 to {count}, not {starts}")


@serial
def _frame(frames, vertices, ring_starts, shape_starts, height, width, margin_px):
    """Fill `frames` (S, 4); returns the first vertex that is not finite, or -1."""
    for s in range(frames.shape[0]):
        first, last = ring_starts[shape_starts[s]], ring_starts[shape_starts[s + 1]]
        if first == last:
            continue
        top, left = np.float32(np.inf), np.float32(np.inf)
        bottom, right = -top, -left
        for v in range(first, last):
            y, x = vertices[v, 0], vertices[v, 1]
            if not (np.isfinite(y) and np.isfinite(x)):
                return v
            top, bottom = min(top, y), max(bottom, y)
            left, right = min(left, x), max(right, x)
        margin = margin_px[s]
        # Clip as floats: a vertex may lie further out than an integer reaches.
        y0 = int(floor(max(top, -2.0 * margin - 1.0))) - margin
        x0 = int(floor(max(left, -2.0 * margin - 1.0))) - margin
        y1 = int(ceil(min(bottom, height + 2.0 * margin + 1.0))) + margin
        x1 = int(ceil(min(right, width + 2.0 * margin + 1.0))) + margin
        y0, x0 = max(y0, -margin), max(x0, -margin)
        y1, x1 = min(y1, height + margin), min(x1, width + margin)
        if y0 < min(y1, height) and x0 < min(x1, width) and y1 > 0 and x1 > 0:
            frames[s, 0], frames[s, 1] = y0, x0
            frames[s, 2], frames[s, 3] = y1 - y0, x1 - x0
    return -1


@loop
def _count(counts, first_item, vertices, ring_starts, shape_starts, frames):
    """Add up how many edges lie in each item."""
    for s in prange(frames.shape[0]):
        y0, x0, height, width = frames[s]
        if height == 0 or width == 0:
            continue
        for ring in range(shape_starts[s], shape_starts[s + 1]):
            first, last = ring_starts[ring], ring_starts[ring + 1]
            before = last - 1
            for v in range(first, last):
                a, b = vertices[before, 0] - float(y0), vertices[v, 0] - float(y0)
                low, high = min(a, b), max(a, b)
                xs = min(vertices[before, 1], vertices[v, 1])
                before = v
                if low == high or high <= 0 or low >= height or xs >= x0 + width:
                    continue
                for row in range(int(max(low, 0.0)), int(ceil(min(high, float(height))))):
                    counts[first_item[s] + row] += 1


@serial
def _fill_of(vertices, ring_starts, first_ring, last_ring, even_odd):
    """The fill of a shape: that of its rule, or simple, with the sense in which its ring turns."""
    rule = EVEN_ODD if even_odd else NON_ZERO
    if last_ring - first_ring != 1:
        return rule
    first, last = ring_starts[first_ring], ring_starts[last_ring]
    if last - first < 3 or last - first > MOST_TESTED:
        return rule
    area = 0.0
    before = last - 1
    for v in range(first, last):
        area += float(vertices[before, 1]) * vertices[v, 0]
        area -= float(vertices[v, 1]) * vertices[before, 0]
        before = v
    return (SIMPLE if area < 0 else SIMPLE_BACK) if _is_simple(vertices[first:last]) else rule


@serial
def _is_simple(ring):
    """Whether no two edges of a ring that are not neighbours may meet; in doubt not."""
    count = ring.shape[0]
    boxes = np.empty((4, count), np.float32)
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        boxes[0, i], boxes[1, i] = min(ring[i, 0], ring[j, 0]), max(ring[i, 0], ring[j, 0])
        boxes[2, i], boxes[3, i] = min(ring[i, 1], ring[j, 1]), max(ring[i, 1], ring[j, 1])
    for i in range(count - 2):
        top, bottom, left, right = boxes[0, i], boxes[1, i], boxes[2, i], boxes[3, i]
        for j in range(i + 2, count - 1 if i == 0 else count):
            # one branch, not four that nobody can predict
            apart = (boxes[0, j] > bottom) | (boxes[1, j] < top)
            apart |= (boxes[2, j] > right) | (boxes[3, j] < left)
            if not apart and _may_meet(ring, i, i + 1, j, j + 1 if j + 1 < count else 0):
                return False
    return True


@serial
def _may_meet(ring, a, b, c, d):
    """Whether the edges a-b and c-d may have a point in common."""
    vy, vx = float(ring[b, 0]) - ring[a, 0], float(ring[b, 1]) - ring[a, 1]
    c_side = vx * (float(ring[c, 0]) - ring[a, 0]) - vy * (float(ring[c, 1]) - ring[a, 1])
    d_side = vx * (float(ring[d, 0]) - ring[a, 0]) - vy * (float(ring[d, 1]) - ring[a, 1])
    if (c_side > 0 and d_side > 0) or (c_side < 0 and d_side < 0):
        return False
    vy, vx = float(ring[d, 0]) - ring[c, 0], float(ring[d, 1]) - ring[c, 1]
    a_side = vx * (float(ring[a, 0]) - ring[c, 0]) - vy * (float(ring[a, 1]) - ring[c, 1])
    b_side = vx * (float(ring[b, 0]) - ring[c, 0]) - vy * (float(ring[b, 1]) - ring[c, 1])
    return not ((a_side > 0 and b_side > 0) or (a_side < 0 and b_side < 0))


@loop
def _fill(
    items,
    spans,
    places,
    first_item,
    vertices,
    ring_starts,
    shape_starts,
    even_odd,
    frames,
    at,
):
    """Fill `items` and `spans`; `places` says where an item's next entry goes."""
    for s in prange(frames.shape[0]):
        y0, x0, height, width = frames[s]
        if height == 0 or width == 0:
            continue
        stride = width if at[s, 1] < 0 else at[s, 1]
        fill = _fill_of(vertices, ring_starts, shape_starts[s], shape_starts[s + 1], even_odd[s])
        for row in range(height):
            items[first_item[s] + row, 0] = at[s, 0] + row * stride
            items[first_item[s] + row, 1] = width
            items[first_item[s] + row, 2] = fill
        for ring in range(shape_starts[s], shape_starts[s + 1]):
            first, last = ring_starts[ring], ring_starts[ring + 1]
            before = last - 1
            for v in range(first, last):
                ya, xa = (
                    vertices[before, 0] - float(y0),
                    vertices[before, 1] - float(x0),
                )
                yb, xb = vertices[v, 0] - float(y0), vertices[v, 1] - float(x0)
                before = v
                turn = 1.0
                if ya > yb:
                    ya, xa, yb, xb, turn = yb, xb, ya, xa, -1.0
                if ya == yb or yb <= 0 or ya >= height or min(xa, xb) >= width:
                    continue
                slope = min(max((xb - xa) / (yb - ya), -STEEPEST), STEEPEST)
                for row in range(int(max(ya, 0.0)), int(ceil(min(yb, float(height))))):
                    item = np.uint64(first_item[s] + row)
                    entry = np.uint64(places[item])
                    places[item] += 1
                    top = max(ya, float(row))
                    spans[entry, 0] = top - row
                    spans[entry, 1] = min(yb - row, 1.0)
                    spans[entry, 2] = xa + slope * (top - ya)
                    spans[entry, 3] = slope
                    spans[entry, 4] = turn


def cut(
    vertices: Any,
    ring_starts: Any,
    shape_starts: Any,
    even_odd: Any,
    frames: Any,
    starts: Any,
    stride: int = -1,
) -> Cut:
    """Cut the edges of all shapes at the pixel rows of their windows `frames`.

    starts: the flat place of each window's first pixel; `stride` pixels further is its next row,
    or its width where stride is -1. What lies above, below and right of a window has no effect
    in it and is left out; what lies left of it has.
    """
    _check(vertices, ring_starts, shape_starts)
    count = len(shape_starts) - 1
    if np.shape(even_odd) != (count,) or np.shape(frames) != (count, 4) or len(starts) < count:
        raise ValueError(
            f"{count} shapes need as many fill rules and windows, not {np.shape(even_odd)} "
            f"and {np.shape(frames)}"
        )
    first_item = np.zeros(count + 1, np.int64)
    np.cumsum(np.where(frames[:, 3] > 0, frames[:, 2], 0), out=first_item[1:])
    rings = (vertices, ring_starts, shape_starts)
    item_starts = np.zeros(first_item[-1] + 1, np.int64)
    _count(item_starts[1:], first_item, *rings, frames)
    np.cumsum(item_starts, out=item_starts)
    items = np.empty((first_item[-1], 3), np.int64)
    spans = np.empty((item_starts[-1], 5), np.float32)
    at = np.stack([starts[:count], np.full(count, stride, np.int64)], 1)
    _fill(items, spans, item_starts[:-1].copy(), first_item, *rings, even_odd, frames, at)
    return Cut(items, item_starts, spans)


@serial
def _sort_bands(band_starts, runs, samples, frames, bands_each):
    for s in range(frames.shape[0]):
        first, last = _bands_of(frames[s, 0], frames[s, 2])
        for band in range(first, last):
            band_starts[samples[s] * bands_each + band + 1] += 1
    for band in range(band_starts.size - 1):
        band_starts[band + 1] += band_starts[band]
    free = band_starts.copy()
    item = 0
    for s in range(frames.shape[0]):
        y0, height = frames[s, 0], frames[s, 2]
        first, last = _bands_of(y0, height)
        for band in range(first, last):
            k = free[samples[s] * bands_each + band]
            free[samples[s] * bands_each + band] = k + 1
            runs[k, 0] = item + max(band * BAND_ROWS - y0, 0)
            runs[k, 1] = item + min((band + 1) * BAND_ROWS - y0, height)
        item += height


@serial
def _bands_of(y0, height):
    if height == 0:
        return 0, 0
    return y0 // BAND_ROWS, (y0 + height - 1) // BAND_ROWS + 1


def bands(samples: Any, frames: Any, batch: int, height: int) -> tuple[Any, Any]:
    """Which items lie in each band of `BAND_ROWS` rows of a batch of canvases, in z-order.

    Returns offsets (bands + 1,), and the first and last + 1 item of each run (runs, 2), int64.
    """
    bands_each = -(-height // BAND_ROWS)
    first, last = (
        frames[:, 0] // BAND_ROWS,
        (frames[:, 0] + frames[:, 2] - 1) // BAND_ROWS + 1,
    )
    count = int(np.where(frames[:, 2] > 0, last - first, 0).sum())
    band_starts = np.zeros(batch * bands_each + 1, np.int64)
    runs = np.empty((count, 2), np.int64)
    _sort_bands(band_starts, runs, samples, frames, bands_each)
    return band_starts, runs
