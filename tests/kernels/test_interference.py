"""Spikes are stripes of their frequency, tones dashed lines in their column."""

import numpy as np
import pytest

from voxelmill.kernels import interference, kspace


@pytest.mark.parametrize("axes", [kspace.SLICES, kspace.VOLUME])
def test_a_spike_is_stripes_of_its_frequency_and_height(axes):
    shape = (4, 12, 10)
    k = np.zeros((2, 1, *shape), np.complex64)
    places = np.array([[[1, 3, -2], [0, 0, 1]], [[2, -5, 4], [0, 0, 0]]])
    stripes = np.array([[0.3, 0.1j], [0.5j, 0]])
    image = kspace.to_image(interference.add_spikes(k, places, stripes, axes), axes)
    z, y, x = np.indices(shape)
    for n in range(2):
        expected = np.zeros(shape, complex)
        for (fz, fy, fx), height in zip(places[n], stripes[n], strict=True):
            wave = height * np.exp(2j * np.pi * (fy * y / 12 + fx * x / 10))
            if axes == kspace.VOLUME:
                expected += wave * np.exp(2j * np.pi * fz * z / 4)
            else:
                expected += wave * (z == fz)
        np.testing.assert_allclose(image[n, 0], expected, atol=1e-6)


def test_a_tone_is_a_line_in_its_column_of_its_rms():
    k = np.zeros((2, 2, 3, 64, 20), np.complex64)
    phases = np.random.default_rng(0).uniform(0, 6, (2, 3, 64))
    column, height = np.array([7, 3]), np.array([0.25, 0])
    image = kspace.to_image(interference.add_tones(k, column, height, phases))
    assert (image[1] == 0).all()
    rms = np.sqrt((abs(image[0]) ** 2).mean(-2))
    np.testing.assert_allclose(rms[..., 7], 0.25, rtol=1e-4)
    np.testing.assert_allclose(np.delete(rms, 7, -1), 0, atol=1e-6)
