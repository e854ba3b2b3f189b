"""kernels/resample.py once more in obvious NumPy, in double precision, one sample at a time."""

import numpy as np
from reference.places import places
from scipy.ndimage import map_coordinates


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
