"""Rows: echo trains against isochromats, and what the formulas around a train leave out."""

import numpy as np

from voxelmill.engine import bloch
from voxelmill.engine.draw import Stream
from voxelmill.engine.verify import brute
from voxelmill.engine.verify.rows import Measured, Row

CASES = 24


def _atoms(name: str, pulses: int) -> dict[str, np.ndarray]:
    stream = Stream(2, 0)

    def even(what: str, low: float, high: float, count: int = CASES) -> np.ndarray:
        return low + (high - low) * stream.uniform(f"verify.{name}.{what}", count)

    return {
        "t1_ms": even("t1", 200, 4500),
        "t2_ms": even("t2", 5, 300),
        "refocus_deg": even("flips", 0, 180, CASES * pulses).reshape(CASES, pulses),
        "esp_ms": even("esp", 4, 25),
        "b1": even("b1", 0.5, 1.3),
    }


def _worst(name: str, pulses: int, phases_deg: np.ndarray, excite: tuple[float, float]) -> Measured:
    from voxelmill.kernels import epg

    atoms = _atoms(name, pulses)
    made = epg.train(
        **atoms, phases_deg=phases_deg, excite_deg=excite[0], excite_phase_deg=excite[1]
    )
    worst = 0.0
    for n in range(CASES):
        one = {key: column[n] for key, column in atoms.items()}
        played, _ = brute.train(bloch.rest(), **one, phases_deg=phases_deg, excite_deg=excite[0],
                                excite_phase_deg=excite[1])  # fmt: skip
        worst = max(worst, float(np.abs(made[n] - played).max()))
    return Measured(worst, 0.0, 1e-5, f"worst of {CASES} trains of {pulses}, single precision")


def _cpmg() -> Measured:
    return _worst("cpmg", 16, np.zeros(16), (90.0, 90.0))


def _general() -> Measured:
    phases = 360 * Stream(2, 0).uniform("verify.general.phases", 33) - 180
    return _worst("general", 33, phases, (70.0, 33.0))


def _monoexponential() -> Measured:
    from voxelmill.kernels import epg

    t1, t2 = np.array([300.0, 4163.0, 900.0]), np.array([30.0, 1650.0, 0.25])
    echoes = epg.train(t1, t2, np.full(16, 180.0), 10.0)
    expected = np.exp(-10.0 * np.arange(1, 17) / t2[:, None])
    return Measured(float(np.abs(echoes - expected).max()), 0.0, 1e-5, "3 tissues, 16 echoes")


def _left(flip_deg: float, bound: float) -> Measured:
    """The largest error of `recovered_z` and `inverted_z` over the tissues of the thigh."""
    from voxelmill.kernels import signals

    worst = 0.0
    for t1, t2 in ((1412.0, 40.0), (371.0, 133.0), (365.0, 133.0)):
        echo = brute.train(bloch.rest(), t1, t2, [flip_deg] * 16, 10)[0][7].real
        shots = brute.fast_spin_echo(t1, t2, 3000, 10, [flip_deg] * 16)[7].real
        worst = max(worst, abs(signals.recovered_z(t1, 3000, 160) * echo / shots - 1))
        shots = brute.fast_spin_echo(t1, t2, 4000, 10, [flip_deg] * 16, ti_ms=80)[7].real
        worst = max(worst, abs(signals.inverted_z(t1, 4000, 80, 160) * echo / shots - 1))
    return Measured(worst, 0.0, bound, "relative, against the steady state of shots played whole")


def _left_180() -> Measured:
    return _left(180.0, 1e-6)


def _left_150() -> Measured:
    return _left(150.0, 1e-3)


def _rf_spoiling() -> Measured:
    from voxelmill.kernels import signals

    ideal = signals.spoiled_echo(1, 1412, 40, 8, 2.3, 25)
    played = abs(brute.rf_spoiled_echo(1412, 40, 8, 2.3, 25, 117))
    return Measured(
        float(played / ideal), 1.0, 0.03, "muscle, TR 8 ms, 25 degrees, increment 117 degrees"
    )


def verify_rows() -> list[Row]:
    """Trains, then the assumptions around them."""
    same = "the graph of configurations is the mean of isochromats"
    return [
        Row("epg.cpmg", "16 echoes, CPMG, any flips and B1", same, _cpmg),
        Row("epg.general", "33 echoes, any flips, axes and excitation", same, _general),
        Row("epg.t2", "train of 180 degrees", "its echoes are exp(-t / T2)", _monoexponential),
        Row(
            "epg.left_180",
            "FSE and STIR of 16 echoes, 180 degrees",
            "what a train leaves along z is nothing, as the formulas take it",
            _left_180,
        ),
        Row(
            "epg.left_150",
            "FSE and STIR of 16 echoes, 150 degrees",
            "what a train leaves along z is little: within 0.1 % of the signal",
            _left_150,
        ),
        Row(
            "epg.rf_spoiling",
            "gradient echo spoiled by radio frequency / ideally spoiled",
            "real spoiling is within 3 % of the ideal one for muscle",
            _rf_spoiling,
        ),
    ]
