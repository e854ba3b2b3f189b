"""Sequences played pulse by pulse with `engine.bloch`: the same names as in kernels/signals.py.

One tissue at a time, M0 = 1, plain numbers. Each plays one repetition, finds the steady state and
reads the echo. Nothing here uses a closed form. What `mixed` and `spoil` assume is what the closed
forms assume: gradients that no later gradient undoes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import bloch
from voxelmill.engine.bloch import Spins

Played = tuple[complex, Spins]  # the signal of a repetition and what it leaves


def _steady_signal(play: Callable[[Spins], Played], spins: int = 1) -> complex:
    return play(bloch.steady(lambda m: play(m)[1], spins))[0]


def spin_echo(
    t1_ms: float, t2_ms: float, tr_ms: float, te_ms: float, flip_deg: float = 90.0,
    refocus_deg: float = 180.0, b1: float = 1.0, prepared: float = 1.0,
) -> complex:  # fmt: skip
    """As in `signals`: what is dephased at the end of a repetition never comes back."""

    def play(m: Spins) -> Played:
        return _echo(
            np.repeat(m * prepared, 5, 0),
            t1_ms,
            t2_ms,
            tr_ms,
            te_ms,
            flip_deg * b1,
            refocus_deg * b1,
        )

    return _steady_signal(lambda m: (play(m)[0], bloch.mixed(play(m)[1])))


def spin_echo_same_crushers(
    t1_ms: float, t2_ms: float, tr_ms: float, te_ms: float, flip_deg: float, refocus_deg: float
) -> complex:
    """With equal crushers in each repetition, so that stimulated echoes cross to the next."""
    return _steady_signal(
        lambda m: _echo(m, t1_ms, t2_ms, tr_ms, te_ms, flip_deg, refocus_deg), 256
    )


def _echo(
    m: Spins, t1_ms: float, t2_ms: float, tr_ms: float, te_ms: float, flip: float, refocus: float
) -> Played:
    m = bloch.pulse(m, flip, 90)
    m = bloch.dephase(bloch.wait(m, te_ms / 2, t1_ms, t2_ms))
    m = bloch.wait(bloch.dephase(bloch.pulse(m, refocus)), te_ms / 2, t1_ms, t2_ms)
    return bloch.signal(m), bloch.wait(m, tr_ms - te_ms, t1_ms, t2_ms)


def spoiled_echo(
    t1_ms: float, t2s_ms: float, tr_ms: float, te_ms: float, flip_deg: float,
    b1: float = 1.0, prepared: float = 1.0,
) -> complex:  # fmt: skip
    """As in `signals`."""

    def play(m: Spins) -> Played:
        m = bloch.wait(bloch.pulse(m * prepared, flip_deg * b1, 90), te_ms, t1_ms, t2s_ms)
        return bloch.signal(m), bloch.spoil(bloch.wait(m, tr_ms - te_ms, t1_ms, t2s_ms))

    return _steady_signal(play)


def rf_spoiled_echo(
    t1_ms: float, t2_ms: float, tr_ms: float, te_ms: float, flip_deg: float,
    increment_deg: float, pulses: int = 400, spins: int = 512,
) -> complex:  # fmt: skip
    """A spoiled gradient echo as scanners play it: equal gradients, quadratic phases of the pulses.

    The phase of pulse n is increment_deg * n (n + 1) / 2; the last of `pulses` is read.
    """
    m = bloch.rest(spins)
    read = 0j
    for n in range(pulses):
        phase = increment_deg * n * (n + 1) / 2 % 360
        m = bloch.wait(bloch.pulse(m, flip_deg, phase + 90), te_ms, t1_ms, t2_ms)
        read = bloch.signal(m) * complex(np.exp(-1j * np.radians(phase)))
        m = bloch.dephase(bloch.wait(m, tr_ms - te_ms, t1_ms, t2_ms))
    return read


def balanced_echo(
    t1_ms: float, t2_ms: float, tr_ms: float, te_ms: float, flip_deg: float,
    b1: float = 1.0, off_hz: float = 0.0,
) -> complex:  # fmt: skip
    """As in `signals`: two repetitions with pulses of opposite sign, read in the first."""

    def play(m: Spins) -> Played:
        m = bloch.wait(bloch.pulse(m, flip_deg * b1, 90), te_ms, t1_ms, t2_ms, off_hz)
        read = bloch.signal(m)
        m = bloch.wait(m, tr_ms - te_ms, t1_ms, t2_ms, off_hz)
        m = bloch.pulse(m, -flip_deg * b1, 90)
        return read, bloch.wait(m, tr_ms, t1_ms, t2_ms, off_hz)

    return _steady_signal(play)


def _inverted(m: Spins, efficiency: float) -> Spins:
    return bloch.spoil(bloch.pulse(m, np.degrees(np.arccos(-efficiency))))


def inversion_spin_echo(
    t1_ms: float, t2_ms: float, tr_ms: float, ti_ms: float, te_ms: float, efficiency: float = 1.0
) -> complex:
    """As in `signals`."""

    def play(m: Spins) -> Played:
        m = bloch.wait(_inverted(m, efficiency), ti_ms, t1_ms, t2_ms)
        read, m = _echo(np.repeat(m, 5, 0), t1_ms, t2_ms, tr_ms - ti_ms, te_ms, 90, 180)
        return read, bloch.mixed(m)

    return _steady_signal(play)


def inversion_fse(
    t1_ms: float, t2_ms: float, tr_ms: float, ti_ms: float, te_ms: float, train_ms: float,
    efficiency: float = 1.0,
) -> complex:  # fmt: skip
    """As in `signals`: the train ends with nothing, along z too."""

    def play(m: Spins) -> Played:
        m = bloch.wait(_inverted(m, efficiency), ti_ms, t1_ms, t2_ms)
        read = bloch.signal(bloch.wait(bloch.pulse(m, 90, 90), te_ms, t1_ms, t2_ms))
        return read, bloch.wait(0 * m, tr_ms - ti_ms - train_ms, t1_ms, t2_ms)

    return _steady_signal(play)


def double_inversion(
    t1_ms: float, t2_ms: float, tr_ms: float, ti1_ms: float, ti2_ms: float, te_ms: float,
    train_ms: float,
) -> complex:  # fmt: skip
    """As in `signals`: the train ends with nothing, along z too."""

    def play(m: Spins) -> Played:
        m = bloch.wait(_inverted(m, 1), ti1_ms, t1_ms, t2_ms)
        m = bloch.wait(_inverted(m, 1), ti2_ms, t1_ms, t2_ms)
        read = bloch.signal(bloch.wait(bloch.pulse(m, 90, 90), te_ms, t1_ms, t2_ms))
        rest_ms = tr_ms - ti1_ms - ti2_ms - train_ms
        return read, bloch.wait(0 * m, rest_ms, t1_ms, t2_ms)

    return _steady_signal(play)


def mprage(
    t1_ms: float, t2s_ms: float, tr_ms: float, ti_ms: float, te_ms: float, flip_deg: float,
    spacing_ms: float, pulses: int, centre: int, pulse: int | None = None,
    efficiency: float = 1.0, b1: float = 1.0,
) -> complex:  # fmt: skip
    """As in `signals`: an inversion and all pulses of the train, one after the other."""
    read_at = centre if pulse is None else pulse

    def play(m: Spins) -> Played:
        m = bloch.wait(_inverted(m, efficiency), ti_ms - centre * spacing_ms, t1_ms, t2s_ms)
        read = 0j
        for n in range(pulses):
            m = bloch.wait(bloch.pulse(m, flip_deg * b1, 90), te_ms, t1_ms, t2s_ms)
            read = bloch.signal(m) if n == read_at else read
            m = bloch.spoil(bloch.wait(m, spacing_ms - te_ms, t1_ms, t2s_ms))
        return read, bloch.wait(m, tr_ms - ti_ms - (pulses - centre) * spacing_ms, t1_ms, t2s_ms)

    return _steady_signal(play)


def train(
    m: Spins, t1_ms: float, t2_ms: float, refocus_deg: Sequence[float], esp_ms: float,
    b1: float = 1.0, phases_deg: Any = 0.0, excite_deg: float = 90.0,
    excite_phase_deg: float = 90.0,
) -> tuple[NDArray[np.complex128], Spins]:  # fmt: skip
    """The echoes of a train as in `epg`, from one spin `m`, and the one spin that it leaves."""
    pulses = len(refocus_deg)
    m = bloch.pulse(np.repeat(m, 2 * pulses + 3, 0), excite_deg * b1, excite_phase_deg)
    echoes = []
    for flip, phase in zip(refocus_deg, np.broadcast_to(phases_deg, pulses), strict=True):
        m = bloch.dephase(bloch.wait(m, esp_ms / 2, t1_ms, t2_ms))
        m = bloch.pulse(m, flip * b1, phase)
        m = bloch.dephase(bloch.wait(m, esp_ms / 2, t1_ms, t2_ms))
        echoes.append(bloch.signal(m))
    return np.array(echoes), bloch.mixed(m)


def fast_spin_echo(
    t1_ms: float, t2_ms: float, tr_ms: float, esp_ms: float, refocus_deg: Sequence[float],
    b1: float = 1.0, ti_ms: float | None = None,
) -> NDArray[np.complex128]:  # fmt: skip
    """The echoes of a shot in the steady state of shots, what the train leaves along z included.

    ti_ms: time from a perfect inversion to the excitation, or None for no inversion.
    """

    def play(m: Spins) -> tuple[NDArray[np.complex128], Spins]:
        if ti_ms is not None:
            m = bloch.wait(_inverted(m, 1), ti_ms, t1_ms, t2_ms)
        echoes, m = train(m, t1_ms, t2_ms, refocus_deg, esp_ms, b1)
        rest_ms = tr_ms - (ti_ms or 0) - len(refocus_deg) * esp_ms
        return echoes, bloch.wait(m, rest_ms, t1_ms, t2_ms)

    return play(bloch.steady(lambda m: play(m)[1]))[0]
