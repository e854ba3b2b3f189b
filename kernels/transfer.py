"""Magnetisation transfer between free water and macromolecules: two pools, continuous wave.

Source: Henkelman, MRM 1993;29:759; Ramani, MRI 2002;20:721.
"""

from typing import Any, NamedTuple

import numpy as np

from voxelmill.kernels.device import xp_of

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
_MAGIC = 1 / np.sqrt(3)


class Pools(NamedTuple):
    """Two pools; the free one has M0 = 1. Numbers or arrays that broadcast."""

    t1_ms: Any  # of the free pool, by itself
    t2_ms: Any
    bound: Any  # M0 of the bound pool, from 0
    exchange_hz: Any  # R: the bound pool gives R of itself a second, the free one R * bound
    t1_bound_ms: Any = 1000.0
    t2_bound_us: Any = 10.0


# 3 T: Stanisz, MRM 2005;54:507: share of the bound pool, exchange in 1/s, T2 in microseconds.
WHITE_MATTER_3T = (0.139, 23.0, 10.0)
GREY_MATTER_3T = (0.050, 40.0, 9.1)


def super_lorentzian_s(off_hz: Any, t2_us: Any) -> Any:
    """Line shape of a bound pool at `off_hz` (not 0, where it has none), in seconds.

    Its integral over angular frequency is 1. Bounded to 1e-9 of itself from 200 Hz on.
    """
    xp = xp_of(off_hz)
    width = xp.asarray(2 * np.pi * off_hz * t2_us * 1e-6)[..., None]
    if not (width != 0).all():
        raise ValueError(f"off_hz {off_hz}: a super-Lorentzian has no value at 0")
    total = 0.0
    for low, high in ((0.0, _MAGIC), (_MAGIC, 1.0)):
        u = xp.asarray(low + (high - low) * (_NODES + 1) / 2)
        slope = xp.abs(3 * u * u - 1)
        line = xp.exp(-2 * (width / slope) ** 2) / slope
        total = total + (line * xp.asarray(_WEIGHTS)).sum(-1) * (high - low) / 2
    return np.sqrt(2 / np.pi) * t2_us * 1e-6 * total


def transferred_z(pools: Pools, saturation_hz: Any, off_hz: Any) -> Any:
    """Steady Mz of the free pool under a wave of `saturation_hz` (gamma B1 / 2 pi), `off_hz` away.

    The free pool's own saturation is that far from its line: 2 pi off_hz T2 is far above 1.
    """
    free, bound = 1000 / pools.t1_ms, 1000 / pools.t1_bound_ms
    omega = 2 * np.pi * saturation_hz
    saturation = np.pi * omega**2 * super_lorentzian_s(off_hz, pools.t2_bound_us)
    direct = (saturation_hz / off_hz) ** 2 * 1000 / pools.t2_ms / free
    given = pools.exchange_hz * pools.bound / free
    total = saturation + bound + pools.exchange_hz
    return (bound * given + total) / (given * (bound + saturation) + (1 + direct) * total)
