"""Pull images through a warp: trilinear or cubic, zero outside.

A warp is an affine and a displacement as in `places`, which says where each output voxel looks.
"""

from math import floor
from typing import Any

import numpy as np
from numba import cuda, float32, int32, int64, prange, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.places import along_x, checked_warp, places_at


@body
def _split_at(x0, x1, places, found, first, images):
    """Places -> the voxel below, or -1 where not all neighbours are in the image; and the rest.

    `first` is 0 for two neighbours along an axis, 1 for four.
    """
    height, width = int32(images.shape[2]), int32(images.shape[3])
    least, last_z = float32(first), float32(images.shape[1] - 1 - first)
    last_y, last_x = float32(height - 1 - first), float32(width - 1 - first)
    for i in range(uint64(x1 - x0)):
        pz, py, px = places[0, i], places[1, i], places[2, i]
        inside = (pz >= least) & (py >= least) & (px >= least)
        inside = inside & (pz < last_z) & (py < last_y) & (px < last_x)
        z, y, x = int32(pz), int32(py), int32(px)
        found[i] = (z * height + y) * width + x if inside else int32(-1)
        places[0, i] = pz - float32(z) if inside else pz
        places[1, i] = py - float32(y) if inside else py
        places[2, i] = px - float32(x) if inside else px


@inlined
def _square(flat, k, width, ty, tx):
    """Bilinear between voxel k and its neighbours along x and y."""
    one = uint64(1)
    near, far = flat[k], flat[k + width]
    near += (flat[k + one] - near) * tx
    far += (flat[k + width + one] - far) * tx
    return near + (far - near) * ty


@body
def _linear_at_face(m, pz, py, px, images):
    """Trilinear where the image may end: it is zero outside."""
    _, depth, height, width = images.shape
    total = images.dtype.type(0)
    if (
        float32(-1) < pz < float32(depth)
        and float32(-1) < py < float32(height)
        and float32(-1) < px < float32(width)
    ):
        cz, cy, cx = int64(floor(pz)), int64(floor(py)), int64(floor(px))
        tz, ty, tx = pz - float32(cz), py - float32(cy), px - float32(cx)
        for corner in range(8):
            kz, ky, kx = cz + (corner >> 2), cy + (corner >> 1 & 1), cx + (corner & 1)
            if 0 <= kz < depth and 0 <= ky < height and 0 <= kx < width:
                weight = tz if corner & 4 else float32(1) - tz
                weight *= ty if corner & 2 else float32(1) - ty
                weight *= tx if corner & 1 else float32(1) - tx
                total += weight * images[m, uint64(kz), uint64(ky), uint64(kx)]
    return total


@body
def _linear_at(n, z, y, x0, x1, out, places, found, images, flat, which):
    """Voxels x0..x1 of a row, trilinear."""
    m = uint64(which[n])
    n, z, y, width = uint64(n), uint64(z), uint64(y), uint64(images.shape[3])
    plane = width * uint64(images.shape[2])
    start = m * plane * uint64(images.shape[1])
    _split_at(x0, x1, places, found, 0, images)
    for i in range(uint64(x1 - x0)):
        tz, ty, tx = places[0, i], places[1, i], places[2, i]
        if found[i] >= 0:
            k = start + uint64(found[i])
            near = _square(flat, k, width, ty, tx)
            total = near + (_square(flat, k + plane, width, ty, tx) - near) * tz
        else:
            total = _linear_at_face(m, tz, ty, tx, images)
        out[n, z, y, uint64(x0) + i] = total


@inlined
def _keys_weights(t):
    """Keys' cubic convolution with a = -1/2 at t in [0, 1) between the middle two of four."""
    half, one, two, three = float32(0.5), float32(1), float32(2), float32(3)
    four, five = float32(4), float32(5)
    return (
        half * t * (t * (two - t) - one),
        half * (t * t * (three * t - five) + two),
        half * t * (t * (four - three * t) + one),
        half * t * t * (t - one),
    )


@inlined
def _row(flat, k, w):
    one, two = uint64(1), uint64(2)
    return w[0] * flat[k - one] + w[1] * flat[k] + w[2] * flat[k + one] + w[3] * flat[k + two]


@inlined
def _patch(flat, k, width, v, w):
    """The sixteen neighbours of voxel k along x and y under their weights w and v."""
    return (
        v[0] * _row(flat, k - width, w)
        + v[1] * _row(flat, k, w)
        + v[2] * _row(flat, k + width, w)
        + v[3] * _row(flat, k + width + width, w)
    )


