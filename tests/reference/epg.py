"""kernels/epg.py once more: the whole graph, all orders, half a spacing at a time, in double."""

import numpy as np


def rf(flip_deg, phase_deg):
    """The 3 x 3 operator of a pulse on (F+, F-, Z); PHYSICS B.2."""
    a, e = np.radians(flip_deg), np.exp(1j * np.radians(phase_deg))
    c, s = np.cos(a / 2) ** 2, np.sin(a / 2) ** 2
    return np.array(
        [
            [c, e**2 * s, -1j * e * np.sin(a)],
            [s / e**2, c, 1j / e * np.sin(a)],
            [-0.5j / e * np.sin(a), 0.5j * e * np.sin(a), np.cos(a)],
        ]
    )


def relax(f, time_ms, t1_ms, t2_ms):
    e1, e2 = np.exp(-time_ms / t1_ms), np.exp(-time_ms / t2_ms)
    f = f * np.array([[e2], [e2], [e1]])
    f[2, 0] += 1 - e1
    return f


def shift(f):
    """A gradient of one order: F+ up, F- down, and F+ of order 0 from F- of order 0."""
    plus, minus, z = f
    minus = np.append(minus[1:], 0)
    return np.array([np.append(minus[0].conj(), plus[:-1]), minus, z])


def train(
    t1_ms, t2_ms, refocus_deg, esp_ms, b1=1, phases_deg=0, excite_deg=90, excite_phase_deg=90
):
    """The echoes of one atom, (N,) complex128, and Mz after the train."""
    f = np.zeros((3, 2 * len(refocus_deg) + 2), complex)
    f[2, 0] = 1
    f = rf(excite_deg * b1, excite_phase_deg) @ f
    echoes = []
    for flip, phase in zip(refocus_deg, np.broadcast_to(phases_deg, len(refocus_deg)), strict=True):
        f = rf(flip * b1, phase) @ shift(relax(f, esp_ms / 2, t1_ms, t2_ms))
        f = shift(relax(f, esp_ms / 2, t1_ms, t2_ms))
        echoes.append(f[0, 0])
    return np.array(echoes), f[2, 0].real
