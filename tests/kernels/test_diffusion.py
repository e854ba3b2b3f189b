"""Diffusion: b as the integral of k^2, and averages over distributions."""

import numpy as np
import pytest

from voxelmill.kernels import diffusion

GAMMA = 2 * np.pi * 42.577478518e6  # rad / s / T


def test_b_is_the_integral_of_the_square_of_k():
    g, small, big = 30e-3, 0.012, 0.035  # T/m, s, s
    b = 0.0
    for low, high, k in (
        (0, small, lambda t: t),
        (small, big, lambda t: small),
        (big, big + small, lambda t: small - (t - big)),
    ):
        nodes, weights = np.polynomial.legendre.leggauss(3)
        at = low + (high - low) * (nodes + 1) / 2
        b += (weights * np.array([(GAMMA * g * k(t)) ** 2 for t in at])).sum() * (high - low) / 2
    made = diffusion.b_value(30.0, 12.0, 35.0)
    assert made == pytest.approx(b * 1e-6, rel=1e-12)  # s/m^2 to s/mm^2
    with pytest.raises(ValueError, match="at most apart_ms"):
        diffusion.b_value(30.0, 12.0, 10.0)


def test_a_tensor_is_its_principal_diffusions_in_turned_axes():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    principal = np.array([1.7, 0.4, 0.3])
    tensors = turn @ np.diag(principal) @ turn.T
    made = diffusion.tensor(800.0, 2.5 * turn.T, tensors)  # along its axes, any length
    np.testing.assert_allclose(made, diffusion.free(800.0, principal), rtol=1e-12)
    with pytest.raises(ValueError, match="length 0"):
        diffusion.tensor(800.0, np.zeros((2, 3)), tensors)


def test_kurtosis_is_a_gaussian_spread_of_coefficients():
    adc, spread, b = 1.5, 0.3, 900.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    mean = (np.exp(-b * (adc + spread * nodes) / 1000) * weights).sum() / np.sqrt(2 * np.pi)
    assert diffusion.kurtosis(b, adc, 3 * spread**2 / adc**2) == pytest.approx(mean, rel=1e-12)
    assert diffusion.kurtosis(b, adc, 0.0) == diffusion.free(b, adc)
    with pytest.raises(ValueError, match="expansion rises"):
        diffusion.kurtosis(np.array([0, 3000.0]), 1.5, 0.8)


def test_blood_goes_first():
    b = np.array([0, 50, 800.0])
    made = diffusion.incoherent_motion(b, 1.0, 15.0, 0.1)
    np.testing.assert_allclose(made, 0.1 * np.exp(-b * 0.015) + 0.9 * np.exp(-b * 0.001))
    with pytest.raises(ValueError, match=r"share 1\.2"):
        diffusion.incoherent_motion(b, 1.0, 15.0, 1.2)
