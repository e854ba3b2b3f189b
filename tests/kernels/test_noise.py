"""Noise of a receiver: twins, moments of Rician and chi by z-test, and who it depends on."""

import numpy as np
import pytest
from reference import noise as twin

from voxelmill.kernels import noise

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEAD, 9, 1], [1, 2, 3, 4, 5]], np.uint32)
SD = np.array([0.25, 3, 0], np.float32)
SHAPES = [(3, 1, 1, 1), (3, 3, 5, 7), (3, 2, 3, 3, 5, 7), (3, 2, 9, 16, 23)]
# PHYSICS.md B.12: A / sigma: mean / sigma, sd / sigma
RICIAN = {
    0: (1.25331, 0.65514), 0.5: (1.33045, 0.69276), 1: (1.54857, 0.77584), 2: (2.27238, 0.91448),
    3: (3.17258, 0.96683), 5: (5.10107, 0.98949), 10: (10.05013, 0.99747),
}  # fmt: skip
CHI = {
    (4, 0): (2.7416, 0.6953), (8, 0): (3.9380, 0.7014), (32, 0): (7.9688, 0.7057),
    (4, 10): (10.3457, 0.9832), (8, 10): (10.7269, 0.9663), (32, 10): (12.7748, 0.8973),
}  # fmt: skip


def images(shape, dtype=np.complex64):
    rng = np.random.default_rng(1)
    made = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return (made if dtype == np.complex64 else made.real).astype(dtype)


def gains(shape):
    rng = np.random.default_rng(2)
    return rng.uniform(0.5, 2, (shape[0], *shape[-3:])).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_gain", [False, True])
def test_it_is_that_of_the_twin(shape, with_gain):
    gain, image = gains(shape) if with_gain else None, images(shape)
    noisy = image.copy()
    noise.add_complex(noisy, SD, KEYS, gain)
    np.testing.assert_allclose(noisy, twin.add_complex(image, SD, KEYS, gain), atol=4e-5)
    for each in (image, image.real.copy()):
        magnitude = noise.rician(each, SD, KEYS, gain)
        np.testing.assert_allclose(magnitude, twin.rician(each, SD, KEYS, gain), atol=4e-5)
    np.testing.assert_allclose(noise.rician(image, SD, KEYS, gain), np.abs(noisy), rtol=1e-6)
    assert noisy[2].tobytes() == image[2].tobytes()  # sd 0


@pytest.mark.parametrize("snr", RICIAN)
@pytest.mark.parametrize("sigma", [1, 0.3])
def test_rician_moments(snr, sigma):
    image = np.full((1, 100, 100, 100), snr * sigma, np.float32)
    made = noise.rician(image, np.array([sigma], np.float32), KEYS[:1]) / sigma
    z_test(made, *RICIAN[snr])


@pytest.mark.parametrize(("coils", "snr"), CHI)
def test_chi_moments(coils, snr):
    """The signal is spread over coils with phases: only its sum of squares counts."""
    weights = np.exp(1j * np.arange(coils)) * np.linspace(1, 2, coils)
    weights *= snr / np.sqrt((np.abs(weights) ** 2).sum())
    image = np.broadcast_to(weights[None, :, None, None, None], (1, coils, 40, 50, 100))
    image = image.astype(np.complex64)
    noise.add_complex(image, np.ones(1, np.float32), KEYS[:1])
    z_test(noise.sum_of_squares(image), *CHI[coils, snr])


def z_test(values, mean, sd):
    """Within 4 standard errors; the table's last digit is allowed for."""
    values, n = values.astype(float).ravel(), values.size
    digit = 6e-6 if round(mean, 4) != mean else 6e-5
    assert abs(values.mean() - mean) < 4 * sd / np.sqrt(n) + digit
    fourth = ((values - values.mean()) ** 4).mean()
    error = np.sqrt((fourth - sd**4) / n) / (2 * sd)
    assert abs(values.std() - sd) < 4 * error + digit


def test_parts_and_channels_are_independent_and_white():
    image = np.zeros((1, 2, 48, 64, 64), np.complex64)
    noise.add_complex(image, np.ones(1, np.float32), KEYS[:1])
    four = np.stack([image.real, image.imag]).reshape(4, -1).astype(float)
    assert abs(np.corrcoef(four) - np.eye(4)).max() < 4.5 / np.sqrt(four.shape[1])
    for lag in (1, 2, 3, 64, 64 * 64):
        assert abs((four[:, lag:] * four[:, :-lag]).mean(1)).max() < 4.5 / np.sqrt(four.shape[1])


def test_a_gain_multiplies_the_noise_and_not_the_signal():
    image, gain = np.full((1, 2, 4, 5, 6), 100, np.complex64), gains((1, 4, 5, 6))
    plain, scaled = image.copy(), image.copy()
    noise.add_complex(plain, np.ones(1, np.float32), KEYS[:1])
    noise.add_complex(scaled, np.ones(1, np.float32), KEYS[:1], gain)
    np.testing.assert_allclose(scaled - image, (plain - image) * gain[:, None], atol=2e-5)


def test_a_sample_does_not_depend_on_its_batch():
    image, gain = images((3, 2, 9, 16, 23)), gains((3, 2, 9, 16, 23))
    together = image.copy()
    noise.add_complex(together, SD, KEYS, gain)
    magnitude, squares = noise.rician(image, SD, KEYS, gain), noise.sum_of_squares(image)
    for n in range(3):
        one = slice(n, n + 1)
        alone = image[one].copy()
        noise.add_complex(alone, SD[one], KEYS[one], gain[one])
        assert alone.tobytes() == together[one].tobytes()
        alone = noise.rician(image[one], SD[one], KEYS[one], gain[one])
        assert alone.tobytes() == magnitude[one].tobytes()
        assert noise.sum_of_squares(image[one]).tobytes() == squares[one].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_sum_of_squares_is_that_of_the_twin(dtype):
    image = images((3, 4, 5, 41, 37), dtype)
    np.testing.assert_allclose(noise.sum_of_squares(image), twin.sum_of_squares(image), rtol=1e-6)
    one = noise.sum_of_squares(image[:, :1])
    np.testing.assert_allclose(one, np.abs(image[:, 0]), rtol=1e-6)


def test_what_does_not_fit_is_refused():
    image = images((3, 2, 3, 5, 7))
    with pytest.raises(ValueError, match="complex64, not float32"):
        noise.add_complex(image.real.copy(), SD, KEYS)
    with pytest.raises(ValueError, match="contiguous"):
        noise.add_complex(image[:, :1], SD, KEYS)
    with pytest.raises(ValueError, match="sd"):
        noise.rician(image, SD[:2], KEYS)
    with pytest.raises(ValueError, match="gain"):
        noise.rician(image, SD, KEYS, gains((3, 3, 5, 6)))
    with pytest.raises(ValueError, match="keys"):
        noise.rician(image, SD, KEYS[:, :4])
    with pytest.raises(ValueError, match="one coil"):
        noise.sum_of_squares(image[:, :0])
