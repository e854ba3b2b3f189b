"""Legs in a plane of labelled muscles: which is which, and the smooth outline around each."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from voxelmill.engine.label_table import Rows

SMOOTH_MM = 0.8  # by which the steps of a map are smoothed, each label apart
MARGIN_MM = 70.0  # kept around the fascia; fat is never thicker than leaves 2 mm of it
BESIDE = 1.35  # labels wider than this times their depth are two legs side by side
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


def finer(rows: Rows, voxel_mm: tuple[float, float, float], plane_mm: float) -> Rows:
    """The map at `plane_mm` with MARGIN_MM around it; labels are smoothed apart, the most wins."""
    sigma = [0.0, *(SMOOTH_MM / mm for mm in voxel_mm[1:])]
    sizes = [
        int(np.ceil((n * mm + 2 * MARGIN_MM) / plane_mm))
        for n, mm in zip(rows.shape[1:], voxel_mm[1:], strict=True)
    ]
    axes = [
        ((np.arange(size) - (size - 1) / 2) * plane_mm / mm + (n - 1) / 2)
        for size, n, mm in zip(sizes, rows.shape[1:], voxel_mm[1:], strict=True)
    ]
    out = np.zeros((len(rows), *sizes), np.uint8)
    most = np.full(out.shape, 0.5, np.float32)  # of any label against background
    for row in np.flatnonzero(np.bincount(rows.ravel(), minlength=256)[1:]) + 1:
        soft = ndimage.gaussian_filter((rows == row).astype(np.float32), sigma)
        for z, plane in enumerate(soft):
            if plane.any():
                value = bilinear(plane, *axes)
                more = value > np.where(out[z] > 0, most[z], 0.4)
                most[z][more], out[z][more] = value[more], row
    return out


def bilinear(plane: Floats, y: NDArray[np.float64], x: NDArray[np.float64]) -> Floats:
    """A plane at all places y by x; zero outside."""
    padded = np.pad(plane, 1)
    low_y, low_x = (
        np.clip(np.floor(v).astype(int) + 1, 0, n)
        for v, n in ((y, len(plane)), (x, plane.shape[1]))
    )
    wy = np.clip(y + 1 - low_y, 0, 1).astype(np.float32)[:, None]
    wx = np.clip(x + 1 - low_x, 0, 1).astype(np.float32)
    along = padded[low_y] * (1 - wy) + padded[low_y + 1] * wy
    return np.asarray(along[:, low_x] * (1 - wx) + along[:, low_x + 1] * wx, np.float32)


def part_legs(labelled: Mask, voxel_mm: tuple[float, float, float]) -> list[Mask]:
    """Masks that part the plane between the legs, the right one (lesser x) first; or one."""
    profile = np.flatnonzero(labelled.any((0, 1)))
    low, high = int(profile[0]), int(profile[-1])
    if (high - low) * voxel_mm[2] < BESIDE * float(
        np.ptp(np.flatnonzero(labelled.any((0, 2))))
    ) * voxel_mm[1]:
        return [np.ones_like(labelled)]
    parts = [np.zeros_like(labelled), np.zeros_like(labelled)]
    columns = labelled.sum(1).astype(float)  # (z, x)
    x = np.arange(labelled.shape[2])
    middle = 0.5 * (low + high)
    right = [float((c * x)[x < middle].sum() / max(c[x < middle].sum(), 1)) for c in columns]
    left = [float((c * x)[x >= middle].sum() / max(c[x >= middle].sum(), 1)) for c in columns]
    for z, c in enumerate(ndimage.gaussian_filter1d(columns, 2, 1)):
        a, b = int(right[z] or low), int(left[z] or high)
        a, b = (a, b) if b > a + 2 else (low, high)
        inner = slice(a + (b - a) // 4, b - (b - a) // 4)  # the emptiest column between
        cut = inner.start + int(np.mean(np.flatnonzero(c[inner] == c[inner].min())))
        parts[0][z, :, :cut], parts[1][z, :, cut:] = True, True
    return parts


def signed_mm(mask: Mask, plane_mm: float, most_mm: float = 1e3) -> Floats:
    """Depth in mm inside a mask of a plane, negative outside; to the edges of voxels.

    What is outside by more than `most_mm` may be told as -most_mm: a small one saves time.
    """
    out = np.full(mask.shape, -most_mm, np.float32)
    if mask.any():
        near = box_of(mask, int(np.ceil(min(most_mm / plane_mm, max(mask.shape)))) + 2)
        there = mask[near]
        within = box_of(there, 1)
        depth = 0.5 - ndimage.distance_transform_edt(~there)
        inside = ndimage.distance_transform_edt(there[within]) - 0.5
        depth[within] = np.where(there[within], inside, depth[within])
        out[near] = np.maximum(depth * plane_mm, -most_mm)
    return out


def box_of(mask: Mask, margin: int) -> tuple[slice, ...]:
    """The box of a mask that is not empty, with a margin as far as there is room."""
    slices = []
    for axis, n in enumerate(mask.shape):
        there = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        slices.append(slice(max(0, int(there[0]) - margin), min(n, int(there[-1]) + margin + 1)))
    return tuple(slices)


def _closed(mask: Mask, by_mm: float, plane_mm: float) -> Mask:
    """A plane's mask with its hollows filled, then smoothed; its largest part."""
    margin = round(by_mm / plane_mm) + 2
    wide = signed_mm(np.pad(mask, margin), plane_mm) > -by_mm
    closed = ndimage.binary_fill_holes(signed_mm(wide, plane_mm) > by_mm)
    smooth = ndimage.gaussian_filter(np.asarray(closed, np.float32), by_mm / 6 / plane_mm) > 0.5
    label, count = ndimage.label(smooth[margin:-margin, margin:-margin])
    return np.asarray(
        label == 1 + int(np.argmax(np.bincount(label.ravel())[1:])) if count else label > 0
    )


def outline(mask: Mask, close_mm: float, plane_mm: float) -> Mask:
    """Slice by slice, the smooth outline around a mask; found at half the resolution."""
    out = np.zeros_like(mask)
    there = np.flatnonzero(mask.any((0, 1)))
    if not there.size:
        return out
    box = slice(max(int(there[0]) - 8, 0) // 2 * 2, int(there[-1]) + 8)
    size = mask.shape[1:]
    for z in np.flatnonzero(mask.any((1, 2))):
        coarse = _closed(mask[z, ::2, box][:, ::2], close_mm, 2 * plane_mm).astype(np.float32)
        fine = bilinear(coarse, np.arange(size[0]) / 2, np.arange(mask[z, :, box].shape[1]) / 2)
        out[z, :, box] = fine > 0.5
    return out


def convex(plane: Mask) -> Mask:
    """The convex hull of a mask, by the centres of its voxels."""
    edge = plane & ~ndimage.binary_erosion(plane)
    points = np.argwhere(edge)
    if len(points) < 3 or not np.ptp(points, 0).all():
        return plane
    y, x = np.arange(plane.shape[0])[:, None], np.arange(plane.shape[1])
    inside = np.ones(plane.shape, bool)
    for a, b, c in ConvexHull(points).equations:
        inside &= a * y + b * x + c <= 1e-6
    return inside
