"""The phase that a field off resonance leaves in complex images until their echo."""

from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of

VOXELS = 2048  # that a CPU thread takes at once


@body
def _phasors(n, first, last, s, c, off_hz, seconds):
    """Sine and cosine of the phase of voxels first..last, by series of half the angle: 2e-7."""
    half, one = float32(0.5), float32(1)
    n, first, time = uint64(n), uint64(first), seconds[n]
    for i in range(uint64(last) - first):
        turns = off_hz[n, first + i] * time
        turns -= float32(int32(turns + (half if turns > float32(0) else -half)))
        x = turns * float32(np.pi)
        q = x * x
        a = float32(1 / 362880) - q * float32(1 / 39916800)
        a = float32(1 / 120) - q * (float32(1 / 5040) - q * a)
        a = x * (one - q * (float32(1 / 6) - q * a))
        b = float32(1 / 40320) - q * (float32(1 / 3628800) - q * float32(1 / 479001600))
        b = float32(1 / 24) - q * (float32(1 / 720) - q * b)
        b = one - q * (half - q * b)
        s[i], c[i] = (a + a) * b, one - (a + a) * a


@body
def _turn_at(n, first, last, out, s, c, off_hz, seconds):
    """Voxels first..last of each image of sample n; s and c (last - first,) are scratch."""
    _phasors(n, first, last, s, c, off_hz, seconds)
    n, one = uint64(n), uint64(1)
    for image in range(uint64(out.shape[1])):
        start = uint64(first) + uint64(first)
        for i in range(uint64(last - first)):
            at = start + i + i
            real, imaginary = out[n, image, at], out[n, image, at + one]
            out[n, image, at] = real * c[i] - imaginary * s[i]
            out[n, image, at + one] = real * s[i] + imaginary * c[i]


@loop
def _turn_cpu(out, off_hz, seconds):
    samples, voxels = off_hz.shape
    chunks = (voxels + VOXELS - 1) // VOXELS
    for r in prange(samples * chunks):
        first = r % chunks * VOXELS
        s, c = np.empty(VOXELS, np.float32), np.empty(VOXELS, np.float32)
        _turn_at(r // chunks, first, min(first + VOXELS, voxels), out, s, c, off_hz, seconds)


@cuda.jit
def _turn_gpu(out, off_hz, seconds):
    i = cuda.grid(1)
    voxels = off_hz.shape[1]
    if i < off_hz.size:
        s, c = cuda.local.array(1, float32), cuda.local.array(1, float32)
        _turn_at(i // voxels, i % voxels, i % voxels + 1, out, s, c, off_hz, seconds)


def turn(images: Any, off_hz: Any, seconds: Any) -> None:
    """Multiply images by exp(2 pi i off_hz seconds), in place.

    images:  (sample, ..., z, y, x) complex64, contiguous.
    off_hz:  (sample, z, y, x) float32, how far each voxel is off resonance; below 1e6 turns.
    seconds: (sample,) float32, of precession; negative to turn back.
    All on one side. Raises ValueError for shapes or types that do not fit.
    """
    samples = images.shape[0]
    if images.dtype != np.complex64 or not images.flags.c_contiguous:
        raise ValueError(f"images are contiguous complex64, not {images.dtype}")
    if off_hz.shape != (samples, *images.shape[-3:]) or off_hz.dtype != np.float32:
        raise ValueError(f"off_hz {off_hz.shape} {off_hz.dtype} does not fit {images.shape}")
    if seconds.shape != (samples,) or seconds.dtype != np.float32:
        raise ValueError(f"seconds are ({samples},) float32, not {seconds.shape} {seconds.dtype}")
    voxels = int(np.prod(images.shape[-3:]))
    flat = xp_of(images).ascontiguousarray(off_hz).reshape(samples, voxels)
    out = images.view(np.float32).reshape(samples, -1, 2 * voxels)
    launch(_turn_cpu, _turn_gpu, flat.size, out, flat, seconds)
