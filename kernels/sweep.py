"""One pixel row of a shape: its edges, added as the area and the cover that they bound.

A row is swept from top to bottom in slices in which no edge begins, ends or crosses another. In a
slice the edges have one order, so the winding rule says which of them bound the inside, and only
these are added. Self-crossings and holes need no other care, and there is no sampling error.

`row` is int32 scratch, all zero between uses. A row of it begins at `base` with a cell for each
pixel, `CHUNK` of them a chunk, then a carry for each chunk. An edge adds to the cells of the
chunks that it passes how much of each pixel lies right of it, and to the next chunk's carry its
whole height: so a pixel's cover is its cell plus the carries up to its chunk. Pixels of a chunk do
not depend on each other: compilers make vectors of them.

Cover is counted in whole units of 2**-20 of a pixel: integer sums are exact in any order, so the
inside is exactly 1, and right of a shape is exactly 0, whatever came before.

Numba's disk cache of kernels/raster.py does not see an edit here: delete kernels/__pycache__.
"""

from typing import Any

from numba import float32, int32, uint64

from voxelmill.kernels.device import inlined
from voxelmill.kernels.spans import EVEN_ODD, SIMPLE

Y0, Y1, X0, SLOPE, TURN = range(5)  # the columns of `spans`, as kernels/spans.py makes them
CHUNK_BITS = 4
CHUNK = 1 << CHUNK_BITS


def row_size(width: Any) -> Any:
    """Elements of scratch for a row of `width` pixels: cells, carries, and one past the end."""
    return -(-width // CHUNK) * (CHUNK + 1) + 1


@inlined
def share(cover):
    """Units of cover as a share of the pixel; slices round apart by a unit or two."""
    return min(max(float32(cover) * float32(9.5367431640625e-07), float32(0)), float32(1))


@inlined
def _whole(x):
    """The integer nearest to x, |x| < 2**22, without leaving float32."""
    return (x + float32(12582912)) - float32(12582912)


@inlined
def _add_edge(row, base, chunks, x, end, height, sign):
    """Add an edge from x at its top to `end` at its bottom, `height` units tall.

    What lies left of the row counts in its first chunk, what lies right of it nowhere.
    Returns the first and the last chunk whose cells it passes.
    """
    left, right = min(x, end), max(x, end)
    rightmost = float32((chunks << CHUNK_BITS) - 1)
    first = int32(min(max(left, float32(0)), rightmost)) >> CHUNK_BITS
    last = int32(min(max(right, float32(0)), rightmost)) >> CHUNK_BITS
    width = max(right - left, float32(7.888609052210118e-31))  # 2**-100 has an inverse
    per_px = sign * height / width
    half = float32(0.5) * sign  # int32 rounds towards 0
    start = uint64(base + (first << CHUNK_BITS))
    to_left = float32(first << CHUNK_BITS) - left
    for k in range(int32(0), int32((last + 1 - first) << CHUNK_BITS)):
        # from `left`: the pixel ends at `right_side`; the edge crosses it from a to b
        right_side = float32(k + 1) + to_left
        b = min(max(right_side, float32(0)), width)
        a = min(max(right_side - float32(1), float32(0)), width)
        covered = a + (b - a) * (right_side - float32(0.5) * (a + b))
        row[start + uint64(k)] += int32(covered * per_px + half)
    row[uint64(base + (chunks << CHUNK_BITS) + last + 1)] += int32(sign * height)
    return first, last


@inlined
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


@inlined
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


@inlined
def _first_crossing(spans, lists, xs, first, count, y, bottom):
    """Where the first two neighbours change places in (y, bottom), or bottom."""
    cut = bottom
    for i in range(first, first + count - 1):
        apart = xs[i + 1] - xs[i]
        closing = spans[lists[1, i], SLOPE] - spans[lists[1, i + 1], SLOPE]
        if closing > float32(0) and closing * (bottom - y) > apart + float32(0.000244140625):
            cut = min(cut, y + max(apart, float32(0)) / closing)
    return min(max(cut, y + float32(1.52587890625e-05)), bottom)  # 2**-16: always go on


@inlined
def _add_slice(row, base, chunks, spans, lists, xs, first, count, y, cut, even_odd):
    """Add the edges that bound the inside between y and cut; returns the chunks passed."""
    units = float32(1048576)
    height = _whole(cut * units) - _whole(y * units)
    low, high = chunks, -1
    winding = int32(0)
    for i in range(first, first + count):
        entry = lists[1, i]
        was_inside = winding & 1 if even_odd else winding
        winding += int32(spans[entry, TURN])
        is_inside = winding & 1 if even_odd else winding
        if (was_inside != 0) != (is_inside != 0):
            end = xs[i] + spans[entry, SLOPE] * (cut - y)
            sign = float32(1) if is_inside != 0 else float32(-1)
            left, right = _add_edge(row, base, chunks, xs[i], end, height, sign)
            low, high = min(low, left), max(high, right)
    return low, high


@inlined
def _is_whole(spans, lists, xs, first, last):
    """Whether no edge begins, ends or crosses another in the row; if so they are sorted."""
    whole = float32(0)
    for i in range(first, last):
        whole += spans[i, Y1] - spans[i, Y0]
        lists[1, i] = i
    if whole != float32(last - first):
        return False
    y, bottom, count = float32(0), float32(1), last - first
    _sort_by_x(spans, lists, xs, first, count, y, float32(7.62939453125e-06))
    return _first_crossing(spans, lists, xs, first, count, y, bottom) == bottom


@inlined
def _add_simple(row, base, chunks, spans, first, last, sense):
    """`add_row` for a ring that meets itself nowhere: each edge by itself, in any order."""
    units = float32(1048576)
    low, high = chunks, -1
    for i in range(first, last):
        y0, y1, x = spans[i, Y0], spans[i, Y1], spans[i, X0]
        end = x + spans[i, SLOPE] * (y1 - y0)
        height = _whole(y1 * units) - _whole(y0 * units)
        left, right = _add_edge(row, base, chunks, x, end, height, sense * spans[i, TURN])
        low, high = min(low, left), max(high, right)
    return low, high


@inlined
def _add_slices(row, base, chunks, spans, lists, xs, first, last, even_odd):
    """`add_row` for edges that begin, end or cross in the row."""
    _sort_by_top(spans, lists, first, last)
    low, high = chunks, -1
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
        left, right = _add_slice(
            row, base, chunks, spans, lists, xs, first, count, y, cut, even_odd
        )
        low, high = min(low, left), max(high, right)
        y = cut
        kept = 0
        for i in range(first, first + count):
            if spans[lists[1, i], Y1] > y:
                lists[1, first + kept] = lists[1, i]
                kept += 1
        count = kept
    return low, high


@inlined
def add_row(row, base, chunks, spans, lists, xs, first, last, fill):
    """Add all edges of one pixel row (entries first..last) to `row`, which has `chunks` chunks.

    lists (2, entry) uint32 and xs (entry,) float32 are scratch; fill is of kernels/spans.py.
    Returns the first and the last chunk whose cells were passed; the last is -1 if none was.
    """
    if fill >= SIMPLE:
        sense = float32(1) if fill == SIMPLE else float32(-1)
        return _add_simple(row, base, chunks, spans, first, last, sense)
    even_odd = fill == EVEN_ODD
    if _is_whole(spans, lists, xs, first, last):
        y, bottom, count = float32(0), float32(1), last - first
        return _add_slice(row, base, chunks, spans, lists, xs, first, count, y, bottom, even_odd)
    return _add_slices(row, base, chunks, spans, lists, xs, first, last, even_odd)
