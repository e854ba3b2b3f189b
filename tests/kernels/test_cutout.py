"""Warped, grown and feathered cut-outs against their twins, and what must hold of them."""

import numpy as np
import pytest
from reference import cutout as twin
from reference.tiles import patches, random_patches
from scipy.ndimage import grey_dilation, grey_erosion

from voxelmill.kernels import cutout

SIZES = np.array([[7, 12], [10, 5]], np.int32)


def donors(seed=0):
    random = np.random.default_rng(seed)
    return [tuple(random.random((2, h, w), np.float32)) for h, w in SIZES]


def flat(pairs):
    grey, alpha = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in range(2))
    return grey, alpha, np.concatenate([[0], np.cumsum(SIZES.prod(1))]).astype(np.int64), SIZES


def scene(n=4, seed=0):
    """Everything of `warp` after the donors."""
    random = np.random.default_rng(seed)
    which = (np.arange(n) % 2).astype(np.int32)
    windows = np.column_stack([random.integers(-5, 20, (n, 2)), random.integers(9, 16, (n, 2))])
    angle, scale = random.uniform(0, 6, n), random.uniform(0.6, 1.4, n)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = np.moveaxis(linear / scale, 2, 0)
    linear[1::2, 1] *= -1
    centre = windows[:, :2] + windows[:, 2:] / 2
    offset = SIZES[which] / 2 - np.einsum("nij,nj->ni", linear, centre)
    inverse = np.concatenate([linear, offset[:, :, None]], 2).astype(np.float32)
    amplitude = np.where(np.arange(n) == 2, 0, 1.2).astype(np.float32)
    sigma, grow = np.full(n, 2.5, np.float32), np.zeros(n, np.float32)
    brightness = random.uniform(0.8, 1.2, n).astype(np.float32)
    keys = random.integers(0, 2**32, (n, 5), np.uint32)
    windows = windows.astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(windows[:, 2:].prod(1))]).astype(np.int64)
    return [which, inverse, amplitude, sigma, grow, brightness, keys, windows, starts]


@pytest.mark.parametrize("seed", range(3))
def test_warped_donors_are_those_of_the_twin(seed):
    pairs, arguments = donors(seed), scene(seed=seed)
    arguments[4][:] = 0, 1.5, -1, 2.3
    which, inverse, amplitude, sigma, grow, brightness, keys, windows, starts = arguments
    alpha, texture = cutout.warp(*flat(pairs), *arguments)
    theirs = twin.sampled(
        pairs, which, inverse, amplitude, sigma, brightness, keys, [0] * 4, windows, starts
    )
    np.testing.assert_allclose(texture, theirs[1], atol=1e-4)
    grown = twin.grow(theirs[0], windows, starts, grow)
    np.testing.assert_allclose(alpha, grown, atol=1e-4)
    assert alpha.max() > 0.5


def still(pair_number, window, inverse=None):
    """`warp` with no elastic shift and nothing else changed, for one patch."""
    height, width = window[2:]
    inverse = np.eye(2, 3) if inverse is None else inverse
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    return [
        np.array([pair_number], np.int32), np.array([inverse], np.float32), zero, zero, zero, one,
        np.zeros((1, 5), np.uint32), np.array([window], np.int32), np.array([0, height * width]),
    ]  # fmt: skip


def test_the_identity_copies_the_donor_and_is_clear_around_it():
    pairs = donors()
    alpha, texture = cutout.warp(*flat(pairs), *still(1, (-2, -1, 14, 8)))
    np.testing.assert_array_equal(alpha.reshape(14, 8)[2:12, 1:6], pairs[1][1])
    np.testing.assert_array_equal(texture.reshape(14, 8)[2:12, 1:6], pairs[1][0])
    assert alpha.sum() == pytest.approx(pairs[1][1].sum())
    assert (texture > 0).all()  # not black around it
    flipped = [[1, 0, 0], [0, -1, 5]]
    alpha, _ = cutout.warp(*flat(pairs), *still(1, (0, 0, 10, 5), flipped))
    np.testing.assert_array_equal(alpha.reshape(10, 5), pairs[1][1][:, ::-1])


def test_a_shift_of_window_and_map_shifts_nothing_else():
    arguments = scene()
    made = cutout.warp(*flat(donors()), *arguments)
    moved = [array.copy() for array in arguments]
    moved[7][:, :2] += (16, -8)
    moved[1][:, :, 2] -= moved[1][:, :, :2] @ np.float32([16, -8])
    for a, b in zip(made, cutout.warp(*flat(donors()), *moved), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)


