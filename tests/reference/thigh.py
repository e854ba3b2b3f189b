"""kernels/thigh.py once more in obvious NumPy, in double precision, a slice at a time."""

import numpy as np

from voxelmill.kernels.thigh import (
    ARTERY,
    BACKGROUND,
    CENTRE_X,
    CENTRE_Y,
    CORTEX,
    FASCIA,
    FASCIA_MM,
    FAT,
    FEMUR,
    FEMUR_X,
    FEMUR_Y,
    FIRST_MUSCLE,
    GAP_MM,
    HULL,
    IMF,
    INFILTRATION_MM,
    MARROW,
    MUSCLE,
    REACH,
    SHELL,
    SKIN,
    SKIN_MM,
    STREAK,
    THICKNESS,
    VEIN,
)

ROUND_MM = 3.0


def series(leg, first, angle):
    """A series of seven at angles, and its slope."""
    value, slope = np.full(angle.shape, leg[first]), np.zeros(angle.shape)
    for k in (1, 2, 3):
        a, b = leg[first + 2 * k - 1], leg[first + 2 * k]
        value = value + a * np.cos(k * angle) + b * np.sin(k * angle)
        slope += k * (b * np.cos(k * angle) - a * np.sin(k * angle))
    return value, slope


def inside_mm(leg, first, dy, dx):
    r, slope = series(leg, first, np.arctan2(dy, dx))
    return (r - np.hypot(dy, dx)) * r / np.hypot(r, slope)


