"""Pull label maps and images through an affine and a displacement: nearest, linear, cubic.

The centre of voxel (z, y, x) stands at the integers (z, y, x), as in NIfTI (the rasters of 2-D
shapes count from a pixel's corner instead). An output voxel p shows the place
affine @ (p + d(p), 1) of the map. The displacement d is held on a coarse grid that spans the
output's volume from face to face: its node k stands at output voxel (k + 0.5) * count / nodes - 0.5
of an axis; between nodes it is trilinear, beyond the outer ones it stays the same.
"""

from math import floor
from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.tiles import on_host

ONE_TO_ONE = (1, 1, 1)


@inlined
def _between(i, count, nodes):
    """The nodes below and above element i of `count`, and the share of the upper one."""
    at = (float32(i) + float32(0.5)) * (float32(nodes) / float32(count)) - float32(0.5)
    inside = min(max(at, float32(0)), float32(nodes - 1))
    low = int64(inside)
    return uint64(low), uint64(min(low + 1, nodes - 1)), inside - float32(low)


@inlined
def _node(shift, n, component, a, b, tz, c, d, ty, k):
    """A component of the displacement in column k of nodes, between rows a, b and c, d."""
    near, far = shift[n, component, a, c, k], shift[n, component, b, c, k]
    near += (shift[n, component, a, d, k] - near) * ty
    far += (shift[n, component, b, d, k] - far) * ty
    return near + (far - near) * tz


@inlined
def _turned(affine, n, row, z, y, x):
    return affine[n, row, 0] * z + affine[n, row, 1] * y + affine[n, row, 2] * x


@body
def _places_at(n, z, y, x0, x1, places, shape, affine, shift, fz, fy, fx):
    """Fill places (3, x1 - x0) with what voxels x0..x1 of a row of the fine grid show."""
    half, zero = float32(0.5), float32(0)
    n = uint64(n)
    a, b, tz = _between(z, shape[1], shift.shape[2])
    c, d, ty = _between(y, shape[2], shift.shape[3])
    pz = (float32(z) + half) * (float32(1) / float32(fz)) - half
    py = (float32(y) + half) * (float32(1) / float32(fy)) - half
    z_row = _turned(affine, n, 0, pz, py, zero) + affine[n, 0, 3]
    y_row = _turned(affine, n, 1, pz, py, zero) + affine[n, 1, 3]
    x_row = _turned(affine, n, 2, pz, py, zero) + affine[n, 2, 3]
    by_z, by_y, by_x = affine[n, 0, 2], affine[n, 1, 2], affine[n, 2, 2]
    step, cell = float32(1) / float32(fx), uint64(shift.shape[4])
    z_low, y_low, x_low, z_up, y_up, x_up = zero, zero, zero, zero, zero, zero
    for i in range(uint64(x1 - x0)):
        x = uint64(x0) + i
        e, f, t = _between(x, shape[3], shift.shape[4])
        if e != cell:  # a column of nodes further: `t` runs from its displacement to the next one's
            cell = e
            u = _node(shift, n, 0, a, b, tz, c, d, ty, e)
            v = _node(shift, n, 1, a, b, tz, c, d, ty, e)
            w = _node(shift, n, 2, a, b, tz, c, d, ty, e)
            z_low, y_low = _turned(affine, n, 0, u, v, w), _turned(affine, n, 1, u, v, w)
            x_low = _turned(affine, n, 2, u, v, w)
            u = _node(shift, n, 0, a, b, tz, c, d, ty, f) - u
            v = _node(shift, n, 1, a, b, tz, c, d, ty, f) - v
            w = _node(shift, n, 2, a, b, tz, c, d, ty, f) - w
            z_up, y_up = _turned(affine, n, 0, u, v, w), _turned(affine, n, 1, u, v, w)
            x_up = _turned(affine, n, 2, u, v, w)
        px = (float32(x) + half) * step - half
        places[0, i] = z_row + by_z * px + (z_low + z_up * t)
        places[1, i] = y_row + by_y * px + (y_low + y_up * t)
        places[2, i] = x_row + by_x * px + (x_low + x_up * t)


