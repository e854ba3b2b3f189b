"""The Bloch equation in double precision: pulses, relaxation and gradients as exact operators.

What every closed form and every kernel of MR is held against. Magnetisation is an array (spin, 3)
of x, y, z float64 in the unit of M0 = 1. A spin is an isochromat: dephasing by a gradient that
turns spin j of n by j / n turns averages to nothing exactly, as long as fewer than n such
gradients act between two averages (a trigonometric polynomial of degree below n, summed at n
evenly spaced angles), so a crushed sequence has no error but rounding.

Turns are right-handed, as in Weigel, JMRI 2015;41:266: a pulse of 90 degrees about x takes z to -y.
Transverse magnetisation x + i y precesses by exp(+2 pi i off_hz t).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spins = NDArray[np.float64]


def rest(spins: int = 1) -> Spins:
    """Equilibrium: (spins, 3), all along z."""
    return np.tile([0.0, 0.0, 1.0], (spins, 1))


def pulse(m: Spins, flip_deg: Any, phase_deg: Any = 0.0) -> Spins:
    """Turn by `flip_deg` about the axis at `phase_deg` from x in the transverse plane."""
    flip, phase = np.radians(flip_deg), np.radians(phase_deg)
    turned = transverse(m) * np.exp(-1j * phase)
    x, y, z = turned.real, turned.imag, m[:, 2]
    y, z = y * np.cos(flip) - z * np.sin(flip), y * np.sin(flip) + z * np.cos(flip)
    return _spins((x + 1j * y) * np.exp(1j * phase), z)


def wait(m: Spins, time_ms: float, t1_ms: Any, t2_ms: Any, off_hz: Any = 0.0) -> Spins:
    """Relax and precess for `time_ms`; tissue and offset are numbers or (spin,)."""
    if time_ms < 0:
        raise ValueError(f"time_ms {time_ms} is below 0: the events of this sequence overlap")
    kept = np.exp(-time_ms / np.asarray(t2_ms) + 2j * np.pi * np.asarray(off_hz) * time_ms / 1000)
    return _spins(transverse(m) * kept, 1 + (m[:, 2] - 1) * np.exp(-time_ms / np.asarray(t1_ms)))


def dephase(m: Spins, turns: float = 1.0) -> Spins:
    """A gradient that turns spin j of n by `turns` * j / n about z."""
    return _spins(transverse(m) * np.exp(2j * np.pi * turns * np.arange(len(m)) / len(m)), m[:, 2])


def spoil(m: Spins) -> Spins:
    """Ideal spoiling: nothing transverse is left."""
    return _spins(np.zeros(len(m)), m[:, 2])


def mixed(m: Spins) -> Spins:
    """One spin with the mean z of all and nothing transverse: a crusher that never comes back."""
    return np.array([[0.0, 0.0, m[:, 2].mean()]])


def transverse(m: Spins) -> NDArray[np.complex128]:
    """x + i y of each spin."""
    return m[:, 0] + 1j * m[:, 1]


def signal(m: Spins) -> complex:
    """The mean of x + i y."""
    return complex(transverse(m).mean())


def steady(period: Callable[[Spins], Spins], spins: int = 1) -> Spins:
    """What `period` maps to itself: (spins, 3).

    period: plays one repetition from its first event; each spin by itself, or one spin in all.
    It is affine, m -> A m + b, so four runs give A and b, and m = (1 - A)^-1 b.
    """
    b = period(np.zeros((spins, 3)))
    columns = [period(np.tile(np.eye(3)[k], (spins, 1))) - b for k in range(3)]
    fixed = np.linalg.solve(np.eye(3) - np.stack(columns, -1), b[..., None])
    return np.asarray(fixed[..., 0], np.float64)


def _spins(xy: Any, z: Any) -> Spins:
    return np.stack(np.broadcast_arrays(np.real(xy), np.imag(xy), z), -1)
