"""Thighs from nothing: whole bones in every sample, muscles in their places, addresses of draws."""

from dataclasses import replace

import numpy as np
import pytest

from voxelmill.engine.draw import Choice, Fixed, Stream, name_code
from voxelmill.engine.label_table import open_table
from voxelmill.engine.thigh_check import open_slices, topology, topology_problems
from voxelmill.engine.thigh_noise import fat_fraction
from voxelmill.engine.thigh_params import NAMES, ThighRanges, draw_thigh
from voxelmill.engine.thigh_shape import procedural_thigh
from voxelmill.kernels import thigh as kernel

VOXEL_MM = (20.0, 0.8, 0.8)
BOTH = (8, 300, 560)
ONE = (8, 256, 272)
TABLE = open_table("thigh")


def drawn(seed, count, **fixed):
    ranges = replace(ThighRanges(), **fixed)
    streams = [Stream(seed, i) for i in range(count)]
    return [draw_thigh(ranges, s) for s in streams], streams


def test_bones_are_whole_in_every_sample():
    params, streams = drawn(11, 40)
    for p, s in zip(params, streams, strict=True):
        rows = procedural_thigh([p], [s], BOTH, VOXEL_MM)[0]
        assert topology_problems(rows, VOXEL_MM) == [], p
        assert topology(rows, VOXEL_MM).bones == 2 * len(rows)
        assert rows.max() < len(TABLE)


@pytest.mark.parametrize("level", [0.2, 0.85])
def test_bones_are_whole_at_both_ends_and_when_thin(level):
    params, streams = drawn(12, 4, level=Fixed(level), cortex_mm=Fixed(1.5), femur_mm=Fixed(12))
    rows = procedural_thigh(params, streams, BOTH, VOXEL_MM)
    for sample in rows:
        assert topology_problems(sample, VOXEL_MM) == []


def test_tissues_lie_in_layers_and_muscles_in_their_places():
    params, streams = drawn(
        13, 3, legs=Choice({"right": 1.0}), level=Fixed(0.5), turn_deg=Fixed(0), asymmetry=Fixed(0),
        atrophy_mm=Fixed(0.2), infiltration=Fixed(0.3), fascia_mm=Fixed(1.2),
    )  # fmt: skip
    for sample in procedural_thigh(params, streams, (3, *ONE[1:]), (2.0, 0.8, 0.8)):
        rows = sample[1]
        at = {
            name: np.argwhere(rows == i).mean(0)
            for i, name in enumerate(TABLE.names)
            if (rows == i).any()
        }
        bone = at["marrow"]
        assert at["rectus femoris"][0] < bone[0] - 20  # in front
        assert at["semitendinosus"][0] > bone[0] + 40  # behind
        assert at["vastus lateralis"][1] < bone[1] < at["vastus medialis"][1]  # a right leg
        assert at["gracilis"][1] > at["adductor magnus"][1] > bone[1]
        assert at["biceps femoris long"][1] < at["semimembranosus"][1]
        assert at["sartorius"][1] > bone[1] + 30
        assert at["nerve"][0] > bone[0] + 15
        away = np.argwhere(rows == kernel.VEIN)[:, None] - np.argwhere(rows == kernel.ARTERY)
        assert np.hypot(*np.moveaxis(away, -1, 0)).min() * 0.8 < 4  # side by side
        middle = rows[:, rows.shape[1] // 2]
        order = [TABLE.names[i] for i in middle[np.flatnonzero(np.diff(middle, prepend=0))]]
        assert order[:3] == ["skin", "subcutaneous fat", "fascia"]
        assert order[-4:] == ["fascia", "subcutaneous fat", "skin", "background"]
        quadriceps = np.isin(rows, range(12, 16)).sum() / (rows >= kernel.FIRST_MUSCLE).sum()
        assert 0.4 < quadriceps < 0.66


def test_a_left_leg_is_a_right_one_seen_in_a_mirror():
    kept = dict.fromkeys(("turn_deg", "asymmetry"), Fixed(0.0))
    params, streams = drawn(14, 1, **kept)
    rows = procedural_thigh(params, streams, BOTH, VOXEL_MM)[0]
    x = np.arange(rows.shape[2])
    for name in ("vastus lateralis", "gracilis"):
        columns = x[(rows == TABLE.row(name)).any((0, 1))]
        middle = (rows.shape[2] - 1) / 2
        assert columns.min() < middle < columns.max()
    lateral = (rows == TABLE.row("vastus lateralis")).any((0, 1))
    inner = (rows == TABLE.row("gracilis")).any((0, 1))
    assert np.abs(x[lateral] - middle).min() > np.abs(x[inner] - middle).max()


@pytest.mark.parametrize(
    ("name", "low", "high", "row"),
    [
        ("fat_mm", 5.0, 25.0, "subcutaneous fat"),
        ("atrophy_mm", 0.1, 4.0, "intermuscular fat"),
        ("infiltration", 0.0, 2.0, "intermuscular fat"),
        ("cortex_mm", 4.0, 8.0, "cortical bone"),
        ("skin_mm", 1.0, 3.0, "skin"),
    ],
)
def test_parameters_move_their_tissue(name, low, high, row):
    sizes = []
    for value in (low, high):
        params, streams = drawn(15, 2, legs=Choice({"left": 1.0}), **{name: Fixed(value)})
        rows = procedural_thigh(params, streams, ONE, VOXEL_MM)
        sizes.append((rows == TABLE.row(row)).sum())
    assert sizes[1] > 1.3 * sizes[0]


def test_asymmetry_makes_the_left_leg_larger():
    params, streams = drawn(16, 1, asymmetry=Fixed(0.2), gap_mm=Fixed(20))
    muscle = procedural_thigh(params, streams, BOTH, VOXEL_MM)[0] >= kernel.FIRST_MUSCLE
    right, left = np.split(muscle, 2, 2)
    assert 1.2 < left.sum() / right.sum() < 1.9


def test_touching_legs_keep_a_skin_each():
    kept = {"gap_mm": -25, "fat_mm": 14, "skin_mm": 2.4, "level": 0.5}
    params, streams = drawn(17, 1, **{name: Fixed(value) for name, value in kept.items()})
    rows = procedural_thigh(params, streams, BOTH, VOXEL_MM)[0, -3:]  # the widest
    middle = rows[:, 150, 230:330]
    assert (middle == kernel.SKIN).any(1).all()
    assert not (middle == kernel.BACKGROUND).any()


def test_a_sample_does_not_depend_on_its_batch_and_names_do_not_meet():
    params, streams = drawn(18, 3, legs=Choice({"right": 1.0}))
    together = procedural_thigh(params, streams, ONE, VOXEL_MM)
    alone = procedural_thigh(params[1:2], streams[1:2], ONE, VOXEL_MM)
    np.testing.assert_array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])
    assert len({name_code(name) for name in NAMES}) == len(set(NAMES)) == len(NAMES)


