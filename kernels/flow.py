"""Diffeomorphic displacements: the flow of a velocity field for one unit of time, and its Jacobian.

Displacements and velocities are (sample, 3, z, y, x) float32, components z, y, x, in voxels of
their own grid; between its voxels they are trilinear, beyond its outer voxels they stay the same.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of

STEPS = 6  # squarings: 2**6 small steps make the flow
SAFE = 0.2  # of the node spacing: see `largest_safe_rms`


@inlined
def _split(at, count):
    """The voxel below `at`, of two voxels if there are two, and the rest; NaN is 0."""
    inside = at if at > float32(0) else float32(0)
    inside = min(inside, float32(count - 1))
    low = min(int32(inside), int32(max(count - 2, 0)))
    return low, inside - float32(low)


@inlined
def _mixed(a, b, t):
    return a + (b - a) * t


@inlined
def _plane(flat, k, up, right, ty, tx):
    """Bilinear between voxel k and its neighbours along y and x."""
    near, far = _mixed(flat[k], flat[k + right], tx), flat[k + up]
    return _mixed(near, _mixed(far, flat[k + up + right], tx), ty)


@body
def _square_at(n, z, y, x0, x1, out, rest, found, flat, depth, height, width):
    """Voxels x0..x1 of a row of the displacement that is `flat` twice, one after the other.

    rest (3, x1 - x0) and found (x1 - x0,) are scratch; out and flat are flat.
    """
    plane = uint64(height) * uint64(width)
    volume = plane * uint64(depth)
    first = uint64(n) * uint64(3) * volume
    row = first + uint64(z) * plane + uint64(y) * uint64(width) + uint64(x0)
    for i in range(uint64(x1 - x0)):  # apart from the look-up, so that it becomes vectors
        x = float32(int32(i)) + float32(x0)
        cz, tz = _split(float32(z) + flat[row + i], depth)
        cy, ty = _split(float32(y) + flat[row + volume + i], height)
        cx, tx = _split(x + flat[row + volume + volume + i], width)
        found[i] = (cz * int32(height) + cy) * int32(width) + cx
        rest[0, i], rest[1, i], rest[2, i] = tz, ty, tx
    far = plane if depth > 1 else uint64(0)  # to the neighbours; an axis of one voxel has none
    up = uint64(width) if height > 1 else uint64(0)
    right = uint64(1) if width > 1 else uint64(0)
    for component in range(uint64(3)):
        start, own = first + component * volume, row + component * volume
        for i in range(uint64(x1 - x0)):
            k = start + uint64(found[i])
            below = _plane(flat, k, up, right, rest[1, i], rest[2, i])
            above = _plane(flat, k + far, up, right, rest[1, i], rest[2, i])
            out[own + i] = flat[own + i] + _mixed(below, above, rest[0, i])


@loop
def _square_cpu(out, flat, samples, depth, height, width):
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        rest, found = np.empty((3, width), np.float32), np.empty(width, np.int32)
        _square_at(n, z, y, 0, width, out, rest, found, flat, depth, height, width)


@cuda.jit
def _square_gpu(out, flat, samples, depth, height, width):
    i = cuda.grid(1)
    if i < samples * depth * height * width:
        r, x = i // width, i % width
        n, z, y = r // (depth * height), r // height % depth, r % height
        rest, found = cuda.local.array((3, 1), float32), cuda.local.array(1, int32)
        _square_at(n, z, y, x, x + 1, out, rest, found, flat, depth, height, width)


def exponentiate(velocity_vox: Any, steps: int = STEPS) -> Any:
    """The displacement of the flow of a velocity field: a smooth map that has an inverse.

    velocity_vox: (sample, 3, z, y, x) float32 in voxels of this grid, the same for all times.
    Returns the displacement on the same grid, in its voxels and on its side, by scaling and
    squaring (Arsigny et al., MICCAI 2006) with `steps` squarings. Make it on a coarse grid, half
    the output's or less, and give it to `warp` after `rescaled`.
    """
    _check(velocity_vox)
    if not 0 <= steps <= 16:
        raise ValueError(f"steps are 0 to 16 squarings, not {steps}")
    shift = velocity_vox * np.float32(0.5**steps)
    xp, (samples, _, *grid) = xp_of(shift), shift.shape
    flat = xp.ascontiguousarray(shift).reshape(-1)
    out = xp.empty_like(flat)
    for _ in range(steps):
        launch(_square_cpu, _square_gpu, flat.size // 3, out, flat, samples, *grid)
        flat, out = out, flat
    return flat.reshape(shift.shape)


def inverse(velocity_vox: Any, steps: int = STEPS) -> Any:
    """The displacement that undoes `exponentiate(velocity_vox, steps)`, but for interpolation."""
    return exponentiate(-velocity_vox, steps)


def rescaled(displacement: Any, shape: tuple[int, int, int]) -> Any:
    """The same displacement in voxels of a grid of `shape` that spans the same volume."""
    _check(displacement)
    ratio = np.array(shape, np.float64) / displacement.shape[2:]
    return displacement * xp_of(displacement).asarray(ratio, np.float32)[:, None, None, None]


def largest_safe_rms(spacing_vox: Any) -> Any:
    """The root mean square up to which velocities of `fields.spline` are known not to fold.

    spacing_vox: the least distance between nodes of the velocity's lattice, in the unit of the
    velocity and at least 4 voxels of the grid that it is exponentiated on.
    The flow itself never folds; what can is its trilinear image on the grid.
    """
    return SAFE * spacing_vox


@body
def _least_at(n, z, y, x0, x1, shift):
    """The least Jacobian at the corners of cells x0..x1 of a row of cells."""
    _, _, depth, height, width = shift.shape
    least = float32(np.inf)
    one = float32(1)
    n, a, c = uint64(n), uint64(z), uint64(y)
    b, d = uint64(min(z + 1, depth - 1)), uint64(min(y + 1, height - 1))
    for i in range(uint64(x1 - x0)):
        e = uint64(x0) + i
        f = min(e + uint64(1), uint64(width - 1))
        for corner in range(8):
            iz, iy, ix = b if corner & 4 else a, d if corner & 2 else c, f if corner & 1 else e
            zz = one + shift[n, 0, b, iy, ix] - shift[n, 0, a, iy, ix]
            yz = shift[n, 1, b, iy, ix] - shift[n, 1, a, iy, ix]
            xz = shift[n, 2, b, iy, ix] - shift[n, 2, a, iy, ix]
            zy = shift[n, 0, iz, d, ix] - shift[n, 0, iz, c, ix]
            yy = one + shift[n, 1, iz, d, ix] - shift[n, 1, iz, c, ix]
            xy = shift[n, 2, iz, d, ix] - shift[n, 2, iz, c, ix]
            zx = shift[n, 0, iz, iy, f] - shift[n, 0, iz, iy, e]
            yx = shift[n, 1, iz, iy, f] - shift[n, 1, iz, iy, e]
            xx = one + shift[n, 2, iz, iy, f] - shift[n, 2, iz, iy, e]
            found = zz * (yy * xx - yx * xy) - zy * (yz * xx - yx * xz) + zx * (yz * xy - yy * xz)
            least = min(least, found)
    return least


@loop
def _least_cpu(out, shift):
    samples, depth, height = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        out[n, z, y] = _least_at(n, z, y, 0, max(shift.shape[4] - 1, 1), shift)


@cuda.jit
def _least_gpu(out, shift):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height = out.shape
        n, z, y = i // (depth * height), i // height % depth, i % height
        out[n, z, y] = _least_at(n, z, y, 0, max(shift.shape[4] - 1, 1), shift)


def least_jacobian(displacement: Any) -> Any:
    """(sample,) float32: the least determinant of the Jacobian of place -> place + displacement.

    displacement: (sample, 3, z, y, x) float32 in voxels of its own grid. The determinant is taken
    at the eight corners of each cell between voxels, by the cell's own differences; an axis of one
    voxel has none. Below or at 0 the map folds.
    """
    _check(displacement)
    xp = xp_of(displacement)
    samples, _, depth, height, _ = displacement.shape
    out = xp.empty((samples, max(depth - 1, 1), max(height - 1, 1)), np.float32)
    launch(_least_cpu, _least_gpu, out.size, out, displacement)
    return out.min((1, 2))


def _check(field: Any) -> None:
    if field.ndim != 5 or field.shape[1] != 3 or field.dtype != np.float32 or not field.size:
        raise ValueError(
            "a displacement or velocity is (sample, 3, z, y, x) float32 with no empty axis, not "
            f"{field.shape} {field.dtype}"
        )
