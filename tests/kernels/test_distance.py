"""Distances against every-pixel-against-every-pixel and against SciPy."""

import numpy as np
import pytest
from reference import distance as twin
from reference.tiles import patches, random_patches
from scipy.ndimage import distance_transform_edt

from voxelmill.kernels import distance

SHAPE = (40, 60)


@pytest.mark.parametrize("seed", range(8))
def test_distances_and_thickness_are_those_of_the_twin(seed):
    windows, starts, coverage = random_patches(seed, [0] * (seed + 1), SHAPE, (13, 17))
    squared = distance.squared_px(coverage, windows, starts)
    assert squared.dtype == np.int32
    np.testing.assert_array_equal(squared, twin.squared_px(coverage, windows, starts))
    thick = distance.thickness(coverage, windows, starts)
    assert thick.dtype == np.float32
    np.testing.assert_allclose(thick, twin.thickness(coverage, windows, starts), atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_distances_of_large_patches_are_those_of_scipy(seed):
    windows, starts, coverage = random_patches(seed, [0] * 3, SHAPE, (90, 120))
    squared = distance.squared_px(coverage, windows, starts)
    for patch, ours in zip(
        patches(coverage, windows, starts), patches(squared, windows, starts), strict=True
    ):
        edt = distance_transform_edt(np.pad(patch >= 0.5, 1))[1:-1, 1:-1]
        np.testing.assert_array_equal(ours, np.rint(edt**2))


def test_a_full_patch_and_an_empty_one():
    windows = np.array([[0, 0, 3, 5], [0, 0, 2, 2], [0, 0, 0, 4]], np.int32)
    starts = np.array([0, 15, 19, 19])
    coverage = np.repeat(np.array([0.5, 0.49], np.float32), [15, 4])
    squared = distance.squared_px(coverage, windows, starts)
    np.testing.assert_array_equal(squared[:15].reshape(3, 5)[1], [1, 4, 4, 4, 1])
    thick = distance.thickness(coverage, windows, starts)
    assert thick[:15].max() == 1
    assert not thick[15:].any()


def test_no_patches():
    none = np.zeros((0, 4), np.int32), np.zeros(1, np.int64)
    assert distance.thickness(np.empty(0, np.float32), *none).size == 0
