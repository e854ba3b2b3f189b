"""Foreign objects in chest X-rays, guided by anatomy, with instance masks.

The published shape generator (arXiv 2501.12022): eight primitives and cut-and-paste, each anchored
in a region of the film's anatomy, pasted by overlay, soft edge or Beer-Lambert attenuation. The
masks are where a silhouette's exact coverage is at least one half; later objects lie on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.errors import SpecError
from voxelmill.engine.recipes.cxr_ranges import (
    BEER_LAMBERT,
    FRAME,
    MODES,
    SOFT,
    Ranges,
)
from voxelmill.engine.recipes.cxr_scene import DARK_GREY, Scene, paint
from voxelmill.engine.recipes.cxr_shapes import (
    MAX_EDGES,
    SHAPE_COLUMNS,
    draw_class,
    mesh,
    place_objects,
    shape,
)
from voxelmill.engine.sample import Column, Field, Ragged, Rows
from voxelmill.engine.sources import FilmInputs as Inputs
from voxelmill.engine.sources import open_films as open_inputs

__all__ = [
    "NAMES",
    "VERSION",
    "Inputs",
    "Params",
    "Ranges",
    "check",
    "draw",
    "fields",
    "open_inputs",
]

VERSION = 1
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
DENSE_OBJECTS = 16  # bits of the amodal map; more objects are stored as runs
SHAPE_NAMES = tuple(c.name for c in SHAPE_COLUMNS)
# fmt: off
NAMES = (
    "film", "negative", "count", "class", "place", "place_x", "jitter", "soft_sigma_px", "mu",
    *(f"{name}.place" for name in CLASSES), *(f"{name}.mode" for name in CLASSES[:-1]),
    "textual.character", "textual.characters", "textual.tilt", "textual.sign", "textual.slant_deg",
    "textual.shade", "textual.dark_grey", "textual.bright_grey", "textual.opacity",
    "textual.scale", "textual.stroke_px",
    "circular.semi_axis_a_px", "circular.semi_axis_b_px", "circular.angle_deg", "circular.grey",
    "ring.semi_axis_a_px", "ring.semi_axis_b_px", "ring.stroke_px", "ring.angle_deg", "ring.grey",
    "rectangular.side_a_px", "rectangular.side_b_px", "rectangular.angle_deg", "rectangular.grey",
    "rectangular.opacity",
    "clip.half_length_px", "clip.stroke_px", "clip.angle_deg", "clip.grey",
    "grid.length_share", "grid.width_px", "grid.stroke_px", "grid.cell_px", "grid.keep",
    "grid.grey",
    "line.side", "line.along", "line.outside_px", "line.bend_px", "line.stroke_px", "line.grey",
    "parallel.side", "parallel.along", "parallel.outside_px", "parallel.bend_px",
    "parallel.half_width_px", "parallel.wall_px", "parallel.grey", "parallel.fill_grey",
    "parallel.opacity",
    "cutout.elastic", "cutout.morph", "cutout.sign", "cutout.blend", "cutout.elastic_px",
    "cutout.morph_px", "cutout.feather_px", "cutout.donor", "cutout.scale", "cutout.flip",
    "cutout.angle_deg", "cutout.brightness", "cutout.elastic_sigma_px", "cutout.warp",
)
# fmt: on


@dataclass(frozen=True)
class Params:
    """One draw; numbers are stored in `params`, `objects` (object, column) in the ragged table."""

    input: int = field(metadata={"meaning": "which film"})
    negative: bool = field(metadata={"meaning": "1: a film without objects, by the negative share"})
    count: int = field(metadata={"meaning": "objects drawn"})
    objects: NDArray[np.float64]


def _places(ranges: Ranges) -> tuple[str, ...]:
    """All place names that the ranges use, sorted: the categories of the column `place`."""
    return tuple(sorted({p for name in CLASSES for p in getattr(ranges, name).place.weights}))


def object_columns(ranges: Ranges) -> tuple[Column, ...]:
    """The columns of `objects`: what it is, where its masks are, and all that was drawn of it."""
    box = "of the whole object inside the film; half-open, 0 0 0 0 where nothing is inside"
    seen = "of what later objects leave visible; half-open"
    return (
        Column("class", "1", "what it is", ("background", *CLASSES)),
        Column("id", "1", "value in `modal`; bit id - 1 in `amodal`"),
        Column("z", "1", "order of pasting: a higher one lies on top"),
        *(Column(f"box_{edge}_px", "px", box) for edge in ("y0", "x0", "y1", "x1")),
        *(Column(f"visible_{edge}_px", "px", seen) for edge in ("y0", "x0", "y1", "x1")),
        Column("area_px", "px", "pixels of the whole object inside the film"),
        Column("visible_fraction", "1", "share of area_px that is visible; 0 where area_px is 0"),
        Column("runs", "1", "run lengths of its mask in `amodal_runs`, 0 where `amodal` holds it"),
        Column("place", "1", "region of the anchor", _places(ranges)),
        Column("mode", "1", "how it is pasted", (*MODES, "cutout")),
        Column("soft_sigma_px", "px", "Gaussian of the soft mode, 0 in others"),
        Column("mu", "1", "attenuation in beer_lambert mode, 0 in others"),
        *SHAPE_COLUMNS,
    )


def check(ranges: Ranges, inputs: Inputs) -> None:
    """Raise SpecError, with all mistakes, for what the bounds of single ranges cannot say."""
    problems = []
    if ranges.classes.weights.get("cutout") and inputs.donors is None:
        problems.append(
            "classes gives weight to cutout, but inputs.donors names no folder of cut-outs: set it "
            "(`shipped` has two), or set the weight to 0"
        )
    cell = ranges.grid.cell_px.bounds()[0]
    edges = 2 * (ranges.grid.width_px.bounds()[1] / cell + 2) * (ranges.size / cell + 2)
    if edges > MAX_EDGES:
        problems.append(
            f"grid: cells of {cell:g} px make up to {edges:.0f} edges, above {MAX_EDGES}; raise "
            "grid.cell_px or lower grid.width_px"
        )
    if problems:
        raise SpecError("; ".join(problems))


def check_opened(ranges: Ranges, inputs: Any) -> None:
    """Raise SourceError where an object's place is no region that all films have."""
    inputs.require(place for place in _places(ranges) if place != FRAME)


