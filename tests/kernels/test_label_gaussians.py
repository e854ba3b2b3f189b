"""A Gaussian a label, and classes in labels: twins, moments, and who they depend on."""

import numpy as np
import pytest
from reference import label_gaussians as twin

from voxelmill.kernels import gaussian
from voxelmill.kernels import label_gaussians as ours

KEYS = np.array([[7, 0, 0x1234, 5, 0], [0xFFFFFFFF, 3, 0xDEAD, 9, 1], [1, 2, 3, 4, 5]], np.uint32)


def scene(shape, rows=7):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, rows, (3, *shape)).astype(np.uint8)
    mean, sd = rng.uniform(0, 200, (2, 3, rows)).astype(np.float32)
    return labels, mean, sd, rng.uniform(0.5, 2, (3, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (9, 20, 23)])
def test_it_is_that_of_the_twin(shape):
    labels, mean, sd, gain = scene(shape)
    for bias in (None, gain):
        made = ours.gaussian_labels(labels, mean, sd, KEYS, bias)
        theirs = twin.gaussian_labels(labels, mean, sd, KEYS, bias)
        np.testing.assert_allclose(made, theirs, atol=2e-3)


def test_each_label_has_its_mean_and_its_deviation():
    labels, mean, sd, _ = scene((64, 64, 64))
    made = ours.gaussian_labels(labels, mean, sd, KEYS)
    for n in range(3):
        for row in range(7):
            values = made[n][labels[n] == row].astype(float)
            error = sd[n, row] / np.sqrt(values.size)
            assert abs(values.mean() - mean[n, row]) < 4 * error
            assert abs(values.std() - sd[n, row]) < 4 * error / np.sqrt(2)


def test_rows_that_nobody_has_change_nothing_and_batches_neither():
    labels, mean, sd, gain = scene((3, 5, 7))
    made = ours.gaussian_labels(labels, mean, sd, KEYS, gain)
    wide = np.pad(mean, ((0, 0), (0, 249))), np.pad(sd, ((0, 0), (0, 249)))
    assert made.tobytes() == ours.gaussian_labels(labels, *wide, KEYS, gain).tobytes()
    for n in range(3):
        one = slice(n, n + 1)
        alone = ours.gaussian_labels(labels[one], mean[one], sd[one], KEYS[one], gain[one])
        assert alone.tobytes() == made[one].tobytes()


def test_classes_are_those_of_the_twin_and_have_their_shares():
    labels, *_ = scene((32, 33, 34))
    shares = np.random.default_rng(1).uniform(0.2, 1, (3, 7, 4))
    shares[0, 0] = 1, 0, 2, 0
    cuts = ours.cuts_of(shares, rms=2.5)
    field = gaussian.white(KEYS, (32, 33, 34)) * np.float32(2.5)
    made = ours.subclusters(labels, field, cuts)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made // 4, labels)
    small = (slice(None), slice(4), slice(5), slice(6))
    np.testing.assert_array_equal(made[small], twin.subclusters(labels[small], field[small], cuts))
    expected = shares / shares.sum(-1, keepdims=True)
    for n in range(3):
        for row in range(7):
            chosen = made[n][labels[n] == row] % 4
            found = np.bincount(chosen, minlength=4) / chosen.size
            np.testing.assert_allclose(found, expected[n, row], atol=4.5 * 0.5 / chosen.size**0.5)
    assert not np.isin([1, 3], made[0][labels[0] == 0]).any()


def test_what_does_not_fit_is_refused():
    labels, mean, sd, gain = scene((3, 5, 7))
    cuts = np.zeros((3, 7, 1), np.float32)
    for match, call in (
        ("a label is 6", lambda: ours.gaussian_labels(labels, mean[:, :6], sd[:, :6], KEYS)),
        ("as many keys", lambda: ours.gaussian_labels(labels, mean, sd, KEYS[:2])),
        ("float32", lambda: ours.gaussian_labels(labels, mean.astype(float), sd, KEYS)),
        ("alike", lambda: ours.gaussian_labels(labels, mean, sd[:, :6], KEYS)),
        ("gain", lambda: ours.gaussian_labels(labels, mean, sd, KEYS, gain[:, :2])),
        ("more than 256", lambda: ours.subclusters(labels, gain, cuts.repeat(40, 2))),
        ("a label is 6", lambda: ours.subclusters(labels, gain, cuts[:, :6])),
        ("field float32", lambda: ours.subclusters(labels, gain[:, :2], cuts)),
        ("cuts are", lambda: ours.subclusters(labels, gain, cuts.astype(float))),
        ("0 or more", lambda: ours.cuts_of([0, 0])),
        ("0 or more", lambda: ours.cuts_of([1, -1])),
    ):
        with pytest.raises(ValueError, match=match):
            call()
