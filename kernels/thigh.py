"""Cross-sections of thighs, painted tissue by tissue from distances in mm.

Each voxel is decided by how deep it lies under the fascia lata, under the periosteum of the femur
and inside its muscle. `of_shapes` computes these depths from outlines given as Fourier series and
from ellipses, one a muscle, whose nearest (in units of each ellipse) owns a place: a Voronoi-like
partition. `of_depths` reads them from arrays, made once from a map of real muscles. What is then
painted is the same body. A slice is an element of the first axis: slices of all samples in a row.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint8

from voxelmill.kernels.device import inlined, launch, loop, xp_of

# Rows of the label table `thigh`; the rows from FIRST_MUSCLE on are muscles.
BACKGROUND, SKIN, FAT, IMF, FASCIA, MUSCLE, CORTEX, MARROW, ARTERY, VEIN, NERVE = range(11)
FIRST_MUSCLE = 11

# Columns of `legs`, all in mm. A series of seven is a + sum over k of b_k cos kt + c_k sin kt; t is
# the angle from +x (patient left) towards +y (posterior).
CENTRE_Y, CENTRE_X, FEMUR_Y, FEMUR_X = range(4)
HULL, THICKNESS, FEMUR, SHELL = 4, 11, 18, 25  # fascia lata; fat over it; periosteum; cortex
SKIN_MM, FASCIA_MM, GAP_MM, INFILTRATION_MM, STREAK = range(32, 37)
REACH = 37  # no skin is farther from the centre (from the fascia, in `of_depths`): that is air
COLUMNS = 38
SERIES = 7
VESSELS = 4  # artery, vein, nerve, and a vein in the subcutaneous fat: y, x, radius, sheath
NOISE = 4  # channels: where fat infiltrates, streaks, and a shift of borders along y and x in mm
STEP_MM = 1 / 64  # of depths in int16
_FAR = 1e6
_ROUND_MM = 3.0  # over which two borders of a muscle round its corner
_ROUND_SHARE = 0.25 / _ROUND_MM


@inlined
def _series(legs, n, leg, first, c, s):
    """A series of seven and its slope, at the angle with cosine c and sine s."""
    c2, s2 = c * c - s * s, float32(2) * c * s
    c3, s3 = c * c2 - s * s2, s * c2 + c * s2
    b1, c1 = legs[n, leg, first + 1], legs[n, leg, first + 2]
    b2, d2 = legs[n, leg, first + 3], legs[n, leg, first + 4]
    b3, d3 = legs[n, leg, first + 5], legs[n, leg, first + 6]
    value = legs[n, leg, first] + b1 * c + c1 * s + b2 * c2 + d2 * s2 + b3 * c3 + d3 * s3
    slope = c1 * c - b1 * s
    slope += float32(2) * (d2 * c2 - b2 * s2) + float32(3) * (d3 * c3 - b3 * s3)
    return value, slope


@inlined
def _polar(dy, dx):
    """Radius, cosine and sine of an offset."""
    radius = sqrt(dy * dy + dx * dx)
    scale = float32(1) / (radius + float32(1e-6))
    return radius, dx * scale, dy * scale


@inlined
def _inside_mm(dy, dx, legs, n, leg, first):
    """Depth inside the outline `first`, to first order; negative outside."""
    radius, c, s = _polar(dy, dx)
    r, slope = _series(legs, n, leg, first, c, s)
    return (r - radius) * r / sqrt(r * r + slope * slope)


@inlined
def _outside(y, x, hull, other, legs, n, leg, vessels):
    """What is outside the fascia: air, skin, fat or a vein. hull, other: depth in it, in another.

    Two legs that touch keep a skin each: the place between them belongs to the nearer fascia.
    """
    _, c, s = _polar(y - legs[n, leg, CENTRE_Y], x - legs[n, leg, CENTRE_X])
    thickness, _ = _series(legs, n, leg, THICKNESS, c, s)
    under = min(thickness + hull, float32(0.5) * (hull - other))
    if under <= float32(0):
        return BACKGROUND
    if under < legs[n, leg, SKIN_MM]:
        return SKIN
    dy, dx = y - vessels[n, leg, 3, 0], x - vessels[n, leg, 3, 1]
    r = vessels[n, leg, 3, 2]
    return VEIN if dy * dy + dx * dx < r * r else FAT


@inlined
def _bone(y, x, femur, legs, n, leg):
    """Cortex or marrow at a depth under the periosteum."""
    _, c, s = _polar(y - legs[n, leg, FEMUR_Y], x - legs[n, leg, FEMUR_X])
    shell, _ = _series(legs, n, leg, SHELL, c, s)
    return CORTEX if femur <= shell else MARROW


@inlined
def _bundle(y, x, n, leg, vessels):
    """The vessel or nerve at a place, IMF in its sheath, or BACKGROUND for none."""
    found = BACKGROUND
    for v in range(3):
        dy, dx, r = y - vessels[n, leg, v, 0], x - vessels[n, leg, v, 1], vessels[n, leg, v, 2]
        square, sheath = dy * dy + dx * dx, r + vessels[n, leg, v, 3]
        if r > float32(0) and square < r * r:
            return ARTERY + v
        if r > float32(0) and square < sheath * sheath:
            found = IMF
    return found


@inlined
def _soft(row, depth, hull, spread, streak, legs, n, leg):
    """Fascia, muscle or the fat between and in muscles. depth: inside the muscle `row`."""
    if hull < legs[n, leg, FASCIA_MM]:
        return FASCIA
    more = max(spread, float32(0))
    gap = legs[n, leg, GAP_MM] + legs[n, leg, INFILTRATION_MM] * more
    if (row != MUSCLE and row < FIRST_MUSCLE) or depth < gap:
        return IMF
    if abs(streak) < legs[n, leg, STREAK] * more:
        return IMF
    return row


@inlined
def _noise_place(noise, iy, ix, rows, columns):
    """Node and weights (y, x) of the coarse plane at a voxel: bilinear, edges replicate."""
    gy, gx = noise.shape[2], noise.shape[3]
    fy = (float32(iy) + float32(0.5)) * (float32(gy) / float32(rows)) - float32(0.5)
    fx = (float32(ix) + float32(0.5)) * (float32(gx) / float32(columns)) - float32(0.5)
    fy = min(max(fy, float32(0)), float32(gy - 1))
    fx = min(max(fx, float32(0)), float32(gx - 1))
    y0, x0 = min(int64(fy), int64(gy - 2)), min(int64(fx), int64(gx - 2))
    return y0, x0, fy - float32(y0), fx - float32(x0)


@inlined
def _noise_at(noise, n, channel, place):
    """A coarse field at a place."""
    y0, x0, wy, wx = place
    one = float32(1)
    upper = (one - wx) * noise[n, channel, y0, x0] + wx * noise[n, channel, y0, x0 + 1]
    lower = (one - wx) * noise[n, channel, y0 + 1, x0] + wx * noise[n, channel, y0 + 1, x0 + 1]
    return (one - wy) * upper + wy * lower


@inlined
def _square(dy, dx, muscles, n, leg, m):
    """Squared radius of an offset in units of ellipse m."""
    ky, kx = dy - muscles[n, leg, m, 0], dx - muscles[n, leg, m, 1]
    cross = float32(2) * muscles[n, leg, m, 3] * ky * kx
    return muscles[n, leg, m, 2] * ky * ky + cross + muscles[n, leg, m, 4] * kx * kx


@inlined
def _ellipse(dy, dx, muscles, n, leg, m):
    """Radius of an offset in units of ellipse m, and its gradient along y and x."""
    ky, kx = dy - muscles[n, leg, m, 0], dx - muscles[n, leg, m, 1]
    gy = muscles[n, leg, m, 2] * ky + muscles[n, leg, m, 3] * kx
    gx = muscles[n, leg, m, 3] * ky + muscles[n, leg, m, 4] * kx
    q = sqrt(max(ky * gy + kx * gx, float32(1e-6)))
    return q, gy / q, gx / q


@inlined
def _border(q, gy, gx, q1, gy1, gx1):
    """Distance in mm to where two ellipses own alike, to first order."""
    hy, hx = gy - gy1, gx - gx1
    return (q - q1) / max(sqrt(hy * hy + hx * hx), float32(1e-3))


@inlined
def _rounded(a, b):
    """The lesser of two distances, less where they are alike: a corner becomes round."""
    h = max(float32(_ROUND_MM) - abs(a - b), float32(0))
    return min(a, b) - h * h * float32(_ROUND_SHARE)


@inlined
def _muscle(dy, dx, muscles, n, leg):
    """(row, depth in mm) of the muscle that owns an offset from the centre of a leg."""
    far = float32(_FAR)
    s1, s2, s3 = far, far, far
    first, second, third = -1, -1, -1
    for m in range(muscles.shape[2]):
        square = _square(dy, dx, muscles, n, leg, m)
        if muscles[n, leg, m, 2] <= float32(0) or square >= s3:  # not at this level, or not near
            continue
        if square < s1:
            s3, third, s2, second, s1, first = s2, second, s1, first, square, m
        elif square < s2:
            s3, third, s2, second = s2, second, square, m
        else:
            s3, third = square, m
    if second < 0:
        return (MUSCLE if first < 0 else FIRST_MUSCLE + first), far
    q1, gy1, gx1 = _ellipse(dy, dx, muscles, n, leg, first)
    q, gy, gx = _ellipse(dy, dx, muscles, n, leg, second)
    depth = _border(q, gy, gx, q1, gy1, gx1)
    if third >= 0:
        q, gy, gx = _ellipse(dy, dx, muscles, n, leg, third)
        depth = _rounded(depth, _border(q, gy, gx, q1, gy1, gx1))
    return FIRST_MUSCLE + first, depth


@inlined
def _own_leg(y, x, legs, n):
    """(the leg whose fascia is nearest, depth in it, depth in the other); -1 where all is air."""
    leg, hull, other = -1, float32(-_FAR), float32(-_FAR)
    for k in range(legs.shape[1]):
        dy, dx = y - legs[n, k, CENTRE_Y], x - legs[n, k, CENTRE_X]
        reach = legs[n, k, REACH]
        if dy * dy + dx * dx > reach * reach:
            continue
        inside = _inside_mm(dy, dx, legs, n, k, HULL)
        if inside > hull:
            leg, hull, other = k, inside, hull
        else:
            other = max(other, inside)
    return leg, hull, other


@inlined
def _shape_at(i, out, legs, muscles, vessels, noise, voxel_y, voxel_x):
    rows, columns = out.shape[1], out.shape[2]
    n, iy, ix = i // (rows * columns), i // columns % rows, i % columns
    y, x = float32(iy) * voxel_y, float32(ix) * voxel_x
    leg, hull, other = _own_leg(y, x, legs, n)
    if leg < 0:
        out[n, iy, ix] = uint8(BACKGROUND)
        return
    if hull <= float32(0):
        out[n, iy, ix] = uint8(_outside(y, x, hull, other, legs, n, leg, vessels))
        return
    femur = _inside_mm(y - legs[n, leg, FEMUR_Y], x - legs[n, leg, FEMUR_X], legs, n, leg, FEMUR)
    if femur > float32(0):
        out[n, iy, ix] = uint8(_bone(y, x, femur, legs, n, leg))
        return
    row = _bundle(y, x, n, leg, vessels)
    if row == BACKGROUND:
        place = _noise_place(noise, iy, ix, rows, columns)
        dy = y - legs[n, leg, CENTRE_Y] + _noise_at(noise, n, 2, place)
        dx = x - legs[n, leg, CENTRE_X] + _noise_at(noise, n, 3, place)
        row, depth = _muscle(dy, dx, muscles, n, leg)
        depth = _rounded(depth, hull - legs[n, leg, FASCIA_MM])
        spread, streak = _noise_at(noise, n, 0, place), _noise_at(noise, n, 1, place)
        row = _soft(row, depth, hull, spread, streak, legs, n, leg)
    out[n, iy, ix] = uint8(row)


@loop
def _shape_cpu(out, legs, muscles, vessels, noise, voxel_y, voxel_x):
    for i in prange(out.size):
        _shape_at(i, out, legs, muscles, vessels, noise, voxel_y, voxel_x)


@cuda.jit
def _shape_gpu(out, legs, muscles, vessels, noise, voxel_y, voxel_x):
    i = cuda.grid(1)
    if i < out.size:
        _shape_at(i, out, legs, muscles, vessels, noise, voxel_y, voxel_x)


@inlined
def _depth_at(i, out, muscle, depth, hull, femur, legs, vessels, noise, voxel_y, voxel_x):
    rows, columns = out.shape[1], out.shape[2]
    n, iy, ix = i // (rows * columns), i // columns % rows, i % columns
    y, x = float32(iy) * voxel_y, float32(ix) * voxel_x
    step = float32(STEP_MM)
    leg, under, other = -1, float32(-_FAR), float32(-_FAR)
    for k in range(legs.shape[1]):
        inside = float32(hull[n, k, iy, ix]) * step
        if inside < -legs[n, k, REACH]:
            continue
        if inside > under:
            leg, under, other = k, inside, under
        else:
            other = max(other, inside)
    bone = float32(femur[n, iy, ix]) * step
    if leg < 0:
        row = BACKGROUND
    elif under <= float32(0):
        row = _outside(y, x, under, other, legs, n, leg, vessels)
    elif bone > float32(0):
        row = _bone(y, x, bone, legs, n, leg)
    else:
        row = _bundle(y, x, n, leg, vessels)
        if row == BACKGROUND:
            place = _noise_place(noise, iy, ix, rows, columns)
            spread, streak = _noise_at(noise, n, 0, place), _noise_at(noise, n, 1, place)
            inside = float32(depth[n, iy, ix]) * step
            row = _soft(int64(muscle[n, iy, ix]), inside, under, spread, streak, legs, n, leg)
    out[n, iy, ix] = uint8(row)


@loop
def _depth_cpu(out, muscle, depth, hull, femur, legs, vessels, noise, voxel_y, voxel_x):
    for i in prange(out.size):
        _depth_at(i, out, muscle, depth, hull, femur, legs, vessels, noise, voxel_y, voxel_x)


@cuda.jit
def _depth_gpu(out, muscle, depth, hull, femur, legs, vessels, noise, voxel_y, voxel_x):
    i = cuda.grid(1)
    if i < out.size:
        _depth_at(i, out, muscle, depth, hull, femur, legs, vessels, noise, voxel_y, voxel_x)


def of_shapes(
    legs: Any, muscles: Any, vessels: Any, noise: Any, shape: tuple[int, int], voxel_mm: Any
) -> Any:
    """Thighs from outlines: (slice, y, x) uint8 rows of the table `thigh`.

    legs:     (slice, leg, COLUMNS) float32, places from the centre of voxel (0, 0); one leg or two.
    muscles:  (slice, leg, muscle, 5) float32: centre y, x from that of the leg, and the matrix yy,
              yx, xx of its ellipse in 1/mm^2 (yy 0: not there); row FIRST_MUSCLE + its number.
    vessels:  (slice, leg, VESSELS, 4) float32: y, x, radius (0: none), sheath of fat.
    noise:    (slice, NOISE, gy, gx) float32 spread over the plane, at least 2 x 2.
    shape:    (y, x); voxel_mm: (y, x).
    """
    _check(legs, vessels, noise, NOISE)
    out = xp_of(legs).empty((len(legs), *shape), np.uint8)
    y_mm, x_mm = np.float32(voxel_mm[0]), np.float32(voxel_mm[1])
    launch(_shape_cpu, _shape_gpu, out.size, out, legs, muscles, vessels, noise, y_mm, x_mm)
    return out


def of_depths(
    muscle: Any,
    depth: Any,
    hull: Any,
    femur: Any,
    legs: Any,
    vessels: Any,
    noise: Any,
    voxel_mm: Any,
) -> Any:
    """Thighs from depths: (slice, y, x) uint8 rows of the table `thigh`.

    muscle: (slice, y, x) uint8 row of the muscle that is there or nearest.
    depth, femur: (slice, y, x) int16 in STEP_MM: inside that muscle; under the periosteum.
    hull:   (slice, leg, y, x) int16 in STEP_MM: inside each fascia lata. Negative is outside.
    The rest as in `of_shapes`; HULL and FEMUR of `legs` are not used, nor channels 2 and 3.
    """
    _check(legs, vessels, noise, 2)
    if hull.shape != (len(legs), legs.shape[1], *muscle.shape[1:]):
        raise ValueError(f"hull is (slice, leg, y, x), not {hull.shape} for {muscle.shape}")
    out = xp_of(muscle).empty(muscle.shape, np.uint8)
    y_mm, x_mm = np.float32(voxel_mm[0]), np.float32(voxel_mm[1])
    args = (muscle, depth, hull, femur, legs, vessels, noise, y_mm, x_mm)
    launch(_depth_cpu, _depth_gpu, out.size, out, *args)
    return out


def _check(legs: Any, vessels: Any, noise: Any, channels: int) -> None:
    if legs.ndim != 3 or legs.shape[2] != COLUMNS or legs.dtype != np.float32:
        raise ValueError(f"legs is (slice, leg, {COLUMNS}) float32, not {legs.shape} {legs.dtype}")
    if vessels.shape != (*legs.shape[:2], VESSELS, 4):
        raise ValueError(f"vessels is (slice, leg, {VESSELS}, 4), not {vessels.shape}")
    if noise.ndim != 4 or len(noise) != len(legs) or min(noise.shape[1:]) < 2:
        raise ValueError(f"noise is (slice, channel, gy, gx) of 2 or more, not {noise.shape}")
    if noise.shape[1] < channels:
        raise ValueError(f"noise has {noise.shape[1]} channels; {channels} are needed")
