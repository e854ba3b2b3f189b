"""Outlines of primitives as rings of vertices (y, x) in pixels, for kernels/raster.py to fill.

Curves are broken into chords that stay within `DEVIATION_PX` of them. Host only: an outline is a
few hundred numbers. All rings wind in one sense, so that several in one shape are united by the
non-zero rule.
"""

from math import acos, atan2, ceil, cos, hypot, pi, sin, sqrt
from typing import Any

import numpy as np

from voxelmill.kernels.device import serial

DEVIATION_PX = 0.001


def ellipse(center_yx: Any, semi_axes_yx: Any, angle_rad: float) -> Any:
    """The ring of an ellipse, (n, 2) float32, with the ellipse's own area.

    semi_axes_yx: along its y and its x before it is turned by angle_rad about its centre, from
    the x towards the y axis. A ring shape (annulus) is two of them, even-odd.
    """
    semi_y, semi_x = (float(a) for a in semi_axes_yx)
    if not (semi_y > 0 and semi_x > 0):
        raise ValueError(f"semi-axes of an ellipse must be above 0, not {(semi_y, semi_x)}")
    n = max(8, ceil(2 * pi / _arc_step(max(semi_y, semi_x), 2 * DEVIATION_PX)))
    t = np.arange(n, 0, -1) * (2 * pi / n)
    grow = sqrt(2 * pi / n / sin(2 * pi / n))  # the polygon's area is n / 2 sin(2 pi / n)
    y, x = grow * semi_y * np.sin(t), grow * semi_x * np.cos(t)
    return _turned(y, x, center_yx, angle_rad)


def rectangle(center_yx: Any, sides_yx: Any, angle_rad: float) -> Any:
    """The ring of a rectangle, (4, 2) float32; sides and angle as in `ellipse`."""
    half_y, half_x = (0.5 * float(side) for side in sides_yx)
    if not (half_y > 0 and half_x > 0):
        raise ValueError(f"sides of a rectangle must be above 0, not {tuple(sides_yx)}")
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return _turned(half_y * corners[:, 0], half_x * corners[:, 1], center_yx, angle_rad)


def _turned(y: Any, x: Any, center_yx: Any, angle_rad: float) -> Any:
    c, s = cos(angle_rad), sin(angle_rad)
    turned = np.stack([center_yx[0] + c * y + s * x, center_yx[1] + c * x - s * y], 1)
    return turned.astype(np.float32)


def bezier(controls: Any, count: int) -> Any:
    """`count` points (y, x) float32 on the cubic Bezier curve of `controls` (4, 2), ends in."""
    controls = np.asarray(controls, np.float64)
    if controls.shape != (4, 2) or count < 2:
        raise ValueError(
            f"a cubic Bezier curve has (4, 2) controls and 2 points or more, "
            f"not {controls.shape} and {count}"
        )
    t = np.linspace(0, 1, count)[:, None]
    u = 1 - t
    weights = np.concatenate([u**3, 3 * u**2 * t, 3 * u * t**2, t**3], 1)
    return (weights[:, :, None] * controls).sum(1).astype(np.float32)  # BLAS would wake threads


def catmull_rom(points: Any, per_segment: int) -> Any:
    """A smooth line through `points` (n, 2), `per_segment` chords between two: float32 (y, x).

    Centripetal, so that it has no loops or cusps between points. Source: Yuksel, Schaefer,
    Keyser, "Parameterization and applications of Catmull-Rom curves", CAD 2011. The tangents at
    the ends are those of a line that goes on straight. Repeated points count once.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or per_segment < 1:
        raise ValueError(
            f"a Catmull-Rom line needs (n, 2) points, n from 2 up, and 1 chord a segment or more, "
            f"not {points.shape} and {per_segment}"
        )
    moved = np.append(True, (np.diff(points, axis=0) != 0).any(1))
    points = points[moved]
    if len(points) < 2:
        return points.astype(np.float32)
    p = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    knots = np.sqrt(np.hypot(*np.diff(p, axis=0).T))[:, None]  # centripetal: sqrt of the chord
    before, here, after = knots[:-2], knots[1:-1], knots[2:]
    p0, p1, p2, p3 = p[:-3], p[1:-2], p[2:-1], p[3:]
    leave = p2 - p1 + here * ((p1 - p0) / before - (p2 - p0) / (before + here))
    reach = p2 - p1 + here * ((p3 - p2) / after - (p3 - p1) / (here + after))
    t = (np.arange(per_segment) / per_segment)[:, None, None]
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * p1
        + (t**3 - 2 * t**2 + t) * leave
        + (3 * t**2 - 2 * t**3) * p2
        + (t**3 - t**2) * reach
    )
    return np.append(curve.transpose(1, 0, 2).reshape(-1, 2), points[-1:], 0).astype(np.float32)


def stroke(points: Any, width_px: float, cap: str = "round", closed: bool = False) -> list[Any]:
    """The rings of a line of `width_px` along `points` (n, 2), joined round: (m, 2) float32 each.

    Filled with the non-zero rule they are the union of the line's segments and round joins:
    where a line crosses itself nothing is added twice. cap: "round" or "butt", for the ends of
    an open line. closed: the last point is joined to the first. A single point is a disc with
    round caps; with butt caps it is nothing, and there is no ring.
    """
    points = np.ascontiguousarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 1:
        raise ValueError(f"a line is (n, 2) points (y, x), n from 1 up, not {points.shape}")
    if not width_px > 0:
        raise ValueError(f"the width of a line must be above 0 px, not {width_px}")
    if cap not in ("round", "butt"):
        raise ValueError(f"cap is 'round' or 'butt', not {cap!r}")
    half = 0.5 * float(width_px)
    points = _distinct(points, closed)
    if len(points) == 1:
        return [ellipse(points[0], (half, half), 0.0)] if cap == "round" or closed else []
    step = _arc_step(half, DEVIATION_PX)
    out = np.empty((2 * len(points) * (4 + ceil(pi / step)) + 8, 2), np.float32)
    middle, end = _stroke(out, points, half, step, cap == "round", closed)
    return [out[:middle].copy(), out[middle:end].copy()] if closed else [out[:end].copy()]


def _arc_step(radius: float, deviation: float) -> float:
    """The largest angle whose chord stays within `deviation` of a circle."""
    return 2 * acos(max(1 - deviation / radius, 0.0)) if radius > 0 else pi / 2


@serial
def _distinct(points, closed):
    """Points without those nearer than 1e-5 px to the one before; a closed line's end likewise."""
    kept = np.empty_like(points)
    count = 0
    for i in range(points.shape[0]):
        near = kept[count - 1] if count > 0 else points[0] + 1.0
        if hypot(points[i, 0] - near[0], points[i, 1] - near[1]) > 1e-5:
            kept[count] = points[i]
            count += 1
    while (
        closed
        and count > 1
        and hypot(kept[count - 1, 0] - kept[0, 0], kept[count - 1, 1] - kept[0, 1]) <= 1e-5
    ):
        count -= 1
    return kept[:count]