@body
def _nearest_at(n, z, y, x0, x1, out, places, flat, starts, shapes, which):
    """Voxels x0..x1 of a row: the map's voxel that holds their place, row 0 outside the map."""
    half, zero = float32(0.5), float32(0)
    m = which[n]
    start, height, width = starts[m], int64(shapes[m, 1]), int64(shapes[m, 2])
    last_z, last_y, last_x = float32(shapes[m, 0]), float32(height), float32(width)
    n, z, y = uint64(n), uint64(z), uint64(y)
    for i in range(uint64(x1 - x0)):
        pz, py, px = places[0, i] + half, places[1, i] + half, places[2, i] + half
        label = np.uint8(0)
        if zero <= pz < last_z and zero <= py < last_y and zero <= px < last_x:
            label = flat[uint64(start + (int64(pz) * height + int64(py)) * width + int64(px))]
        out[n, z, y, uint64(x0) + i] = label


@loop
def _labels_cpu(out, flat, starts, shapes, which, affine, shift, fz, fy, fx):
    samples, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        places = np.empty((3, width), np.float32)
        _places_at(n, z, y, 0, width, places, out.shape, affine, shift, fz, fy, fx)
        _nearest_at(n, z, y, 0, width, out, places, flat, starts, shapes, which)


@cuda.jit
def _labels_gpu(out, flat, starts, shapes, which, affine, shift, fz, fy, fx):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height, width = out.shape
        r, x = i // width, i % width
        n, z, y = r // (depth * height), r // height % depth, r % height
        places = cuda.local.array((3, 1), float32)
        _places_at(n, z, y, x, x + 1, places, out.shape, affine, shift, fz, fy, fx)
        _nearest_at(n, z, y, x, x + 1, out, places, flat, starts, shapes, which)


def pull_labels(
    flat: Any, starts: Any, shapes: Any, which: Any, affine: Any, displacement: Any,
    shape: tuple[int, int, int], fine: tuple[int, int, int] = ONE_TO_ONE,
) -> Any:  # fmt: skip
    """The labels that a warp shows, on a grid `fine` times finer than the output's.

    flat, starts, shapes: maps (z, y, x) of uint8 one after the other, map m in
    flat[starts[m]:starts[m + 1]]; starts (map + 1,) int64, shapes (map, 3) int32.
    which:        (sample,) int32, the map of each sample.
    affine:       (sample, 3, 4) float32, output voxel (z, y, x, 1) -> map voxel.
    displacement: (sample, 3, dz, dy, dx) float32 in output voxels, or None; its grid is the
    module's. It is added before the affine.
    shape:        (z, y, x) of the output; fine: parts of an output voxel along each axis.
    Returns (sample, z * fz, y * fy, x * fx) uint8 on the side of `flat`: the label of the map's
    voxel that holds the centre of each part, 0 outside the map. Labels are never mixed: what they
    mean is pooled afterwards, by `shares` or `contrast`.
    """
    _check_maps(flat, starts, shapes)
    shift = _checked(which, affine, displacement, shapes.shape[0])
    if len(shape) != 3 or len(fine) != 3 or min(*shape, *fine) < 1:
        raise ValueError(f"shape and fine are (z, y, x) of 1 or more each, not {shape}, {fine}")
    size = tuple(n * parts for n, parts in zip(shape, fine, strict=True))
    out = xp_of(flat).empty((which.shape[0], *size), np.uint8)
    warp = (which, affine, shift, *fine)
    launch(_labels_cpu, _labels_gpu, out.size, out, flat, starts, shapes, *warp)
    return out


