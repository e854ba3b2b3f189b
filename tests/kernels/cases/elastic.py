"""Cases for kernels/elastic.py."""

import numpy as np
from reference import elastic as twin

from cases import Case

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEADBEEF, 0xFFFFFFFF, 9]], np.uint32)
SLOTS = np.array([3, 4095])


def nodes():
    lattice = np.array([[2, 3], [4, 1]])
    straight, strength = np.eye(2, 3, dtype=np.float32), np.array([2.5, 0.3], np.float32)
    made = [
        twin.nodes(*of_patch)
        for of_patch in zip(lattice, [straight] * 2, strength * 151 / 315, KEYS, SLOTS, strict=True)
    ]
    expected = np.concatenate([n.reshape(-1, 2) for n in made]).astype(np.float32)
    node_starts = np.array([0, 6, 10])
    args = (np.zeros_like(expected), node_starts, lattice, KEYS, SLOTS, strength)
    return Case(len(expected), args, expected, 2e-5)


CASES = {"_nodes_gpu": nodes}
