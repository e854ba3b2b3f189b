"""Volumes as pictures: middle slices side by side, named, the last one tinted by its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from voxelmill.engine.sample import Field

VOLUME = ("z", "y", "x")
MOST = 9
GAP_PX, NAME_PX, FONT_PX = 2, 16, 12  # between panels, of a line under each, of its letters
TINT = 0.5  # share of a label's colour
_DEEP = 0.4  # extent along z over that along y, from which a volume is cut in all three ways

_SIDES = {"z": "axial", "y": "coronal", "x": "sagittal"}

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Panel:
    """A slice (rows, columns), the length of its pixels, the labels that tint it, and its name."""

    image: NDArray[Any]
    mm: tuple[float, float]
    label: NDArray[Any] | None = None
    name: str = ""


def is_volume(field: Field) -> bool:
    """Whether `panels` can show it: z, y, x, or several such volumes."""
    return field.axes[-3:] == VOLUME and len(field.axes) in (3, 4)


def panels(
    image: NDArray[Any],
    label: NDArray[Any] | None,
    voxel_mm: Sequence[float],
    names: Sequence[str],
    label_name: str = "label",
) -> list[Panel]:
    """Of a volume (z, y, x): axial, coronal and sagittal; of several (n, z, y, x): each axial.

    A volume that is thin along z is shown axially alone. The last panel is the first once more,
    tinted by the labels. names: of each volume.
    """
    grey = [_scaled(v) for v in (image[None] if image.ndim == 3 else image)[:MOST]]
    sides = ["z"]
    depth, height, _ = np.multiply(grey[0].shape, voxel_mm)
    if len(grey) == 1 and depth > _DEEP * height:
        sides = ["z", "y", "x"]
    made = [
        _slice(v, side, voxel_mm, None, f"{name}, {_SIDES[side]}" if len(sides) > 1 else name)
        for v, name in zip(grey, names, strict=False)
        for side in sides
    ]
    if label is not None:
        tinted = _slice(grey[0], "z", voxel_mm, label, f"{names[0]} + {label_name}")
        made = [*made[: MOST - 1], tinted]
    return made


def _scaled(volume: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(volume, (0.5, 99.5)).astype(np.float64)
    share = (volume.astype(np.float32) - low) / max(high - low, 1e-9)
    return (np.clip(share, 0, 1) * 255).astype(np.uint8)


def _slice(
    volume: NDArray[np.uint8],
    side: str,
    voxel_mm: Sequence[float],
    label: NDArray[Any] | None,
    name: str,
) -> Panel:
    """The middle slice across an axis, z upwards."""
    axis = VOLUME.index(side)
    at = volume.shape[axis] // 2
    rows, columns = (mm for i, mm in enumerate(voxel_mm) if i != axis)

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        flat = np.take(array, at, axis)
        return flat if side == "z" else flat[::-1]

    return Panel(cut(volume), (rows, columns), None if label is None else cut(label), name)


def mosaic(
    shown: Sequence[Panel], size_px: int, paper: RGB, ink: RGB, colours: Mapping[int, RGB]
) -> Image.Image:
    """The panels with their names, as large as fit into a square, in true proportions.

    Less high than `size_px` where they need no more. colours: label value -> colour.
    """
    sizes = np.array([np.multiply(p.image.shape, p.mm) for p in shown])
    scale, columns = max(
        (_scale(sizes, columns, size_px), -columns) for columns in range(1, len(shown) + 1)
    )
    columns = -columns
    heights, widths = _grid(sizes, columns)
    tops = _starts(heights * scale + NAME_PX)
    lefts = _starts(widths * scale)
    lefts += (size_px - (lefts[-1] - GAP_PX)) // 2
    picture = Image.new("RGB", (size_px, min(size_px, tops[-1] - GAP_PX)), paper)
    pen = ImageDraw.Draw(picture)
    for place, (panel, size) in enumerate(zip(shown, sizes, strict=True)):
        height, width = (max(1, round(mm * scale)) for mm in size)
        tile = Image.fromarray(panel.image).resize((width, height), Image.Resampling.LANCZOS)
        tile = tile.convert("RGB")
        if panel.label is not None:
            tile = _tinted(tile, panel.label, colours)
        row, column = divmod(place, columns)
        x, y = int(lefts[column]), int(tops[row])
        room = int(lefts[column + 1]) - GAP_PX - x
        picture.paste(tile, (x + (room - width) // 2, y))
        pen.text((x + room / 2, y + height + 1), panel.name, ink, _font(panel.name, room), "mt")
    return picture


def _grid(sizes: NDArray[Any], columns: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Heights of rows and widths of columns of panels of `sizes` (height, width)."""
    rows = ceil(len(sizes) / columns)
    padded = np.zeros((rows * columns, 2))
    padded[: len(sizes)] = sizes
    cells = padded.reshape(rows, columns, 2)
    return cells[..., 0].max(1), cells[..., 1].max(0)


def _scale(sizes: NDArray[Any], columns: int, size_px: int) -> float:
    """Pixels a mm at which so many columns, and their rows with names, fit into a square."""
    heights, widths = _grid(sizes, columns)
    high = size_px - len(heights) * (NAME_PX + GAP_PX) + GAP_PX
    wide = size_px - (columns - 1) * GAP_PX
    return float(min(high / heights.sum(), wide / widths.sum()))


def _starts(lengths: NDArray[Any]) -> NDArray[Any]:
    """Where each begins, in whole pixels, and after the last where a next one would."""
    return np.concatenate([[0], np.cumsum(lengths + GAP_PX)]).astype(int)


def _font(text: str, room: int) -> Any:
    """The usual size, or one at which the text fits."""
    needed = ImageFont.load_default(FONT_PX).getlength(text)
    return ImageFont.load_default(max(6, min(FONT_PX, int(FONT_PX * room / max(needed, 1)))))


def _tinted(tile: Image.Image, label: NDArray[Any], colours: Mapping[int, RGB]) -> Image.Image:
    table = np.zeros((int(label.max(initial=0)) + 1, 3), np.uint8)
    for value, colour in colours.items():
        if 0 < value < len(table):
            table[value] = colour
    nearest = Image.Resampling.NEAREST
    over = Image.fromarray(table[label.astype(np.int64)]).resize(tile.size, nearest)
    there = Image.fromarray((label > 0).astype(np.uint8) * 255).resize(tile.size, nearest)
    return Image.composite(Image.blend(tile, over, TINT), tile, there)
