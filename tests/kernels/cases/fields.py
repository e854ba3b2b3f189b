"""Cases for kernels/fields.py."""

import numpy as np
from reference import fields as twin

from cases import Case


def blend():
    nodes = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    expected = twin.blend(nodes, 7).astype(np.float32)
    return Case(expected.size, (np.zeros_like(expected), nodes), expected, 1e-6)


CASES = {"_blend_gpu": blend}
