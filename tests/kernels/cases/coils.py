"""Cases for kernels/coils.py."""

import numpy as np
from reference import coils as twin

from cases import Case
from voxelmill.kernels.coils import ring


def array():
    """Two samples of three loops: centres, axes, radius of the loops, voxels."""
    pairs = [ring(3, (90, 120), start, 1, 0) for start in (10, 50)]
    centres, axes = (np.stack(part) for part in zip(*pairs, strict=True))
    centres[1, :, 0] += 7
    voxel_mm = np.array([[5, 11, 9], [6, 8, 12]], np.float32)
    return centres, axes, np.array([40, 25], np.float32), voxel_mm


def sensitivity():
    centres, axes, loop_mm, voxel_mm = array()
    shape, first = (2, 3, 4), 1
    expected = twin.sensitivities(centres, axes, loop_mm, voxel_mm, shape)[:, first:]
    scale = np.array([4e5, 3e5], np.float32)
    middle = [
        np.linalg.norm(
            [twin.heard(-c.astype(float), m.astype(float), a) for c, m in zip(*of, strict=True)]
        )
        for *of, a in zip(centres, axes, loop_mm.astype(float), strict=True)
    ]
    expected *= (scale * np.array(middle))[:, None, None, None, None]
    out = np.zeros(expected.shape, np.complex64)
    args = (out, centres, axes, loop_mm, scale, voxel_mm, first)
    return Case(out.size, args, expected.astype(np.complex64), 1e-5)


CASES = {"_sensitivity_gpu": sensitivity}
