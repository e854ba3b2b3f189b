"""Protocols: the golden numbers of the thigh and the brain, drawn rows, mistakes."""

from dataclasses import replace

import numpy as np
import pytest

from voxelmill.engine import protocols as p
from voxelmill.engine.draw import Fixed, Integer, Stream, Uniform
from voxelmill.engine.recipes.thigh_ranges import Dixon
from voxelmill.engine.tissues import AT, COLUMNS
from voxelmill.kernels.spectrum import SPECTRA, spectral_phase

# Recomputed closed forms at 3 T with these parameters: muscle, subcutaneous fat, marrow, bone.
THIGH = {
    "t1": (1412, 371, 365, 302),
    "t2": (40, 133, 133, 0.25),
    "t2s": (28, 25, 12, 0.3),
    "pd": (0.80, 0.90, 0.85, 0.15),
}
BRAIN = {
    "t1": (1084, 1820, 4163),
    "t2": (69, 99, 1650),
    "t2s": (53.2, 66, 58),
    "pd": (0.77, 0.86, 1),
}


def table(t1, t2, t2s, pd, fat=0.0):
    made = np.zeros((len(t1), len(COLUMNS)))
    for name, values in {"pd": pd, "fat_fraction": fat, "t1_ms": t1, "t2_ms": t2,
                         "fat_t1_ms": t1, "fat_t2_ms": t2, "t2s_ms": t2s}.items():  # fmt: skip
        made[:, AT[name]] = values
    return made


def fixed(kind, **values):
    return kind(**{k: v if isinstance(v, str) else Fixed(v) for k, v in values.items()})


def shown(protocol, tissues, b1=(1.0,), tesla=3.0):
    row = p.draw_protocol(protocol, Stream(1, 2), 0, tesla)
    if isinstance(protocol, p.FastSpinEcho):  # the golden train is one echo longer than ours
        row["echoes"] = protocol.echoes.value
    made = p.signals(row, tissues, ["hamilton"] * len(tissues), np.array(b1), tesla)
    return made[:, 0, 0]


@pytest.mark.parametrize(
    ("tissues", "protocol", "golden"),
    [
        (THIGH, fixed(p.SpinEcho, tr_ms=600, te_ms=15), (0.1865, 0.6379, 0.6065, 0)),
        (
            THIGH,
            fixed(p.FastSpinEcho, tr_ms=3000, te_ms=80, spacing_ms=10, echoes=16, refocus_deg=150),
            (0.1025, 0.4831, 0.4562, 0),
        ),
        (THIGH, fixed(p.SpoiledEcho, tr_ms=8, te_ms=2.3, flip_deg=25), (0.0178, 0.0655, 0.0567, 0)),
        (THIGH, fixed(p.BalancedEcho, tr_ms=5, flip_deg=45), (0.0469, 0.2521, 0.2393, 0)),
        (
            BRAIN,
            fixed(p.Mprage, tr_ms=2300, ti_ms=900, te_ms=3, flip_deg=9, spacing_ms=7.1, pulses=176,
                  efficiency=1),
            (0.02578, 0.01511, 0.00552),
        ),
    ],
)  # fmt: skip
def test_golden_signals(tissues, protocol, golden):
    np.testing.assert_allclose(abs(shown(protocol, table(**tissues))), golden, atol=6e-5)


def test_inversion_recovery_keeps_the_sign_and_nulls_fat_near_its_ti():
    stir = fixed(p.InversionFse, tr_ms=4000, ti_ms=220, te_ms=50, spacing_ms=10, echoes=10,
                 refocus_deg=180, efficiency=1)  # fmt: skip
    muscle, fat, marrow, bone = shown(stir, table(**THIGH))
    np.testing.assert_allclose(abs(np.array([muscle, fat, marrow, bone])),
                               (0.1486, 0.0651, 0.0552, 0), atol=1e-4)  # fmt: skip
    assert muscle.real < 0
    assert fat.real < 0


