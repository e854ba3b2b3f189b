"""Rows: random bits and normals, and the noise that is made of them, by z-tests.

The seeds stand here, so a row is the same every time: a z of 4 happens to one true row in 16,000.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream, philox
from voxelmill.engine.verify.golden import chi_mean, chi_sd
from voxelmill.engine.verify.rows import Measured, Row

Z = 4.0
SNR = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
COILS = (4, 8, 32)
# Random123's known answers: counter, key, words.
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)  # fmt: skip


def keys(*names: str) -> NDArray[np.uint32]:
    """A row of words for each name."""
    return np.array([Stream(3, 0).key(f"verify.{name}") for name in names], np.uint32)


def z_of_mean(values: NDArray[np.float64], mean: float) -> float:
    """How many standard errors the mean of `values` is from `mean`."""
    return float((values.mean() - mean) / (values.std() / np.sqrt(values.size)))


def z_of_sd(values: NDArray[np.float64], sd: float) -> float:
    """How many standard errors the standard deviation of `values` is from `sd`."""
    return z_of_mean((values - values.mean()) ** 2, sd**2)


def _known_answers() -> Measured:
    from voxelmill.kernels.philox import philox as compiled

    wrong = 0
    for counter, key, words in KNOWN:
        made = philox(np.array([counter], np.uint32), key)[0]
        wrong += int((made != np.array(words, np.uint32)).sum())
        wrong += sum(
            int(a) != b
            for a, b in zip(compiled(*map(np.uint32, counter + key)), words, strict=True)
        )
    return Measured(wrong, 0, 0, "words, in NumPy and compiled")


def _moments(make: Callable[[NDArray[np.uint32], int], NDArray[np.float32]], name: str) -> Measured:
    x = make(keys(name), 1 << 20).ravel().astype(np.float64)
    powers = [z_of_mean(x**power, moment) for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3))]
    powers.append(z_of_mean(x[1:] * x[:-1], 0))
    return Measured(max(map(abs, powers)), 0, Z, "largest |z| of moments 1 to 4 and of neighbours")


def _normals() -> Measured:
    from voxelmill.kernels.philox import normals

    return _moments(normals, "normals")


def _white() -> Measured:
    from voxelmill.kernels.gaussian import white

    return _moments(lambda key, count: white(key, (count,)), "white")


def _rician() -> Measured:
    from voxelmill.kernels.noise import rician

    shape = (len(SNR), 1, 32, 64, 96)
    image = np.broadcast_to(np.array(SNR, np.float32)[:, None, None, None, None], shape)
    sd = np.ones(len(SNR), np.float32)
    made = rician(np.ascontiguousarray(image), sd, keys(*(f"rician.{a}" for a in SNR)))
    worst = 0.0
    for a, values in zip(SNR, made.reshape(len(SNR), -1).astype(np.float64), strict=True):
        z = z_of_mean(values, float(chi_mean(1, a))), z_of_sd(values, float(chi_sd(1, a)))
        worst = max(worst, *map(abs, z))
    return Measured(worst, 0, Z, f"largest |z| of mean and sd at signal / noise {SNR}")


def _chi(coils: int) -> Measured:
    from voxelmill.kernels.noise import add_complex, sum_of_squares

    worst = 0.0
    for amplitude in (0.0, 10.0):
        image = np.full((1, coils, 16, 32, 40), amplitude / np.sqrt(coils), np.complex64)
        add_complex(image, np.ones(1, np.float32), keys(f"chi.{coils}.{amplitude}"))
        values = sum_of_squares(image).ravel().astype(np.float64)
        z = z_of_mean(values, float(chi_mean(coils, amplitude)))
        worst = max(worst, abs(z), abs(z_of_sd(values, float(chi_sd(coils, amplitude)))))
    return Measured(worst, 0, Z, "largest |z| of mean and sd at signals of 0 and 10")


def _parts() -> Measured:
    from voxelmill.kernels.noise import add_complex

    image = np.zeros((2, 3, 16, 32, 40), np.complex64)
    add_complex(image, np.ones(2, np.float32), keys("parts.0", "parts.1"))
    a, b = (image[n].astype(np.complex128) for n in (0, 1))
    pairs = (
        (a.real, a.imag), (a.real, b.real), (a[0].real, a[1].real), (a[0].imag, a[2].imag),
        (a[..., 1:].real, a[..., :-1].imag),
    )  # fmt: skip
    worst = max(abs(z_of_mean((x * y).ravel(), 0)) for x, y in pairs)
    return Measured(worst, 0, Z, "largest |z| of five products")


def _zero_fill() -> Measured:
    from voxelmill.kernels import kspace
    from voxelmill.kernels.noise import add_complex

    k = np.zeros((1, 1, 24, 48, 64), np.complex64)
    add_complex(k, np.ones(1, np.float32), keys("zero_fill"))
    image = kspace.to_image(kspace.zero_fill(k, (96, 128)))
    apart = image[0, 0, :, ::2, ::2].astype(np.complex128)  # every other pixel is independent
    z = z_of_sd(np.concatenate([apart.real.ravel(), apart.imag.ravel()]), 0.5)
    return Measured(z, 0, Z, f"z of the sd, {apart.real.std():.4f} where 0.5 is right")


def verify_rows() -> list[Row]:
    """Bits, normals, noise."""
    theory = "the noise of a magnitude has the moments of theory, at any signal"
    return [
        Row("random.philox", "Philox 4x32-10", "Random123's known answers", _known_answers),
        Row("random.normals", "a million normals", "they are standard and independent", _normals),
        Row("random.white", "a million normals of an image", "as above", _white),
        Row("noise.rician", "one channel, seven signal-to-noise ratios", theory, _rician),
        *[
            Row(f"noise.chi_{coils}", f"root of the sum of squares of {coils} coils", theory,
                partial(_chi, coils))
            for coils in COILS
        ],
        Row(
            "noise.parts",
            "real and imaginary parts, samples, coils, neighbours",
            "noise is independent of all other noise",
            _parts,
        ),
        Row(
            "noise.zero_fill",
            "noise of half x half of k-space, zero-filled",
            "noise is added before zero-filling, which halves it",
            _zero_fill,
        ),
    ]  # fmt: skip
