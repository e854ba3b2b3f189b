"""Echo trains by extended phase graphs: of many atoms (a tissue at one B1 each), any flips.

Sources: Hennig, JMR 1988;78:397; Weigel, JMRI 2015;41:266, whose signs these are.

Between the excitation and the first pulse, and on both sides of each echo, lies half an echo
spacing with the same gradient. So at a pulse a state's order is 1, 3, 5... halves if it can reach
an echo, and 0, 2, 4... if it comes from longitudinal magnetisation that recovered in the train:
those meet between the echoes, where the crushers of a real sequence put them. The two never mix.
Only the odd ones are kept, and of them those that were reached and can still come back: order
2 j + 1 at pulse n of N (from 0) needs j < min(n + 1, N - n). That is an eighth of the full graph's
work, and exact. Nothing is shifted either: F+ of j lies at slot N - 1 - n + j, F- at n + j, Z at j,
so that a pulse writes where it read.

A CPU thread takes `LANES` atoms at once, the processor's vectors run over them. For that the
scratch is one flat array of rows of LANES numbers at distances that the compiler knows, results go
to rows of their own before they are put back, and indices are unsigned: with any of these missing
it is six times slower.
"""

from math import exp
from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of

LANES = 32  # atoms that a thread of the CPU takes at once; rows of the scratch are this long
_LANES, _ONE, _TWO = np.uint64(LANES), np.uint64(1), np.uint64(2)
# Rows of the scratch: of all pulses, of one pulse, what a pulse makes of one order...
_E1, _E2, _BOTH, _KEPT, _TURN_R, _TURN_I, _A, _B, _COS, *_MADE = (
    np.uint64(row * LANES) for row in range(15)
)
_P0, _P1, _M0, _M1, _Z0, _Z1 = _MADE
_STATE = np.uint64(15)  # ... and from here on F+, F- and Z, real and imaginary, of each slot
_SIX = np.uint64(6)
_PR, _PI, _MR, _MI, _ZR, _ZI = (np.uint64(row * LANES) for row in range(6))


@body
def _sin_cos(x):
    """Both to 2e-7 for |x| up to 100, by series: calls into a library do not run on vectors."""
    half, one = float32(0.5), float32(1)
    k = int32(x * float32(1 / np.pi) + (half if x > float32(0) else -half))
    r = x - float32(k) * float32(3.140625) - float32(k) * float32(9.67653589793e-4)
    q, sign = r * r, one - float32(k & int32(1)) * float32(2)
    s = float32(1 / 362880) - q * float32(1 / 39916800)
    s = float32(1 / 120) - q * (float32(1 / 5040) - q * s)
    s = one - q * (float32(1 / 6) - q * s)
    c = float32(1 / 40320) - q * (float32(1 / 3628800) - q * float32(1 / 479001600))
    c = float32(1 / 24) - q * (float32(1 / 720) - q * c)
    c = one - q * (half - q * c)
    return r * s * sign, c * sign


@body
def _start_at(atom, low, high, w, g, pulses, tissue, axes, excite_rad):
    """Clears the scratch `w` from `g` on and puts the excitation there, an echo of its own."""
    for v in range(low, high):
        t1_ms, t2_ms, esp_ms = tissue[0, atom + v], tissue[1, atom + v], tissue[2, atom + v]
        w[g + _E1 + v], w[g + _E2 + v] = exp(-esp_ms / t1_ms), exp(-esp_ms / t2_ms)
        w[g + _BOTH + v] = exp(float32(-0.5) * (esp_ms / t1_ms + esp_ms / t2_ms))
    for row in range(_STATE, _STATE + _SIX * pulses):
        for v in range(low, high):
            w[g + row * _LANES + v] = float32(0)
    first = g + (_STATE + _SIX * (pulses - _ONE)) * _LANES
    for v in range(low, high):
        s, _ = _sin_cos(excite_rad * tissue[3, atom + v])
        w[first + _PR + v], w[first + _PI + v] = s * axes[0, 1], -s * axes[0, 0]


