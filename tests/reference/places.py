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
