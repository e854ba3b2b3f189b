"""Cases for kernels/thigh.py: two small legs beside one another, and depths of a map."""

import numpy as np
from reference import thigh as twin
from thighs import VOXEL_MM, depth_arrays, tables

from cases import Case

MM = np.float32(VOXEL_MM[0]), np.float32(VOXEL_MM[1])


def shapes():
    arrays = tables()
    expected = twin.of_shapes(*arrays, (17, 36), VOXEL_MM)
    return Case(expected.size, (np.zeros_like(expected), *arrays, *MM), expected, 0)


def depths():
    legs, _, vessels, noise = tables()
    arrays = *depth_arrays(legs), legs, vessels, noise
    expected = twin.of_depths(*arrays, VOXEL_MM)
    return Case(expected.size, (np.zeros_like(expected), *arrays, *MM), expected, 0)


CASES = {"_shape_gpu": shapes, "_depth_gpu": depths}
