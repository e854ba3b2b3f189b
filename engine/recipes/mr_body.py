"""How a body lies in the scanner: a pose and a smooth bend, one look-up of its labels, and fields.

A sample is rendered alone here: volumes are large, and kernels are parallel inside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.errors import SpecError
from voxelmill.engine.recipes.mr_ranges import Bend, Pose

NAMES = ("rotation_deg", "scaling", "shear", "move_mm", "flip", "bend.rms_mm", "bend")
Triple = tuple[float, float, float]
_ROUNDING = 1e-6  # of an interval


@dataclass(frozen=True)
class Grid:
    """The voxels of a sample, z, y, x: shape, lengths, and in how many parts each is looked up."""

    shape: tuple[int, int, int]
    voxel_mm: Triple
    fine: tuple[int, int, int]


def _of(unit: str, meaning: str) -> dict[str, str]:
    return {"unit": unit, "meaning": meaning}


@dataclass(frozen=True)
class Lie:
    """One draw of a pose and a bend: the first columns of a recipe's Params."""

    input: int = field(metadata=_of("1", "which label map"))
    rotation_z_deg: float = field(metadata=_of("deg", "turn about z, from y to x"))
    rotation_y_deg: float = field(metadata=_of("deg", "turn about y, from x to z"))
    rotation_x_deg: float = field(metadata=_of("deg", "turn about x, from z to y"))
    scaling_z: float = field(metadata=_of("1", "zoom along z"))
    scaling_y: float = field(metadata=_of("1", "zoom along y"))
    scaling_x: float = field(metadata=_of("1", "zoom along x"))
    shear_zy: float = field(metadata=_of("1", "of z along y"))
    shear_zx: float = field(metadata=_of("1", "of z along x"))
    shear_yx: float = field(metadata=_of("1", "of y along x"))
    move_z_mm: float = field(metadata=_of("mm", "shift along z"))
    move_y_mm: float = field(metadata=_of("mm", "shift along y"))
    move_x_mm: float = field(metadata=_of("mm", "shift along x"))
    flip: bool = field(metadata=_of("1", "1: left for right"))
    bend_rms_mm: float = field(
        metadata=_of("mm", "of each component of the velocity that bends the body")
    )


def check(bend: Bend, grid: Grid, key: str) -> list[str]:
    """What is wrong with a bend: it must not fold."""
    from voxelmill.kernels.flow import largest_safe_rms

    extents = np.multiply(grid.shape, grid.voxel_mm)
    intervals = extents / (np.array(lattice_shape(grid, bend.spacing_mm)) - 3)
    least = float(min(intervals[np.array(grid.shape) > 1], default=bend.spacing_mm))
    most, safe = bend.rms_mm.bounds()[1], float(largest_safe_rms(least))
    problems = []
    if most > safe:
        problems.append(
            f"{key}: a bend of {most:g} mm may fold where nodes are {least:.3g} mm apart; keep "
            f"rms_mm up to {safe:.3g}, or raise spacing_mm (a thin volume is one interval thick)"
        )
    widest = max(grid.voxel_mm)
    if most and bend.spacing_mm < 4 * widest:
        problems.append(
            f"{key}: spacing_mm {bend.spacing_mm:g} must be at least four voxels of {widest:g} mm"
        )
    return problems


def draw_lie(pose: Pose, bend: Bend, stream: Stream) -> dict[str, Any]:
    """The fields of `Lie`, but for `input`."""
    drawn = (
        given.draws(stream, name, 3).tolist()
        for given, name in (
            (pose.rotation_deg, "rotation_deg"),
            (pose.scaling, "scaling"),
            (pose.shear, "shear"),
            (pose.move_mm, "move_mm"),
        )
    )
    names = [f.name for f in fields(Lie)][1:13]
    return dict(zip(names, chain(*drawn), strict=True)) | {
        "flip": bool(stream.uniform("flip")[0] < pose.flip_chance),
        "bend_rms_mm": bend.rms_mm.draw(stream, "bend.rms_mm"),
    }


