"""Rigid movement during the scan: each part of it sees the body in another pose.

A pose maps the body's place p (mm from the middle of the volume, components z, y, x) to R p + t. In
k-space a translation is an exact phase ramp; for a rotation the image is turned once per pose and
its lines are taken. `relative` brings poses into the frame of the one at the centre of k-space,
which is where labels live: if all poses are equal, nothing moves.

Source: Zaitsev, Maclaren, Herbst, "Motion artifacts in MRI", JMRI 2015.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, prange

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.elastic import below


def rotations(angles_deg: Any) -> Any:
    """Rotations Rz Ry Rx of angles (..., 3) about z, y, x: (..., 3, 3) float64 on (z, y, x).

    A positive angle about z turns y towards x, about y it turns x towards z, about x z towards y.
    """
    angles = np.deg2rad(np.asarray(angles_deg, np.float64))
    turned = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for axis in range(3):
        c, s = np.cos(angles[..., axis]), np.sin(angles[..., axis])
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.zeros((*angles.shape[:-1], 3, 3))
        step[..., axis, axis] = 1
        step[..., first, first] = step[..., second, second] = c
        step[..., first, second], step[..., second, first] = -s, s
        turned = turned @ step
    return turned


def relative(poses: Any, centre: Any) -> tuple[Any, Any]:
    """Rotations (sample, pose, 3, 3) and shifts in mm (sample, pose, 3) from pose `centre` on.

    poses: (sample, pose, 6), millimetres along z, y, x, then degrees about z, y, x; centre:
    (sample,) int. Poses equal to the central one become exactly no movement.
    """
    poses, rows = np.asarray(poses, np.float64), np.arange(len(poses))
    if poses.ndim != 3 or poses.shape[2] != 6:
        raise ValueError(f"poses are (sample, pose, 6) in mm and degrees, not {poses.shape}")
    turned, shift_mm = rotations(poses[..., 3:]), poses[..., :3]
    middle = poses[rows, centre]
    turned = turned @ turned[rows, centre].swapaxes(-1, -2)[:, None]
    shift_mm = shift_mm - np.einsum("ntij,nj->nti", turned, middle[:, :3])
    still = (poses[..., 3:] == middle[:, None, 3:]).all(-1)
    turned[still] = np.eye(3)
    shift_mm[still] = (poses[..., :3] - middle[:, None, :3])[still]
    return turned, shift_mm


def pull_matrix(rotation: Any, shift_mm: Any, voxel_mm: Any, shape: Any) -> Any:
    """Where `turn` reads: (..., 3, 4) float32 from a voxel to the voxel whose place it shows.

    rotation (..., 3, 3), shift_mm (..., 3): the pose; voxel_mm (3,) or (..., 3): z, y, x.
    """
    voxel_mm = np.asarray(voxel_mm, np.float64)
    middle = (np.asarray(shape[-3:]) - 1) / 2
    back = np.swapaxes(rotation, -1, -2)
    linear = back * voxel_mm[..., None, :] / voxel_mm[..., :, None]
    moved = middle + np.asarray(shift_mm) / voxel_mm
    offset = middle - np.einsum("...ij,...j->...i", linear, np.broadcast_to(moved, back.shape[:-1]))
    return np.concatenate([linear, offset[..., None]], -1).astype(np.float32)


@body
def _keys(t):
    """Weights of the four neighbours at t in [0, 1) after the second one."""
    half, one = float32(0.5), float32(1)
    u = one - t
    return (
        -half * t * u * u,
        one + t * t * (float32(1.5) * t - float32(2.5)),
        one + u * u * (float32(1.5) * u - float32(2.5)),
        -half * u * t * t,
    )


@body
def _turn_at(i, out, image, matrix):
    _, parts, nz, ny, nx = image.shape
    n, m = i // (parts * nz * ny * nx), i // (nz * ny * nx) % parts
    vz, vy, vx = float32(i // (ny * nx) % nz), float32(i // nx % ny), float32(i % nx)
    a = matrix[n]
    z = a[0, 0] * vz + a[0, 1] * vy + a[0, 2] * vx + a[0, 3]
    y = a[1, 0] * vz + a[1, 1] * vy + a[1, 2] * vx + a[1, 3]
    x = a[2, 0] * vz + a[2, 1] * vy + a[2, 2] * vx + a[2, 3]
    iz, iy, ix = below(z), below(y), below(x)
    wz, wy, wx = _keys(z - float32(iz)), _keys(y - float32(iy)), _keys(x - float32(ix))
    real, imaginary = float32(0), float32(0)
    for j in range(4):
        sz = iz + j - 1
        if wz[j] != float32(0) and 0 <= sz < nz:  # a whole slice has one neighbour only
            for k in range(4):
                sy = iy + k - 1
                w = wz[j] * wy[k]
                if w != float32(0) and 0 <= sy < ny:
                    for q in range(4):
                        sx = ix + q - 1
                        if 0 <= sx < nx:
                            value, weight = image[n, m, sz, sy, sx], w * wx[q]
                            real += weight * value.real
                            imaginary += weight * value.imag
    out[n, m, i // (ny * nx) % nz, i // nx % ny, i % nx] = complex(real, imaginary)


@loop
def _turn_cpu(out, image, matrix):
    for i in prange(out.size):
        _turn_at(i, out, image, matrix)


@cuda.jit
def _turn_gpu(out, image, matrix):
    i = cuda.grid(1)
    if i < out.size:
        _turn_at(i, out, image, matrix)


def turn(image: Any, matrix: Any) -> Any:
    """`image` (sample, part, z, y, x) complex64 read at the places `matrix` (sample, 3, 4) says.

    matrix: float32, from `pull_matrix`: voxel (z, y, x, 1), integer = centre, to voxel. Cubic
    convolution (Keys 1981, a = -1/2: exact for parabolas), zero outside. Same side and shape.
    """
    if image.ndim != 5 or image.dtype != np.complex64:
        raise ValueError(
            f"images are (sample, part, z, y, x) complex64, not {image.shape} {image.dtype}"
        )
    if matrix.shape != (image.shape[0], 3, 4) or matrix.dtype != np.float32:
        raise ValueError(f"matrix {matrix.shape} {matrix.dtype} does not fit {image.shape}")
    out = xp_of(image).empty(image.shape, np.complex64)
    launch(_turn_cpu, _turn_gpu, out.size, out, image, matrix)
    return out