@body
def _pulse_at(atom, low, high, w, g, n, many, tissue, flips_rad, axes):
    """The matrix of pulse n, with the relaxation from the echo before it to the one after it.

    What was longitudinal before and is transverse after relaxes with T1 and T2 by halves.
    """
    half, one = float32(0.5), float32(1)
    ax, ay = axes[n + _ONE, 0], axes[n + _ONE, 1]  # exp(i phase)
    a2, b2 = ax * ax - ay * ay, float32(2) * ax * ay
    for v in range(low, high):
        s, c = _sin_cos(flips_rad[(atom + v) * many, n] * tissue[3, atom + v])
        e2, between = w[g + _E2 + v], s * w[g + _BOTH + v]
        turned = half * (one - c) * e2  # sin^2 of half the flip
        w[g + _KEPT + v] = half * (one + c) * e2
        w[g + _TURN_R + v], w[g + _TURN_I + v] = a2 * turned, b2 * turned
        w[g + _A + v], w[g + _B + v] = ax * between, ay * between
        w[g + _COS + v] = c * w[g + _E1 + v]


@body
def _turn_at(low, high, w, g, p, q, z):
    """One order through the pulse: F+ at p, F- at q and Z at z."""
    half = float32(0.5)
    for v in range(low, high):
        pr, pi, mr, mi = w[p + _PR + v], w[p + _PI + v], w[q + _MR + v], w[q + _MI + v]
        zr, zi = w[z + _ZR + v], w[z + _ZI + v]
        kept, a2, b2 = w[g + _KEPT + v], w[g + _TURN_R + v], w[g + _TURN_I + v]
        a, b, c = w[g + _A + v], w[g + _B + v], w[g + _COS + v]
        w[g + _P0 + v] = kept * pr + a2 * mr - b2 * mi + b * zr + a * zi
        w[g + _P1 + v] = kept * pi + a2 * mi + b2 * mr + b * zi - a * zr
        w[g + _M0 + v] = kept * mr + a2 * pr + b2 * pi + b * zr - a * zi
        w[g + _M1 + v] = kept * mi + a2 * pi - b2 * pr + b * zi + a * zr
        w[g + _Z0 + v] = c * zr + half * (a * (pi - mi) - b * (pr + mr))
        w[g + _Z1 + v] = c * zi + half * (a * (mr - pr) - b * (pi + mi))
    for v in range(low, high):
        w[p + _PR + v], w[p + _PI + v] = w[g + _P0 + v], w[g + _P1 + v]
    for v in range(low, high):
        w[q + _MR + v], w[q + _MI + v] = w[g + _M0 + v], w[g + _M1 + v]
    for v in range(low, high):
        w[z + _ZR + v], w[z + _ZI + v] = w[g + _Z0 + v], w[g + _Z1 + v]


@body
def _train_at(atom, low, high, out, w, g, tissue, flips_rad, axes, excite_rad):
    """Echoes of atoms `atom` + low..high - 1, in as many lanes of the scratch `w` from `g` on."""
    atom, low, high, g = uint64(atom), uint64(low), uint64(high), uint64(g)
    pulses, many = uint64(out.shape[1]), uint64(flips_rad.shape[0] > 1)
    _start_at(atom, low, high, w, g, pulses, tissue, axes, excite_rad)
    for n in range(pulses):
        _pulse_at(atom, low, high, w, g, n, many, tissue, flips_rad, axes)
        for j in range(min(n + _ONE, pulses - n)):
            p = g + (_STATE + _SIX * (pulses - _ONE - n + j)) * _LANES
            q = g + (_STATE + _SIX * (n + j)) * _LANES
            _turn_at(low, high, w, g, p, q, g + (_STATE + _SIX * j) * _LANES)
        # F- that was of the lowest order is in focus now: an echo, and F+ of the next pulse
        q, below = g + (_STATE + _SIX * n) * _LANES, n if n + _ONE == pulses else pulses - n - _TWO
        p = g + (_STATE + _SIX * below) * _LANES
        for v in range(low, high):
            w[p + _PR + v], w[p + _PI + v] = w[q + _MR + v], -w[q + _MI + v]
            out[atom + v, n, 0], out[atom + v, n, 1] = w[q + _MR + v], -w[q + _MI + v]


