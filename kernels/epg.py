"""Echo trains by extended phase graphs: one atom (a tissue at one B1) a thread, general flips.

Sources: Hennig, JMR 1988;78:397; Weigel, JMRI 2015;41:266, whose signs these are.

Between the excitation and the first pulse, and on both sides of each echo, lies half an echo
spacing with the same gradient. So at a pulse a state's order is 1, 3, 5... halves if it can reach
an echo, and 0, 2, 4... if it comes from longitudinal magnetisation that recovered in the train:
those meet between the echoes, where the crushers of a real sequence put them. The two never mix.
Only the odd ones are kept, and of them those that were reached and can still come back: order
2 j + 1 at pulse n of N (from 0) needs j < min(n + 1, N - n). That is an eighth of the full graph's
work, and exact.
"""

from math import cos, exp, sin
from typing import Any

import numpy as np
from numba import cuda, float32, prange

from voxelmill.kernels.device import body, launch, loop, xp_of


@body
def _train_at(i, out, graph, t1_ms, t2_ms, esp_ms, b1, flips_rad, axes, excite_rad):
    """The echoes of atom i; `graph` (atom, 6, order): real and imaginary F+, F- and Z."""
    pulses, row, half, one = out.shape[1], i % flips_rad.shape[0], float32(0.5), float32(1)
    e1, half_e2 = exp(-esp_ms[i] / t1_ms[i]), exp(-half * esp_ms[i] / t2_ms[i])
    e2 = half_e2 * half_e2
    for j in range(graph.shape[2]):
        for k in range(6):
            graph[i, k, j] = float32(0)
    size = sin(excite_rad * b1[i]) * half_e2
    graph[i, 0, 0], graph[i, 1, 0] = size * axes[0, 1], -size * axes[0, 0]
    for n in range(pulses):
        flip = flips_rad[row, n] * b1[i]
        c, s = cos(flip), sin(flip)
        kept, turned = half * (one + c), half * (one - c)  # cos^2 and sin^2 of half the flip
        a, b = axes[n + 1, 0], axes[n + 1, 1]  # the axis, exp(i phase)
        a2, b2 = (a * a - b * b) * turned, float32(2) * a * b * turned
        a, b = a * s, b * s
        pr, pi = graph[i, 0, 0], graph[i, 1, 0]
        for j in range(min(n + 1, pulses - n)):
            mr, mi, zr, zi = graph[i, 2, j], graph[i, 3, j], graph[i, 4, j], graph[i, 5, j]
            plus_r = kept * pr + a2 * mr - b2 * mi + b * zr + a * zi
            plus_i = kept * pi + a2 * mi + b2 * mr + b * zi - a * zr
            minus_r = kept * mr + a2 * pr + b2 * pi + b * zr - a * zi
            minus_i = kept * mi + a2 * pi - b2 * pr + b * zi + a * zr
            graph[i, 4, j] = e1 * (c * zr + half * (a * (pi - mi) - b * (pr + mr)))
            graph[i, 5, j] = e1 * (c * zi + half * (a * (mr - pr) - b * (pi + mi)))
            pr, pi = graph[i, 0, j + 1], graph[i, 1, j + 1]
            graph[i, 0, j + 1], graph[i, 1, j + 1] = e2 * plus_r, e2 * plus_i
            if j == 0:  # order -1 becomes +1, its conjugate, and is an echo half way
                graph[i, 0, 0], graph[i, 1, 0] = e2 * minus_r, -e2 * minus_i
                out[i, n, 0], out[i, n, 1] = half_e2 * minus_r, -half_e2 * minus_i
            else:
                graph[i, 2, j - 1], graph[i, 3, j - 1] = e2 * minus_r, e2 * minus_i


@loop
def _train_cpu(out, graph, t1_ms, t2_ms, esp_ms, b1, flips_rad, axes, excite_rad):
    for i in prange(out.shape[0]):
        _train_at(i, out, graph, t1_ms, t2_ms, esp_ms, b1, flips_rad, axes, excite_rad)


@cuda.jit
def _train_gpu(out, graph, t1_ms, t2_ms, esp_ms, b1, flips_rad, axes, excite_rad):
    i = cuda.grid(1)
    if i < out.shape[0]:
        _train_at(i, out, graph, t1_ms, t2_ms, esp_ms, b1, flips_rad, axes, excite_rad)


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
    t1, t2, esp, scale = (
        xp.ascontiguousarray(xp.broadcast_to(xp.asarray(a, np.float32), (atoms,)))
        for a in (t1_ms, t2_ms, esp_ms, b1)
    )
    if flips.ndim != 2 or flips.shape[0] not in (1, atoms) or pulses == 0:
        raise ValueError(
            f"refocus_deg {flips.shape} must be (N,) or ({atoms}, N) for {atoms} atoms, N above 0"
        )
    _check(xp, t1_ms=t1, t2_ms=t2, esp_ms=esp)
    if not (xp.isfinite(flips).all() and xp.abs(flips).max(1).all()):
        raise ValueError(f"a train of zeros has no echo: refocus_deg {refocus_deg}")
    phases = np.broadcast_to(np.asarray(phases_deg, float), pulses) * (np.pi / 180)
    phases = np.concatenate([[excite_phase_deg * np.pi / 180], phases])
    axes = xp.asarray(np.stack([np.cos(phases), np.sin(phases)], 1), np.float32)
    out = xp.empty((atoms, pulses, 2), np.float32)
    graph = xp.empty((atoms, 6, (pulses + 1) // 2 + 1), np.float32)
    excite = np.float32(np.radians(excite_deg))
    launch(_train_cpu, _train_gpu, atoms, out, graph, t1, t2, esp, scale, flips, axes, excite)
    return out.view(np.complex64)[..., 0]


def _check(xp: Any, **times_ms: Any) -> None:
    for name, value in times_ms.items():
        if not (value > 0).all():  # NaN too
            raise ValueError(f"{name} must be above 0, not {value[~(value > 0)][0]}")