def test_wide_voxels_are_refused():
    params, streams = drawn(19, 1)
    with pytest.raises(ValueError, match=r"voxels of 0.8 x 1 mm are too wide .* 0.85 mm or finer"):
        procedural_thigh(params, streams, BOTH, (5.0, 0.8, 1.0))


def ring(hole=False):
    y, x = np.indices((41, 43))
    away = np.hypot(y - 20, x - 21)
    rows = np.full((1, 41, 43), kernel.MUSCLE, np.uint8)
    rows[0][away < 14] = kernel.CORTEX
    rows[0][away < 9] = kernel.MARROW
    if hole:
        rows[0, 20, 28:] = kernel.IMF
    return rows


def test_topology_of_rings():
    found = topology(ring(), (5.0, 0.5, 0.5))
    assert found[:4] == (1, (), 0, 0)
    assert found.thinnest_mm == pytest.approx(2.5, abs=0.5)
    assert topology_problems(ring(), (5.0, 0.5, 0.5)) == []
    text = "; ".join(topology_problems(ring(True), (5.0, 0.5, 0.5)))
    assert "cortex is open in slices 0" in text
    assert "touch another tissue than cortex" in text
    assert topology_problems(ring() * 0, (5.0, 0.5, 0.5)) == ["no marrow"]
    thin = topology_problems(ring(), (5.0, 0.1, 0.1))
    assert len(thin) == 1
    assert "mm thin; 1 mm is the least" in thin[0]
    shifted = np.concatenate([ring(), np.roll(ring(), 12, 2)])
    assert topology(shifted, (5.0, 0.5, 0.5)).through > 0


def test_a_corner_is_a_leak():
    wall = np.ones((1, 5, 5), bool)
    wall[0, 2, 2] = False
    marrow = ~wall
    assert open_slices(wall, marrow) == ()
    wall[0, 1, 1] = wall[0, 0, 0] = False
    assert open_slices(wall, marrow) == (0,)


def test_the_fat_fraction_is_streaked_along_the_leg_about_its_mean():
    params, streams = drawn(20, 3, muscle_fat=Fixed(0.06))
    field = fat_fraction(params, streams, (20, 60, 70), (5.0, 2.0, 2.0))
    assert field.dtype == np.float32
    assert field.min() > 0
    np.testing.assert_allclose(field.mean(), 0.06, rtol=0.06)
    across = np.abs(np.diff(np.log(field), axis=3)).mean() / 2.0
    along = np.abs(np.diff(np.log(field), axis=1)).mean() / 5.0
    assert along < 0.2 * across
    alone = fat_fraction(params[1:2], streams[1:2], (20, 60, 70), (5.0, 2.0, 2.0))
    np.testing.assert_array_equal(field[1], alone[0])
