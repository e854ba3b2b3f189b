"""Lower resolution on the same grid: what a coarser acquisition, brought back by lines, shows.

Along each axis a volume is blurred by a Gaussian as wide at half height as the coarser samples are
apart, taken at these samples, and joined by straight lines between them: one small matrix an axis.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.tiles import on_host

SD = 1 / np.sqrt(8 * np.log(2))  # of a Gaussian of full width 1 at half its height
REACH = 2.5  # of the Gaussian, in standard deviations
COARSEST = 32.0  # voxels
STRETCH = 4096  # of a plane, summed at once: what stays in the first cache


@body
def _planes_at(a, i, j0, j1, out, volume, starts, weights):
    """Values j0..j1 of out[a, i]: weighted values of volume[a] along its middle axis."""
    n = uint64(a // (out.shape[0] // weights.shape[0]))
    a, i = uint64(a), uint64(i)
    first = uint64(starts[n, i])
    for j in range(uint64(j0), uint64(j1)):
        out[a, i, j] = float32(0)
    for k in range(uint64(weights.shape[1])):
        weight = weights[n, k, i]
        if weight != float32(0):
            for j in range(uint64(j0), uint64(j1)):
                out[a, i, j] += weight * volume[a, first + k, j]


@loop
def _planes_cpu(out, volume, starts, weights):
    for r in prange(out.shape[0] * out.shape[1]):
        a, i = r // out.shape[1], r % out.shape[1]
        for j in range(0, out.shape[2], STRETCH):
            _planes_at(a, i, j, min(j + STRETCH, out.shape[2]), out, volume, starts, weights)


@cuda.jit
def _planes_gpu(out, volume, starts, weights):
    i = cuda.grid(1)
    if i < out.size:
        r, j = i // out.shape[2], i % out.shape[2]
        _planes_at(r // out.shape[1], r % out.shape[1], j, j + 1, out, volume, starts, weights)


@body
def _lines_at(a, x0, x1, out, volume, starts, weights):
    """Voxels x0..x1 of line a: weighted values along it."""
    n, a = uint64(a // (out.shape[0] // weights.shape[0])), uint64(a)
    for x in range(uint64(x0), uint64(x1)):
        out[a, x] = float32(0)
    for k in range(uint64(weights.shape[1])):
        for x in range(uint64(x0), uint64(x1)):
            out[a, x] += weights[n, k, x] * volume[a, uint64(starts[n, x]) + k]


@loop
def _lines_cpu(out, volume, starts, weights):
    for a in prange(out.shape[0]):
        _lines_at(a, 0, out.shape[1], out, volume, starts, weights)


@cuda.jit
def _lines_gpu(out, volume, starts, weights):
    i = cuda.grid(1)
    if i < out.size:
        x = i % out.shape[1]
        _lines_at(i // out.shape[1], x, x + 1, out, volume, starts, weights)


def coarsened(images: Any, spacing_vox: Any) -> Any:
    """The images as if acquired with samples `spacing_vox` apart: float32, same shape and side.

    images: (sample, z, y, x) float32; spacing_vox: (sample, 3) float32 along z, y, x, from 1 (the
    axis stays as it is) to `COARSEST`. Raises ValueError for what does not fit.
    """
    if images.ndim != 4 or images.dtype != np.float32:
        raise ValueError(f"images are (sample, z, y, x) float32, not {images.shape} {images.dtype}")
    spacing = on_host(spacing_vox).astype(np.float64)
    if spacing.shape != (images.shape[0], 3) or not ((spacing >= 1) & (spacing <= COARSEST)).all():
        raise ValueError(
            f"spacing_vox is ({images.shape[0]}, 3) from 1 to {COARSEST} voxels, not {spacing}"
        )
    xp, (batch, depth, height, width) = xp_of(images), images.shape
    made = xp.ascontiguousarray(images)
    for axis, (cpu, gpu, form) in enumerate(
        (
            (_planes_cpu, _planes_gpu, (batch, depth, height * width)),
            (_planes_cpu, _planes_gpu, (batch * depth, height, width)),
            (_lines_cpu, _lines_gpu, (batch * depth * height, width)),
        )
    ):
        if (spacing[:, axis] > 1).any():
            starts, weights = (xp.asarray(t) for t in _bands(form[1], spacing[:, axis]))
            volume = made.reshape(form)
            made = xp.empty_like(volume)
            launch(cpu, gpu, made.size, made, volume, starts, weights)
    return made.reshape(images.shape)


def _bands(count: int, spacings: Any) -> tuple[Any, Any]:
    """Of each sample and voxel: the first voxel that it is made of, (sample, voxel) int32, and the
    weights of that and the next ones, (sample, tap, voxel) float32.
    """
    matrices = np.stack([matrix(count, float(spacing)) for spacing in spacings])
    held = matrices != 0
    first, past = held.argmax(2), count - held[:, :, ::-1].argmax(2)
    taps = int((past - first).max())
    starts = np.minimum(first, count - taps)
    places = starts[:, :, None] + np.arange(taps)
    weights = np.take_along_axis(matrices, places, 2).swapaxes(1, 2)
    return starts.astype(np.int32), np.ascontiguousarray(weights, np.float32)


def matrix(count: int, spacing: float) -> Any:
    """What each of `count` voxels becomes of all of them: (voxel, voxel), rows of sum 1."""
    if spacing == 1:
        return np.eye(count)
    number = max(1, round(count / spacing))
    centres = (np.arange(number) + 0.5) * count / number - 0.5
    away = (np.arange(count) - centres[:, None]) / (spacing * SD)
    blur = np.where(np.abs(away) <= REACH, np.exp(-(away**2) / 2), 0)
    blur /= blur.sum(1, keepdims=True)
    at = np.clip((np.arange(count) + 0.5) * number / count - 0.5, 0, number - 1)
    low = np.minimum(at.astype(int), max(number - 2, 0))
    share = (at - low)[:, None]
    return (1 - share) * blur[low] + share * blur[np.minimum(low + 1, number - 1)]
