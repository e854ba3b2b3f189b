"""Rows: fat's spectrum, spectral saturation, magnetisation transfer and diffusion."""

import numpy as np

from voxelmill.engine import bloch
from voxelmill.engine.verify.rows import Measured, Row

TOLERANCE = 1e-10
TISSUES = {"white": (0.139, 23.0, 10.0, 1084.0, 69.0), "grey": (0.050, 40.0, 9.1, 1820.0, 99.0)}


def _spectrum() -> Measured:
    """Every peak a spin that precesses by itself."""
    from voxelmill.kernels.spectrum import SPECTRA, shift_hz, spectral_phase

    worst, times = 0.0, np.array([0, 1.15, 2.3, 4.6, 11.0])
    for lines in SPECTRA.values():
        off_hz, share = shift_hz(np.array(lines.ppm), 3.0), np.array(lines.share)
        start = bloch.pulse(bloch.rest(len(off_hz)), 90, 90)
        made = spectral_phase(lines, times, 3.0)
        for te_ms, one in zip(times, made, strict=True):
            m = bloch.transverse(bloch.wait(start, float(te_ms), np.inf, np.inf, off_hz))
            worst = max(worst, abs(one - np.average(m, weights=share)))
    return Measured(float(worst), 0, TOLERANCE, f"{len(SPECTRA)} spectra, 5 echo times, 3 T")


def _saturation() -> Measured:
    """SPIR: a pulse that B1 scales, a spoiler, and recovery."""
    from voxelmill.kernels.spectrum import spectral_inverted_z

    worst = 0.0
    for b1 in (0.6, 0.85, 1.0, 1.2):
        m = bloch.spoil(bloch.pulse(bloch.rest(), 110 * b1))
        z = bloch.wait(m, 90.0, 371.0, 133.0)[0, 2]
        worst = max(worst, abs(z - spectral_inverted_z(371.0, 90.0, 110.0, 1.0, b1)))
    return Measured(float(worst), 0, TOLERANCE, "fat at four B1")


def _transfer(full: bool) -> float:
    """Worst over two tissues and four waves: the formula against linear equations solved."""
    from voxelmill.kernels import transfer

    worst = 0.0
    for share, exchange, t2_us, t1, t2 in TISSUES.values():
        pools = transfer.Pools(t1, t2, share, exchange, 1000.0, t2_us)
        for saturation_hz, off_hz in ((50.0, 1000.0), (200.0, 2000.0), (500.0, 8000.0)):
            w, d = 2 * np.pi * saturation_hz, 2 * np.pi * off_hz
            bound = np.pi * w**2 * float(transfer.super_lorentzian_s(off_hz, t2_us))
            r1, r2, own = 1000 / t1, 1000 / t2, 1.0
            loss = [own + exchange + bound, exchange * share, own * share]
            if full:  # x, y, z of the free pool, z of the bound one
                a = [
                    [-r2, -d, 0, 0], [d, -r2, -w, 0],
                    [0, w, -r1 - loss[1], exchange], [0, 0, loss[1], -loss[0]],
                ]  # fmt: skip
                z = np.linalg.solve(a, [0, 0, -r1, -loss[2]])[2]
            else:
                direct = (w / d) ** 2 * r2
                a = [[-r1 - loss[1] - direct, exchange], [loss[1], -loss[0]]]
                z = np.linalg.solve(a, [-r1, -loss[2]])[0]
            made = transfer.transferred_z(pools, saturation_hz, off_hz)
            worst = max(worst, abs(float(made) - float(z)))
    return worst


def _transfer_rates() -> Measured:
    return Measured(_transfer(False), 0, TOLERANCE, "two tissues at 3 T, three waves")


def _transfer_bloch() -> Measured:
    return Measured(_transfer(True), 0, 1e-4, "the formula takes the line of the free pool as thin")


def _b_value() -> Measured:
    """The integral of k squared, each piece a parabola at most: two nodes are exact."""
    from voxelmill.kernels.diffusion import b_value

    g, small, big = 30e-3, 12e-3, 35e-3  # T/m, s, s
    gamma = 2 * np.pi * 42.577478518e6
    nodes, weights = np.polynomial.legendre.leggauss(2)
    b = 0.0
    for low, high, start, slope in (
        (0.0, small, 0.0, 1.0), (small, big, small, 0.0), (big, big + small, small, -1.0)
    ):  # fmt: skip
        at = (high - low) * (nodes + 1) / 2
        b += float((weights * (gamma * g * (start + slope * at)) ** 2).sum() * (high - low) / 2)
    off = float(b_value(30.0, 12.0, 35.0)) / (b * 1e-6) - 1
    return Measured(off, 0, TOLERANCE, f"relative, b = {b * 1e-6:.0f} s/mm^2")


def _kurtosis() -> Measured:
    from voxelmill.kernels.diffusion import kurtosis

    adc, spread, b = 1.5, 0.3, 900.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    mean = (np.exp(-b * (adc + spread * nodes) / 1000) * weights).sum() / np.sqrt(2 * np.pi)
    made = kurtosis(b, adc, 3 * spread**2 / adc**2)
    return Measured(float(made - mean), 0, TOLERANCE, "a Gaussian spread of coefficients")


def verify_rows() -> list[Row]:
    """What is not an echo."""
    return [
        Row(
            "spectrum.phase", "fat's peaks at echo times",
            "the sum of peaks is the mean of spins that precess apart", _spectrum,
        ),
        Row(
            "spectrum.saturation", "SPIR where B1 is off",
            "what a spectral pulse leaves is what the Bloch equation says", _saturation,
        ),
        Row(
            "transfer.rates", "magnetisation transfer, two pools",
            "the formula is the steady state of the rate equations", _transfer_rates,
        ),
        Row(
            "transfer.bloch", "magnetisation transfer, two pools",
            "and near that of the Bloch equation with exchange", _transfer_bloch,
        ),
        Row(
            "diffusion.b", "two gradient pulses", "b is the integral of k squared", _b_value,
        ),
        Row(
            "diffusion.kurtosis", "a spread of diffusion coefficients",
            "kurtosis is its second cumulant", _kurtosis,
        ),
    ]  # fmt: skip
