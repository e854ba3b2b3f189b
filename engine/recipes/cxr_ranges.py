"""What a spec of `cxr_objects` may set: the published ranges of each primitive, as defaults.

Source: Seibold et al., "Foreign Object Segmentation in Chest X-Rays through Anatomy-guided Shape
Insertion", arXiv 2501.12022, and the authors' published generator. Lengths are pixels of the
sample, with defaults for `size` 512 (they do not grow with it), greys are 0..255. Where the source
is silent the meaning says "ours".
"""

from dataclasses import dataclass

from voxelmill.engine.draw import Choice, Fixed, Integer, Range, Uniform, ranged

OVERLAY, SOFT, BEER_LAMBERT = MODES = ("overlay", "soft", "beer_lambert")
ALPHA, FEATHER = BLENDS = ("alpha", "feather")
FRAME = "frame"  # the place name for "anywhere in the picture"
CLASSES = (
    "textual",
    "circular",
    "ring",
    "rectangular",
    "clip",
    "grid",
    "line",
    "parallel",
    "cutout",
)
MAX_CHARACTERS = 6
SIDES = ("top", "bottom", "left", "right")


def _modes(overlay: float, soft: float, beer_lambert: float) -> Choice:
    """Rendering modes of a class; the shares are ours, the modes published."""
    return Choice({OVERLAY: overlay, SOFT: soft, BEER_LAMBERT: beer_lambert})


def _grey(low: float, high: float, meaning: str = "grey of the object") -> Range:
    return ranged(Uniform(low, high), meaning, low=0, high=255, unit="grey")


def _place(*regions: str) -> Choice:
    meaning = "region of the anchor; 'frame' is anywhere in the film"
    return ranged(Choice(dict.fromkeys(regions, 1.0)), meaning, words=())


def _length(low: float, high: float, meaning: str, least: float = 1) -> Range:
    return ranged(Uniform(low, high), meaning, low=least, high=2048, unit="px")


def _side(*weights: float) -> Choice:
    return ranged(Choice(dict(zip(SIDES, weights, strict=True))), "side it enters from (ours)")


@dataclass(frozen=True)
class Textual:
    """Burnt-in characters A-Z 0-9 - +."""

    place: Choice = _place(FRAME)
    mode: Choice = ranged(_modes(1, 0, 0), "rendering mode (shares ours)")
    characters: Range = ranged(Integer(1, MAX_CHARACTERS), "how many", low=1, high=MAX_CHARACTERS)
    scale: Range = ranged(Uniform(0.6, 2.2), "capital height in 21 px", low=0.1, high=20)
    stroke_px: Range = ranged(
        Integer(1, 3), "1 is the plain font, each more emboldens by 1 px", low=1, high=20, unit="px"
    )
    tilt: Choice = ranged(
        Choice({"level": 0.6, "slanted": 0.3, "upright": 0.1}), "0, +-slant or +-90 degrees"
    )
    slant_deg: Range = ranged(Fixed(15), "angle of slanted text", low=0, high=90, unit="deg")
    shade: Choice = ranged(
        Choice({"dark": 1, "bright": 1, "transparent": 1}), "dark, bright or see-through bright"
    )
    dark_grey: Range = _grey(0, 60, "grey of dark text (ours)")
    bright_grey: Range = _grey(200, 255, "grey of bright text (ours)")
    opacity: Range = ranged(Uniform(0.2, 0.5), "of transparent text", low=0.01, high=1)


@dataclass(frozen=True)
class Circular:
    """A filled ellipse: coin, button, electrode."""

    place: Choice = _place("heart")
    mode: Choice = ranged(_modes(1, 1, 1), "rendering mode (shares ours)")
    semi_axis_px: Range = _length(8, 40, "each semi-axis")
    angle_deg: Range = ranged(Uniform(0, 360), "rotation", low=-360, high=360, unit="deg")
    grey: Range = _grey(180, 255)


@dataclass(frozen=True)
class Ring:
    """An elliptic ring: heart valve, loop."""

    place: Choice = _place("heart", "aorta")
    mode: Choice = ranged(_modes(1, 1, 1), "rendering mode (shares ours)")
    semi_axis_px: Range = _length(15, 50, "each semi-axis, to the middle of the stroke")
    stroke_px: Range = _length(2, 5, "width of the ring")
    angle_deg: Range = ranged(Uniform(0, 360), "rotation", low=-360, high=360, unit="deg")
    grey: Range = _grey(200, 255)


@dataclass(frozen=True)
class Rectangular:
    """A rectangle: battery, box, plate."""

    place: Choice = _place(FRAME)
    mode: Choice = ranged(_modes(1, 1, 1), "rendering mode (shares ours)")
    side_px: Range = _length(15, 60, "each side")
    angle_deg: Range = ranged(Fixed(0), "rotation", low=-360, high=360, unit="deg")
    grey: Range = _grey(180, 255)
    opacity: Range = ranged(Uniform(0.55, 1.0), "of the paint", low=0.01, high=1)


