"""Cases for kernels/distort.py."""

import numpy as np
from reference import distort as twin

from cases import Case
from cases.kspace import noise


def distort():
    random = np.random.default_rng(0)
    image = noise(random, 2, 2, 3, 7, 1)
    hertz = random.normal(0, 30, (2, 3, 7, 1)).astype(np.float32)
    scale = np.array([0.03, -0.05], np.float32)
    flat = image[..., 0], hertz[..., 0][:, None]
    expected = twin.distort(flat[0][:, :, None], flat[1], scale, -1, True)[:, :, 0, ..., None]
    args = (np.zeros_like(image), image, hertz, scale, True)
    return Case(image.size // 7, args, expected.astype(np.complex64), 2e-4)


CASES = {"_distort_gpu": distort}
