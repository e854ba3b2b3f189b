"""Composition, soft edges and attenuation against their twins, and what must hold of them."""

from math import exp

import numpy as np
import pytest
from reference import paste as twin
from reference.tiles import patches, random_patches
from scipy.ndimage import gaussian_filter

from voxelmill.kernels import distance, paste

SHAPE = (71, 133)  # strips of 16 rows: an uneven end


def scene(seed, dtype="uint8", samples=(0, 0, 0, 0, 1, 2, 2, 2, 2, 2), textured=True):
    """The arguments of `compose`."""
    random = np.random.default_rng(seed)
    samples, n = np.array(samples, np.int32), len(samples)
    windows, starts, alpha = random_patches(seed, samples, SHAPE, (60, 90))
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    films = (random.random((2, *SHAPE)) * top).astype(dtype)
    choice = random.integers(0, 2, samples.max(initial=0) + 1).astype(np.int32)
    opacity = random.random(n).astype(np.float32)
    grey = random.uniform(-0.2 * top, 1.2 * top, n).astype(np.float32)
    textures, texture_starts = None, None
    if textured:
        has = random.random(n) < 0.4
        texture_starts = np.concatenate([[0], np.cumsum(has * np.diff(starts))]).astype(np.int64)
        textures = random.uniform(0, top, texture_starts[-1]).astype(np.float32)
    layers = (alpha, windows, starts, samples, opacity, grey)
    return [films, choice, *layers, textures, texture_starts, len(choice)]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("seed", range(6))
def test_composition_is_that_of_the_twin(seed, dtype):
    arguments = scene(seed, dtype, textured=seed % 2 == 0)
    ours, theirs = paste.compose(*arguments), twin.compose(*arguments)
    assert ours.dtype == dtype
    if dtype == "float32":
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    else:  # single precision may round the other way, at most once in a thousand pixels
        off = ours.astype(int) - theirs
        assert np.abs(off).max() <= 1
        assert np.count_nonzero(off) <= off.size * (1e-5 if dtype == "uint8" else 1e-2)


def test_a_canvas_wider_than_a_strip():
    random = np.random.default_rng(3)
    windows = np.array([[1, 990, 5, 60], [3, -5, 8, 1200], [0, 1090, 9, 40]], np.int32)
    starts = np.concatenate([[0], np.cumsum(windows[:, 2:].prod(1))]).astype(np.int64)
    films, alpha = random.integers(0, 256, (1, 18, 1100), np.uint8), random.random(starts[-1])
    columns = np.zeros(3, np.int32), np.array([1, 0.5, 0.3], np.float32)
    arguments = (alpha.astype(np.float32), windows, starts, *columns, columns[1] * 200)
    arguments = (films, np.zeros(1, np.int32), *arguments, None, None, 1)
    off = paste.compose(*arguments).astype(int) - twin.compose(*arguments)
    assert np.abs(off).max() <= 1
    assert np.count_nonzero(off) <= 1


def test_pixels_outside_all_patches_are_copied_bit_for_bit():
    arguments = scene(1, "float32")
    films, choice, _, windows, _, samples = arguments[:6]
    films[0, 5, 7], films[1, 3, 2] = np.nan, -0.0
    out = paste.compose(*arguments)
    outside = np.ones(out.shape, bool)
    for (y0, x0, h, w), n in zip(windows, samples, strict=True):
        outside[n, max(y0, 0) : max(y0 + h, 0), max(x0, 0) : max(x0 + w, 0)] = False
    assert 0.1 < outside.mean() < 0.9
    bits, before = out.view(np.uint32), films[choice].view(np.uint32)
    np.testing.assert_array_equal(bits[outside], before[outside])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_batch_of_three_equals_three_batches_of_one(dtype):
    films, choice, alpha, windows, starts, samples, opacity, grey, *_ = scene(
        2, dtype, textured=False
    )
    whole = paste.compose(
        films, choice, alpha, windows, starts, samples, opacity, grey, None, None, 3
    )
    for n in range(3):
        own = np.flatnonzero(samples == n)
        first, last = starts[own[0]], starts[own[-1] + 1]
        alone = paste.compose(
            films, choice[n : n + 1], alpha[first:last], windows[own],
            starts[own[0] : own[-1] + 2] - first, samples[own] * 0, opacity[own], grey[own],
            None, None, 1,
        )  # fmt: skip
        assert alone.tobytes() == whole[n].tobytes()


def two_layers():
    windows = np.array([[2, 3, 4, 5], [4, 5, 4, 5]], np.int32)
    films = np.full((1, 12, 14), 100, np.uint8)
    return films, np.ones(40, np.float32), windows, np.array([0, 20, 40])


def compose_one(films, alpha, windows, starts, opacity, grey):
    n = len(windows)
    columns = (np.asarray(c, np.float32) * np.ones(n, np.float32) for c in (opacity, grey))
    one = np.zeros(1, np.int32), np.zeros(n, np.int32)
    return paste.compose(films, one[0], alpha, windows, starts, one[1], *columns, None, None, 1)[0]


