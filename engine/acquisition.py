"""How images are acquired: frozen records that `engine.acquire` follows, a row a sample.

Tables (a number or a few for each sample) are on the host; fields, coils and noise on the side of
the pools. What is None belongs to the recipe: a sample for which an effect is off takes its neutral
value, so that its bits do not depend on its neighbours.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Sampling:
    """Which points of k-space are acquired, when, and what is made of them; a row a sample.

    matrix: (sample, 3) int, acquired points along z, y, x, at most the grid; z of 2-D slices is
    not used. order: of the lines, "linear", "centric" or "interleaved". partial: (sample,) part of
    the lines along y that is acquired, above 0.5. homodyne: (sample,) bool, else zero-filled.
    window: names of `windows.WINDOWS`; width: (sample,) of these.
    """

    matrix: Any
    order: tuple[str, ...]
    partial: Any
    homodyne: Any
    window: tuple[str, ...]
    width: Any


def full_sampling(samples: int, grid: Shape) -> Sampling:
    """All points of the grid, in linear order, with no filter."""
    one, names = np.ones(samples), (("linear",) * samples, ("none",) * samples)
    matrix = np.tile(np.array(grid), (samples, 1))
    return Sampling(matrix, names[0], one, np.zeros(samples, bool), names[1], one)


@dataclass(frozen=True)
class Train:
    """Echo trains: amplitudes (sample, pool, echo) of any unit; centre (sample,), the effective
    echo from 0, at which the pools have their signal."""

    amplitudes: Any
    echoes: Any  # (sample,) length of each train; amplitudes beyond it are not used
    centre: Any


@dataclass(frozen=True)
class Inhomogeneity:
    """The static field and what it does to places.

    b0_hz: (sample, z, y, x) float32 on the grid of the pools. px_per_hz: (sample,) float32, in
    acquired pixels: 1 / bandwidth of a pixel; 0 is off. along_y: along the phase encoding, as in
    echo-planar images; signal that leaves the field of view there comes back on the other side.
    """

    b0_hz: Any
    px_per_hz: Any
    along_y: bool = False


@dataclass(frozen=True)
class Coils:
    """Receive coils as `coils.sensitivities` takes them: centres, axes (sample, coil, 3), loop_mm
    (sample,), all float32."""

    centres: Any
    axes: Any
    loop_mm: Any


@dataclass(frozen=True)
class Interference:
    """Errors of lines and points; see kernels/lines.py and kernels/interference.py.

    weights: (sample, y of the grid) complex64, ghosts. places, stripes: spikes (sample, spike, 3),
    (sample, spike), frequencies and heights in the unit of the image. tones: None, or column,
    height and phase_rad as `interference.add_tones` takes them.
    """

    weights: Any
    places: Any
    stripes: Any
    tones: tuple[Any, Any, Any] | None = None


@dataclass(frozen=True)
class Noise:
    """Thermal noise: sd (sample,) float32, of each part of a coil's image whose k-space is acquired
    whole; keys (sample, 5) uint32; g_factor: (sample, z, y, x) float32 on the grid, or None."""

    sd: Any
    keys: Any
    g_factor: Any = None


@dataclass(frozen=True)
class Acquisition:
    """How a micro-batch is acquired; what is None is off for every sample.

    axes: `kspace.SLICES` or `kspace.VOLUME`; readout along x, lines along y.
    voxel_mm: (sample, 3) float32, z, y, x of the pools' voxels.
    grid: shape of the image, at most that of the pools, over the same field of view; None: theirs.
    chemical_shift_px: (sample, pool), hertz over bandwidth of a pixel: acquired pixels along x;
    what it moves beyond an end of the field of view is lost.
    receive: (sample, z, y, x) float32, multiplies the signal but not the noise (B1-).
    poses: (sample, pose, 6), mm and degrees in the parts of the scan that `lines.parts` names, see
    `motion.relative`; the image is in their mean by `lines.frame_shares` (of linear and centric
    orders the pose at k-space's centre), in which the pools are given.
    correction: (sample, z, y, x) float32 on the grid, multiplies the magnitude, noise and all.
    """

    axes: tuple[int, ...]
    voxel_mm: Any
    sampling: Sampling
    grid: Shape | None = None
    chemical_shift_px: Any = None
    receive: Any = None
    field: Inhomogeneity | None = None
    train: Train | None = None
    poses: Any = None
    coils: Coils | None = None
    interference: Interference | None = None
    noise: Noise | None = None
    correction: Any = None
