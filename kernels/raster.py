"""Exact-area coverage of polygons: how much of each pixel a shape covers, in single precision.

A shape is rings of vertices with a fill rule. The host cuts its edges at the pixel rows
(kernels/spans.py); an element is then one row of one shape. A row is swept from top to bottom in
slices in which no edge begins, ends or crosses another. In a slice the edges have one order, so
the winding rule says which of them bound the inside, and only these add their signed area and
cover to the row (as font rasterizers do); a running sum from the left turns that into coverage.
Self-crossings and holes need no other care, and there is no sampling error.

Cover is counted in whole units of 2**-20 of a pixel, held in float32, where such sums are exact:
the inside is exactly 1, and right of a shape is exactly 0, whatever came before.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.spans import Cut, cut, lines_of, windows

__all__ = ["coverage", "draw", "windows"]

Y0, Y1, X0, SLOPE, TURN = range(5)  # the columns of `spans`, as kernels/spans.py makes them


@body
def _whole(x):
    """The integer nearest to x, |x| < 2**22, without leaving float32."""
    return (x + float32(12582912)) - float32(12582912)


@body
def _tiles(first, last, shift):
    """A bit for each tile of 2**shift pixels from pixel `first` to pixel `last`."""
    return (uint64(2) << uint64(last >> shift)) - (uint64(1) << uint64(first >> shift))


@body
def _add_edge(row, width, shift, left, right, height, sign):
    """Add an edge from x = left to x = right, `height` units tall, to the differences in `row`.

    Returns the tiles that were touched. Cells right of the edge get height in all, cells under it
    their share; what lies left of the row counts in its first cell, what lies right nowhere.
    """
    if left >= float32(width):
        return uint64(0)
    if right <= float32(0):
        row[0] += sign * height
        return uint64(1)
    per_px = height / max(right - left, float32(1e-30))
    done, start = float32(0), left
    if left < float32(0):
        done = _whole(-left * per_px)
        row[0] += sign * done
        start = float32(0)
    first = int32(start)
    last = min(int32(min(right, float32(width))), width - 1)
    for cell in range(first, last + 1):
        edge = float32(cell + 1)
        if edge < right:
            until = min(_whole((edge - left) * per_px), height)
        else:
            until, edge = height, right
        share = _whole((until - done) * (float32(0.5) * (start + edge) - float32(cell)))
        share = min(max(share, float32(0)), until - done)
        row[cell] += sign * (until - done - share)
        if cell + 1 < width:
            row[cell + 1] += sign * share
        done, start = until, edge
    return _tiles(0 if left < float32(0) else first, min(last + 1, width - 1), shift)


@body
def _sort_by_top(spans, order, first, last):
    """Shell sort of entries first..last by where they begin."""
    for i in range(first, last):
        order[i] = i
    gap = 1
    while 3 * gap + 1 < (last - first) // 2:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(first + gap, last):
            entry = order[i]
            y = spans[entry, Y0]
            j = i
            while j >= first + gap and spans[order[j - gap], Y0] > y:
                order[j] = order[j - gap]
                j -= gap
            order[j] = entry
        gap //= 3


@body
def _sort_by_x(spans, active, xs, first, count, y, step):
    """Insertion sort of the active entries by x just under y; `xs` gets x at y."""
    for i in range(first, first + count):
        entry = active[i]
        x = spans[entry, X0] + spans[entry, SLOPE] * (y - spans[entry, Y0])
        slope = spans[entry, SLOPE]
        j = i
        while j > first and xs[j - 1] - x > step * (slope - spans[active[j - 1], SLOPE]):
            xs[j] = xs[j - 1]
            active[j] = active[j - 1]
            j -= 1
        xs[j] = x
        active[j] = entry


@body
def _first_crossing(spans, active, xs, first, count, y, bottom):
    """Where the first two neighbours change places in (y, bottom), or bottom."""
    cut = bottom
    for i in range(first, first + count - 1):
        apart = xs[i + 1] - xs[i]
        closing = spans[active[i], SLOPE] - spans[active[i + 1], SLOPE]
        if closing * (bottom - y) > apart + float32(0.000244140625):
            cut = min(cut, y + max(apart, float32(0)) / closing)
    return min(max(cut, y + float32(1.52587890625e-05)), bottom)  # 2**-16: always go on


@body
def _add_slice(row, width, shift, spans, active, xs, first, count, y, cut, even_odd):
    """Add the edges that bound the inside between y and cut; returns the tiles touched."""
    units = float32(1048576)
    height = _whole(cut * units) - _whole(y * units)
    touched = uint64(0)
    winding = int32(0)
    for i in range(first, first + count):
        entry = active[i]
        was_inside = winding & 1 if even_odd else winding
        winding += int32(spans[entry, TURN])
        is_inside = winding & 1 if even_odd else winding
        if (was_inside != 0) != (is_inside != 0):
            top = xs[i]
            end = top + spans[entry, SLOPE] * (cut - y)
            sign = float32(1) if is_inside != 0 else float32(-1)
            touched |= _add_edge(row, width, shift, min(top, end), max(top, end), height, sign)
    return touched


@body
def _add_row(row, width, shift, spans, lists, xs, first, last, even_odd):
    """Add all edges of one pixel row (entries first..last) to `row`; returns the tiles touched.

    lists (2, entry) int32 and xs (entry,) float32 are scratch.
    """
    order, active = lists[0], lists[1]
    _sort_by_top(spans, order, first, last)
    touched = uint64(0)
    count, following = 0, first
    y = spans[order[first], Y0]
    while count > 0 or following < last:
        if count == 0:
            y = max(y, spans[order[following], Y0])
        while following < last and spans[order[following], Y0] <= y:
            active[first + count] = order[following]
            count += 1
            following += 1
        bottom = float32(1)
        if following < last:
            bottom = spans[order[following], Y0]
        for i in range(first, first + count):
            bottom = min(bottom, spans[active[i], Y1])
        step = min(float32(7.62939453125e-06), float32(0.5) * (bottom - y))
        _sort_by_x(spans, active, xs, first, count, y, step)
        cut = _first_crossing(spans, active, xs, first, count, y, bottom)
        touched |= _add_slice(row, width, shift, spans, active, xs, first, count, y, cut, even_odd)
        y = cut
        kept = 0
        for i in range(first, first + count):
            if spans[active[i], Y1] > y:
                active[first + kept] = active[i]
                kept += 1
        count = kept
    return touched


@body
def _tile_shift(width):
    """Tiles of 2**shift pixels: at least 16, and at most 64 of them in a row."""
    shift = 4
    while (width - 1) >> shift > 63:
        shift += 1
    return shift


@body
def _share(total):
    """Units of cover as a share of the pixel; slices round apart by a unit or two."""
    return min(max(total * float32(9.5367431640625e-07), float32(0)), float32(1))


@body
def _coverage_at(i, out, items, item_starts, spans, lists, xs):
    first, last = item_starts[i], item_starts[i + 1]
    if first == last:
        return
    width = items[i, 1]
    row = out[items[i, 0] : items[i, 0] + width]
    shift = _tile_shift(width)
    touched = _add_row(row, width, shift, spans, lists, xs, first, last, items[i, 2] != 0)
    total = float32(0)
    for tile in range(((width - 1) >> shift) + 1):
        begin, end = tile << shift, min((tile + 1) << shift, width)
        if (touched >> uint64(tile)) & uint64(1):
            for x in range(begin, end):
                total += row[x]
                row[x] = _share(total)
        elif total != float32(0):
            share = _share(total)
            for x in range(begin, end):
                row[x] = share


@loop
def _coverage_cpu(out, items, item_starts, spans, lists, xs):
    for i in prange(items.shape[0]):
        _coverage_at(i, out, items, item_starts, spans, lists, xs)


@cuda.jit
def _coverage_gpu(out, items, item_starts, spans, lists, xs):
    i = cuda.grid(1)
    if i < items.shape[0]:
        _coverage_at(i, out, items, item_starts, spans, lists, xs)


@body
def _draw_at(line, canvas, sums, line_starts, line_items, items, item_starts, spans, lists, xs):
    row = sums[line]
    for k in range(line_starts[line], line_starts[line + 1]):
        i = line_items[k]
        first, last = item_starts[i], item_starts[i + 1]
        if first == last:
            continue
        width = items[i, 1]
        pixels = canvas[items[i, 0] : items[i, 0] + width]
        shift = _tile_shift(width)
        touched = _add_row(row, width, shift, spans, lists, xs, first, last, items[i, 2] != 0)
        total = float32(0)
        for tile in range(((width - 1) >> shift) + 1):
            begin, end = tile << shift, min((tile + 1) << shift, width)
            if (touched >> uint64(tile)) & uint64(1):
                for x in range(begin, end):
                    total += row[x]
                    row[x] = float32(0)
                    pixels[x] = max(pixels[x], _share(total))
            elif total != float32(0):
                share = _share(total)
                for x in range(begin, end):
                    pixels[x] = max(pixels[x], share)


@loop
def _draw_cpu(canvas, sums, line_starts, line_items, items, item_starts, spans, lists, xs):
    for line in prange(sums.shape[0]):
        _draw_at(line, canvas, sums, line_starts, line_items, items, item_starts, spans, lists, xs)


@cuda.jit
def _draw_gpu(canvas, sums, line_starts, line_items, items, item_starts, spans, lists, xs):
    line = cuda.grid(1)
    if line < sums.shape[0]:
        _draw_at(line, canvas, sums, line_starts, line_items, items, item_starts, spans, lists, xs)


def coverage(
    vertices: Any, ring_starts: Any, shape_starts: Any, even_odd: Any, windows: Any, starts: Any
) -> Any:
    """The share of each pixel that a shape covers, a patch a shape.

    vertices: (V, 2) float32 (y, x) in pixels, pixel (i, j) being [i, i + 1) x [j, j + 1).
    ring_starts: (R + 1,) into vertices; shape_starts: (S + 1,) into rings. Rings close themselves.
    even_odd: (S,) bool, the fill rule; else non-zero.
    windows, starts: as `windows` makes them: patch s is
        `result[starts[s]:starts[s + 1]].reshape(windows[s, 2:])`.
    Returns flat float32 on the side of `vertices`, 0..1. Raises ValueError if shapes disagree.
    """
    xp = xp_of(vertices)
    shapes = _on_host(vertices, ring_starts, shape_starts, even_odd)
    made = cut(*shapes, _host(windows), _host(starts))
    out = xp.zeros(int(_host(starts)[-1]), np.float32)
    count = made.items.shape[0]
    launch(_coverage_cpu, _coverage_gpu, count, out, *_with_scratch(made, xp))
    return out


def draw(
    canvas: Any, samples: Any, vertices: Any, ring_starts: Any, shape_starts: Any, even_odd: Any
) -> None:
    """Raise each pixel of `canvas` to the coverage of the shapes that lie on it, in place.

    canvas: (sample, y, x) float32, C-contiguous, on the host or the device. samples: (S,) which
    canvas a shape goes to. The rest as in `coverage`. Only tiles that a shape touches are visited.
    """
    if canvas.ndim != 3 or canvas.dtype != np.float32 or not canvas.flags.c_contiguous:
        raise ValueError(
            f"canvas is (sample, y, x) float32 in C order, not {canvas.shape} {canvas.dtype}"
        )
    xp = xp_of(canvas)
    shapes = _on_host(vertices, ring_starts, shape_starts, even_odd)
    samples, (batch, height, width) = _host(samples), canvas.shape
    count = len(shapes[2]) - 1
    if samples.shape != (count,) or (count and not 0 <= samples.min() <= samples.max() < batch):
        raise ValueError(f"samples are {count} numbers in 0..{batch - 1}, not {samples}")
    frames, _ = windows(*shapes[:3], (height, width), np.zeros(count, np.int32))
    lines = samples.astype(np.int64) * height + frames[:, 0]
    made = cut(*shapes, frames, lines * width + frames[:, 1], stride=width)
    line_starts, line_items = lines_of(lines, frames, batch * height)
    sums = xp.zeros((batch * height, width), np.float32)
    launch(
        _draw_cpu,
        _draw_gpu,
        len(sums),
        canvas.reshape(-1),
        sums,
        xp.asarray(line_starts),
        xp.asarray(line_items),
        *_with_scratch(made, xp),
    )


def _with_scratch(made: Cut, xp: Any) -> tuple[Any, ...]:
    entries = len(made.spans)
    scratch = xp.empty((2, entries), np.int32), xp.empty(entries, np.float32)
    return (*(xp.asarray(array) for array in made), *scratch)


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
