"""Homodyne detection: its twin, and images that it recovers."""

import numpy as np
import pytest
from reference import homodyne as twin

from voxelmill.kernels import homodyne, kspace, lines


def reconstructed(image, fraction):
    """Of (sample, coil, z, y, x): zero-filled and homodyne images."""
    n = image.shape[-2]
    taken = lines.acquired(n, np.full(len(image), n), np.full(len(image), fraction))
    k = kspace.to_kspace(image) * taken[:, None, None, :, None]
    full, low = (
        kspace.to_image((k * w[:, None, None, :, None]).astype(np.complex64))
        for w in homodyne.weights(taken)
    )
    return kspace.to_image(k.astype(np.complex64)), homodyne.detect(full, low)


def body(n, m):
    image = np.zeros((2, 1, 1, n, m), np.complex64)
    image[..., n // 4 : n // 2, 3:-4] = 1
    image[..., n // 3 : n // 2 + 5, 5:-6] += 0.5
    return image


@pytest.mark.parametrize("n", [32, 33])
@pytest.mark.parametrize("fraction", [0.5625, 0.75, 1.0])
def test_an_image_without_phase_is_recovered(n, fraction):
    image = body(n, 20) + np.float32(0.2)
    filled, detected = reconstructed(image, fraction)
    np.testing.assert_allclose(abs(detected), abs(image), atol=2e-5)
    if fraction < 1:
        assert abs(abs(filled) - abs(image)).max() > 0.05  # zero-filling blurs


def test_a_smooth_phase_is_followed():
    y = np.linspace(-1, 1, 64)[:, None]
    image = (body(64, 20) + 0.3) * np.exp(1j * (0.6 * y + 0.4 * y**2)).astype(np.complex64)
    filled, detected = reconstructed(image.astype(np.complex64), 0.625)
    inner = np.s_[..., 8:-8, :]
    worst = [abs(abs(a) - abs(image))[inner].mean() for a in (detected, filled)]
    assert worst[0] < 0.6 * worst[1]


def test_weights_of_a_line_and_its_mirror_image_are_2():
    taken = lines.acquired(32, np.array([32, 20]), np.array([0.6, 1]))
    full, low = homodyne.weights(taken)
    f = kspace.frequencies(32)
    for n, last in enumerate((15, 9)):
        for j in range(1, last + 1):
            assert full[n][f == j][0] + full[n][f == -j][0] == pytest.approx(2)
    np.testing.assert_allclose(low[0][1:16], low[0][:16:-1], atol=1e-6)
    assert full[:, 0].tolist() == low[:, 0].tolist() == [1, 1]


def test_detect_is_that_of_the_twin():
    random = np.random.default_rng(0)
    full, low = (random.normal(size=(2, 2, 3, 4, 10)).astype("f4").view("c8") for _ in "ab")
    low[0, 0, 0] = 0
    expected = twin.detect(full, low)
    np.testing.assert_allclose(homodyne.detect(full, low), expected, atol=2e-6)
    with pytest.raises(ValueError, match="one shape"):
        homodyne.detect(full, low[:1])
