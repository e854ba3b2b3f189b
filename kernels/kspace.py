"""K-space: unitary Fourier transforms, crop and zero-fill, and one pass that weighs its lines.

K-space stays in the order of the FFT: index i along an axis of n is the frequency i, or i - n from
(n + 1) // 2 on, in cycles per field of view, so that no array is shifted back and forth.
`frequencies` names them, `centred` moves frequency 0 to the middle for pictures. Images have their
origin at index 0. Phase encoding runs along y (and z of a volume), readout along x; a line is what
one readout acquires: all x at one (z, y).

Whatever a scanner does to its lines (acquired matrix, echo train, ghosts, movement, chemical shift)
is a product of a weight per line and one along the line: `encode` does all of it in a pass.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numba
import numpy as np
import scipy.fft
from numba import cuda, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of

SLICES = (-2, -1)  # axes of the transform of 2-D slices, each on its own
VOLUME = (-3, -2, -1)


def to_kspace(image: Any, axes: Sequence[int] = SLICES, overwrite: bool = False) -> Any:
    """The unitary Fourier transform of `image` (sample, ..., z, y, x) complex64 along `axes`.

    `overwrite` lets it use the memory of `image`. Noise of standard deviation s keeps it.
    """
    return _transform("fftn", image, axes, overwrite)


def to_image(k: Any, axes: Sequence[int] = SLICES, overwrite: bool = False) -> Any:
    """The inverse of `to_kspace`."""
    return _transform("ifftn", k, axes, overwrite)


def _transform(name: str, array: Any, axes: Sequence[int], overwrite: bool) -> Any:
    if array.dtype != np.complex64:
        raise ValueError(f"Fourier transforms take complex64, not {array.dtype}")
    xp = xp_of(array)
    if xp is not np:
        return getattr(xp.fft, name)(array, axes=axes, norm="ortho")
    threads = numba.get_num_threads()
    return getattr(scipy.fft, name)(
        array, axes=axes, norm="ortho", overwrite_x=overwrite, workers=threads
    )


def frequencies(n: int) -> Any:
    """The frequency of each index along an axis of n, (n,) int64 in cycles per field of view."""
    i = np.arange(n)
    return np.where(i < (n + 1) // 2, i, i - n)


def centred(k: Any, axes: Sequence[int] = SLICES) -> Any:
    """`k` with frequency 0 at index n // 2 of each of `axes`, for pictures."""
    return xp_of(k).fft.fftshift(k, axes)


def crop(k: Any, shape: Sequence[int]) -> Any:
    """The lowest frequencies, -(n // 2) to (n - 1) // 2 along each of the last axes `shape`.

    The values stay: `zero_fill` of a crop is `k` with the rest set to 0. An image at the size of
    the crop keeps its brightness when it is multiplied by sqrt(points of `shape` / points of `k`).
    """
    out = xp_of(k).empty((*k.shape[: k.ndim - len(shape)], *shape), k.dtype)
    for small, large in _corners(out.shape, k.shape, len(shape)):
        out[small] = k[large]
    return out


def zero_fill(k: Any, shape: Sequence[int]) -> Any:
    """`k` amid zeros up to the last axes `shape`: finer pixels, no finer detail.

    The image's noise falls by the square root of the acquired fraction, and is correlated.
    """
    out = xp_of(k).zeros((*k.shape[: k.ndim - len(shape)], *shape), k.dtype)
    for small, large in _corners(k.shape, out.shape, len(shape)):
        out[large] = k[small]
    return out


def _corners(small: Sequence[int], large: Sequence[int], axes: int) -> list[tuple[Any, Any]]:
    """Slices of the corners that a small and a large k-space share."""
    pairs = []
    for n, wide in zip(small[-axes:], large[-axes:], strict=True):
        if not 0 < n <= wide:
            raise ValueError(f"a matrix of {n} does not fit into one of {wide}: at most {wide}")
        front, back = (n + 1) // 2, n // 2
        ends = [(slice(0, front), slice(0, front))]
        if back:
            ends.append((slice(n - back, n), slice(wide - back, wide)))
        pairs.append(ends)
    return [
        ((..., *(s for s, _ in corner)), (..., *(w for _, w in corner)))
        for corner in product(*pairs)
    ]


def ramp(n: int, shift_px: Any) -> Any:
    """Weights along an axis of n that move the image by shift_px (...,) towards larger indices.

    Returns (..., n) complex64 on the host: exp(-2 pi i f shift_px / n), the shift theorem. Whole
    pixels are exact and wrap around.
    """
    turns = frequencies(n) * (np.asarray(shift_px, np.float64)[..., None] / n)
    return np.exp(-2j * np.pi * turns).astype(np.complex64)


