"""Text as rings of vertices, for markers burnt into a film: outlines of the shipped font.

The font is DejaVu Sans Bold, cut down to Latin capitals, small letters, digits and signs; its
licence stands beside it in engine/data/font.
"""

from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.errors import SpecError

FONT = "DejaVuSans-Bold.ttf"
CHORDS = 8  # chords a curve of the font; the largest is about a quarter of an O

Ring = NDArray[np.float32]


def text_rings(text: str, height_px: float, weight_px: float = 0.0) -> list[Ring]:
    """The rings of a line of text around the origin: (n, 2) float32 (y, x) in pixels, y down.

    height_px: height of the capital letters. weight_px: emboldens by the union with a stroke of
    this width along the outlines. The middle of the ink's width and of the capitals' height is
    at (0, 0). Fill with the non-zero rule. A space has no ring.
    Raises SpecError for a character that the font lacks, and for a size that is not positive.
    """
    from voxelmill.kernels.outline import stroke

    if not height_px > 0 or not weight_px >= 0:
        raise SpecError(
            f"text needs height_px above 0 and weight_px from 0 up, not {height_px}, {weight_px}"
        )
    missing = sorted({c for c in text if c not in characters()})
    if missing:
        raise SpecError(f"{text!r}: the font has no {missing}; it has {''.join(characters())!r}")
    rings, advance = [], 0.0
    for character in text:
        outlines, step = _glyph(character)
        rings += [ring + np.array([0.0, advance]) for ring in outlines]
        advance += step
    if not rings:
        return []
    ink = np.concatenate(rings)[:, 1]
    scale = height_px / _cap_height()
    middle = np.array([-0.5 * _cap_height(), 0.5 * (ink.min() + ink.max())])
    filled = [((ring - middle) * scale).astype(np.float32) for ring in rings]
    if weight_px == 0:
        return filled
    edges = [edge for ring in filled for edge in stroke(ring, weight_px, closed=True)]
    return filled + edges


@cache
def _font() -> Any:
    from fontTools.ttLib import TTFont

    data = files("voxelmill.engine").joinpath("data", "font", FONT).read_bytes()
    return TTFont(BytesIO(data))


@cache
def characters() -> tuple[str, ...]:
    """What can be written, in order of code."""
    return tuple(chr(code) for code in sorted(_font().getBestCmap()))


@cache
def _cap_height() -> float:
    return float(_font()["glyf"]["H"].yMax)


@cache
def _glyph(character: str) -> tuple[tuple[NDArray[np.float64], ...], float]:
    """Rings (y, x) in font units, y down from the base line, and the advance.

    They are turned round, so that outer rings wind as those of `voxelmill.kernels.outline` do,
    and holes against.
    """
    from fontTools.pens.recordingPen import DecomposingRecordingPen

    glyphs, name = _font().getGlyphSet(), _font().getBestCmap()[ord(character)]
    pen = DecomposingRecordingPen(glyphs)
    glyphs[name].draw(pen)
    rings: list[list[tuple[float, float]]] = []  # (x, y), as fonts have it
    for command, points in pen.value:
        if command == "moveTo":
            rings.append([points[0]])
        elif command == "lineTo":
            rings[-1].append(points[0])
        elif command == "qCurveTo":
            _add_curves(rings[-1], points)
    turned = tuple(np.array(ring)[::-1, ::-1] * (-1.0, 1.0) for ring in rings)
    return turned, float(glyphs[name].width)


def _add_curves(ring: list[tuple[float, float]], points: tuple[Any, ...]) -> None:
    """Quadratic curves as chords: `points` are controls, ends between left out, and the end."""
    from fontTools.pens.basePen import decomposeQuadraticSegment

    for control, end in decomposeQuadraticSegment(points):
        start = ring[-1]
        for t in np.linspace(0, 1, CHORDS + 1)[1:].tolist():
            a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
            x, y = (a * start[k] + b * control[k] + c * end[k] for k in (0, 1))
            ring.append((x, y))
