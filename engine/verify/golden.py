"""The golden numbers of engine/data/mr/golden.yaml, worked out again from their parameters."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from voxelmill.engine.verify import brute
from voxelmill.engine.verify.rows import Measured, Row

SHIPPED = Path(__file__).parents[1] / "data" / "mr" / "golden.yaml"
Values = NDArray[np.float64]


def fast_spin_echo(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: float, esp_ms: float, echoes: int, refocus_deg: float,
    echo: int,
) -> Values:  # fmt: skip
    """Echo number `echo` (1 is the first) of a train of equal pulses, in single precision."""
    from voxelmill.kernels import epg, signals

    amplitude = epg.train(t1_ms, t2_ms, np.full(echoes, refocus_deg), esp_ms)[:, echo - 1]
    return np.real(signals.fast_spin_echo(m0, t1_ms, tr_ms, echoes * esp_ms, amplitude))


def recovered_echo(
    m0: Any, t1_ms: Any, t2_ms: Any, tr_ms: float, te_ms: float, train_ms: float
) -> Values:
    """A fast spin echo of 180 degrees."""
    from voxelmill.kernels import signals

    return signals.fast_spin_echo(m0, t1_ms, tr_ms, train_ms, signals.relaxed(te_ms, t2_ms))


def inversion_fse_magnitude(**given: Any) -> Values:
    """As in `signals`, without the sign."""
    from voxelmill.kernels import signals

    return np.abs(signals.inversion_fse(**given))


def balanced_echo_magnitude(**given: Any) -> Values:
    """As in `signals`, without the phase."""
    from voxelmill.kernels import signals

    return np.abs(signals.balanced_echo(**given))


def spin_echo_same_crushers(**given: Any) -> float:
    """A mean of isochromats."""
    return brute.spin_echo_same_crushers(**given).real


def spectral_magnitude(spectrum: str, te_ms: Any, field_tesla: float) -> Values:
    """Of one unit of fat."""
    from voxelmill.kernels.spectrum import SPECTRA, spectral_phase

    return np.abs(spectral_phase(SPECTRA[spectrum], te_ms, field_tesla))


def chi_mean(coils: Any, amplitude: Any) -> Values:
    """Mean of the root of the sum of squares of `coils` complex values with noise of sd 1 a part.

    amplitude: of the true root of the sum of squares. One coil is Rice's distribution.
    Source: Constantinides 1997; Aja-Fernandez 2015.
    """
    from scipy.special import gammaln, hyp1f1

    scale = np.exp(gammaln(np.add(coils, 0.5)) - gammaln(coils))
    return np.sqrt(2) * scale * hyp1f1(-0.5, coils, -np.square(amplitude) / 2)


def chi_sd(coils: Any, amplitude: Any) -> Values:
    """Standard deviation belonging to `chi_mean`."""
    square = 2 * np.asarray(coils) + np.square(amplitude)
    return np.sqrt(square - chi_mean(coils, amplitude) ** 2)


def gibbs_overshoot() -> float:
    """Of a step of 1 whose Fourier series is cut off."""
    from scipy.special import sici

    return float(sici(np.pi)[0] / np.pi - 0.5)


_OWN = (
    fast_spin_echo, recovered_echo, inversion_fse_magnitude, balanced_echo_magnitude,
    spin_echo_same_crushers, spectral_magnitude, chi_mean, chi_sd, gibbs_overshoot,
)  # fmt: skip


def functions() -> dict[str, Callable[..., Any]]:
    """What a golden number may name: functions of this file, of `signals` and of `spectrum`."""
    from voxelmill.kernels import signals, spectrum

    of_kernels = ("spin_echo", "spoiled_echo", "mprage", "double_inversion", "null_ti_ms")
    return {
        **{name: getattr(signals, name) for name in of_kernels},
        "shift_hz": spectrum.shift_hz,
        **{f.__name__: f for f in _OWN},
    }


@cache
def read() -> Mapping[str, Any]:
    """The file: `tissues` by name and the list `numbers`."""
    return yaml.safe_load(SHIPPED.read_text())


def value(number: Mapping[str, Any]) -> Values:
    """What its function gives with its parameters."""
    function = functions()[number["function"]]
    given = dict(number["given"])
    if "tissues" in number:
        tissues = read()["tissues"][number["tissues"]]
        name = number["function"].removesuffix("_magnitude")
        takes = inspect.signature(functions().get(name) or _signal(name)).parameters
        given |= {key: column for key, column in tissues.items() if key in takes}
    arrays = {
        key: np.array(v, np.float64) if isinstance(v, list) else v for key, v in given.items()
    }
    return np.atleast_1d(np.asarray(function(**arrays), np.float64))


def _signal(name: str) -> Callable[..., Any]:
    from voxelmill.kernels import signals

    return getattr(signals, name)


def _row(number: Mapping[str, Any]) -> Row:
    def run() -> Measured:
        made, expected = value(number), np.asarray(number["expected"], np.float64)
        worst = int(np.abs(made - expected).argmax())
        half_a_digit = 0.5000001 * 10.0 ** -number["decimals"]
        given = ", ".join(f"{k} {v}" for k, v in number["given"].items())
        more = f"; {number['note']}" if "note" in number else ""
        return Measured(float(made[worst]), float(expected[worst]), half_a_digit, given + more)

    tissues = number.get("tissues", "")
    of = f", {tissues.replace('_', ' ')}" if tissues else ""
    many = f", worst of {len(number['expected'])}" if len(number["expected"]) > 1 else ""
    return Row(
        f"golden.{number['name']}",
        number["function"].replace("_", " ") + of + many,
        "a number worked out before this program, to its printed digits",
        run,
    )


def verify_rows() -> list[Row]:
    """A row a golden number; of several values the worst is shown."""
    return [_row(number) for number in read()["numbers"]]