@body
def _linear_at(n, z, y, x0, x1, out, places, images, which):
    """Voxels x0..x1 of a row, trilinear; the image is zero outside."""
    m = uint64(which[n])
    _, depth, height, width = images.shape
    for i in range(uint64(x1 - x0)):
        pz, py, px = places[0, i], places[1, i], places[2, i]
        total = images.dtype.type(0)
        if (
            float32(-1) < pz < float32(depth)
            and float32(-1) < py < float32(height)
            and float32(-1) < px < float32(width)
        ):
            cz, cy, cx = int64(floor(pz)), int64(floor(py)), int64(floor(px))
            tz, ty, tx = pz - float32(cz), py - float32(cy), px - float32(cx)
            for corner in range(8):
                kz, ky, kx = cz + (corner >> 2), cy + (corner >> 1 & 1), cx + (corner & 1)
                if 0 <= kz < depth and 0 <= ky < height and 0 <= kx < width:
                    weight = tz if corner & 4 else float32(1) - tz
                    weight *= ty if corner & 2 else float32(1) - ty
                    weight *= tx if corner & 1 else float32(1) - tx
                    total += weight * images[m, uint64(kz), uint64(ky), uint64(kx)]
        out[n, z, y, uint64(x0) + i] = total


@inlined
def _keys_weights(t):
    """Keys' cubic convolution with a = -1/2 at t in [0, 1) between the middle two of four."""
    half, one, two, three = float32(0.5), float32(1), float32(2), float32(3)
    four, five = float32(4), float32(5)
    return (
        half * t * (t * (two - t) - one),
        half * (t * t * (three * t - five) + two),
        half * t * (t * (four - three * t) + one),
        half * t * t * (t - one),
    )


@body
def _cubic_at(n, z, y, x0, x1, out, places, images, which):
    """Voxels x0..x1 of a row by cubic convolution; the image is zero outside."""
    m = uint64(which[n])
    _, depth, height, width = images.shape
    for i in range(uint64(x1 - x0)):
        pz, py, px = places[0, i], places[1, i], places[2, i]
        total = images.dtype.type(0)
        if (
            float32(-2) < pz < float32(depth + 1)
            and float32(-2) < py < float32(height + 1)
            and float32(-2) < px < float32(width + 1)
        ):
            cz, cy, cx = int64(floor(pz)), int64(floor(py)), int64(floor(px))
            by_z = _keys_weights(pz - float32(cz))
            by_y = _keys_weights(py - float32(cy))
            by_x = _keys_weights(px - float32(cx))
            for iz in range(max(0, 1 - cz), min(4, depth + 1 - cz)):
                plane = images.dtype.type(0)
                for iy in range(max(0, 1 - cy), min(4, height + 1 - cy)):
                    row = images.dtype.type(0)
                    for ix in range(max(0, 1 - cx), min(4, width + 1 - cx)):
                        kz, ky, kx = cz + iz - 1, cy + iy - 1, cx + ix - 1
                        row += by_x[ix] * images[m, uint64(kz), uint64(ky), uint64(kx)]
                    plane += by_y[iy] * row
                total += by_z[iz] * plane
        out[n, z, y, uint64(x0) + i] = total


@loop
def _pull_cpu(out, images, which, affine, shift, cubic):
    samples, depth, height, width = out.shape
    for r in prange(samples * depth * height):
        n, z, y = r // (depth * height), r // height % depth, r % height
        places = np.empty((3, width), np.float32)
        _places_at(n, z, y, 0, width, places, out.shape, affine, shift, 1, 1, 1)
        if cubic:
            _cubic_at(n, z, y, 0, width, out, places, images, which)
        else:
            _linear_at(n, z, y, 0, width, out, places, images, which)


@cuda.jit
def _pull_gpu(out, images, which, affine, shift, cubic):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height, width = out.shape
        r, x = i // width, i % width
        n, z, y = r // (depth * height), r // height % depth, r % height
        places = cuda.local.array((3, 1), float32)
        _places_at(n, z, y, x, x + 1, places, out.shape, affine, shift, 1, 1, 1)
        if cubic:
            _cubic_at(n, z, y, x, x + 1, out, places, images, which)
        else:
            _linear_at(n, z, y, x, x + 1, out, places, images, which)


