"""Draw docs/img/cxr_objects.png and docs/img/cxr_primitives.png.

Run from the repository root: `python benchmarks/pictures.py`.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from voxelmill.engine.draw import Choice, Draw, Fixed, Stream
from voxelmill.engine.preview import COLOURS, FAINT, INK, PAPER, sheet
from voxelmill.engine.recipes import cxr_objects
from voxelmill.engine.recipes.cxr_ranges import BLENDS, MODES
from voxelmill.engine.recipes.cxr_table import AT
from voxelmill.engine.run_local import make

IMAGES = Path("docs/img")
SAMPLES, WIDTH = 12, 1800
PANEL_PX, ZOOM, GAP_PX = 100, 2, 8


def contact_sheet(target: Path) -> None:
    """The first samples of the example as `voxelmill show` draws them, with fewer colours."""
    with TemporaryDirectory() as folder:
        store = Path(folder) / "cxr.zarr"
        make("examples/cxr_objects.yaml", store, overrides=[f"count={SAMPLES}", "seed=11"])
        sheet(store, target, range(SAMPLES))
    picture = Image.open(target)
    size = WIDTH, round(picture.height * WIDTH / picture.width)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture.quantize(palette=_palette(), dither=Image.Dither.NONE).save(target, optimize=True)


def _palette() -> Image.Image:
    """Greys, and each colour of an outline as it mixes with them."""
    colours = [(g, g, g) for g in np.linspace(0, 255, 112).astype(int)]
    for own in COLOURS[: len(cxr_objects.CLASSES)]:
        colours.append(own)
        colours += [
            tuple(round(share * c + (1 - share) * grey) for c in own)
            for share in (0.75, 0.5, 0.25)
            for grey in (30, 90, 150, 210)
        ]
    picture = Image.new("P", (1, 1))
    picture.putpalette([int(c) for colour in colours for c in colour][:768])
    return picture


def primitives(target: Path) -> None:
    """One object of each class, a row for each mode: the same numbers, pasted in another way."""
    inputs = cxr_objects.open_inputs(cxr_objects.Inputs(donors="shipped"))
    names = cxr_objects.CLASSES
    cell, left, top = PANEL_PX * ZOOM + GAP_PX, 130, 34
    picture = Image.new("RGB", (left + cell * len(names), top + cell * len(MODES)), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(18)
    for column, name in enumerate(names):
        pen.text((left + column * cell + 4, 8), name, INK, font)
        modes = BLENDS if name == "cutout" else MODES
        index = _shown(name, modes[0], inputs)
        for row, mode in enumerate(modes):
            panel = Image.fromarray(_panel(name, mode, index, inputs))
            panel = panel.resize((PANEL_PX * ZOOM,) * 2, Image.Resampling.BICUBIC)
            at = left + column * cell, top + row * cell
            picture.paste(panel, at)
            if name == "cutout":
                pen.text((at[0] + 6, at[1] + 4), mode, INK, font)
    for row, mode in enumerate(MODES):
        pen.text((8, top + row * cell + cell // 2 - 12), mode, FAINT, font)
    picture.quantize(96, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


def _alone(name: str, mode: str) -> cxr_objects.Ranges:
    """Ranges of films with one object of a class in a mode."""
    every, own = cxr_objects.Ranges(), getattr(cxr_objects.Ranges(), name)
    key = "blend" if name == "cutout" else "mode"
    own = replace(own, **{key: Choice({mode: 1.0})})
    bare = replace(every, negative_share=0.0, count=Fixed(1), classes=Choice({name: 1.0}))
    return replace(bare, soft_sigma_px=Fixed(1.2), mu=Fixed(2.0), **{name: own})


def _draw(name: str, mode: str, index: int, inputs: Any) -> tuple[Any, Draw[Any]]:
    ranges, stream = _alone(name, mode), Stream(11, index)
    return ranges, Draw(cxr_objects.draw(ranges, stream, inputs), stream)


def _shown(name: str, mode: str, inputs: Any) -> int:
    """The first sample whose object is of a middling size and fits a panel well."""
    for index in range(1000):
        ranges, one = _draw(name, mode, index, inputs)
        o = cxr_objects.render(ranges, [one], inputs, np)["objects"].values[0]
        height, width = (
            o[AT["box_y1_px"]] - o[AT["box_y0_px"]],
            o[AT["box_x1_px"]] - o[AT["box_x0_px"]],
        )
        y, x = o[AT["centre_y_px"]], o[AT["centre_x_px"]]
        inside = min(y, x, ranges.size - y, ranges.size - x) > PANEL_PX / 2
        curve = name in ("line", "parallel")
        if inside and (curve or (40 < max(height, width) < 0.85 * PANEL_PX and width > 18)):
            return index
    raise RuntimeError(f"no sample shows {name} well")


def _panel(name: str, mode: str, index: int, inputs: Any) -> np.ndarray:
    """The film around the object."""
    ranges, one = _draw(name, mode, index, inputs)
    image = cxr_objects.render(ranges, [one], inputs, np)["image"][0]
    centre = one.params.objects[0, [AT["centre_y_px"], AT["centre_x_px"]]]
    y, x = np.clip(centre - PANEL_PX / 2, 0, ranges.size - PANEL_PX).astype(int)
    return image[y : y + PANEL_PX, x : x + PANEL_PX]


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    contact_sheet(IMAGES / "cxr_objects.png")
    primitives(IMAGES / "cxr_primitives.png")
    for path in ("cxr_objects.png", "cxr_primitives.png"):
        print(f"{IMAGES / path}: {(IMAGES / path).stat().st_size / 1000:.0f} kB")
