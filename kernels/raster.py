"""Exact-area coverage of polygons: how much of each pixel a shape covers, in single precision.

A shape is rings of vertices with a fill rule. The host cuts its edges at the pixel rows
(kernels/spans.py) and orders the rows in bands; an element is a band. Each row of a band is added
up in scratch (kernels/sweep.py), put on the canvas by maximum, and leaves the scratch zero again.
"""

from typing import Any

import numpy as np
from numba import cuda, int32, prange, uint64

from voxelmill.kernels.device import inlined, launch, loop, xp_of
from voxelmill.kernels.spans import Cut, bands, cut, windows
from voxelmill.kernels.sweep import CHUNK, CHUNK_BITS, add_row, row_size, share

__all__ = ["coverage", "draw", "windows"]

PATCH_ROWS = 4  # of patches, a band: the fewer, the more GPU threads, and the more scratch


@inlined
def _settle(canvas, at, width, row, base, chunks, low, high):
    """Raise `width` pixels of the canvas from `at` on to the cover in `row`, and clear it."""
    carries = base + (chunks << CHUNK_BITS)
    total = int32(0)
    for chunk in range(low, chunks):
        carry = uint64(carries + chunk)
        total += row[carry]
        row[carry] = 0
        if chunk > high and total == 0:
            return
        x = chunk << CHUNK_BITS
        pixel, cell = uint64(at + x), uint64(base + x)
        for k in range(int32(0), int32(min(width - x, CHUNK))):
            cover = share(row[cell + uint64(k)] + total)
            canvas[pixel + uint64(k)] = max(canvas[pixel + uint64(k)], cover)
        for k in range(int32(0), int32(CHUNK)):
            row[cell + uint64(k)] = 0
    row[uint64(carries + chunks)] = 0


@inlined
def _draw_at(band, canvas, row, bases, band_starts, runs, items, item_starts, spans, lists, xs):
    base = bases[band]
    for k in range(band_starts[band], band_starts[band + 1]):
        for i in range(runs[k, 0], runs[k, 1]):
            first, last = item_starts[i], item_starts[i + 1]
            if first < last:
                width, fill = items[i, 1], items[i, 2]
                chunks = (width + CHUNK - 1) >> CHUNK_BITS
                low, high = add_row(row, base, chunks, spans, lists, xs, first, last, fill)
                _settle(canvas, items[i, 0], width, row, base, chunks, low, high)


@loop
def _draw_cpu(canvas, row, bases, band_starts, runs, items, item_starts, spans, lists, xs):
    for band in prange(bases.size):
        _draw_at(band, canvas, row, bases, band_starts, runs, items, item_starts, spans, lists, xs)


@cuda.jit
def _draw_gpu(canvas, row, bases, band_starts, runs, items, item_starts, spans, lists, xs):
    band = cuda.grid(1)
    if band < bases.size:
        _draw_at(band, canvas, row, bases, band_starts, runs, items, item_starts, spans, lists, xs)


def coverage(
    vertices: Any,
    ring_starts: Any,
    shape_starts: Any,
    even_odd: Any,
    windows: Any,
    starts: Any,
) -> Any:
    """The share of each pixel that a shape covers, a patch a shape.

    vertices: (V, 2) float32 (y, x) in pixels, pixel (i, j) being [i, i + 1) x [j, j + 1).
    ring_starts: (R + 1,) into vertices; shape_starts: (S + 1,) into rings. Rings close themselves.
    even_odd: (S,) bool, the fill rule; else non-zero.
    windows, starts: as `windows` makes them: patch s is
        `result[starts[s]:starts[s + 1]].reshape(windows[s, 2:])`.
    Returns flat float32 on the side of `vertices`, 0..1. Raises ValueError if shapes disagree.
    """
    shapes = _on_host(vertices, ring_starts, shape_starts, even_odd)
    made = cut(*shapes, _host(windows), _host(starts))
    out = xp_of(vertices).zeros(int(_host(starts)[-1]), np.float32)
    _launch(out, *_rows_in_turn(made.items), made)
    return out


def draw(
    canvas: Any,
    samples: Any,
    vertices: Any,
    ring_starts: Any,
    shape_starts: Any,
    even_odd: Any,
) -> None:
    """Raise each pixel of `canvas` to the coverage of the shapes that lie on it, in place.

    canvas: (sample, y, x) float32, C-contiguous, on the host or the device. samples: (S,) which
    canvas a shape goes to. The rest as in `coverage`. Only rows of its window are visited.
    """
    if canvas.ndim != 3 or canvas.dtype != np.float32 or not canvas.flags.c_contiguous:
        raise ValueError(
            f"canvas is (sample, y, x) float32 in C order, not {canvas.shape} {canvas.dtype}"
        )
    shapes = _on_host(vertices, ring_starts, shape_starts, even_odd)
    samples, (batch, height, width) = _host(samples), canvas.shape
    count = len(shapes[2]) - 1
    if samples.shape != (count,) or (count and not 0 <= samples.min() <= samples.max() < batch):
        raise ValueError(f"samples are {count} numbers in 0..{batch - 1}, not {samples}")
    frames, _ = windows(*shapes[:3], (height, width), np.zeros(count, np.int32))
    lines = samples.astype(np.int64) * height + frames[:, 0]
    made = cut(*shapes, frames, lines * width + frames[:, 1], stride=width)
    band_starts, runs = bands(samples, frames, batch, height)
    sizes = np.full(len(band_starts) - 1, row_size(width))
    _launch(canvas.reshape(-1), sizes, band_starts, runs, made)


def _rows_in_turn(items: Any) -> tuple[Any, Any, Any]:
    """Bands of `PATCH_ROWS` items each, whichever shape they are of: sizes, offsets, runs.

    Items of patches lie on pixels of their own, so any division will do.
    """
    firsts = np.arange(0, len(items), PATCH_ROWS)
    runs = np.stack([firsts, np.minimum(firsts + PATCH_ROWS, len(items))], 1)
    widths = np.maximum.reduceat(items[:, 1], firsts) if len(items) else firsts
    return row_size(widths), np.arange(len(firsts) + 1), runs


def _launch(flat: Any, sizes: Any, band_starts: Any, runs: Any, made: Cut) -> None:
    """Draw the bands onto `flat`, with `sizes` elements of scratch for a row of each."""
    xp, entries = xp_of(flat), len(made.spans)
    ends = np.cumsum(sizes)
    row = xp.zeros(int(ends[-1]) if len(ends) else 0, np.int32)
    scratch = xp.empty((2, entries), np.uint32), xp.empty(entries, np.float32)
    tables = (xp.asarray(table) for table in (ends - sizes, band_starts, runs, *made))
    launch(_draw_cpu, _draw_gpu, len(ends), flat, row, *tables, *scratch)


def _host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else np.asarray(array)


def _on_host(
    vertices: Any, ring_starts: Any, shape_starts: Any, even_odd: Any
) -> tuple[Any, Any, Any, Any]:
    return (
        np.ascontiguousarray(_host(vertices)),
        _host(ring_starts),
        _host(shape_starts),
        _host(even_odd),
    )