@dataclass(frozen=True)
class Clip:
    """A short bar with round ends on the ribs: surgical clip."""

    place: Choice = _place("ribs")
    mode: Choice = ranged(_modes(1, 1, 0), "rendering mode (shares ours)")
    half_length_px: Range = _length(8, 22, "half the length of the bar")
    stroke_px: Range = _length(2, 4, "width of the bar")
    angle_deg: Range = ranged(Uniform(0, 180), "direction", low=-360, high=360, unit="deg")
    grey: Range = ranged(Fixed(240), "grey of the object", low=0, high=255, unit="grey")


@dataclass(frozen=True)
class Grid:
    """A mesh in a vessel: stent. Each edge has a grey of its own and is kept by chance."""

    place: Choice = _place("aorta")
    mode: Choice = ranged(_modes(1, 1, 0), "rendering mode (shares ours)")
    length_share: Range = ranged(
        Uniform(0.2, 0.6), "height of the mesh in heights of the vessel (ours)", low=0.01, high=1
    )
    width_px: Range = _length(
        16, 48, "widest mesh; edges outside the vessel are left out (ours)", 4
    )
    cell_px: Range = _length(4, 8, "side of a cell", 2)
    keep: float = ranged(0.7, "chance that an edge is there", low=0.01, high=1)
    stroke_px: Range = _length(1, 1, "width of an edge")
    grey: Range = _grey(180, 255, "grey of each edge")


@dataclass(frozen=True)
class Line:
    """A wire that enters from outside the film: pacemaker lead, catheter."""

    place: Choice = _place("heart", "aorta")
    mode: Choice = ranged(_modes(1, 2, 0), "rendering mode (shares ours)")
    side: Choice = _side(1, 1, 1, 1)
    outside_px: Range = _length(0, 20, "how far outside the film it starts", 0)
    bend_px: Range = ranged(
        Uniform(-80, 80),
        "offset of the control points at 1/3 and 2/3",
        low=-2048,
        high=2048,
        unit="px",
    )
    stroke_px: Range = _length(1, 3, "width of the wire")
    grey: Range = _grey(200, 255)


@dataclass(frozen=True)
class Parallel:
    """A tube with bright walls from the top of the film into the trachea: endotracheal tube."""

    place: Choice = _place("trachea")
    mode: Choice = ranged(_modes(1, 2, 1), "rendering mode (shares ours)")
    side: Choice = _side(1, 0, 0, 0)
    outside_px: Range = _length(0, 20, "how far outside the film it starts", 0)
    bend_px: Range = ranged(
        Uniform(-80, 80),
        "offset of the control points at 1/3 and 2/3",
        low=-2048,
        high=2048,
        unit="px",
    )
    half_width_px: Range = _length(4, 10, "from the middle to the middle of a wall", 2)
    wall_px: Range = _length(1, 2, "thickness of a wall (ours)")
    grey: Range = _grey(200, 255, "grey of the walls")
    fill_grey: Range = _grey(40, 120, "grey of the lumen")
    opacity: Range = ranged(Fixed(1.0), "of the paint", low=0.01, high=1)


@dataclass(frozen=True)
class Cutout:
    """A piece of another picture from the donor folder (`inputs.donors`)."""

    place: Choice = _place("body")
    scale: Range = ranged(Uniform(0.6, 1.4), "size in sizes of the donor", low=0.05, high=10)
    flip: float = ranged(0.5, "chance of a left-right flip", low=0, high=1)
    angle_deg: Range = ranged(Uniform(-30, 30), "rotation", low=-360, high=360, unit="deg")
    brightness: Range = ranged(Uniform(0.8, 1.2), "factor on the grey", low=0, high=10)
    elastic: float = ranged(0.5, "chance of an elastic warp", low=0, high=1)
    elastic_sigma_px: Range = _length(6, 14, "smoothness of the warp", 2)
    elastic_amplitude_px: Range = _length(3, 8, "size of the warp", 0)
    morph: float = ranged(0.5, "chance that a warped edge grows or shrinks", low=0, high=1)
    morph_px: Range = _length(2, 5, "by how much", 0)
    blend: Choice = ranged(Choice({ALPHA: 1, FEATHER: 1}), "hard alpha or softened inwards")
    feather_px: Range = _length(2, 6, "width of the softened edge (ours)", 0)


@dataclass(frozen=True)
class Ranges:
    """What a spec may set; the defaults are the published ones."""

    size: int = ranged(512, "side of the square film", low=64, high=4096, unit="px")
    negative_share: float = ranged(0.25, "share of films with no object", low=0, high=1)
    count: Range = ranged(Integer(1, 12), "objects on a film that is not negative", low=1, high=64)
    classes: Choice = ranged(
        Choice({name: float(name != "cutout") for name in CLASSES}),
        "weights of the classes; cutout needs inputs.donors",
    )
    soft_sigma_px: Range = ranged(
        Uniform(0.3, 1.2), "Gaussian of the soft mode", low=0.05, high=5, unit="px"
    )
    mu: Range = ranged(
        Uniform(0.5, 3.5),
        "attenuation of the thickest place in beer_lambert mode",
        low=0.01,
        high=50,
    )
    textual: Textual = ranged(Textual())
    circular: Circular = ranged(Circular())
    ring: Ring = ranged(Ring())
    rectangular: Rectangular = ranged(Rectangular())
    clip: Clip = ranged(Clip())
    grid: Grid = ranged(Grid())
    line: Line = ranged(Line())
    parallel: Parallel = ranged(Parallel())
    cutout: Cutout = ranged(Cutout())
