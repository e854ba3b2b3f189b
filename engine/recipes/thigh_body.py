"""Where a thigh lies in the scanner: its labels on the grid of a sample, and the dip of B1+."""

from dataclasses import replace
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Draw
from voxelmill.engine.recipes import mr_body
from voxelmill.engine.recipes.mr_body import Grid
from voxelmill.engine.recipes.mr_ranges import Bend, Pose
from voxelmill.engine.recipes.thigh_inputs import ThighSources
from voxelmill.engine.recipes.thigh_ranges import ANATOMIES, MAPS

PLANE_MM = 0.8  # of the maps that anatomy is made on: a cortex of 1.3 mm stays a closed ring
_DIP_MM = 45.0  # standard deviation of the fall of B1+ in the left rectus femoris
_PART_MM = 3.0  # of parts of a slice, at most: over these a thigh tapers by a quarter millimetre
_MOST_PARTS = 12  # of a slice


def parts_of(slice_mm: float, parts: int) -> tuple[int, int, int]:
    """In how many parts labels are looked up along z, y, x, if voxels have `parts` in the plane."""
    if parts == 1:
        return 1, 1, 1
    return min(max(parts, ceil(slice_mm / _PART_MM)), _MOST_PARTS), parts, parts


def most_made(pose: Pose, grid: Grid) -> int:
    """About how many voxels are made of a thigh, at the most."""
    extents = np.multiply(grid.shape, grid.voxel_mm)
    turn = np.sin(np.radians(min(np.abs(pose.rotation_deg.bounds()).max(), 90)))
    seen_mm = (extents + turn * (extents.sum() - extents)) / 2 / pose.scaling.bounds()[0]
    moved_mm = np.full(3, np.abs(pose.move_mm.bounds()).max())
    return prod(_made_grid(grid, moved_mm, seen_mm)[0])


def fine_labels(
    bending: Bend, one: Draw[Any], inputs: ThighSources, grid: Grid
) -> tuple[NDArray[np.uint8], str]:
    """Rows of parts of voxels, (1, z, y, x), and which legs of the patient there are."""
    from voxelmill.engine.thigh_shape import procedural_thigh
    from voxelmill.engine.thigh_tissues import derive_tissues

    p, stream = one.params, one.stream
    bend = mr_body.bend_displacement(bending, grid, p, stream)
    middle_mm, reach_mm = _seen_mm(grid, p, bend)
    if ANATOMIES[p.anatomy] == MAPS and inputs.maps is not None:
        depths = inputs.maps.depths(p.input - inputs.people)
        legs, voxel_mm = "both" if len(depths.sides) > 1 else depths.sides[0], depths.voxel_mm
        at, reach = middle_mm[0] / voxel_mm[0], reach_mm[0] / voxel_mm[0]
        first, last, about_z = _slices_seen(depths.shape[0], at, reach, p.place)
        rows = derive_tissues(depths.between(first, last), p.thigh, stream)
        about_z -= first
    else:
        shape, voxel_mm = _made_grid(grid, middle_mm, reach_mm)
        here = replace(p.thigh, level=p.thigh.level - middle_mm[0] / p.thigh.length_mm)
        rows, legs = procedural_thigh([here], [stream], shape, voxel_mm)[0], p.thigh.legs
        about_z = (shape[0] - 1) / 2 - middle_mm[0] / voxel_mm[0]
    about = np.array([about_z, *((n - 1) / 2 for n in rows.shape[1:])])
    fine = mr_body.fine_labels(grid, p, rows, voxel_mm, bend, about_voxel=about)
    mirrored = {"right": "left", "left": "right"}
    return fine, mirrored.get(legs, legs) if p.flip else legs


def _seen_mm(grid: Grid, lie: Any, bend: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a field of view shows of the body: its middle, and how far from there, along z, y, x."""
    back = np.linalg.inv(mr_body.body_matrix(lie))
    half_mm = np.multiply(grid.shape, grid.voxel_mm) / 2
    if bend is not None:
        half_mm = half_mm + abs(bend[0]).reshape(3, -1).max(1) * grid.voxel_mm
    return -back @ [lie.move_z_mm, lie.move_y_mm, lie.move_x_mm], abs(back) @ half_mm


def _made_grid(
    grid: Grid, middle_mm: NDArray[np.float64], reach_mm: NDArray[np.float64]
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape and voxels of a thigh from nothing that covers what is seen.

    Along z it is made about the middle of that, in the plane about its own, where its legs stand.
    """
    slice_mm, *plane_mm = grid.voxel_mm
    voxel_mm = (slice_mm / grid.fine[0], min(PLANE_MM, plane_mm[0]), min(PLANE_MM, plane_mm[1]))
    half_mm = reach_mm + abs(middle_mm) * [0, 1, 1]
    z, y, x = (ceil(2 * half / mm) for half, mm in zip(half_mm, voxel_mm, strict=True))
    return (z, y, x), voxel_mm


def _slices_seen(depth: int, at: float, reach: float, place: float) -> tuple[int, int, float]:
    """The slices of a map that a field of view may meet, first and last + 1, and where it lies.

    depth: of the map, in slices, as `at` and `reach`, what is seen of the body. The last is the
    map's slice, in whole and parts, that the body's middle comes from: `place` of the way between
    the lowest and the highest at which the field of view stays within the map.
    """
    low, high = reach - 0.5 - at, depth - 0.5 - reach - at
    about = low + place * (high - low) if low < high else (depth - 1) / 2 - at
    first = int(np.clip(np.floor(about + at - reach), 0, depth - 1))
    last = int(np.clip(np.ceil(about + at + reach), first, depth - 1)) + 1
    return first, last, about


def b1_dip(
    depth: float, fine: NDArray[np.uint8], grid: Grid, rectus: int, legs: str
) -> NDArray[np.float32]:
    """The fall of B1+ in the left rectus femoris, (1, z, y, x); that of a mean leg if none shows.

    It is of the magnet, so it lies there in the leg that is the patient's left after a flip too.
    Source: Klupp et al. 2017 (PMC5308846).
    """
    part_mm = np.divide(grid.voxel_mm, grid.fine)
    there = np.argwhere(fine[0, :, ::4, ::4] == rectus) * np.array([1, 4, 4])
    middle = (np.array(fine.shape[1:]) - 1) / 2
    left = there[there[:, 2] > middle[2]] if legs == "both" else there
    place = left.mean(0) if len(left) else middle * [1, 0.7, 1.5]
    axes = [
        (((np.arange(n) + 0.5) * f - 0.5 - c) * mm / _DIP_MM) ** 2
        for n, f, c, mm in zip(grid.shape[1:], grid.fine[1:], place[1:], part_mm[1:], strict=True)
    ]
    distance = axes[0][:, None] + axes[1]
    fall = 1 - depth * np.exp(-distance / 2)
    return np.broadcast_to(fall.astype(np.float32), (1, *grid.shape))
