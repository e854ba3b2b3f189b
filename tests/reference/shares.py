"""kernels/shares.py once more in obvious NumPy, a voxel at a time."""

import numpy as np


def shares(labels, class_of_row, classes, fine, z_weights=None):
    """(sample, class, z, y, x) float64."""
    samples, *size = labels.shape
    fz, fy, fx = fine
    depth, height, width = (n // f for n, f in zip(size, fine, strict=True))
    weights = np.ones(fz) if z_weights is None else np.asarray(z_weights, float)
    tables = np.broadcast_to(class_of_row, (samples, np.shape(class_of_row)[-1]))
    out = np.zeros((samples, classes, depth, height, width))
    for n, z, y, x in np.ndindex(samples, depth, height, width):
        for tap, weight in enumerate(weights / weights.sum()):
            sub = np.clip(z * fz + (fz - len(weights)) // 2 + tap, 0, size[0] - 1)
            parts = labels[n, sub, y * fy : (y + 1) * fy, x * fx : (x + 1) * fx]
            for label in parts.ravel():
                out[n, tables[n, label], z, y, x] += weight / parts.size
    return out


def hard(shares):
    """The first of the largest."""
    return shares.argmax(1).astype(np.uint8)
