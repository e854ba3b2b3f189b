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
from numba import cuda, float32, int32, int64, prange, uint64

from voxelmill.kernels.device import _cached, launch, loop, xp_of
from voxelmill.kernels.spans import EVEN_ODD, SIMPLE, Cut, bands, cut, windows

__all__ = ["coverage", "draw", "windows"]

Y0, Y1, X0, SLOPE, TURN = range(5)  # the columns of `spans`, as kernels/spans.py makes them


def _inlined(function: Any) -> Any:
    """A `body` that becomes part of its caller, its divisions unchecked: a sixth of the time.

    Calls with four arrays each cost more than the arithmetic of a row.
    """
    return _cached(function, forceinline=True, error_model="numpy")


@_inlined
def _whole(x):
    """The integer nearest to x, |x| < 2**22, without leaving float32."""
    return (x + float32(12582912)) - float32(12582912)


@_inlined
def _tiles(first, last, shift):
    """A bit for each tile of 2**shift pixels from pixel `first` to pixel `last`."""
    return (uint64(2) << uint64(last >> shift)) - (uint64(1) << uint64(first >> shift))


@_inlined
def _add_edge(row, base, width, shift, left, right, height, sign):
    """Add an edge from x = left to x = right, `height` units tall, to the differences in `row`.

    Returns the tiles that were touched. Cells right of the edge get height in all, cells under it
    their share; what lies left of the row counts in its first cell, what lies right nowhere.
    """
    if left >= float32(width):
        return uint64(0)
    if right <= float32(0):
        row[uint64(base)] += sign * height
        return uint64(1)
    first = int32(max(left, float32(0)))
    last = min(int32(min(right, float32(width))), width - 1)
    done, carry, start = float32(0), float32(0), left
    if first < last or left < float32(0) or right > float32(width):
        per_px = height / max(right - left, float32(9.5367431640625e-07))
        if left < float32(0):
            done = _whole(-left * per_px)
            carry, start = done, float32(0)
        for cell in range(first, last):
            edge = float32(cell + 1)
            until = _whole((edge - left) * per_px)
            share = _whole((until - done) * (float32(0.5) * (start + edge) - float32(cell)))
            row[uint64(base + cell)] += sign * (carry + (until - done - share))
            done, carry, start = until, share, edge
        if right > float32(width):
            right = float32(width)
            height = _whole((right - left) * per_px)
    share = _whole((height - done) * (float32(0.5) * (start + right) - float32(last)))
    row[uint64(base + last)] += sign * (carry + (height - done - share))
    if last + 1 < width:
        row[uint64(base + last + 1)] += sign * share
    return _tiles(first, min(last + 1, width - 1), shift)


@_inlined
def _sort_by_top(spans, lists, first, last):
    """Shell sort of entries first..last by where they begin."""
    for i in range(first, last):
        lists[0, i] = i
    gap = 1
    while 3 * gap + 1 < (last - first) // 2:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(first + gap, last):
            entry = lists[0, i]
            y = spans[entry, Y0]
            j = i
            while j >= first + gap and spans[lists[0, j - gap], Y0] > y:
                lists[0, j] = lists[0, j - gap]
                j -= gap
            lists[0, j] = entry
        gap //= 3


@_inlined
def _sort_by_x(spans, lists, xs, first, count, y, step):
    """Insertion sort of the active entries by x just under y; `xs` gets x at y."""
    for i in range(first, first + count):
        entry = lists[1, i]
        x = spans[entry, X0] + spans[entry, SLOPE] * (y - spans[entry, Y0])
        slope = spans[entry, SLOPE]
        j = i
        while j > first and xs[j - 1] - x > step * (slope - spans[lists[1, j - 1], SLOPE]):
            xs[j] = xs[j - 1]
            lists[1, j] = lists[1, j - 1]
            j -= 1
        xs[j] = x
        lists[1, j] = entry


@_inlined
def _first_crossing(spans, lists, xs, first, count, y, bottom):
    """Where the first two neighbours change places in (y, bottom), or bottom."""
    cut = bottom
    for i in range(first, first + count - 1):
        apart = xs[i + 1] - xs[i]
        closing = spans[lists[1, i], SLOPE] - spans[lists[1, i + 1], SLOPE]
        if closing > float32(0) and closing * (bottom - y) > apart + float32(0.000244140625):
            cut = min(cut, y + max(apart, float32(0)) / closing)
    return min(max(cut, y + float32(1.52587890625e-05)), bottom)  # 2**-16: always go on


@_inlined
def _add_slice(row, base, width, shift, spans, lists, xs, first, count, y, cut, even_odd):
    """Add the edges that bound the inside between y and cut; returns the tiles touched."""
    units = float32(1048576)
    height = _whole(cut * units) - _whole(y * units)
    touched = uint64(0)
    winding = int32(0)
    for i in range(first, first + count):
        entry = lists[1, i]
        was_inside = winding & 1 if even_odd else winding
        winding += int32(spans[entry, TURN])
        is_inside = winding & 1 if even_odd else winding
        if (was_inside != 0) != (is_inside != 0):
            top = xs[i]
            end = top + spans[entry, SLOPE] * (cut - y)
            sign = float32(1) if is_inside != 0 else float32(-1)
            touched |= _add_edge(
                row, base, width, shift, min(top, end), max(top, end), height, sign
            )
    return touched


