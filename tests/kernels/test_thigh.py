"""Kernels of thighs: the same as their twins, whole bones, errors."""

import numpy as np
import pytest
from reference import thigh as twin
from thighs import VOXEL_MM, depth_arrays, tables

from voxelmill.kernels import thigh


def test_shapes_are_those_of_the_twin():
    args = *tables(), (17, 36), VOXEL_MM
    rows = thigh.of_shapes(*args)
    np.testing.assert_array_equal(rows, twin.of_shapes(*args))
    assert set(range(thigh.FIRST_MUSCLE)) - {thigh.MUSCLE} <= set(np.unique(rows).tolist())


def test_depths_are_those_of_the_twin():
    legs, _, vessels, noise = tables()
    args = *depth_arrays(legs), legs, vessels, noise, VOXEL_MM
    rows = thigh.of_depths(*args)
    np.testing.assert_array_equal(rows, twin.of_depths(*args))
    assert {thigh.MUSCLE, thigh.IMF, thigh.MARROW} <= set(np.unique(rows).tolist())


@pytest.mark.parametrize("legs", [1, 2])
def test_finer_planes_agree_with_the_twin_but_for_rounding(legs):
    made = tables(slices=3)
    leg, muscle, vessel, noise = made[0][:, :legs], made[1][:, :legs], made[2][:, :legs], made[3]
    args = leg, muscle, vessel, noise, (61, 83), (0.75, 1.0)
    rows, expected = thigh.of_shapes(*args), twin.of_shapes(*args)
    assert (rows != expected).mean() < 2e-4  # borders in single and in double precision


def test_a_leg_without_muscles_is_other_muscle():
    legs, muscles, vessels, noise = tables(1)
    rows = thigh.of_shapes(legs, muscles * 0, vessels, noise, (50, 90), (1.0, 1.0))
    assert rows.max() == thigh.NERVE
    assert (rows == thigh.MUSCLE).sum() > 500


def test_a_slice_does_not_depend_on_its_neighbours():
    legs, muscles, vessels, noise = tables(2)
    both = thigh.of_shapes(legs, muscles, vessels, noise, (17, 36), VOXEL_MM)
    second = thigh.of_shapes(legs[1:], muscles[1:], vessels[1:], noise[1:], (17, 36), VOXEL_MM)
    np.testing.assert_array_equal(both[1:], second)


def test_what_does_not_fit_is_refused():
    legs, muscles, vessels, noise = tables(2)
    with pytest.raises(ValueError, match="legs is"):
        thigh.of_shapes(legs[..., 1:], muscles, vessels, noise, (9, 9), VOXEL_MM)
    with pytest.raises(ValueError, match="vessels is"):
        thigh.of_shapes(legs, muscles, vessels[:, :1], noise, (9, 9), VOXEL_MM)
    with pytest.raises(ValueError, match="noise is"):
        thigh.of_shapes(legs, muscles, vessels, noise[:1], (9, 9), VOXEL_MM)
    with pytest.raises(ValueError, match="channels"):
        thigh.of_shapes(legs, muscles, vessels, noise[:, :2], (9, 9), VOXEL_MM)
    muscle, depth, hull, femur = depth_arrays(legs)
    with pytest.raises(ValueError, match="hull is"):
        thigh.of_depths(muscle, depth, hull[:, :1], femur, legs, vessels, noise, VOXEL_MM)
