"""Phases of a field off resonance: beside the twin, exact where there is none, turned back."""

import numpy as np
import pytest
from reference import phase as twin

from voxelmill.kernels import phase


def scene(shape=(2, 3, 5, 6, 7), rms=200.0):
    random = np.random.default_rng(3)
    images = random.normal(size=(2, *shape)).astype(np.float32)
    off_hz = random.normal(0, rms, (shape[0], *shape[-3:])).astype(np.float32)
    return (images[0] + 1j * images[1]).astype(np.complex64), off_hz


@pytest.mark.parametrize(
    "shape", [(2, 3, 5, 6, 7), (2, 2, 3, 4, 5, 6), (2, 1, 17, 18, 19), (2, 4, 5, 6)]
)
def test_turn_is_that_of_the_twin(shape):
    images, off_hz = scene(shape)
    seconds = np.array([0.02, -0.007], np.float32)
    expected = twin.turn(images, off_hz, seconds)
    phase.turn(images, off_hz, seconds)
    assert images.dtype == np.complex64
    np.testing.assert_allclose(images, expected, atol=2e-5)


def test_magnitudes_stay_and_what_is_turned_back_is_as_before():
    images, off_hz = scene()
    before, seconds = images.copy(), np.array([0.05, 0.001], np.float32)
    phase.turn(images, off_hz, seconds)
    np.testing.assert_allclose(abs(images), abs(before), rtol=1e-6)
    phase.turn(images, off_hz, -seconds)
    np.testing.assert_allclose(images, before, atol=2e-6)


def test_no_time_and_no_field_change_no_bit():
    images, off_hz = scene()
    before = images.copy()
    phase.turn(images, off_hz, np.zeros(2, np.float32))
    phase.turn(images, 0 * off_hz, np.ones(2, np.float32))
    np.testing.assert_array_equal(images, before)


def test_a_sample_does_not_depend_on_its_batch():
    images, off_hz = scene((3, 2, 13, 14, 15))
    seconds = np.array([0.01, 0.02, 0.03], np.float32)
    alone = images[1:2].copy()
    phase.turn(images, off_hz, seconds)
    phase.turn(alone, off_hz[1:2], seconds[1:2])
    assert alone.tobytes() == images[1:2].tobytes()


def test_what_does_not_fit_is_refused():
    images, off_hz = scene()
    seconds = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="contiguous complex64"):
        phase.turn(images.astype(np.complex128), off_hz, seconds)
    with pytest.raises(ValueError, match="contiguous complex64"):
        phase.turn(images[..., ::2], off_hz[..., ::2], seconds)
    with pytest.raises(ValueError, match="does not fit"):
        phase.turn(images, off_hz[:, :2], seconds)
    with pytest.raises(ValueError, match="seconds are"):
        phase.turn(images, off_hz, seconds[:1])