@body
def _encode_at(line, x0, x1, out, k, gain, along, row, added):
    """Points x0..x1 of a line: the sum of its pools, each under the weights of the line."""
    _, coils, nz, ny, _ = out.shape
    n, c = line // (coils * nz * ny), line // (nz * ny) % coils
    z, y = line // ny % nz, line % ny
    gz, rz = min(z, gain.shape[2] - 1), min(z, row.shape[1] - 1)
    r = row[n, rz, y]
    start, count = uint64(x0), uint64(x1 - x0)
    fresh = not added
    for p in range(k.shape[2]):
        q = min(p, gain.shape[1] - 1)
        s = min(p, along.shape[1] - 1)
        g = gain[n, q, gz, y]
        if r >= 0 and (g.real != 0 or g.imag != 0):
            if fresh:
                for x in range(count):
                    out[n, c, z, y, start + x] = k[n, c, p, z, y, start + x] * (
                        g * along[n, s, r, start + x]
                    )
            else:
                for x in range(count):
                    out[n, c, z, y, start + x] += k[n, c, p, z, y, start + x] * (
                        g * along[n, s, r, start + x]
                    )
            fresh = False
    if fresh:
        for x in range(count):
            out[n, c, z, y, start + x] = 0


@loop
def _encode_cpu(out, k, gain, along, row, added):
    width = out.shape[4]
    for line in prange(out.size // width):
        _encode_at(line, 0, width, out, k, gain, along, row, added)


@cuda.jit
def _encode_gpu(out, k, gain, along, row, added):
    i = cuda.grid(1)
    if i < out.size:
        width = out.shape[4]
        x = i % width
        _encode_at(i // width, x, x + 1, out, k, gain, along, row, added)


def encode(k: Any, gain: Any, along: Any, row: Any = None, out: Any = None) -> Any:
    """The sum over pools of k * gain * along: all weights of all lines, in one pass.

    k:     (sample, coil, pool, z, y, x) complex64, the k-space of each pool.
    gain:  (sample, pool or 1, z or 1, y) complex64, a weight per line; 0 writes zeros unread.
    along: (sample, pool or 1, row, x) complex64, weights along a line.
    row:   (sample, z or 1, y) int32, the row of `along` for each line; below 0 is 0 weight; 0s if
           None.
    out:   (sample, coil, z, y, x) complex64 to add to; None makes a new one.
    Returns `out`, on the side of `k`. Raises ValueError where shapes do not fit.
    """
    xp = xp_of(k)
    samples, coils, _, nz, ny, nx = _six(k)
    row = xp.zeros((samples, 1, ny), np.int32) if row is None else row
    _check_weights(k, gain, along, row)
    added = out is not None
    if out is None:
        out = xp.empty((samples, coils, nz, ny, nx), np.complex64)
    elif out.shape != (samples, coils, nz, ny, nx):
        raise ValueError(f"out {out.shape} does not fit k-space {k.shape}")
    launch(_encode_cpu, _encode_gpu, out.size, out, k, gain, along, row, added)
    return out


def weigh(k: Any, gain: Any, along: Any) -> Any:
    """`k` (sample, coil, z, y, x) complex64 times gain and along, in place; as in `encode`.

    gain: (sample, z or 1, y) complex64; along: (sample, x) complex64.
    """
    row = xp_of(k).zeros((k.shape[0], 1, k.shape[3]), np.int32)
    wide = k[:, :, None], gain[:, None], along[:, None, None]
    _six(wide[0])
    _check_weights(*wide, row)
    launch(_encode_cpu, _encode_gpu, k.size, k, *wide, row, False)
    return k


def _six(k: Any) -> tuple[int, ...]:
    if k.ndim != 6 or k.dtype != np.complex64:
        raise ValueError(
            f"k-space is (sample, coil, pool, z, y, x) complex64, not {k.shape} {k.dtype}"
        )
    return tuple(k.shape)


def _check_weights(k: Any, gain: Any, along: Any, row: Any) -> None:
    n, _, pools, nz, ny, nx = k.shape
    fits = (
        gain.ndim == 4
        and along.ndim == 4
        and gain.shape in {(n, p, z, ny) for p in (1, pools) for z in (1, nz)}
        and along.shape[:2] in {(n, 1), (n, pools)}
        and along.shape[2] > 0
        and along.shape[3] == nx
        and row.shape in {(n, 1, ny), (n, nz, ny)}
    )
    if fits and row.size and int(row.max()) >= along.shape[2]:
        raise ValueError(f"row {int(row.max())} is not in along {along.shape}")
    if not fits or gain.dtype != np.complex64 or along.dtype != np.complex64:
        raise ValueError(
            f"gain {gain.shape} {gain.dtype}, along {along.shape} {along.dtype} and row "
            f"{row.shape} do not fit k-space {k.shape}: they are complex64 and int32"
        )
