"""Pull label maps through a warp: the label of the voxel that holds a place, never a mixture.

A warp is an affine and a displacement as in `places`, which says where each output voxel looks.
Images go through the same warp in `resample`.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import inlined, launch, loop, xp_of
from voxelmill.kernels.places import along_x, checked_warp, places_at
from voxelmill.kernels.tiles import on_host

ONE_TO_ONE = (1, 1, 1)
LINES = 16  # rows of the output that a CPU thread looks up at once


@inlined
def _nearest_at(n, z, y, x0, x1, out, places, found, flat, starts, shapes, which):
    """Parts x0..x1 of a row: the map's voxel that holds their place, row 0 outside the map."""
    half, zero = float32(0.5), float32(0)
    m = which[n]
    start, height, width = starts[m], int32(shapes[m, 1]), int32(shapes[m, 2])
    last_z, last_y, last_x = float32(shapes[m, 0]), float32(height), float32(width)
    n, z, y = uint64(n), uint64(z), uint64(y)
    for i in range(uint64(x1 - x0)):  # apart from the look-up, so that it becomes vectors
        pz, py, px = places[0, i] + half, places[1, i] + half, places[2, i] + half
        inside = (pz >= zero) & (py >= zero) & (px >= zero)
        inside = inside & (pz < last_z) & (py < last_y) & (px < last_x)
        voxel = (int32(pz) * height + int32(py)) * width + int32(px)
        found[i] = voxel if inside else int32(-1)
    for i in range(uint64(x1 - x0)):
        voxel = found[i]
        label = flat[uint64(start + voxel)] if voxel >= 0 else np.uint8(0)
        out[n, z, y, uint64(x0) + i] = label


@loop
def _labels_cpu(out, flat, starts, shapes, which, affine, along, fz, fy):
    samples, depth, height, width = out.shape
    lines = samples * depth * height
    for b in prange((lines + LINES - 1) // LINES):
        places, found = np.empty((3, width), np.float32), np.empty(width, np.int32)
        for r in range(b * LINES, min(b * LINES + LINES, lines)):
            n, z, y = r // (depth * height), r // height % depth, r % height
            places_at(n, z, y, 0, width, places, out.shape, affine, along, fz, fy)
            _nearest_at(n, z, y, 0, width, out, places, found, flat, starts, shapes, which)


@cuda.jit
def _labels_gpu(out, flat, starts, shapes, which, affine, along, fz, fy):
    i = cuda.grid(1)
    if i < out.size:
        _, depth, height, width = out.shape
        r, x = i // width, i % width
        n, z, y = r // (depth * height), r // height % depth, r % height
        places, found = cuda.local.array((3, 1), float32), cuda.local.array(1, int32)
        places_at(n, z, y, x, x + 1, places, out.shape, affine, along, fz, fy)
        _nearest_at(n, z, y, x, x + 1, out, places, found, flat, starts, shapes, which)


def pull_labels(
    flat: Any, starts: Any, shapes: Any, which: Any, affine: Any, displacement: Any,
    shape: tuple[int, int, int], fine: tuple[int, int, int] = ONE_TO_ONE,
) -> Any:  # fmt: skip
    """The labels that a warp shows, on a grid `fine` times finer than the output's.

    flat, starts, shapes: maps (z, y, x) of uint8 one after the other, map m in
    flat[starts[m]:starts[m + 1]]; starts (map + 1,) int64, shapes (map, 3) int32.
    which:        (sample,) int32, the map of each sample.
    affine:       (sample, 3, 4) float32, output voxel (z, y, x, 1) -> map voxel.
    displacement: (sample, 3, dz, dy, dx) float32 in output voxels, or None; its grid is that
    of `places`. It is added before the affine.
    shape:        (z, y, x) of the output; fine: parts of an output voxel along each axis.
    Returns (sample, z * fz, y * fy, x * fx) uint8 on the side of `flat`: the label of the map's
    voxel that holds the centre of each part, 0 outside the map. Labels are never mixed: what they
    mean is pooled afterwards, by `shares` or `contrast`.
    """
    _check_maps(flat, starts, shapes)
    shift = checked_warp(which, affine, displacement, shapes.shape[0])
    if len(shape) != 3 or len(fine) != 3 or min(*shape, *fine) < 1:
        raise ValueError(f"shape and fine are (z, y, x) of 1 or more each, not {shape}, {fine}")
    size = tuple(n * parts for n, parts in zip(shape, fine, strict=True))
    out = xp_of(flat).empty((which.shape[0], *size), np.uint8)
    along = along_x(affine, shift, size[2], fine[2])
    warp = (which, affine, along, *fine[:2])
    launch(_labels_cpu, _labels_gpu, out.size, out, flat, starts, shapes, *warp)
    return out


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
    if sizes.prod(1).max(initial=0) >= 2**31:
        raise ValueError(f"a map of {sizes.prod(1).max()} voxels: 2**31 - 1 can be addressed")
