"""Shares of classes: their twin, sums of 1, and hard labels by one rule."""

import numpy as np
import pytest
from reference import shares as twin

from voxelmill.kernels import shares

TABLES = np.array([[0, 1, 2, 3, 1], [0, 3, 3, 2, 1], [4, 4, 0, 0, 2]], np.uint8)
PROFILES = {"box": None, "neighbours": (1, 3, 5, 3, 1), "even": (1, 4, 4, 1), "narrow": (1,)}


def labels(seed, fine, shape=(4, 5, 6), rows=5):
    """Blocks of equal labels with ragged faces, (3, ...) uint8."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, rows, (3, *shape), np.uint8)
    for axis, parts in enumerate(fine, 1):
        coarse = coarse.repeat(parts, axis)
    return np.where(random.random(coarse.shape) < 0.1, np.roll(coarse, 1, 3), coarse)


def parts_for(profile):
    """A `fine` whose slices a profile can be centred on."""
    return (2, 3, 2) if profile == "even" else (3, 2, 3)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("table", [TABLES, TABLES[0]])
def test_shares_are_those_of_the_twin_and_sum_to_one(profile, table):
    fine, weights = parts_for(profile), PROFILES[profile]
    fine_labels = labels(1, fine)
    ours = shares.shares(fine_labels, table, 5, fine, weights)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, twin.shares(fine_labels, table, 5, fine, weights), atol=1e-6)
    np.testing.assert_allclose(ours.sum(1, dtype=float), 1, atol=1e-6)
    assert ours.min() >= 0


@pytest.mark.parametrize("profile", PROFILES)
def test_hard_labels_with_and_without_shares_are_the_same(profile):
    fine, weights = parts_for(profile), PROFILES[profile]
    for seed in range(5):
        fine_labels = labels(seed, fine, (5, 7, 9))
        held = shares.shares(fine_labels, TABLES, 5, fine, weights)
        hard = shares.hard(held)
        np.testing.assert_array_equal(hard, twin.hard(held))
        np.testing.assert_array_equal(shares.largest(fine_labels, TABLES, 5, fine, weights), hard)


def test_ties_go_to_the_lower_class_whatever_the_order_of_parts():
    """Under weights 1, 2, 1 two outer parts are as much as the inner one."""
    for parts in ([2, 1, 2], [1, 2, 1]):
        fine_labels = np.array(parts, np.uint8).reshape(1, 3, 1, 1)
        table, weights = np.arange(3, dtype=np.uint8), (0.1, 0.2, 0.1)
        held = shares.shares(fine_labels, table, 3, (3, 1, 1), weights)
        assert held.ravel().tolist() == [0, 0.5, 0.5]
        assert shares.hard(held).item() == 1
        assert shares.largest(fine_labels, table, 3, (3, 1, 1), weights).item() == 1


def test_voxels_of_one_label_have_exactly_one():
    fine_labels = np.full((1, 9, 4, 6), 3, np.uint8)
    held = shares.shares(fine_labels, TABLES[1], 5, (3, 2, 3), (0.3, 0.7, 0.9, 0.7, 0.3))
    assert (held[:, 2] == 1).all()
    assert not np.delete(held, 2, 1).any()


def test_parts_of_one_class_but_other_labels_are_one_too():
    fine_labels = np.array([1, 4], np.uint8).reshape(1, 1, 1, 2)
    assert shares.shares(fine_labels, TABLES[0], 4, (1, 1, 2)).ravel().tolist() == [0, 1, 0, 0]


def test_one_part_a_voxel_is_the_table():
    fine_labels = labels(2, (1, 1, 1))
    expected = np.stack([t[part] for t, part in zip(TABLES, fine_labels, strict=True)])
    np.testing.assert_array_equal(shares.largest(fine_labels, TABLES, 5, (1, 1, 1)), expected)


def test_labels_beyond_the_table_are_of_class_0():
    fine_labels = np.full((1, 1, 1, 1), 200, np.uint8)
    assert shares.shares(fine_labels, TABLES[0], 4, (1, 1, 1)).ravel().tolist() == [1, 0, 0, 0]


def test_a_batch_holds_the_bits_of_its_samples_alone():
    fine = (3, 2, 3)
    fine_labels = labels(3, fine)
    together = shares.shares(fine_labels, TABLES, 5, fine, PROFILES["neighbours"])
    for n in range(3):
        of = fine_labels[n : n + 1], TABLES[n], 5, fine, PROFILES["neighbours"]
        assert shares.shares(*of).tobytes() == together[n].tobytes()
        assert shares.largest(*of).tobytes() == shares.hard(together)[n].tobytes()


def test_bad_input_is_refused():
    fine_labels = labels(0, (2, 2, 2))
    with pytest.raises(ValueError, match="uint8"):
        shares.shares(fine_labels.astype(int), TABLES, 5, (2, 2, 2))
    with pytest.raises(ValueError, match="whole voxels"):
        shares.shares(fine_labels, TABLES, 5, (2, 3, 2))
    with pytest.raises(ValueError, match="not below 4"):
        shares.shares(fine_labels, TABLES, 4, (2, 2, 2))
    with pytest.raises(ValueError, match="class_of_row"):
        shares.shares(fine_labels, TABLES[:2], 5, (2, 2, 2))
    with pytest.raises(ValueError, match="centred"):
        shares.shares(fine_labels, TABLES, 5, (2, 2, 2), (1, 2, 1))
    for weights in ((1, -1), (0, 0), (np.nan, 1)):
        with pytest.raises(ValueError, match="not all 0"):
            shares.shares(fine_labels, TABLES, 5, (2, 2, 2), weights)
    with pytest.raises(ValueError, match="sample, class"):
        shares.hard(np.zeros((2, 3, 4), np.float32))
