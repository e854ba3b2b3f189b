"""A NIfTI label map in our frame: z to Superior, y to Posterior, x to the patient's Left."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_table import LabelTable, Rows

SUFFIXES = (".nii.gz", ".nii")
MOST_SHEAR = 0.02  # |cosine| between two axes of an affine: 1.1 degrees off a right angle
LEAST_AGREEMENT = 0.9  # cosine between an axis of the sform and of the qform: 26 degrees
_MM = {1: 1000.0, 3: 1e-3}  # of the header's metre and micron; any other unit is taken for mm


@dataclass(frozen=True)
class Grid:
    """How a map lies in its file, and in our frame.

    orientation: what the axes of the file grow to, as "LIA". voxel_mm: (z, y, x) of our frame.
    tilt_deg: the greatest angle between an axis of the map and the body axis it is taken for.
    """

    orientation: str
    voxel_mm: tuple[float, float, float]
    tilt_deg: float


def read_map(path: Path, table: LabelTable, most_ratio: float) -> tuple[Rows, Grid]:
    """((z, y, x) row numbers, its grid) of a file.

    Raises SourceError with all that is wrong with it: unreadable, not 3-D, a header that does not
    say which side is left, an affine that is not finite, singular or sheared, voxels longer than
    `most_ratio` times their width, values that are not integers or have no row in `table`, no
    foreground.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
        affine, unclear = _affine_mm(image)
    except Exception as error:  # nibabel lets errors of zlib, struct and the OS out
        raise SourceError(f"unreadable: not a whole NIfTI file ({error})") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or not values.size:
        raise SourceError(f"a label map has three axes, not the shape {values.shape}")
    wrong = _value_problems(values)
    problems = [*(_affine_problems(affine, most_ratio) or unclear), *wrong]
    rows = np.zeros(values.shape, np.uint8)
    if not wrong:
        rows, unknown = table.to_rows(values.astype(np.int64, copy=False))
        if unknown:
            problems.append(_unknown(unknown, table))
        if not rows.any() and not unknown:
            problems.append("no foreground: all voxels are background")
    if problems:
        raise SourceError("; ".join(problems))
    return _turned(rows, affine[:3, :3])


def _affine_mm(image: Any) -> tuple[NDArray[np.float64], list[str]]:
    """The affine of a NIfTI image in mm, and what leaves its sides unclear.

    The sform counts, else the qform, as everywhere; but if neither is set readers guess, and if
    they disagree programs differ in which one they follow: then left may be right.
    """
    header = image.header
    unit = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    affine = np.asarray(image.affine, np.float64) @ np.diag([unit, unit, unit, 1])
    affine[:3, 3] *= unit
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
    except ValueError:  # no rotation; says nothing beside a sform, without which nothing is read
        qform = None
    if sform is None and qform is None:
        return affine, ["neither its sform nor its qform is set, so left and right are unknown; "
                        "set one"]  # fmt: skip
    if sform is not None and qform is not None:
        axes = [a[:3, :3] / np.maximum(np.linalg.norm(a[:3, :3], axis=0), 1e-30)
                for a in (sform, qform)]  # fmt: skip
        if not (axes[0] * axes[1]).sum(0).min() > LEAST_AGREEMENT:
            return affine, [
                "its sform and its qform disagree on how it lies, so left and right are unknown; "
                "set both to the true one"
            ]
    return affine, []


def _turned(rows: Rows, axes: NDArray[np.float64]) -> tuple[Rows, Grid]:
    """The map in our frame. axes: (world x, y, z to Right, Anterior, Superior; axis of `rows`)."""
    lengths = np.linalg.norm(axes, axis=0)
    cosines = axes / lengths
    order = max(
        permutations(range(3)), key=lambda p: sum(abs(cosines[w, p[w]]) for w in range(3))
    )  # order[w]: the axis of the map that runs along world axis w
    grows = [bool(cosines[w, order[w]] > 0) for w in range(3)]
    letters = ["LR"[grows[0]], "PA"[grows[1]], "IS"[grows[2]]]
    turned = rows.transpose(order[2], order[1], order[0])
    flips = (not grows[2], grows[1], grows[0])  # ours grow to Superior, Posterior, Left
    turned = turned[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    tilt = max(float(np.degrees(np.arccos(min(abs(cosines[w, order[w]]), 1)))) for w in range(3))
    z, y, x = (float(lengths[order[w]]) for w in (2, 1, 0))
    orientation = "".join(letters[order.index(axis)] for axis in range(3))
    return np.ascontiguousarray(turned), Grid(orientation, (z, y, x), tilt)


def _affine_problems(affine: NDArray[np.float64], most_ratio: float) -> list[str]:
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return ["its affine is not finite"]
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.min() > 0 or abs(np.linalg.det(axes / lengths)) < 1e-3:
        return [f"its affine is singular: {axes.tolist()}"]
    cosines = np.abs((axes / lengths).T @ (axes / lengths) - np.eye(3))
    if cosines.max() > MOST_SHEAR:
        angle = np.degrees(np.arccos(cosines.max()))
        return [
            f"its affine is sheared: two axes meet at {angle:.1f} degrees, and at most "
            f"{np.degrees(np.arcsin(MOST_SHEAR)):.1f} off a right angle are taken; resample it"
        ]
    ratio = lengths.max() / lengths.min()
    if ratio > most_ratio:
        return [
            f"voxels of {', '.join(f'{n:.3g}' for n in lengths)} mm: the longest is {ratio:.3g} "
            f"times the shortest, above anisotropy_max {most_ratio:g}; raise it, or resample"
        ]
    return []


def _value_problems(values: NDArray[Any]) -> list[str]:
    """What keeps the values from being label numbers."""
    if values.dtype.kind in "iub":
        return []
    if values.dtype.kind != "f":
        return [f"values of type {values.dtype} are no labels; they are integers"]
    bad = ~np.isfinite(values) | (values != np.round(values))
    if bad.any():
        return [
            f"{int(bad.sum())} voxels are not integers, such as {float(values[bad][0]):g}: an "
            "image, or labels that were interpolated; resample labels with nearest neighbour"
        ]
    if np.abs(values).max() > 2**31:
        return [f"values up to {float(np.abs(values).max()):g} are no label numbers"]
    return []


def _unknown(unknown: Mapping[int, int], table: LabelTable) -> str:
    shown = sorted(unknown.items(), key=lambda pair: -pair[1])
    text = ", ".join(f"{value} ({count} voxels)" for value, count in shown[:20])
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return (
        f"values without a row in table {table.name!r}: {text}{more}; add rows, or name "
        "them in its catch_all"
    )
