"""Distortion: its twin, the integral, whole pixels, the Jacobian and folds."""

import numpy as np
import pytest
from reference import distort as twin

from voxelmill.kernels import distort


def scene(seed=0, shape=(3, 2, 4, 9, 11), rms=20):
    random = np.random.default_rng(seed)
    image = random.normal(size=(*shape[:-1], 2 * shape[-1])).astype("f4").view("c8")
    return image, random.normal(0, rms, (shape[0], *shape[2:])).astype("f4")


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("wrap", [False, True])
def test_it_is_that_of_the_twin_and_of_each_sample(axis, wrap):
    image, b0_hz = scene()
    scale = np.array([0.05, -0.02, 0.2], np.float32)
    made = distort.distort(image, b0_hz, scale, axis, wrap)
    np.testing.assert_allclose(made, twin.distort(image, b0_hz, scale, axis, wrap), atol=2e-3)
    alone = [
        distort.distort(*(a[n : n + 1] for a in (image, b0_hz, scale)), axis, wrap)
        for n in range(3)
    ]
    assert made.tobytes() == np.concatenate(alone).tobytes()


@pytest.mark.parametrize("axis", [-1, -2])
def test_the_integral_of_each_line_is_kept(axis):
    image, b0_hz = scene(1, rms=60)  # with folds
    made = distort.distort(image, b0_hz, np.full(3, 0.05, "f4"), axis, wrap=True)
    np.testing.assert_allclose(made.sum(axis), image.sum(axis), atol=1e-4)


def test_no_field_is_no_change_and_a_constant_one_a_shift():
    image, b0_hz = scene(2)
    assert distort.distort(image, b0_hz, np.zeros(3, "f4")).tobytes() == image.tobytes()
    even = np.full_like(b0_hz, 64)
    scale = np.array([1 / 32, -1 / 64, 1 / 128], np.float32)
    made = distort.distort(image, even, scale, -1, wrap=True)
    for n, px in enumerate((2, -1)):
        np.testing.assert_allclose(made[n], np.roll(image[n], px, -1), atol=1e-6)
    half = (image[2] + np.roll(image[2], 1, -1)) / 2
    np.testing.assert_allclose(made[2], half, atol=1e-6)
    lost = distort.distort(image, even, scale, -1)
    np.testing.assert_allclose(lost[0, ..., 2:], image[0, ..., :-2], atol=1e-6)
    assert (lost[0, ..., :2] == 0).all()


def test_a_gradient_thins_the_signal_out_by_its_jacobian():
    x = np.arange(40, dtype=np.float32)
    image = np.zeros((1, 1, 1, 40), np.complex64)
    image[..., 10:30] = 1
    b0_hz = np.broadcast_to((x - 20) * 25, (1, 1, 1, 40)).astype("f4")
    made = distort.distort(image, b0_hz, np.array([0.01], "f4")).real[0, 0, 0]
    inside = made[12:29]
    np.testing.assert_allclose(inside, 1 / 1.25, atol=1e-4)  # 25 % longer, as much thinner
    piled = distort.distort(image, -b0_hz, np.array([0.01], "f4")).real[0, 0, 0]
    np.testing.assert_allclose(piled[14:26], 1 / 0.75, atol=1e-4)


def test_all_signal_on_one_place_is_kept():
    image = np.ones((1, 1, 1, 8), np.complex64)
    b0_hz = -np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)
    made = distort.distort(image, b0_hz, np.ones(1, "f4"), wrap=True)
    assert made.sum() == pytest.approx(8, rel=1e-5)


def test_shares_follow_the_image():
    image, b0_hz = scene(4, rms=15)
    shares = abs(image) / abs(image).sum(1, keepdims=True)
    scale = np.array([0.05, -0.03, 0.0], np.float32)
    moved = distort.distort(shares, b0_hz, scale, -2, wrap=True)
    assert moved.dtype == np.float32
    as_complex = distort.distort(shares.astype("c8"), b0_hz, scale, -2, wrap=True)
    np.testing.assert_allclose(moved, as_complex.real, atol=1e-6)
    assert moved[2].tobytes() == shares[2].tobytes()


def test_what_does_not_fit_is_refused():
    image, b0_hz = scene()
    with pytest.raises(ValueError, match="does not fit"):
        distort.distort(image, b0_hz[:1], np.zeros(3, "f4"))
    with pytest.raises(ValueError, match="axis is -1 or -2"):
        distort.distort(image, b0_hz, np.zeros(3, "f4"), axis=0)
