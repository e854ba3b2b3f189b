"""kernels/warp.py once more in obvious NumPy, in double precision, one sample at a time."""

import numpy as np
from reference.places import places


def nearest(label_map, at):
    """The label of the voxel that holds each place, 0 outside; and how far from a face it is."""
    voxel = np.floor(at + 0.5).astype(int)
    size = np.reshape(label_map.shape, (3, 1, 1, 1))
    inside = ((voxel >= 0) & (voxel < size)).all(0)
    held = label_map[tuple(np.clip(voxel, 0, size - 1))]
    return np.where(inside, held, 0).astype(np.uint8), np.abs(at + 0.5 - np.round(at + 0.5)).min(0)


def pull_labels(maps, which, affine, displacement, shape, fine=(1, 1, 1)):
    """(sample, z * fz, y * fy, x * fx) uint8, and how far each place is from a voxel's face."""
    found = [
        nearest(maps[m], places(shape, fine, a, None if displacement is None else displacement[n]))
        for n, (m, a) in enumerate(zip(which, affine, strict=True))
    ]
    return tuple(np.stack(parts) for parts in zip(*found, strict=True))
