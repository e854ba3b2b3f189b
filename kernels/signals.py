"""Signals of MR sequences in closed form: per tissue, not per voxel, so in double precision.

Every argument is a number or an array, on the host or on the device, and they broadcast: tissues
on one axis, echo times or B1 bins on another. `m0` is the signal of the fully relaxed tissue at
TE = 0. `b1` is the share of the nominal flip angle that the tissue sees. `prepared` is what a
preparation just before each excitation (see `spectrum.saturated_z`) leaves of the longitudinal
magnetisation; its effect on the steady state is included. Signals keep their sign.
With E1(t) = exp(-t / T1), E2(t) = exp(-t / T2). Every form here is compared with the Bloch equation
in double precision by `voxelmill verify`. Fast spin echoes take their train from `epg`.
Sources: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences, 2004, where no other is named.
"""

from typing import Any

import numpy as np

from voxelmill.kernels.device import xp_of

_RAD = np.pi / 180


def relaxed(time_ms: Any, constant_ms: Any) -> Any:
    """exp(-time / constant): what is left after `time_ms` of decay with T1, T2 or T2*."""
    return _xp(time_ms, constant_ms).exp(-time_ms / constant_ms)


def spin_echo(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: Any, te_ms: Any,
    flip_deg: Any = 90.0, refocus_deg: Any = 180.0, b1: Any = 1.0, prepared: Any = 1.0,
) -> Any:  # fmt: skip
    """Spin echo; crushers differ in every TR, so that no stimulated echo crosses from TR to TR.

    (With the same crushers in every TR such an echo survives; 5 % at 70, 150 degrees.)
    """
    _check_times(te_ms, tr_ms, t1_ms=t1_ms, t2_ms=t2_ms)
    xp = _xp(t1_ms, tr_ms, te_ms, flip_deg, refocus_deg, b1)
    excite, refocus = flip_deg * b1 * _RAD, refocus_deg * b1 * _RAD
    late, whole, turn = relaxed(tr_ms - te_ms / 2, t1_ms), relaxed(tr_ms, t1_ms), xp.cos(refocus)
    z = prepared * (1 - (1 - turn) * late - turn * whole)
    z = z / (1 - prepared * xp.cos(excite) * turn * whole)
    return m0 * z * xp.sin(excite) * xp.sin(refocus / 2) ** 2 * relaxed(te_ms, t2_ms)


def spoiled_echo(
    m0: Any, t1_ms: Any, t2s_ms: Any, tr_ms: Any, te_ms: Any,
    flip_deg: Any, b1: Any = 1.0, prepared: Any = 1.0,
) -> Any:  # fmt: skip
    """Spoiled gradient echo, ideally spoiled. Source: Ernst & Anderson 1966; Haase 1986."""
    _check_times(te_ms, tr_ms, t1_ms=t1_ms, t2s_ms=t2s_ms)
    xp = _xp(t1_ms, tr_ms, flip_deg, b1)
    flip, e1 = flip_deg * b1 * _RAD, relaxed(tr_ms, t1_ms)
    z = prepared * (1 - e1) / (1 - prepared * xp.cos(flip) * e1)
    return m0 * z * xp.sin(flip) * relaxed(te_ms, t2s_ms)


def ernst_deg(t1_ms: Any, tr_ms: Any) -> Any:
    """The flip angle at which `spoiled_echo` is largest."""
    return _xp(t1_ms, tr_ms).arccos(relaxed(tr_ms, t1_ms)) / _RAD


def balanced_echo(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: Any, te_ms: Any,
    flip_deg: Any, b1: Any = 1.0, off_hz: Any = 0.0,
) -> Any:  # fmt: skip
    """Balanced steady state, complex, pulses of alternating sign; bands at off_hz = 1 / (2 TR).

    Real and positive on resonance. Source: Freeman & Hill 1971; Scheffler & Lehnhardt 2003.
    """
    _check_times(te_ms, tr_ms, t1_ms=t1_ms, t2_ms=t2_ms)
    xp = _xp(t1_ms, t2_ms, tr_ms, te_ms, flip_deg, b1, off_hz)
    flip, e1, e2 = flip_deg * b1 * _RAD, relaxed(tr_ms, t1_ms), relaxed(tr_ms, t2_ms)
    turn = xp.cos(flip)
    phase = 2 * np.pi * off_hz * tr_ms / 1000 + np.pi
    low = (1 - e1 * turn) * (1 - e2 * xp.cos(phase)) - e2 * (e1 - turn) * (e2 - xp.cos(phase))
    after = (1 - e1) * xp.sin(flip) * (1 - e2 * xp.exp(-1j * phase)) / low
    return m0 * after * xp.exp((2j * np.pi * off_hz / 1000 - 1 / t2_ms) * te_ms)


