"""Foreign objects in chest X-rays, guided by anatomy, with instance masks.

The published shape generator (arXiv 2501.12022): eight primitives and cut-and-paste, each anchored
in a region of the film's anatomy, pasted by overlay, soft edge or Beer-Lambert attenuation. The
masks are where a silhouette's exact coverage is at least one half; later objects lie on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.recipes.cxr_draw import draw_objects
from voxelmill.engine.recipes.cxr_paint import Painted, paint
from voxelmill.engine.recipes.cxr_ranges import CLASSES, FRAME, Ranges
from voxelmill.engine.recipes.cxr_scene import SOFT_REACH, Owner, Scene
from voxelmill.engine.recipes.cxr_shapes import MAX_EDGES, mesh, shape
from voxelmill.engine.recipes.cxr_table import (
    AT,
    DARK_GREY,
    Numbers,
    Table,
    fields,
    fill_measures,
    is_dense,
    most_cells,
    object_columns,
    object_rows,
    places,
)
from voxelmill.engine.sample import Rows
from voxelmill.engine.sources import FilmInputs as Inputs
from voxelmill.engine.sources import open_films as open_inputs

__all__ = [
    "CLASSES",
    "NAMES",
    "VERSION",
    "Inputs",
    "Params",
    "Ranges",
    "check",
    "check_opened",
    "draw",
    "fields",
    "object_columns",
    "open_inputs",
    "render",
]

VERSION = 1
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
    "cutout.blend", "cutout.elastic", "cutout.morph", "cutout.sign", "cutout.elastic_px",
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
    objects: Table


def check(ranges: Ranges, inputs: Inputs) -> None:
    """Raise SpecError, with all mistakes, for what the bounds of single ranges cannot say."""
    problems = []
    if ranges.classes.weights.get("cutout") and inputs.donors is None:
        problems.append(
            "classes gives weight to cutout, but inputs.donors names no folder of cut-outs: set it "
            "(`shipped` has two), or set the weight to 0"
        )
    along, across = most_cells(ranges)
    edges = 2 * (along + 1) * (across + 1)
    if edges > MAX_EDGES:
        problems.append(
            f"grid: cells of {ranges.grid.cell_px.bounds()[0]:g} px make up to {edges} edges, "
            f"above {MAX_EDGES}; raise grid.cell_px or lower grid.width_px"
        )
    tube = ranges.parallel
    wall, half = tube.wall_px.bounds()[1], tube.half_width_px.bounds()[0]
    if wall >= 2 * half:
        problems.append(
            f"parallel: walls of {wall:g} px leave no lumen at a half-width of {half:g} px; lower "
            "parallel.wall_px or raise parallel.half_width_px"
        )
    if problems:
        raise SpecError("; ".join(problems))


def check_opened(ranges: Ranges, inputs: Any) -> None:
    """Raise SourceError for a place that is no region of all films, or donors too big to warp."""
    inputs.require(place for place in places(ranges) if place != FRAME)
    if ranges.classes.weights.get("cutout"):
        _check_donors(ranges, inputs)


def _check_donors(ranges: Ranges, inputs: Any) -> None:
    from voxelmill.kernels.elastic import NODES

    r = ranges.cutout
    side = max(max(grey.shape) for grey, _ in inputs.donors) * r.scale.bounds()[1]
    nodes_px = NODES * r.elastic_sigma_px.bounds()[0]  # they are sqrt(3) sigma apart: room to spare
    if side + 8 * r.elastic_amplitude_px.bounds()[1] > nodes_px:
        raise SourceError(
            f"a donor scaled to {side:.0f} px is too big to be warped with a smoothness of "
            f"{r.elastic_sigma_px.bounds()[0]:g} px: raise cutout.elastic_sigma_px, lower "
            "cutout.scale, or give smaller donors"
        )


def draw(ranges: Ranges, stream: Stream, inputs: Any) -> Params:
    """One film and what is put into it."""
    film = int(stream.integers("film", 0, len(inputs) - 1)[0])
    negative = bool(stream.uniform("negative")[0] < ranges.negative_share)
    count = 0 if negative else int(ranges.count.draw(stream, "count"))
    return Params(film, negative, count, draw_objects(ranges, stream, inputs, film, count))


def render(ranges: Ranges, draws: Sequence[Draw[Params]], inputs: Any, xp: Any) -> dict[str, Any]:
    """The arrays of a micro-batch, sample axis first; `xp` must be numpy so far."""
    starts = np.concatenate([[0], np.cumsum([d.params.count for d in draws])]).astype(np.int64)
    table = np.concatenate([d.params.objects for d in draws])
    scene = Scene(ranges.size)
    for b, one in enumerate(draws):
        film = inputs.film(one.params.input, ranges.size)
        rows = table[starts[b] : starts[b + 1]]
        for o, row in zip(object_rows(rows), rows, strict=True):
            owner = Owner(b, int(o["id"]), int(o["class"]))
            name = CLASSES[owner.kind - 1]
            if name == "cutout":
                _add_cutout(scene, o, owner, one.stream)
            elif name == "grid":
                region = _region(film, int(o["place"]), ranges)
                quads, greys = mesh(o, region, ranges, one.stream, int(o["z"]))
                _add_mesh(scene, o, owner, quads, greys)
                row[AT["edges"]], row[AT["grey"]] = len(greys), greys.mean()
            else:
                _add_primitive(scene, o, owner, name)
    painted = paint(scene, *_backgrounds(ranges, draws, inputs), inputs.donors)
    fill_measures(table, painted.measures)
    if is_dense(ranges):
        table[:, AT["runs"]] = 0
        whole: dict[str, Any] = {"amodal": painted.amodal}
    else:
        whole = {"amodal_runs": _runs(table, painted, starts)}
    return {
        "image": painted.image,
        "semantic": painted.semantic,
        "modal": painted.modal,
        **whole,
        "objects": Rows(table, starts),
    }


def _backgrounds(
    ranges: Ranges, draws: Sequence[Draw[Params]], inputs: Any
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The films that a batch uses, (film, y, x), and which of them each sample stands on."""
    used = sorted({one.params.input for one in draws})
    films = np.stack([inputs.film(i, ranges.size).image for i in used])
    return films, np.array([used.index(one.params.input) for one in draws], np.int32)