@_inlined
def _is_plain(spans, first):
    """Whether the two edges of a row both cross it whole, one each way, and do not meet."""
    y0, y1 = (
        spans[first, Y0] + spans[first + 1, Y0],
        spans[first, Y1] + spans[first + 1, Y1],
    )
    if y0 != float32(0) or y1 != float32(2):
        return False
    apart = spans[first + 1, X0] - spans[first, X0]
    apart_end = apart + spans[first + 1, SLOPE] - spans[first, SLOPE]
    opposite = spans[first, TURN] + spans[first + 1, TURN] == float32(0)
    return opposite and apart * apart_end >= float32(0)


@_inlined
def _try_whole(row, base, width, shift, spans, lists, xs, first, last, even_odd):
    """`_add_row` for a row that no edge begins, ends or crosses another in; else 0."""
    whole = float32(0)
    for i in range(first, last):
        whole += spans[i, Y1] - spans[i, Y0]
        lists[1, i] = i
    if whole != float32(last - first):
        return uint64(0)
    y, cut, count = float32(0), float32(1), last - first
    _sort_by_x(spans, lists, xs, first, count, y, float32(7.62939453125e-06))
    if _first_crossing(spans, lists, xs, first, count, y, cut) != cut:
        return uint64(0)
    return _add_slice(row, base, width, shift, spans, lists, xs, first, count, y, cut, even_odd)


@_inlined
def _add_simple(row, base, width, shift, spans, first, last, sense):
    """`_add_row` for a ring that meets itself nowhere: each edge by itself, in any order."""
    units = float32(1048576)
    touched = uint64(0)
    for i in range(first, last):
        y0, y1, top = spans[i, Y0], spans[i, Y1], spans[i, X0]
        end = top + spans[i, SLOPE] * (y1 - y0)
        height = _whole(y1 * units) - _whole(y0 * units)
        sign = sense * spans[i, TURN]
        touched |= _add_edge(row, base, width, shift, min(top, end), max(top, end), height, sign)
    return touched


@_inlined
def _add_row(row, base, width, shift, spans, lists, xs, first, last, fill):
    """Add all edges of one pixel row (entries first..last) to `row`; returns the tiles touched.

    lists (2, entry) uint32 and xs (entry,) float32 are scratch; fill is of kernels/spans.py.
    """
    if fill >= SIMPLE:
        sense = float32(1) if fill == SIMPLE else float32(-1)
        return _add_simple(row, base, width, shift, spans, first, last, sense)
    even_odd = fill == EVEN_ODD
    if last - first == 2 and _is_plain(spans, first):
        a, b = spans[first, X0], spans[first + 1, X0]
        a_end, b_end = a + spans[first, SLOPE], b + spans[first + 1, SLOPE]
        sign = float32(1) if a + a_end <= b + b_end else float32(-1)
        touched = _add_edge(
            row,
            base,
            width,
            shift,
            min(a, a_end),
            max(a, a_end),
            float32(1048576),
            sign,
        )
        return touched | _add_edge(
            row,
            base,
            width,
            shift,
            min(b, b_end),
            max(b, b_end),
            float32(1048576),
            -sign,
        )
    touched = _try_whole(row, base, width, shift, spans, lists, xs, first, last, even_odd)
    if touched != uint64(0):
        return touched
    _sort_by_top(spans, lists, first, last)
    touched = uint64(0)
    count, following = 0, first
    y = spans[lists[0, first], Y0]
    while count > 0 or following < last:
        if count == 0:
            y = max(y, spans[lists[0, following], Y0])
        while following < last and spans[lists[0, following], Y0] <= y:
            lists[1, first + count] = lists[0, following]
            count += 1
            following += 1
        bottom = float32(1)
        if following < last:
            bottom = spans[lists[0, following], Y0]
        for i in range(first, first + count):
            bottom = min(bottom, spans[lists[1, i], Y1])
        step = min(float32(7.62939453125e-06), float32(0.5) * (bottom - y))
        _sort_by_x(spans, lists, xs, first, count, y, step)
        cut = _first_crossing(spans, lists, xs, first, count, y, bottom)
        touched |= _add_slice(
            row, base, width, shift, spans, lists, xs, first, count, y, cut, even_odd
        )
        y = cut
        kept = 0
        for i in range(first, first + count):
            if spans[lists[1, i], Y1] > y:
                lists[1, first + kept] = lists[1, i]
                kept += 1
        count = kept
    return touched


@_inlined
def _tile_shift(width):
    """Tiles of 2**shift pixels: the smallest of which at most 64 make a row."""
    shift = 0
    while (width - 1) >> shift > 63:
        shift += 1
    return shift


