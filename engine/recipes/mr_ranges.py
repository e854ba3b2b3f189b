"""What specs of the MR recipes share: how a body lies and bends, the scanner, the acquisition."""

from dataclasses import dataclass

from voxelmill.engine.draw import Choice, Fixed, Integer, LogUniform, Range, Uniform, ranged

FIELDS_TESLA = {"1.5T": 1.5, "3T": 3.0}
WINDOWS = ("none", "hamming", "tukey", "fermi")
ORDERS = ("linear", "centric", "interleaved")


def _chance(default: float, meaning: str) -> float:
    return ranged(default, meaning, low=0, high=1)


@dataclass(frozen=True)
class Pose:
    """How the body lies: drawn for each axis z, y, x, about the middle of the map."""

    rotation_deg: Range = ranged(Uniform(-10, 10), "turn about each axis", low=-180, high=180,
                                 unit="deg")  # fmt: skip
    scaling: Range = ranged(Uniform(0.85, 1.15), "zoom along each axis", low=0.5, high=2)
    shear: Range = ranged(Uniform(-0.012, 0.012), "shear of each pair of axes", low=-0.5, high=0.5)
    move_mm: Range = ranged(Uniform(-5, 5), "shift along each axis", low=-500, high=500, unit="mm")
    flip_chance: float = _chance(0.5, "of left for right; sides of the labels follow")


@dataclass(frozen=True)
class Bend:
    """A smooth map that never folds: the flow of a random velocity."""

    rms_mm: Range = ranged(
        Uniform(0, 3), "root mean square of each component of the velocity", low=0, high=100,
        unit="mm",
    )  # fmt: skip
    spacing_mm: float = ranged(
        32.0, "from node to node of the velocity's lattice; about 1.8 times its smoothness",
        low=4, high=1000, unit="mm",
    )  # fmt: skip


@dataclass(frozen=True)
class Scanner:
    """The fields that a body sees; all are smooth, with `smooth_mm` from node to node."""

    tesla: Choice = ranged(Choice({"1.5T": 1, "3T": 1}), "field strength")
    smooth_mm: float = ranged(80.0, "from node to node of the fields' lattices", low=8, high=2000,
                              unit="mm")  # fmt: skip
    b1: Range = ranged(Uniform(0.9, 1.05), "mean share of the nominal flip angle", low=0.3,
                       high=1.7)  # fmt: skip
    b1_rms: Range = ranged(Uniform(0.02, 0.08), "its variation in space", low=0, high=0.25)
    b0_rms_hz: Range = ranged(Uniform(0, 40), "variation of the static field at 3 T; in proportion "
                              "at others", low=0, high=500, unit="Hz")  # fmt: skip
    bias_log_rms: Range = ranged(
        Uniform(0, 0.25), "of the logarithm of what the receive coils let through", low=0, high=1
    )


def strengths(scanner: Scanner) -> list[float]:
    """The field strengths, in T, that may be drawn."""
    return [FIELDS_TESLA[name] for name, weight in scanner.tesla.weights.items() if weight]


@dataclass(frozen=True)
class Acquisition:
    """How k-space is filled; each effect can be turned off."""

    snr: Range = ranged(
        LogUniform(12, 80), "brightest major tissue (with random contrast: highest mean of a "
        "label) over the noise", low=1, high=1e6,
    )  # fmt: skip
    matrix: Range = ranged(Uniform(0.7, 1), "acquired lines in voxels, along y and x", low=0.1,
                           high=1)  # fmt: skip
    partial_fourier: Range = ranged(
        Uniform(0.75, 1), "part of the lines that is acquired", low=0.55, high=1
    )
    homodyne_chance: float = _chance(0.5, "of homodyne, else zero-fill, for partial Fourier")
    window: Choice = ranged(
        Choice({"none": 1, "hamming": 3, "tukey": 2, "fermi": 0}), "filter of k-space"
    )
    bandwidth_hz: Range = ranged(
        LogUniform(150, 800), "receiver bandwidth of a pixel; moves fat along x", low=10, high=1e5,
        unit="Hz",
    )  # fmt: skip
    order: Choice = ranged(
        Choice({"linear": 2, "centric": 1, "interleaved": 1}), "in which lines are acquired"
    )
    motion_chance: float = _chance(0.15, "that the body moves during the scan")
    motion_mm: Range = ranged(Uniform(0.2, 2), "rms of its shifts", low=0, high=50, unit="mm")
    motion_deg: Range = ranged(Uniform(0, 1), "rms of its turns", low=0, high=45, unit="deg")
    motion_poses: Range = ranged(Integer(2, 6), "poses of a scan", low=1, high=64)
    ghost_chance: float = _chance(0.08, "of ghosts along y")
    ghost_depth: Range = ranged(Uniform(0.02, 0.12), "their modulation", low=0, high=1)
    spike_chance: float = _chance(0.03, "of a spike in k-space")
    spike_height: Range = ranged(Uniform(0.05, 0.4), "its height in that of k-space's centre",
                                 low=0, high=10)  # fmt: skip
    coils: int = ranged(1, "receive coils, combined by sum of squares; 1: a combined image",
                        low=1, high=64)  # fmt: skip
    labels_follow_image: bool = ranged(
        False, "whether labels move with B0's distortion; by default they stay where water is"
    )
    distortion: Range = ranged(
        Fixed(0), "1: B0 moves voxels along x as bandwidth_hz says; 0: it does not", low=0, high=1
    )


@dataclass(frozen=True)
class Slices:
    """Thick slices: the image is acquired in them, then interpolated to the grid."""

    thickness_mm: Range = ranged(
        Uniform(1, 4), "of a slice, at least the grid's; its profile is a Gaussian of that width "
        "at half height", low=0.1, high=50, unit="mm",
    )  # fmt: skip
    spacing: Range = ranged(Uniform(1, 1.2), "from slice to slice, in thicknesses", low=1, high=5)
    axis: Choice = ranged(
        Choice({"axial": 1, "coronal": 0, "sagittal": 0}), "across which they lie"
    )
