"""The look of the peers' generators: one Gaussian a label, and labels divided into classes.

Labels are numbers of rows of a label table, at most 256.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64
from scipy.special import ndtri

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.gaussian import CHUNK, blocks_of, checked_count, fill_blocks

ROWS = 256  # of a label table, at most


def check_rows(labels: Any, rows: int) -> None:
    """Raise ValueError for a label that has no row, or for more rows than labels can be."""
    if rows > ROWS or (labels.size and int(labels.max()) >= rows):
        raise ValueError(
            f"a label is {labels.max()}, and the table has {rows} rows (at most {ROWS}): give it "
            "one for each label"
        )


@body
def _gaussian_at(n, first, last, out, labels, normals, means, sds, gain):
    """Voxels of blocks first..last, whose normals are there: mean, deviation, gain."""
    n, start = uint64(n), uint64(4 * first)
    for k in range(uint64(min(4 * last, out.shape[1]) - 4 * first)):
        row = uint64(labels[n, start + k])
        value = means[n, row] + sds[n, row] * normals[k]
        out[n, start + k] = value * gain[n, start + k] if gain.shape[1] else value


@loop
def _gaussian_cpu(out, labels, means, sds, gain, keys):
    blocks = (out.shape[1] + 3) // 4
    chunks = (blocks + CHUNK - 1) // CHUNK
    for r in prange(out.shape[0] * chunks):
        n, first = r // chunks, r % chunks * CHUNK
        last = min(first + CHUNK, blocks)
        normals = np.empty(4 * CHUNK, np.float32)
        fill_blocks(normals, first, last, n, keys)
        _gaussian_at(n, first, last, out, labels, normals, means, sds, gain)


@cuda.jit
def _gaussian_gpu(out, labels, means, sds, gain, keys):
    i = cuda.grid(1)
    blocks = (out.shape[1] + 3) // 4
    if i < out.shape[0] * blocks:
        n, first = i // blocks, i % blocks
        normals = cuda.local.array(4, float32)
        fill_blocks(normals, first, first + 1, n, keys)
        _gaussian_at(n, first, first + 1, out, labels, normals, means, sds, gain)


def gaussian_labels(labels: Any, mean: Any, sd: Any, keys: Any, gain: Any = None) -> Any:
    """One Gaussian a label, (sample, z, y, x) float32: the generator of SynthSeg and its kin.

    labels: (sample, z, y, x) uint8 rows; mean, sd: (sample, row) float32, at most 256 rows.
    keys:   (sample, 5) uint32: voxel j of a sample takes number j, as in `gaussian.white`.
    gain:   (sample, z, y, x) float32 by which mean and deviation are multiplied (a bias field is
            the exponential of a smooth one), or None. Source: Billot et al., Med. Image Anal. 2023.
    Raises ValueError for shapes that disagree and for a label that has no row.
    """
    batch, shape = labels.shape[0], labels.shape
    if labels.dtype != np.uint8 or mean.shape != sd.shape or mean.ndim != 2:
        raise ValueError(
            f"labels are uint8, mean and sd (sample, row) alike, not {labels.dtype}, {mean.shape} "
            f"and {sd.shape}"
        )
    count = checked_count(keys, shape[1:])
    if not batch == keys.shape[0] == mean.shape[0] or {mean.dtype, sd.dtype} != {np.dtype("f4")}:
        raise ValueError(
            f"{batch} samples need as many keys ({keys.shape[0]}) and rows of means "
            f"({mean.shape[0]}), float32"
        )
    if gain is not None and (gain.shape != shape or gain.dtype != np.float32):
        raise ValueError(f"a gain of {shape} is float32 of that shape, not {gain.shape}")
    check_rows(labels, mean.shape[1])
    xp = xp_of(labels)
    gain = xp.empty((batch, 0), np.float32) if gain is None else gain.reshape(batch, count)
    out = xp.empty((batch, count), np.float32)
    args = (labels.reshape(batch, count), mean, sd, gain, keys)
    launch(_gaussian_cpu, _gaussian_gpu, batch * blocks_of(count), out, *args)
    return out.reshape(shape)


@body
def _divide_at(n, first, last, out, labels, field, cuts):
    """Voxels first..last: the row, and how many of its cuts lie at or below the field."""
    n, classes = uint64(n), cuts.shape[2] + 1
    for k in range(uint64(first), uint64(last)):
        row, value = uint64(labels[n, k]), field[n, k]
        above = 0
        for c in range(uint64(cuts.shape[2])):
            above += int64(value >= cuts[n, row, c])
        out[n, k] = np.uint8(int64(row) * classes + above)


@loop
def _divide_cpu(out, labels, field, cuts):
    chunks = (out.shape[1] + 4 * CHUNK - 1) // (4 * CHUNK)
    for r in prange(out.shape[0] * chunks):
        first = r % chunks * 4 * CHUNK
        last = min(first + 4 * CHUNK, out.shape[1])
        _divide_at(r // chunks, first, last, out, labels, field, cuts)


@cuda.jit
def _divide_gpu(out, labels, field, cuts):
    i = cuda.grid(1)
    if i < out.size:
        at = i % out.shape[1]
        _divide_at(i // out.shape[1], at, at + 1, out, labels, field, cuts)


def subclusters(labels: Any, field: Any, cuts: Any) -> Any:
    """Divide each label into classes by a field: rows * k + class, for tables of rows * k rows.

    labels: (sample, z, y, x) uint8 rows; field: the same shape float32, smooth for patches, white
    for salt and pepper (`gaussian.white`). cuts: (sample, row, k - 1) float32, ascending: class c
    lies between cut c - 1 and cut c; see `cuts_of`. Returns (sample, z, y, x) uint8.
    """
    batch = labels.shape[0]
    if labels.dtype != np.uint8 or field.shape != labels.shape or field.dtype != np.float32:
        raise ValueError(
            f"labels {labels.shape} {labels.dtype} are uint8 and the field float32 of that shape, "
            f"not {field.shape} {field.dtype}"
        )
    if cuts.ndim != 3 or cuts.shape[0] != batch or cuts.dtype != np.float32:
        raise ValueError(f"cuts are ({batch}, row, k - 1) float32, not {cuts.shape} {cuts.dtype}")
    rows, classes = cuts.shape[1], cuts.shape[2] + 1
    if rows * classes > ROWS:
        raise ValueError(f"{rows} rows of {classes} classes are more than {ROWS}: divide into less")
    check_rows(labels, rows)
    out = xp_of(labels).empty((batch, labels[0].size if batch else 0), np.uint8)
    args = labels.reshape(out.shape), field.reshape(out.shape), cuts
    launch(_divide_cpu, _divide_gpu, out.size, out, *args)
    return out.reshape(labels.shape)


def cuts_of(shares: Any, rms: float = 1.0) -> Any:
    """Cuts (..., k - 1) float32 by which a normal field of `rms` gives classes these shares.

    shares: (..., k) of 0 or more, on the host; they are scaled to sum to 1.
    """
    shares = np.asarray(shares, np.float64)
    total = shares.sum(-1, keepdims=True)
    if (shares < 0).any() or not (np.isfinite(total) & (total > 0)).all() or not rms > 0:
        raise ValueError(f"shares {shares} must be 0 or more and not all 0, and rms {rms} above 0")
    below = np.cumsum(shares / total, -1)[..., :-1]
    return (ndtri(np.minimum(below, 1)) * rms).astype(np.float32)