def _most(ranges: Ranges) -> int:
    return int(ranges.count.bounds()[1])


def fields(ranges: Ranges) -> tuple[Field | Ragged, ...]:
    """What a sample holds; more than 16 objects turn the amodal map into run lengths."""
    yx, shape_, most = ("y", "x"), (ranges.size, ranges.size), _most(ranges)
    labels = dict(enumerate(("background", *CLASSES)))
    dense = (
        Field("image", "uint8", yx, shape_, "grey", "radiograph, bright is dense"),
        Field("semantic", "uint8", yx, shape_, "class", "class of the top object", labels, True),
        Field("modal", "uint8", yx, shape_, "id", "id of the top object, 0 none", {}, True),
    )
    objects = Ragged("objects", object_columns(ranges), most, meaning="one row an object, by id")
    if most <= DENSE_OBJECTS:
        meaning = "bit id - 1 is set where object id is, also under others"
        return (*dense, Field("amodal", "uint16", yx, shape_, "bits", meaning, {}, True), objects)
    runs = Ragged(
        "amodal_runs",
        (Column("length", "px", "run length, column by column, the first of background"),),
        most * 4 * ranges.size,
        "uint32",
        "COCO run lengths of each object's whole mask, object after object; see objects.runs",
    )
    return (*dense, objects, runs)


def draw(ranges: Ranges, stream: Stream, inputs: Any) -> Params:
    """One film and what is put into it."""
    film = int(stream.integers("film", 0, len(inputs.ids) - 1)[0])
    negative = bool(stream.uniform("negative")[0] < ranges.negative_share)
    count = 0 if negative else int(ranges.count.draw(stream, "count"))
    columns = [c.name for c in object_columns(ranges)]
    objects = np.full((count, len(columns)), np.nan)
    if count:
        _draw_objects(objects, columns, ranges, stream, inputs, film)
    return Params(film, negative, count, objects)


def _draw_objects(
    objects: NDArray[np.float64],
    columns: list[str],
    ranges: Ranges,
    stream: Stream,
    inputs: Any,
    film: int,
) -> None:
    n, at = len(objects), {name: i for i, name in enumerate(columns)}
    kinds = ranges.classes.draws(stream, "class", n)
    places, modes = [""] * n, ["cutout"] * n
    for name in sorted(set(kinds)):
        slots = [s for s, kind in enumerate(kinds) if kind == name]
        r = getattr(ranges, name)
        place = r.place.draws(stream, f"{name}.place", n)
        mode = r.mode.draws(stream, f"{name}.mode", n) if hasattr(r, "mode") else modes
        drawn = draw_class(name, ranges, stream, n, len(inputs.donors))
        for s in slots:
            places[s], modes[s] = place[s], mode[s]
        for column, values in drawn.items():
            objects[slots, at[column]] = values[slots]
    picture = inputs.film(film, ranges.size)
    y, x = place_objects(places, picture, ranges.size, stream)
    objects[:, at["centre_y_px"]], objects[:, at["centre_x_px"]] = y, x
    for s, kind in enumerate(kinds):
        if kind == "grid":
            objects[s, at["size_a_px"]] *= _height(places[s], picture, ranges.size)
    kind_codes = [CLASSES.index(kind) + 1 for kind in kinds]
    sigma = ranges.soft_sigma_px.draws(stream, "soft_sigma_px", n)
    mu = ranges.mu.draws(stream, "mu", n)
    used, all_modes = _places(ranges), (*MODES, "cutout")
    objects[:, at["class"]] = kind_codes
    objects[:, at["id"]], objects[:, at["z"]] = np.arange(1, n + 1), np.arange(n)
    objects[:, at["place"]] = [used.index(p) for p in places]
    objects[:, at["mode"]] = [all_modes.index(m) for m in modes]
    objects[:, at["soft_sigma_px"]] = np.where(np.array(modes) == SOFT, sigma, 0.0)
    objects[:, at["mu"]] = np.where(np.array(modes) == BEER_LAMBERT, mu, 0.0)
    opacity = objects[:, at["opacity"]]
    opacity[np.isnan(opacity)] = 1.0


