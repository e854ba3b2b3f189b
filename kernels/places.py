"""Where the voxels of a warped output look: an affine after a displacement on a coarse grid.

The centre of voxel (z, y, x) stands at the integers (z, y, x), as in NIfTI (the rasters of 2-D
shapes count from a pixel's corner instead). An output voxel p shows the place
affine @ (p + d(p), 1) of the map. The displacement d is held on a coarse grid that spans the
output's volume from face to face: its node k stands at output voxel (k + 0.5) * count / nodes - 0.5
of an axis; between nodes it is trilinear, beyond the outer ones it stays the same.
"""

from typing import Any

import numpy as np
from numba import float32, int64, uint64

from voxelmill.kernels.device import body, inlined, xp_of
from voxelmill.kernels.tiles import on_host


@inlined
def _between(i, count, nodes):
    """The nodes below and above element i of `count`, and the share of the upper one."""
    at = (float32(i) + float32(0.5)) * (float32(nodes) / float32(count)) - float32(0.5)
    inside = min(max(at, float32(0)), float32(nodes - 1))
    low = int64(inside)
    return uint64(low), uint64(min(low + 1, nodes - 1)), inside - float32(low)


@inlined
def _node(shift, n, component, a, b, tz, c, d, ty, k):
    """A component of the displacement in column k of nodes, between rows a, b and c, d."""
    near, far = shift[n, component, a, c, k], shift[n, component, b, c, k]
    near += (shift[n, component, a, d, k] - near) * ty
    far += (shift[n, component, b, d, k] - far) * ty
    return near + (far - near) * tz


@inlined
def _turned(affine, n, row, z, y, x):
    return affine[n, row, 0] * z + affine[n, row, 1] * y + affine[n, row, 2] * x


@body
def places_at(n, z, y, x0, x1, places, shape, affine, shift, fz, fy, fx):
    """Fill places (3, x1 - x0) with what voxels x0..x1 of a row of the fine grid show."""
    half, zero = float32(0.5), float32(0)
    n = uint64(n)
    a, b, tz = _between(z, shape[1], shift.shape[2])
    c, d, ty = _between(y, shape[2], shift.shape[3])
    pz = (float32(z) + half) * (float32(1) / float32(fz)) - half
    py = (float32(y) + half) * (float32(1) / float32(fy)) - half
    z_row = _turned(affine, n, 0, pz, py, zero) + affine[n, 0, 3]
    y_row = _turned(affine, n, 1, pz, py, zero) + affine[n, 1, 3]
    x_row = _turned(affine, n, 2, pz, py, zero) + affine[n, 2, 3]
    by_z, by_y, by_x = affine[n, 0, 2], affine[n, 1, 2], affine[n, 2, 2]
    step, cell = float32(1) / float32(fx), uint64(shift.shape[4])
    z_low, y_low, x_low, z_up, y_up, x_up = zero, zero, zero, zero, zero, zero
    for i in range(uint64(x1 - x0)):
        x = uint64(x0) + i
        e, f, t = _between(x, shape[3], shift.shape[4])
        if e != cell:  # a column of nodes further: `t` runs from its displacement to the next one's
            cell = e
            u = _node(shift, n, 0, a, b, tz, c, d, ty, e)
            v = _node(shift, n, 1, a, b, tz, c, d, ty, e)
            w = _node(shift, n, 2, a, b, tz, c, d, ty, e)
            z_low, y_low = _turned(affine, n, 0, u, v, w), _turned(affine, n, 1, u, v, w)
            x_low = _turned(affine, n, 2, u, v, w)
            u = _node(shift, n, 0, a, b, tz, c, d, ty, f) - u
            v = _node(shift, n, 1, a, b, tz, c, d, ty, f) - v
            w = _node(shift, n, 2, a, b, tz, c, d, ty, f) - w
            z_up, y_up = _turned(affine, n, 0, u, v, w), _turned(affine, n, 1, u, v, w)
            x_up = _turned(affine, n, 2, u, v, w)
        px = (float32(x) + half) * step - half
        places[0, i] = z_row + by_z * px + (z_low + z_up * t)
        places[1, i] = y_row + by_y * px + (y_low + y_up * t)
        places[2, i] = x_row + by_x * px + (x_low + x_up * t)


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
