"""kernels/distort.py once more in obvious NumPy, in double precision."""

import numpy as np


def line(values, shift_px, wrap):
    """One line of n voxels, each spread over where it comes to lie."""
    n = len(values)
    padded = np.concatenate([shift_px[:1], shift_px, shift_px[-1:]]).astype(float)
    ends = np.arange(n + 1) + (padded[:-1] + padded[1:]) / 2
    out = np.zeros(n, complex)
    for value, a, b in zip(values, ends[:-1], ends[1:], strict=True):
        low, high = min(a, b), max(a, b)
        for q in range(int(np.floor(low)), int(np.floor(high)) + 1):
            share = (min(high, q + 1) - max(low, q)) / (high - low)
            if wrap or 0 <= q < n:
                out[q % n] += value * share
    return out


def distort(image, b0_hz, px_per_hz, axis, wrap):
    """A line at a time; image (sample, ..., z, y, x)."""
    out = np.moveaxis(np.zeros(image.shape, complex), axis, -1)
    source = np.moveaxis(image, axis, -1)
    field = np.moveaxis(b0_hz, axis, -1)
    for at in np.ndindex(*source.shape[:-1]):
        n, zy = at[0], at[-2:]
        out[at] = line(source[at], float(px_per_hz[n]) * field[(n, *zy)].astype(float), wrap)
    return np.moveaxis(out, -1, axis)
