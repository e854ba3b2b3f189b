"""Flows: their twin, no folds up to the bound, and an inverse that is one."""

import numpy as np
import pytest
from reference import flow as twin
from scipy.ndimage import map_coordinates

from voxelmill.kernels import fields, flow


def velocity(seeds, spacing, shape, rms):
    """Random velocities with nodes `spacing` voxels apart, (sample, 3, z, y, x)."""
    keys = np.array([[seed, 0, 11, 5, 0] for seed in seeds], np.uint32)
    lattice = (3, *(n // spacing + 3 for n in shape))
    sd = np.full((len(keys), 3), rms / fields.RMS, np.float32)
    return fields.spline(fields.lattice_normals(keys, lattice, sd), shape)


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (2, 1, 5)])
def test_flows_and_jacobians_are_those_of_the_twin(shape):
    v = np.random.default_rng(1).normal(size=(2, 3, *shape)).astype(np.float32)
    made = flow.exponentiate(v, 3)
    np.testing.assert_allclose(made, [twin.exponentiate(s, 3) for s in v], atol=1e-5)
    np.testing.assert_allclose(flow.exponentiate(v, 0), v)
    least = [twin.corner_jacobians(s).min() for s in v]
    np.testing.assert_allclose(flow.least_jacobian(v), least, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("spacing", "shape", "seeds"),
    [(4, (24, 20, 28), 200), (8, (48, 40, 32), 100), (16, (64, 48, 80), 25), (8, (8, 96, 80), 50)],
)
def test_no_cell_folds_at_the_bound(spacing, shape, seeds):
    rms = flow.largest_safe_rms(spacing)
    for first in range(0, seeds, 25):
        made = flow.exponentiate(velocity(range(first, first + 25), spacing, shape, rms))
        assert (flow.least_jacobian(made) > 0).all()
        for shift in made[:: 1 if spacing == 4 else 12]:  # whole cells, not their corners alone
            assert twin.all_jacobians(shift).min() > 0
    assert np.abs(made).max() > rms  # it does something


def test_far_above_the_bound_the_fold_is_seen():
    made = flow.exponentiate(velocity([3], 4, (24, 20, 28), 5 * flow.largest_safe_rms(4)))
    assert flow.least_jacobian(made)[0] < 0


def test_the_inverse_undoes_the_flow():
    for spacing in (8, 16):
        v = velocity(range(5), spacing, (64, 48, 56), flow.largest_safe_rms(spacing))
        for there, back in zip(flow.exponentiate(v), flow.inverse(v), strict=True):
            at = np.indices(there.shape[1:]) + there
            returned = there + [map_coordinates(b, at, order=1, mode="nearest") for b in back]
            inner = np.s_[:, 16:-16, 16:-16, 16:-16]  # what leaves the grid does not return
            left, moved = ((d[inner] ** 2).mean() ** 0.5 for d in (returned, there))
            assert left < 0.02 * moved


def test_a_constant_velocity_moves_by_itself():
    v = np.empty((1, 3, 4, 5, 6), np.float32)
    v[:] = np.reshape([0.7, -1.3, 2.1], (3, 1, 1, 1))
    np.testing.assert_allclose(flow.exponentiate(v), v, atol=1e-5)
    np.testing.assert_allclose(flow.least_jacobian(v), 1, atol=1e-6)


def test_the_jacobian_of_a_linear_displacement():
    linear = np.array([[0.2, 0.1, 0.0], [-0.3, 0.1, 0.2], [0.0, 0.4, -0.5]])
    v = np.einsum("ij,jzyx->izyx", linear, np.indices((4, 5, 6)))[None].astype(np.float32)
    expected = np.linalg.det(np.eye(3) + linear)
    np.testing.assert_allclose(flow.least_jacobian(v), expected, rtol=1e-4)


def test_rescaled_keeps_the_share_of_the_volume():
    d = np.ones((2, 3, 4, 5, 6), np.float32)
    assert flow.rescaled(d, (8, 5, 18))[1, :, 0, 0, 0].tolist() == [2, 1, 3]


def test_a_batch_holds_the_bits_of_its_samples_alone():
    v = velocity(range(3), 4, (9, 10, 11), 1.0)
    together, least = flow.exponentiate(v), flow.least_jacobian(v)
    for n in range(3):
        assert flow.exponentiate(v[n : n + 1]).tobytes() == together[n].tobytes()
        assert flow.least_jacobian(v[n : n + 1])[0] == least[n]


def test_what_is_not_a_number_stays_in_its_sample():
    v = np.ones((2, 3, 4, 5, 6), np.float32)
    v[0, :, 1, 2, 3] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        made = flow.exponentiate(v)
    np.testing.assert_allclose(made[1], 1, atol=1e-6)
    assert np.isnan(made[0]).any()


def test_bad_fields_are_refused():
    with pytest.raises(ValueError, match="float32"):
        flow.exponentiate(np.zeros((1, 3, 4, 5, 6)))
    with pytest.raises(ValueError, match="3, z, y, x"):
        flow.least_jacobian(np.zeros((1, 2, 4, 5, 6), np.float32))
    with pytest.raises(ValueError, match="squarings"):
        flow.exponentiate(np.zeros((1, 3, 4, 5, 6), np.float32), 17)
