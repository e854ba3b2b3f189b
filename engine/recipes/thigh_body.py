"""Where a thigh lies in the scanner: its labels on the grid of a sample, and the dip of B1+."""

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Draw
from voxelmill.engine.recipes import mr_body
from voxelmill.engine.recipes.mr_body import Grid
from voxelmill.engine.recipes.mr_ranges import Bend
from voxelmill.engine.recipes.thigh_inputs import ThighSources
from voxelmill.engine.recipes.thigh_ranges import ANATOMIES, MAPS

PLANE_MM = 0.8  # of the maps that anatomy is made on: a cortex of 1.3 mm stays a closed ring
_MARGIN = 2  # slices beyond the field of view on both sides, for turns and bends
_DIP_MM = 45.0  # standard deviation of the fall of B1+ in the left rectus femoris


def fine_labels(
    bending: Bend, one: Draw[Any], inputs: ThighSources, grid: Grid
) -> tuple[NDArray[np.uint8], str]:
    """Rows of parts of voxels, (1, z, y, x), and which legs of the patient there are."""
    from voxelmill.engine.thigh_shape import procedural_thigh
    from voxelmill.engine.thigh_tissues import derive_tissues

    p, stream = one.params, one.stream
    lie = p if grid.shape[0] > 1 else replace(p, rotation_y_deg=0.0, rotation_x_deg=0.0)
    bend = mr_body.bend_displacement(bending, grid, lie, stream)
    if ANATOMIES[p.anatomy] == MAPS and inputs.maps is not None:
        depths = inputs.maps.depths(p.input - inputs.people)
        legs = "both" if len(depths.sides) > 1 else depths.sides[0]
        first, last, about = _slices_seen(depths.shape, depths.voxel_mm[0], grid, lie, bend)
        rows = derive_tissues(depths.between(first, last), p.thigh, stream)
        middle = np.array([about - first, *((n - 1) / 2 for n in depths.shape[1:])])
        fine = mr_body.fine_labels(grid, lie, rows, depths.voxel_mm, bend, about_voxel=middle)
    else:
        shape, voxel_mm = _made_grid(grid)
        rows, legs = procedural_thigh([p.thigh], [stream], shape, voxel_mm)[0], p.thigh.legs
        fine = mr_body.fine_labels(grid, lie, rows, voxel_mm, bend)
    mirrored = {"right": "left", "left": "right"}
    return fine, mirrored.get(legs, legs) if p.flip else legs


def _made_grid(grid: Grid) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape and voxels of a thigh from nothing that covers a field of view."""
    slice_mm, *plane_mm = grid.voxel_mm
    voxel_mm = (slice_mm, min(PLANE_MM, plane_mm[0]), min(PLANE_MM, plane_mm[1]))
    height, width = (
        ceil(n * mm / fine)
        for n, mm, fine in zip(grid.shape[1:], plane_mm, voxel_mm[1:], strict=True)
    )
    margin = 0 if grid.shape[0] == 1 else _MARGIN
    return (grid.shape[0] + 2 * margin, height, width), voxel_mm


def _slices_seen(
    shape: tuple[int, int, int], slice_mm: float, grid: Grid, lie: Any, bend: Any
) -> tuple[int, int, float]:
    """The slices of a map that a field of view may meet, first and last + 1, and where it lies.

    The last is the map's slice, in whole and parts, that comes to the middle: `place` of the way
    between the lowest and the highest at which the field of view stays within the map.
    """
    back = np.linalg.inv(mr_body.body_matrix(lie))[0]
    half_mm = np.multiply(grid.shape, grid.voxel_mm) / 2
    if bend is not None:
        half_mm = half_mm + abs(bend[0]).reshape(3, -1).max(1) * grid.voxel_mm
    moved = -float(back @ [lie.move_z_mm, lie.move_y_mm, lie.move_x_mm]) / slice_mm
    reach = float(abs(back) @ half_mm) / slice_mm
    low, high = reach - 0.5 - moved, shape[0] - 0.5 - reach - moved
    about = low + lie.place * (high - low) if low < high else (shape[0] - 1) / 2 - moved
    first = int(np.clip(np.floor(about + moved - reach), 0, shape[0] - 1))
    last = int(np.clip(np.ceil(about + moved + reach), first, shape[0] - 1)) + 1
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