def pull(
    images: Any, which: Any, affine: Any, displacement: Any, shape: tuple[int, int, int],
    cubic: bool = False,
) -> Any:  # fmt: skip
    """The images that a warp shows: trilinear, or by cubic convolution; zero outside.

    images: (image, z, y, x) float32 or complex64; which: (sample,) int32, each sample's image.
    affine, displacement, shape: as in `pull_labels`.
    Returns (sample, z, y, x) of the images' dtype, on their side. Cubic is Keys' convolution with
    a = -1/2 (IEEE Trans. ASSP 1981): it passes through the voxels, keeps quadratics and edges, and
    may overshoot by a few per cent of an edge's height.
    """
    if images.ndim != 4 or images.dtype not in (np.float32, np.complex64):
        raise ValueError(
            f"images are (image, z, y, x) float32 or complex64, not {images.shape} {images.dtype}"
        )
    shift = _checked(which, affine, displacement, images.shape[0])
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"an output has a shape (z, y, x) of 1 or more each, not {shape}")
    out = xp_of(images).empty((which.shape[0], *shape), images.dtype)
    launch(_pull_cpu, _pull_gpu, out.size, out, images, which, affine, shift, bool(cubic))
    return out


def centred(
    shape: Any, voxel_mm: Any, map_shape: Any, map_voxel_mm: Any, turn: Any = None, move_mm: Any = 0
) -> Any:
    """The affine, (3, 4) float32, that shows a map around its centre in the middle of the output.

    shape, voxel_mm: of the output, (z, y, x); map_shape, map_voxel_mm: of the map.
    turn: (3, 3), from output mm to map mm about the centres (rotation, zoom, shear; a flip is a
    negative column), or None; move_mm: (z, y, x) added to it in map mm.
    """
    middle, map_middle = (np.subtract(s, 1) / 2 for s in (shape, map_shape))
    linear = np.eye(3) if turn is None else np.asarray(turn, np.float64)
    linear = linear * np.asarray(voxel_mm) / np.reshape(map_voxel_mm, (3, 1))
    offset = map_middle + np.divide(move_mm, map_voxel_mm) - linear @ middle
    return np.column_stack([linear, offset]).astype(np.float32)


def _check_maps(flat: Any, starts: Any, shapes: Any) -> None:
    maps = shapes.shape[0]
    if flat.ndim != 1 or flat.dtype != np.uint8:
        raise ValueError(f"maps are one flat uint8 buffer, not {flat.shape} {flat.dtype}")
    if shapes.shape != (maps, 3) or starts.shape != (maps + 1,) or starts.dtype != np.int64:
        raise ValueError(
            f"shapes are (map, 3) and starts (map + 1,) int64, not {shapes.shape} and "
            f"{starts.shape} {starts.dtype}"
        )
    ends, sizes = on_host(starts), on_host(shapes).astype(np.int64)
    if ends[0] != 0 or ends[-1] > flat.size or (np.diff(ends) != sizes.prod(1)).any():
        raise ValueError(
            f"maps of {sizes.tolist()} voxels do not fit starts {ends.tolist()} in a buffer of "
            f"{flat.size}: they must agree map by map"
        )


def _checked(which: Any, affine: Any, displacement: Any, count: int) -> Any:
    """The displacement, of zeros for None, after all that can be told about a warp."""
    samples, chosen, turns = which.shape[0], on_host(which), on_host(affine)
    if samples and not 0 <= chosen.min() <= chosen.max() < count:
        raise ValueError(f"which {chosen.min()}..{chosen.max()} is not in [0, {count})")
    if affine.shape != (samples, 3, 4) or affine.dtype != np.float32:
        raise ValueError(
            f"affine is ({samples}, 3, 4) float32, one for each of which, not {affine.shape} "
            f"{affine.dtype}"
        )
    if not np.isfinite(turns).all():
        raise ValueError(f"an affine must be finite, not {turns[~np.isfinite(turns).all((1, 2))]}")
    if displacement is None:
        return xp_of(affine).zeros((samples, 3, 1, 1, 1), np.float32)
    if (
        displacement.ndim != 5
        or displacement.shape[:2] != (samples, 3)
        or displacement.dtype != np.float32
        or min(displacement.shape[2:]) < 1
    ):
        raise ValueError(
            f"displacement is ({samples}, 3, dz, dy, dx) float32, not {displacement.shape} "
            f"{displacement.dtype}"
        )
    return displacement
