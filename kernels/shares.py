"""Partial volume: what share of an output voxel each class has, from labels on a finer grid.

Fine labels come from one look-up under the warp (`warp.pull_labels`). A voxel pools the fy x fx
columns of parts below it, along z with the weights of a slice profile; class numbers are never
interpolated. In most voxels all parts are alike: these cost one comparison of their labels.

Weights are whole numbers whose sum single precision holds exactly, so that sums do not depend on
the order of parts and equal shares are equal.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint8, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.tiles import on_host

ROWS = 256  # of a label table: as many as uint8 has values
MOST = 64  # parts of a voxel along x: the scratch of a GPU thread
EXACT = 2**24  # whole numbers up to here are exact in single precision


@inlined
def _part(labels, n, z, tap, first, y, x):
    """The label at sub-slice z * fz + first + tap, held inside the volume."""
    return labels[n, uint64(min(max(z + first + tap, 0), labels.shape[1] - 1)), y, x]


@inlined
def _differ(labels, n, z, first, taps, y, fy, x, count, other):
    """Fill other (count,): 0 where the parts behind and below a part of the first row are as it."""
    for i in range(uint64(count)):
        other[i] = np.uint8(0)
    top = uint64(min(max(z + first, 0), labels.shape[1] - 1))
    for tap in range(taps):
        sub = uint64(min(max(z + first + tap, 0), labels.shape[1] - 1))
        for iy in range(uint64(fy)):
            for i in range(uint64(count)):
                j = uint64(x) + i
                other[i] |= labels[n, sub, uint64(y) + iy, j] ^ labels[n, top, uint64(y), j]


@inlined
def _alike(labels, n, z, first, y, x, fx, i, other):
    """Whether all parts of a voxel have one label; i is its place in `other`."""
    top = uint64(min(max(z + first, 0), labels.shape[1] - 1))
    found = other[uint64(i)]
    for ix in range(uint64(1), uint64(fx)):
        found |= other[uint64(i) + ix]
        found |= labels[n, top, uint64(y), uint64(x)] ^ labels[n, top, uint64(y), uint64(x) + ix]
    return found == 0


@body
def _shares_at(n, z, y, x0, x1, out, other, labels, classes, weights, fine):
    """The shares of voxels x0..x1 of a row; `fine` is (fz, fy, fx, first sub-slice).

    `other`, scratch, has a place for each part along them.
    """
    n, fz, fy, fx, first = uint64(n), fine[0], fine[1], fine[2], fine[3]
    table, taps = uint64(int64(n) % classes.shape[0]), weights.size
    total = float32(0)
    for tap in range(taps):
        total += weights[tap] * float32(fy * fx)
    for c in range(uint64(out.shape[1])):
        for i in range(uint64(x1 - x0)):
            out[n, c, uint64(z), uint64(y), uint64(x0) + i] = float32(0)
    _differ(labels, n, z * fz, first, taps, y * fy, fy, x0 * fx, (x1 - x0) * fx, other)
    for x in range(x0, x1):
        if _alike(labels, n, z * fz, first, y * fy, x * fx, fx, (x - x0) * fx, other):
            label = _part(labels, n, z * fz, 0, first, uint64(y * fy), uint64(x * fx))
            out[n, classes[table, label], uint64(z), uint64(y), uint64(x)] = total
            continue
        for tap in range(taps):
            for iy in range(y * fy, y * fy + fy):
                for ix in range(x * fx, x * fx + fx):
                    label = _part(labels, n, z * fz, tap, first, uint64(iy), uint64(ix))
                    c = classes[table, label]
                    out[n, c, uint64(z), uint64(y), uint64(x)] += weights[tap]
    for c in range(uint64(out.shape[1])):
        for i in range(uint64(x1 - x0)):
            out[n, c, uint64(z), uint64(y), uint64(x0) + i] /= total


@loop
def _shares_cpu(out, labels, classes, weights, fine):
    samples, _, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        other = np.empty(labels.shape[3], np.uint8)
        _shares_at(n, z, y, 0, width, out, other, labels, classes, weights, fine)


@cuda.jit
def _shares_gpu(out, labels, classes, weights, fine):
    i = cuda.grid(1)
    samples, _, depth, height, width = out.shape
    if i < samples * depth * height * width:
        n, z, y, x = i // (depth * height * width), i // (height * width) % depth, 0, i % width
        y = i // width % height
        other = cuda.local.array(MOST, uint8)
        _shares_at(n, z, y, x, x + 1, out, other, labels, classes, weights, fine)


def shares(
    labels: Any, class_of_row: Any, classes: int, fine: tuple[int, int, int], z_weights: Any = None
) -> Any:
    """The share of each class in each voxel.

    labels:       (sample, z * fz, y * fy, x * fx) uint8, rows of a label table.
    class_of_row: (row,) or (sample, row) uint8, each below `classes`; a label beyond is of class 0.
    fine:         (fz, fy, fx), parts of a voxel along each axis.
    z_weights:    (tap,) at least 0, weights of sub-slices centred on the slice, on the host; taps
    differ from fz by an even number, taps >= fz see the neighbours, and the outer sub-slices
    are repeated. None is a box over the slice itself. In the plane the profile is a box. They count
    in steps of 2**-23 * fy * fx of their sum or finer.
    Returns (sample, class, z, y, x) float32 on the side of `labels`; the shares of a voxel sum to
    1 but for rounding, and a voxel of one label has exactly 1.
    """
    xp, table, weights, sizes, shape = _prepared(labels, class_of_row, classes, fine, z_weights)
    out = xp.empty((labels.shape[0], classes, *shape), np.float32)
    count = out.size // classes
    launch(_shares_cpu, _shares_gpu, count, out, labels, table, weights, sizes)
    return out


@body
def _largest_at(n, z, y, x0, x1, out, held, other, labels, classes, weights, fine):
    """The class with the largest share in voxels x0..x1; `held` (ROWS,) is zero, and left so."""
    n, fz, fy, fx, first = uint64(n), fine[0], fine[1], fine[2], fine[3]
    table, taps = uint64(int64(n) % classes.shape[0]), weights.size
    _differ(labels, n, z * fz, first, taps, y * fy, fy, x0 * fx, (x1 - x0) * fx, other)
    for x in range(x0, x1):
        label = _part(labels, n, z * fz, 0, first, uint64(y * fy), uint64(x * fx))
        best, most = classes[table, label], float32(0)
        if not _alike(labels, n, z * fz, first, y * fy, x * fx, fx, (x - x0) * fx, other):
            for turn in range(3):  # add up, find the largest, clear
                for tap in range(taps):
                    for iy in range(y * fy, y * fy + fy):
                        for ix in range(x * fx, x * fx + fx):
                            label = _part(labels, n, z * fz, tap, first, uint64(iy), uint64(ix))
                            c = classes[table, label]
                            if turn == 0:
                                held[c] += weights[tap]
                            elif turn == 1:
                                if held[c] > most or (held[c] == most and c < best):
                                    best, most = c, held[c]
                            else:
                                held[c] = float32(0)
        out[n, uint64(z), uint64(y), uint64(x)] = best


@loop
def _largest_cpu(out, labels, classes, weights, fine):
    samples, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        held, other = np.zeros(ROWS, np.float32), np.empty(labels.shape[3], np.uint8)
        _largest_at(n, z, y, 0, width, out, held, other, labels, classes, weights, fine)


@cuda.jit
def _largest_gpu(out, labels, classes, weights, fine):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height, width = out.shape
        n, z = i // (depth * height * width), i // (height * width) % depth
        y, x = i // width % height, i % width
        held, other = cuda.local.array(ROWS, float32), cuda.local.array(MOST, uint8)
        for c in range(ROWS):
            held[c] = float32(0)
        _largest_at(n, z, y, x, x + 1, out, held, other, labels, classes, weights, fine)


def largest(
    labels: Any, class_of_row: Any, classes: int, fine: tuple[int, int, int], z_weights: Any = None
) -> Any:
    """What `hard(shares(...))` gives, bit for bit, without the shares: cost free of `classes`.

    Arguments as in `shares`. Returns (sample, z, y, x) uint8 on the side of `labels`.
    """
    xp, table, weights, sizes, shape = _prepared(labels, class_of_row, classes, fine, z_weights)
    out = xp.empty((labels.shape[0], *shape), np.uint8)
    launch(_largest_cpu, _largest_gpu, out.size, out, labels, table, weights, sizes)
    return out


@body
def _hard_at(n, z, y, x0, x1, out, most, held):
    """Voxels x0..x1 of a row; `most` (x1 - x0,) is scratch."""
    n, z, y = uint64(n), uint64(z), uint64(y)
    for i in range(uint64(x1 - x0)):
        out[n, z, y, uint64(x0) + i] = np.uint8(0)
        most[i] = held[n, 0, z, y, uint64(x0) + i]
    for c in range(uint64(1), uint64(held.shape[1])):
        for i in range(uint64(x1 - x0)):
            share = held[n, c, z, y, uint64(x0) + i]
            more = share > most[i]
            out[n, z, y, uint64(x0) + i] = np.uint8(c) if more else out[n, z, y, uint64(x0) + i]
            most[i] = share if more else most[i]


@loop
def _hard_cpu(out, held):
    samples, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        most = np.empty(width, np.float32)
        _hard_at(n, z, y, 0, width, out, most, held)


@cuda.jit
def _hard_gpu(out, held):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height, width = out.shape
        n, z = i // (depth * height * width), i // (height * width) % depth
        most = cuda.local.array(1, float32)
        x = i % width
        _hard_at(n, z, i // width % height, x, x + 1, out, most, held)


def hard(shares: Any) -> Any:
    """Hard labels: of each voxel the class with the largest share, of equal ones the lowest.

    shares: (sample, class, z, y, x) float32. Returns (sample, z, y, x) uint8 on its side.
    """
    if shares.ndim != 5 or shares.dtype != np.float32 or not 1 <= shares.shape[1] <= ROWS:
        raise ValueError(
            f"shares are (sample, class, z, y, x) float32 of 1 to {ROWS} classes, not "
            f"{shares.shape} {shares.dtype}"
        )
    samples, _, *shape = shares.shape
    out = xp_of(shares).empty((samples, *shape), np.uint8)
    launch(_hard_cpu, _hard_gpu, out.size, out, shares)
    return out


def _prepared(
    labels: Any, class_of_row: Any, classes: int, fine: tuple[int, int, int], z_weights: Any
) -> tuple[Any, ...]:
    """xp, the table of all `ROWS` rows, weights of sum 1, (fz, fy, fx, first), output's shape."""
    if labels.ndim != 4 or labels.dtype != np.uint8:
        raise ValueError(f"labels are (sample, z, y, x) uint8, not {labels.shape} {labels.dtype}")
    if len(fine) != 3 or min(fine) < 1 or any(np.mod(labels.shape[1:], fine)):
        raise ValueError(f"labels {labels.shape[1:]} are not whole voxels of {fine} parts")
    if fine[2] > MOST:
        raise ValueError(f"{fine[2]} parts along x are too many: at most {MOST}")
    rows = np.atleast_2d(on_host(class_of_row))
    if rows.shape[0] not in (1, labels.shape[0]) or rows.shape[1] > ROWS or rows.dtype != np.uint8:
        raise ValueError(
            f"class_of_row is (row,) or ({labels.shape[0]}, row) uint8 with at most {ROWS} rows, "
            f"not {class_of_row.shape} {class_of_row.dtype}"
        )
    if not 1 <= classes <= ROWS or rows.max(initial=0) >= classes:
        raise ValueError(f"classes up to {rows.max(initial=0)} are not below {classes} <= {ROWS}")
    table = np.zeros((rows.shape[0], ROWS), np.uint8)
    table[:, : rows.shape[1]] = rows
    weights = _whole(z_weights, fine)
    xp, first = xp_of(labels), (fine[0] - weights.size) // 2
    shape = tuple(int(n) // parts for n, parts in zip(labels.shape[1:], fine, strict=True))
    return xp, xp.asarray(table), xp.asarray(weights), (*map(int, fine), first), shape


def _whole(z_weights: Any, fine: tuple[int, int, int]) -> Any:
    """The weights of a slice profile as whole numbers in float32, on the host."""
    if z_weights is None:
        return np.ones(fine[0], np.float32)
    weights = np.asarray(z_weights, np.float64)
    if weights.ndim != 1 or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.sum():
        raise ValueError(f"z_weights are finite, at least 0 and not all 0, not {z_weights}")
    if (weights.size - fine[0]) % 2:
        raise ValueError(
            f"{weights.size} z_weights cannot be centred on {fine[0]} sub-slices: take "
            f"{weights.size + 1}"
        )
    most = EXACT // (fine[1] * fine[2]) - weights.size  # rounding adds less than 1 a tap
    scale = 2.0 ** int(np.log2(most))  # a power of two: halves and quarters stay themselves
    return np.round(weights / weights.sum() * scale).astype(np.float32)
