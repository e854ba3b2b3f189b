"""kernels/noise.py once more in obvious NumPy."""

import numpy as np
from reference import gaussian


def noise(shape, sd, keys, gain=None):
    """Complex noise for an image of `shape` (sample, ..., z, y, x)."""
    parts = gaussian.white(keys, (*shape[1:], 2)).astype(float)
    out = (parts[..., 0] + 1j * parts[..., 1]) * np.reshape(sd, (-1, *[1] * (len(shape) - 1)))
    if gain is not None:
        out *= gain.reshape(len(sd), *[1] * (len(shape) - 4), *shape[-3:])
    return out


def add_complex(image, sd, keys, gain=None):
    """The image with noise, complex64."""
    return (image + noise(image.shape, sd, keys, gain)).astype(np.complex64)


def rician(image, sd, keys, gain=None):
    """The magnitude of the image with noise, float32."""
    return np.abs(image + noise(image.shape, sd, keys, gain)).astype(np.float32)


def sum_of_squares(images):
    """The root of the sum over coils, float32."""
    return np.sqrt((np.abs(images.astype(complex)) ** 2).sum(1)).astype(np.float32)
