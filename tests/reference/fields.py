"""kernels/fields.py once more in obvious NumPy, in double precision."""

import numpy as np
from reference import philox
from reference.elastic import bspline


def lattice_normals(keys, shape, sd):
    """(sample, component, gz, gy, gx) float32."""
    return philox.normals(keys, int(np.prod(shape))).reshape(-1, *shape) * sd[..., None, None, None]


def weights(n, g):
    """(n, g): what each node counts at the centre of each of n voxels; node j stands at j - 1."""
    at = (np.arange(n) + 0.5) * (g - 3) / n
    return np.array([[bspline(t + 1 - j) for j in range(g)] for t in at])


def spline(nodes, shape):
    """(sample, component, z, y, x) float64."""
    z, y, x = (weights(n, g) for n, g in zip(shape, nodes.shape[2:], strict=True))
    return np.einsum("zi,yj,xk,ncijk->nczyx", z, y, x, nodes.astype(float), optimize=True)


def blend(nodes, n):
    """One pass along the middle axis: (outer, n, inner) of (outer, g, inner)."""
    return np.einsum("ig,agj->aij", weights(n, nodes.shape[1]), nodes.astype(float))
