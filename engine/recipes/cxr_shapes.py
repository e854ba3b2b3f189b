"""The published primitives of `cxr_objects`: what is drawn of each, and its outline.

A primitive is two functions: `_draw_<class>` gives the columns that are drawn for it, one number a
slot; `_shape_<class>` turns one object's row into a silhouette (what the masks show) and paints
(what the film shows), as polygon rings of (y, x) pixels.
"""

from collections.abc import Callable, Mapping
from math import cos, radians, sin
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.recipes.cxr_ranges import FRAME, MAX_CHARACTERS, Ranges
from voxelmill.engine.sample import Column

Floats = NDArray[np.float32]
Numbers = Mapping[str, float]

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+"
CAP_HEIGHT_PX = 21.0  # capital height at scale 1 of the published generator's font
CURVE_POINTS = 128
MAX_EDGES = 8192  # random numbers that a slot owns for the edges of its mesh
_TEXT_STRIDE = 8  # characters that a slot owns, a whole number of Philox blocks

SHAPE_COLUMNS = (
    Column("centre_y_px", "px", "anchor: centre, or tip of a line or tube; inside its region"),
    Column("centre_x_px", "px", "anchor: centre, or tip of a line or tube; inside its region"),
    Column("angle_deg", "deg", "rotation, from +x to +y"),
    Column("size_a_px", "px", "semi-axis, side, half-length, half-width or height"),
    Column("size_b_px", "px", "second semi-axis or side; width of a mesh"),
    Column("stroke_px", "px", "width of the stroke, edge or wall"),
    Column("cell_px", "px", "cell of a mesh"),
    Column("edges", "1", "edges of a mesh that are there"),
    Column("grey", "grey", "grey of the object; mean grey of a mesh"),
    Column("fill_grey", "grey", "grey of a tube's lumen"),
    Column("opacity", "1", "of the paint"),
    Column("start_y_px", "px", "where a line or tube starts, outside the film"),
    Column("start_x_px", "px", "where a line or tube starts, outside the film"),
    Column("bend1_y_px", "px", "offset of the first control point"),
    Column("bend1_x_px", "px", "offset of the first control point"),
    Column("bend2_y_px", "px", "offset of the second control point"),
    Column("bend2_x_px", "px", "offset of the second control point"),
    Column("scale", "1", "text: capital height in 21 px; cut-out: size in sizes of the donor"),
    Column("characters", "1", "length of the text"),
    *(
        Column(f"character{i}", "1", f"character {i} of the text", tuple(CHARACTERS))
        for i in range(MAX_CHARACTERS)
    ),
    Column("donor", "1", "which cut-out of the donor folder"),
    Column("flip", "1", "1: flipped left to right"),
    Column("brightness", "1", "factor on a cut-out's grey"),
    Column("elastic_px", "px", "size of a cut-out's elastic warp, 0 without"),
    Column("elastic_sigma_px", "px", "smoothness of the elastic warp"),
    Column("grow_px", "px", "by how much a cut-out's edge grew (+) or shrank (-)"),
    Column("feather_px", "px", "width of a cut-out's softened edge, 0 for hard alpha"),
)


class Shape(NamedTuple):
    """An object's silhouette and paints; `paints` holds shapes with a grey each, in order."""

    rings: list[Floats]
    paints: list[tuple[list[Floats], float]]