def test_fat_and_water_meet_in_phase_and_part_out_of_phase():
    tissues = table([1400.0], [40.0], [1e9], [1.0], fat=0.5)
    for phase, sign in (("in", 1), ("opposed", -1)):
        kind = fixed(p.SpoiledEcho, tr_ms=10, te_ms=2.0, flip_deg=5, phase=phase)
        row = p.draw_protocol(kind, Stream(0, 0), 0, 3.0)
        water, fat = p.signals(row, tissues, ["single"], np.ones(1), 3.0)[0, 0]
        assert np.sign((fat / water).real) == sign
        assert abs((fat / water).imag) < 1e-3
    assert row["te_ms"] == pytest.approx(1.1513, abs=1e-3)


def test_fat_falls_into_the_bands_of_balanced_echoes():
    tissues = table([371.0], [133.0], [1e9], [1.0], fat=1.0)
    at = {}
    for tr_ms in (2.3, 4.6):  # at 3 T a turn of fat lasts 2.303 ms; bands lie half a turn off
        row = p.draw_protocol(fixed(p.BalancedEcho, tr_ms=tr_ms * 1.5, flip_deg=45),
                              Stream(0, 0), 0, 3.0)  # fmt: skip
        at[tr_ms] = abs(p.signals(row, tissues, ["single"], np.ones(1), 3.0)[0, 0, 1])
    assert at[2.3] < 0.3 * at[4.6]


def test_suppression_fails_where_b0_or_b1_is_off():
    kind = fixed(p.SpinEcho, suppress="fat", suppress_deg=90)
    row = p.draw_protocol(kind, Stream(0, 0), 0, 3.0)
    left = p.suppression(row, "fat", np.array([0.0, 300.0]), np.array([1.0, 1.0]), 3.0)
    assert left[0] < 0.12  # the peaks near water stay
    assert left[1] > 0.8
    assert p.suppression(row, "fat", np.zeros(1), np.full(1, 0.6), 3.0)[0] > 0.45
    water = p.suppression(row, "water", np.array([0.0, -434.0]), np.ones(2), 3.0)
    np.testing.assert_allclose(water, [1, 0], atol=1e-6)
    none = p.draw_protocol(fixed(p.SpinEcho), Stream(0, 0), 0, 3.0)
    assert p.suppression(none, "fat", np.zeros(3), np.ones(3), 3.0) == 1


def test_suppression_of_maps_is_that_of_single_places():
    row = p.draw_protocol(fixed(p.SpinEcho, suppress="fat", suppress_deg=95), Stream(0, 0), 0, 3.0)
    off_hz = np.linspace(-700, 700, 3000, dtype=np.float32).reshape(1, 3, 20, 50)
    b1 = np.linspace(0.6, 1.2, 3000, dtype=np.float32).reshape(off_hz.shape)
    for pool in ("water", "fat"):
        whole = p.suppression(row, pool, off_hz, b1, 3.0)
        parts = [p.suppression(row, pool, off_hz[:, z], b1[:, z], 3.0) for z in range(3)]
        np.testing.assert_allclose(whole, np.stack(parts, 1), atol=2e-5)
        assert whole.dtype == np.float32


def test_the_echo_at_the_centre_has_weight_one_and_short_t2_falls_faster():
    kind = fixed(p.FastSpinEcho, te_ms=40, spacing_ms=10, echoes=12, refocus_deg=180)
    row = p.draw_protocol(kind, Stream(0, 0), 0, 3.0)
    weights = p.t2_weights(row, table(**THIGH), (0, 1))
    assert row["centre"] == 3
    np.testing.assert_allclose(weights[:, 3], 1)
    np.testing.assert_allclose(weights[0, 8], np.exp(-50 / 40), rtol=1e-3)
    assert weights[0, 11] < weights[1, 11] < 1


@pytest.mark.parametrize(("te_ms", "echoes", "whole"), [(80, 16, 15), (10, 16, 16), (40, 8, 7)])
def test_a_train_is_as_long_after_its_effective_echo_as_before(te_ms, echoes, whole):
    kind = fixed(p.FastSpinEcho, te_ms=te_ms, spacing_ms=10, echoes=echoes, refocus_deg=180)
    assert p.draw_protocol(kind, Stream(0, 0), 0, 3.0)["echoes"] == whole


