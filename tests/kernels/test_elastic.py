"""The elastic shift: its twin, its size and its smoothness."""

import numpy as np
import pytest
from reference import elastic as twin

from voxelmill.kernels import elastic

ONE = np.array([[7, 0, 11, 5, 0]], np.uint32)


def lattices(size, amplitude, sigma, inverse=None, keys=ONE, slots=None):
    n = len(keys)
    inverse = np.eye(2, 3, dtype=np.float32) if inverse is None else inverse
    columns = (np.full(n, value, np.float32) for value in (amplitude, sigma))
    which = np.zeros(n, np.int32)
    return elastic.lattices(
        np.array([size], np.int32), which, np.stack([inverse] * n), *columns, keys, slots
    )


def field(size, amplitude, sigma):
    """The shift at each pixel centre of a donor: (y, x, 2)."""
    spacing, border, nodes, _, lattice = lattices(size, amplitude, sigma)
    out = np.empty((*size, 2))
    for y, x in np.ndindex(*size):
        at = ((y + 0.5 + border[0]) / spacing[0], (x + 0.5 + border[0]) / spacing[0])
        out[y, x] = elastic.shift_at(*np.float32(at), nodes, 0, *lattice[0])
    return out


def test_nodes_and_shifts_are_those_of_the_twin():
    inverse = np.array([[0.6, 0.3, 4], [-0.2, 0.5, 1]], np.float32)
    spacing, border, nodes, node_starts, lattice = lattices((9, 14), 1.3, 2.2, inverse)
    theirs = twin.tables((9, 14), inverse, np.float32(1.3), np.float32(2.2))
    assert theirs[2] == tuple(lattice[0])
    np.testing.assert_allclose([spacing[0], border[0]], theirs[:2], rtol=1e-6)
    their_nodes = twin.nodes(theirs[2], inverse, np.float32(1.3), ONE[0].tolist(), 0)
    np.testing.assert_allclose(nodes, their_nodes.reshape(-1, 2), atol=2e-5)
    for at in np.random.default_rng(0).uniform(-2, 12, (200, 2)).astype(np.float32):
        ours = elastic.shift_at(*at, nodes, node_starts[0], *lattice[0])
        np.testing.assert_allclose(ours, twin.shift(*at, their_nodes), atol=1e-4)


def test_its_rms_is_the_amplitude_and_its_correlation_that_of_the_gaussian():
    shifts = field((240, 360), 2.5, 3.0)
    assert np.sqrt((shifts**2).mean((0, 1))) == pytest.approx([2.5, 2.5], rel=0.05)
    y, x = np.moveaxis(shifts, 2, 0)
    for lag in (2, 4, 6):  # white noise under a Gaussian of sigma: exp(-lag**2 / (4 sigma**2))
        for component in (y, x):
            for a, b in (
                (component[lag:], component[:-lag]),
                (component[:, lag:], component[:, :-lag]),
            ):
                expected = np.exp(-(lag**2) / (4 * 3.0**2))
                assert (a * b).mean() / 2.5**2 == pytest.approx(expected, abs=0.06)
    assert abs((y * x).mean()) < 0.05 * 2.5**2


def test_slots_and_keys_give_fields_of_their_own():
    keys = np.repeat(ONE, 3, 0)
    _, _, nodes, node_starts, _ = lattices((9, 14), 1, 3, keys=keys, slots=np.array([0, 1, 4095]))
    parts = np.split(nodes, node_starts[1:-1])
    values = {row.tobytes() for part in parts for row in part}
    assert len(values) == len(nodes)
    alone = lattices((9, 14), 1, 3)[2]
    assert alone.tobytes() == parts[0].tobytes()


def test_bad_warps_are_refused():
    with pytest.raises(ValueError, match="share a key and a slot"):
        lattices((9, 14), 1, 3, keys=np.repeat(ONE, 2, 0))
    with pytest.raises(ValueError, match=r"\[0, 4096\)"):
        lattices((9, 14), 1, 3, slots=np.array([4096]))
    with pytest.raises(ValueError, match="elastic_sigma_px"):
        lattices((9, 14), 1, 0)
    with pytest.raises(ValueError, match="above 1024"):
        lattices((900, 1400), 1, 0.5)
    with pytest.raises(ValueError, match="determinant 0"):
        lattices((9, 14), 1, 3, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="uint32"):
        lattices((9, 14), 1, 3, keys=ONE.astype(np.int64))
