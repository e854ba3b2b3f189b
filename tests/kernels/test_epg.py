"""Echo trains: the twin's full graph, isochromats, closed forms, and bad input."""

import numpy as np
import pytest
from reference import epg as twin

from voxelmill.engine.verify import brute
from voxelmill.kernels import epg

RNG = np.random.default_rng(5)


def drawn(pulses):
    return {
        "t1_ms": RNG.uniform(200, 4500),
        "t2_ms": RNG.uniform(5, 300),
        "refocus_deg": RNG.uniform(0, 180, pulses),
        "esp_ms": RNG.uniform(4, 25),
        "b1": RNG.uniform(0.5, 1.3),
        "phases_deg": RNG.uniform(-180, 180, pulses),
        "excite_deg": RNG.uniform(10, 120),
        "excite_phase_deg": RNG.uniform(-180, 180),
    }


def one(t1_ms, t2_ms, *args, **kwargs):
    return epg.train(np.array([t1_ms]), np.array([t2_ms]), *args, **kwargs)[0]


@pytest.mark.parametrize("pulses", [1, 2, 3, 4, 5, 8, 17, 32])
def test_a_train_of_any_flips_and_phases_is_that_of_the_full_graph(pulses):
    given = drawn(pulses)
    expected, _ = twin.train(**given)
    np.testing.assert_allclose(one(**given), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pulses", [1, 2, 7, 16])
def test_the_twin_is_the_mean_of_isochromats_to_rounding(pulses):
    given = drawn(pulses)
    echoes, left = brute.train(brute.bloch.rest(), **given)
    expected, expected_left = twin.train(**given)
    np.testing.assert_allclose(echoes, expected, rtol=0, atol=1e-14)
    assert left[0, 2] == pytest.approx(expected_left, abs=1e-14)


def test_a_train_of_180_decays_with_t2_alone():
    t1, t2 = np.array([300, 4000, 900.0]), np.array([30, 2000, 0.25])
    echoes = epg.train(t1, t2, np.full(9, 180.0), 10.0)
    np.testing.assert_allclose(echoes, np.exp(-np.arange(10, 100, 10) / t2[:, None]), atol=1e-6)


def test_cpmg_is_real_and_positive_and_b1_scales_every_flip():
    t1, t2 = np.array([1412, 371.0]), np.array([40, 133.0])
    echoes = epg.train(t1, t2, np.full(16, 130.0), 10.0)
    assert (echoes.real > 0).all()
    assert np.abs(echoes.imag).max() < 1e-6
    scaled = epg.train(t1, t2, np.full(16, 130.0), 10.0, 0.7)
    by_hand = epg.train(t1, t2, np.full(16, 91.0), 10.0, excite_deg=63)
    np.testing.assert_allclose(scaled, by_hand, atol=1e-6)


def test_an_atom_by_itself_has_the_same_bits():
    count = 2 * epg.LANES + 7
    t1, t2 = RNG.uniform(200, 4000, count), RNG.uniform(20, 300, count)
    flips, b1 = RNG.uniform(40, 180, (count, 6)), RNG.uniform(0.6, 1.2, count)
    esp = RNG.uniform(4, 20, count)
    together = epg.train(t1, t2, flips, esp, b1)
    for i in (0, 1, epg.LANES - 1, epg.LANES, count - 8, count - 1):
        alone = epg.train(t1[i : i + 1], t2[i : i + 1], flips[i], esp[i], b1[i])
        assert alone.tobytes() == together[i : i + 1].tobytes()
    assert epg.train(t1[:0], t2[:0], flips[0], 9.0).shape == (0, 6)


def test_sines_and_cosines_are_right_for_any_flip():
    x = np.linspace(-100, 100, 20001).astype(np.float32)
    made = np.array([epg._sin_cos(v) for v in x])
    np.testing.assert_allclose(made.T, [np.sin(x, dtype=float), np.cos(x, dtype=float)], atol=3e-7)


def test_what_decays_at_once_is_zero_and_not_nan():
    echoes = epg.train(np.array([302.0]), np.array([0.25]), np.full(4, 150.0), 80.0)
    assert (echoes == 0).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"refocus_deg": np.zeros(4)}, "train of zeros"),
        ({"refocus_deg": np.array([[90, 90], [0, 0.0]])}, "train of zeros"),
        ({"refocus_deg": np.array([90, np.nan])}, "train of zeros"),
        ({"refocus_deg": np.zeros((2, 0))}, "N above 0"),
        ({"refocus_deg": np.ones((3, 4))}, r"\(2, N\) for 2 atoms"),
        ({"t1_ms": np.array([900, -3.0])}, r"t1_ms must be above 0, not -3"),
        ({"t2_ms": np.array([np.nan, 3.0])}, "t2_ms must be above 0, not nan"),
        ({"esp_ms": 0.0}, "esp_ms must be above 0"),
    ],
)
def test_bad_trains_are_refused(change, said):
    good = {
        "t1_ms": np.array([900, 800.0]),
        "t2_ms": np.array([90, 80.0]),
        "refocus_deg": np.full(4, 150.0),
        "esp_ms": 9.0,
    }
    with pytest.raises(ValueError, match=said):
        epg.train(**{**good, **change})
