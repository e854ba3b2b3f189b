"""Rows: the closed forms of kernels/signals.py against the Bloch equation, pulse by pulse."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from voxelmill.engine.draw import Stream
from voxelmill.engine.verify import brute
from voxelmill.engine.verify.rows import Measured, Row

CASES = 24  # a form, each with its own tissue and timing
TOLERANCE = 1e-10

Given = dict[str, Any]  # a pair of bounds is drawn evenly between them; a number stays
_T1_T2: Given = {"t1_ms": (200.0, 4500.0), "t2_ms": (15.0, 300.0)}
_T1_T2S: Given = {"t1_ms": (200.0, 4500.0), "t2s_ms": (3.0, 100.0)}
_INVERSION: Given = {
    "tr_ms": (2200.0, 9000.0), "ti_ms": (0.0, 1700.0), "te_ms": (5.0, 120.0),
    "efficiency": (0.0, 1.0),
}  # fmt: skip
FORMS: Mapping[str, tuple[str, Given]] = {
    "spin_echo": (
        "spin echo, any two flips, prepared",
        _T1_T2
        | {
            "tr_ms": (300.0, 3000.0), "te_ms": (5.0, 100.0), "flip_deg": (20.0, 120.0),
            "refocus_deg": (60.0, 180.0), "b1": (0.5, 1.3), "prepared": (-0.4, 1.0),
        },
    ),
    "spoiled_echo": (
        "spoiled gradient echo, prepared",
        _T1_T2S
        | {
            "tr_ms": (6.0, 50.0), "te_ms": (1.0, 6.0), "flip_deg": (2.0, 90.0),
            "b1": (0.5, 1.3), "prepared": (-0.4, 1.0),
        },
    ),
    "balanced_echo": (
        "balanced steady state, magnitude and phase, off resonance",
        _T1_T2
        | {
            "tr_ms": (4.0, 8.0), "te_ms": (0.0, 4.0), "flip_deg": (5.0, 90.0),
            "b1": (0.5, 1.3), "off_hz": (-400.0, 400.0),
        },
    ),
    "inversion_spin_echo": ("inversion recovery, spin echo", _T1_T2 | _INVERSION),
    "inversion_fse": (
        "STIR and FLAIR, the train leaves nothing",
        _T1_T2 | _INVERSION | {"train_ms": (50.0, 400.0)},
    ),
    "double_inversion": (
        "double inversion, the train leaves nothing",
        _T1_T2
        | {
            "tr_ms": (4000.0, 9000.0), "ti1_ms": (0.0, 2800.0), "ti2_ms": (0.0, 700.0),
            "te_ms": (5.0, 120.0), "train_ms": (50.0, 400.0),
        },
    ),
    "mprage": (
        "MPRAGE, any pulse of its train",
        _T1_T2S
        | {
            "tr_ms": (550.0, 700.0), "ti_ms": (150.0, 200.0), "te_ms": (1.0, 5.0),
            "flip_deg": (4.0, 15.0), "spacing_ms": (5.5, 8.0), "pulses": 37, "centre": 12,
            "pulse": 31, "efficiency": (0.7, 1.0), "b1": (0.5, 1.3),
        },
    ),
}  # fmt: skip


def drawn(name: str, given: Given) -> list[dict[str, Any]]:
    """`CASES` sets of arguments, the same on every machine."""
    even = {
        key: Stream(1, 0).uniform(f"verify.{name}.{key}", CASES) * (v[1] - v[0]) + v[0]
        for key, v in given.items()
        if isinstance(v, tuple)
    }
    fixed = {key: v for key, v in given.items() if not isinstance(v, tuple)}
    return [{**fixed, **{key: float(v[n]) for key, v in even.items()}} for n in range(CASES)]


def _against_bloch(name: str, given: Given) -> Measured:
    from voxelmill.kernels import signals

    closed, played = getattr(signals, name), getattr(brute, name)
    worst = max(abs(closed(1.0, **case) - played(**case)) for case in drawn(name, given))
    return Measured(float(worst), 0.0, TOLERANCE, f"worst of {CASES}, of M0")


def verify_rows() -> list[Row]:
    """A row a closed form."""
    return [
        Row(
            f"bloch.{name}",
            title,
            "the closed form is the steady state of the Bloch equation",
            partial(_against_bloch, name, given),
        )
        for name, (title, given) in FORMS.items()
    ]