@body
def _cubic_at_face(m, pz, py, px, images):
    """Cubic convolution where the image may end: it is zero outside."""
    _, depth, height, width = images.shape
    total = images.dtype.type(0)
    if (
        float32(-2) < pz < float32(depth + 1)
        and float32(-2) < py < float32(height + 1)
        and float32(-2) < px < float32(width + 1)
    ):
        cz, cy, cx = int64(floor(pz)), int64(floor(py)), int64(floor(px))
        u = _keys_weights(pz - float32(cz))
        v = _keys_weights(py - float32(cy))
        w = _keys_weights(px - float32(cx))
        for iz in range(max(0, 1 - cz), min(4, depth + 1 - cz)):
            for iy in range(max(0, 1 - cy), min(4, height + 1 - cy)):
                for ix in range(max(0, 1 - cx), min(4, width + 1 - cx)):
                    kz, ky, kx = cz + iz - 1, cy + iy - 1, cx + ix - 1
                    weight = u[iz] * v[iy] * w[ix]
                    total += weight * images[m, uint64(kz), uint64(ky), uint64(kx)]
    return total


@body
def _cubic_at(n, z, y, x0, x1, out, places, found, images, flat, which):
    """Voxels x0..x1 of a row by cubic convolution."""
    m = uint64(which[n])
    n, z, y, width = uint64(n), uint64(z), uint64(y), uint64(images.shape[3])
    plane = width * uint64(images.shape[2])
    start = m * plane * uint64(images.shape[1])
    _split_at(x0, x1, places, found, 1, images)
    for i in range(uint64(x1 - x0)):
        tz, ty, tx = places[0, i], places[1, i], places[2, i]
        if found[i] >= 0:
            k = start + uint64(found[i])
            u, v, w = _keys_weights(tz), _keys_weights(ty), _keys_weights(tx)
            total = u[0] * _patch(flat, k - plane, width, v, w)
            total += u[1] * _patch(flat, k, width, v, w)
            total += u[2] * _patch(flat, k + plane, width, v, w)
            total += u[3] * _patch(flat, k + plane + plane, width, v, w)
        else:
            total = _cubic_at_face(m, tz, ty, tx, images)
        out[n, z, y, uint64(x0) + i] = total


@loop
def _pull_cpu(out, images, flat, which, affine, along, cubic):
    samples, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        places, found = np.empty((3, width), np.float32), np.empty(width, np.int32)
        places_at(n, z, y, 0, width, places, out.shape, affine, along, 1, 1)
        if cubic:
            _cubic_at(n, z, y, 0, width, out, places, found, images, flat, which)
        else:
            _linear_at(n, z, y, 0, width, out, places, found, images, flat, which)


@cuda.jit
def _pull_gpu(out, images, flat, which, affine, along, cubic):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height, width = out.shape
        r, x = i // width, i % width
        n, z, y = r // (depth * height), r // height % depth, r % height
        places, found = cuda.local.array((3, 1), float32), cuda.local.array(1, int32)
        places_at(n, z, y, x, x + 1, places, out.shape, affine, along, 1, 1)
        if cubic:
            _cubic_at(n, z, y, x, x + 1, out, places, found, images, flat, which)
        else:
            _linear_at(n, z, y, x, x + 1, out, places, found, images, flat, which)


def pull(
    images: Any, which: Any, affine: Any, displacement: Any, shape: tuple[int, int, int],
    cubic: bool = False,
) -> Any:  # fmt: skip
    """The images that a warp shows: trilinear, or by cubic convolution; zero outside.

    images: (image, z, y, x) float32 or complex64; which: (sample,) int32, each sample's image.
    affine, displacement, shape: as in `warp.pull_labels`.
    Returns (sample, z, y, x) of the images' dtype, on their side. Cubic is Keys' convolution with
    a = -1/2 (IEEE Trans. ASSP 1981): it passes through the voxels, keeps quadratics and edges, and
    may overshoot by a few per cent of an edge's height.
    """
    if images.ndim != 4 or images.dtype not in (np.float32, np.complex64):
        raise ValueError(
            f"images are (image, z, y, x) float32 or complex64, not {images.shape} {images.dtype}"
        )
    if images[:1].size >= 2**31:
        raise ValueError(f"an image of {images[:1].size} voxels: 2**31 - 1 can be addressed")
    shift = checked_warp(which, affine, displacement, images.shape[0])
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"an output has a shape (z, y, x) of 1 or more each, not {shape}")
    xp = xp_of(images)
    out = xp.empty((which.shape[0], *shape), images.dtype)
    along, flat = along_x(affine, shift, shape[2], 1), xp.ascontiguousarray(images).reshape(-1)
    warp = (which, affine, along, bool(cubic))
    launch(_pull_cpu, _pull_gpu, out.size, out, images, flat, *warp)
    return out