def rounded(a, b):
    h = np.maximum(ROUND_MM - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h / (4 * ROUND_MM)


def plane(noise, shape):
    """A coarse plane at all voxels of a finer one, bilinear, edges replicated."""
    at = [
        np.clip((np.arange(n) + 0.5) * g / n - 0.5, 0, g - 1)
        for n, g in zip(shape, noise.shape, strict=True)
    ]
    rows = np.stack([np.interp(at[1], np.arange(noise.shape[1]), row) for row in noise])
    return np.stack([np.interp(at[0], np.arange(noise.shape[0]), c) for c in rows.T], 1)


def muscle_of(muscles, dy, dx):
    """(row, depth) where ellipses own by their own units."""
    alive = [m for m, ellipse in enumerate(muscles) if ellipse[2] > 0]
    q, gy, gx = [], [], []
    for m in alive:
        y, x, yy, yx, xx = muscles[m]
        ky, kx = dy - y, dx - x
        radius = np.sqrt(np.maximum(yy * ky**2 + 2 * yx * ky * kx + xx * kx**2, 1e-6))
        q.append(radius)
        gy.append((yy * ky + yx * kx) / radius)
        gx.append((yx * ky + xx * kx) / radius)
    if len(alive) < 2:
        return np.full(dy.shape, FIRST_MUSCLE + alive[0] if alive else MUSCLE), dy * 0 + 1e6
    order = np.argsort(q, 0, kind="stable")
    near = [[np.take_along_axis(np.array(v), order[k : k + 1], 0)[0] for v in (q, gy, gx)]
            for k in range(min(3, len(alive)))]  # fmt: skip
    borders = [
        (near[k][0] - near[0][0])
        / np.maximum(np.hypot(near[k][1] - near[0][1], near[k][2] - near[0][2]), 1e-3)
        for k in range(1, len(near))
    ]
    depth = borders[0] if len(borders) == 1 else rounded(*borders)
    return FIRST_MUSCLE + np.array(alive)[order[0]], depth


def layers(y, x, hulls, row, depth, femur, legs, vessels, noise):
    """The rows of one slice: for each leg what it would paint where it is the nearest."""
    out = np.zeros(y.shape, int)
    owner = np.argmax(hulls, 0)
    for k, leg in enumerate(legs):
        hull = hulls[k]
        other = np.max([h for j, h in enumerate(hulls) if j != k], 0) if len(hulls) > 1 else -1e6
        angle = np.arctan2(y - leg[CENTRE_Y], x - leg[CENTRE_X])
        under = np.minimum(series(leg, THICKNESS, angle)[0] + hull, (hull - other) / 2)
        outside = np.where(under < leg[SKIN_MM], SKIN, FAT)
        away = np.hypot(y - vessels[k, 3, 0], x - vessels[k, 3, 1])
        outside = np.where((outside == FAT) & (away < vessels[k, 3, 2]), VEIN, outside)
        outside = np.where(under <= 0, BACKGROUND, outside)
        more = np.maximum(noise[0], 0)
        soft = np.where(
            (row[k] < MUSCLE) | ((row[k] > MUSCLE) & (row[k] < FIRST_MUSCLE)), IMF, row[k]
        )
        soft = np.where(depth[k] < leg[GAP_MM] + leg[INFILTRATION_MM] * more, IMF, soft)
        soft = np.where(np.abs(noise[1]) < leg[STREAK] * more, IMF, soft)
        soft = np.where(hull < leg[FASCIA_MM], FASCIA, soft)
        for v in (2, 1, 0):
            away, r = np.hypot(y - vessels[k, v, 0], x - vessels[k, v, 1]), vessels[k, v, 2]
            if r > 0:
                soft = np.where((away < r + vessels[k, v, 3]) & ~_vessel(soft), IMF, soft)
        for v in (2, 1, 0):
            away, r = np.hypot(y - vessels[k, v, 0], x - vessels[k, v, 1]), vessels[k, v, 2]
            soft = np.where(away < r, ARTERY + v, soft)
        shell, _ = series(leg, SHELL, np.arctan2(y - leg[FEMUR_Y], x - leg[FEMUR_X]))
        bone = np.where(femur[k] <= shell, CORTEX, MARROW)
        inside = np.where(femur[k] > 0, bone, soft)
        out = np.where(owner == k, np.where(hull > 0, inside, outside), out)
    return out


def _vessel(rows):
    return (rows >= ARTERY) & (rows < FIRST_MUSCLE)


def of_shapes(legs, muscles, vessels, noise, shape, voxel_mm):
    y, x = (i * mm for i, mm in zip(np.indices(shape), voxel_mm, strict=True))
    out = []
    for n in range(len(legs)):
        fields = [plane(channel, shape) for channel in noise[n].astype(float)]
        hulls, rows, depths, femurs = [], [], [], []
        for leg, parts in zip(legs[n].astype(float), muscles[n].astype(float), strict=True):
            dy, dx = y - leg[CENTRE_Y], x - leg[CENTRE_X]
            far = np.hypot(dy, dx) > leg[REACH]
            hulls.append(np.where(far, -1e6, inside_mm(leg, HULL, dy, dx)))
            femurs.append(inside_mm(leg, FEMUR, y - leg[FEMUR_Y], x - leg[FEMUR_X]))
            row, depth = muscle_of(parts, dy + fields[2], dx + fields[3])
            rows.append(row)
            depths.append(rounded(depth, hulls[-1] - leg[FASCIA_MM]))
        tables = legs[n].astype(float), vessels[n].astype(float)
        out.append(layers(y, x, np.array(hulls), rows, depths, femurs, *tables, fields))
    return np.array(out, np.uint8)


def of_depths(muscle, depth, hull, femur, legs, vessels, noise, voxel_mm):
    shape = muscle.shape[1:]
    y, x = (i * mm for i, mm in zip(np.indices(shape), voxel_mm, strict=True))
    out = []
    for n in range(len(legs)):
        count = legs.shape[1]
        fields = [plane(channel, shape) for channel in noise[n].astype(float)]
        reach = legs[n, :, REACH, None, None]
        hulls = np.where(hull[n] / 64 < -reach, -1e6, hull[n] / 64)
        rows, depths = [muscle[n].astype(int)] * count, [depth[n] / 64] * count
        tables = legs[n].astype(float), vessels[n].astype(float)
        out.append(layers(y, x, hulls, rows, depths, [femur[n] / 64] * count, *tables, fields))
    return np.array(out, np.uint8)