def recovered_z(t1_ms: Any, tr_ms: Any, train_ms: Any) -> Any:
    """Mz before the excitation of a fast spin echo whose train of `train_ms` leaves no Mz."""
    _check_times(train_ms, tr_ms, "train_ms", t1_ms=t1_ms)
    return 1 - relaxed(tr_ms - train_ms, t1_ms)


def fast_spin_echo(
    m0: Any, t1_ms: Any, tr_ms: Any, train_ms: Any, echo: Any, prepared: Any = 1.0
) -> Any:
    """A fast spin echo whose echo of `epg.train` at the centre of k-space is `echo`."""
    return m0 * prepared * recovered_z(t1_ms, tr_ms, train_ms) * echo


def inversion_spin_echo(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: Any, ti_ms: Any, te_ms: Any, efficiency: Any = 1.0
) -> Any:
    """Inversion recovery with a 90-180 spin echo, signed; `efficiency` of the inversion."""
    _check_times(te_ms, tr_ms, t1_ms=t1_ms, t2_ms=t2_ms)
    _check_inversion(ti_ms, tr_ms, te_ms / 2, "te_ms / 2")
    z = (
        1
        - (1 + efficiency) * relaxed(ti_ms, t1_ms)
        + efficiency * (2 * relaxed(tr_ms - te_ms / 2, t1_ms) - relaxed(tr_ms, t1_ms))
    )
    return m0 * z * relaxed(te_ms, t2_ms)


def inverted_z(t1_ms: Any, tr_ms: Any, ti_ms: Any, train_ms: Any, efficiency: Any = 1.0) -> Any:
    """Signed Mz at the excitation, `ti_ms` after an inversion; the train leaves no Mz.

    efficiency: -cos of the inversion's flip angle; 1 is perfect, 0 a saturation.
    """
    _check_times(train_ms, tr_ms, "train_ms", t1_ms=t1_ms)
    _check_inversion(ti_ms, tr_ms, train_ms, "train_ms")
    before = 1 - relaxed(tr_ms - ti_ms - train_ms, t1_ms)
    return 1 - relaxed(ti_ms, t1_ms) * (1 + efficiency * before)


def inversion_fse(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: Any, ti_ms: Any, te_ms: Any, train_ms: Any,
    efficiency: Any = 1.0,
) -> Any:  # fmt: skip
    """STIR and FLAIR: an inversion and a train of 180 degrees that lasts `train_ms`, signed.

    te_ms: of the echo at the centre of k-space. Other trains: `inverted_z` times the echo of `epg`.
    """
    _check_times(te_ms, tr_ms, t1_ms=t1_ms, t2_ms=t2_ms)
    return m0 * inverted_z(t1_ms, tr_ms, ti_ms, train_ms, efficiency) * relaxed(te_ms, t2_ms)


def null_ti_ms(t1_ms: Any, tr_ms: Any, train_ms: Any = 0.0) -> Any:
    """The inversion time at which `inversion_fse` gives nothing."""
    _check_times(train_ms, tr_ms, "train_ms", t1_ms=t1_ms)
    return t1_ms * (np.log(2) - _xp(t1_ms, tr_ms).log(1 + relaxed(tr_ms - train_ms, t1_ms)))


def double_inverted_z(t1_ms: Any, tr_ms: Any, ti1_ms: Any, ti2_ms: Any, train_ms: Any) -> Any:
    """Signed Mz at the excitation after two inversions. Source: Redpath & Smith 1994.

    ti1_ms: between the inversions; ti2_ms: from the second one to the excitation.
    """
    _check_times(train_ms, tr_ms, "train_ms", t1_ms=t1_ms)
    _check_inversion(ti1_ms + ti2_ms, tr_ms, train_ms, "train_ms", "ti1_ms + ti2_ms")
    first, both = relaxed(ti2_ms, t1_ms), relaxed(ti1_ms + ti2_ms, t1_ms)
    return 1 - 2 * first + 2 * both - relaxed(tr_ms - train_ms, t1_ms)


