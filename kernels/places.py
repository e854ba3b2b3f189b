"""Where the voxels of a warped output look: an affine after a displacement on a coarse grid.

The centre of voxel (z, y, x) stands at the integers (z, y, x), as in NIfTI (the rasters of 2-D
shapes count from a pixel's corner instead). An output voxel p shows the place
affine @ (p + d(p), 1) of the map. The displacement d is held on a coarse grid that spans the
output's volume from face to face: its node k stands at output voxel (k + 0.5) * count / nodes - 0.5
of an axis; between nodes it is trilinear, beyond the outer ones it stays the same.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.tiles import on_host


@inlined
def _between(i, count, nodes):
    """The nodes below and above element i of `count`, and the share of the upper one."""
    at = (float32(i) + float32(0.5)) * (float32(nodes) / float32(count)) - float32(0.5)
    inside = min(max(at, float32(0)), float32(nodes - 1))
    low = int64(inside)
    return uint64(low), uint64(min(low + 1, nodes - 1)), inside - float32(low)


@inlined
def _mixed(a, b, t):
    return a + (b - a) * t


@inlined
def _turned(affine, n, row, z, y, x):
    return affine[n, row, 0] * z + affine[n, row, 1] * y + affine[n, row, 2] * x


@body
def _along_at(n, a, c, x0, x1, out, affine, shift, fx):
    """What parts x0..x1 of a row of nodes add to the place: the displacement and their own x."""
    n, a, c, half = uint64(n), uint64(a), uint64(c), float32(0.5)
    step = float32(1) / float32(fx)
    for i in range(uint64(x1 - x0)):
        x = uint64(x0) + i
        e, f, t = _between(x, out.shape[4], shift.shape[4])
        dz = _mixed(shift[n, 0, a, c, e], shift[n, 0, a, c, f], t)
        dy = _mixed(shift[n, 1, a, c, e], shift[n, 1, a, c, f], t)
        dx = _mixed(shift[n, 2, a, c, e], shift[n, 2, a, c, f], t)
        dx += (float32(x) + half) * step - half
        out[n, 0, a, c, x] = _turned(affine, n, 0, dz, dy, dx)
        out[n, 1, a, c, x] = _turned(affine, n, 1, dz, dy, dx)
        out[n, 2, a, c, x] = _turned(affine, n, 2, dz, dy, dx)


@loop
def _along_cpu(out, affine, shift, fx):
    samples, _, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, a, c = r // (depth * height), r // height % depth, r % height
        _along_at(n, a, c, 0, width, out, affine, shift, fx)


@cuda.jit
def _along_gpu(out, affine, shift, fx):
    i = cuda.grid(1)
    samples, _, depth, height, width = out.shape
    if i < samples * depth * height * width:
        r, x = i // width, i % width
        n, a, c = r // (depth * height), r // height % depth, r % height
        _along_at(n, a, c, x, x + 1, out, affine, shift, fx)


def along_x(affine: Any, displacement: Any, width: int, fx: int) -> Any:
    """First of two steps to places: each row of nodes at all `width` parts of the output's rows.

    Returns (sample, 3, dz, dy, width) float32, which `places_at` mixes along y and z. Apart, since
    it is the same for all rows of the output between two rows of nodes.
    """
    samples, _, depth, height, _ = displacement.shape
    out = xp_of(displacement).empty((samples, 3, depth, height, width), np.float32)
    launch(_along_cpu, _along_gpu, out.size // 3, out, affine, displacement, fx)
    return out


@inlined
def _mix_rows(n, component, a, b, tz, c, d, ty, x0, x1, places, along, start):
    for i in range(uint64(x1 - x0)):
        x = uint64(x0) + i
        near = _mixed(along[n, component, a, c, x], along[n, component, a, d, x], ty)
        far = _mixed(along[n, component, b, c, x], along[n, component, b, d, x], ty)
        places[component, i] = start + _mixed(near, far, tz)


@inlined
def places_at(n, z, y, x0, x1, places, shape, affine, along, fz, fy):
    """Fill places (3, x1 - x0) with the places that parts x0..x1 of a row show.

    shape: of the output in parts, with its sample axis; along: from `along_x`; fz, fy: parts of a
    voxel along z and y.
    """
    half, zero, one = float32(0.5), float32(0), float32(1)
    n = uint64(n)
    a, b, tz = _between(z, shape[1], along.shape[2])
    c, d, ty = _between(y, shape[2], along.shape[3])
    pz = (float32(z) + half) * (one / float32(fz)) - half
    py = (float32(y) + half) * (one / float32(fy)) - half
    for component in range(uint64(3)):
        start = _turned(affine, n, component, pz, py, zero) + affine[n, component, 3]
        _mix_rows(n, component, a, b, tz, c, d, ty, x0, x1, places, along, start)


def centred(
    shape: Any, voxel_mm: Any, map_shape: Any, map_voxel_mm: Any, turn: Any = None, move_mm: Any = 0
) -> Any:
    """The affine, (3, 4) float32, that shows a map around its centre in the middle of the output.

    shape, voxel_mm: of the output, (z, y, x); map_shape, map_voxel_mm: of the map.
    turn: (3, 3), from output mm to map mm about the centres (rotation, zoom, shear; a flip is a
    negative column), or None; move_mm: (z, y, x) added to it in map mm.
    """
    middle, map_middle = (np.subtract(s, 1) / 2 for s in (shape, map_shape))
    linear = np.eye(3) if turn is None else np.asarray(turn, np.float64)
    linear = linear * np.asarray(voxel_mm) / np.reshape(map_voxel_mm, (3, 1))
    offset = map_middle + np.divide(move_mm, map_voxel_mm) - linear @ middle
    return np.column_stack([linear, offset]).astype(np.float32)


def checked_warp(which: Any, affine: Any, displacement: Any, count: int) -> Any:
    """The displacement, of zeros for None, after all that can be told about a warp."""
    samples, chosen, turns = which.shape[0], on_host(which), on_host(affine)
    if samples and not 0 <= chosen.min() <= chosen.max() < count:
        raise ValueError(f"which {chosen.min()}..{chosen.max()} is not in [0, {count})")
    if affine.shape != (samples, 3, 4) or affine.dtype != np.float32:
        raise ValueError(
            f"affine is ({samples}, 3, 4) float32, one for each of which, not {affine.shape} "
            f"{affine.dtype}"
        )
    if not np.isfinite(turns).all():
        raise ValueError(f"an affine must be finite, not {turns[~np.isfinite(turns).all((1, 2))]}")
    if displacement is None:
        return xp_of(affine).zeros((samples, 3, 1, 1, 1), np.float32)
    if (
        displacement.ndim != 5
        or displacement.shape[:2] != (samples, 3)
        or displacement.dtype != np.float32
        or min(displacement.shape[2:]) < 1
    ):
        raise ValueError(
            f"displacement is ({samples}, 3, dz, dy, dx) float32, not {displacement.shape} "
            f"{displacement.dtype}"
        )
    return displacement
