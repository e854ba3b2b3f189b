"""2-D slices with gaps, brought back to a grid: linear interpolation between acquired slices."""

from typing import Any

import numpy as np
from numba import cuda, float32, prange, uint64

from voxelmill.kernels.device import inlined, launch, loop, xp_of


@inlined
def _between_at(line, x0, x1, out, slices, places):
    """Voxels x0..x1 of a row."""
    _, nz, ny, _ = out.shape
    n, z, y = line // (nz * ny), line // ny % nz, line % ny
    count, at = places.shape[1], float32(z)
    upper = 0
    while upper < count and places[n, upper] < at:
        upper += 1
    lower, t = max(upper - 1, 0), float32(0)
    upper = min(upper, count - 1)
    if upper > lower:
        t = (at - places[n, lower]) / (places[n, upper] - places[n, lower])
    for x in range(uint64(x0), uint64(x1)):
        out[n, z, y, x] = slices[n, lower, y, x] * (float32(1) - t) + slices[n, upper, y, x] * t


@loop
def _between_cpu(out, slices, places):
    width = out.shape[3]
    for line in prange(out.size // width):
        _between_at(line, 0, width, out, slices, places)


@cuda.jit
def _between_gpu(out, slices, places):
    i = cuda.grid(1)
    if i < out.size:
        x = i % out.shape[3]
        _between_at(i // out.shape[3], x, x + 1, out, slices, places)


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
    samples, _, ny, nx = slices.shape
    out = xp_of(slices).empty((samples, depth, ny, nx), slices.dtype)
    launch(_between_cpu, _between_gpu, out.size, out, slices, places_vox)
    return out