def test_the_later_layer_lies_on_top_and_alpha_one_gives_the_grey():
    films, alpha, windows, starts = two_layers()
    out = compose_one(films, alpha, windows, starts, 1, [50, 200])
    assert (out[4:8, 5:10] == 200).all()
    assert (out[2:4, 3:8] == 50).all()
    swapped = compose_one(films, alpha, windows[::-1].copy(), starts, 1, [200, 50])
    assert (swapped[2:6, 3:8] == 50).all()


def test_opacity_zero_changes_nothing_and_half_goes_half_way():
    films, alpha, windows, starts = two_layers()
    assert (compose_one(films, alpha, windows, starts, 0, 255) == 100).all()
    assert compose_one(films, alpha, windows, starts, 0.5, 151)[2, 3] == 126  # 125.5 goes up


def test_integers_are_clamped_once_at_the_end():
    films, alpha, windows, starts = two_layers()
    out = compose_one(films, alpha, windows, starts, [1, 0.5], [1000, 0])
    assert out[3, 4] == 255
    assert out[5, 6] == 255  # half of 1000, not of 255
    assert compose_one(films, alpha, windows, starts, 1, -50)[2, 3] == 0


def test_a_shift_by_whole_pixels_shifts_the_result():
    films, _, windows, starts = two_layers()
    alpha = np.random.default_rng(0).random(40, np.float32)
    out = compose_one(films, alpha, windows, starts, 0.8, [10, 240])
    windows[:, :2] += (3, -2)
    moved = compose_one(films, alpha, windows, starts, 0.8, [10, 240])
    np.testing.assert_array_equal(moved, np.roll(out, (3, -2), (0, 1)))


def test_what_does_not_fit_is_refused():
    good = scene(0)
    for place, bad, said in [
        (0, good[0].astype(float), "uint8, uint16, float32"),
        (1, np.array([0, 1, 2], np.int32), r"films 0\.\.2 are not in \[0, 2\)"),
        (1, np.zeros(2, np.int32), "each of 3 samples"),
        (5, good[5] + 1, "not in"),
        (6, good[6][1:], "opacity"),
        (9, good[9] // 2, "as long as its patch"),
        (8, good[8][1:], "textures are flat"),
    ]:
        arguments = list(good)
        arguments[place] = bad
        with pytest.raises(ValueError, match=said):
            paste.compose(*arguments)


@pytest.mark.parametrize("seed", range(5))
def test_softening_is_that_of_the_twin(seed):
    windows, starts, coverage = random_patches(seed, [0] * 5, SHAPE, (19, 26))
    sigma_px = np.array([0, 0.3, 0.77, 1.2, 2.5], np.float32)
    ours = paste.soften(coverage, windows, starts, sigma_px)
    theirs = twin.soften(coverage, windows, starts, sigma_px)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert ours[: starts[1]].tobytes() == coverage[: starts[1]].tobytes()


def test_softening_is_that_of_scipy_and_keeps_the_sum_in_its_margin():
    windows, starts = np.array([[0, 0, 21, 27]], np.int32), np.array([0, 21 * 27])
    coverage = np.zeros((21, 27), np.float32)
    coverage[8:13, 9:18] = 1
    soft = paste.soften(coverage.ravel(), windows, starts, np.array([1.5], np.float32))
    theirs = gaussian_filter(coverage, 1.5, mode="constant", radius=6)
    np.testing.assert_allclose(soft.reshape(21, 27), theirs, atol=1e-6)
    assert soft.sum() == pytest.approx(coverage.sum(), rel=1e-5)
    with pytest.raises(ValueError, match="sigma_px"):
        paste.soften(coverage.ravel(), windows, starts, np.array([-1], np.float32))


def test_attenuation_is_that_of_the_twin_and_beer_lambert_in_the_display():
    windows, starts, coverage = random_patches(3, [0] * 6, SHAPE, (19, 26))
    mu = np.linspace(0, 3.5, 6).astype(np.float32)
    thick = distance.thickness(coverage, windows, starts)
    ours = paste.attenuate(coverage, thick, starts, mu)
    np.testing.assert_allclose(ours, twin.attenuate(coverage, thick, starts, mu), atol=1e-6)
    patch = patches(ours, windows, starts)[4]
    y, x = np.unravel_index(np.argmax(patches(thick, windows, starts)[4]), patch.shape)
    film = np.full((1, *patch.shape), 55, np.float32)
    windows[4, :2] = 0
    lit = compose_one(film, patch.ravel(), windows[4:5], np.array([0, patch.size]), 1, 255)
    assert patches(coverage, windows, starts)[4][y, x] == 1
    assert 255 - lit[y, x] == pytest.approx((255 - 55) * exp(-mu[4]), rel=1e-5)


def test_no_layers():
    films = np.random.default_rng(0).integers(0, 255, (2, 5, 7), np.uint8)
    none = np.empty(0, np.float32), np.zeros((0, 4), np.int32), np.zeros(1, np.int64)
    rest = np.empty(0, np.int32), none[0], none[0], None, None, 3
    choice = np.array([1, 0, 1], np.int32)
    np.testing.assert_array_equal(paste.compose(films, choice, *none, *rest), films[choice])
    assert paste.soften(*none, none[0]).size == 0