def place_objects(
    places: list[str], film: Any, size: int, stream: Stream
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Anchors (y, x) of all slots: a pixel of the slot's region, each with the same chance."""
    n = len(places)
    u, v = stream.uniform("place", n), stream.uniform("place_x", n)
    jitter = stream.uniform("jitter", 2 * n).reshape(n, 2)
    anchors = np.empty((n, 2))
    for slot, place in enumerate(places):
        if place == FRAME:
            anchors[slot] = u[slot] * size, v[slot] * size
        else:
            anchors[slot] = film.pick(place, float(u[slot])) + jitter[slot]
    return anchors[:, 0], anchors[:, 1]


# What is drawn


def _draw_textual(r: Any, stream: Stream, n: int) -> dict[str, Any]:
    codes = stream.integers("textual.character", 0, len(CHARACTERS) - 1, n * _TEXT_STRIDE)
    codes = codes.reshape(n, _TEXT_STRIDE)[:, :MAX_CHARACTERS].astype(float)
    count = r.characters.draws(stream, "textual.characters", n)
    codes[np.arange(MAX_CHARACTERS) >= count[:, None]] = np.nan
    tilt = np.array(r.tilt.draws(stream, "textual.tilt", n))
    sign = np.where(stream.uniform("textual.sign", n) < 0.5, -1.0, 1.0)
    slant = r.slant_deg.draws(stream, "textual.slant_deg", n)
    shade = np.array(r.shade.draws(stream, "textual.shade", n))
    dark = r.dark_grey.draws(stream, "textual.dark_grey", n)
    bright = r.bright_grey.draws(stream, "textual.bright_grey", n)
    faint = r.opacity.draws(stream, "textual.opacity", n)
    return {
        "scale": r.scale.draws(stream, "textual.scale", n),
        "stroke_px": r.stroke_px.draws(stream, "textual.stroke_px", n),
        "angle_deg": sign * np.select([tilt == "level", tilt == "slanted"], [0.0, slant], 90.0),
        "grey": np.where(shade == "dark", dark, bright),
        "opacity": np.where(shade == "transparent", faint, 1.0),
        "characters": count,
        **{f"character{i}": codes[:, i] for i in range(MAX_CHARACTERS)},
    }


def _draw_circular(r: Any, stream: Stream, n: int) -> dict[str, Any]:
    return {
        "size_a_px": r.semi_axis_px.draws(stream, "circular.semi_axis_a_px", n),
        "size_b_px": r.semi_axis_px.draws(stream, "circular.semi_axis_b_px", n),
        "angle_deg": r.angle_deg.draws(stream, "circular.angle_deg", n),
        "grey": r.grey.draws(stream, "circular.grey", n),
    }


def _draw_ring(r: Any, stream: Stream, n: int) -> dict[str, Any]:
    return {
        "size_a_px": r.semi_axis_px.draws(stream, "ring.semi_axis_a_px", n),
        "size_b_px": r.semi_axis_px.draws(stream, "ring.semi_axis_b_px", n),
        "stroke_px": r.stroke_px.draws(stream, "ring.stroke_px", n),
        "angle_deg": r.angle_deg.draws(stream, "ring.angle_deg", n),
        "grey": r.grey.draws(stream, "ring.grey", n),
    }


def _draw_rectangular(r: Any, stream: Stream, n: int) -> dict[str, Any]:
    return {
        "size_a_px": r.side_px.draws(stream, "rectangular.side_a_px", n),
        "size_b_px": r.side_px.draws(stream, "rectangular.side_b_px", n),
        "angle_deg": r.angle_deg.draws(stream, "rectangular.angle_deg", n),
        "grey": r.grey.draws(stream, "rectangular.grey", n),
        "opacity": r.opacity.draws(stream, "rectangular.opacity", n),
    }


def _draw_clip(r: Any, stream: Stream, n: int) -> dict[str, Any]:
    return {
        "size_a_px": r.half_length_px.draws(stream, "clip.half_length_px", n),
        "stroke_px": r.stroke_px.draws(stream, "clip.stroke_px", n),
        "angle_deg": r.angle_deg.draws(stream, "clip.angle_deg", n),
        "grey": r.grey.draws(stream, "clip.grey", n),
    }


def _draw_grid(r: Any, stream: Stream, n: int) -> dict[str, Any]:
    return {
        "size_a_px": r.length_share.draws(stream, "grid.length_share", n),  # px once it is placed
        "size_b_px": r.width_px.draws(stream, "grid.width_px", n),
        "stroke_px": r.stroke_px.draws(stream, "grid.stroke_px", n),
        "cell_px": r.cell_px.draws(stream, "grid.cell_px", n),
    }


def _draw_entry(r: Any, stream: Stream, n: int, name: str, size: int) -> dict[str, Any]:
    """Start outside the film and the bends of a curve to the anchor."""
    side = stream.integers(f"{name}.side", 0, 3, n)
    along = stream.uniform(f"{name}.along", n) * size
    out = r.outside_px.draws(stream, f"{name}.outside_px", n)
    far = np.where(side % 2 == 0, -out, size + out)
    bends = r.bend_px.draws(stream, f"{name}.bend_px", 4 * n).reshape(n, 4)
    return {
        "start_y_px": np.where(side < 2, far, along),
        "start_x_px": np.where(side < 2, along, far),
        "bend1_y_px": bends[:, 0],
        "bend1_x_px": bends[:, 1],
        "bend2_y_px": bends[:, 2],
        "bend2_x_px": bends[:, 3],
    }


def _draw_line(r: Any, stream: Stream, n: int, size: int) -> dict[str, Any]:
    return {
        **_draw_entry(r, stream, n, "line", size),
        "stroke_px": r.stroke_px.draws(stream, "line.stroke_px", n),
        "grey": r.grey.draws(stream, "line.grey", n),
    }


def _draw_parallel(r: Any, stream: Stream, n: int, size: int) -> dict[str, Any]:
    return {
        **_draw_entry(r, stream, n, "parallel", size),
        "size_a_px": r.half_width_px.draws(stream, "parallel.half_width_px", n),
        "stroke_px": r.wall_px.draws(stream, "parallel.wall_px", n),
        "grey": r.grey.draws(stream, "parallel.grey", n),
        "fill_grey": r.fill_grey.draws(stream, "parallel.fill_grey", n),
        "opacity": r.opacity.draws(stream, "parallel.opacity", n),
    }


def _draw_cutout(r: Any, stream: Stream, n: int, donors: int) -> dict[str, Any]:
    warped = stream.uniform("cutout.elastic", n) < r.elastic
    grown = warped & (stream.uniform("cutout.morph", n) < r.morph)
    sign = np.where(stream.uniform("cutout.sign", n) < 0.5, -1.0, 1.0)
    feathered = np.array(r.blend.draws(stream, "cutout.blend", n)) == "feather"
    amplitude = r.elastic_amplitude_px.draws(stream, "cutout.elastic_px", n)
    grow = sign * r.morph_px.draws(stream, "cutout.morph_px", n)
    width = r.feather_px.draws(stream, "cutout.feather_px", n)
    return {
        "donor": stream.integers("cutout.donor", 0, donors - 1, n).astype(float),
        "scale": r.scale.draws(stream, "cutout.scale", n),
        "flip": (stream.uniform("cutout.flip", n) < r.flip).astype(float),
        "angle_deg": r.angle_deg.draws(stream, "cutout.angle_deg", n),
        "brightness": r.brightness.draws(stream, "cutout.brightness", n),
        "elastic_px": np.where(warped, amplitude, 0.0),
        "elastic_sigma_px": r.elastic_sigma_px.draws(stream, "cutout.elastic_sigma_px", n),
        "grow_px": np.where(grown, grow, 0.0),
        "feather_px": np.where(feathered, width, 0.0),
    }


def draw_class(
    name: str, ranges: Ranges, stream: Stream, n: int, donors: int
) -> dict[str, NDArray[np.float64]]:
    """The drawn columns of class `name` for `n` slots."""
    r = getattr(ranges, name)
    if name in ("line", "parallel"):
        return {"line": _draw_line, "parallel": _draw_parallel}[name](r, stream, n, ranges.size)
    if name == "cutout":
        return _draw_cutout(r, stream, n, donors)
    return _DRAW[name](r, stream, n)


_DRAW: dict[str, Callable[[Any, Stream, int], dict[str, Any]]] = {
    "textual": _draw_textual,
    "circular": _draw_circular,
    "ring": _draw_ring,
    "rectangular": _draw_rectangular,
    "clip": _draw_clip,
    "grid": _draw_grid,
}


# What it looks like


def _centre(o: Numbers) -> tuple[float, float]:
    return o["centre_y_px"], o["centre_x_px"]


def _shape_textual(o: Numbers) -> Shape:
    from voxelmill.engine.glyphs import text_rings

    text = "".join(CHARACTERS[int(o[f"character{i}"])] for i in range(int(o["characters"])))
    angle = radians(o["angle_deg"])
    # rows of (y, x): y' = y cos + x sin, x' = x cos - y sin turns +x towards +y
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    rings = [
        (ring @ turn + _centre(o)).astype(np.float32)
        for ring in text_rings(text, CAP_HEIGHT_PX * o["scale"], o["stroke_px"] - 1.0)
    ]
    return Shape(rings, [])


def _shape_circular(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import ellipse

    axes = (o["size_a_px"], o["size_b_px"])
    return Shape([ellipse(_centre(o), axes, radians(o["angle_deg"]))], [])


def _shape_ring(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import ellipse, stroke

    axes = (o["size_a_px"], o["size_b_px"])
    middle = ellipse(_centre(o), axes, radians(o["angle_deg"]))
    return Shape(stroke(middle, o["stroke_px"], closed=True), [])


def _shape_rectangular(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import rectangle

    sides = (o["size_a_px"], o["size_b_px"])
    return Shape([rectangle(_centre(o), sides, radians(o["angle_deg"]))], [])


def _shape_clip(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import stroke

    angle = radians(o["angle_deg"])
    half = o["size_a_px"] * np.array([sin(angle), cos(angle)])
    ends = np.array([_centre(o) - half, _centre(o) + half], np.float32)
    return Shape(stroke(ends, o["stroke_px"]), [])


def curve(o: Numbers) -> Floats:
    """The middle line of a line or tube: a cubic Bezier of 128 points, (point, 2) pixels."""
    from voxelmill.kernels.outline import bezier

    start, tip = np.array([o["start_y_px"], o["start_x_px"]]), np.array(_centre(o))
    first = start + (tip - start) / 3 + (o["bend1_y_px"], o["bend1_x_px"])
    second = start + (tip - start) * 2 / 3 + (o["bend2_y_px"], o["bend2_x_px"])
    return bezier(np.array([start, first, second, tip], np.float32), CURVE_POINTS)


def _shape_line(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import stroke

    return Shape(stroke(curve(o), o["stroke_px"]), [])


def _shape_parallel(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import stroke

    middle, half, wall = curve(o), o["size_a_px"], o["stroke_px"]
    outer = stroke(middle, 2 * half + wall, cap="butt")
    lumen = stroke(middle, 2 * half - wall, cap="butt")
    return Shape(outer, [(outer, o["grey"]), (lumen, o["fill_grey"])])


def shape(name: str, o: Numbers) -> Shape:
    """The silhouette and paints of one object of class `name`, not a mesh and not a cut-out."""
    return _SHAPE[name](o)


_SHAPE: dict[str, Callable[[Numbers], Shape]] = {
    "textual": _shape_textual,
    "circular": _shape_circular,
    "ring": _shape_ring,
    "rectangular": _shape_rectangular,
    "clip": _shape_clip,
    "line": _shape_line,
    "parallel": _shape_parallel,
}


def mesh(
    o: Numbers, region: NDArray[np.bool_] | None, ranges: Ranges, stream: Stream, slot: int
) -> tuple[Floats, NDArray[np.float64]]:
    """The edges of a stent that are kept inside `region`: quads (edge, 4, 2) and their greys.

    A mesh with no such edge keeps all that are in its window, so that no object is empty.
    """
    r, cell = ranges.grid, o["cell_px"]
    ny = max(1, round(o["size_a_px"] / cell))
    nx = max(1, round(o["size_b_px"] / cell))
    y0, x0 = o["centre_y_px"] - ny * cell / 2, o["centre_x_px"] - nx * cell / 2
    across = np.stack(np.meshgrid(np.arange(ny + 1), np.arange(nx) + 0.5, indexing="ij"), -1)
    along = np.stack(np.meshgrid(np.arange(ny) + 0.5, np.arange(nx + 1), indexing="ij"), -1)
    middles = np.concatenate([across.reshape(-1, 2), along.reshape(-1, 2)]) * cell + (y0, x0)
    is_across = np.arange(len(middles)) < across.size // 2
    kept = stream.uniform("grid.keep", len(middles), slot * MAX_EDGES) < r.keep
    if region is not None:
        pixel = np.floor(middles).astype(int)
        shape_ = np.array(region.shape)
        clipped = np.clip(pixel, 0, shape_ - 1)
        kept &= (pixel == clipped).all(1) & region[clipped[:, 0], clipped[:, 1]]
    if not kept.any():
        kept[:] = True
    grey = r.grey.draws(stream, "grid.grey", len(middles), slot * MAX_EDGES)[kept]
    long, thin = (cell + o["stroke_px"]) / 2, o["stroke_px"] / 2  # edges meet in full corners
    half = np.where(is_across[kept, None], (thin, long), (long, thin))
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return (middles[kept, None] + half[:, None] * corners).astype(np.float32), grey