def _height(place: str, film: Any, size: int) -> float:
    """Rows that a region spans: a mesh's length is drawn as a share of it."""
    if place == FRAME:
        return float(size)
    rows = np.flatnonzero(film.regions[place].any(1))
    return float(rows[-1] - rows[0] + 1)


def render(ranges: Ranges, draws: Sequence[Draw[Params]], inputs: Any, xp: Any) -> dict[str, Any]:
    """The arrays of a micro-batch, sample axis first; `xp` must be numpy so far."""
    columns = [c.name for c in object_columns(ranges)]
    counts = [one.params.count for one in draws]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = np.concatenate([one.params.objects for one in draws])
    scene, used = Scene(ranges.size), _places(ranges)
    for b, one in enumerate(draws):
        film = inputs.film(one.params.input, ranges.size)
        for slot, row in enumerate(values[starts[b] : starts[b + 1]]):
            o = dict(zip(columns, row.tolist(), strict=True))
            edges = _add_object(scene, o, b, slot, film, used, ranges, one.stream)
            if edges is not None:
                row[columns.index("edges")], row[columns.index("grey")] = edges
    chosen = sorted({one.params.input for one in draws})
    films = np.stack([inputs.film(i, ranges.size).image for i in chosen])
    choice = np.array([chosen.index(one.params.input) for one in draws], np.int32)
    painted = paint(scene, films, choice, inputs.donors, "uint8")
    _fill_measures(values, columns, painted)
    arrays: dict[str, Any] = {
        "image": painted.image,
        "semantic": painted.semantic,
        "modal": painted.modal,
    }
    if _most(ranges) <= DENSE_OBJECTS:
        values[:, columns.index("runs")] = 0
        arrays["amodal"] = painted.amodal
    else:
        arrays["amodal_runs"] = _runs(values, columns, painted, starts, ranges.size)
    return {**arrays, "objects": Rows(values, starts)}


def _add_object(
    scene: Scene,
    o: dict[str, float],
    b: int,
    slot: int,
    film: Any,
    used: tuple[str, ...],
    ranges: Ranges,
    stream: Stream,
) -> tuple[float, float] | None:
    """Put object `o` of sample `b` into the scene; a mesh returns its edges and mean grey."""
    kind, sigma = int(o["class"]), o["soft_sigma_px"]
    name, number = CLASSES[kind - 1], slot + 1
    if name == "cutout":
        cut = scene.add_cutout(o, stream.key("cutout.warp"), slot)
        scene.add_object(cut, b, number, kind)
        scene.add_layer(cut, b, 0.0, o["opacity"], 0.0, 0.0)
        return None
    if name == "grid":
        place = used[int(o["place"])]
        region = None if place == FRAME else film.regions[place]
        quads, greys = mesh(o, region, ranges, stream, slot)
        whole = scene.add_quads(quads, sigma)
        scene.add_object(whole, b, number, kind)
        first = whole - len(quads)
        for i, grey in enumerate(greys.tolist()):
            scene.add_layer(first + i, b, grey, o["opacity"], sigma, o["mu"])
        return float(len(quads)), float(greys.mean())
    outline = shape(name, o)
    whole = scene.add_shape(outline.rings, sigma)
    scene.add_object(whole, b, number, kind)
    painted = [(scene.add_shape(rings, sigma), grey) for rings, grey in outline.paints]
    for layer, grey in painted or [(whole, o["grey"])]:
        mu = o["mu"] * (2 if grey < DARK_GREY else 1)
        scene.add_layer(layer, b, grey, o["opacity"], sigma, mu)
    return None


def _fill_measures(values: NDArray[np.float64], columns: list[str], painted: Any) -> None:
    first, seen = columns.index("box_y0_px"), columns.index("visible_y0_px")
    values[:, first : first + 4] = painted.boxes
    values[:, seen : seen + 4] = painted.visible_boxes
    values[:, columns.index("area_px")] = painted.area
    values[:, columns.index("visible_fraction")] = painted.visible / np.maximum(painted.area, 1)


def _runs(
    values: NDArray[np.float64], columns: list[str], painted: Any, starts: Any, size: int
) -> Rows:
    from voxelmill.kernels import label

    masks = painted.silhouettes
    counts, at = label.runs(masks.flat, masks.windows, masks.starts, (size, size))
    values[:, columns.index("runs")] = np.diff(at)
    return Rows(counts[:, None], at[starts])
