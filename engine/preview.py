"""A contact sheet of a store: images with outlines of what is labelled, and a legend.

Of volumes it shows slices, one of them tinted by its labels (see `panels`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from voxelmill.engine.errors import SpecError, StoreError
from voxelmill.engine.panels import is_volume, mosaic, panels
from voxelmill.engine.reader import Reader, open_store
from voxelmill.engine.sample import Field, Ragged
from voxelmill.engine.words import counted

TILE_PX, GAP_PX, CAPTION_PX, HEADER_PX, LINE_PX = 400, 12, 28, 66, 25
PAPER, INK, FAINT = (17, 19, 23), (232, 234, 238), (150, 156, 168)
# Okabe-Ito with lighter darks: apart for colour-blind eyes and on grey films
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 190, 140),
    (240, 228, 66),
    (90, 140, 255),
    (235, 110, 40),
    (220, 130, 190),
    (170, 240, 120),
    (255, 90, 90),
    (200, 200, 255),
)

_DARKER = (1.0, 0.6, 0.8, 0.4)
FILL_PX = 3  # half of the gaps inside an object that an outline does not enter

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Outline:
    """A mask to draw, its colour, and the part of it that is visible."""

    mask: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    colour: RGB


def colour_of(value: int) -> RGB:
    """The colour of a label value; background has none. Beyond ten they come again, darker."""
    again, place = divmod(value - 1, len(COLOURS))
    r, g, b = (round(c * _DARKER[again % len(_DARKER)]) for c in COLOURS[place])
    return r, g, b


def sheet(path: str | Path, output: str | Path, indices: Sequence[int]) -> int:
    """Draw the samples `indices` (those that exist) into the PNG `output`; returns how many.

    Raises SpecError where `output` is no .png in a folder that is there; StoreError where the store
    has no image or none of the samples.
    """
    _check_output(Path(output))
    reader = open_store(path, partial=True)
    made = set(reader.available().tolist())
    there = [i for i in indices if i in made]
    if not there:
        raise StoreError(
            f"{path}: none of the samples asked for is there; {len(made)} of {len(reader)} are made"
        )
    image_name = _image_field(reader)
    columns = min(6, len(there))
    rows = -(-len(there) // columns)
    width = max(columns * (TILE_PX + GAP_PX) + GAP_PX, 780)
    tile_px = _tile(reader[there[0]], image_name, reader).height
    tiles = HEADER_PX + rows * (tile_px + CAPTION_PX + GAP_PX)
    legend = _legend(reader, width)
    height = tiles + 10 + LINE_PX * max(2, 1 + max((place.line for place in legend), default=0))
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    _header(pen, reader, path)
    for place, i in enumerate(there):
        row, column = divmod(place, columns)
        x = GAP_PX + column * (TILE_PX + GAP_PX)
        y = HEADER_PX + row * (tile_px + CAPTION_PX + GAP_PX)
        sample = reader[i]
        picture.paste(_tile(sample, image_name, reader), (x, y))
        pen.text((x + 2, y + tile_px + 4), _caption(sample, i, reader), FAINT, _font(17))
    _draw_legend(pen, legend, tiles + 10)
    picture.save(output)
    return len(there)


def _check_output(file: Path) -> None:
    """Before all work."""
    if file.suffix.lower() != ".png":
        raise SpecError(f"{file}: a sheet is a PNG; give a name that ends in .png")
    if not file.parent.is_dir():
        raise SpecError(f"{file}: there is no folder {file.parent}; make it first")


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _image_field(reader: Reader) -> str:
    for name, field in reader.fields.items():
        if not isinstance(field, Field) or field.is_label:
            continue
        if len(field.shape) in (2, 3) or is_volume(field):
            return name
    raise StoreError(f"{reader.path} holds no image to show")


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """The picture of an array: itself, or the middle slice of a volume."""
    return array if array.ndim == 2 else array[array.shape[0] // 2]


def _outlines(sample: dict[str, Any], reader: Reader) -> list[Outline]:
    """Instances where the store has them, else the classes of its label maps."""
    objects = reader.fields.get("objects")
    if "modal" in sample and isinstance(objects, Ragged):
        columns = [c.name for c in objects.columns]
        modal, found = sample["modal"], []
        for row in sample["objects"]:
            number, kind = int(row[columns.index("id")]), int(row[columns.index("class")])
            visible = modal == number
            mask = visible
            if "amodal" in sample:
                mask = sample["amodal"] >> np.uint16(number - 1) & 1 != 0
            found.append(Outline(mask, visible, colour_of(kind)))
        return found
    labels = [
        n for n, f in reader.fields.items() if isinstance(f, Field) and f.is_label and n in sample
    ]
    return [
        Outline(_flat(sample[name]) == value, _flat(sample[name]) == value, colour_of(value))
        for name in labels[:1]
        for value in np.unique(_flat(sample[name])).tolist()
        if value
    ]


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return np.asarray(small) > 64


def _grown(mask: NDArray[np.bool_], px: int) -> NDArray[np.bool_]:
    """The mask with all within `px` pixels of it."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~mask) <= px) if mask.any() else mask


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A line around a mask, a pixel away so that a thin object stays in sight.

    Gaps that the line would fill (between letters, in a mesh) are taken for part of the object.
    """
    room = np.pad(mask, FILL_PX)
    whole = ~_grown(~_grown(room, FILL_PX), FILL_PX) | room
    line = _grown(whole, 2) & ~_grown(whole, 1)
    return line[FILL_PX:-FILL_PX, FILL_PX:-FILL_PX]


def _tile(sample: dict[str, Any], image_name: str, reader: Reader) -> Image.Image:
    field = reader.fields[image_name]
    if isinstance(field, Field) and is_volume(field):
        return _volume(sample, image_name, reader)
    grey = _flat(sample[image_name])
    if grey.dtype != np.uint8:
        low, high = np.percentile(grey, (0.5, 99.5))
        grey = (np.clip((grey - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
    scale = TILE_PX / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    picture = Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS).convert("RGB")
    pixels = np.array(picture)
    for outline in _outlines(sample, reader):
        edge = _edge(_resized(outline.mask, size))
        seen = _resized(outline.visible, size)
        near = _grown(seen, 2)  # the hidden part of an outline is dotted
        yx = np.add.outer(np.arange(size[1]), np.arange(size[0]))
        pixels[edge & (near | (yx % 4 < 2))] = outline.colour
    tile = Image.new("RGB", (TILE_PX, TILE_PX), PAPER)
    tile.paste(Image.fromarray(pixels), ((TILE_PX - size[0]) // 2, (TILE_PX - size[1]) // 2))
    return tile


def _volume(sample: dict[str, Any], image_name: str, reader: Reader) -> Image.Image:
    """Slices of a volume, in proportion where the ranges of its spec have `voxel_mm`."""
    shape = sample[image_name].shape[-3:]
    labels = [
        name for name, f in reader.fields.items()
        if isinstance(f, Field) and f.is_label and f.shape == shape
    ]  # fmt: skip
    label = sample[labels[0]] if labels else None
    voxel_mm = reader.description.spec.get("ranges", {}).get("voxel_mm", (1.0, 1.0, 1.0))
    colours = {value: colour_of(value) for value in range(1, 256)}
    names = _names(sample, image_name, reader)
    shown = panels(sample[image_name], label, voxel_mm, names, labels[0] if labels else "")
    return mosaic(shown, TILE_PX, PAPER, FAINT, colours)


def _names(sample: dict[str, Any], image_name: str, reader: Reader) -> list[str]:
    """What each volume of an image is called: in its table (contrasts of a contrast), or so."""
    field = reader.fields[image_name]
    assert isinstance(field, Field)
    if len(field.axes) == 3:
        return [image_name]
    axis, count = field.axes[0], field.shape[0]
    table = reader.fields.get(f"{axis}s")
    names = table.named(axis, sample[table.name]) if isinstance(table, Ragged) else ()
    if len(names) != count:
        return [f"{image_name}, {axis} {i}" for i in range(count)]
    return list(names)


def _caption(sample: dict[str, Any], index: int, reader: Reader) -> str:
    parts = [f"{index}"]
    columns = reader.description.columns
    for column, value in zip(columns, sample.get("params", ()), strict=True):
        if column.categories and column.name != "subject":
            word = column.categories[int(value)]
            parts += [word] * (word != "none")
    if "objects" in sample:
        n = len(sample["objects"])
        parts.append("no object" if n == 0 else f"{n} object{'s' if n > 1 else ''}")
    return "  ·  ".join(parts)


def _header(pen: ImageDraw.ImageDraw, reader: Reader, path: str | Path) -> None:
    d = reader.description
    pen.text((GAP_PX + 2, 8), f"{Path(path).name}  -  {d.recipe}", INK, _font(24))
    facts = [counted(d.count, "sample"), f"seed {d.spec.get('seed')}"]
    text = "  ·  ".join([*facts, f"content {d.content_digest[:12]}"])
    pen.text((GAP_PX + 2, 39), text, FAINT, _font(17))


@dataclass(frozen=True)
class _Entry:
    """A word of the legend, where it stands, and its colour if it has one."""

    text: str
    x: int
    line: int
    colour: RGB | None = None


def _legend(reader: Reader, width: int) -> list[_Entry]:
    """The classes of the first label map, in lines of `width`."""
    labels = next((v for v in reader.labels.values() if v), {})
    words: list[tuple[str, RGB | None]] = [
        (name, colour_of(int(value))) for value, name in labels.items() if int(value)
    ]
    if "amodal" in reader.fields:
        words.append(("dotted: hidden under a later object", None))
    x, line, made = GAP_PX + 2, 0, []
    for text, colour in words:
        step = 40 + int(_font(18).getlength(text))
        if x + step > width:
            x, line = GAP_PX + 2, line + 1
        made.append(_Entry(text, x, line, colour))
        x += step
    return made


def _draw_legend(pen: ImageDraw.ImageDraw, legend: Sequence[_Entry], y: int) -> None:
    for entry in legend:
        x, top = entry.x, y + LINE_PX * entry.line
        if entry.colour is None:
            pen.text((x + 8, top), entry.text, FAINT, _font(17))
        else:
            pen.rectangle((x, top + 3, x + 16, top + 18), outline=entry.colour, width=3)
            pen.text((x + 23, top), entry.text, INK, _font(18))
