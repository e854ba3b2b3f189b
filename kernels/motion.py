"""Rigid movement during the scan: each part of it sees the body in another pose.

A pose maps the body's place p (mm from the middle of the volume, components z, y, x) to R p + t. In
k-space a translation is an exact phase ramp; for a rotation the image is turned once per pose and
its lines are taken. `relative` brings poses into the frame of their mean, weighted by how much the
lines of each make the image (`lines.frame_shares`); there labels live. If all poses are equal,
nothing moves.

Source: Zaitsev, Maclaren, Herbst, "Motion artifacts in MRI", JMRI 2015.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, prange, uint64

from voxelmill.kernels.device import inlined, launch, loop, xp_of
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


def relative(poses: Any, shares: Any) -> tuple[Any, Any]:
    """Rotations (sample, pose, 3, 3) and shifts in mm (sample, pose, 3) from the mean pose on.

    poses: (sample, pose, 6), millimetres along z, y, x, then degrees about z, y, x; shares:
    (sample, pose), how much each counts in the mean, as `lines.frame_shares` gives. The mean shift
    is that of the middle of the volume, the mean rotation the one nearest to all (least squares of
    the matrices, which for small angles is the mean of the angles). Poses equal to all those that
    count become exactly no movement.
    """
    poses, shares = np.asarray(poses, np.float64), np.asarray(shares, np.float64)
    if poses.ndim != 3 or poses.shape[2] != 6:
        raise ValueError(f"poses are (sample, pose, 6) in mm and degrees, not {poses.shape}")
    if shares.shape != poses.shape[:2] or (shares < 0).any() or (shares.sum(1) <= 0).any():
        raise ValueError(
            f"shares of {poses.shape[:2]} poses are at least 0 and not all 0: {shares}"
        )
    turned, first = rotations(poses[..., 3:]), shares.argmax(1)[:, None, None]
    one = np.take_along_axis(poses, first, 1)
    same = ((poses == one) | (shares[..., None] == 0)).all(1)  # for each number of a pose
    mean = np.where(same, one[:, 0], np.average(poses, axis=1, weights=_wide(shares, poses)))
    mean_turn = _nearest_rotation(np.einsum("nt,ntij->nij", shares, turned))
    sure = same[:, 3:].all(1)
    mean_turn[sure] = rotations(mean[sure, 3:])
    still = sure[:, None] & (poses[..., 3:] == mean[:, None, 3:]).all(-1)
    turned = turned @ mean_turn.swapaxes(-1, -2)[:, None]
    turned[still] = np.eye(3)
    shift_mm = poses[..., :3] - np.einsum("ntij,nj->nti", turned, mean[:, :3])
    shift_mm[still] = (poses[..., :3] - mean[:, None, :3])[still]
    return turned, shift_mm


def _wide(shares: Any, poses: Any) -> Any:
    return np.broadcast_to(shares[..., None], poses.shape)


def _nearest_rotation(matrices: Any) -> Any:
    """The rotation nearest each matrix (..., 3, 3): U diag(1, 1, det) V of its U S V."""
    left, _, right = np.linalg.svd(matrices)
    flipped = np.linalg.det(left @ right) < 0
    left[flipped, :, 2] *= -1
    return left @ right


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


@inlined
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


@inlined
def _row(image, n, m, z, y, ix, wx):
    """Four neighbours along x, those outside left out."""
    nx = image.shape[4]
    real, imaginary = float32(0), float32(0)
    if 1 <= ix < nx - 2:
        first, one, two, three = uint64(ix - 1), uint64(1), uint64(2), uint64(3)
        a, b = image[n, m, z, y, first], image[n, m, z, y, first + one]
        c, d = image[n, m, z, y, first + two], image[n, m, z, y, first + three]
        real = wx[0] * a.real + wx[1] * b.real + wx[2] * c.real + wx[3] * d.real
        imaginary = wx[0] * a.imag + wx[1] * b.imag + wx[2] * c.imag + wx[3] * d.imag
    else:
        for q in range(4):
            if 0 <= ix + q - 1 < nx:
                a = image[n, m, z, y, uint64(ix + q - 1)]
                real += wx[q] * a.real
                imaginary += wx[q] * a.imag
    return real, imaginary


@inlined
def _plane(image, n, m, z, iy, ix, wy, wx):
    """Sixteen neighbours in plane z; none of a plane outside."""
    real, imaginary = float32(0), float32(0)
    if 0 <= z < image.shape[2] and -2 <= ix <= image.shape[4]:
        for k in range(4):
            y = iy + k - 1
            if 0 <= y < image.shape[3]:
                a, b = _row(image, n, m, uint64(z), uint64(y), ix, wx)
                real += wy[k] * a
                imaginary += wy[k] * b
    return real, imaginary


@inlined
def _turn_at(line, x0, x1, out, image, matrix):
    """Voxels x0..x1 of a row."""
    _, parts, nz, ny, _ = image.shape
    n, m = line // (parts * nz * ny), line // (nz * ny) % parts
    oz, oy = line // ny % nz, line % ny
    vz, vy, a = float32(oz), float32(oy), matrix[n]
    z0 = a[0, 0] * vz + a[0, 1] * vy + a[0, 3]
    y0 = a[1, 0] * vz + a[1, 1] * vy + a[1, 3]
    x_0 = a[2, 0] * vz + a[2, 1] * vy + a[2, 3]
    az, ay, ax = a[0, 2], a[1, 2], a[2, 2]
    n, m = uint64(n), uint64(m)
    for ox in range(x0, x1):
        vx = float32(ox)
        z, y, x = z0 + az * vx, y0 + ay * vx, x_0 + ax * vx
        iz, iy, ix = below(z), below(y), below(x)
        tz, wy, wx = z - float32(iz), _keys(y - float32(iy)), _keys(x - float32(ix))
        real, imaginary = _plane(image, n, m, iz, iy, ix, wy, wx)
        if tz != float32(0):  # a whole slice has no neighbours
            wz = _keys(tz)
            real, imaginary = wz[1] * real, wz[1] * imaginary
            for j in range(4):
                if j != 1:
                    b, c = _plane(image, n, m, iz + j - 1, iy, ix, wy, wx)
                    real += wz[j] * b
                    imaginary += wz[j] * c
        out[n, m, oz, oy, ox] = complex(real, imaginary)


@loop
def _turn_cpu(out, image, matrix):
    width = out.shape[4]
    for line in prange(out.size // width):
        _turn_at(line, 0, width, out, image, matrix)


@cuda.jit
def _turn_gpu(out, image, matrix):
    i = cuda.grid(1)
    if i < out.size:
        x = i % out.shape[4]
        _turn_at(i // out.shape[4], x, x + 1, out, image, matrix)


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
