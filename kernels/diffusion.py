"""What diffusion leaves of a signal: b in s/mm^2, coefficients in um^2/ms (1e-3 mm^2/s)."""

from typing import Any

import numpy as np

from voxelmill.kernels.device import xp_of
from voxelmill.kernels.spectrum import PROTON_MHZ_PER_TESLA


def b_value(gradient_mt_per_m: Any, duration_ms: Any, apart_ms: Any) -> Any:
    """b of two rectangular pulses, `apart_ms` from start to start. Source: Stejskal & Tanner 1965.

    Raises ValueError if they overlap.
    """
    if np.any(np.asarray(duration_ms) > np.asarray(apart_ms)):
        raise ValueError(f"duration_ms {duration_ms} must be at most apart_ms {apart_ms}")
    gamma = 2 * np.pi * PROTON_MHZ_PER_TESLA * 1e-3  # rad / (ms mT/m mm)
    return (gamma * gradient_mt_per_m * duration_ms) ** 2 * (apart_ms - duration_ms / 3) / 1000


def free(b: Any, adc: Any) -> Any:
    """One coefficient in all directions."""
    return xp_of(b).exp(-b * adc / 1000)


def tensor(b: Any, directions: Any, tensors: Any) -> Any:
    """A tensor: directions (..., 3), made unit vectors here, and tensors (..., 3, 3)."""
    xp = xp_of(directions)
    length = xp.sqrt((directions**2).sum(-1))
    if not (length > 0).all():
        raise ValueError(f"directions {directions}: one has length 0")
    along = xp.einsum("...i,...ij,...j->...", directions, tensors, directions) / length**2
    return free(b, along)


def incoherent_motion(b: Any, adc: Any, fast: Any, share: Any) -> Any:
    """IVIM: a `share` in [0, 1] of flowing blood with the coefficient `fast`."""
    if not np.all((np.asarray(share) >= 0) & (np.asarray(share) <= 1)):
        raise ValueError(f"share {share} must be in [0, 1]")
    return share * free(b, fast) + (1 - share) * free(b, adc)


def kurtosis(b: Any, adc: Any, excess: Any) -> Any:
    """Diffusion with an excess kurtosis, up to b = 3 / (adc excess), where it would rise again."""
    xp = xp_of(b)
    x = b * adc / 1000
    if not xp.all(x * excess <= 3):
        raise ValueError(
            f"b {b} is past 3000 / (adc excess) of adc {adc}, excess {excess}: the expansion rises"
        )
    return xp.exp(-x + x * x * excess / 6)
