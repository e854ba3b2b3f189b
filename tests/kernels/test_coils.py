"""Coils: their twin, their symmetry and their scale."""

import numpy as np
import pytest
from reference import coils as twin

from voxelmill.kernels import coils


def array():
    """Two samples of three loops: centres, axes, radius of the loops, voxels."""
    pairs = [coils.ring(3, (90, 120), start) for start in (10, 50)]
    centres, axes = (np.stack(part) for part in zip(*pairs, strict=True))
    centres[1, :, 0] += 7
    voxel_mm = np.array([[5, 11, 9], [6, 8, 12]], np.float32)
    return centres, axes, np.array([40, 25], np.float32), voxel_mm


def test_sensitivities_are_those_of_the_twin_whole_and_in_part():
    args, shape = array(), (3, 4, 5)
    made = coils.sensitivities(*args, shape)
    np.testing.assert_allclose(made, twin.sensitivities(*args, shape), atol=1e-5)
    for c in range(3):
        part = coils.sensitivities(*args, shape, slice(c, c + 1))
        assert part.tobytes() == made[:, c : c + 1].tobytes()
    alone = coils.sensitivities(*(a[1:] for a in args), shape)
    assert alone.tobytes() == made[1:].tobytes()


def test_a_ring_is_one_in_the_middle_brighter_outside_and_the_same_for_each_loop():
    pair = [a[None] for a in coils.ring(8, 150)]
    voxel_mm, loop_mm = np.full((1, 3), 10, np.float32), np.array([50], np.float32)
    made = coils.sensitivities(*pair, loop_mm, voxel_mm, (1, 21, 21))[0, :, 0]
    power = np.sqrt((abs(made) ** 2).sum(0))
    assert power[10, 10] == pytest.approx(1, abs=1e-6)
    assert (power[10, 1:10] > power[10, 2:11]).all()  # towards the loops
    np.testing.assert_allclose(abs(made[0]), abs(made[4])[::-1, ::-1], rtol=1e-4)
    np.testing.assert_allclose(abs(made[0]), abs(np.rot90(made[2], -1)), rtol=1e-4)
    assert np.unravel_index(np.argmax(abs(made[0])), (21, 21)) == (20, 10)  # the loop at +y
    steps = [abs(np.diff(made, axis=a)).max() for a in (1, 2)]
    assert max(steps) < 0.25 * abs(made).max()  # smooth


def test_on_the_axis_a_loop_has_the_field_of_a_ring_and_far_away_of_a_dipole():
    a = 40.0
    y, x = np.eye(3)[1:]
    on_axis = np.array([0, 10, 40, 120.0])
    made = twin.heard(on_axis[:, None] * x, x, a) * a**3 / 2
    np.testing.assert_allclose(made, (a**2 / (a**2 + on_axis**2)) ** 1.5, rtol=1e-9)
    far = 4000.0
    assert twin.heard(far * y, x, a) * far**3 == pytest.approx(-1, abs=1e-3)
    assert twin.heard(far * x, x, a) * far**3 == pytest.approx(2, abs=1e-3)


def test_a_ring_stands_on_its_ellipse_and_looks_inwards():
    centres, axes = coils.ring(6, (100, 140), 30, rows=2, apart_mm=80)
    assert centres.shape == axes.shape == (12, 3)
    np.testing.assert_allclose(
        (centres[:, 1] / 100) ** 2 + (centres[:, 2] / 140) ** 2, 1, rtol=1e-5
    )
    assert sorted(set(centres[:, 0].tolist())) == [-40, 40]
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1, rtol=1e-6)
    assert ((centres * axes)[:, 1:].sum(1) < 0).all()
    with pytest.raises(ValueError, match="above 0"):
        coils.ring(0, 100)


def test_what_does_not_fit_is_refused():
    centres, axes, loop_mm, voxel_mm = array()
    with pytest.raises(ValueError, match="float32"):
        coils.sensitivities(centres, axes, loop_mm.astype(float), voxel_mm, (2, 2, 2))
    with pytest.raises(ValueError, match="do not fit"):
        coils.sensitivities(centres, axes[:1], loop_mm, voxel_mm, (2, 2, 2))
