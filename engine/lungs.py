"""Two lungs out of one mask, and the patient's frame that their shape gives.

The frame is a tilted pair of axes with the width of the thorax as its unit, so that whatever is
drawn in it moves, scales and tilts with the lungs. It is measured on a small grid: films need no
more, and every size of film costs the same.
"""

from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from voxelmill.engine.errors import SourceError

Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]

GRID = 128  # cells along the longer side of a film
SMALLEST = 32  # pixels along the shorter side of a mask
_SPECK = 0.02  # of the largest piece: smaller pieces are dropped
_PARTNER = 0.15  # of the largest piece: the second lung has at least this area
_STEEPEST_RAD = 0.25


@dataclass(frozen=True)
class Frame:
    """Where the thorax lies on the grid, and what its lungs look like there.

    x and y give each cell's place in widths of the thorax: x from the midline to the patient's
    left, y from the level of the lungs' tops downwards. The unit is `width` cells, the inner width
    of the rib cage; `height` is the level of the bases in the same unit. `tops` and `sides` are the
    lungs' highest and outermost places (right, left). `medial(level)` looks up the borders that
    face the midline, `lateral(level)` those that face the ribs: (right, left) x.
    """

    x: Grid
    y: Grid
    width: float
    height: float
    tops: tuple[float, float]
    sides: tuple[float, float]
    levels: NDArray[np.float64]
    medial_x: NDArray[np.float64]
    lateral_x: NDArray[np.float64]

    def medial(self, level: NDArray[np.floating] | float) -> list[NDArray[np.float64]]:
        """x of the medial borders of the right and the left lung at `level`."""
        return [np.interp(level, self.levels, border) for border in self.medial_x]

    def lateral(self, level: NDArray[np.floating] | float) -> list[NDArray[np.float64]]:
        """x of the lateral borders of the right and the left lung at `level`."""
        return [np.interp(level, self.levels, border) for border in self.lateral_x]


def split(mask: Mask) -> tuple[Mask, Mask]:
    """The patient's right and left lung: a partition of `mask` (y, x) without its specks.

    In a frontal film the right lung is on the image's left. Lungs that touch are parted where the
    mask is narrowest. Raises SourceError if the mask is empty or holds fewer than two lungs.
    """
    if mask.ndim != 2 or min(mask.shape) < SMALLEST:
        raise SourceError(
            f"a lung mask is (y, x) of at least {SMALLEST} pixels a side, not {mask.shape}"
        )
    if not mask.any():
        raise SourceError("the lung mask has no foreground: give one where lung is not 0")
    pieces, count = ndimage.label(mask)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    areas[0] = 0
    kept = areas >= _SPECK * areas.max()
    kept[0] = False
    lungs = kept[pieces]
    right_seed, left_seed = _seeds(coarse(lungs) >= 0.5)
    # Distance to the other lung less distance to this one, in cells: positive on the right.
    nearer = ndimage.distance_transform_edt(~left_seed) - ndimage.distance_transform_edt(
        ~right_seed
    )
    right = lungs & (fine(nearer.astype(np.float32), mask.shape) > 0)
    share = np.bincount(pieces.ravel(), right.ravel(), minlength=count + 1) / np.maximum(areas, 1)
    whole = np.where(share > 0.9, 1, np.where(share < 0.1, 0, -1))[pieces]  # of one side in whole
    right = lungs & ((whole == 1) | (right & (whole == -1)))
    return right, lungs & ~right


def _seeds(mask: Mask) -> tuple[Mask, Mask]:
    """A core of the right and of the left lung: the first two pieces side by side on erosion."""
    depth = ndimage.distance_transform_edt(mask)
    for eroded in np.arange(0, 0.7 * depth.max() + 1e-6):
        pieces, count = ndimage.label(depth > eroded)
        if count < 2:
            continue
        index = np.arange(1, count + 1)
        areas = ndimage.sum_labels(pieces > 0, pieces, index)
        order = np.argsort(-areas, kind="stable")
        places = np.array(ndimage.center_of_mass(pieces > 0, pieces, index))
        first = order[0]
        for other in order[1:]:
            dy, dx = np.abs(places[other] - places[first])
            if areas[other] >= _PARTNER * areas[first] and dx > dy:
                pair = sorted((first, other), key=lambda k: places[k, 1])
                return pieces == pair[0] + 1, pieces == pair[1] + 1
    raise SourceError(
        "the lung mask holds fewer than two lungs (pieces below "
        f"{_SPECK:.0%} of the largest are dropped): give one with both lungs, side by side"
    )


