"""What is drawn for one pair of thighs; lengths in mm, of a grown person."""

from dataclasses import dataclass, fields

from voxelmill.engine.draw import (
    Choice,
    LogUniform,
    Range,
    Stream,
    TruncatedNormal,
    Uniform,
    ranged,
)

LEGS = ("both", "right", "left")


@dataclass(frozen=True)
class ThighRanges:
    """What a spec may set of a thigh. Those marked (map) also hold where muscles are a map's."""

    legs: Choice = ranged(
        Choice({"both": 1.0, "right": 0.0, "left": 0.0}), "which thighs are in the field of view"
    )
    length_mm: Range = ranged(
        TruncatedNormal(340, 480, 410, 25), "hip to knee", low=200, high=600, unit="mm"
    )
    level: Range = ranged(
        Uniform(0.4, 0.62), "height of the middle slice: 0 hip, 1 knee", low=0.2, high=0.85
    )
    radius_mm: Range = ranged(
        TruncatedNormal(48, 84, 66, 8),
        "mean radius of the fascia lata",
        low=35,
        high=110,
        unit="mm",
    )
    fat_mm: Range = ranged(
        LogUniform(4, 32), "mean thickness of the subcutaneous fat (map)", low=3, high=80, unit="mm"
    )
    fat_lobe: Range = ranged(
        Uniform(0.1, 0.4),
        "how much thicker it is behind and inside, of its mean (map)",
        low=0,
        high=0.6,
    )
    skin_mm: Range = ranged(Uniform(1.3, 2.4), "skin (map)", low=0.5, high=4, unit="mm")
    fascia_mm: Range = ranged(Uniform(0.5, 1.1), "fascia lata (map)", low=0, high=3, unit="mm")
    septum_mm: Range = ranged(
        Uniform(0.2, 0.9), "half of the fat between two muscles (map)", low=0, high=5, unit="mm"
    )
    atrophy_mm: Range = ranged(
        LogUniform(0.1, 3),
        "by which muscles shrink all around; fat takes it (map)",
        low=0,
        high=12,
        unit="mm",
    )
    infiltration: Range = ranged(
        Uniform(0, 1), "fat that grows in from the borders, and streaks (map)", low=0, high=3
    )
    muscle_fat: Range = ranged(
        LogUniform(0.01, 0.15), "mean fat fraction inside muscle (map)", low=0, high=0.8
    )
    asymmetry: Range = ranged(
        TruncatedNormal(-0.15, 0.15, 0, 0.05),
        "left over right less 1: muscles by it, fat and atrophy by three times that (map)",
        low=-0.3,
        high=0.3,
    )
    femur_mm: Range = ranged(
        TruncatedNormal(12, 17, 14.2, 1), "radius of the shaft", low=9, high=22, unit="mm"
    )
    cortex_mm: Range = ranged(
        TruncatedNormal(4, 9, 6.3, 1), "cortex of the shaft (map)", low=1.5, high=12, unit="mm"
    )
    gap_mm: Range = ranged(
        Uniform(-6, 30), "air between the thighs; below 0 they touch", low=-30, high=120, unit="mm"
    )
    turn_deg: Range = ranged(
        TruncatedNormal(-20, 20, 0, 7),
        "turn of a leg about its axis, outwards",
        low=-45,
        high=45,
        unit="deg",
    )


@dataclass(frozen=True)
class ThighParams:
    """The draw of ThighRanges: see there."""

    legs: str
    length_mm: float
    level: float
    radius_mm: float
    fat_mm: float
    fat_lobe: float
    skin_mm: float
    fascia_mm: float
    septum_mm: float
    atrophy_mm: float
    infiltration: float
    muscle_fat: float
    asymmetry: float
    femur_mm: float
    cortex_mm: float
    gap_mm: float
    turn_deg: float


PARAM_NAMES = tuple(f"thigh.{f.name}" for f in fields(ThighParams))
# What `thigh_shape` and `thigh_tissues` draw besides, by name.
NAMES = (
    *PARAM_NAMES,
    *("thigh.outline", "thigh.fat", "thigh.muscles", "thigh.bone", "thigh.bundle"),
    *("thigh.spread", "thigh.streaks", "thigh.borders", "thigh.fraction"),
)


def draw_thigh(ranges: ThighRanges, stream: Stream) -> ThighParams:
    """One draw; each number has the address of its name."""
    return ThighParams(
        **{f.name: getattr(ranges, f.name).draw(stream, f"thigh.{f.name}") for f in fields(ranges)}
    )
