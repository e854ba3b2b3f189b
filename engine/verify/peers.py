"""Rows of `--peers`: other simulators beside ours, where they are installed.

torchsim (MIT) and blochsimulator (GPL; a port of Hargreaves' simulator) are called as they come
from PyPI, with what they need to answer the same question: trains with orders enough, and a
repetition so long that what one leaves to the next is nothing, where they leave that out.
"""

import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import bloch
from voxelmill.engine.verify import brute
from voxelmill.engine.verify.closed_forms import FORMS, drawn
from voxelmill.engine.verify.rows import Measured, Row

SINGLE = 2e-5  # torchsim works in single precision
GAMMA = 26753.0  # of blochsimulator, rad / s / G
INSTANT_S = 1e-9
PACKAGES = ("torchsim", "blochsimulator")


@cache
def opened(name: str) -> Any:
    """The package, or None where it, or what it needs, is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what they import
        try:
            return import_module(name)
        except ImportError:
            return None


def notes() -> tuple[str, ...]:
    """A line for each peer that is not there."""
    return tuple(
        f"{name} is not installed, or lacks something: `pip install {name}` to compare with it"
        for name in PACKAGES
        if opened(name) is None
    )


def _values(made: Any) -> NDArray[np.complex128]:
    return np.abs(np.asarray(made, np.complex128))


def _torchsim_fse() -> Measured:
    from voxelmill.kernels import epg

    t1, t2, b1 = (
        np.array(c, np.float32) for c in ((1412, 371, 4163), (40, 133, 1650), (1, 0.8, 1.1))
    )
    flips = np.full(16, 150.0, np.float32)
    theirs = opened("torchsim").fse_sim(flip=flips, ESP=10.0, T1=t1, T2=t2, B1=b1, states=20)
    worst = np.abs(_values(theirs) - np.abs(epg.train(t1, t2, flips, 10.0, b1))).max()
    return Measured(float(worst), 0, SINGLE, "16 echoes, 3 tissues, 20 orders (10 are its default)")


def _torchsim_spgr() -> Measured:
    from voxelmill.kernels import signals

    worst = 0.0
    for case in drawn("spoiled_echo", FORMS["spoiled_echo"][1]):
        flip = case["flip_deg"] * case["b1"]
        theirs = opened("torchsim").spgr_sim(
            flip=flip, TE=case["te_ms"], TR=case["tr_ms"], T1=case["t1_ms"], T2star=case["t2s_ms"]
        )
        ours = signals.spoiled_echo(1.0, **{**case, "prepared": 1.0})
        worst = max(worst, float(np.abs(_values(theirs).ravel()[0] - ours)))
    return Measured(worst, 0, SINGLE, "24 tissues and timings")


def _torchsim_bssfp() -> Measured:
    """Only at TE = TR: it puts the decay over TE where that over TR belongs (0.0.8)."""
    from voxelmill.kernels import signals

    worst = 0.0
    for case in drawn("balanced_echo", FORMS["balanced_echo"][1]):
        case["te_ms"] = case["tr_ms"] * (1 - 1e-9)
        theirs = opened("torchsim").bssfp_sim(
            flip=case["flip_deg"] * case["b1"], TE=case["te_ms"], TR=case["tr_ms"],
            T1=case["t1_ms"], T2=case["t2_ms"], B0=case["off_hz"],
        )  # fmt: skip
        ours = abs(signals.balanced_echo(1.0, **case))
        worst = max(worst, float(np.abs(_values(theirs).ravel()[0] - ours)))
    return Measured(worst, 0, SINGLE, "at TE = TR; elsewhere torchsim 0.0.8 takes TE for TR in E2")


def _torchsim_mprage() -> Measured:
    from voxelmill.kernels import signals

    worst = 0.0
    for t1 in (371.0, 850.0, 1412.0, 4163.0):
        theirs = opened("torchsim").mprage_sim(
            TI=900.0, flip=9.0, TRspgr=7.1, nshots=(88, 87), T1=t1, inv_efficiency=0.95
        )
        ours = signals.mprage(1.0, t1, 1e9, 1e7, 900, 0, 9, 7.1, 176, 88, efficiency=0.95)
        worst = max(worst, float(np.abs(_values(theirs).ravel()[0] - abs(ours))))
    return Measured(worst, 0, SINGLE, "4 tissues, the first shot: a TR of hours")


def _played(
    events: list[tuple[float, float, float]], t1_ms: float, t2_ms: float, off_hz: Any,
    turns: Any = 0.0, steady: bool = False,
) -> NDArray[np.complex128]:  # fmt: skip
    """Their x + i y after each event: (event, spin).

    events: a flip in degrees, its phase, then a wait in ms; turns: in each wait, of each spin.
    """
    core = import_module("blochsimulator.blochsimulator_cy")
    b1, times = [], []
    for flip_deg, phase_deg, wait_ms in events:
        angle = np.radians(flip_deg) * np.exp(1j * np.radians(phase_deg))
        b1 += [angle / (GAMMA * INSTANT_S), 0j]
        times += [INSTANT_S, wait_ms / 1000]
    gradients = np.zeros((len(b1), 3))
    gradients[1::2, 0] = 2 * np.pi / (GAMMA * np.array(times[1::2]))  # a turn each cm
    off = np.atleast_1d(np.asarray(off_hz, np.float64))
    places = np.zeros((np.size(turns), 3))
    places[:, 0] = turns
    mx, my, _ = core.simulate_bloch(
        np.array(b1), gradients, np.array(times), t1_ms / 1000, t2_ms / 1000, off, places,
        mode=3 if steady else 2,
    )  # fmt: skip
    return (np.asarray(mx) + 1j * np.asarray(my)).reshape(len(b1), -1)[1::2]


def _blochsimulator_train() -> Measured:
    pulses, worst = 16, 0.0
    turns = np.arange(2 * pulses + 3) / (2 * pulses + 3)
    for t1, t2, b1 in ((1412.0, 40.0, 1.0), (371.0, 133.0, 0.8)):
        events = [(90.0 * b1, 90.0, 5.0)]
        for _ in range(pulses):
            events += [(150.0 * b1, 0.0, 5.0), (0.0, 0.0, 5.0)]
        theirs = _played(events, t1, t2, 0.0, turns)[1::2].mean(1)
        ours, _ = brute.train(bloch.rest(), t1, t2, [150.0] * pulses, 10.0, b1)
        worst = max(worst, float(np.abs(np.abs(theirs) - np.abs(ours)).max()))
    return Measured(worst, 0, SINGLE, "16 echoes, 35 isochromats, 2 tissues")


def _blochsimulator_bssfp() -> Measured:
    from voxelmill.kernels import signals

    worst = 0.0
    for case in drawn("balanced_echo", FORMS["balanced_echo"][1]):
        flip, tr, te = case["flip_deg"] * case["b1"], case["tr_ms"], case["te_ms"]
        # pulses of one sign see what alternating ones see half a band away
        off = case["off_hz"] + 500 / tr
        events = [(flip, 90.0, te), (0.0, 0.0, tr - te)]
        theirs = _played(events, case["t1_ms"], case["t2_ms"], off, 0.0, True)[0]
        worst = max(
            worst, float(np.abs(np.abs(theirs[0]) - abs(signals.balanced_echo(1.0, **case))))
        )
    return Measured(worst, 0, SINGLE, "24 tissues and timings, off resonance")


def verify_rows() -> list[Row]:
    """A row a question that a peer answers too; none for a peer that is not there."""
    asked: dict[str, list[tuple[str, str, Callable[[], Measured]]]] = {
        "torchsim": [
            ("fse", "fast spin echo", _torchsim_fse),
            ("spgr", "spoiled gradient echo", _torchsim_spgr),
            ("bssfp", "balanced steady state", _torchsim_bssfp),
            ("mprage", "MPRAGE", _torchsim_mprage),
        ],
        "blochsimulator": [
            ("train", "echo train of isochromats", _blochsimulator_train),
            ("bssfp", "balanced steady state", _blochsimulator_bssfp),
        ],
    }
    return [
        Row(f"peers.{name}.{what}", f"{title} by {name}", "another program says the same", run)
        for name, questions in asked.items()
        if opened(name) is not None
        for what, title, run in questions
    ]
