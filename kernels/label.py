"""Labels of composed shapes: instance and class maps, boxes and areas, run lengths.

A pixel belongs to a shape where its coverage is at least `COVERED`; later shapes lie on top.
Modal is what is seen of a shape, amodal all of it. Everything here is whole numbers.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, int64, prange, uint16, uint64

from voxelmill.kernels.device import body, launch, loop, serial, xp_of
from voxelmill.kernels.distance import COVERED
from voxelmill.kernels.tiles import check_patches, check_rows, strip, touched


class Maps(NamedTuple):
    """Label maps of a batch, each (sample, y, x); see `maps`."""

    modal: Any
    amodal: Any
    semantic: Any


class Measures(NamedTuple):
    """Boxes and areas of shapes, a row each; see `measure`."""

    boxes: Any
    visible_boxes: Any
    area: Any
    visible: Any


@body
def _maps_at(
    n, y, x0, x1, first, last, modal, amodal, semantic, coverage, windows, starts, ids, classes,
    items,
):  # fmt: skip
    """Pixels x0..x1 of row y of sample n under shapes items[first:last]."""
    for item in range(first, last):
        s = items[item]
        row, width = y - windows[s, 0], windows[s, 3]
        left, right = max(x0, windows[s, 1]), min(x1, windows[s, 1] + width)
        if 0 <= row < windows[s, 2] and left < right:
            a = uint64(starts[s] + row * width + left - windows[s, 1])
            here, kind = ids[s], classes[s]
            bit = uint16(1 << (here - 1)) if here <= 16 else uint16(0)
            x, size = uint64(left), uint64(right - left)
            for k in range(size):
                modal[n, y, x + k] = here if coverage[a + k] >= COVERED else modal[n, y, x + k]
            for k in range(size):
                amodal[n, y, x + k] |= bit if coverage[a + k] >= COVERED else uint16(0)
            for k in range(size):
                under = semantic[n, y, x + k]
                semantic[n, y, x + k] = kind if coverage[a + k] >= COVERED else under


@loop
def _maps_cpu(
    modal, amodal, semantic, coverage, windows, starts, ids, classes, tiles, item_starts, items,
    tall, wide,
):  # fmt: skip
    for t in prange(tiles.shape[0]):
        n, y0, x0 = tiles[t]
        x1 = min(x0 + wide, modal.shape[2])
        for y in range(y0, min(y0 + tall, modal.shape[1])):
            _maps_at(
                n, y, x0, x1, item_starts[t], item_starts[t + 1], modal, amodal, semantic,
                coverage, windows, starts, ids, classes, items,
            )  # fmt: skip


@cuda.jit
def _maps_gpu(
    modal, amodal, semantic, coverage, windows, starts, ids, classes, tiles, item_starts, items,
    tall, wide,
):  # fmt: skip
    i = cuda.grid(1)
    t = i // (tall * wide)
    if t < tiles.shape[0]:
        y, x = tiles[t, 1] + i // wide % tall, tiles[t, 2] + i % wide
        if y < modal.shape[1] and x < modal.shape[2]:
            _maps_at(
                tiles[t, 0], y, x, x + 1, item_starts[t], item_starts[t + 1], modal, amodal,
                semantic, coverage, windows, starts, ids, classes, items,
            )  # fmt: skip


def maps(
    coverage: Any, windows: Any, starts: Any, samples: Any, ids: Any, classes: Any,
    batch: int, canvas_shape: tuple[int, int],
) -> Maps:  # fmt: skip
    """Instance and class maps of the shapes, in z-order of their rows.

    coverage, windows, starts, samples: the shapes as patches, `samples` (shape,) int32.
    ids: (shape,) uint8 or uint16, from 1 inside each sample; classes: (shape,) uint8.
    Returns modal (sample, y, x) in ids' dtype, the id of the uppermost shape; amodal uint16 with
    bit id - 1 for each shape that is there (an id above 16 sets none); semantic uint8, the class
    of the uppermost shape. 0 where no shape is. On the side of `coverage`.
    """
    check_patches(coverage, windows, starts)
    check_rows(windows.shape[0], samples=samples, ids=ids, classes=classes)
    _check_ids(ids)
    if classes.dtype != np.uint8:
        raise ValueError(f"classes are uint8, not {classes.dtype}")
    xp, shape = xp_of(coverage), (batch, *canvas_shape)
    made = Maps(*(xp.zeros(shape, dtype) for dtype in (ids.dtype, np.uint16, np.uint8)))
    tile = strip(canvas_shape)
    tiles, item_starts, items = touched(windows, samples, canvas_shape, batch, tile)
    count = tiles.shape[0] * tile[0] * tile[1]
    launch(
        _maps_cpu, _maps_gpu, count, *made, coverage, windows, starts, ids,
        classes, tiles, item_starts, items, *tile,
    )  # fmt: skip
    return made


@body
def _widen(out, s, column, y, left, right):
    """Make the box in columns column..column + 3 of row s hold pixels left..right of row y."""
    if out[s, column + 2] == 0:
        out[s, column], out[s, column + 1] = y, left
    out[s, column + 1] = min(out[s, column + 1], left)
    out[s, column + 2] = y + 1
    out[s, column + 3] = max(out[s, column + 3], right)


@body
def _measure_at(s, out, coverage, windows, starts, samples, ids, modal):
    """Row s: box, visible box (y0, x0, y1, x1), area, visible area."""
    for column in range(10):
        out[s, column] = 0
    y0, x0, width = windows[s, 0], windows[s, 1], windows[s, 3]
    first, last = max(x0, 0), min(x0 + width, modal.shape[2])
    if first >= last:
        return
    for y in range(max(y0, 0), min(y0 + windows[s, 2], modal.shape[1])):
        a = uint64(starts[s] + (y - y0) * width + first - x0)
        n, x = samples[s], uint64(first)
        inside, visible = 0, 0
        for k in range(uint64(last - first)):
            inside += coverage[a + k] >= COVERED
            visible += (coverage[a + k] >= COVERED) & (modal[n, y, x + k] == ids[s])
        if inside:
            left, right = uint64(0), uint64(last - first - 1)
            while coverage[a + left] < COVERED:
                left += uint64(1)
            while coverage[a + right] < COVERED:
                right -= uint64(1)
            _widen(out, s, 0, y, first + int64(left), first + int64(right) + 1)
            if visible:
                while not (coverage[a + left] >= COVERED and modal[n, y, x + left] == ids[s]):
                    left += uint64(1)
                while not (coverage[a + right] >= COVERED and modal[n, y, x + right] == ids[s]):
                    right -= uint64(1)
                _widen(out, s, 4, y, first + int64(left), first + int64(right) + 1)
        out[s, 8] += inside
        out[s, 9] += visible


@loop
def _measure_cpu(out, coverage, windows, starts, samples, ids, modal):
    for s in prange(out.shape[0]):
        _measure_at(s, out, coverage, windows, starts, samples, ids, modal)


@cuda.jit
def _measure_gpu(out, coverage, windows, starts, samples, ids, modal):
    s = cuda.grid(1)
    if s < out.shape[0]:
        _measure_at(s, out, coverage, windows, starts, samples, ids, modal)


def measure(
    coverage: Any, windows: Any, starts: Any, samples: Any, ids: Any, modal: Any
) -> Measures:
    """Boxes and areas of each shape inside the canvas; `modal` and the rest as in `maps`.

    Boxes are (shape, 4) int32 y0, x0, y1, x1, half-open, in pixels: of the whole shape and of what
    is seen of it, 0, 0, 0, 0 where that is nothing. area (shape,) int64 counts all its pixels in
    the canvas, visible those where `modal` shows its id.
    """
    check_patches(coverage, windows, starts)
    check_rows(windows.shape[0], samples=samples, ids=ids)
    _check_ids(ids)
    if modal.ndim != 3 or modal.dtype != ids.dtype:
        raise ValueError(f"modal is (sample, y, x) {ids.dtype}, not {modal.shape} {modal.dtype}")
    out = xp_of(coverage).empty((windows.shape[0], 10), np.int64)
    launch(
        _measure_cpu, _measure_gpu, out.shape[0], out, coverage, windows, starts, samples, ids,
        modal,
    )  # fmt: skip
    boxes = out[:, :8].astype(np.int32)
    return Measures(boxes[:, :4], boxes[:, 4:], out[:, 8], out[:, 9])


def _check_ids(ids: Any) -> None:
    if ids.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"ids are uint8 or uint16, not {ids.dtype}")


@serial
def _emit(counts, total, length):
    """Write a run where there is room for it, that is, on the second of two passes; count it."""
    if counts.size:
        counts[total] = length
    return total + 1


@serial
def _runs(counts, run_starts, coverage, windows, starts, height, width):
    total = 0
    for s in range(windows.shape[0]):
        y0, x0, step = windows[s, 0], windows[s, 1], windows[s, 3]
        first, stop = -1, 0  # the run of the mask that is open, if any: [first, stop)
        for x in range(max(x0, 0), min(x0 + step, width)):
            for y in range(max(y0, 0), min(y0 + windows[s, 2], height)):
                place = x * height + y
                if coverage[starts[s] + (y - y0) * step + x - x0] < COVERED:
                    continue
                if first < 0 or place > stop:
                    if first >= 0:
                        total = _emit(counts, total, stop - first)
                    total = _emit(counts, total, place - stop)
                    first = place
                stop = place + 1
        if first >= 0:
            total = _emit(counts, total, stop - first)
        if stop < height * width:
            total = _emit(counts, total, height * width - stop)
        run_starts[s + 1] = total


def runs(
    coverage: Any, windows: Any, starts: Any, canvas_shape: tuple[int, int]
) -> tuple[Any, Any]:
    """COCO run lengths of each shape's whole mask on the canvas; NumPy arrays only.

    Runs go down the columns, background first (0 long if the first pixel is covered), and sum up
    to the canvas. Returns counts, flat uint32, and run_starts (shape + 1,) int64: the runs of
    shape s are counts[run_starts[s]:run_starts[s + 1]].
    """
    check_patches(coverage, windows, starts)
    height, width = canvas_shape
    run_starts = np.zeros(windows.shape[0] + 1, np.int64)
    _runs(np.empty(0, np.uint32), run_starts, coverage, windows, starts, height, width)
    counts = np.empty(run_starts[-1], np.uint32)
    if counts.size:
        _runs(counts, run_starts, coverage, windows, starts, height, width)
    return counts, run_starts