@body
def _size(pulses):
    """Numbers of scratch for `LANES` atoms."""
    return (15 + 6 * pulses) * LANES


@loop
def _train_cpu(out, scratch, tissue, flips_rad, axes, excite_rad):
    atoms, pulses, _ = out.shape
    for b in prange((atoms + LANES - 1) // LANES):
        own = np.empty(_size(pulses), np.float32)  # of a block of atoms: it stays in the cache
        high = min(LANES, atoms - b * LANES)
        _train_at(b * LANES, 0, high, out, own, 0, tissue, flips_rad, axes, excite_rad)


@cuda.jit
def _train_gpu(out, scratch, tissue, flips_rad, axes, excite_rad):
    i = cuda.grid(1)
    atoms, pulses, _ = out.shape
    if i < atoms:
        lane, g = i % LANES, i // LANES * _size(pulses)
        _train_at(i - lane, lane, lane + 1, out, scratch, g, tissue, flips_rad, axes, excite_rad)


def train(
    t1_ms: Any,
    t2_ms: Any,
    refocus_deg: Any,
    esp_ms: Any,
    b1: Any = 1.0,
    *,
    phases_deg: Any = 0.0,
    excite_deg: float = 90.0,
    excite_phase_deg: float = 90.0,
) -> Any:
    """The echoes of a train after one excitation of M0 = 1: (atom, echo) complex64.

    t1_ms, t2_ms: (atom,), on the host or on the device.
    refocus_deg: flip angles of the N pulses, (N,) or (atom, N).
    esp_ms: echo spacing, a number or (atom,); the first pulse is half of it after the excitation.
    b1: share of all flip angles that an atom sees; a number or (atom,).
    phases_deg: axes of the pulses, a number or (N,); as they are, with the excitation about y, the
        train is CPMG and its echoes are real and positive.
    Raises ValueError for times that are not above 0, a train of zeros, and shapes that disagree.
    """
    xp = xp_of(t1_ms)
    flips = np.float32(np.pi / 180) * xp.atleast_2d(xp.asarray(refocus_deg, np.float32))
    atoms, pulses = len(t1_ms), flips.shape[1]
    columns = (xp.asarray(a, np.float32) for a in (t1_ms, t2_ms, esp_ms, b1))
    tissue = xp.stack([xp.broadcast_to(column, (atoms,)) for column in columns])
    if flips.ndim != 2 or flips.shape[0] not in (1, atoms) or pulses == 0:
        raise ValueError(
            f"refocus_deg {flips.shape} must be (N,) or ({atoms}, N) for {atoms} atoms, N above 0"
        )
    _check(t1_ms=tissue[0], t2_ms=tissue[1], esp_ms=tissue[2])
    if not (xp.isfinite(flips).all() and (flips != 0).any(1).all()):
        raise ValueError(f"a train of zeros has no echo: refocus_deg {refocus_deg}")
    phases = np.broadcast_to(np.asarray(phases_deg, float), pulses) * (np.pi / 180)
    phases = np.concatenate([[excite_phase_deg * np.pi / 180], phases])
    axes = xp.asarray(np.stack([np.cos(phases), np.sin(phases)], 1), np.float32)
    out = xp.empty((atoms, pulses, 2), np.float32)
    blocks = 0 if xp is np else -(-atoms // LANES)  # a thread of the CPU makes its own scratch
    scratch = xp.empty(blocks * _size(pulses), np.float32)
    args = (scratch, tissue, flips, axes, np.float32(np.radians(excite_deg)))
    launch(_train_cpu, _train_gpu, atoms, out, *args)
    return out.view(np.complex64)[..., 0]


def _check(**times_ms: Any) -> None:
    for name, value in times_ms.items():
        if not (value > 0).all():  # NaN too
            raise ValueError(f"{name} must be above 0, not {value[~(value > 0)][0]}")
