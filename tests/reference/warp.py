"""kernels/warp.py once more in obvious NumPy, in double precision, one sample at a time."""

import numpy as np
from reference.places import places
from scipy.ndimage import map_coordinates


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


def keys(u):
    """Keys' kernel with a = -1/2."""
    u = np.abs(u)
    near, far = 1.5 * u**3 - 2.5 * u**2 + 1, -0.5 * u**3 + 2.5 * u**2 - 4 * u + 2
    return np.where(u < 1, near, np.where(u < 2, far, 0))


def cubic(image, at):
    """Every voxel of the image under its weight at every place."""
    z, y, x = (keys(a[..., None] - np.arange(n)) for a, n in zip(at, image.shape, strict=True))
    return np.einsum("...i,...j,...k,ijk->...", z, y, x, image, optimize=True)


def linear(image, at):
    """Beyond the image's outer voxels stand zeros."""
    return map_coordinates(image, at, order=1, mode="grid-constant", cval=0)


def pull(images, which, affine, displacement, shape, is_cubic=False):
    """(sample, z, y, x) complex128 or float64."""
    found = []
    for n, (m, a) in enumerate(zip(which, affine, strict=True)):
        at = places(shape, (1, 1, 1), a, None if displacement is None else displacement[n])
        image = images[m].astype(complex if np.iscomplexobj(images) else float)
        found.append((cubic if is_cubic else linear)(image, at))
    return np.stack(found)
