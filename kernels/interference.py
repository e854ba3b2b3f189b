"""What does not come from the body: spikes in k-space and tones of a radio frequency leak.

A few points and lines, added in place to the k-space of `kspace.to_kspace`, by array arithmetic on
either side. Strengths are given as what they become in the image.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from voxelmill.kernels.device import xp_of
from voxelmill.kernels.kspace import SLICES


def add_spikes(k: Any, places: Any, stripes: Any, axes: Sequence[int] = SLICES) -> Any:
    """Single points of k-space; each is a pattern of stripes all over the image.

    k:       (sample, coil, z, y, x) complex64.
    places:  (sample, spike, 3) int, z, y, x: frequencies in cycles per field of view, negative ones
             too; of 2-D slices z is the number of the slice.
    stripes: (sample, spike) complex, height of the stripes in the image and their phase; 0 is none.
    """
    root = sqrt(prod(k.shape[axis] for axis in axes))
    for n, (of_sample, heights) in enumerate(zip(places, stripes, strict=True)):
        for place, height in zip(of_sample, heights, strict=True):
            if height:
                at = tuple(int(p) % size for p, size in zip(place, k.shape[-3:], strict=True))
                k[(n, slice(None), *at)] += np.complex64(complex(height) * root)
    return k


def add_tones(k: Any, column: Any, height: Any, phase_rad: Any) -> Any:
    """A constant frequency heard in each line: a dashed line down one column of the image (zipper).

    k: (sample, coil, z, y, x) complex64, of 2-D slices or of a volume; column: (sample,) float, its
    x in voxels; height: (sample,), its rms in the image, 0 is none; phase_rad: (sample, z, y), the
    phase with which the tone meets each line: equal phases make it one point at y = 0.
    """
    xp, nx = xp_of(k), k.shape[-1]
    for n in np.flatnonzero(np.asarray(height)):
        turns = np.arange(nx) * (float(column[n]) / nx)
        line = np.exp(-2j * np.pi * turns) * float(height[n]) / sqrt(nx)
        phases = xp.exp(1j * xp.asarray(phase_rad[n])).astype(np.complex64)
        k[n] += phases[None, :, :, None] * xp.asarray(line.astype(np.complex64))
    return k
