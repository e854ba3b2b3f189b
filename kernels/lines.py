"""The lines of k-space: which are acquired, when, at which echo, and with what error.

Small tables on the host, one row a sample, in the order of `kspace.frequencies`. A line's number is
its frequency plus n // 2: linear orders acquire lines by rising number.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from voxelmill.kernels.kspace import frequencies

ORDERS = ("linear", "centric", "interleaved")


def acquired(n: int, matrix: Any, partial: Any = None) -> Any:
    """Whether each line is acquired: (sample, n) bool.

    matrix:  (sample,) int, lines of the full acquisition, 1 to n: frequencies -(m // 2) on.
    partial: (sample,) in (0.5, 1], the fraction of them that is acquired (partial Fourier); the
             highest positive frequencies are left out.
    """
    matrix = np.asarray(matrix)
    partial = np.ones(matrix.shape) if partial is None else np.asarray(partial, np.float64)
    if ((matrix < 1) | (matrix > n)).any():
        raise ValueError(f"acquired matrices {matrix} must be in 1..{n}, the size of the image")
    if not ((partial > 0.5) & (partial <= 1)).all():
        raise ValueError(f"partial Fourier fractions {partial} must be above 0.5 and at most 1")
    count = np.ceil(partial * matrix - 1e-6).astype(np.int64)  # 0.7 * 10 is a little above 7
    number = frequencies(n) + (matrix // 2)[:, None]
    return (number >= 0) & (number < count[:, None])


def ranks(lines: Any, order: Sequence[str]) -> Any:
    """When each line is acquired: (sample, n) int64, 0 first, -1 for lines never acquired.

    lines: (sample, n) bool, as `acquired` gives. order: of each sample, "linear" and "interleaved"
    by rising frequency, "centric" 0, -1, 1, -2, 2 and so on.
    """
    f = frequencies(lines.shape[1])
    out = np.full(lines.shape, -1)
    for n, name in enumerate(order):
        if name not in ORDERS:
            raise ValueError(f"an order of lines is one of {', '.join(ORDERS)}, not {name!r}")
        by = np.lexsort((f, abs(f))) if name == "centric" else np.argsort(f)
        taken = by[lines[n, by]]
        out[n, taken] = np.arange(taken.size)
    return out


def parts(lines: Any, order: Sequence[str], count: Any) -> Any:
    """In which of `count` (sample,) parts of the scan a line falls: (sample, n) int32.

    Linear and centric scans pass through the lines once; an interleaved one acquires every
    count-th line in each of its shots, as fast spin echoes do. -1 for lines never acquired.
    Parts are equal, but those of a linear scan are moved so that frequency 0 is in the middle of
    one, and its first and last are longer or shorter for it: were 0 at an end, half of what makes
    the image would be of another part than the one at the centre of k-space.
    """
    count = np.asarray(count)
    if (count < 1).any():
        raise ValueError(f"a scan has at least 1 part, not {count}")
    rank, total = ranks(lines, order), lines.sum(1)[:, None]
    names, count = np.array(order)[:, None], count[:, None]
    zero = rank[:, :1]
    middle = zero * count // total
    by_rank = rank * count // total
    about_zero = (2 * (rank - zero) * count + total) // (2 * total) + middle
    each = np.where(names == "linear", np.clip(about_zero, 0, count - 1), by_rank)
    each = np.where(names == "interleaved", rank % count, each)
    return np.where(rank < 0, -1, each).astype(np.int32)


def frame_shares(lines: Any, order: Sequence[str], part: Any, count: Any) -> Any:
    """How much each part of the scan counts in the frame of the image: (sample, parts) float64.

    part: (sample, n), as `parts` gives for `count` (sample,) of them. Each row sums to 1. A linear
    or centric scan has its frame in the part of frequency 0 alone, which holds the lines about it.
    In an interleaved one neighbouring lines are of different parts, so no part alone has made the
    image: each counts by its lines, these as 1 / (|f| + 2)^2, about as the power of images falls.
    """
    count, f = np.asarray(count), abs(frequencies(lines.shape[1]))
    shares = np.zeros((len(count), count.max()))
    for n, name in enumerate(order):
        weight = lines[n] / (f + 2.0) ** 2 if name == "interleaved" else 1.0 * (f == 0)
        np.add.at(shares[n], np.maximum(part[n], 0), weight)
    return shares / shares.sum(1, keepdims=True)


def echo_numbers(lines: Any, order: Sequence[str], echoes: Any, centre: Any) -> Any:
    """The echo (from 0) of a train that acquires each line: (sample, n) int32, -1 for no line.

    Neighbouring lines are taken at one echo, a shot each, and echo `centre` (sample,), the
    effective one, takes the line of frequency 0. By rising frequency echoes rise with the lines, or
    fall where partial Fourier leaves lines out: these would have come first, and the strong echoes
    on one side alone would sharpen edges without bound. Lines beyond the ends of the train share
    its first or last echo. From the centre outwards echoes before `centre` are not used. So weights
    never jump between neighbours, which would ring.
    """
    rank, total = ranks(lines, order), lines.sum(1)
    echoes, centre = np.asarray(echoes), np.asarray(centre)
    if ((echoes < 1) | (centre < 0) | (centre >= echoes)).any():
        raise ValueError(f"central echoes {centre} must be in 0..echoes - 1 of {echoes} echoes")
    outwards = np.array([name == "centric" for name in order])
    shots = np.ceil(total / np.where(outwards, echoes - centre, echoes)).astype(np.int64)
    half = np.where(outwards, 0, shots // 2)
    f = frequencies(lines.shape[1])
    halved = lines[:, f > 0].sum(1) + 1 < lines[:, f < 0].sum(1)
    way = np.where(halved & ~outwards, -1, 1)
    steps = (way[:, None] * (rank - rank[:, :1]) + half[:, None]) // shots[:, None]
    echo = np.clip(centre[:, None] + steps, 0, echoes[:, None] - 1)
    return np.where(rank < 0, -1, echo).astype(np.int32)


def train_weights(amplitudes: Any, echo: Any, centre: Any) -> Any:
    """The weight of each line by its echo: (sample, pool, n) complex64, 1 at the central echo.

    amplitudes: (sample, pool, echo), of any unit; echo: (sample, n) as `echo_numbers` gives. The
    decay along the train blurs the image along y: the point spread of fast spin echoes (T2 blur).
    """
    rows = np.arange(len(amplitudes))
    middle = np.asarray(amplitudes)[rows, :, np.asarray(centre)]
    if (middle == 0).any():
        raise ValueError("the central echo of a train is 0: its lines have no relative weight")
    weights = np.take_along_axis(np.asarray(amplitudes), np.maximum(echo, 0)[:, None], 2)
    return np.where(echo[:, None] < 0, 0, weights / middle[..., None]).astype(np.complex64)


def uneven(n: int, period: Any, gain: Any, phase_rad: Any) -> Any:
    """Every period-th line times gain and turned by phase_rad: (sample, n) complex64.

    period (sample,) int, 0 for none. The image repeats n / period pixels apart along y; period 2
    with a phase is the Nyquist ghost of echo-planar images.
    """
    period = np.asarray(period)
    _check_period(period)
    number = frequencies(n) + n // 2
    hit = (period[:, None] > 0) & (number % np.maximum(period, 1)[:, None] == 0)
    factor = np.asarray(gain) * np.exp(1j * np.asarray(phase_rad))
    return np.where(hit, factor[:, None], 1).astype(np.complex64)


def wavering(n: int, period: Any, depth_rad: Any, phase_rad: Any = 0.0) -> Any:
    """Lines whose phase swings by depth_rad with a period in lines: (sample, n) complex64.

    period (sample,), 0 for none. Breathing or pulsation over a linear order: ghosts m n / period
    pixels away, of amplitude J_m(depth_rad).
    """
    period = np.asarray(period, np.float64)
    _check_period(period)
    number = frequencies(n) + n // 2
    cycles = number / np.where(period > 0, period, 1)[:, None]
    swing = np.sin(2 * np.pi * cycles + np.broadcast_to(phase_rad, period.shape)[:, None])
    depth = np.where(period > 0, depth_rad, 0)[:, None]
    return np.exp(1j * depth * swing).astype(np.complex64)


def _check_period(period: Any) -> None:
    if not (period >= 0).all():
        raise ValueError(f"periods of ghosts in lines must be at least 0, not {period}")
