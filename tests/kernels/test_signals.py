"""Closed forms against the Bloch equation played pulse by pulse, at 1e-10, and bad input."""

import numpy as np
import pytest

from voxelmill.engine.verify import brute
from voxelmill.kernels import signals

RNG = np.random.default_rng(3)
U = RNG.uniform


def tissue():
    return {"t1_ms": U(200, 4500), "t2_ms": U(15, 300)}


def times(tr_ms, **more):
    return {"tr_ms": U(*tr_ms), **{name: U(*bounds) for name, bounds in more.items()}}


CASES = {
    "spin_echo": lambda: {
        **tissue(),
        **times((300, 3000), te_ms=(5, 100), flip_deg=(20, 120), refocus_deg=(60, 180)),
        "b1": U(0.5, 1.3),
        "prepared": U(-0.4, 1),
    },
    "spoiled_echo": lambda: {
        "t1_ms": U(200, 4500),
        "t2s_ms": U(3, 100),
        **times((6, 50), te_ms=(1, 6), flip_deg=(2, 90)),
        "b1": U(0.5, 1.3),
        "prepared": U(-0.4, 1),
    },
    "balanced_echo": lambda: {
        **tissue(),
        **times((4, 8), te_ms=(0, 4), flip_deg=(5, 90), off_hz=(-400, 400)),
        "b1": U(0.5, 1.3),
    },
    "inversion_spin_echo": lambda: {
        **tissue(),
        **times((1800, 6000), ti_ms=(0, 1700), te_ms=(5, 120), efficiency=(0, 1)),
    },
    "inversion_fse": lambda: {
        **tissue(),
        **times((2200, 9000), ti_ms=(0, 1700), te_ms=(5, 120), train_ms=(50, 400)),
        "efficiency": U(0, 1),
    },
    "double_inversion": lambda: {
        **tissue(),
        **times((4000, 9000), ti1_ms=(0, 2800), ti2_ms=(0, 700), te_ms=(5, 120)),
        "train_ms": U(50, 400),
    },
    "mprage": lambda: {
        "t1_ms": U(200, 4500),
        "t2s_ms": U(10, 100),
        **times((550, 700), ti_ms=(150, 200), te_ms=(1, 5), flip_deg=(4, 15), spacing_ms=(5.5, 8)),
        "pulses": 37,
        "centre": int(U(0, 18)),
        "pulse": int(U(0, 37)),
        "efficiency": U(0.7, 1),
        "b1": U(0.5, 1.3),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_a_closed_form_is_the_steady_state_of_the_bloch_equation(name):
    for _ in range(12):
        given = CASES[name]()
        played = getattr(brute, name)(**given)
        assert abs(getattr(signals, name)(0.8, **given) - 0.8 * played) < 1e-13, given


def test_stimulated_echoes_across_repetitions_are_what_the_spin_echo_leaves_out():
    given = (1412, 50, 600, 15, 70, 150)
    assert brute.spin_echo_same_crushers(*given).real == pytest.approx(0.19424, abs=5e-6)
    assert signals.spin_echo(1, *given) == pytest.approx(0.18483, abs=5e-6)


@pytest.mark.parametrize(("t1", "t2"), [(1412.0, 40.0), (371.0, 133.0), (4163.0, 1650.0)])
def test_what_a_train_leaves_along_z_is_little(t1, t2):
    """`recovered_z` and `inverted_z` take it for nothing."""
    for flip, bound in ((180, 1e-7), (150, 1e-3)):
        echo = brute.train(brute.bloch.rest(), t1, t2, [flip] * 10, 10)[0][4]
        shots = brute.fast_spin_echo(t1, t2, 3000, 10, [flip] * 10)[4]
        assert abs(signals.fast_spin_echo(1, t1, 3000, 100, echo) - shots) < bound
        shots = brute.fast_spin_echo(t1, t2, 4000, 10, [flip] * 10, ti_ms=220)[4]
        assert abs(signals.inverted_z(t1, 4000, 220, 100) * echo - shots) < bound


def test_radio_frequency_spoiling_is_not_ideal():
    ideal = signals.spoiled_echo(1, 1412, 40, 8, 2.3, 25)
    played = abs(brute.rf_spoiled_echo(1412, 40, 8, 2.3, 25, 117))
    assert 0.005 < abs(played / ideal - 1) < 0.03
    assert abs(brute.rf_spoiled_echo(1412, 40, 8, 2.3, 25, 0)) > 2 * ideal


def test_arrays_broadcast_and_keep_their_sign():
    t1, t2 = np.array([884, 1820, 4163.0]), np.array([70, 99, 1650.0])
    ti = np.array([200, 900.0])[:, None]
    made = signals.inversion_fse(1.0, t1, t2, 9000, ti, 100, 200)
    assert made.shape == (2, 3)
    assert (made[0] < 0).all()
    null = signals.null_ti_ms(t1, 9000.0, 200.0)
    np.testing.assert_allclose(signals.inverted_z(t1, 9000.0, null, 200.0), 0, atol=1e-15)
    train = [
        signals.mprage(1, 850.0, 50.0, 2300, 900, 3, 9, 7.1, 176, 88, pulse=n) for n in range(176)
    ]
    at_once = signals.mprage(1, 850.0, 50.0, 2300, 900, 3, 9, 7.1, 176, 88, pulse=np.arange(176))
    np.testing.assert_allclose(at_once, train, rtol=1e-12)


def test_the_ernst_angle_is_the_best():
    best = signals.ernst_deg(371.0, 8.0)
    around = signals.spoiled_echo(1, 371.0, 20.0, 8.0, 2.0, best + np.array([-0.1, 0, 0.1]))
    assert around.argmax() == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: signals.spin_echo(1, 900, 50, 100, 100), r"te_ms 100 .* below tr_ms 100"),
        (lambda: signals.spin_echo(1, np.array([900, -1]), 50, 600, 15), "t1_ms must be above 0"),
        (lambda: signals.spin_echo(1, np.nan, 50, 600, 15), "t1_ms must be above 0"),
        (lambda: signals.spoiled_echo(1, 900, 0, 8, 2, 9), "t2s_ms must be above 0"),
        (lambda: signals.spoiled_echo(1, 900, 20, 8, -2, 9), "te_ms -2 must be at least 0"),
        (lambda: signals.balanced_echo(1, 900, 20, 8, 9, 9), "te_ms 9"),
        (lambda: signals.inversion_spin_echo(1, 900, 50, 800, 900, 15), r"ti_ms 900 .* tr_ms 800"),
        (lambda: signals.inversion_fse(1, 900, 50, 3000, 2950, 50, 100), r"with train_ms 100"),
        (lambda: signals.inversion_fse(1, 900, 50, 3000, -5, 50, 100), "ti_ms -5"),
        (lambda: signals.inversion_fse(1, 900, 50, 90, 5, 50, 100), "train_ms 100"),
        (lambda: signals.double_inverted_z(900, 3000, 2500, 450, 100), "ti1_ms [+] ti2_ms 2950"),
        (lambda: signals.mprage(1, 900, 50, 2300, 600, 3, 9, 7, 176, 88), "does not fit"),
        (lambda: signals.mprage(1, 900, 50, 1300, 900, 3, 9, 7, 176, 88), "does not fit"),
        (lambda: signals.mprage(1, 900, 50, 2300, 900, 3, 9, 7, 176, 176), "centre 176"),
        (lambda: signals.mprage(1, 900, 50, 2300, 900, 8, 9, 7, 176, 88), "spacing_ms 7"),
        (lambda: signals.null_ti_ms(900.0, 200, 300), "train_ms 300"),
    ],
)
def test_impossible_timings_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
