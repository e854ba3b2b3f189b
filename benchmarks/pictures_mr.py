"""Draw the pictures of docs/labels_mr.md (modes, families, effects) and of docs/thigh_mr.md.

Run from the repository root: `python benchmarks/pictures_mr.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.plan import open_plan
from voxelmill.engine.preview import FAINT, INK, PAPER, colour_of
from voxelmill.engine.recipes.labels_ranges import FAMILIES
from voxelmill.engine.recipes.thigh_ranges import CONTRASTS

IMAGES = Path("docs/img")
SPEC, SYNTHSEG = "examples/brain_mr.yaml", "examples/brain_synthseg.yaml"
PROCEDURAL = "examples/thigh_procedural.yaml"
VOXELS, VOXEL_MM, ZOOM, GAP_PX, TOP_PX = (120, 136, 112), 1.6, 2, 6, 26
SIZE = (f"ranges.shape={list(VOXELS)}", f"ranges.voxel_mm={[VOXEL_MM] * 3}", "seed=11")
LEVEL = (
    "ranges.pose.rotation_deg=0",
    "ranges.pose.flip_chance=0",
    "ranges.pose.scaling=1.05",
    "ranges.pose.move_mm=0",
    "ranges.acquisition.motion_chance=0",
    "ranges.acquisition.ghost_chance=0",
    "ranges.acquisition.spike_chance=0",
    "ranges.scanner.tesla=3T",
)
CLEAN = (
    *LEVEL,
    "ranges.mode=physics",
    "ranges.families=t2_fse",
    "ranges.acquisition.snr=60",
    "ranges.acquisition.matrix=1",
    "ranges.acquisition.partial_fourier=1",
    "ranges.acquisition.window=none",
    "ranges.acquisition.bandwidth_hz=800",
    "ranges.acquisition.order=linear",
    "ranges.scanner.bias_log_rms=0.05",
    "ranges.slices.thickness_mm=1",
)
EFFECTS = {
    "none": (),
    "noise": ("ranges.acquisition.snr=12",),
    "matrix 0.5": ("ranges.acquisition.matrix=0.5",),
    "with a window": ("ranges.acquisition.matrix=0.5", "ranges.acquisition.window=hamming"),
    "movement": (
        "ranges.acquisition.motion_chance=1",
        "ranges.acquisition.motion_mm=2.5",
        "ranges.acquisition.motion_deg=1.5",
        "ranges.acquisition.motion_poses=6",
    ),
    "ghosts": ("ranges.acquisition.ghost_chance=1", "ranges.acquisition.ghost_depth=0.3"),
    "spike": ("ranges.acquisition.spike_chance=1", "ranges.acquisition.spike_height=1.5"),
    "receive field": ("ranges.scanner.bias_log_rms=0.4",),
    "fat moves": ("ranges.acquisition.bandwidth_hz=60",),
    "B0 moves all": (
        "ranges.acquisition.distortion=1",
        "ranges.acquisition.bandwidth_hz=60",
        "ranges.scanner.b0_rms_hz=150",
    ),
    "slices of 6 mm": ("ranges.slices.thickness_mm=6",),
    "four coils": ("ranges.acquisition.coils=4",),
}


def sample(
    spec: str, settings: Sequence[str], index: int, names: Sequence[str] = ("image", "label")
) -> dict[str, Any]:
    """One sample's arrays, without the sample axis, and as "drawn" its parameters."""
    job = open_plan(spec, list(settings)).job("")
    draws = draw_batch(job, [index])
    made = render_batch(job, draws)
    return {name: made[name][0] for name in names} | {"drawn": draws[0].params}


