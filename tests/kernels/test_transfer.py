"""Magnetisation transfer against the coupled equations solved as a matrix."""

import numpy as np
import pytest
from scipy.integrate import quad

from voxelmill.kernels import transfer


def pools(share, exchange, t2_bound_us, t1=1084.0, t2=69.0):
    return transfer.Pools(t1, t2, share, exchange, 1000.0, t2_bound_us)


def rates(p, saturation_hz, off_hz, direct):
    """Steady (z free, z bound) of the two rate equations."""
    bound_rate = np.pi * (2 * np.pi * saturation_hz) ** 2 * shape(off_hz, p.t2_bound_us)
    free, own, r, f = 1000 / p.t1_ms, 1000 / p.t1_bound_ms, p.exchange_hz, p.bound
    a = [[-free - r * f - direct, r], [r * f, -own - r - bound_rate]]
    return np.linalg.solve(a, [-free, -own * f])


def shape(off_hz, t2_us):
    w = 2 * np.pi * off_hz * t2_us * 1e-6

    def line(u):
        slope = abs(3 * u * u - 1)
        return np.exp(-2 * (w / slope) ** 2) / slope if slope else 0.0

    magic = 1 / np.sqrt(3)
    both = [
        quad(line, *ends, limit=400, epsabs=0, epsrel=1e-12)[0] for ends in ((0, magic), (magic, 1))
    ]
    return np.sqrt(2 / np.pi) * t2_us * 1e-6 * sum(both)


@pytest.mark.parametrize("off_hz", [200.0, 1000.0, 5000.0, -20000.0])
def test_the_line_is_its_integral(off_hz):
    made = transfer.super_lorentzian_s(off_hz, 10.0)
    assert made == pytest.approx(shape(off_hz, 10.0), rel=1e-9)


def test_the_line_has_area_one():
    area = 2 * quad(lambda x: np.exp(x) * transfer.super_lorentzian_s(np.exp(x), 10.0), -9, 14)[0]
    assert area * 2 * np.pi == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="no value at 0"):
        transfer.super_lorentzian_s(np.array([100.0, 0]), 10.0)


@pytest.mark.parametrize("tissue", [transfer.WHITE_MATTER_3T, transfer.GREY_MATTER_3T])
def test_the_formula_is_the_steady_state_of_the_rate_equations(tissue):
    p = pools(*tissue)
    for saturation_hz, off_hz in ((200, 2000.0), (500, 8000.0), (50, 1000.0)):
        direct = (saturation_hz / off_hz) ** 2 * 1000 / p.t2_ms
        made = transfer.transferred_z(p, saturation_hz, off_hz)
        assert made == pytest.approx(rates(p, saturation_hz, off_hz, direct)[0], abs=1e-12)


def test_without_a_bound_pool_or_a_wave_nothing_is_transferred():
    assert transfer.transferred_z(pools(0.0, 23.0, 10.0), 1e-6, 2000.0) == pytest.approx(1)
    assert transfer.transferred_z(pools(0.139, 23.0, 10.0), 1e-6, 2000.0) == pytest.approx(1)
    z = transfer.transferred_z(pools(0.139, 23.0, 10.0), np.array([100, 200, 400.0]), 2000.0)
    assert (np.diff(z) < 0).all()


def test_against_the_bloch_equation_with_exchange():
    """Seven dimensions less two: x, y, z of the free pool, z of the bound one, and rest."""
    p, saturation_hz, off_hz = pools(*transfer.WHITE_MATTER_3T), 300.0, 4000.0
    w, d = 2 * np.pi * saturation_hz, 2 * np.pi * off_hz
    r1, r2, own = 1000 / p.t1_ms, 1000 / p.t2_ms, 1000 / p.t1_bound_ms
    bound = np.pi * w**2 * shape(off_hz, p.t2_bound_us)
    r, f = p.exchange_hz, p.bound
    a = [
        [-r2, -d, 0, 0],
        [d, -r2, -w, 0],
        [0, w, -r1 - r * f, r],
        [0, 0, r * f, -own - r - bound],
    ]
    z = np.linalg.solve(a, [0, 0, -r1, -own * f])[2]
    assert transfer.transferred_z(p, saturation_hz, off_hz) == pytest.approx(z, abs=1e-5)
