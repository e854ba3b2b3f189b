"""Exact Euclidean distances inside patches, and the thickness of a body that they stand for.

Two passes (Saito and Toriwaki, "New algorithms for Euclidean distance transformation", Pattern
Recognition 1994): the nearest background in each column, then the nearest over the columns. All
distances are whole squared pixels until the last step.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.tiles import check_patches, patch_of, place_of, row_starts

COVERED = np.float32(0.5)  # from this coverage on, a pixel belongs to a shape


@body
def _depth_at(s, x0, x1, out, coverage, windows, starts):
    """Columns x0..x1 of patch s: pixels up or down to the nearest background, 0 on background."""
    height, width, n = windows[s, 2], windows[s, 3], uint64(x1 - x0)
    step, corner = uint64(width), starts[s] + x0
    for y in range(height):
        here = uint64(corner + y * width)
        if y == 0:
            for k in range(n):
                out[here + k] = 1 if coverage[here + k] >= COVERED else 0
        else:
            for k in range(n):
                above = out[here - step + k]
                out[here + k] = above + 1 if coverage[here + k] >= COVERED else 0
    for up in range(height):
        here = uint64(corner + (height - 1 - up) * width)
        if up == 0:
            for k in range(n):
                out[here + k] = min(out[here + k], 1)
        else:
            for k in range(n):
                out[here + k] = min(out[here + k], out[here + step + k] + 1)


@loop
def _depth_cpu(out, coverage, windows, starts, columns):
    for s in prange(windows.shape[0]):
        _depth_at(s, 0, windows[s, 3], out, coverage, windows, starts)


@cuda.jit
def _depth_gpu(out, coverage, windows, starts, columns):
    i = cuda.grid(1)
    if i < columns[columns.size - 1]:
        s = patch_of(columns, i)
        x = i - columns[s]
        _depth_at(s, x, x + 1, out, coverage, windows, starts)


@body
def _squared_at(s, y, x0, x1, out, depth, windows, starts):
    """Pixels x0..x1 of row y: squared distance to the nearest background, also beyond the patch."""
    width, count = windows[s, 3], uint64(x1 - x0)
    row = starts[s] + y * width
    own, far = uint64(row + x0), int32(0)
    for k in range(count):
        out[own + k] = int32(depth[own + k] * depth[own + k])
        far = max(far, out[own + k])
    dx = 1
    while dx * dx < far:  # no column further off can be nearer to any of these pixels
        square = int32(dx * dx)
        inside, outside = max(x0, dx), min(x1, width - dx)
        target, left, size = uint64(row + inside), uint64(row + inside - dx), max(x1 - inside, 0)
        for k in range(uint64(size)):
            near = int32(square + depth[left + k] * depth[left + k])
            out[target + k] = min(out[target + k], near)
        right, size = uint64(row + x0 + dx), max(outside - x0, 0)
        for k in range(uint64(size)):
            near = int32(square + depth[right + k] * depth[right + k])
            out[own + k] = min(out[own + k], near)
        for k in range(uint64(max(min(inside, x1) - x0, 0))):
            out[own + k] = min(out[own + k], square)
        for k in range(uint64(max(outside - x0, 0)), count):
            out[own + k] = min(out[own + k], square)
        far = int32(0)
        for k in range(count):
            far = max(far, out[own + k])
        dx += 1


@loop
def _squared_cpu(out, depth, windows, starts, rows):
    for r in prange(rows[rows.size - 1]):
        s = patch_of(rows, r)
        _squared_at(s, r - rows[s], 0, windows[s, 3], out, depth, windows, starts)


@cuda.jit
def _squared_gpu(out, depth, windows, starts, rows):
    i = cuda.grid(1)
    if i < out.size:
        s, y, x = place_of(i, windows, starts)
        _squared_at(s, y, x, x + 1, out, depth, windows, starts)


@body
def _peak_at(i, out, values, starts):
    peak = values.dtype.type(0)
    for k in range(uint64(starts[i]), uint64(starts[i + 1])):
        peak = max(peak, values[k])
    out[i] = peak


@loop
def _peak_cpu(out, values, starts):
    for i in prange(out.size):
        _peak_at(i, out, values, starts)


@cuda.jit
def _peak_gpu(out, values, starts):
    i = cuda.grid(1)
    if i < out.size:
        _peak_at(i, out, values, starts)


@body
def _thickness_at(s, first, last, out, squared, peaks):
    """sqrt(d / d_max) from squared distances: a fourth root."""
    if peaks[s] == 0:
        for k in range(uint64(first), uint64(last)):
            out[k] = float32(0)
    else:
        peak = float32(peaks[s])
        for k in range(uint64(first), uint64(last)):
            out[k] = sqrt(sqrt(float32(squared[k]) / peak))


@loop
def _thickness_cpu(out, squared, starts, peaks):
    for s in prange(peaks.size):
        _thickness_at(s, starts[s], starts[s + 1], out, squared, peaks)


@cuda.jit
def _thickness_gpu(out, squared, starts, peaks):
    i = cuda.grid(1)
    if i < out.size:
        _thickness_at(patch_of(starts, i), i, i + 1, out, squared, peaks)


def squared_px(coverage: Any, windows: Any, starts: Any) -> Any:
    """Squared distance of each covered pixel to the nearest one that is not, in pixels.

    Covered is coverage >= 0.5; beyond the patch nothing is covered. Distances go from centre to
    centre, so they are whole numbers: flat int32 on the side of `coverage`, 0 where not covered.
    """
    check_patches(coverage, windows, starts)
    xp = xp_of(coverage)
    columns = xp.zeros(starts.shape, np.int64)
    xp.cumsum(windows[:, 3], out=columns[1:])
    depth = xp.empty(coverage.shape, np.int32)
    count = int(columns[-1])
    launch(_depth_cpu, _depth_gpu, count, depth, coverage, windows, starts, columns)
    out = xp.empty(coverage.shape, np.int32)
    rows = row_starts(windows)
    launch(_squared_cpu, _squared_gpu, out.size, out, depth, windows, starts, rows)
    return out


def thickness(coverage: Any, windows: Any, starts: Any) -> Any:
    """How thick each shape is at each of its pixels, 0..1: sqrt(distance / greatest distance).

    The distance is that of `squared_px` and its greatest value that of the patch; a slab with a
    round edge. Flat float32 on the side of `coverage`, 0 where coverage < 0.5.
    """
    squared = squared_px(coverage, windows, starts)
    xp, rows = xp_of(coverage), row_starts(windows)
    # Peaks of rows first, then of patches, so that no GPU thread reads a whole patch.
    edges = xp.zeros(int(rows[-1]) + 1, np.int64)
    xp.cumsum(xp.repeat(windows[:, 3], windows[:, 2].tolist()), out=edges[1:])
    row_peaks, peaks = xp.empty(edges.size - 1, np.int32), xp.empty(starts.size - 1, np.int32)
    launch(_peak_cpu, _peak_gpu, row_peaks.size, row_peaks, squared, edges)
    launch(_peak_cpu, _peak_gpu, peaks.size, peaks, row_peaks, rows)
    out = xp.empty(coverage.shape, np.float32)
    launch(_thickness_cpu, _thickness_gpu, out.size, out, squared, starts, peaks)
    return out
