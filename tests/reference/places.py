"""kernels/places.py once more in obvious NumPy, in double precision, one sample at a time."""

import numpy as np
from scipy.ndimage import map_coordinates


def places(shape, fine, affine, displacement):
    """(3, z * fz, y * fy, x * fx): the places in the map that the parts of an output show."""
    parts = [(np.arange(n * f) + 0.5) / f - 0.5 for n, f in zip(shape, fine, strict=True)]
    at = np.stack(np.meshgrid(*parts, indexing="ij"))
    if displacement is not None:
        nodes = displacement.shape[1:]
        grids = [(p + 0.5) / n * k - 0.5 for p, n, k in zip(parts, shape, nodes, strict=True)]
        grid = np.stack(np.meshgrid(*grids, indexing="ij"))
        at = at + [
            map_coordinates(d.astype(float), grid, order=1, mode="nearest") for d in displacement
        ]
    return np.einsum("ij,jzyx->izyx", affine[:, :3].astype(float), at) + affine[
        :, 3, None, None, None
    ].astype(float)


def along_x(affine, displacement, width, fx):
    """(sample, 3, dz, dy, width) float32: affine @ (displacement + x) on all rows of nodes."""
    nodes = displacement.shape[4]
    at = np.clip((np.arange(width) + 0.5) / width * nodes - 0.5, 0, nodes - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(nodes)))
    shift = displacement.astype(float) @ weights.T
    shift[:, 2] += (np.arange(width) + 0.5) / fx - 0.5
    return np.einsum("nij,njzyx->nizyx", affine[..., :3], shift).astype(np.float32)
