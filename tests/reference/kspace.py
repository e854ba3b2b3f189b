"""kernels/kspace.py once more in obvious NumPy, in double precision."""

import numpy as np


def frequency(i, n):
    """The frequency of index i of n."""
    return i if i < (n + 1) / 2 else i - n


def dft(n):
    """The unitary transform as a matrix."""
    i = np.arange(n)
    return np.exp(-2j * np.pi * np.outer(i, i) / n) / np.sqrt(n)


def to_kspace(image, axes):
    """Matrix products along each of the (negative) axes."""
    k = image.astype(complex)
    for axis in axes:
        k = np.moveaxis(np.moveaxis(k, axis, -1) @ dft(image.shape[axis]), -1, axis)
    return k


def ramp(n, shift_px):
    """Weights along one axis that move an image by one shift."""
    return np.array([np.exp(-2j * np.pi * frequency(i, n) * shift_px / n) for i in range(n)])


def encode(k, gain, along, row, out=0):
    """The sum over pools, a line at a time."""
    samples, coils, pools, nz, ny, nx = k.shape
    total = np.zeros((samples, coils, nz, ny, nx), complex) + out
    gain = np.broadcast_to(gain, (samples, pools, nz, ny))
    row = np.broadcast_to(row, (samples, nz, ny))
    along = np.broadcast_to(along, (samples, pools, *along.shape[2:]))
    for n, c, p, z, y in np.ndindex(samples, coils, pools, nz, ny):
        if row[n, z, y] >= 0:
            total[n, c, z, y] += k[n, c, p, z, y] * gain[n, p, z, y] * along[n, p, row[n, z, y]]
    return total
