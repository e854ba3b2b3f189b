"""Noise of an MR receiver: complex Gaussian in every channel, and the magnitudes that it makes.

A magnitude with one channel is Rician (Gudbjartsson & Patz, MRM 1995); the root of the sum of
squares of several is non-central chi (Constantinides et al., MRM 1997). Both come by themselves
from noise on the real and the imaginary part; nothing here draws from those distributions.

Addresses: element j of a sample, counted along its last axis first through all its channels, gets
numbers 2 j (real) and 2 j + 1 (imaginary) of the sample's key: see `gaussian`. So a sample's noise
does not depend on its batch, and the noise of a magnitude is that of the complex image.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.gaussian import CHUNK, blocks_of, checked_count, fill_blocks

VOXELS = 4096  # that a CPU thread sums at once


@inlined
def _run(j, end, gain):
    """Where element j stands in the gain, and how many more of it follow in the same channel."""
    if gain.shape[1] == 1:
        return int64(0), end - j
    at = j % gain.shape[1]
    return at, min(end - j, gain.shape[1] - at)


@inlined
def _level(n, voxel, gain):
    return gain[n, voxel] if gain.shape[1] > 1 else gain[n, 0]


@body
def _add_at(n, first, last, out, normals, sd, gain, keys):
    """Elements of blocks first..last: two a block, each two numbers of `out`."""
    fill_blocks(normals, first, last, n, keys)
    n, level, one = uint64(n), sd[n], uint64(1)
    j, start, end = int64(2 * first), int64(2 * first), int64(min(2 * last, out.shape[1] // 2))
    while j < end:
        at, run = _run(j, end, gain)
        voxel, number, normal = uint64(at), uint64(2 * j), uint64(2 * (j - start))
        for i in range(uint64(run)):
            here, twice = level * _level(n, voxel + i, gain), i + i
            out[n, number + twice] += here * normals[normal + twice]
            out[n, number + twice + one] += here * normals[normal + twice + one]
        j += run


@loop
def _add_cpu(out, sd, gain, keys):
    blocks = (out.shape[1] + 3) // 4
    chunks = (blocks + CHUNK - 1) // CHUNK
    for r in prange(out.shape[0] * chunks):
        first = r % chunks * CHUNK
        normals = np.empty(4 * CHUNK, np.float32)
        _add_at(r // chunks, first, min(first + CHUNK, blocks), out, normals, sd, gain, keys)


@cuda.jit
def _add_gpu(out, sd, gain, keys):
    i = cuda.grid(1)
    blocks = (out.shape[1] + 3) // 4
    if i < out.shape[0] * blocks:
        normals = cuda.local.array(4, float32)
        _add_at(i // blocks, i % blocks, i % blocks + 1, out, normals, sd, gain, keys)


def add_complex(image: Any, sd: Any, keys: Any, gain: Any = None) -> None:
    """Add noise to the real and the imaginary part of each element of `image`, in place.

    image: (sample, ..., z, y, x) complex64, contiguous; every channel gets noise of its own.
    sd:    (sample,) float32, of each part, in the unit of the image.
    keys:  (sample, 5) uint32; gain: (sample, z, y, x) float32 that multiplies sd voxel by voxel,
    the same for all channels (a g-factor; see `coils`), or None.
    All on one side. Raises ValueError for shapes or types that do not fit.
    """
    if image.dtype != np.complex64:
        raise ValueError(f"complex noise goes into complex64, not {image.dtype}: see `rician`")
    count, gain = _checked(image, sd, keys, gain)
    if not image.flags.c_contiguous:
        raise ValueError("noise is added in place to a contiguous image; copy it first")
    out = image.reshape(image.shape[0], count).view(np.float32)
    launch(_add_cpu, _add_gpu, out.shape[0] * blocks_of(2 * count), out, sd, gain, keys)


@body
def _rician_at(n, first, last, out, image, normals, sd, gain, keys):
    """Magnitudes of blocks first..last; the image has a part or two for each of them."""
    fill_blocks(normals, first, last, n, keys)
    n, level, one = uint64(n), sd[n], uint64(1)
    parts = image.shape[1] // out.shape[1]
    j, start, end = int64(2 * first), int64(2 * first), int64(min(2 * last, out.shape[1]))
    while j < end:
        at, run = _run(j, end, gain)
        voxel, normal, j0 = uint64(at), uint64(2 * (j - start)), uint64(j)
        if parts == 1:
            for i in range(uint64(run)):
                here, twice = level * _level(n, voxel + i, gain), i + i
                real = image[n, j0 + i] + here * normals[normal + twice]
                imaginary = here * normals[normal + twice + one]
                out[n, j0 + i] = sqrt(real * real + imaginary * imaginary)
        else:
            for i in range(uint64(run)):
                here, twice = level * _level(n, voxel + i, gain), i + i
                real = image[n, j0 + j0 + twice] + here * normals[normal + twice]
                imaginary = image[n, j0 + j0 + twice + one] + here * normals[normal + twice + one]
                out[n, j0 + i] = sqrt(real * real + imaginary * imaginary)
        j += run


@loop
def _rician_cpu(out, image, sd, gain, keys):
    blocks = (out.shape[1] + 1) // 2
    chunks = (blocks + CHUNK - 1) // CHUNK
    for r in prange(out.shape[0] * chunks):
        first = r % chunks * CHUNK
        last = min(first + CHUNK, blocks)
        normals = np.empty(4 * CHUNK, np.float32)
        _rician_at(r // chunks, first, last, out, image, normals, sd, gain, keys)


@cuda.jit
def _rician_gpu(out, image, sd, gain, keys):
    i = cuda.grid(1)
    blocks = (out.shape[1] + 1) // 2
    if i < out.shape[0] * blocks:
        normals = cuda.local.array(4, float32)
        _rician_at(
            i // blocks, i % blocks, i % blocks + 1, out, image, normals, sd, gain, keys
        )  # fmt: skip


def rician(image: Any, sd: Any, keys: Any, gain: Any = None) -> Any:
    """The magnitude of an image with complex noise: float32 of the same shape, on its side.

    image: (sample, ..., z, y, x) float32, whose imaginary part is zero, or complex64; the rest as
    in `add_complex`. The bits are those of a magnitude after `add_complex`, but for rounding.
    """
    if image.dtype not in (np.float32, np.complex64):
        raise ValueError(f"a magnitude is made of float32 or complex64, not {image.dtype}")
    count, gain = _checked(image, sd, keys, gain)
    xp = xp_of(image)
    out = xp.empty((image.shape[0], count), np.float32)
    flat = xp.ascontiguousarray(image).reshape(image.shape[0], count).view(np.float32)
    blocks = out.shape[0] * blocks_of(2 * count)
    launch(_rician_cpu, _rician_gpu, blocks, out, flat, sd, gain, keys)
    return out.reshape(image.shape)


@body
def _squares_at(n, first, last, out, image):
    """Voxels first..last; the image has a part or two for each of them in each channel."""
    n, complex_parts, one = uint64(n), image.shape[2] > out.shape[1], uint64(1)
    for i in range(uint64(first), uint64(last)):
        out[n, i] = float32(0)
    for channel in range(uint64(image.shape[1])):
        if complex_parts:
            for i in range(uint64(first), uint64(last)):
                a, b = image[n, channel, i + i], image[n, channel, i + i + one]
                out[n, i] += a * a + b * b
        else:
            for i in range(uint64(first), uint64(last)):
                out[n, i] += image[n, channel, i] * image[n, channel, i]
    for i in range(uint64(first), uint64(last)):
        out[n, i] = sqrt(out[n, i])


@loop
def _squares_cpu(out, image):
    chunks = (out.shape[1] + VOXELS - 1) // VOXELS
    for r in prange(out.shape[0] * chunks):
        first = r % chunks * VOXELS
        _squares_at(r // chunks, first, min(first + VOXELS, out.shape[1]), out, image)


@cuda.jit
def _squares_gpu(out, image):
    i = cuda.grid(1)
    if i < out.size:
        voxel = i % out.shape[1]
        _squares_at(i // out.shape[1], voxel, voxel + 1, out, image)


def sum_of_squares(images: Any) -> Any:
    """The root of the sum of squares over coils, (sample, ...) float32: non-central chi with noise.

    images: (sample, coil, ...) complex64 or float32, at least one coil; on either side.
    """
    if images.ndim < 2 or images.dtype not in (np.float32, np.complex64) or not images.shape[1]:
        raise ValueError(
            "coil images are (sample, coil, ...) complex64 or float32 of one coil or more, not "
            f"{images.shape} {images.dtype}"
        )
    xp, (batch, coils, *rest) = xp_of(images), images.shape
    voxels = int(np.prod(rest))
    flat = xp.ascontiguousarray(images).reshape(batch, coils, voxels).view(np.float32)
    out = xp.empty((batch, voxels), np.float32)
    launch(_squares_cpu, _squares_gpu, out.size, out, flat)
    return out.reshape(batch, *rest)


def _checked(image: Any, sd: Any, keys: Any, gain: Any) -> tuple[int, Any]:
    """Elements of a sample, and the gain as (sample, voxel), or of 1 for None."""
    batch = image.shape[0]
    count = checked_count(keys, image.shape[1:], numbers=2)
    if sd.shape != (batch,) or sd.dtype != np.float32 or keys.shape[0] != batch:
        raise ValueError(
            f"sd {sd.shape} {sd.dtype} must be float32 and, as the {keys.shape[0]} keys, one for "
            f"each of {batch} samples"
        )
    if gain is None:
        return count, xp_of(image).ones((batch, 1), np.float32)
    if gain.shape != (batch, *image.shape[-3:]) or image.ndim < 4 or gain.dtype != np.float32:
        raise ValueError(
            f"a gain of {image.shape} is ({batch}, z, y, x) float32 of the same voxels, not "
            f"{gain.shape} {gain.dtype}"
        )
    return count, xp_of(gain).ascontiguousarray(gain).reshape(batch, -1)
