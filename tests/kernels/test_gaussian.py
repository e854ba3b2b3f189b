"""White noise for volumes: its twin, its moments, its whiteness, and who it depends on."""

import numba
import numpy as np
import pytest
from reference import gaussian as twin
from scipy import stats

from voxelmill.kernels import gaussian, philox

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEAD, 9, 1], [1, 2, 3, 4, 5]], np.uint32)


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4, 7), (2, 1023)])
def test_it_is_that_of_the_twin(shape):
    made = gaussian.white(KEYS, shape)
    assert made.shape == (3, *shape)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, twin.white(KEYS, shape), atol=4e-6)


def test_the_numbers_are_those_of_philox_up_to_rounding():
    made = gaussian.white(KEYS, (400_001,))
    np.testing.assert_allclose(made, philox.normals(KEYS, 400_001), atol=4e-6)
    assert np.isfinite(made).all()


@pytest.mark.parametrize("word", [0, 1, 2**31, 2**32 - 2, 2**32 - 1, 0xB504F333, 0x5A82799A])
@pytest.mark.parametrize("turn", [0, 1, 2**29 - 1, 2**29, 2**30, 3 * 2**29, 2**31, 2**32 - 1])
def test_box_muller_at_its_corners(word, turn):
    radius = gaussian._radius(np.uint32(word))
    exact = np.sqrt(-2 * np.log((word + 1) / 2**32))
    # a float32 cannot tell words near 2**32 apart: u is rounded to 2**-24
    assert radius == pytest.approx(exact, abs=4e-7 * max(exact, 1), rel=0) or exact < 5e-4
    cosine, sine = gaussian._cosine_sine(np.uint32(turn))
    angle = 2 * np.pi * turn / 2**32
    assert cosine == pytest.approx(np.cos(angle), abs=1.2e-7)
    assert sine == pytest.approx(np.sin(angle), abs=1.2e-7)


def test_it_is_normal_and_white():
    z = gaussian.white(KEYS[:1], (128, 128, 64))[0].astype(float)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert stats.kstest(z.ravel()[::4], "norm").pvalue > 1e-3
    for axis in range(3):
        for lag in (1, 2, 3, 4, 8):
            a, b = np.take(z, range(lag, z.shape[axis]), axis), np.roll(z, lag, axis)
            b = np.take(b, range(lag, z.shape[axis]), axis)
            assert abs((a * b).mean()) < 4.5 / np.sqrt(a.size)
    power = np.abs(np.fft.fftn(z)) ** 2 / n  # exponential with mean 1 at each frequency
    blocks = power[:, :, 1:31].reshape(8, 16, 8, 16, 3, 10).mean((1, 3, 5))
    assert abs(blocks - 1).max() < 5 / np.sqrt(16 * 16 * 10)


def test_a_sample_does_not_depend_on_its_batch_or_on_threads():
    together = gaussian.white(KEYS, (3, 999))
    for n in range(3):
        assert together[n].tobytes() == gaussian.white(KEYS[n : n + 1], (3, 999)).tobytes()
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        alone = gaussian.white(KEYS[:1], (9999,))
    finally:
        numba.set_num_threads(before)
    assert alone.tobytes() == gaussian.white(KEYS[:1], (9999,)).tobytes()
    assert alone[0, :57].tobytes() == gaussian.white(KEYS[:1], (57,)).tobytes()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="uint32"):
        gaussian.white(KEYS.astype(np.int64), (3,))
    with pytest.raises(ValueError, match="2\\*\\*34"):
        gaussian.white(KEYS, (2**20, 2**20))
