"""The organs of the chest drawn in the frame of its lungs.

Each function gives a level: a smooth function of the place on the grid, positive inside the organ
and about the distance to its border, in widths of the thorax (inner rib cage, about 290 mm). So are
all lengths below; a level y is counted from the tops of the lungs down (`Frame`).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxelmill.engine.lungs import Frame, Grid

# Proportions, from textbook anatomy. Those marked tuned were moved to meet the two CTs.
CARINA = (0.14, 0.155)  # level of the carina: of the lungs' height, and of the width; tuned
FORK_RIGHT = 0.02  # how far the carina lies right of the midline; tuned
TRACHEA = 0.033  # half of 18-20 mm
BRONCHUS = 0.024
HEART_X = (-0.135, 0.31)  # right and left border: a cardiothoracic ratio of 0.45; tuned
HEART_LEAN = 0.45  # the long axis points down and to the patient's left
AORTA = 0.045  # half of 26 mm
KNOB = 0.062
VESSELS = (0.055, 0.115, 0.14)  # half widths at the inlet; right and left at the carina; tuned
CLAVICLE = 0.034  # half of the bone and of how much its place varies


def _carina(frame: Frame) -> float:
    return CARINA[0] * frame.height + CARINA[1]


def _centre(frame: Frame, level: float) -> float:
    """x halfway between the lungs at `level`."""
    return float(np.mean(frame.medial(level)))


def heart(frame: Frame) -> Grid:
    """A leaning ellipse (ventricles) and an upright one (right atrium) on the diaphragm.

    They are wider where the lungs are short, and where a lung's border makes room for them.
    """
    squat = (0.78 / max(frame.height, 0.3)) ** 0.25  # a high diaphragm lays the heart down
    centre = _centre(frame, 0.6 * frame.height)
    room = [float(np.mean(b)) for b in frame.medial(np.linspace(0.6, 0.8, 5) * frame.height)]
    right = min(centre + HEART_X[0] * squat, max(room[0], -0.2))
    left = max(centre + HEART_X[1] * squat, min(room[1], 0.42))
    top, bottom = _carina(frame) + 0.06, frame.height + 0.02
    top = min(top, bottom - 0.24)
    tall = bottom - top
    ventricles = _ellipse(frame, (top, bottom), (right + 0.02, left), HEART_LEAN)
    atrium = _ellipse(frame, (top + 0.15 * tall, bottom), (right, right + 0.3), 0.0)
    return ndimage.gaussian_filter(np.maximum(ventricles, atrium), 1.5)


def _ellipse(
    frame: Frame, rows: tuple[float, float], columns: tuple[float, float], lean: float
) -> Grid:
    """An ellipse that touches two levels y and two x; `lean` > 0 tips its top to the right lung."""
    half_y, half_x = (rows[1] - rows[0]) / 2, (columns[1] - columns[0]) / 2
    y = (frame.y - rows[0] - half_y) / half_y
    x = (frame.x - columns[0] - half_x) / half_x
    q = (x * x - 2 * lean * x * y + y * y) / (1 - lean**2)
    return np.asarray((1 - np.sqrt(q)) * min(half_x, half_y), np.float32)


def aorta(frame: Frame) -> Grid:
    """The knob of the arch above the left bronchus, and the descending part beside the spine."""
    carina, low = _carina(frame), 1.02 * frame.height
    start = carina - 0.06, _centre(frame, carina) + 0.075
    middle = 0.5 * (carina + low), _centre(frame, 0.5 * (carina + low)) + 0.07
    end = low, _centre(frame, low) + 0.03
    tube = np.maximum(_capsule(frame, start, middle), _capsule(frame, middle, end)) + AORTA
    return np.maximum(tube, _capsule(frame, start, start) + KNOB)


def trachea(frame: Frame) -> Grid:
    """The air column on the midline, pushed to the right by the arch, and its two bronchi."""
    carina = _carina(frame)
    top = -0.2, _centre(frame, 0.0)
    fork = carina, _centre(frame, carina) - FORK_RIGHT
    tube = _capsule(frame, top, fork) + TRACHEA
    right = _capsule(frame, fork, (fork[0] + 0.085, fork[1] - 0.075))
    left = _capsule(frame, fork, (fork[0] + 0.085, fork[1] + 0.125))
    return np.maximum(tube, np.maximum(right, left) + BRONCHUS)


def mediastinum(frame: Frame, *parts: Grid) -> Grid:
    """The space between the lungs from the thoracic inlet to the diaphragm, with what lies in it.

    It is never narrower than the great vessels, which the lungs' masks lap over.
    """
    right, left = frame.medial(frame.y)
    centre = 0.5 * (right + left)
    widens = _rise(frame.y / _carina(frame))
    right = np.minimum(right - 0.015, centre - VESSELS[0] - (VESSELS[1] - VESSELS[0]) * widens)
    left = np.maximum(left + 0.015, centre + VESSELS[0] + (VESSELS[2] - VESSELS[0]) * widens)
    narrows = 0.05 * _rise(frame.y / frame.height - 0.1)
    between = np.minimum(frame.x - right - narrows, left - narrows - frame.x)
    band = np.minimum(between, np.minimum(frame.y + 0.02, frame.height + 0.03 - frame.y))
    inside = np.minimum(np.max(parts, axis=0), frame.y + 0.02)  # the trachea goes on into the neck
    return ndimage.gaussian_filter(np.maximum(band, inside), 2.0)


def _rise(t: Grid) -> Grid:
    """From 0 at t <= 0 to 1 at t >= 1 without a kink."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def ribs(frame: Frame, lungs: Grid) -> Grid:
    """The lungs with the chest wall around them, and the lower ribs beside the upper abdomen."""
    inside = lungs >= 0.5
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    near = ndimage.gaussian_filter(distance, 1.5) / frame.width + 0.035
    down = round(0.1 * frame.width)
    lower = np.full_like(near, -1.0)
    lower[down:] = near[: len(near) - down]
    return np.maximum(near, lower - np.clip(0.25 - np.abs(frame.x), 0, 1))


