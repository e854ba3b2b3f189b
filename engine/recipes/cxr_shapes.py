"""The published primitives of `cxr_objects` as outlines: from an object's row to polygon rings.

`_shape_<class>` gives the silhouette (what the masks show) and the paints (what the film shows), as
rings of (y, x) pixels for a non-zero fill.
"""

from collections.abc import Callable
from math import cos, radians, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.recipes.cxr_ranges import Ranges
from voxelmill.engine.recipes.cxr_table import CHARACTERS, Numbers

Floats = NDArray[np.float32]

CAP_HEIGHT_PX = 21.0  # capital height at scale 1 of the published generator's font
CURVE_POINTS = 128
MAX_EDGES = 1 << 16  # random numbers that a slot owns for the edges of its mesh


class Shape(NamedTuple):
    """An object's silhouette and paints.

    paints: rings with a grey each, in order; empty where the silhouette has the object's own grey.
    reach_px: how far outside the film it must be known for its thickness inside to be right.
    """

    rings: list[Floats]
    paints: list[tuple[list[Floats], float]]
    reach_px: float


def shape(name: str, o: Numbers) -> Shape:
    """The silhouette and paints of one object of class `name`, not a mesh and not a cut-out."""
    return _SHAPE[name](o)


def _whole(rings: list[Floats]) -> Shape:
    """A shape of one grey; all of it must be known, for the place where it is thickest."""
    points = np.concatenate(rings)
    return Shape(rings, [], float(np.ptp(points, axis=0).max()))


def _centre(o: Numbers) -> tuple[float, float]:
    return o["centre_y_px"], o["centre_x_px"]


def _shape_textual(o: Numbers) -> Shape:
    from voxelmill.engine.glyphs import text_rings

    text = "".join(CHARACTERS[int(o[f"character{i}"])] for i in range(int(o["characters"])))
    c, s = cos(radians(o["angle_deg"])), sin(radians(o["angle_deg"]))
    rings = []
    for ring in text_rings(text, CAP_HEIGHT_PX * o["scale"], o["stroke_px"] - 1.0):
        y, x = ring[:, 0].astype(float), ring[:, 1].astype(float)
        turned = np.stack([c * y + s * x + o["centre_y_px"], c * x - s * y + o["centre_x_px"]], 1)
        rings.append(turned.astype(np.float32))
    return _whole(rings)


def _shape_circular(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import ellipse

    axes = (o["size_a_px"], o["size_b_px"])
    return _whole([ellipse(_centre(o), axes, radians(o["angle_deg"]))])


def _shape_ring(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import ellipse, stroke

    axes = (o["size_a_px"], o["size_b_px"])
    middle = ellipse(_centre(o), axes, radians(o["angle_deg"]))
    return _whole(stroke(middle, o["stroke_px"], closed=True))


def _shape_rectangular(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import rectangle

    sides = (o["size_a_px"], o["size_b_px"])
    return _whole([rectangle(_centre(o), sides, radians(o["angle_deg"]))])


def _shape_clip(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import stroke

    angle = radians(o["angle_deg"])
    half = o["size_a_px"] * np.array([sin(angle), cos(angle)])
    ends = np.array([_centre(o) - half, _centre(o) + half], np.float32)
    return _whole(stroke(ends, o["stroke_px"]))


def curve(o: Numbers) -> Floats:
    """The middle line of a line or tube: a cubic Bezier of 128 points, (point, 2) pixels."""
    from voxelmill.kernels.outline import bezier

    start, tip = np.array([o["start_y_px"], o["start_x_px"]]), np.array(_centre(o))
    first = start + (tip - start) / 3 + (o["bend1_y_px"], o["bend1_x_px"])
    second = start + (tip - start) * 2 / 3 + (o["bend2_y_px"], o["bend2_x_px"])
    return bezier(np.array([start, first, second, tip], np.float32), CURVE_POINTS)


def _shape_line(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import stroke

    return Shape(stroke(curve(o), o["stroke_px"]), [], o["stroke_px"])


def _shape_parallel(o: Numbers) -> Shape:
    from voxelmill.kernels.outline import stroke

    middle, half, wall = curve(o), o["size_a_px"], o["stroke_px"]
    outer = stroke(middle, 2 * half + wall, cap="butt")
    lumen = stroke(middle, 2 * half - wall, cap="butt")
    paints = [(outer, o["grey"]), (lumen, o["fill_grey"])]
    return Shape(outer, paints, 2 * half + wall)


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
    """The edges of a stent: quads (edge, 4, 2) and their greys.

    An edge is kept by its own chance, and only where its middle lies in `region` (None: anywhere);
    if that leaves none, the one nearest to the anchor is there.
    """
    middles, is_across = _mesh_edges(o)
    first = slot * MAX_EDGES
    kept = stream.uniform("grid.keep", len(middles), first) < ranges.grid.keep
    if region is not None:
        pixel = np.floor(middles).astype(int)
        inside = ((pixel >= 0) & (pixel < region.shape)).all(1)
        kept[~inside] = False
        kept[inside] &= region[pixel[inside, 0], pixel[inside, 1]]
    if not kept.any():
        kept[np.argmin(((middles - _centre(o)) ** 2).sum(1))] = True
    grey = ranges.grid.grey.draws(stream, "grid.grey", len(middles), first)[kept]
    thin = o["stroke_px"] / 2
    long = o["cell_px"] / 2 + thin  # edges meet in full corners
    half = np.where(is_across[kept, None], (thin, long), (long, thin))
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return (middles[kept, None] + half[:, None] * corners).astype(np.float32), grey


def _mesh_edges(o: Numbers) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Middles (edge, 2) of all edges of whole cells around the anchor, and which run along x."""
    cell = o["cell_px"]
    ny, nx = (max(1, round(o[size] / cell)) for size in ("size_a_px", "size_b_px"))
    across = np.indices((ny + 1, nx)).reshape(2, -1).T + np.array([0.0, 0.5])
    along = np.indices((ny, nx + 1)).reshape(2, -1).T + np.array([0.5, 0.0])
    corner = np.array(_centre(o)) - (ny * cell / 2, nx * cell / 2)
    middles = np.concatenate([across, along]) * cell + corner
    return middles, np.arange(len(middles)) < len(across)