def test_slots_draw_apart_and_a_row_does_not_depend_on_others():
    kind = p.FastSpinEcho()
    first, second = (p.draw_protocol(kind, Stream(3, 9), slot, 3.0) for slot in (0, 1))
    assert first["tr_ms"] != second["tr_ms"]
    assert first["te_ms"] == pytest.approx((first["centre"] + 1) * first["spacing_ms"])


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (p.SpinEcho(tr_ms=Fixed(20), te_ms=Uniform(10, 30)), "TE up to 30 ms is not below TR"),
        (p.InversionFse(ti_ms=Fixed(3600)), "TI up to 3600 ms and a train"),
        (p.FastSpinEcho(echoes=Integer(2, 4)), "beyond a train of 16 ms"),
        (p.Mprage(pulses=Integer(300, 400)), "half a train lasts up to"),
        (p.Mprage(te_ms=Fixed(9)), "not below spacing_ms"),
    ],
)
def test_times_that_cannot_be_are_told_with_a_cure(protocol, message):
    found = list(p.check(protocol, "ranges.x"))
    assert any(message in one and one.startswith("ranges.x") for one in found), found


def test_the_last_of_several_gradient_echoes_must_come_before_the_next_pulse():
    kind = Dixon(echoes=6, spacing_ms=Fixed(3.0), tr_ms=Fixed(12.0))
    found = list(p.check(kind, "ranges.protocols.dixon"))
    assert len(found) == 1
    assert "the last echo up to 16.4 ms is not below TR from 12 ms" in found[0]
    assert not list(p.check(Dixon(), "dixon", [1.5, 3.0]))


@pytest.mark.parametrize(("phase", "moved"), [("in", 4.61), ("opposed", 6.91)])
def test_a_te_that_the_phase_moves_must_stay_below_tr(phase, moved):
    kind = p.SpoiledEcho(tr_ms=Fixed(4.5), te_ms=Uniform(1, 4.2), flip_deg=Fixed(20), phase=phase)
    drawn = p.draw_protocol(replace(kind, te_ms=Fixed(4.2)), Stream(0, 0), 0, 1.5)
    assert not list(p.check(replace(kind, phase="any"), "ranges.x", [1.5, 3.0]))
    if phase == "opposed":  # at 1.5 T 2.3 or 6.9 ms: 4.2 is nearer to 2.3
        assert not list(p.check(kind, "ranges.x", [1.5, 3.0]))
        kind = replace(kind, tr_ms=Fixed(5), te_ms=Uniform(1, 4.8))
    else:
        assert drawn["te_ms"] == pytest.approx(moved, abs=0.01)
    found = list(p.check(kind, "ranges.x", [1.5]))
    assert len(found) == 1
    assert f"becomes {moved:.2f} ms at 1.5 T" in found[0]
    assert "raise tr_ms" in found[0]


@pytest.mark.parametrize("tesla", [1.5, 3.0])
@pytest.mark.parametrize("echoes", [3, 6])
def test_echoes_a_whole_turn_of_fat_apart_are_refused(tesla, echoes):
    period_ms = 6.908 / tesla
    dixon = Dixon(tr_ms=Fixed(60), echoes=echoes)
    for turns in (1, 2):
        near = Uniform(turns * period_ms - 0.2, turns * period_ms + 0.2)
        found = list(p.check(replace(dixon, spacing_ms=near), "ranges.dixon", [tesla]))
        assert len(found) == 1
        assert "ranges.dixon.spacing_ms" in found[0]
        assert f"{tesla:g} T" in found[0]
        assert "best near" in found[0]
        assert not list(p.check(replace(dixon, spacing_ms=near), "ranges.dixon"))
    good = replace(dixon, spacing_ms=Fixed(period_ms / 3))
    assert not list(p.check(good, "ranges.dixon", [tesla]))


def test_the_noise_of_water_and_fat_is_that_of_their_least_squares():
    te_ms, spacing = np.array([1.2, 1.4]), np.array([0.9, 1.9, 2.3])
    made = p.separation_noise(te_ms, spacing, 4, 3.0)
    for i, j in np.ndindex(2, 3):
        at = te_ms[i] + spacing[j] * np.arange(4)
        system = np.stack([np.ones(4), spectral_phase(SPECTRA["hamilton"], at, 3.0)], 1)
        wanted = np.sqrt((abs(np.linalg.pinv(system)) ** 2).sum(1).max())
        assert made[i, j] == pytest.approx(wanted, rel=1e-6)


def test_defaults_are_possible():
    for kind in p.SEQUENCES:
        assert not list(p.check(kind(), kind.sequence, [1.5, 3.0])), kind
