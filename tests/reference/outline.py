"""kernels/outline.py once more: whether points lie in the shape, by its definition."""

from itertools import pairwise

import numpy as np


def in_ellipse(y, x, center_yx, semi_axes_yx, angle_rad):
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    dy, dx = y - center_yx[0], x - center_yx[1]
    along_y, along_x = c * dy - s * dx, s * dy + c * dx
    return (along_y / semi_axes_yx[0]) ** 2 + (along_x / semi_axes_yx[1]) ** 2 <= 1


def in_rectangle(y, x, center_yx, sides_yx, angle_rad):
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    dy, dx = y - center_yx[0], x - center_yx[1]
    along_y, along_x = c * dy - s * dx, s * dy + c * dx
    return (abs(along_y) <= sides_yx[0] / 2) & (abs(along_x) <= sides_yx[1] / 2)


def in_stroke(y, x, points, width_px, cap, closed):
    """In a segment's rectangle, in the sector between two of them, or in a cap's half disc."""
    half = width_px / 2
    kept = [
        np.asarray(p, float) for i, p in enumerate(points) if i == 0 or (p != points[i - 1]).any()
    ]
    if closed and len(kept) > 1 and (kept[0] != kept[-1]).any():
        kept.append(kept[0])
    if len(kept) == 1:
        return ((y - kept[0][0]) ** 2 + (x - kept[0][1]) ** 2 <= half**2) & (
            cap == "round" or closed
        )
    within = np.zeros(np.broadcast(y, x).shape, bool)
    steps = [b - a for a, b in pairwise(kept)]
    for a, step in zip(kept[:-1], steps, strict=True):
        length = np.hypot(*step)
        uy, ux = step / length
        along, across = (y - a[0]) * uy + (x - a[1]) * ux, (y - a[0]) * ux - (x - a[1]) * uy
        within |= (along >= 0) & (along <= length) & (abs(across) <= half)
    nothing = np.zeros(2)
    before = [steps[-1] if closed else nothing, *steps]
    after = [*steps, steps[0] if closed else nothing]
    for i, p in enumerate(kept):
        if cap == "butt" and not closed and i in (0, len(kept) - 1):
            continue
        dy, dx = y - p[0], x - p[1]
        past = dy * before[i][0] + dx * before[i][1] >= 0
        not_yet = dy * after[i][0] + dx * after[i][1] <= 0
        within |= past & not_yet & (dy**2 + dx**2 <= half**2)
    return within


def bezier(controls, count):
    """De Casteljau."""
    out = []
    for t in np.linspace(0, 1, count):
        points = np.asarray(controls, float)
        while len(points) > 1:
            points = (1 - t) * points[:-1] + t * points[1:]
        out.append(points[0])
    return np.array(out)


def catmull_rom(points, per_segment):
    """Barry and Goldman's pyramid with centripetal knots."""
    p = np.asarray(points, float)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    out = []
    for q in (p[i : i + 4] for i in range(len(p) - 3)):
        knots = np.append(0, np.cumsum(np.sqrt(np.hypot(*np.diff(q, axis=0).T))))
        for t in np.linspace(knots[1], knots[2], per_segment, endpoint=False):
            level = q
            for span in (1, 2, 3):
                a, b = knots[: 4 - span, None], knots[span:, None]
                if span == 3:
                    a, b = knots[1:2, None], knots[2:3, None]
                level = ((b - t) * level[:-1] + (t - a) * level[1:]) / (b - a)
            out.append(level[0])
    return np.array([*out, p[-2]])