def diaphragm(frame: Frame, border: NDArray[np.float64]) -> Grid:
    """A band under the lungs' bases, through the central tendon, down to both outer angles."""
    ny, nx = frame.x.shape
    half = 0.035 * frame.width
    columns = np.arange(nx) + 0.5
    line = np.interp(columns, border[:, 0], border[:, 1] + 0.4 * half)
    line = np.minimum(line, ny - 0.5 * half)  # lungs cut off by the film still have a diaphragm
    steep = np.sqrt(1 + ndimage.gaussian_filter1d(np.gradient(line), 1.5) ** 2)
    rows = np.arange(ny)[:, None] + 0.5
    band = half - np.abs(rows - line) / steep
    ends = np.minimum(columns - border[0, 0], border[-1, 0] - columns)
    level = np.minimum(band, ends + 0.5 * half) / frame.width
    return ndimage.gaussian_filter(level, 1.0)


def clavicles(frame: Frame) -> Grid:
    """Two gently bent bands from the top of the sternum over the apices to the shoulders."""
    parts = []
    for side, top, outer in zip((-1, 1), frame.tops, frame.sides, strict=True):
        inner = 0.165 + 0.5 * top, _centre(frame, 0.15) + side * 0.075
        bend = 0.07 + 0.7 * top, 0.5 * (inner[1] + outer)
        end = -0.005 + 0.7 * top, outer + side * 0.04
        parts += [_capsule(frame, inner, bend), _capsule(frame, bend, end)]
    return ndimage.gaussian_filter(np.max(parts, axis=0) + CLAVICLE, 1.2)


def body(frame: Frame) -> Grid:
    """Neck, shoulders and trunk as far as the film shows them."""
    right, left = frame.lateral(frame.y)
    trunk = np.minimum(frame.x - right, left - frame.x) + 0.11
    arms = 0.45 * (1 - _rise((frame.y - 0.05) / 0.7))  # what the shoulders and arms add outside
    out = np.abs(frame.x)
    slope = -0.24 + 0.3 * np.clip(out - 0.19, 0, 1) + 1.2 * np.clip(out - 0.62, 0, 1) ** 2
    body = np.minimum(trunk + arms, frame.y - slope)
    return ndimage.gaussian_filter(np.maximum(body, 0.21 - out - 0.3 * np.clip(frame.y, 0, 1)), 2.0)


def _capsule(frame: Frame, start: tuple[float, float], end: tuple[float, float]) -> Grid:
    """Minus the distance to the segment between two places (y, x)."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    y, x = frame.y - start[0], frame.x - start[1]
    along = np.clip((y * dy + x * dx) / max(dy * dy + dx * dx, 1e-12), 0, 1)
    return -np.hypot(y - along * dy, x - along * dx)
