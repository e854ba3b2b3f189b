"""K-space: its twin, unitarity, Parseval, shifts, ringing and the noise of zero-filling."""

import numpy as np
import pytest
from reference import kspace as twin

from voxelmill.kernels import kspace, windows

BOTH = pytest.mark.parametrize("axes", [kspace.SLICES, kspace.VOLUME])


def noise(seed, *shape):
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)


@BOTH
@pytest.mark.parametrize("shape", [(2, 3, 4, 6, 9), (2, 5, 7, 8), (1, 2, 1, 3, 5, 4)])
def test_the_transform_is_that_of_the_twin_unitary_and_single(axes, shape):
    image = noise(0, *shape)
    k = kspace.to_kspace(image, axes)
    assert k.dtype == np.complex64
    np.testing.assert_allclose(k, twin.to_kspace(image, axes), atol=2e-5)
    np.testing.assert_allclose(kspace.to_image(k, axes), image, atol=2e-6)
    for a, b in zip(k, image, strict=True):  # Parseval
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-6)


@BOTH
def test_a_batch_has_the_bits_of_its_samples(axes):
    image = noise(1, 3, 2, 5, 37, 29)
    k = kspace.to_kspace(image, axes)
    alone = [kspace.to_kspace(image[n : n + 1], axes) for n in range(3)]
    assert k.tobytes() == np.concatenate(alone).tobytes()


def test_bits_do_not_change_with_threads():
    import numba

    image, threads = noise(2, 2, 3, 45, 51), numba.get_num_threads()
    try:
        made = set()
        for count in range(1, threads + 1):
            numba.set_num_threads(count)
            made.add(kspace.to_image(kspace.to_kspace(image)).tobytes())
    finally:
        numba.set_num_threads(threads)
    assert len(made) == 1


