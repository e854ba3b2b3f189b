"""What is drawn of each object of `cxr_objects`: one row of `cxr_table.COLUMNS` a slot.

`_draw_<class>` gives the columns of its class for all slots of a film, so that a slot's numbers do
not depend on what the other slots hold. Anchors are pixels drawn from a region of the film.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Choice, Range, Stream
from voxelmill.engine.recipes.cxr_ranges import (
    BEER_LAMBERT,
    CLASSES,
    FEATHER,
    FRAME,
    MAX_CHARACTERS,
    SIDES,
    SOFT,
    Circular,
    Clip,
    Cutout,
    Grid,
    Line,
    Parallel,
    Ranges,
    Rectangular,
    Ring,
    Textual,
)
from voxelmill.engine.recipes.cxr_table import AT, CHARACTERS, MODE_WORDS, Table, places

_TEXT_STRIDE = 8  # characters that a slot owns, a whole number of Philox blocks

Drawn = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Slots:
    """For whom is drawn: `count` slots of a sample, on a film of `size`, with `donors` cut-outs."""

    stream: Stream
    count: int
    size: int
    donors: int

    def of(self, source: Range, name: str) -> NDArray[np.float64]:
        """A number a slot."""
        return source.draws(self.stream, name, self.count)

    def words(self, source: Choice, name: str) -> NDArray[np.str_]:
        """A word a slot."""
        return np.array(source.draws(self.stream, name, self.count))

    def chance(self, share: float, name: str) -> NDArray[np.bool_]:
        """Whether it happens, a slot."""
        return self.stream.uniform(name, self.count) < share


def draw_objects(ranges: Ranges, stream: Stream, inputs: Any, film: int, count: int) -> Table:
    """The rows of `count` objects on film number `film`; columns that masks must tell are NaN."""
    table = np.full((count, len(AT)), np.nan)
    if count == 0:
        return table
    slots = Slots(stream, count, ranges.size, len(inputs.donors))
    words = places(ranges)
    kinds = slots.words(ranges.classes, "class")
    sigma, mu = slots.of(ranges.soft_sigma_px, "soft_sigma_px"), slots.of(ranges.mu, "mu")
    for code, name in enumerate(CLASSES, 1):
        which = np.flatnonzero(kinds == name)
        if not len(which):
            continue
        r = getattr(ranges, name)
        mode = slots.words(*_mode_of(name, r))
        drawn = {
            "class": np.full(count, float(code)),
            "place": _codes(slots.words(r.place, f"{name}.place"), words),
            "mode": _codes(mode, MODE_WORDS),
            "soft_sigma_px": np.where(mode == SOFT, sigma, 0.0),
            "mu": np.where(mode == BEER_LAMBERT, mu, 0.0),
            "opacity": np.ones(count),
            **_DRAW[name](r, slots),
        }
        for column, values in drawn.items():
            table[which, AT[column]] = values[which]
    table[:, AT["id"]], table[:, AT["z"]] = np.arange(1, count + 1), np.arange(count)
    _anchor(table, words, slots, inputs.film(film, ranges.size))
    return table


def _mode_of(name: str, r: Any) -> tuple[Choice, str]:
    return (r.blend, "cutout.blend") if name == "cutout" else (r.mode, f"{name}.mode")


def _codes(words: NDArray[np.str_], categories: tuple[str, ...]) -> NDArray[np.float64]:
    return np.array([categories.index(word) for word in words.tolist()], float)


def _anchor(table: Table, words: tuple[str, ...], slots: Slots, film: Any) -> None:
    """Fill in anchors, a pixel of each slot's region at random; a mesh's height hangs on it too."""
    stream, n = slots.stream, slots.count
    u, v = stream.uniform("place", n), stream.uniform("place_x", n)
    jitter = stream.uniform("jitter", 2 * n).reshape(n, 2)
    centre = [AT["centre_y_px"], AT["centre_x_px"]]
    for slot, row in enumerate(table):
        place = words[int(row[AT["place"]])]
        if place == FRAME:
            row[centre] = u[slot] * slots.size, v[slot] * slots.size
            height = slots.size
        else:
            row[centre] = film.pick(place, float(u[slot])) + jitter[slot]
            height = _height(film, place)
        if row[AT["class"]] == _GRID:
            row[AT["size_a_px"]] *= height


_GRID = CLASSES.index("grid") + 1


def _height(film: Any, place: str) -> int:
    """Rows from the first to the last of a region."""
    rows = np.flatnonzero(np.diff(film.regions.packed(place)[1]))
    return int(rows[-1] - rows[0] + 1)


def _draw_textual(r: Textual, s: Slots) -> Drawn:
    stream, n = s.stream, s.count
    codes = stream.integers("textual.character", 0, len(CHARACTERS) - 1, n * _TEXT_STRIDE)
    codes = codes.reshape(n, _TEXT_STRIDE)[:, :MAX_CHARACTERS].astype(float)
    count = s.of(r.characters, "textual.characters")
    codes[np.arange(MAX_CHARACTERS) >= count[:, None]] = np.nan
    tilt, slant = s.words(r.tilt, "textual.tilt"), s.of(r.slant_deg, "textual.slant_deg")
    angle = np.select([tilt == "level", tilt == "slanted"], [0.0, slant], 90.0)
    shade = s.words(r.shade, "textual.shade")
    dark = s.of(r.dark_grey, "textual.dark_grey")
    bright = s.of(r.bright_grey, "textual.bright_grey")
    faint = s.of(r.opacity, "textual.opacity")
    return {
        "scale": s.of(r.scale, "textual.scale"),
        "stroke_px": s.of(r.stroke_px, "textual.stroke_px"),
        "angle_deg": np.where(s.chance(0.5, "textual.sign"), -angle, angle) + 0.0,  # no -0
        "grey": np.where(shade == "dark", dark, bright),
        "opacity": np.where(shade == "transparent", faint, 1.0),
        "characters": count,
        **{f"character{i}": codes[:, i] for i in range(MAX_CHARACTERS)},
    }


def _draw_circular(r: Circular, s: Slots) -> Drawn:
    return {
        "size_a_px": s.of(r.semi_axis_px, "circular.semi_axis_a_px"),
        "size_b_px": s.of(r.semi_axis_px, "circular.semi_axis_b_px"),
        "angle_deg": s.of(r.angle_deg, "circular.angle_deg"),
        "grey": s.of(r.grey, "circular.grey"),
    }


def _draw_ring(r: Ring, s: Slots) -> Drawn:
    return {
        "size_a_px": s.of(r.semi_axis_px, "ring.semi_axis_a_px"),
        "size_b_px": s.of(r.semi_axis_px, "ring.semi_axis_b_px"),
        "stroke_px": s.of(r.stroke_px, "ring.stroke_px"),
        "angle_deg": s.of(r.angle_deg, "ring.angle_deg"),
        "grey": s.of(r.grey, "ring.grey"),
    }


def _draw_rectangular(r: Rectangular, s: Slots) -> Drawn:
    return {
        "size_a_px": s.of(r.side_px, "rectangular.side_a_px"),
        "size_b_px": s.of(r.side_px, "rectangular.side_b_px"),
        "angle_deg": s.of(r.angle_deg, "rectangular.angle_deg"),
        "grey": s.of(r.grey, "rectangular.grey"),
        "opacity": s.of(r.opacity, "rectangular.opacity"),
    }


def _draw_clip(r: Clip, s: Slots) -> Drawn:
    return {
        "size_a_px": s.of(r.half_length_px, "clip.half_length_px"),
        "stroke_px": s.of(r.stroke_px, "clip.stroke_px"),
        "angle_deg": s.of(r.angle_deg, "clip.angle_deg"),
        "grey": s.of(r.grey, "clip.grey"),
    }


def _draw_grid(r: Grid, s: Slots) -> Drawn:
    return {
        "size_a_px": s.of(r.length_share, "grid.length_share"),  # in px once it has an anchor
        "size_b_px": s.of(r.width_px, "grid.width_px"),
        "stroke_px": s.of(r.stroke_px, "grid.stroke_px"),
        "cell_px": s.of(r.cell_px, "grid.cell_px"),
    }


def _draw_line(r: Line, s: Slots) -> Drawn:
    return {
        **_draw_curve("line", r, s),
        "stroke_px": s.of(r.stroke_px, "line.stroke_px"),
        "grey": s.of(r.grey, "line.grey"),
    }


def _draw_parallel(r: Parallel, s: Slots) -> Drawn:
    return {
        **_draw_curve("parallel", r, s),
        "size_a_px": s.of(r.half_width_px, "parallel.half_width_px"),
        "stroke_px": s.of(r.wall_px, "parallel.wall_px"),
        "grey": s.of(r.grey, "parallel.grey"),
        "fill_grey": s.of(r.fill_grey, "parallel.fill_grey"),
        "opacity": s.of(r.opacity, "parallel.opacity"),
    }


def _draw_curve(name: str, r: Line | Parallel, s: Slots) -> Drawn:
    """Where a curve starts, outside the film or on its border, and the bends on its way in."""
    side = _codes(s.words(r.side, f"{name}.side"), SIDES)
    along = s.stream.uniform(f"{name}.along", s.count) * s.size
    out = s.of(r.outside_px, f"{name}.outside_px")
    off = np.where(side % 2 == 0, -out, s.size + out)
    bends = r.bend_px.draws(s.stream, f"{name}.bend_px", 4 * s.count).reshape(s.count, 4)
    return {
        "start_y_px": np.where(side < 2, off, along),
        "start_x_px": np.where(side < 2, along, off),
        "bend1_y_px": bends[:, 0],
        "bend1_x_px": bends[:, 1],
        "bend2_y_px": bends[:, 2],
        "bend2_x_px": bends[:, 3],
    }


def _draw_cutout(r: Cutout, s: Slots) -> Drawn:
    warped = s.chance(r.elastic, "cutout.elastic")
    grown = warped & s.chance(r.morph, "cutout.morph")
    shrinks = s.chance(0.5, "cutout.sign")
    feathered = s.words(r.blend, "cutout.blend") == FEATHER
    amplitude = s.of(r.elastic_amplitude_px, "cutout.elastic_px")
    grow = s.of(r.morph_px, "cutout.morph_px")
    width = s.of(r.feather_px, "cutout.feather_px")
    return {
        "donor": s.stream.integers("cutout.donor", 0, s.donors - 1, s.count).astype(float),
        "scale": s.of(r.scale, "cutout.scale"),
        "flip": s.chance(r.flip, "cutout.flip").astype(float),
        "angle_deg": s.of(r.angle_deg, "cutout.angle_deg"),
        "brightness": s.of(r.brightness, "cutout.brightness"),
        "elastic_px": np.where(warped, amplitude, 0.0),
        "elastic_sigma_px": s.of(r.elastic_sigma_px, "cutout.elastic_sigma_px"),
        "grow_px": np.where(grown, np.where(shrinks, -grow, grow), 0.0),
        "feather_px": np.where(feathered, width, 0.0),
    }


_DRAW: dict[str, Callable[[Any, Slots], Drawn]] = {
    "textual": _draw_textual,
    "circular": _draw_circular,
    "ring": _draw_ring,
    "rectangular": _draw_rectangular,
    "clip": _draw_clip,
    "grid": _draw_grid,
    "line": _draw_line,
    "parallel": _draw_parallel,
    "cutout": _draw_cutout,
}
