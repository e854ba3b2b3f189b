"""The Bloch simulator against what follows from the equation without it."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from voxelmill.engine import bloch


def test_a_pulse_turns_right_handed_about_its_axis():
    m = bloch.pulse(bloch.rest(), 90)
    np.testing.assert_allclose(m, [[0, -1, 0]], atol=1e-15)
    m = bloch.pulse(bloch.rest(), 90, 90)
    np.testing.assert_allclose(m, [[1, 0, 0]], atol=1e-15)
    for phase in (0, 33, -120):
        axis = [np.cos(np.radians(phase)), np.sin(np.radians(phase)), 0]
        m = np.array([[0.3, -0.2, 0.7]])
        turned = bloch.pulse(m, 50, phase)[0]
        expected = (  # Rodrigues
            m[0] * np.cos(np.radians(50))
            + np.cross(axis, m[0]) * np.sin(np.radians(50))
            + np.array(axis) * (m[0] @ axis) * (1 - np.cos(np.radians(50)))
        )
        np.testing.assert_allclose(turned, expected, atol=1e-15)


def test_waiting_solves_the_differential_equation():
    t1, t2, off_hz = 300.0, 40.0, 17.0
    w = 2 * np.pi * off_hz / 1000

    def slope(_, m):
        return [-w * m[1] - m[0] / t2, w * m[0] - m[1] / t2, (1 - m[2]) / t1]

    start = [0.4, -0.3, -0.8]
    end = solve_ivp(slope, (0, 25), start, rtol=1e-11, atol=1e-13).y[:, -1]
    np.testing.assert_allclose(bloch.wait(np.array([start]), 25, t1, t2, off_hz)[0], end, atol=1e-9)
    with pytest.raises(ValueError, match="overlap"):
        bloch.wait(np.array([start]), -1, t1, t2)


def test_gradients_average_to_nothing_and_come_back():
    m = bloch.pulse(bloch.rest(7), 90, 90)
    away = bloch.dephase(m)
    assert abs(bloch.signal(away)) < 1e-15
    assert abs(bloch.signal(bloch.dephase(away, 5))) < 1e-15
    assert bloch.signal(bloch.dephase(away, 6)) == pytest.approx(1)  # 7 turns of 7 spins
    assert bloch.signal(bloch.dephase(away, -1)) == pytest.approx(1)


def test_the_steady_state_is_what_many_repetitions_reach():
    def period(m):
        m = bloch.wait(bloch.pulse(m, 35, 20), 6.0, 300.0, 60.0, 40.0)
        return bloch.dephase(m)

    m = bloch.rest(5)
    for _ in range(3000):
        m = period(m)
    np.testing.assert_allclose(bloch.steady(period, 5), m, atol=1e-13)