@pytest.mark.parametrize(("small", "large"), [((3, 4), (5, 9)), ((4, 5), (4, 6)), ((1, 2), (2, 3))])
def test_crop_and_zero_fill_keep_the_lowest_frequencies(small, large):
    k = noise(0, 2, 3, *large)
    filled = kspace.zero_fill(kspace.crop(k, small), large)
    kept = np.ones(large, bool)
    for axis, (n, wide) in enumerate(zip(small, large, strict=True)):
        f = kspace.frequencies(wide)
        inside = (f >= -(n // 2)) & (f <= (n - 1) // 2)
        kept &= inside[:, None] if axis == 0 else inside
    np.testing.assert_array_equal(filled, k * kept)


def test_a_cropped_image_keeps_its_brightness_and_a_tone_its_place():
    x = np.arange(16)
    tone = np.exp(2j * np.pi * 3 * x / 16) * np.ones((12, 1))
    k = kspace.to_kspace(tone.astype(np.complex64)[None, None])
    small = kspace.to_image(kspace.crop(k, (6, 8))) * np.sqrt(6 * 8 / (12 * 16))
    np.testing.assert_allclose(small[0, 0], tone[::2, ::2], atol=1e-6)


def test_half_by_half_zero_filling_halves_the_noise():
    acquired = noise(3, 64, 1, 32, 32)  # of standard deviation 1 in each part
    image = kspace.to_image(kspace.zero_fill(acquired, (64, 64)))
    assert image.real.std() == pytest.approx(0.5, abs=0.003)
    assert image.imag.std() == pytest.approx(0.5, abs=0.003)
    right = (image[..., 1:] * image[..., :-1].conj()).real.mean() / (abs(image) ** 2).mean()
    sinc = abs(np.exp(2j * np.pi * kspace.frequencies(32) / 64).sum()) / 32
    assert right == pytest.approx(sinc, abs=0.01)  # correlated as the sinc of two pixels


def test_a_step_rings_by_9_percent():
    n, m = 8192, 512
    step = np.zeros((1, 1, 1, n), np.complex64)
    step[..., n // 4 : 3 * n // 4] = 1
    filled = kspace.zero_fill(kspace.crop(kspace.to_kspace(step, (-1,)), (m + 1,)), (n,))
    rung = kspace.to_image(filled, (-1,)).real
    assert rung.max() - 1 == pytest.approx(0.0894, abs=5e-4)  # Wilbraham, Gibbs
    assert -rung.min() == pytest.approx(0.0894, abs=5e-4)
    hamming = windows.window(n, np.array([m]), ["hamming"], np.zeros(1))
    smooth = kspace.to_image(filled * hamming[:, None, None], (-1,)).real
    assert smooth.max() - 1 < 0.005


def test_a_ramp_shifts_by_whole_pixels_exactly_and_keeps_energy():
    image = noise(4, 2, 1, 6, 9)
    k = kspace.to_kspace(image)
    moved = kspace.to_image(k * kspace.ramp(9, [2, -4])[:, None, None])
    np.testing.assert_allclose(moved[0], np.roll(image[0], 2, -1), atol=1e-5)
    np.testing.assert_allclose(moved[1], np.roll(image[1], -4, -1), atol=1e-5)
    np.testing.assert_allclose(kspace.ramp(9, 2.3), twin.ramp(9, 2.3), atol=1e-6)
    np.testing.assert_allclose(abs(kspace.ramp(8, 2.3)), 1, atol=1e-6)
    halves = kspace.ramp(9, 0.5) ** 2
    np.testing.assert_allclose(halves, kspace.ramp(9, 1), atol=1e-6)


def test_encode_is_that_of_the_twin_for_all_broadcasts():
    random = np.random.default_rng(5)
    k = noise(5, 3, 2, 2, 4, 5, 6)
    for pools_g, pools_a, z_g, z_r in np.ndindex(2, 2, 2, 2):
        gain = noise(6, 3, 1 + pools_g, 1 + 3 * z_g, 5)
        gain[:, 0, :, 2] = 0
        gain[1, :, :, 3] = 0
        along = noise(7, 3, 1 + pools_a, 2, 6)
        row = random.integers(-1, 2, (3, 1 + 3 * z_r, 5)).astype(np.int32)
        made = kspace.encode(k, gain, along, row)
        expected = twin.encode(k, gain, along, row)
        np.testing.assert_allclose(made, expected, atol=2e-5)
        np.testing.assert_allclose(
            kspace.encode(k, gain, along, row, out=made.copy()), 2 * expected, atol=4e-5
        )
        alone = [kspace.encode(*(a[n : n + 1] for a in (k, gain, along, row))) for n in range(3)]
        assert made.tobytes() == np.concatenate(alone).tobytes()


def test_weigh_works_in_place():
    k = noise(8, 2, 3, 4, 5, 6)
    gain, along = noise(9, 2, 1, 5), noise(10, 2, 6)
    expected = k * gain[:, None, :, :, None] * along[:, None, None, None]
    assert kspace.weigh(k, gain, along) is k
    np.testing.assert_allclose(k, expected, atol=2e-5)


def test_what_does_not_fit_is_refused():
    k, gain, along = noise(0, 2, 1, 2, 3, 4, 5), noise(1, 2, 2, 1, 4), noise(2, 2, 1, 1, 5)
    with pytest.raises(ValueError, match="at most 5"):
        kspace.crop(k, (4, 6))
    with pytest.raises(ValueError, match="complex64"):
        kspace.to_kspace(k.real)
    with pytest.raises(ValueError, match="do not fit"):
        kspace.encode(k, gain[:, :, :, :3], along)
    with pytest.raises(ValueError, match="row 1 is not in"):
        kspace.encode(k, gain, along, np.ones((2, 1, 4), np.int32))
    with pytest.raises(ValueError, match="sample, coil, pool"):
        kspace.encode(k[0], gain, along)


def test_centred_has_frequency_0_in_the_middle():
    k = kspace.to_kspace(np.ones((1, 1, 4, 5), np.complex64))
    assert np.argmax(abs(kspace.centred(k))) == 2 * 5 + 2