def _region(film: Any, place: int, ranges: Ranges) -> NDArray[np.bool_] | None:
    name = places(ranges)[place]
    return None if name == FRAME else film.regions[name]


def _margin(o: Numbers, reach_px: float) -> int:
    """How far outside the film a shape must be known: for its blur, or for its thickness."""
    return max(ceil(SOFT_REACH * o["soft_sigma_px"]), ceil(reach_px) if o["mu"] else 0)


def _add_paint(scene: Scene, first: int, owner: Owner, o: Numbers, grey: ArrayLike) -> None:
    """Paint the shapes from `first` on, each with one of `grey`, in the mode of `o`."""
    greys = np.atleast_1d(np.asarray(grey, np.float64))
    mu = o["mu"] * np.where(greys < DARK_GREY, 2.0, 1.0)
    scene.add_layers(first, owner.sample, greys, o["opacity"], o["soft_sigma_px"], mu)


def _add_cutout(scene: Scene, o: Numbers, owner: Owner, stream: Stream) -> None:
    cut = scene.add_cutout(o, stream.key("cutout.warp"))
    scene.add_object(cut, owner)
    nothing = np.zeros(1)
    scene.add_layers(cut, owner.sample, nothing, o["opacity"], 0.0, nothing)


def _add_mesh(
    scene: Scene, o: Numbers, owner: Owner, quads: NDArray[np.float32], greys: NDArray[np.float64]
) -> None:
    whole = scene.add_quads(quads, _margin(o, o["cell_px"] + o["stroke_px"]))
    scene.add_object(whole, owner)
    _add_paint(scene, whole - len(quads), owner, o, greys)


def _add_primitive(scene: Scene, o: Numbers, owner: Owner, name: str) -> None:
    made = shape(name, o)
    margin = _margin(o, made.reach_px)
    whole = scene.add_shape(made.rings, margin)
    scene.add_object(whole, owner)
    if not made.paints:
        _add_paint(scene, whole, owner, o, o["grey"])
    for rings, grey in made.paints:
        layer = scene.add_shape(rings, margin)
        _add_paint(scene, layer, owner, o, grey)


def _runs(table: Table, painted: Painted, starts: NDArray[np.int64]) -> Rows:
    from voxelmill.kernels import label

    masks = painted.silhouettes
    counts, at = label.runs(masks.flat, masks.windows, masks.starts, painted.image.shape[1:])
    table[:, AT["runs"]] = np.diff(at)
    return Rows(counts[:, None], at[starts])