def measure(right: Mask, left: Mask) -> Frame:
    """The frame of two lungs, measured on the grid of `coarse`.

    Raises SourceError if they overlap in no row or are only a few grid cells wide.
    """
    lungs = coarse(right), coarse(left)
    rows = np.flatnonzero((lungs[0].max(1) >= 0.5) & (lungs[1].max(1) >= 0.5))
    if len(rows) < 8:
        raise SourceError(
            f"the two lungs share {len(rows)} of {len(lungs[0])} grid rows; at least 8 are needed: "
            "give an upright frontal film whose lungs fill more of it"
        )
    medial = np.stack([_edges(lungs[0][rows], last=True), _edges(lungs[1][rows], last=False)])
    lateral = np.stack([_edges(lungs[0][rows], last=False), _edges(lungs[1][rows], last=True)])
    tilt_rad, y0, x0 = _midline(rows + 0.5, 0.5 * (medial[0] + medial[1]))
    y, x = np.indices(lungs[0].shape, np.float32) + np.float32(0.5)
    u, v = _turn(y - y0, x - x0, tilt_rad)
    across = [_quantiles(u, lung) for lung in lungs]
    width = across[1][1] - across[0][0]
    tops = [_quantiles(v, lung)[0] for lung in lungs]
    bottoms = []
    for lung in lungs:
        columns = np.flatnonzero(lung.max(0) >= 0.5)
        ends = _edges(lung.T[columns], last=True)
        bottoms.append(np.median(_turn(ends - y0, columns + 0.5 - x0, tilt_rad)[1]))
    top, height = np.mean(tops), np.mean(bottoms) - np.mean(tops)
    borders = []
    levels = np.linspace(0.15, 0.85, 36) * height / width  # the apices and angles curve away
    for border in (*medial, *lateral):
        bu, bv = _turn(rows + 0.5 - y0, border - x0, tilt_rad)
        line = np.interp(levels, (bv - top) / width, bu / width)
        borders.append(ndimage.gaussian_filter1d(line, 2.5, mode="nearest"))
    return Frame(
        x=(u / width).astype(np.float32),
        y=((v - top) / width).astype(np.float32),
        width=float(width),
        height=float(height / width),
        tops=(float((tops[0] - top) / width), float((tops[1] - top) / width)),
        sides=(float(across[0][0] / width), float(across[1][1] / width)),
        levels=levels,
        medial_x=np.stack(borders[:2]),
        lateral_x=np.stack(borders[2:]),
    )


def bases(right: Mask, left: Mask) -> NDArray[np.float64]:
    """(column, 2): x and y in cells of the lungs' lower border, joined across the midline."""
    inner = np.concatenate([_base(coarse(lung)) for lung in (right, left)])
    x = np.arange(inner[:, 0].min(), inner[:, 0].max() + 0.5)
    order = np.argsort(inner[:, 0], kind="stable")
    y = np.interp(x, inner[order, 0], inner[order, 1])
    return np.stack([x, ndimage.gaussian_filter1d(y, 2.0, mode="nearest")], 1)


def _base(lung: Grid) -> NDArray[np.float64]:
    """(column, 2): x and y of one lung's lower border, without its climbs up either side."""
    columns = np.flatnonzero(lung.max(0) >= 0.5)
    y = _edges(lung.T[columns], last=True)
    middle = len(columns) // 2
    climbs = np.diff(ndimage.gaussian_filter1d(y, 0.7, mode="nearest"))
    before = np.flatnonzero(climbs[:middle] > 1.0)  # downwards, going right: the left side's climb
    after = np.flatnonzero(climbs[middle:] < -1.0)
    kept = slice(
        before[-1] + 1 if before.size else 0, middle + after[0] + 1 if after.size else None
    )
    return np.stack([columns[kept] + 0.5, y[kept]], 1)


def coarse(mask: Mask) -> Grid:
    """The share of each grid cell that `mask` covers; the longer side has GRID cells at most."""
    ny, nx = mask.shape
    scale = min(1.0, GRID / max(ny, nx))
    size = max(1, round(nx * scale)), max(1, round(ny * scale))
    image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)


def fine(level: Grid, shape: tuple[int, ...]) -> Grid:
    """A grid of `coarse` at `shape` (y, x) again, interpolated smoothly."""
    image = Image.fromarray(level)
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _edges(rows: Grid, last: bool) -> NDArray[np.float64]:
    """Where each row's coverage crosses one half for the last (or first) time, in cells."""
    if not last:
        return rows.shape[1] - _edges(rows[:, ::-1], last=True)
    n = rows.shape[1]
    inside = n - 1 - np.argmax(rows[:, ::-1] >= 0.5, axis=1)
    here = rows[np.arange(len(rows)), inside].astype(np.float64)
    after = np.where(inside + 1 < n, rows[np.arange(len(rows)), np.minimum(inside + 1, n - 1)], 0)
    return inside + 0.5 + (here - 0.5) / (here - after)


def _midline(y: NDArray[np.floating], x: NDArray[np.floating]) -> tuple[float, float, float]:
    """Tilt of the line halfway between the lungs and a point (y, x) on it, in cells.

    The line is fitted above the heart, and drawn towards upright as if by a sixth of the rows more.
    """
    n = len(y)
    used = slice(n // 8, max(n // 8 + 4, (2 * n) // 3))
    y, x = y[used], x[used]
    dy = y - y.mean()
    slope = (dy * (x - x.mean())).sum() / ((dy * dy).sum() * 7 / 6)
    tilt_rad = float(np.clip(np.arctan(slope), -_STEEPEST_RAD, _STEEPEST_RAD))
    return tilt_rad, float(y.mean()), float(x.mean())


def _turn(
    dy: NDArray[np.floating], dx: NDArray[np.floating], tilt_rad: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Across and along a midline that leans `tilt_rad` to the image's right on its way down."""
    c, s = cos(tilt_rad), sin(tilt_rad)
    return dx * c - dy * s, dx * s + dy * c


def _quantiles(values: Grid, weights: Grid) -> tuple[float, float]:
    """The places below which 0.5 % and 99.5 % of the weight lies."""
    inside = weights > 0
    order = np.argsort(values[inside], kind="stable")
    total = np.cumsum(weights[inside][order], dtype=np.float64)
    low, high = np.interp([0.005, 0.995], total / total[-1], values[inside][order])
    return float(low), float(high)