def double_inversion(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: Any, ti1_ms: Any, ti2_ms: Any, te_ms: Any, train_ms: Any
) -> Any:
    """Double inversion recovery with a fast spin echo, signed; times as in `double_inverted_z`."""
    _check_times(te_ms, tr_ms, t1_ms=t1_ms, t2_ms=t2_ms)
    z = double_inverted_z(t1_ms, tr_ms, ti1_ms, ti2_ms, train_ms)
    return m0 * z * relaxed(te_ms, t2_ms)


def mprage(
    m0: Any, t1_ms: Any, t2s_ms: Any, tr_ms: Any, ti_ms: Any, te_ms: Any, flip_deg: Any,
    spacing_ms: Any, pulses: int, centre: int,
    pulse: Any = None, efficiency: Any = 1.0, b1: Any = 1.0,
) -> Any:  # fmt: skip
    """MPRAGE, signed, at `pulse` of a train of `pulses` (0 is the first), by default at `centre`.

    ti_ms: from the inversion to pulse `centre`, the one at the centre of k-space; spacing_ms: from
    pulse to pulse. Source: Mugler 1990; Deichmann 2000; Marques 2010, appendix.
    """
    _check_times(te_ms, spacing_ms, "te_ms", "spacing_ms", t1_ms=t1_ms, t2s_ms=t2s_ms)
    if not 0 <= centre < pulses:
        raise ValueError(f"centre {centre} is not a pulse of a train of {pulses} (0 is the first)")
    xp = _xp(t1_ms, tr_ms, ti_ms, flip_deg, spacing_ms, b1)
    before_ms = ti_ms - centre * spacing_ms
    after_ms = tr_ms - ti_ms - (pulses - centre) * spacing_ms
    if xp.any(xp.asarray(before_ms) < 0) or xp.any(xp.asarray(after_ms) < 0):
        raise ValueError(
            f"a train of {pulses} pulses every {spacing_ms} ms with pulse {centre} at ti_ms "
            f"{ti_ms} does not fit in tr_ms {tr_ms}: shorten it or move ti_ms"
        )
    turn = xp.cos(flip_deg * b1 * _RAD)
    before, after = relaxed(before_ms, t1_ms), relaxed(after_ms, t1_ms)
    kept = turn * relaxed(spacing_ms, t1_ms)
    driven = (1 - relaxed(spacing_ms, t1_ms)) / (1 - kept)
    both = efficiency * before * after
    first = 1 - before - efficiency * before * (1 - after) - both * driven * (1 - kept**pulses)
    first = first / (1 + both * kept**pulses)
    z = driven + (first - driven) * kept ** (centre if pulse is None else pulse)
    return m0 * xp.sin(flip_deg * b1 * _RAD) * z * relaxed(te_ms, t2s_ms)


def _xp(*arguments: Any) -> Any:
    return next((xp for xp in map(xp_of, arguments) if xp is not np), np)


def _check_times(
    early_ms: Any, late_ms: Any, early: str = "te_ms", late: str = "tr_ms", **constants_ms: Any
) -> None:
    """Time constants are above 0; `early` is in [0, late)."""
    for name, value in constants_ms.items():
        if not _xp(value).all(_xp(value).asarray(value) > 0):  # NaN too
            raise ValueError(f"{name} must be above 0, not {value}")
    xp = _xp(early_ms, late_ms)
    if not xp.all((xp.asarray(early_ms) >= 0) & (xp.asarray(early_ms) < late_ms)):
        raise ValueError(
            f"{early} {early_ms} must be at least 0 and below {late} {late_ms}: shorten {early} "
            f"or lengthen {late}"
        )


def _check_inversion(ti_ms: Any, tr_ms: Any, rest_ms: Any, rest: str, name: str = "ti_ms") -> None:
    """An inversion time is in [0, TR], and what follows the excitation ends before the next TR."""
    xp = _xp(ti_ms, tr_ms, rest_ms)
    if not xp.all((xp.asarray(ti_ms) >= 0) & (xp.asarray(ti_ms + rest_ms) <= tr_ms)):
        raise ValueError(
            f"{name} {ti_ms} must be at least 0, and with {rest} {rest_ms} at most tr_ms {tr_ms}: "
            f"shorten {name} or lengthen tr_ms"
        )
