"""Lower resolution on the same grid: its twin, and what it keeps."""

import numpy as np
import pytest
from reference import resolution as twin

from voxelmill.kernels import resolution

SPACING = np.array([[1, 1, 1], [4.3, 1, 1], [1, 2, 7.7], [30, 1.2, 1.5]], np.float32)


def images(shape=(4, 9, 11, 23)):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(4, 9, 11, 23), (4, 1, 40, 70), (4, 3, 1, 1)])
def test_it_is_that_of_the_twin(shape):
    made = resolution.coarsened(images(shape), SPACING)
    np.testing.assert_allclose(made, twin.coarsened(images(shape), SPACING), atol=2e-6)


def test_what_is_even_stays_and_what_is_straight_stays_inside():
    np.testing.assert_allclose(resolution.coarsened(images() * 0 + 5, SPACING), 5, rtol=1e-6)
    ramp = np.broadcast_to(np.arange(90, dtype=np.float32)[:, None, None], (1, 90, 2, 3)).copy()
    made = resolution.coarsened(ramp, np.array([[4.5, 1, 1]], np.float32))
    # a Gaussian cut off around a place between voxels is a little lopsided
    np.testing.assert_allclose(made[:, 12:-12], ramp[:, 12:-12], atol=0.02)


def test_a_point_gets_about_as_wide_as_the_samples_are_apart():
    point = np.zeros((1, 240, 1, 1), np.float32)
    point[0, 120] = 1
    made = resolution.coarsened(point, np.array([[8, 1, 1]], np.float32)).ravel().astype(float)
    place = np.arange(240)
    mean = (made * place).sum() / made.sum()
    width = np.sqrt((made * (place - mean) ** 2).sum() / made.sum())
    assert mean == pytest.approx(120, abs=1.5)
    lines = 8 * np.sqrt(1 / 6)  # the deviation of a triangle of 8 voxels to either side
    assert width == pytest.approx(np.hypot(8 / 2.355, lines), rel=0.1)


def test_a_sample_does_not_depend_on_its_batch():
    made = resolution.coarsened(images(), SPACING)
    assert made[0].tobytes() == images()[0].tobytes()
    for n in range(4):
        alone = resolution.coarsened(images()[n : n + 1], SPACING[n : n + 1])
        assert alone.tobytes() == made[n : n + 1].tobytes()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="from 1 to 32"):
        resolution.coarsened(images(), SPACING * 0.9)
    with pytest.raises(ValueError, match="from 1 to 32"):
        resolution.coarsened(images(), SPACING[:2])
    with pytest.raises(ValueError, match="float32"):
        resolution.coarsened(images().astype(float), SPACING)
