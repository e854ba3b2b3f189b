"""Homodyne reconstruction of partial Fourier data.

Lines whose mirror image was not acquired count twice, and the real part is taken after the phase of
the symmetric, low-resolution part is removed: exact where the phase is that of the low-resolution
image, above all where there is none. Source: Noll, Nishimura, Macovski, "Homodyne detection in
magnetic resonance imaging", IEEE TMI 1991.
"""

from typing import Any

import numpy as np
from numba import cuda, prange

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.kspace import frequencies


def weights(lines: Any) -> tuple[Any, Any]:
    """Weights of the full and of the low-resolution image: two (sample, n) float32.

    lines: (sample, n) bool, acquired lines from `lines.acquired`. The full ones fall as a ramp over
    the lines acquired on both sides; a line and its mirror image have 2 together. The others taper
    to 0 as a cosine at the end of that band.
    """
    n = lines.shape[1]
    f = frequencies(n)
    band = np.where(lines, f, -1).max(1, keepdims=True)  # the highest line with both sides
    ramp = np.clip(1 - f / (band + 1), 0, 2)
    ramp = np.where(2 * f == -n, 1, ramp)  # its own mirror image
    taper = (1 + np.cos(np.pi * np.minimum(np.abs(f) / (band + 1), 1))) / 2
    return (lines * ramp).astype(np.float32), (lines * taper).astype(np.float32)


@body
def _detect_at(i, out, full, low):
    a, b = full[i], low[i]
    power = b.real * b.real + b.imag * b.imag
    if power > 0:
        share = (a.real * b.real + a.imag * b.imag) / power
        a = share * b
    out[i] = a


@loop
def _detect_cpu(out, full, low):
    for i in prange(out.size):
        _detect_at(i, out, full, low)


@cuda.jit
def _detect_gpu(out, full, low):
    i = cuda.grid(1)
    if i < out.size:
        _detect_at(i, out, full, low)


def detect(full: Any, low: Any) -> Any:
    """The part of `full` in phase with `low`, with that phase; in place, complex64 of one shape.

    full and low are images of k-space under the two `weights`; where low is 0, full stays.
    """
    if full.shape != low.shape or full.dtype != np.complex64 or low.dtype != np.complex64:
        raise ValueError(
            f"full {full.shape} {full.dtype} and low {low.shape} {low.dtype} are complex64 of one "
            "shape"
        )
    xp = xp_of(full)
    flat, other = xp.ravel(full), xp.ravel(low)
    launch(_detect_cpu, _detect_gpu, flat.size, flat, flat, other)
    return flat.reshape(full.shape)
