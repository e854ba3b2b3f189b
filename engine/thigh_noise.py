"""Smooth random fields of a thigh: where fat infiltrates, its streaks, and borders that wander."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.thigh_params import ThighParams
from voxelmill.kernels.fields import RMS, lattice_normals, spline

# (name, fields, spacing of nodes in mm along z, in the plane, root mean square)
FIELDS = (
    ("thigh.spread", 1, 40.0, 11.0, 1.0),
    ("thigh.streaks", 1, 80.0, 4.0, 1.0),
    ("thigh.borders", 2, 60.0, 14.0, 1.2),  # mm
)
FRACTION_MM = (60.0, 5.0)  # spacing of nodes of the fat fraction: streaks along the leg
FRACTION_SD = 0.6  # of its logarithm
COARSE_MM = 2.0  # of the grid that the kernel reads between


def thigh_noise(
    streams: Sequence[Stream],
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    borders: bool = True,
) -> NDArray[np.float32]:
    """(sample * z, 4, gy, gx): the noise of `kernels.thigh` for each slice of each sample.

    borders: whether the two channels that shift borders are wanted.
    """
    plane = [
        max(2, round(n * mm / COARSE_MM)) for n, mm in zip(shape[1:], voxel_mm[1:], strict=True)
    ]
    parts = []
    for name, count, along, across, rms in FIELDS if borders else FIELDS[:2]:
        keys = np.array([s.key(name) for s in streams], np.uint32)
        sd = np.full((len(streams), count), rms / RMS, np.float32)
        nodes = [
            4 + int(n * mm / step)
            for n, mm, step in zip(shape, voxel_mm, (along, across, across), strict=True)
        ]
        lattice = lattice_normals(keys, (count, nodes[0], nodes[1], nodes[2]), sd)
        parts.append(spline(lattice, (shape[0], plane[0], plane[1])))
    noise = np.concatenate(parts, 1).swapaxes(1, 2)
    return np.ascontiguousarray(noise.reshape(-1, noise.shape[2], *plane))


def fat_fraction(
    params: Sequence[ThighParams],
    streams: Sequence[Stream],
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
) -> NDArray[np.float32]:
    """(sample, z, y, x) the fat fraction that muscle has where it is, with mean `muscle_fat`.

    Log-normal in each voxel, streaked along z; at most 0.95.
    """
    steps = FRACTION_MM[0], FRACTION_MM[1], FRACTION_MM[1]
    nodes = [4 + int(n * mm / step) for n, mm, step in zip(shape, voxel_mm, steps, strict=True)]
    keys = np.array([s.key("thigh.fraction") for s in streams], np.uint32)
    sd = np.full((len(streams), 1), FRACTION_SD / RMS, np.float32)
    field = spline(lattice_normals(keys, (1, nodes[0], nodes[1], nodes[2]), sd), shape)[:, 0]
    mean = np.array([p.muscle_fat for p in params], np.float32)[:, None, None, None]
    made = mean * np.exp(field - np.float32(FRACTION_SD**2 / 2))
    return np.minimum(made, np.float32(0.95), dtype=np.float32)