@_inlined
def _ones(bits):
    """How many bits are set (compilers know this form and make one instruction of it)."""
    bits -= (bits >> uint64(1)) & uint64(0x5555555555555555)
    pairs = uint64(0x3333333333333333)
    bits = (bits & pairs) + ((bits >> uint64(2)) & pairs)
    bits = (bits + (bits >> uint64(4))) & uint64(0x0F0F0F0F0F0F0F0F)
    return int64((bits * uint64(0x0101010101010101)) >> uint64(56))


@_inlined
def _run(touched, x, width, shift):
    """Where the run of tiles ends that begins at pixel x: all touched, or all not."""
    tile = x >> shift
    bits = touched >> uint64(tile)
    if bits & uint64(1):
        bits = ~bits
    tile += _ones((bits & (uint64(0) - bits)) - uint64(1))  # the lowest set bit
    return min(tile << shift, width)


@_inlined
def _share(total):
    """Units of cover as a share of the pixel; slices round apart by a unit or two."""
    return min(max(total * float32(9.5367431640625e-07), float32(0)), float32(1))


@_inlined
def _coverage_at(i, out, items, item_starts, spans, lists, xs):
    first, last = item_starts[i], item_starts[i + 1]
    if first == last:
        return
    base, width = items[i, 0], items[i, 1]
    shift = _tile_shift(width)
    touched = _add_row(out, base, width, shift, spans, lists, xs, first, last, items[i, 2])
    total, x = float32(0), 0
    while x < width:
        end = _run(touched, x, width, shift)
        if (touched >> uint64(x >> shift)) & uint64(1):
            for k in range(uint64(base + x), uint64(base + end)):
                total += out[k]
                out[k] = _share(total)
        elif total != float32(0):
            share = _share(total)
            for k in range(uint64(base + x), uint64(base + end)):
                out[k] = share
        x = end


@loop
def _coverage_cpu(out, items, item_starts, spans, lists, xs):
    for i in prange(items.shape[0]):
        _coverage_at(i, out, items, item_starts, spans, lists, xs)


@cuda.jit
def _coverage_gpu(out, items, item_starts, spans, lists, xs):
    i = cuda.grid(1)
    if i < items.shape[0]:
        _coverage_at(i, out, items, item_starts, spans, lists, xs)


@_inlined
def _draw_item(i, base, canvas, sums, items, item_starts, spans, lists, xs):
    first, last = item_starts[i], item_starts[i + 1]
    if first == last:
        return
    at, width = items[i, 0], items[i, 1]
    shift = _tile_shift(width)
    touched = _add_row(sums, base, width, shift, spans, lists, xs, first, last, items[i, 2])
    total, x = float32(0), 0
    while x < width:
        end = _run(touched, x, width, shift)
        if (touched >> uint64(x >> shift)) & uint64(1):
            for k in range(x, end):
                here, pixel = uint64(base + k), uint64(at + k)
                total += sums[here]
                sums[here] = float32(0)
                canvas[pixel] = max(canvas[pixel], _share(total))
        elif total != float32(0):
            share = _share(total)
            for k in range(uint64(at + x), uint64(at + end)):
                canvas[k] = max(canvas[k], share)
        x = end


@_inlined
def _draw_at(band, canvas, sums, band_starts, runs, items, item_starts, spans, lists, xs):
    base = band * (sums.size // (band_starts.size - 1))
    for k in range(band_starts[band], band_starts[band + 1]):
        for i in range(runs[k, 0], runs[k, 1]):
            _draw_item(i, base, canvas, sums, items, item_starts, spans, lists, xs)


@loop
def _draw_cpu(canvas, sums, band_starts, runs, items, item_starts, spans, lists, xs):
    for band in prange(band_starts.size - 1):
        _draw_at(band, canvas, sums, band_starts, runs, items, item_starts, spans, lists, xs)


@cuda.jit
def _draw_gpu(canvas, sums, band_starts, runs, items, item_starts, spans, lists, xs):
    band = cuda.grid(1)
    if band < band_starts.size - 1:
        _draw_at(band, canvas, sums, band_starts, runs, items, item_starts, spans, lists, xs)


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
    xp = xp_of(vertices)
    shapes = _on_host(vertices, ring_starts, shape_starts, even_odd)
    made = cut(*shapes, _host(windows), _host(starts))
    out = xp.zeros(int(_host(starts)[-1]), np.float32)
    count = made.items.shape[0]
    launch(_coverage_cpu, _coverage_gpu, count, out, *_with_scratch(made, xp))
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
    band_starts, runs = bands(samples, frames, batch, height)
    sums = xp.zeros((len(band_starts) - 1) * width, np.float32)
    launch(
        _draw_cpu,
        _draw_gpu,
        len(band_starts) - 1,
        canvas.reshape(-1),
        sums,
        xp.asarray(band_starts),
        xp.asarray(runs),
        *_with_scratch(made, xp),
    )


def _with_scratch(made: Cut, xp: Any) -> tuple[Any, ...]:
    entries = len(made.spans)
    scratch = xp.empty((2, entries), np.uint32), xp.empty(entries, np.float32)
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
