"""The femur in a map of muscles: its label, or the hole that the vasti leave."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxelmill.engine.label_table import Rows, open_table
from voxelmill.engine.thigh_outline import Mask, box_of
from voxelmill.kernels import thigh as kernel

FEMUR_MM = (9.0, 32.0)  # radius of the largest disc in a femur
MOST_SHIFT_MM = 14.0  # of a femur between neighbouring slices
OPENED = 0.72  # of the radius of the hole: what a disc of that size does not reach is no bone
SPUR = 1.3  # radius over its median at which a spur is cut
_Found = tuple[Mask, NDArray[np.float64] | None]


def find_femurs(rows: Rows, hull: Mask, plane_mm: float, labelled: bool) -> Mask:
    """The femur in each slice: its label, or the hole that the vasti leave; none where unsure."""
    if not hull.any():
        return np.zeros_like(hull)
    box = (slice(None), *box_of(np.asarray(hull.any(0)), 2))
    whole = np.zeros_like(hull)
    whole[box] = _found_in(rows[box], hull[box], plane_mm, labelled)
    return whole


def _found_in(rows: Rows, hull: Mask, plane_mm: float, labelled: bool) -> Mask:
    """As `find_femurs`, in a box around the leg."""
    found = [_femur_label, _femur_hole][not labelled]
    planes, centres = [], []
    for plane, inside in zip(rows, hull, strict=True):
        mask, centre = found(plane, inside, plane_mm)
        planes.append(mask)
        centres.append(centre)
    good = [c for c in centres if c is not None]
    if good:  # a femur is where it is in the slices around, or it is not one
        for z, centre in enumerate(centres):
            near = [c for c in centres[max(0, z - 2) : z + 3] if c is not None]
            if (
                centre is None
                or np.linalg.norm(centre - np.median(near, 0)) * plane_mm > MOST_SHIFT_MM
            ):
                planes[z] = np.zeros_like(planes[z])
    return np.stack(planes)


def _femur_label(rows: Rows, hull: Mask, plane_mm: float) -> _Found:
    mask = ndimage.binary_fill_holes((rows == kernel.CORTEX) & hull)
    return _whole_bone(np.asarray(mask), plane_mm)


def _femur_hole(rows: Rows, hull: Mask, plane_mm: float) -> _Found:
    """The roundest room amid the vasti, opened by most of its inner radius: without its necks."""
    names = open_table("thigh")
    vasti = np.isin(
        rows, [names.row(f"vastus {n}") for n in ("lateralis", "intermedius", "medialis")]
    )
    if not vasti.any():
        return np.zeros_like(hull), None
    room = hull & (rows == 0)
    depth = ndimage.distance_transform_edt(room) * plane_mm
    around = ndimage.distance_transform_edt(~vasti) * plane_mm
    embraced = _embraced(vasti, plane_mm)
    score = np.where(embraced, depth - 0.25 * np.maximum(around - depth, 0), 0)
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    radius = float(depth[y, x])
    if not embraced[y, x] or radius < FEMUR_MM[0]:
        return np.zeros_like(hull), None
    core = depth > OPENED * radius
    label, _ = ndimage.label(core)
    core = label == label[y, x]
    opened = ndimage.distance_transform_edt(~core) * plane_mm < OPENED * radius
    return _whole_bone(np.asarray(opened & room), plane_mm)


def _embraced(mask: Mask, plane_mm: float) -> Mask:
    """Places with the mask on at least three of four sides within 40 mm: in its crook."""
    reach = round(40 / plane_mm)
    count = np.zeros(mask.shape, np.uint8)
    for axis in (0, 1):
        for flip in (False, True):
            seen = np.cumsum(np.flip(mask, axis) if flip else mask, axis, dtype=np.int32)
            before = np.roll(seen, reach, axis)
            before[(slice(None),) * axis + (slice(0, reach),)] = 0
            ahead = seen > before
            count += np.flip(ahead, axis) if flip else ahead
    return np.asarray(count >= 3)


def _whole_bone(mask: Mask, plane_mm: float) -> _Found:
    """The largest part, smoothed, and its centre; nothing where it is too small or too large."""
    label, count = ndimage.label(mask)
    if not count:
        return np.zeros_like(mask), None
    largest = label == 1 + int(np.argmax(np.bincount(label.ravel())[1:]))
    smooth = _rounded(largest)
    radius = float(ndimage.distance_transform_edt(smooth).max()) * plane_mm
    if not FEMUR_MM[0] <= radius <= FEMUR_MM[1] or smooth.sum() * plane_mm**2 > 5 * radius**2:
        return np.zeros_like(mask), None
    return smooth, np.array(ndimage.center_of_mass(smooth))


def _rounded(mask: Mask) -> Mask:
    """The mask with a radius of three waves about its centre; spurs longer than 1.3 are cut."""
    cy, cx = ndimage.center_of_mass(mask)
    y, x = np.nonzero(mask)
    bins = 48
    angle = np.arctan2(y - cy, x - cx)
    sector = np.floor((angle + np.pi) / (2 * np.pi) * bins).astype(int) % bins
    radius = np.sqrt(2 * np.bincount(sector, minlength=bins) / (2 * np.pi / bins))
    waves = np.fft.rfft(np.minimum(radius, SPUR * np.median(radius)))[:4] / bins
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    t = np.arctan2(rows - cy, columns - cx) + np.pi - np.pi / bins
    edge = waves[0].real + sum(
        2 * (w * np.exp(1j * k * t)).real for k, w in enumerate(waves[1:], 1)
    )
    return np.asarray(np.hypot(rows - cy, columns - cx) < edge)
