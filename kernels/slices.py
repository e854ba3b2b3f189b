"""2-D slices with gaps, brought back to a grid: linear interpolation between acquired slices."""

from typing import Any

import numpy as np
from numba import cuda, float32, prange

from voxelmill.kernels.device import body, launch, loop, xp_of


@body
def _between_at(i, out, slices, places):
    _, nz, plane = out.shape
    n, z, v = i // (nz * plane), i // plane % nz, i % plane
    count, at = places.shape[1], float32(z)
    upper = 0
    while upper < count and places[n, upper] < at:
        upper += 1
    if upper == 0:
        out[n, z, v] = slices[n, 0, v]
    elif upper == count:
        out[n, z, v] = slices[n, count - 1, v]
    else:
        low, high = places[n, upper - 1], places[n, upper]
        t = (at - low) / (high - low)
        out[n, z, v] = slices[n, upper - 1, v] * (float32(1) - t) + slices[n, upper, v] * t


@loop
def _between_cpu(out, slices, places):
    for i in prange(out.size):
        _between_at(i, out, slices, places)


@cuda.jit
def _between_gpu(out, slices, places):
    i = cuda.grid(1)
    if i < out.size:
        _between_at(i, out, slices, places)


def between(slices: Any, places_vox: Any, depth: int) -> Any:
    """A volume of `depth` grid planes between acquired slices.

    slices:     (sample, slice, y, x) float32 or complex64.
    places_vox: (sample, slice) float32, rising: the slices' centres in voxels of the grid along z,
                integer = centre. Beyond the first and the last, these are repeated.
    Returns (sample, depth, y, x) of the same dtype and side.
    """
    if slices.ndim != 4 or places_vox.shape != slices.shape[:2]:
        raise ValueError(f"places_vox {places_vox.shape} does not fit slices {slices.shape}")
    if places_vox.dtype != np.float32 or not (places_vox[:, 1:] > places_vox[:, :-1]).all():
        raise ValueError("places_vox must be float32 and rise from slice to slice")
    samples, count, ny, nx = slices.shape
    out = xp_of(slices).empty((samples, depth, ny * nx), slices.dtype)
    flat = slices.reshape(samples, count, ny * nx)
    launch(_between_cpu, _between_gpu, out.size, out, flat, places_vox)
    return out.reshape(samples, depth, ny, nx)
