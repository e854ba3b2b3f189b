"""Whether the bones of a thigh are whole: marrow inside a closed ring of cortex in every slice."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxelmill.engine.label_table import Rows
from voxelmill.kernels import thigh as kernel

Mask = NDArray[np.bool_]
_EIGHT = np.ones((3, 3), bool)


class Topology(NamedTuple):
    """What `topology` finds in the slices of a map.

    bones: pieces of marrow, over all slices. leaks: slices in which marrow is not enclosed.
    contacts: marrow voxels that touch another tissue than cortex in their plane, corners count.
    through: such contacts between neighbouring slices, where a bone runs obliquely.
    thinnest_mm: of the cortex between marrow and other tissue, in the plane; inf without marrow.
    """

    bones: int
    leaks: tuple[int, ...]
    contacts: int
    through: int
    thinnest_mm: float


def topology(rows: Rows, voxel_mm: tuple[float, float, float]) -> Topology:
    """Of a map (z, y, x) of rows of the table `thigh`."""
    marrow, cortex = rows == kernel.MARROW, rows == kernel.CORTEX
    bone = marrow | cortex
    contacts, bones, thinnest = 0, 0, np.inf
    for inner, whole in zip(marrow, bone, strict=True):
        if not inner.any():
            continue
        contacts += int((inner & ndimage.binary_dilation(~whole, _EIGHT)).sum())
        bones += int(ndimage.label(inner)[1])
        away = ndimage.distance_transform_edt(whole, sampling=voxel_mm[1:])
        thinnest = min(thinnest, float(away[inner].min()) - max(voxel_mm[1:]))
    through = int((marrow[1:] & ~bone[:-1]).sum() + (marrow[:-1] & ~bone[1:]).sum())
    return Topology(bones, open_slices(cortex, marrow), contacts, through, float(thinnest))


def open_slices(cortex: Mask, marrow: Mask) -> tuple[int, ...]:
    """The slices in which a path that avoids `cortex` leads from marrow to the edge of the plane.

    Both (z, y, x); steps go to all eight neighbours. Of shares, give cortex as share > 0 and
    marrow as the hard label, or as a share above a half.
    """
    leaks = []
    for z, (wall, inner) in enumerate(zip(cortex, marrow, strict=True)):
        if not inner.any():
            continue
        label, _ = ndimage.label(np.pad(~wall, 1, constant_values=True), _EIGHT)
        if (label[1:-1, 1:-1][inner] == label[0, 0]).any():
            leaks.append(z)
    return tuple(leaks)


def topology_problems(
    rows: Rows, voxel_mm: tuple[float, float, float], least_mm: float = 1.0
) -> list[str]:
    """What is wrong with the bones of a map, as lines; empty where all is well."""
    found = topology(rows, voxel_mm)
    problems = []
    if not found.bones:
        problems.append("no marrow")
    if found.leaks:
        problems.append(f"cortex is open in slices {', '.join(map(str, found.leaks))}")
    if found.contacts:
        problems.append(f"{found.contacts} voxels of marrow touch another tissue than cortex")
    if found.thinnest_mm < least_mm:
        problems.append(f"cortex is {found.thinnest_mm:.2f} mm thin; {least_mm:g} mm is the least")
    return problems
