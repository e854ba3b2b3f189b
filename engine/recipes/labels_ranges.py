"""What a spec of `labels_mr` may set."""

from dataclasses import dataclass

from voxelmill.engine.draw import Choice, Fixed, Integer, Uniform, ranged
from voxelmill.engine.protocols import (
    BalancedEcho,
    DoubleInversion,
    FastSpinEcho,
    InversionFse,
    Mprage,
    SpinEcho,
    SpoiledEcho,
)
from voxelmill.engine.recipes.mr_random import Intensities
from voxelmill.engine.recipes.mr_ranges import Acquisition, Bend, Pose, Scanner, Slices

PHYSICS, RANDOM, SUBCLUSTER = MODES = ("physics", "random", "subcluster")
FAMILIES = ("mprage", "t1_spin_echo", "t1_spoiled_echo", "t2_fse", "pd_fse", "flair",
            "double_inversion", "balanced")  # fmt: skip


@dataclass(frozen=True)
class Protocols:
    """The ranges of each protocol family; which of them is drawn says `families`."""

    mprage: Mprage = ranged(Mprage(), "T1 weighting in 3-D")
    t1_spin_echo: SpinEcho = ranged(SpinEcho(), "T1 weighting by spin echoes")
    t1_spoiled_echo: SpoiledEcho = ranged(
        SpoiledEcho(tr_ms=Uniform(8, 30), te_ms=Uniform(2, 6), flip_deg=Uniform(15, 40)),
        "T1 weighting by gradient echoes",
    )
    t2_fse: FastSpinEcho = ranged(
        FastSpinEcho(tr_ms=Uniform(3000, 6500), te_ms=Uniform(80, 120)), "T2 weighting"
    )
    pd_fse: FastSpinEcho = ranged(
        FastSpinEcho(tr_ms=Uniform(2500, 5000), te_ms=Uniform(10, 30), echoes=Integer(4, 8)),
        "proton density",
    )
    flair: InversionFse = ranged(
        InversionFse(
            tr_ms=Uniform(8500, 10000), ti_ms=Uniform(2300, 2600), te_ms=Uniform(90, 120),
            spacing_ms=Uniform(9, 11), echoes=Fixed(16),
        ),
        "T2 weighting without CSF",
    )  # fmt: skip
    double_inversion: DoubleInversion = ranged(
        DoubleInversion(ti_ms=Uniform(2600, 2850), ti2_ms=Uniform(430, 620)),
        "grey matter: white matter is weak, CSF nearly gone",
    )
    balanced: BalancedEcho = ranged(BalancedEcho(), "balanced steady state")


@dataclass(frozen=True)
class Ranges:
    """What a spec may vary."""

    shape: tuple[int, int, int] = ranged((128, 128, 128), "voxels along z, y, x", low=1, high=1024)
    voxel_mm: tuple[float, float, float] = ranged(
        (1.5, 1.5, 1.5), "their lengths", low=0.1, high=50, unit="mm"
    )
    parts: int = ranged(
        2, "parts along each side of a voxel in which labels are looked up; 1: no partial volume",
        low=1, high=4,
    )  # fmt: skip
    mode: Choice = ranged(
        Choice({PHYSICS: 2, RANDOM: 1, SUBCLUSTER: 1}), "where contrast comes from"
    )
    families: Choice = ranged(
        Choice(dict.fromkeys(FAMILIES, 1.0)), "mode physics: which protocol", words=FAMILIES
    )
    shares: bool = ranged(False, "whether the shares of all classes are stored too")
    protocols: Protocols = ranged(Protocols(), "mode physics")
    intensities: Intensities = ranged(Intensities(), "modes random and subcluster")
    pose: Pose = ranged(Pose(), "how the body lies")
    bend: Bend = ranged(Bend(), "how it is bent")
    scanner: Scanner = ranged(Scanner(), "the fields that it sees")
    acquisition: Acquisition = ranged(Acquisition(), "how k-space is filled")
    slices: Slices = ranged(Slices(), "of protocols that are acquired in slices")
