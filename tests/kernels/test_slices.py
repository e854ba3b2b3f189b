"""Interpolation between slices: its twin and what it keeps."""

import numpy as np
import pytest
from reference import slices as twin

from voxelmill.kernels import slices


@pytest.mark.parametrize("kind", ["f4", "c8"])
def test_it_is_that_of_the_twin_and_of_each_sample(kind):
    random = np.random.default_rng(0)
    acquired = random.normal(size=(3, 4, 5, 12)).astype("f4").view(kind)
    places = np.sort(random.uniform(-1, 9, (3, 4)), 1).astype("f4")
    made = slices.between(acquired, places, 8)
    assert made.dtype == acquired.dtype
    np.testing.assert_allclose(made, twin.between(acquired, places, 8), atol=1e-5)
    alone = [slices.between(acquired[n : n + 1], places[n : n + 1], 8) for n in range(3)]
    assert made.tobytes() == np.concatenate(alone).tobytes()


def test_slices_on_the_grid_stay_and_outer_ones_repeat():
    acquired = np.random.default_rng(1).normal(size=(1, 3, 2, 4)).astype("f4")
    made = slices.between(acquired, np.array([[1, 3, 4]], np.float32), 6)
    np.testing.assert_array_equal(made[:, [1, 3, 4]], acquired)
    np.testing.assert_array_equal(made[:, 0], acquired[:, 0])
    np.testing.assert_array_equal(made[:, 5], acquired[:, 2])
    np.testing.assert_allclose(made[:, 2], (acquired[:, 0] + acquired[:, 1]) / 2, atol=1e-6)


def test_slices_must_rise():
    acquired = np.zeros((1, 3, 2, 4), np.float32)
    with pytest.raises(ValueError, match="rise"):
        slices.between(acquired, np.array([[1, 1, 4]], np.float32), 6)
    with pytest.raises(ValueError, match="does not fit"):
        slices.between(acquired, np.zeros((1, 2), np.float32), 6)
