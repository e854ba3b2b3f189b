"""Fields: their twin, their size and smoothness, and addresses that do not depend on the batch."""

import numpy as np
import pytest
from reference import fields as twin

from voxelmill.kernels import fields

KEYS = np.array([[7, 0, 11, 5, 0], [7, 0, 11, 6, 0], [0xFFFFFFFF, 2, 3, 4, 5]], np.uint32)
SD = np.array([[1.0, 0.5], [2.0, 0.0], [3.0, 0.1]], np.float32)
LATTICE = (2, 4, 6, 5)
SHAPE = (7, 8, 9)


def white(seeds, lattice):
    """Unit normals for many keys."""
    keys = np.array([[seed, 0, 11, 5, 0] for seed in range(seeds)], np.uint32)
    return fields.lattice_normals(keys, lattice, np.ones((seeds, lattice[0]), np.float32))


def test_nodes_and_fields_are_those_of_the_twin():
    nodes = fields.lattice_normals(KEYS, LATTICE, SD)
    np.testing.assert_allclose(nodes, twin.lattice_normals(KEYS, LATTICE, SD), atol=5e-5)
    made = fields.spline(nodes, SHAPE)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, twin.spline(nodes, SHAPE), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 64, 3), (5, 2, 130)])
def test_odd_volumes_and_lattices_finer_than_the_volume(shape):
    nodes = white(2, (1, 4, 9, 40))
    np.testing.assert_allclose(fields.spline(nodes, shape), twin.spline(nodes, shape), atol=1e-5)


def test_its_root_mean_square_is_the_one_documented():
    for shape, lattice in (((24, 20, 28), (3, 9, 8, 10)), ((16, 40, 40), (3, 5, 13, 13))):
        made = fields.spline(white(60, lattice), shape)
        assert np.sqrt((made.astype(float) ** 2).mean()) == pytest.approx(fields.RMS, rel=0.02)


def test_its_correlation_is_that_of_the_gaussian_documented():
    spacing = 6
    made = fields.spline(white(60, (1, 11, 11, 11)), (48, 48, 48)).astype(float)
    sigma = fields.SIGMA * spacing
    for axis in (2, 3, 4):
        along = np.moveaxis(made, axis, 0)
        for lag in (2, 4, 6):
            found = (along[lag:] * along[:-lag]).mean() / (made**2).mean()
            assert found == pytest.approx(np.exp(-(lag**2) / (4 * sigma**2)), abs=0.05)


def test_a_field_does_not_depend_on_the_grid_that_sees_it():
    nodes = white(1, (1, 5, 6, 7))
    coarse, fine = fields.spline(nodes, (5, 6, 7)), fields.spline(nodes, (15, 18, 21))
    np.testing.assert_allclose(fine[..., 1::3, 1::3, 1::3], coarse, atol=1e-6)


def test_equal_nodes_make_an_even_field():
    made = fields.spline(np.full((1, 1, 4, 5, 6), 2.5, np.float32), (9, 3, 11))
    np.testing.assert_allclose(made, 2.5, atol=1e-6)


def test_a_batch_holds_the_bits_of_its_samples_alone():
    together = fields.spline(fields.lattice_normals(KEYS, LATTICE, SD), SHAPE)
    for n in range(3):
        row = slice(n, n + 1)
        alone = fields.spline(fields.lattice_normals(KEYS[row], LATTICE, SD[row]), SHAPE)
        assert alone.tobytes() == together[row].tobytes()


def test_bad_lattices_are_refused():
    with pytest.raises(ValueError, match="4 nodes or more"):
        fields.lattice_normals(KEYS, (2, 4, 3, 4), SD)
    with pytest.raises(ValueError, match="one for each sample"):
        fields.lattice_normals(KEYS, LATTICE, SD[:2])
    with pytest.raises(ValueError, match="4 or more along"):
        fields.spline(np.zeros((1, 1, 4, 4, 3), np.float32), SHAPE)
    with pytest.raises(ValueError, match="float32"):
        fields.spline(np.zeros((1, 1, 4, 4, 4)), SHAPE)
    with pytest.raises(ValueError, match="1 or more"):
        fields.spline(np.zeros((1, 1, 4, 4, 4), np.float32), (3, 0, 4))
