"""What a sample of `cxr_objects` holds: the columns of its objects, its fields, their meanings.

`objects` has a row an object. A row is written in two goes: what is drawn (`cxr_draw`), then what
only the rendered masks can tell (boxes, areas).
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.recipes.cxr_ranges import BLENDS, CLASSES, MAX_CHARACTERS, MODES, Ranges
from voxelmill.engine.sample import Column, Field, Ragged

Numbers = Mapping[str, float]  # one object: column -> value
Table = NDArray[np.float64]  # (object, column)

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+"
MODE_WORDS = (*MODES, *BLENDS)
DENSE_OBJECTS = 16  # bits of the amodal map; more objects are stored as runs
DARK_GREY = 128  # below it an object darkens, and attenuates twice as fast; as published

_BOX = "of the whole object inside the film; half-open, 0 0 0 0 where nothing is inside"
_SEEN = "of what later objects leave visible; half-open, 0 0 0 0 where nothing is"
_START = "where a line or tube starts: on a side of the film or outside"
_EDGES = ("y0", "x0", "y1", "x1")

COLUMNS = (
    Column("class", "1", "what it is", ("background", *CLASSES)),
    Column("id", "1", "value in `modal`; bit id - 1 in `amodal`"),
    Column("z", "1", "order of pasting: a higher one lies on top"),
    *(Column(f"box_{edge}_px", "px", _BOX) for edge in _EDGES),
    *(Column(f"visible_{edge}_px", "px", _SEEN) for edge in _EDGES),
    Column("area_px", "px", "pixels of the whole object inside the film"),
    Column("visible_fraction", "1", "share of area_px that is visible; 0 where area_px is 0"),
    Column("runs", "1", "run lengths of its mask in `amodal_runs`, 0 where `amodal` holds it"),
    Column("place", "1", "region of the anchor"),
    Column("mode", "1", "how it is pasted; alpha and feather are those of cut-outs", MODE_WORDS),
    Column("soft_sigma_px", "px", "Gaussian of the soft mode, 0 in others"),
    Column("mu", "1", f"attenuation of beer_lambert (twice it below grey {DARK_GREY}), else 0"),
    Column("centre_y_px", "px", "anchor: centre, or tip of a line or tube; inside its region"),
    Column("centre_x_px", "px", "anchor: centre, or tip of a line or tube; inside its region"),
    Column("angle_deg", "deg", "turn about the centre, from +x to +y"),
    Column(
        "size_a_px",
        "px",
        "ellipse, ring: semi-axis along y before the turn; rectangle: side along y; clip: half its "
        "length; tube: middle to middle of a wall; mesh: height",
    ),
    Column(
        "size_b_px",
        "px",
        "ellipse, ring: semi-axis along x before the turn; rectangle: side along x; mesh: width",
    ),
    Column("stroke_px", "px", "width of ring, bar, wire, wall or mesh edge; text: weight, 1 plain"),
    Column("cell_px", "px", "cell of a mesh"),
    Column("edges", "1", "edges of a mesh that are there"),
    Column("grey", "grey", "grey of the object, of a tube's walls; mean over the edges of a mesh"),
    Column("fill_grey", "grey", "grey of a tube's lumen"),
    Column("opacity", "1", "of the paint"),
    Column("start_y_px", "px", _START),
    Column("start_x_px", "px", _START),
    *(
        Column(
            f"bend{i}_{axis}_px", "px", f"control point {i} of the curve less its place at {i}/3"
        )
        for i in (1, 2)
        for axis in "yx"
    ),
    Column("scale", "1", "text: capital height in 21 px; cut-out: size in sizes of the donor"),
    Column("characters", "1", "length of the text"),
    *(
        Column(f"character{i}", "1", f"character {i} of the text", tuple(CHARACTERS))
        for i in range(MAX_CHARACTERS)
    ),
    Column("donor", "1", "which cut-out of the donor folder, in the order of their names"),
    Column("flip", "1", "1: flipped left to right before the turn"),
    Column("brightness", "1", "factor on a cut-out's grey"),
    Column("elastic_px", "px", "rms of each component of a cut-out's elastic warp, 0 without"),
    Column("elastic_sigma_px", "px", "smoothness of the elastic warp"),
    Column("grow_px", "px", "by how much a cut-out's edge grew (+) or shrank (-)"),
    Column("feather_px", "px", "width of a cut-out's softened edge, 0 for hard alpha"),
)
COLUMN_NAMES = tuple(c.name for c in COLUMNS)
AT = {name: i for i, name in enumerate(COLUMN_NAMES)}


def places(ranges: Ranges) -> tuple[str, ...]:
    """All place names that the ranges use, sorted: the categories of the column `place`."""
    return tuple(sorted({p for name in CLASSES for p in getattr(ranges, name).place.weights}))


def object_columns(ranges: Ranges) -> tuple[Column, ...]:
    """The columns of `objects`: what it is, where its masks are, and all that was drawn of it."""
    return tuple(replace(c, categories=places(ranges)) if c.name == "place" else c for c in COLUMNS)


def object_rows(table: Table) -> list[dict[str, float]]:
    """Each object as column -> value."""
    return [dict(zip(COLUMN_NAMES, row, strict=True)) for row in table.tolist()]


def is_dense(ranges: Ranges) -> bool:
    """Whether whole masks are bits of a map, and not run lengths."""
    return ranges.count.bounds()[1] <= DENSE_OBJECTS


def fields(ranges: Ranges, inputs: Any = None) -> tuple[Field | Ragged, ...]:
    """What a sample holds; more than 16 objects turn the amodal map into run lengths."""
    yx, shape, most = ("y", "x"), (ranges.size, ranges.size), int(ranges.count.bounds()[1])
    labels = dict(enumerate(("background", *CLASSES)))
    dense = (
        Field("image", "uint8", yx, shape, "grey", "radiograph, bright is dense"),
        Field("semantic", "uint8", yx, shape, "class", "class of the top object", labels, True),
        Field("modal", "uint8", yx, shape, "id", "id of the top object, 0 none", {}, True),
    )
    objects = Ragged("objects", object_columns(ranges), most, meaning="one row an object, by id")
    if is_dense(ranges):
        meaning = "bit id - 1 is set where object id is, also under others"
        return (*dense, Field("amodal", "uint16", yx, shape, "bits", meaning, {}, True), objects)
    runs = Ragged(
        "amodal_runs",
        (Column("length", "px", "run length, column by column, the first of background"),),
        most * _most_runs(ranges),
        "uint32",
        "COCO run lengths of each object's whole mask, object after object; see objects.runs",
    )
    return (*dense, objects, runs)


def _most_runs(ranges: Ranges) -> int:
    """Run lengths of one mask at most, but for a cut-out of ragged alpha."""
    others = 6 * ranges.size  # a cubic crosses each column up to three times
    if not ranges.classes.weights.get("grid"):
        return others
    mesh = ranges.grid
    along, _ = most_cells(ranges)
    width = sum(r.bounds()[1] for r in (mesh.width_px, mesh.cell_px, mesh.stroke_px)) + 2
    return max(others, int(min(width, ranges.size)) * (2 * along + 3))


def most_cells(ranges: Ranges) -> tuple[int, int]:
    """The most cells of a mesh, along and across its vessel."""
    mesh, cell = ranges.grid, ranges.grid.cell_px.bounds()[0]
    height = ranges.size * mesh.length_share.bounds()[1]
    return ceil(height / cell), ceil(mesh.width_px.bounds()[1] / cell)


def fill_measures(table: Table, measures: Any) -> None:
    """Write what `voxelmill.kernels.label.measure` found into the rows."""
    first, seen = AT["box_y0_px"], AT["visible_y0_px"]
    table[:, first : first + 4] = measures.boxes
    table[:, seen : seen + 4] = measures.visible_boxes
    table[:, AT["area_px"]] = measures.area
    table[:, AT["visible_fraction"]] = measures.visible / np.maximum(measures.area, 1)
