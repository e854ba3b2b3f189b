"""What a spec of `thigh_mr` may set: the contrasts, the anatomy, and all that `labels_mr` has."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxelmill.engine.draw import Choice, Fixed, Integer, Range, Uniform, ranged
from voxelmill.engine.protocols import FastSpinEcho, InversionFse, SpinEcho, SpoiledEcho
from voxelmill.engine.recipes.mr_random import Intensities
from voxelmill.engine.recipes.mr_ranges import Acquisition, Bend, Pose, Scanner
from voxelmill.engine.thigh_params import ThighRanges

PHYSICS, RANDOM = MODES = ("physics", "random")
PROCEDURAL, MAPS = ANATOMIES = ("procedural", "maps")
MOST_DIXON = 6
CONTRASTS = (
    "t1w", "t1w_fse", "t2w", "stir", "pd", "fat_suppressed", "water_suppressed", "in_phase",
    "opposed_phase", "dixon_water", "dixon_fat",
)  # fmt: skip
DIXON = ("dixon_water", "dixon_fat")
PRESETS = {
    "blsa": ("t1w", "fat_suppressed", "water_suppressed"),
    "all": CONTRASTS,
    "dixon": ("in_phase", "opposed_phase", *DIXON),
}


@dataclass(frozen=True)
class Dixon(SpoiledEcho):
    """Several gradient echoes, of which water and fat are computed."""

    multi: ClassVar[bool] = True
    tr_ms: Range = ranged(Uniform(9, 14), "repetition time", low=1, high=1000, unit="ms")
    te_ms: Range = ranged(Uniform(1.1, 1.4), "of the first echo", low=0.5, high=20, unit="ms")
    flip_deg: Range = ranged(Uniform(3, 6), "small, so that T1 has little part", low=1, high=90,
                             unit="deg")  # fmt: skip
    echoes: int = ranged(3, "how many", low=3, high=MOST_DIXON)
    spacing_ms: Range = ranged(Uniform(0.8, 1.3), "from echo to echo", low=0.3, high=10, unit="ms")


@dataclass(frozen=True)
class Stir(InversionFse):
    """Short inversion times, at which fat has no signal."""

    ti_ms: Range = ranged(
        Uniform(225, 262), "for the mean T1 of fat at 3 T; it goes by that of the sample's fat",
        low=1, high=5000, unit="ms",
    )  # fmt: skip


@dataclass(frozen=True)
class Protocols:
    """The ranges of each contrast."""

    t1w: SpinEcho = ranged(SpinEcho(), "T1 weighting by spin echoes")
    t1w_fse: FastSpinEcho = ranged(
        FastSpinEcho(
            tr_ms=Uniform(500, 800), te_ms=Uniform(8, 20), echoes=Integer(3, 5),
        ),
        "T1 weighting by short trains",
    )  # fmt: skip
    t2w: FastSpinEcho = ranged(
        FastSpinEcho(tr_ms=Uniform(3000, 6000), te_ms=Uniform(60, 110)), "T2 weighting"
    )
    stir: Stir = ranged(Stir(), "fat nulled by its T1")
    pd: FastSpinEcho = ranged(
        FastSpinEcho(tr_ms=Uniform(2500, 4500), te_ms=Uniform(10, 30), echoes=Integer(4, 8)),
        "proton density",
    )
    fat_suppressed: SpinEcho = ranged(
        SpinEcho(suppress="fat", suppress_deg=Uniform(90, 100)),
        "T1 weighting with the fat saturated by its frequency; a little beyond 90 degrees, for the "
        "peaks near water, which stay",
    )
    water_suppressed: SpinEcho = ranged(
        SpinEcho(suppress="water"), "T1 weighting with the water saturated by its frequency"
    )
    in_phase: SpoiledEcho = ranged(
        SpoiledEcho(
            tr_ms=Uniform(100, 200), te_ms=Uniform(2, 5), flip_deg=Uniform(40, 80), phase="in"
        ),
        "gradient echo where fat and water add",
    )
    opposed_phase: SpoiledEcho = ranged(
        SpoiledEcho(
            tr_ms=Uniform(100, 200), te_ms=Uniform(1, 4), flip_deg=Uniform(40, 80), phase="opposed"
        ),
        "gradient echo where fat and water cancel",
    )
    dixon: Dixon = ranged(Dixon(), "dixon_water and dixon_fat")


@dataclass(frozen=True)
class Ranges:
    """What a spec may vary."""

    shape: tuple[int, int, int] = ranged((8, 192, 288), "voxels along z, y, x", low=1, high=1024)
    voxel_mm: tuple[float, float, float] = ranged(
        (6.0, 1.5, 1.5),
        "their lengths; a slice is as thick as a voxel",
        low=0.3,
        high=50,
        unit="mm",
    )
    parts: int = ranged(
        2, "parts along each side of a voxel in the plane in which labels are looked up; through "
        "a slice as many, each 3 mm at most; 1: no partial volume", low=1, high=4,
    )  # fmt: skip
    preset: Literal["blsa", "all", "dixon", "none"] = ranged(
        "all", "which contrasts: blsa is T1w, fat- and water-suppressed; none: those of `contrasts`"
    )
    contrasts: tuple[str, ...] = ranged((), "with preset none: which, in this order")
    mode: Choice = ranged(Choice({PHYSICS: 1, RANDOM: 0}), "where contrast comes from")
    anatomy: Choice = ranged(
        Choice({PROCEDURAL: 1, MAPS: 1}), "thighs made from nothing, or about muscle maps"
    )
    muscles: bool = ranged(False, "whether the single muscles are stored too")
    shares: bool = ranged(False, "whether the shares of all classes are stored too")
    maps: bool = ranged(True, "whether maps of PDFF, R2*, B0 and B1 are stored too")
    thigh: ThighRanges = ranged(ThighRanges(), "what is drawn of a thigh")
    b1_dip: Range = ranged(
        Uniform(0.05, 0.4), "by how much the flip angle falls in the left rectus femoris at 3 T; "
        "half of it at 1.5 T (Klupp 2017 measured 54 to 93 per cent there)", low=0, high=0.7,
    )  # fmt: skip
    protocols: Protocols = ranged(Protocols(), "mode physics")
    intensities: Intensities = ranged(Intensities(gamma_log_sd=0.3), "mode random")
    pose: Pose = ranged(
        Pose(rotation_deg=Uniform(-4, 4), scaling=Fixed(1), shear=Fixed(0), move_mm=Uniform(-8, 8)),
        "how the body lies",
    )
    bend: Bend = ranged(Bend(rms_mm=Uniform(0, 2.5), spacing_mm=40.0), "how it is bent")
    scanner: Scanner = ranged(Scanner(), "the fields that it sees")
    acquisition: Acquisition = ranged(Acquisition(), "how k-space is filled")


def chosen(ranges: Ranges) -> tuple[str, ...]:
    """The contrasts of a sample, in their order."""
    return PRESETS.get(ranges.preset, ranges.contrasts)
