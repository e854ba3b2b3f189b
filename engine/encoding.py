"""The weights with which lines of k-space are acquired: what `kernels.kspace.encode` takes."""

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from voxelmill.engine.acquisition import Acquisition, Shape
from voxelmill.kernels import kspace, lines, motion


@dataclass(frozen=True)
class Encoding:
    """Weights of lines on the host, and the poses that they are acquired in.

    gain (sample, pool or 1, z or 1, y) and along (sample, pool, pose, x) complex64 with all phase
    ramps; row (sample, y) int32, the pose of each line, -1 where none is acquired; turned (sample,
    pose, 3, 3) and shift_vox (sample, pose, 3), voxels of the grid: the poses.
    """

    gain: Any
    along: Any
    row: Any
    turned: Any
    shift_vox: Any


def encoding(plan: Acquisition, grid: Shape, shape: tuple[int, ...]) -> Encoding:
    """The weights for pools of `shape` (sample, pool, z, y, x) that become images of `grid`."""
    samples, pools = shape[:2]
    shrink = np.array(grid) / np.array(shape[2:])
    taken = lines.acquired(grid[1], plan.sampling.matrix[:, 1], plan.sampling.partial)
    turned, shift_vox = np.tile(np.eye(3), (samples, 1, 1, 1)), np.zeros((samples, 1, 3))
    count = np.full(samples, 1 if plan.poses is None else np.shape(plan.poses)[1])
    row = lines.parts(taken, plan.sampling.order, count)
    if plan.poses is not None:
        turned, shift_mm = motion.relative(
            plan.poses, lines.frame_shares(taken, plan.sampling.order, row, count)
        )
        shift_vox = shift_mm / np.asarray(plan.voxel_mm)[:, None] * shrink
    moved = shift_vox - (1 - shrink) / 2  # image voxels have their centres between those of pools
    if plan.axes == kspace.SLICES:
        moved[..., 0] = 0  # through slices only by reading the pools elsewhere
    axes = [axis + 3 for axis in plan.axes]
    gain = _gain(plan, grid, moved, row, taken) * (taken[:, None, None] * sqrt(prod(shrink[axes])))
    along = _along(plan, grid[2], moved, pools)
    return Encoding(gain.astype(np.complex64), along, row, turned, shift_vox)


def _along(plan: Acquisition, nx: int, moved: Any, pools: int) -> Any:
    """Chemical shift, movement and matrix along x."""
    acquired = plan.sampling.matrix[:, 2]
    fat = np.zeros((len(acquired), pools))
    if plan.chemical_shift_px is not None:
        fat = fat + plan.chemical_shift_px * (nx / acquired[:, None])
    weights = kspace.ramp(nx, moved[:, None, :, 2] + fat[:, :, None])
    return weights * lines.acquired(nx, acquired)[:, None, None]


def _gain(plan: Acquisition, grid: Shape, moved: Any, row: Any, taken: Any) -> Any:
    """Movement, matrix along z, echo train and ghosts."""
    nz, ny, _ = grid
    rows, pose = np.arange(len(moved))[:, None], np.maximum(row, 0)
    gain = kspace.ramp(ny, moved[..., 1])[rows, pose, np.arange(ny)][:, None, None]
    if plan.axes == kspace.VOLUME:
        through = kspace.ramp(nz, moved[..., 0])[rows, pose].swapaxes(1, 2)  # (sample, z, y)
        through = through * lines.acquired(nz, plan.sampling.matrix[:, 0])[:, :, None]
        gain = gain * through[:, None]
    if plan.train is not None:
        train = plan.train
        echo = lines.echo_numbers(taken, plan.sampling.order, train.echoes, train.centre)
        gain = gain * lines.train_weights(train.amplitudes, echo, train.centre)[:, :, None]
    if plan.interference is not None:
        gain = gain * plan.interference.weights[:, None, None]
    return gain