def fine_labels(
    grid: Grid,
    lie: Lie,
    rows: NDArray[np.uint8],
    map_voxel_mm: Sequence[float],
    displacement: Any,
    axes: tuple[int, int, int] = (0, 1, 2),
    about_voxel: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """The labels of a map (z, y, x) in the body's pose: (1, z * fz, y * fy, x * fx) uint8 rows.

    axes: which of the patient's axes the grid's z, y, x run along. about_voxel: the map's voxel
    that comes to the middle of the grid; its own middle if None. A flip mirrors places only: the
    partners of the labels swap where rows are given a meaning.
    """
    from voxelmill.kernels.places import centred
    from voxelmill.kernels.warp import pull_labels

    shape = np.array(rows.shape, np.int32)
    back = np.linalg.inv(body_matrix(lie))
    move = -back @ [lie.move_z_mm, lie.move_y_mm, lie.move_x_mm]
    if about_voxel is not None:
        move = move + (about_voxel - (shape - 1) / 2) * map_voxel_mm
    turn = back[:, list(axes)]
    affine = centred(grid.shape, grid.voxel_mm, shape, map_voxel_mm, turn, move)
    flat, starts = rows.reshape(-1), np.array([0, rows.size])
    geometry = (affine[None], displacement, grid.shape, grid.fine)
    return np.asarray(pull_labels(flat, starts, shape[None], np.zeros(1, np.int32), *geometry))


def body_matrix(lie: Lie) -> NDArray[np.float64]:
    """(3, 3): what the pose does to places of the body, in mm about its middle."""
    from voxelmill.kernels.motion import rotations

    shear = np.eye(3)
    shear[0, 1], shear[0, 2], shear[1, 2] = lie.shear_zy, lie.shear_zx, lie.shear_yx
    side = -1 if lie.flip else 1
    scaling = np.diag([lie.scaling_z, lie.scaling_y, side * lie.scaling_x])
    turn = rotations([lie.rotation_z_deg, lie.rotation_y_deg, lie.rotation_x_deg])
    made: NDArray[np.float64] = turn @ shear @ scaling
    return made


def lattice_shape(grid: Grid, spacing_mm: float, along_z: float = 1.0) -> tuple[int, int, int]:
    """Nodes along z, y, x of a lattice whose intervals are at least `spacing_mm`.

    along_z: how many times as long they are along z. Grids of one extent have one lattice, however
    their voxels round, or slices would see another field than the labels.
    """
    extent = np.multiply(grid.shape, grid.voxel_mm) / [along_z, 1, 1]
    z, y, x = (max(1, int(e / spacing_mm + _ROUNDING)) + 3 for e in extent)
    return z, y, x


def bend_displacement(bend: Bend, grid: Grid, lie: Lie, stream: Stream) -> Any:
    """The displacement of one sample on half the grid, (1, 3, ...) in voxels; None without one."""
    from voxelmill.kernels import fields, flow

    if not lie.bend_rms_mm:
        return None
    z, y, x = (max(1, -(-n // 2)) for n in grid.shape)
    half = (z, y, x)
    cell_mm = np.multiply(grid.shape, grid.voxel_mm) / half
    sd = np.array([lie.bend_rms_mm / cell_mm / fields.RMS], np.float32)
    for axis in range(3):
        if grid.shape[axis] == 1:
            sd[0, axis] = 0  # a single slice is bent in its plane
    shape = (3, *lattice_shape(grid, bend.spacing_mm))
    velocity = fields.spline(fields.lattice_normals(key_of(stream, "bend"), shape, sd), half)
    return flow.rescaled(flow.exponentiate(velocity), grid.shape)


def smooth_field(
    grid: Grid, spacing_mm: float, rms: float, stream: Stream, name: str, along_z: float = 1.0
) -> NDArray[np.float32]:
    """A smooth field of mean 0 over samples and this root mean square: (1, z, y, x) float32."""
    return smooth_fields(grid, spacing_mm, {name: rms}, stream, along_z)[0]


def smooth_fields(
    grid: Grid, spacing_mm: float, rms: Mapping[str, float], stream: Stream, along_z: float = 1.0
) -> list[NDArray[np.float32]]:
    """A `smooth_field` for each name, all in one pass; what has no variation is zero."""
    from voxelmill.kernels import fields

    varying = [name for name, value in rms.items() if value]
    made = {}
    if varying:
        keys = np.array([stream.key(name) for name in varying], np.uint32)
        sd = np.array([[rms[name] / fields.RMS] for name in varying], np.float32)
        shape = (1, *lattice_shape(grid, spacing_mm, along_z))
        all_of_them = fields.spline(fields.lattice_normals(keys, shape, sd), grid.shape)
        made = dict(zip(varying, np.asarray(all_of_them), strict=True))
    return [made[n] if n in made else np.zeros((1, *grid.shape), np.float32) for n in rms]


def key_of(stream: Stream, name: str) -> NDArray[np.uint32]:
    """The address of one sample and name, (1, 5), as kernels take it."""
    return np.array([stream.key(name)], np.uint32)


def fits(grid: Grid) -> None:
    """Raise SpecError for a grid that kernels cannot hold."""
    if int(np.prod(np.multiply(grid.shape, grid.fine), dtype=np.int64)) >= 2**31:
        raise SpecError(f"shape {grid.shape} with {grid.fine} parts a voxel passes 2**31; lower it")
