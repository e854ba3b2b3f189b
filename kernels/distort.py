"""Geometric distortion by an inhomogeneous static field, along one axis.

A voxel off resonance by B0 hertz is shown B0 / (hertz per pixel) pixels away along the readout of a
gradient or spin echo, and along the phase encoding of an echo-planar image, whose hertz per pixel
are few. Each voxel is a piece of the line whose ends are moved by the mean field of the two voxels
that meet there; its signal is spread evenly over where it comes to lie. So signal is piled up and
thinned out as the Jacobian says, lines that fold onto themselves add up, and the sum of a line is
kept. Source: Jezzard & Balaban, MRM 1995.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, prange, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.elastic import below

TINY = 1e-5  # pixels: a piece shorter than this falls into one pixel
WIDE = 32  # columns that a CPU thread takes together


@inlined
def _end(j, hertz, n, outer, inner, count):
    """The field at the end that voxels j - 1 and j share."""
    before, after = uint64(max(j - 1, 0)), uint64(min(j, count - 1))
    return float32(0.5) * (hertz[n, outer, before, inner] + hertz[n, outer, after, inner])


@inlined
def _spread(out, n, m, outer, j, inner, image, hertz, scale, wrap):
    """Voxel j of a line, spread over where it comes to lie; pixel q is [q, q + 1)."""
    count = out.shape[3]
    a = float32(j) + scale * _end(j, hertz, n, outer, inner, count)
    b = float32(j + 1) + scale * _end(j + 1, hertz, n, outer, inner, count)
    low, high = min(a, b), max(a, b)
    value = image[n, m, outer, uint64(j), inner]
    left, length, first, last = low, high - low, below(low), below(high)
    if not length > float32(TINY):
        last = first
    for q in range(first, last + 1):
        right, share = min(high, float32(q + 1)), float32(1)
        if length > float32(TINY):
            share = (right - left) / length
        place = q % count if wrap else q
        if share > float32(0) and 0 <= place < count:
            out[n, m, outer, uint64(place), inner] += value * share
        left = right


@body
def _distort_at(line, first, last, out, image, hertz, px_per_hz, wrap):
    """Columns first..last of the lines beside each other; each by itself."""
    _, parts, outers, count, _ = image.shape
    n, m, outer = line // (parts * outers), line // outers % parts, line % outers
    scale, n, m, outer = px_per_hz[n], uint64(n), uint64(m), uint64(outer)
    for j in range(uint64(count)):
        for inner in range(uint64(first), uint64(last)):
            if scale == float32(0):
                out[n, m, outer, j, inner] = image[n, m, outer, j, inner]
            else:
                out[n, m, outer, j, inner] = 0
    if scale == float32(0):
        return
    for j in range(count):
        for inner in range(uint64(first), uint64(last)):
            _spread(out, n, m, outer, j, inner, image, hertz, scale, wrap)


@loop
def _distort_cpu(out, image, hertz, px_per_hz, wrap):
    inners = out.shape[4]
    chunks = (inners + WIDE - 1) // WIDE
    for r in prange(out.size // (out.shape[3] * inners) * chunks):
        first = r % chunks * WIDE
        last = min(first + WIDE, inners)
        _distort_at(r // chunks, first, last, out, image, hertz, px_per_hz, wrap)


@cuda.jit
def _distort_gpu(out, image, hertz, px_per_hz, wrap):
    i = cuda.grid(1)
    if i < out.size // out.shape[3]:
        line, inner = i // out.shape[4], i % out.shape[4]
        _distort_at(line, inner, inner + 1, out, image, hertz, px_per_hz, wrap)


def distort(image: Any, b0_hz: Any, px_per_hz: Any, axis: int = -1, wrap: bool = False) -> Any:
    """`image` as a scanner with the field b0_hz shows it.

    image:     (sample, ..., z, y, x) complex64, or float32: shares of tissues, divided by their sum
               afterwards, follow the image in this way.
    b0_hz:     (sample, z, y, x) float32, at the true places.
    px_per_hz: (sample,) float32, 1 / bandwidth of a pixel; its sign is that of the gradient. For an
               echo-planar image along y: echo spacing in seconds times the number of lines.
    axis:      -1 along x, -2 along y.
    wrap:      what leaves the field of view comes back at its other end, as along phase encoding;
               else it is lost, as along the readout.
    Returns the shape and side of `image`. Samples where px_per_hz is 0 come back bit for bit.
    """
    xp, samples = xp_of(image), image.shape[0]
    if image.dtype not in (np.complex64, np.float32) or b0_hz.shape != (samples, *image.shape[-3:]):
        raise ValueError(f"b0_hz {b0_hz.shape} does not fit images {image.shape} {image.dtype}")
    if b0_hz.dtype != np.float32 or px_per_hz.shape != (samples,) or axis not in (-1, -2):
        raise ValueError(
            f"b0_hz and px_per_hz (sample,) are float32, axis is -1 or -2, not {b0_hz.dtype}, "
            f"{px_per_hz.shape} and {axis}"
        )
    nz, ny, nx = image.shape[-3:]
    tail = (nz * ny, nx, 1) if axis == -1 else (nz, ny, nx)
    folded, field = image.reshape(samples, -1, *tail), b0_hz.reshape(samples, *tail)
    out = xp.empty(folded.shape, image.dtype)
    scale = px_per_hz.astype(np.float32)
    launch(_distort_cpu, _distort_gpu, out.size // tail[1], out, folded, field, scale, wrap)
    return out.reshape(image.shape)
