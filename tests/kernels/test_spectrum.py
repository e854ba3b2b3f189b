"""Spectra, saturation, T2*: definitions summed or integrated by brute force."""

import numpy as np
import pytest
from scipy.integrate import quad

from voxelmill.engine import bloch
from voxelmill.kernels import signals, spectrum


@pytest.mark.parametrize("name", spectrum.SPECTRA)
def test_a_spectrum_is_the_mean_of_its_lines_precessing(name):
    lines = spectrum.SPECTRA[name]
    assert len(lines.ppm) == len(lines.share)
    assert sum(lines.share) == pytest.approx(1, abs=0.0011)
    te = np.array([0, 1.15, 4.6, 11.0])
    made = spectrum.spectral_phase(lines, te, 3.0)
    off = spectrum.shift_hz(np.array(lines.ppm), 3.0)
    start = bloch.pulse(bloch.rest(len(off)), 90, 90)
    for each, time in zip(made, te, strict=True):
        m = bloch.transverse(bloch.wait(start, time, 1e300, 1e300, off))
        assert abs(each - np.average(m, weights=lines.share)) < 1e-13
    assert made[0] == pytest.approx(1)


def test_water_and_fat_beat_and_their_share_comes_back():
    te = np.array([1.15, 2.3])
    lines = spectrum.SPECTRA["single"]
    out, within = abs(spectrum.multi_echo(0.7, 0.3, te, 3.0, lines, 0.0, 40.0, 0.3))
    assert out == pytest.approx(0.4, abs=1e-3)
    assert within == pytest.approx(1.0, abs=1e-3)
    phase = np.angle(spectrum.multi_echo(0.7, 0.0, te, 3.0, lines, 30.0, 40.0, 0.3))
    np.testing.assert_allclose(phase, 0.3 + 2 * np.pi * 40 * te / 1000)
    decayed = abs(spectrum.multi_echo(0.7, 0.0, te, 3.0, lines, 30.0))
    np.testing.assert_allclose(decayed, 0.7 * np.exp(-30 * te / 1000))


def test_t2_star_is_t2_under_a_lorentzian_of_offsets():
    t2, t2_prime, time = 40.0, 25.0, 12.0
    width = 1 / t2_prime  # rad / ms
    mean = (
        2 * quad(lambda w: width / np.pi / (width**2 + w**2), 0, np.inf, weight="cos", wvar=time)[0]
    )
    expected = np.exp(-time / t2) * mean
    assert np.exp(-time / spectrum.t2_star_ms(t2, t2_prime)) == pytest.approx(expected, abs=1e-9)


def test_a_gradient_through_the_slice_dephases_as_the_mean_over_it():
    nodes, weights = np.polynomial.legendre.leggauss(60)
    phase = 2 * np.pi * 30.0 * (nodes * 2.5) * 9.0 / 1000  # 30 Hz/mm, 5 mm, 9 ms
    mean = (np.exp(1j * phase) * weights).sum() / 2
    assert abs(spectrum.slice_dephasing(30.0, 5.0, 9.0) - mean) < 1e-13


def test_a_band_is_one_inside_a_half_at_its_edge_and_smooth():
    off = np.linspace(-900, 100, 4001)
    profile = spectrum.band(off, -440.0, 300.0, 80.0)
    assert (profile[abs(off + 440) <= 110] == 1).all()
    assert (profile[abs(off + 440) >= 190] == 0).all()
    np.testing.assert_allclose(spectrum.band(np.array([-590, -290.0]), -440, 300, 80), 0.5)
    assert np.abs(np.diff(profile)).max() < 0.01
    with pytest.raises(ValueError, match="edge_hz"):
        spectrum.band(off, -440, 300, 400)


def test_saturation_fails_with_b1_and_with_b0():
    assert spectrum.saturated_z(90, 1.0) == pytest.approx(0, abs=1e-15)
    assert spectrum.saturated_z(90, 1.0, 0.7) == pytest.approx(np.cos(np.radians(63)))
    assert spectrum.saturated_z(90, 0.0, 0.7) == 1
    m = bloch.pulse(bloch.rest(), 110 * 0.9)
    m = bloch.wait(bloch.spoil(m), 90.0, 371.0, 133.0)
    z = spectrum.spectral_inverted_z(371.0, 90.0, 110, 1.0, 0.9)
    assert z == pytest.approx(m[0, 2], abs=1e-14)
    fat = signals.spin_echo(1, 371, 133, 600, 15, prepared=spectrum.saturated_z(90, 1.0))
    assert fat == pytest.approx(0, abs=1e-12)
