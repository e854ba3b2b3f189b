"""Receive coils: smooth complex sensitivities of loops around the body.

A loop hears what the field that it would make does (reciprocity, Hoult & Richards 1976): the
transverse component Bx - i By, z being the static field. The field of a loop of radius a and axis
m is taken from the vector potential m x d / (d^2 + a^2)^(3/2), which has no elliptic integrals: on
the axis and far away it is that of the ring (Roemer et al. 1990), near the wire it stays finite.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import inlined, launch, loop, xp_of


def ring(
    count: int, radius_mm: Any, start_deg: float = 0.0, rows: int = 1, apart_mm: float = 0.0
) -> tuple[Any, Any]:
    """Loops on an ellipse around the z axis: centres and axes, each (count * rows, 3) float32.

    count: loops in each of `rows` rows, rows `apart_mm` apart along z; radius_mm: half axes along y
    and x; start_deg: place of the first, from y towards x. Millimetres from the middle of the
    volume, components z, y, x; axes are unit vectors, inwards.
    """
    angle = np.deg2rad(start_deg) + 2 * np.pi * np.arange(count) / count
    ry, rx = np.broadcast_to(radius_mm, 2)
    if count < 1 or rows < 1 or ry <= 0 or rx <= 0:
        raise ValueError(
            f"{count} loops in {rows} rows at radii {ry}, {rx} mm: all must be above 0"
        )
    y, x = np.cos(angle), np.sin(angle)
    z = (np.arange(rows) - (rows - 1) / 2) * apart_mm
    flat = np.stack([np.zeros(count), ry * y, rx * x], 1)
    centres = np.concatenate([flat + np.array([h, 0, 0]) for h in z])
    inward = -np.stack([np.zeros(count), y / ry, x / rx], 1)
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    return centres.astype(np.float32), np.tile(inward, (rows, 1)).astype(np.float32)


@inlined
def _heard(z, y, x, mz, my, mx, loop_mm):
    """Bx and -By of a loop at the origin, at (z, y, x)."""
    three, one, a2 = float32(3), float32(1), loop_mm * loop_mm
    r2 = z * z + y * y + x * x + a2
    over = one / r2
    along = three * (mz * z + my * y + mx * x) * over
    itself = three * a2 * over - one
    strength = over / sqrt(r2)
    return (along * x + itself * mx) * strength, -(along * y + itself * my) * strength


@inlined
def _sensitivity_at(line, x0, x1, out, centres, axes, loop_mm, scale, voxel_mm, first):
    """Voxels x0..x1 of a row."""
    _, count, nz, ny, nx = out.shape
    n, c = line // (count * nz * ny), line // (nz * ny) % count
    iz, iy, half = line // ny % nz, line % ny, float32(0.5)
    at, m = centres[n, first + c], axes[n, first + c]
    z = (float32(iz) - half * float32(nz - 1)) * voxel_mm[n, 0] - at[0]
    y = (float32(iy) - half * float32(ny - 1)) * voxel_mm[n, 1] - at[1]
    x_at, step, middle = at[2], voxel_mm[n, 2], half * float32(nx - 1)
    mz, my, mx, a, level = m[0], m[1], m[2], loop_mm[n], scale[n]
    for ix in range(int32(x0), int32(x1)):
        x = (float32(ix) - middle) * step - x_at
        real, imaginary = _heard(z, y, x, mz, my, mx, a)
        out[n, c, iz, iy, uint64(ix)] = complex(real * level, imaginary * level)


@loop
def _sensitivity_cpu(out, centres, axes, loop_mm, scale, voxel_mm, first):
    width = out.shape[4]
    for line in prange(out.size // width):
        _sensitivity_at(line, 0, width, out, centres, axes, loop_mm, scale, voxel_mm, first)


@cuda.jit
def _sensitivity_gpu(out, centres, axes, loop_mm, scale, voxel_mm, first):
    i = cuda.grid(1)
    if i < out.size:
        x = i % out.shape[4]
        line = i // out.shape[4]
        _sensitivity_at(line, x, x + 1, out, centres, axes, loop_mm, scale, voxel_mm, first)


def sensitivities(
    centres: Any, axes: Any, loop_mm: Any, voxel_mm: Any, shape: tuple[int, int, int],
    some: slice = slice(None),
) -> Any:  # fmt: skip
    """What the coils `some` of each sample hear: (sample, coil, z, y, x) complex64.

    centres, axes: (sample, coil, 3) float32 as of `ring`; loop_mm: (sample,) float32, radius of the
    loops; voxel_mm: (sample, 3) float32; all on one side, which is where the maps are made. They
    are scaled so that the root of the sum of squares over ALL coils is 1 in the middle of the
    volume, and rises towards the loops.
    """
    xp, (samples, count, _) = xp_of(centres), centres.shape
    fits = (
        axes.shape == centres.shape == (samples, count, 3)
        and loop_mm.shape == (samples,)
        and voxel_mm.shape == (samples, 3)
    )
    if not fits or {a.dtype.name for a in (centres, axes, loop_mm, voxel_mm)} != {"float32"}:
        raise ValueError(
            f"coils at {centres.shape} along {axes.shape} with loops {loop_mm.shape} and voxels "
            f"{voxel_mm.shape} do not fit, or are not all float32"
        )
    first, stop, _ = some.indices(count)
    scale = _scale(xp, centres, axes, loop_mm)
    out = xp.empty((samples, stop - first, *shape), np.complex64)
    launch(
        _sensitivity_cpu, _sensitivity_gpu, out.size, out, centres, axes, loop_mm, scale,
        voxel_mm, first,
    )  # fmt: skip
    return out


def _scale(xp: Any, centres: Any, axes: Any, loop_mm: Any) -> Any:
    """One over the root of the sum of squares in the middle of the volume, (sample,) float32."""
    d, m = -centres.astype(np.float64), axes.astype(np.float64)
    a2 = loop_mm.astype(np.float64)[:, None, None] ** 2
    r2 = (d * d).sum(-1, keepdims=True) + a2
    field = (3 * d * (m * d).sum(-1, keepdims=True) + m * (3 * a2 - r2)) / r2**2.5
    return (1 / xp.sqrt((field[..., 1:] ** 2).sum((1, 2)))).astype(np.float32)