def _grey(image: Any, top: float | None = None) -> Image.Image:
    """`top`, by default the brightest 0.4 per cent, is white."""
    top = top or max(float(np.percentile(image, 99.6)), 1e-6)
    return Image.fromarray((np.clip(image / top, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def _colours(label: Any) -> Image.Image:
    table = np.array([(0, 0, 0), *(colour_of(v) for v in range(1, 256))], np.uint8)
    return Image.fromarray(table[label])


def column(image: Any, label: Any = None) -> list[Image.Image]:
    """Middle slices, axial above sagittal (front on the left), of an image or of its label."""
    shown = np.asarray(image if label is None else label)
    shown = shown.astype(np.float32) if label is None else shown
    z, x = shown.shape[0] // 2, shown.shape[2] * 10 // 21
    cut = _grey if label is None else _colours
    flat = [cut(shown[z]), cut(shown[::-1, :, x])]
    how = Image.Resampling.BICUBIC if label is None else Image.Resampling.NEAREST
    return [p.resize((p.width * ZOOM, p.height * ZOOM), how) for p in flat]


def sheet(target: Path, columns: Sequence[tuple[str, list[Image.Image]]], across: int) -> None:
    """Columns of slices under their names, `across` of them beside each other."""
    width = max(p.width for _, parts in columns for p in parts) + GAP_PX
    height = TOP_PX + sum(p.height + GAP_PX for p in columns[0][1])
    rows = -(-len(columns) // across)
    picture = Image.new("RGB", (across * width + GAP_PX, rows * height), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(17)
    for i, (name, parts) in enumerate(columns):
        x, y = GAP_PX + i % across * width, i // across * height
        pen.text((x + 2, y + 3), name, INK if name else FAINT, font)
        y += TOP_PX
        for part in parts:
            picture.paste(part, (x + (width - GAP_PX - part.width) // 2, y))
            y += part.height + GAP_PX
    how = {"palette": _palette(), "dither": Image.Dither.NONE}
    picture.quantize(**how).save(target, optimize=True)


def _palette() -> Image.Image:
    """Greys, the colours of classes, and those of the page."""
    greys = [(g, g, g) for g in np.linspace(0, 255, 40).astype(int)]
    colours = [*greys, PAPER, INK, *(colour_of(v) for v in range(1, 21))]
    picture = Image.new("P", (1, 1))
    picture.putpalette([int(c) for colour in colours for c in colour])
    return picture


def families(target: Path) -> None:
    """One head in each protocol family, with its labels."""
    made = {
        name: sample(SPEC, [*SIZE, *LEVEL, "ranges.mode=physics", f"ranges.families={name}"], 2)
        for name in FAMILIES
    }
    columns = [(name, column(arrays["image"])) for name, arrays in made.items()]
    first = made[FAMILIES[0]]
    sheet(target, [*columns, ("labels", column(first["image"], first["label"]))], 9)


def modes(target: Path) -> None:
    """Random contrast, classes inside labels, and the published ranges of SynthSeg."""
    columns = []
    for mode in ("random", "subcluster"):
        settings = [*SIZE, f"ranges.mode={mode}"]
        columns += [(mode, column(sample(SPEC, settings, i)["image"])) for i in range(3)]
    cube = ["ranges.shape=[136, 136, 136]", *SIZE[1:]]
    columns += [("SynthSeg's ranges", column(sample(SYNTHSEG, cube, i)["image"])) for i in range(3)]
    sheet(target, columns, 9)


def effects(target: Path) -> None:
    """One effect at a time on a T2-weighted image, more of it than usual."""
    columns = []
    for name, settings in EFFECTS.items():
        made = sample(SPEC, [*SIZE, *CLEAN, *settings], 2)
        columns.append((name, column(made["image"])))
    sheet(target, columns, 6)


def contrasts(target: Path) -> None:
    """All contrasts of one pair of thighs, their classes and maps."""
    settings = (
        "ranges.shape=[3, 168, 272]",
        "ranges.voxel_mm=[6, 1.4, 1.4]",
        "ranges.preset=all",
        "ranges.mode=physics",
        "ranges.scanner.tesla=3T",
        "ranges.acquisition.snr=40",
        "seed=11",
    )
    job = open_plan(PROCEDURAL, list(settings)).job("")
    made = render_batch(job, draw_batch(job, [4]))
    panels = [(name, _grey(made["image"][0, i, 1].astype(np.float32)))
              for i, name in enumerate(CONTRASTS)]  # fmt: skip
    panels.append(("labels", _colours(made["label"][0, 1])))
    panels += [(name, _grey(made[name][0, 1].astype(np.float32))) for name in ("pdff", "b1")]
    sheet(target, [(name, [picture]) for name, picture in panels], 4)


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    for draw, name in (
        (families, "labels_mr_families.png"),
        (modes, "labels_mr_modes.png"),
        (effects, "labels_mr_effects.png"),
        (contrasts, "thigh_mr.png"),
    ):
        draw(IMAGES / name)
        print(f"{IMAGES / name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB")
