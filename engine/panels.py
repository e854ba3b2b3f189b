"""Volumes as pictures: their middle slices side by side, the last one tinted by its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voxelmill.engine.sample import Field

VOLUME = ("z", "y", "x")
MOST = 9
GAP_PX = 2
TINT = 0.5  # share of a label's colour
_DEEP = 0.4  # extent along z over that along y, from which a volume is cut in all three ways

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Panel:
    """A slice (rows, columns), the length of its pixels, and the labels that tint it if any."""

    image: NDArray[Any]
    mm: tuple[float, float]
    label: NDArray[Any] | None = None


def is_volume(field: Field) -> bool:
    """Whether `panels` can show it: z, y, x, or several such volumes."""
    return field.axes[-3:] == VOLUME and len(field.axes) in (3, 4)


def panels(
    image: NDArray[Any], label: NDArray[Any] | None, voxel_mm: Sequence[float]
) -> list[Panel]:
    """Of a volume (z, y, x): axial, coronal and sagittal; of several (n, z, y, x): each axial.

    A volume that is thin along z is shown axially alone. The last panel is tinted by the labels.
    """
    grey = [_scaled(v) for v in (image[None] if image.ndim == 3 else image)[:MOST]]
    sides = ["z"]
    depth, height, _ = np.multiply(grey[0].shape, voxel_mm)
    if len(grey) == 1 and depth > _DEEP * height:
        sides = ["z", "y", "x"]
    made = [_slice(v, side, voxel_mm, None) for v in grey for side in sides]
    if label is not None:
        made = [*made[: MOST - 1], _slice(grey[0], "z", voxel_mm, label)]
    return made


def _scaled(volume: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(volume, (0.5, 99.5)).astype(np.float64)
    share = (volume.astype(np.float32) - low) / max(high - low, 1e-9)
    return (np.clip(share, 0, 1) * 255).astype(np.uint8)


def _slice(
    volume: NDArray[np.uint8], side: str, voxel_mm: Sequence[float], label: NDArray[Any] | None
) -> Panel:
    """The middle slice across an axis, z upwards."""
    axis = VOLUME.index(side)
    at = volume.shape[axis] // 2
    rows, columns = (mm for i, mm in enumerate(voxel_mm) if i != axis)

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        flat = np.take(array, at, axis)
        return flat if side == "z" else flat[::-1]

    return Panel(cut(volume), (rows, columns), None if label is None else cut(label))


def mosaic(
    shown: Sequence[Panel], size_px: int, paper: RGB, colours: Mapping[int, RGB]
) -> Image.Image:
    """The panels in a square picture, in true proportions. colours: label value -> colour."""
    columns = ceil(sqrt(len(shown)))
    cell = (size_px - GAP_PX * (columns - 1)) // columns
    largest = max(max(np.multiply(p.image.shape, p.mm)) for p in shown)
    picture = Image.new("RGB", (size_px, size_px), paper)
    for place, panel in enumerate(shown):
        height, width = (
            max(1, round(n * mm / largest * cell))
            for n, mm in zip(panel.image.shape, panel.mm, strict=True)
        )
        tile = Image.fromarray(panel.image).resize((width, height), Image.Resampling.LANCZOS)
        tile = tile.convert("RGB")
        if panel.label is not None:
            tile = _tinted(tile, panel.label, colours)
        row, column = divmod(place, columns)
        x, y = ((cell + GAP_PX) * i for i in (column, row))
        picture.paste(tile, (x + (cell - width) // 2, y + (cell - height) // 2))
    return picture


def _tinted(tile: Image.Image, label: NDArray[Any], colours: Mapping[int, RGB]) -> Image.Image:
    table = np.zeros((int(label.max(initial=0)) + 1, 3), np.uint8)
    for value, colour in colours.items():
        if 0 < value < len(table):
            table[value] = colour
    nearest = Image.Resampling.NEAREST
    over = Image.fromarray(table[label.astype(np.int64)]).resize(tile.size, nearest)
    there = Image.fromarray((label > 0).astype(np.uint8) * 255).resize(tile.size, nearest)
    return Image.composite(Image.blend(tile, over, TINT), tile, there)