def test_a_larger_window_shows_the_same_warp():
    arguments = scene(1)
    alpha, _ = cutout.warp(*flat(donors()), *arguments)
    y0, x0, h, w = arguments[7][0]
    arguments[7], arguments[8] = (
        np.array([[y0 - 2, x0 - 3, h + 5, w + 4]], np.int32),
        np.array([0, (h + 5) * (w + 4)]),
    )
    larger, _ = cutout.warp(*flat(donors()), *arguments)
    inner = larger.reshape(h + 5, w + 4)[2 : h + 2, 3 : w + 3]
    np.testing.assert_array_equal(alpha.reshape(h, w), inner)


def test_a_patch_is_the_same_alone_and_among_others():
    arguments = scene()
    alpha, texture = cutout.warp(*flat(donors()), *arguments)
    starts = arguments[8]
    for s in range(4):
        alone = [array[s : s + 1] for array in arguments[:8]]
        made = cutout.warp(*flat(donors()), *alone, np.array([0, starts[s + 1] - starts[s]]))
        assert made[0].tobytes() == alpha[starts[s] : starts[s + 1]].tobytes()
        assert made[1].tobytes() == texture[starts[s] : starts[s + 1]].tobytes()


@pytest.mark.parametrize("radius", [1.0, 2.5, 4.0])
def test_growing_and_shrinking_are_morphology_over_a_disc(radius):
    pairs, window = donors(), (-6, -6, 25, 21)
    plain, _ = cutout.warp(*flat(pairs), *still(1, window))
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = y * y + x * x <= radius * radius
    for sign, filtered in ((1, grey_dilation), (-1, grey_erosion)):
        arguments = still(1, window)
        arguments[4] = np.array([sign * radius], np.float32)
        alpha, _ = cutout.warp(*flat(pairs), *arguments)
        expected = filtered(plain.reshape(25, 21), footprint=disc, mode="constant")
        np.testing.assert_array_equal(alpha.reshape(25, 21), expected)


@pytest.mark.parametrize("seed", range(3))
def test_feathering_is_that_of_the_twin_and_goes_inwards_only(seed):
    windows, starts, alpha = random_patches(seed, [0] * 5, (30, 40), (15, 19))
    width_px = np.array([0, 0.5, 1.7, 4, 9], np.float32)
    soft = cutout.feather(alpha, windows, starts, width_px)
    np.testing.assert_allclose(soft, twin.feather(alpha, windows, starts, width_px), atol=1e-6)
    assert (soft <= alpha).all()
    assert soft[: starts[1]].tobytes() == alpha[: starts[1]].tobytes()


def test_a_feathered_square_rises_from_its_edge():
    windows, starts = np.array([[0, 0, 11, 13]], np.int32), np.array([0, 11 * 13])
    soft = cutout.feather(np.ones(143, np.float32), windows, starts, np.array([3], np.float32))
    line = patches(soft, windows, starts)[0][5]
    t = np.array([0.5, 1.5, 2.5]) / 3
    np.testing.assert_allclose(line[:3], t * t * (3 - 2 * t), atol=1e-6)
    assert (line[3:10] == 1).all()


def test_the_grey_is_extended_from_the_nearest_opaque_pixel():
    grey, alpha = np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)
    grey[1, 1], grey[2, 4], alpha[1, 1], alpha[2, 4] = 50, 80, 1, 0.5
    alpha[0, 5], grey[0, 5] = 0.3, 9
    wide = cutout.extend_grey(grey, alpha)
    assert wide[0, 0] == wide[3, 1] == wide[1, 1] == 50
    assert wide[3, 5] == wide[0, 5] == 80
    with pytest.raises(ValueError, match="no pixel with alpha"):
        cutout.extend_grey(grey, alpha * 0)


def test_what_does_not_fit_is_refused():
    grey, alpha, donor_starts, sizes = flat(donors())
    arguments = scene()
    with pytest.raises(ValueError, match="do not fill"):
        cutout.warp(grey, alpha, donor_starts, sizes + 1, *arguments)
    with pytest.raises(ValueError, match="flat float32 alike"):
        cutout.warp(grey, alpha[1:], donor_starts, sizes, *arguments)
    arguments[0] = arguments[0] + 1
    with pytest.raises(ValueError, match=r"donors 1\.\.2 are not in \[0, 2\)"):
        cutout.warp(grey, alpha, donor_starts, sizes, *arguments)