@serial
def _put(out, at, y, x):
    out[at, 0], out[at, 1] = y, x
    return at + 1


@serial
def _arc(out, at, y, x, ny, nx, sweep, step):
    """From (y, x) + n turn n by `sweep`, in equal chords of at most `step`; both ends are put."""
    chords = max(1, int(ceil(abs(sweep) / step)))
    for i in range(chords + 1):
        c, s = cos(sweep * i / chords), sin(sweep * i / chords)
        at = _put(out, at, y + c * ny + s * nx, x + c * nx - s * ny)
    return at


@serial
def _join(out, at, y, x, a, b, half, step, forth):
    """One side of the joint at (y, x) of segments a and b (dy, dx, length), where n = (dx, -dy).

    Outside of the turn: an arc, or one point where it is too short to tell. Inside: where the two
    offset lines meet, if that lies well within both segments, else back through the joint itself:
    then each segment is a whole rectangle, and winding is never of the other sign.
    """
    n_ay, n_ax, n_by, n_bx = half * a[1], -half * a[0], half * b[1], -half * b[0]
    sine, cosine = a[1] * b[0] - a[0] * b[1], a[0] * b[0] + a[1] * b[1]
    inside = sine > 0 or (sine == 0 and (cosine > 0 or not forth))  # a line that turns right back
    if inside:
        fits = half * sine <= 0.5 * min(a[2], b[2]) * (1 + cosine)  # half * tan of half the turn
    else:
        fits = half * (sqrt(2 / max(1 + cosine, 1e-12)) - 1) <= 0.5 * DEVIATION_PX
    if fits and cosine > -0.99:
        scale = 1 / (1 + cosine)
        return _put(out, at, y + scale * (n_ay + n_by), x + scale * (n_ax + n_bx))
    if not inside:
        return _arc(out, at, y, x, n_ay, n_ax, -abs(atan2(sine, cosine)), step)
    at = _put(out, at, y + n_ay, x + n_ax)
    at = _put(out, at, y, x)
    return _put(out, at, y + n_by, x + n_bx)


@serial
def _side(out, at, points, segments, half, step, forth, closed):
    """All joints of one side, along the line or back."""
    n = points.shape[0]
    for k in range(0 if closed else 1, n if closed else n - 1):
        i = k if forth else n - 1 - k
        before, after = segments[(i - 1) % n], segments[i]
        if forth:
            at = _join(out, at, points[i, 0], points[i, 1], before, after, half, step, forth)
        else:
            back_a = (-after[0], -after[1], after[2])
            back_b = (-before[0], -before[1], before[2])
            at = _join(out, at, points[i, 0], points[i, 1], back_a, back_b, half, step, forth)
    return at


@serial
def _end(out, at, y, x, dy, dx, half, step, round_cap):
    """The cap of a line that ends at (y, x) in the direction (dy, dx)."""
    if round_cap:
        return _arc(out, at, y, x, half * dx, -half * dy, -pi, step)
    at = _put(out, at, y + half * dx, x - half * dy)
    return _put(out, at, y - half * dx, x + half * dy)


@serial
def _stroke(out, points, half, step, round_cap, closed):
    """Fill `out`; returns where its first ring ends and where all end (equal for an open line)."""
    n = points.shape[0]
    segments = [(0.0, 0.0, 0.0) for _ in range(n)]
    for i in range(n):
        dy = points[(i + 1) % n, 0] - points[i, 0]
        dx = points[(i + 1) % n, 1] - points[i, 1]
        length = max(hypot(dy, dx), 1e-12)
        segments[i] = (dy / length, dx / length, length)
    at = _side(out, 0, points, segments, half, step, True, closed)
    if closed:
        return at, _side(out, at, points, segments, half, step, False, closed)
    dy, dx, _ = segments[n - 2]
    at = _end(out, at, points[n - 1, 0], points[n - 1, 1], dy, dx, half, step, round_cap)
    at = _side(out, at, points, segments, half, step, False, closed)
    dy, dx, _ = segments[0]
    at = _end(out, at, points[0, 0], points[0, 1], -dy, -dx, half, step, round_cap)
    return at, at
