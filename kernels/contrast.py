"""From labels to complex signals in one pass, by a table of the signals of each label.

`paint` looks signals up for every part of a voxel and mixes them, so partial volume mixes signals
and never labels. A voxel is S(r0) + sum over the other rows r in it of w(r) (S(r) - S(r0)), with r0
the row of its middle part and w(r) the share of r: one of a single row costs one look-up and holds
the same bits however it is divided. Along a line, voxels of one row and one B1 bin are filled as
one run, so the cost follows the surfaces between labels and not how many labels there are.
"""

from math import isfinite
from typing import Any

import numpy as np
from numba import cuda, float32, int32, int64, prange, uint8, uint64

from voxelmill.kernels.device import inlined, launch, loop, xp_of
from voxelmill.kernels.label_gaussians import check_rows

NUMBERS = 128  # real and imaginary parts of all contrasts and pools of a call, at most
PARTS = 256  # of a voxel under its slice profile, at most
BLOCK = 16  # voxels of a line looked at together
LINES = 16  # of voxels that a CPU thread paints at once


@inlined
def _signal(table, n, row, k, t, j):
    """Number j of a row's signals, a share t of the way from B1 bin k to the next."""
    low = table[n, row, k, j]
    return low + t * (table[n, row, k + uint64(1), j] - low)


