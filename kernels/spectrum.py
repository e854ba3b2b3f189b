"""Chemical shift: spectra of fat, their phase at an echo time, spectral saturation; T2*.

As in `signals`, numbers or arrays that broadcast, in double precision, on the host or the device.
Frequencies count from water's, so fat's are negative; phases go as exp(+2 pi i f t).
"""

from typing import Any, NamedTuple

import numpy as np

from voxelmill.kernels.device import xp_of
from voxelmill.kernels.signals import relaxed

PROTON_MHZ_PER_TESLA = 42.577478518  # CODATA 2018
WATER_PPM = 4.70


class Spectrum(NamedTuple):
    """Peaks of one substance."""

    ppm: tuple[float, ...]  # from tetramethylsilane; water is at WATER_PPM
    share: tuple[float, ...]  # of the signal, as published: the sum is 1 within rounding


SPECTRA = {
    # Liver triglycerides: Hamilton, NMR Biomed 2011;24:784.
    "hamilton": Spectrum(
        (0.9, 1.3, 2.1, 2.75, 4.2, 5.3), (0.088, 0.700, 0.120, 0.006, 0.039, 0.047)
    ),
    # The six peaks of the ISMRM fat-water toolbox (Hernando 2012), given there from water.
    "ismrm": Spectrum(
        (0.90, 1.30, 2.10, 2.76, 4.31, 5.30), (0.087, 0.693, 0.128, 0.004, 0.039, 0.048)
    ),
    # Eight peaks of marrow: Karampinos, as used in MAGORINO.
    "marrow": Spectrum(
        (0.9, 1.3, 1.59, 2.0, 2.25, 2.77, 4.2, 5.31),
        (0.087, 0.568, 0.058, 0.092, 0.058, 0.027, 0.038, 0.073),
    ),
    "single": Spectrum((1.3,), (1.0,)),
}


def shift_hz(ppm: Any, field_tesla: Any) -> Any:
    """The frequency of a line at `ppm`, from that of water."""
    return PROTON_MHZ_PER_TESLA * field_tesla * (ppm - WATER_PPM)


def spectral_phase(spectrum: Spectrum, te_ms: Any, field_tesla: float) -> Any:
    """Complex signal of one unit of a substance at `te_ms`, without decay; 1 at 0.

    (The published shares are divided by their sum, as the toolboxes do.)
    """
    xp, total = xp_of(te_ms), 0j
    for ppm, share in zip(*spectrum, strict=True):
        total = total + share * xp.exp(2j * np.pi * shift_hz(ppm, field_tesla) * te_ms / 1000)
    return total / sum(spectrum.share)


def multi_echo(
    water: Any, fat: Any, te_ms: Any, field_tesla: float, spectrum: Spectrum,
    r2s_hz: Any = 0.0, off_hz: Any = 0.0, phase_rad: Any = 0.0,
) -> Any:  # fmt: skip
    """Gradient echoes of water and fat, complex: one R2* for both, a B0 offset, a phase at TE 0.

    water, fat: their signals at TE = 0, each by its own T1 (`signals.spoiled_echo`).
    Source: Yu 2008; Hernando 2012.
    """
    xp = xp_of(te_ms)
    both = water + fat * spectral_phase(spectrum, te_ms, field_tesla)
    seconds = te_ms / 1000
    return both * xp.exp((2j * np.pi * off_hz - r2s_hz) * seconds + 1j * phase_rad)


def t2_star_ms(t2_ms: Any, t2_prime_ms: Any) -> Any:
    """T2* from T2 and the reversible T2'; never longer than T2."""
    return 1 / (1 / t2_ms + 1 / t2_prime_ms)


def slice_dephasing(gradient_hz_per_mm: Any, thickness_mm: Any, te_ms: Any) -> Any:
    """What a linear field through a box-shaped slice leaves of a gradient echo."""
    turns = gradient_hz_per_mm * thickness_mm * te_ms / 1000
    return xp_of(turns).sinc(turns)


def band(off_hz: Any, centre_hz: Any, width_hz: Any, edge_hz: Any) -> Any:
    """Profile of a spectral pulse: 1 inside, 0 outside, a raised cosine of `edge_hz` between.

    It is 1/2 at centre_hz +- width_hz / 2. Give each substance its own frequency plus B0's offset.
    """
    if np.any(np.asarray(edge_hz) <= 0) or np.any(np.asarray(edge_hz) > width_hz):
        raise ValueError(f"edge_hz {edge_hz} must be above 0 and at most width_hz {width_hz}")
    xp = xp_of(off_hz)
    beyond = (xp.abs(off_hz - centre_hz) - width_hz / 2) / edge_hz
    return (1 - xp.sin(np.pi * xp.clip(beyond, -0.5, 0.5))) / 2


def saturated_z(flip_deg: Any, profile: Any, b1: Any = 1.0) -> Any:
    """Mz right after a spectral pulse of what was 1 before: CHESS, and the start of SPIR.

    profile: of the pulse at the spins' frequency (`band`). It is a share of what was there: give
    it as `prepared` to a sequence of `signals`, which knows how much that is.
    """
    return 1 - (1 - xp_of(b1).cos(flip_deg * b1 * (np.pi / 180))) * profile


def spectral_inverted_z(t1_ms: Any, ti_ms: Any, flip_deg: Any, profile: Any, b1: Any = 1.0) -> Any:
    """Mz `ti_ms` after a spectral pulse of more than 90 degrees, from 1 before it: SPIR."""
    return 1 - (1 - saturated_z(flip_deg, profile, b1)) * relaxed(ti_ms, t1_ms)
