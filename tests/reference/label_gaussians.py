"""kernels/label_gaussians.py once more in obvious NumPy."""

import numpy as np
from reference import gaussian


def gaussian_labels(labels, mean, sd, keys, gain=None):
    """(sample, z, y, x) float32."""
    white = gaussian.white(keys, labels.shape[1:]).astype(float)
    out = np.stack([m[rows] for m, rows in zip(mean, labels, strict=True)]).astype(float)
    out += white * np.stack([s[rows] for s, rows in zip(sd, labels, strict=True)])
    return (out if gain is None else out * gain).astype(np.float32)


def subclusters(labels, field, cuts):
    """(sample, z, y, x) uint8: row * k + how many cuts the field reaches."""
    out = np.empty_like(labels)
    for place in np.ndindex(labels.shape):
        row = labels[place]
        reached = int((field[place] >= cuts[place[0], row]).sum())
        out[place] = row * (cuts.shape[2] + 1) + reached
    return out