@inlined
def _rows_of(keys, mixed, differ, fine, line, width, step):
    """The row of each voxel's middle part, and if it has others; a fixed `step` makes vectors."""
    n, z, y, first = line
    for i in range(width):
        own = fine[n, z, y, first + i * step + step // uint64(2)]
        other = uint8(0)
        for d in range(step):
            there = i * step + d
            other |= differ[there] | (fine[n, z, y, first + there] ^ own)
        keys[i], mixed[i] = int32(own), other


@inlined
def _prepare(
    n, z, y, x0, x1, keys, mixed, mix, differ, out, fine, fields, taps, low, per_step, bins
):
    """What voxels x0..x1 of a line are painted with.

    keys: B1 bin * 256 + the row of the middle part. mixed: not 0 where there are other rows too.
    mix:  the share of the next bin, the share of fat, the scale.
    differ: scratch, a place for each part of the line.
    """
    b1, fat, texture = fields
    fz, fy = fine.shape[1] // out.shape[2], fine.shape[2] // out.shape[3]
    fx, width = 2 * fine.shape[3] // out.shape[4], uint64(x1 - x0)
    n, zz, yy, x, part = uint64(n), uint64(z), uint64(y), uint64(x0), uint64(x0 * fx)
    slab, line, parts = uint64(z * fz + fz // 2), uint64(y * fy + fy // 2), width * uint64(fx)
    for i in range(parts):
        differ[i] = uint8(0)
    for tap in range(taps):
        at = uint64(min(max(z * fz + (fz - taps) // 2 + tap, 0), fine.shape[1] - 1))
        for dy in range(fy):
            here = uint64(y * fy + dy)
            for i in range(parts):
                differ[i] |= fine[n, at, here, part + i] ^ fine[n, slab, line, part + i]
    row = (n, slab, line, part)
    if fx == 1:
        _rows_of(keys, mixed, differ, fine, row, width, uint64(1))
    elif fx == 2:
        _rows_of(keys, mixed, differ, fine, row, width, uint64(2))
    else:
        _rows_of(keys, mixed, differ, fine, row, width, uint64(fx))
    last = float32(bins - 2)
    for i in range(width):
        mix[0, i], mix[1, i], mix[2, i] = float32(0), float32(0), float32(1)
    if b1.size:
        for i in range(width):
            at_bin = (b1[n, zz, yy, x + i] - low) * per_step
            at_bin = min(max(at_bin, float32(0)), last + float32(1))
            k = int32(min(at_bin, last))
            mix[0, i] = at_bin - float32(k)
            keys[i] = int32(keys[i] + (k << int32(8)))
    if fat.size:
        for i in range(width):
            mix[1, i] = fat[n, zz, yy, x + i]
    if texture.size:
        for i in range(width):
            mix[2, i] = texture[n, zz, yy, x + i]


@inlined
def _fill_run(n, z, y, x, first, last, key, out, table, fat_rows, mix):
    """Voxels first..last of a line from x on: all of one row in one B1 bin."""
    row, k, zero, one = uint64(key & 255), uint64(key >> 8), uint64(0), uint64(1)
    fat_row, first, last, x = int64(fat_rows[row]), uint64(first), uint64(last), uint64(2 * x)
    next_k, z, y, n = k + one, uint64(z), uint64(y), uint64(n)
    for q in range(uint64(out.shape[1])):
        j = q + q
        a, b = table[n, row, k, j], table[n, row, k, j + one]
        to_a, to_b = table[n, row, next_k, j] - a, table[n, row, next_k, j + one] - b
        if fat_row < 0:
            for i in range(first, last):
                t, scale = mix[zero, i], mix[uint64(2), i]
                out[n, q, z, y, x + i + i] = scale * (a + t * to_a)
                out[n, q, z, y, x + i + i + one] = scale * (b + t * to_b)
        else:
            other = uint64(fat_row)
            c, d = table[n, other, k, j], table[n, other, k, j + one]
            to_c, to_d = table[n, other, next_k, j] - c, table[n, other, next_k, j + one] - d
            for i in range(first, last):
                t, f, scale = mix[zero, i], mix[one, i], mix[uint64(2), i]
                water_a, water_b = a + t * to_a, b + t * to_b
                mixed_a = water_a + f * (c + t * to_c - water_a)
                mixed_b = water_b + f * (d + t * to_d - water_b)
                out[n, q, z, y, x + i + i] = scale * mixed_a
                out[n, q, z, y, x + i + i + one] = scale * mixed_b


@inlined
def _of_row(into, which, table, n, row, k, t, f, fat_row):
    """Put the signals of a row, its fat mixed in, into line `which` of `into`."""
    if fat_row < 0:
        for j in range(uint64(table.shape[3])):
            into[which, j] = _signal(table, n, row, k, t, j)
    else:
        for j in range(uint64(table.shape[3])):
            own = _signal(table, n, row, k, t, j)
            into[which, j] = own + f * (_signal(table, n, uint64(fat_row), k, t, j) - own)


@inlined
def _mix_voxel(n, z, y, x, key, mix, i, out, fine, table, shares, fat_rows, around, sums, taps):
    """A voxel of several rows; around, sums: scratch for its parts and for three signals."""
    fz, fy = fine.shape[1] // out.shape[2], fine.shape[2] // out.shape[3]
    fx, n, xx = 2 * fine.shape[3] // out.shape[4], uint64(n), uint64(x)
    own, k = uint64(key & 255), uint64(key >> 8)
    place, step, parts = uint64(0), uint64(fx), uint64(shares.size)
    for tap in range(taps):
        at = uint64(min(max(z * fz + (fz - taps) // 2 + tap, 0), fine.shape[1] - 1))
        for dy in range(fy):
            line = uint64(y * fy + dy)
            for dx in range(step):
                around[place] = fine[n, at, line, xx * step + dx]
                place += uint64(1)
    t, f, scale = mix[0, i], mix[1, i], mix[2, i]
    zero, one, two, numbers = uint64(0), uint64(1), uint64(2), uint64(table.shape[3])
    _of_row(sums, one, table, n, own, k, t, f, fat_rows[own])
    for j in range(numbers):
        sums[zero, j] = scale * sums[one, j]
    for s in range(parts):
        row = around[s]
        if row == own:
            continue
        share = float32(0)
        for u in range(s, parts):
            if around[u] == row:
                share += shares[u]
                around[u] = uint8(own)  # counted
        share *= scale
        _of_row(sums, two, table, n, uint64(row), k, t, f, fat_rows[row])
        for j in range(numbers):
            sums[zero, j] += share * (sums[two, j] - sums[one, j])
    for q in range(uint64(out.shape[1])):
        out[n, q, uint64(z), uint64(y), xx + xx] = sums[zero, q + q]
        out[n, q, uint64(z), uint64(y), xx + xx + one] = sums[zero, q + q + one]


@inlined
def _run_end(keys, first, width):
    """Where the run of equal keys from `first` on ends, found in steps of BLOCK."""
    key, i = keys[first], first
    while i + BLOCK <= width:
        differ = int32(0)
        for d in range(BLOCK):
            differ |= keys[uint64(i + d)] ^ key
        if differ != 0:
            break
        i += BLOCK
    while i < width and keys[uint64(i)] == key:
        i += 1
    return i


@inlined
def _next_mixed(mixed, first, width):
    """The next voxel of several rows from `first` on."""
    i = first
    while i + BLOCK <= width:
        found = uint8(0)
        for d in range(BLOCK):
            found |= mixed[uint64(i + d)]
        if found != 0:
            break
        i += BLOCK
    while i < width and mixed[uint64(i)] == 0:
        i += 1
    return i


@inlined
def _paint_at(
    n, z, y, x0, x1, out, fine, table, shares, fields, fat_rows, taps, low, per_step, scratch
):  # fmt: skip
    """Voxels x0..x1 of a line: as if each had one row, then those again that have several."""
    keys, mixed, mix, differ, around, sums = scratch
    bins = table.shape[2]
    _prepare(
        n, z, y, x0, x1, keys, mixed, mix, differ, out, fine, fields, taps, low, per_step, bins
    )
    width, i = int64(x1 - x0), int64(0)
    while i < width:
        end = _run_end(keys, i, width)
        _fill_run(n, z, y, x0, i, end, keys[i], out, table, fat_rows, mix)
        i = end
    i = _next_mixed(mixed, int64(0), width)
    while i < width:
        _mix_voxel(
            n, z, y, x0 + i, keys[i], mix, i, out, fine, table, shares, fat_rows, around, sums,
            taps,
        )  # fmt: skip
        i = _next_mixed(mixed, i + 1, width)


@loop
def _paint_cpu(out, fine, table, shares, b1, fat, texture, fat_rows, taps, low, per_step):
    samples, _, depth, height, width = out.shape
    width //= 2  # two numbers a voxel
    lines = samples * depth * height
    for r in prange((lines + LINES - 1) // LINES):
        scratch = (
            np.empty(width, np.int32), np.empty(width, np.uint8), np.empty((3, width), np.float32),
            np.empty(fine.shape[3], np.uint8), np.empty(shares.size, np.uint8),
            np.empty((3, table.shape[3]), np.float32),
        )  # fmt: skip
        for line in range(r * LINES, min(r * LINES + LINES, lines)):
            n, z, y = line // (depth * height), line // height % depth, line % height
            _paint_at(
                n, z, y, 0, width, out, fine, table, shares, (b1, fat, texture), fat_rows, taps,
                low, per_step, scratch,
            )  # fmt: skip


@cuda.jit
def _paint_gpu(out, fine, table, shares, b1, fat, texture, fat_rows, taps, low, per_step):
    i = cuda.grid(1)
    samples, _, depth, height, width = out.shape
    width //= 2  # two numbers a voxel
    if i < samples * depth * height * width:
        scratch = (
            cuda.local.array(1, int32), cuda.local.array(1, uint8),
            cuda.local.array((3, 1), float32), cuda.local.array(PARTS, uint8),
            cuda.local.array(PARTS, uint8), cuda.local.array((3, NUMBERS), float32),
        )  # fmt: skip
        line, x = i // width, i % width
        n, z, y = line // (depth * height), line // height % depth, line % height
        _paint_at(
            n, z, y, x, x + 1, out, fine, table, shares, (b1, fat, texture), fat_rows, taps, low,
            per_step, scratch,
        )  # fmt: skip


def paint(
    fine: Any, table: Any, shape: tuple[int, int, int], z_weights: Any = None, *, b1: Any = None,
    b1_bins: tuple[float, float] = (1.0, 1.0), fat: Any = None, fat_rows: Any = None,
    texture: Any = None, out: Any = None,
) -> Any:  # fmt: skip
    """The complex signals of labels: (sample, contrast, pool, z, y, x) complex64.

    fine:      (sample, z * fz, y * fy, x * fx) uint8, the row of each part of a voxel.
    table:     (sample, row, bin, contrast, pool, 2) float32, real and imaginary part of what one
               row alone gives at one B1; linear between bins, and beyond them as at the ends.
    shape:     (z, y, x) of the output.
    z_weights: (taps,) float32 on the host, the slice profile: weights of parts along z around the
               middle of the slice, taps = fz + an even number; the volume's end parts repeat.
               They are scaled to sum to 1. None = a box of fz.
    b1:        (sample, z, y, x) float32, relative to nominal, or None if `table` has one bin.
    b1_bins:   the B1 of bin 0, and what each bin adds.
    fat:       (sample, z, y, x) float32, a share in [0, 1]; fat_rows: (row,) int16, the row whose
               signal replaces that share of a row's own, -1 = none. Both or neither.
    texture:   (sample, z, y, x) float32 by which all signals are multiplied, or None.
    out:       an array to fill, contiguous, or None. All arrays on one side, which is the result's.
    Raises ValueError for shapes that disagree and for a label that has no row.
    """
    xp, factor = xp_of(fine), _checked_parts(fine, table, shape)
    batch, rows, bins, contrasts, pools, _ = table.shape
    shares = _shares(z_weights, factor)
    _check_fields((batch, *shape), b1=b1, fat=fat, texture=texture)
    if (b1 is None) != (bins == 1) or not (isfinite(b1_bins[0]) and b1_bins[1] > 0):
        raise ValueError(
            f"a table of {bins} bins, {b1_bins} (lowest, step above 0), with"
            f"{'out' if b1 is None else ''} a b1 field: a field needs 2 bins or more, none takes 1"
        )
    if (fat is None) != (fat_rows is None):
        raise ValueError("fat and fat_rows come together: a share, and whose signal it has")
    others = xp.full(rows, -1, np.int16) if fat_rows is None else fat_rows
    if others.shape != (rows,) or others.dtype != np.int16 or int(others.max()) >= rows:
        raise ValueError(f"fat_rows are ({rows},) int16 below {rows}, not {others}")
    made = (batch, contrasts, pools, *shape)
    out = xp.empty(made, np.complex64) if out is None else out
    if out.shape != made or out.dtype != np.complex64 or not out.flags.c_contiguous:
        raise ValueError(f"out is {made} complex64, contiguous, not {out.shape} {out.dtype}")
    flat = xp.ascontiguousarray(table).reshape(batch, rows, bins, contrasts * pools * 2)
    if bins == 1:  # a second bin to read, of which nothing is taken
        flat = xp.concatenate([flat, flat], 2)
    none = xp.empty((batch, 0, 0, 0), np.float32)
    launch(
        _paint_cpu, _paint_gpu, batch * int(np.prod(shape)),
        out.view(np.float32).reshape(batch, contrasts * pools, *shape[:2], 2 * shape[2]),
        xp.ascontiguousarray(fine), flat, xp.asarray(shares),
        *(none if field is None else xp.ascontiguousarray(field) for field in (b1, fat, texture)),
        others, shares.size // (factor[1] * factor[2]), np.float32(b1_bins[0]),
        np.float32(1 / b1_bins[1]),
    )  # fmt: skip
    return out


def _check_fields(shape: tuple[int, ...], **fields: Any) -> None:
    for name, field in fields.items():
        if field is not None and (field.shape != shape or field.dtype != np.float32):
            raise ValueError(f"{name} is {shape} float32, not {field.shape} {field.dtype}")


def _checked_parts(fine: Any, table: Any, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Parts of a voxel along z, y, x."""
    if table.ndim != 6 or table.shape[5] != 2 or table.dtype != np.float32 or not table.size:
        raise ValueError(
            "a table is (sample, row, bin, contrast, pool, 2) float32, not "
            f"{table.shape} {table.dtype}"
        )
    if table.shape[3] * table.shape[4] * 2 > NUMBERS:
        raise ValueError(
            f"{table.shape[3]} contrasts of {table.shape[4]} pools are above {NUMBERS // 2} "
            "signals a call: paint some after the others"
        )
    if fine.ndim != 4 or fine.dtype != np.uint8 or fine.shape[0] != table.shape[0]:
        raise ValueError(
            f"fine labels are ({table.shape[0]}, z, y, x) uint8, not {fine.shape} {fine.dtype}"
        )
    sizes = list(zip(fine.shape[1:], shape, strict=True))
    if min(shape) < 1 or any(not size or size % n for size, n in sizes):
        raise ValueError(f"fine labels of {fine.shape[1:]} do not divide into voxels of {shape}")
    check_rows(fine, table.shape[1])
    fz, fy, fx = (size // n for size, n in sizes)
    return fz, fy, fx


def _shares(z_weights: Any, factor: tuple[int, int, int]) -> Any:
    """Of each part of a voxel under the slice profile, along x first: float32 of sum 1."""
    fz, fy, fx = factor
    weights = np.ones(fz) if z_weights is None else np.asarray(z_weights, np.float64)
    if weights.ndim != 1 or weights.size < fz or (weights.size - fz) % 2:
        raise ValueError(f"{weights.shape} z_weights are not {fz}, or an even number more")
    total = weights.sum()
    if not (np.isfinite(weights).all() and total > 0):
        raise ValueError(f"z_weights {weights} must be finite and sum to more than 0")
    if weights.size * fy * fx > PARTS:
        raise ValueError(
            f"{weights.size} x {fy} x {fx} parts of a voxel are above {PARTS}: divide it less"
        )
    return np.repeat(weights / (total * fy * fx), fy * fx).astype(np.float32)
