"""Does a network that is trained on made thighs alone find tissues in a real image of thighs?

    python benchmarks/proof_thigh.py WORK --prepare               # maps and stores, once
    python benchmarks/proof_thigh.py WORK --choose 16 4e-3        # try a width and a rate
    python benchmarks/proof_thigh.py WORK --arm physics --seed 0  # train, score, add the row
    python benchmarks/proof_thigh.py WORK --picture               # docs/img/proof_thigh.png
    python benchmarks/proof_thigh.py WORK --table                 # what the results hold

WORK holds what is made; all steps go on where they were killed. Both arms see the same made thighs,
slices of both legs in eight contrasts, of which each step takes one:

    physics  thigh_mr's own signals, of what a scanner would give for muscles
    random   a random grey for each label and contrast, as SynthSeg does

The test is thigh/qmritools, one person whose shapes are in no store. docs/proof_thigh.md says what
was found, by which rules the truth is made, and why this is not the published table.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import thigh_truth
from picture_thigh import real
from pictures_mr import IMAGES, _colours, _grey, sheet
from proofs import record, trained

from voxelmill.engine.label_maps import MapInputs, open_label_maps
from voxelmill.engine.run_local import make
from voxelmill.engine.train import Network, TrainSpec, find_classes, summary

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "proof_thigh.json"
CLASSES = {
    "outside": ("background",),
    "fat": ("subcutaneous fat",),
    "between": ("intermuscular fat",),
    "muscle": ("muscle",),
    "cortex": ("cortical bone",),
    "marrow": ("marrow",),
}
NUMBER = {name: i for i, name in enumerate(CLASSES)}
FOUND = {"muscle": ("muscle",), "femur": ("cortex", "marrow"), "cortex": ("cortex",),
         "marrow": ("marrow",), "fat": ("fat",)}  # fmt: skip
ARMS = ("physics", "random")
CONTRASTS = ("t1w", "t2w", "pd", "stir", "in_phase", "opposed_phase", "dixon_water", "dixon_fat")
SHAPE, PIXEL_MM = (160, 256), 1.5
HELD = 5  # each so manieth person of the maps is held out
PARTS = 3  # stores of each arm: a third of the maps each, so that a mill keeps them in memory
SPARSE_MM = 20.0  # of maps with more slices some are left out, up to this distance
SAMPLES, HELD_SAMPLES = 160, 24  # of each store
STEPS, RATE = 700, 5e-3
NETWORK = Network(width=16, levels=4, fold=2)
RANGES = {"lower": (0, 1 / 3), "middle": (1 / 3, 2 / 3), "upper": (2 / 3, 1)}
NOTE = """
This does not reproduce the table of arXiv 2207.02469: its images (most likely 50 persons of BLSA)
are private, its generator, network and split are not known, and there is no code. Here the test is
one person in one contrast, with muscles by another network and all other tissues by rules.
"""
SPEC = """
recipe: thigh_mr
count: {count}
seed: {seed}
inputs: {{maps: {maps}, table: hirriririir, people: {people}}}
ranges:
  shape: [1, {height}, {width}]
  voxel_mm: [6.0, {mm}, {mm}]
  preset: none
  contrasts: [{contrasts}]
  maps: false
  mode: {{choice: {{physics: {physics}, random: {random}}}}}
  anatomy: {{choice: {{procedural: {nothing}, maps: 1}}}}
  thigh: {{level: {{uniform: [0.3, 0.7]}}}}
  scanner: {{bias_log_rms: {{uniform: [0, 0.4]}}, b1_rms: {{uniform: [0.02, 0.15]}}}}
  intensities: {{bias_log_rms: {{uniform: [0, 0.4]}}}}
  protocols:
    in_phase: {{tr_ms: {{loguniform: [8, 200]}}, flip_deg: {{loguniform: [4, 80]}}}}
    opposed_phase: {{tr_ms: {{loguniform: [8, 200]}}, flip_deg: {{loguniform: [4, 80]}}}}
"""


def main() -> None:
    """Do what the command line asks for."""
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("work", type=Path)
    asked.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    asked.add_argument("--prepare", nargs="*", choices=ARMS, metavar="ARM")
    asked.add_argument("--choose", nargs=2, metavar=("WIDTH", "RATE"))
    asked.add_argument("--arm", choices=ARMS)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--steps", type=int, default=STEPS)
    asked.add_argument("--minutes", type=float, default=5.0)
    asked.add_argument("--samples", type=int, default=SAMPLES)
    asked.add_argument("--picture", action="store_true")
    asked.add_argument("--table", action="store_true")
    asked.add_argument("--results", type=Path, default=RESULTS)
    given = asked.parse_args()
    if given.prepare is not None:
        prepare(given.work, given.data, given.samples, given.prepare or ARMS)
    if given.choose:
        width, rate = int(given.choose[0]), float(given.choose[1])
        record(given.results, f"choice {width} {rate:g}", choose(given, width, rate))
    if given.arm:
        record(given.results, f"{given.arm}{given.seed}", arm(given))
    if given.picture:
        picture(given.work, given.data)
    if given.table or given.choose or given.arm:
        print(table(given.results))


def prepare(work: Path, data: Path, samples: int, names: Sequence[str]) -> None:
    """Maps of the persons for training and of those held out; stores of these arms."""
    folder = data / "thigh" / "hirriririir"
    opened = open_label_maps(MapInputs(maps=str(folder), table="hirriririir"))
    first = {one.subject: one.path for one in reversed(opened.sources)}  # a map of each person
    persons = sorted(first)
    held = persons[::HELD]
    for i, person in enumerate(p for p in persons if p not in held):
        thin(first[person], work / f"maps_{i % PARTS}")
    for person in held:
        thin(first[person], work / "maps_held")
    print(f"{len(persons)} persons, held out: {', '.join(held)}")
    parts: list[tuple[Any, int]] = [*((k, samples) for k in range(PARTS)), ("held", HELD_SAMPLES)]
    for name, (part, count) in product(names, parts):
        people = 0 if part == "held" else 1000
        text = SPEC.format(
            count=count, seed=20 if part == "held" else 21 + part, people=people, mm=PIXEL_MM,
            maps=json.dumps(str((work / f"maps_{part}").resolve())), nothing=int(people > 0),
            height=SHAPE[0], width=SHAPE[1], contrasts=", ".join(CONTRASTS),
            physics=int(name == "physics"), random=int(name == "random"),
        )  # fmt: skip
        made = make(text, work / f"{name}_{part}.zarr")
        print(f"{made.path.name}: {made.count} samples, {made.seconds:.0f} s", flush=True)


def thin(file: Path, folder: Path) -> None:
    """Put a map into a folder, less slices that are nearer than SPARSE_MM to one that is kept."""
    target = folder / file.name
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    image = nibabel.load(file)
    lengths = image.header.get_zooms()[:3]
    axis = int(np.argmax(lengths))
    step = max(1, int(SPARSE_MM / lengths[axis]))
    which = tuple(slice(None, None, step if a == axis else 1) for a in range(3))
    partial = folder / f"partial_{os.getpid()}.nii.gz"
    nibabel.save(image.slicer[which], partial)
    partial.replace(target)


def choose(given: argparse.Namespace, width: int, rate: float) -> dict[str, Any]:
    """Train on the first store of physics at this width and rate, and score held-out people."""
    spec = replace(spec_of(given, "physics"), rate=rate, network=replace(NETWORK, width=width))
    spec = replace(spec, stores=spec.stores[:1], test=("physics_held.zarr",))
    row, rows = trained(spec, given.work / f"choice_{width}_{rate:g}_{given.steps}", given.work)
    return row | {"rate": rate, "held": {"physics": short(rows)}}


def arm(given: argparse.Namespace) -> dict[str, Any]:
    """Train one arm; score it on made slices of held-out people, and on the real image."""
    spec = spec_of(given, given.arm)
    place = given.work / f"{given.arm}{given.seed}_{given.steps}"
    row, rows = trained(spec, place, given.work)
    each = HELD_SAMPLES * len(CONTRASTS)
    held = {name: short(rows[i * each : (i + 1) * each]) for i, name in enumerate(ARMS)}
    image, masks, _ = real_slices(given.data)
    found = found_in(place, image)
    scores = {"taken_for": taken_for(found, masks), "rows": score(found, given.data)}
    return {"arm": given.arm} | row | {"held": held} | scores


def spec_of(given: argparse.Namespace, name: str) -> TrainSpec:
    """What both arms share, and the store, which they do not."""
    return TrainSpec(
        stores=tuple(f"{name}_{part}.zarr" for part in range(PARTS)),
        classes=CLASSES,
        test=tuple(f"{one}_held.zarr" for one in ARMS),
        contrasts="one",
        flip=("x",),
        gamma_log_sd=0.15,
        batch=8,
        steps=given.steps,
        rate=RATE,
        network=NETWORK,
        minutes=given.minutes,
        seed=given.seed,
    )


def short(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean Dice of each class."""
    return {name: one["dice"] for name, one in summary(rows, list(CLASSES)[1:]).items()}


def real_slices(data: Path) -> tuple[Any, dict[str, Any], Any]:
    """The real image and its truth (z, y, x), cut to SHAPE about the body; slices that count."""
    image, labels, voxel_mm = real(data)
    if not np.allclose(voxel_mm[1:], PIXEL_MM, rtol=0.01):
        raise ValueError(f"pixels of {voxel_mm[1:]} mm, not {PIXEL_MM}")
    body = thigh_truth.body_mask(image)
    kept = thigh_truth.slices_kept(labels, body)
    masks = thigh_truth.truth(image, labels, PIXEL_MM) | thigh_truth.leg_of(labels)
    box = tuple(slice(int(at[0] + at[-1] + 1) // 2 - n // 2, int(at[0] + at[-1] + 1) // 2 + n // 2)
                for n, at in zip(SHAPE, (np.flatnonzero(body[kept].any((0, 2))),
                                         np.flatnonzero(body[kept].any((0, 1)))),
                                 strict=True))  # fmt: skip
    cut = (kept, *box)
    masks = {name: mask[kept][:, box[0], box[1]] for name, mask in masks.items()}
    return image[kept][:, box[0], box[1]], masks, cut[0]


def found_in(place: Path, image: Any) -> Any:
    """Class numbers (z, y, x) that a trained network finds, slice by slice."""
    from voxelmill.models.training import classifier, load_network

    network, _ = load_network(place / "weights.safetensors")
    find = classifier(network)
    planes = image / np.abs(image).mean((1, 2), keepdims=True)
    return np.concatenate([find_classes(find, p[None, ..., None].astype(np.float32),
                                        network.size.divisor) for p in planes])  # fmt: skip


def score(found: Any, data: Path) -> list[dict[str, Any]]:
    """A row for each leg and for both, in each third of the slices and in all: Dice and volumes."""
    _, masks, kept = real_slices(data)
    slice_ml = float(np.prod(real(data)[2])) / 1000
    legs = {"both": np.ones(found.shape, bool), "right": masks["right"], "left": masks["left"]}
    rows = []
    for leg, inside in legs.items():
        for part, (low, high) in {"all": (0, 1), **RANGES}.items():
            z = slice(round(low * len(kept)), round(high * len(kept)))
            row: dict[str, Any] = {
                "leg": leg, "part": part, "slices": [int(kept[z][0]), int(kept[z][-1])],
            }  # fmt: skip
            for name, parts in FOUND.items():
                ours = (np.isin(found, [NUMBER[p] for p in parts]) & inside)[z]
                theirs = (masks[name] & inside)[z]
                row[name] = fit(ours, theirs, slice_ml)
            rows.append(row)
    return rows


def taken_for(found: Any, masks: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of each true tissue the share that is taken for each class."""
    return {
        name: {c: round(float((found[masks[name]] == i).mean()), 4) for c, i in NUMBER.items()}
        for name in FOUND
    }


def fit(found: Any, truth: Any, voxel_ml: float) -> dict[str, float | None]:
    """Dice, volumes in mL, and the volume's error over the truth's."""
    each, both = int(found.sum() + truth.sum()), int((found & truth).sum())
    return {
        "dice": round(2 * both / each, 4) if each else None,
        "truth_ml": round(float(truth.sum()) * voxel_ml, 2),
        "found_ml": round(float(found.sum()) * voxel_ml, 2),
        "volume_error": round(float(found.sum() / truth.sum() - 1), 4) if truth.any() else None,
    }


def table(file: Path) -> str:
    """What the results hold, as Markdown: of the real image, of parts of it, of made slices."""
    there = json.loads(file.read_text())
    lines = ["| arm | seed | steps | minutes | " + " | ".join(FOUND) + " |"]
    lines += ["|---|---|---|---|" + "---|" * len(FOUND)]
    arms = [row for key, row in there.items() if "arm" in row]
    for row in arms:
        whole = _row(row, "both", "all")
        cells = [f"{whole[n]['dice']:.3f}, {100 * whole[n]['volume_error']:+.0f} %" for n in FOUND]
        lines.append(f"| {row['arm']} | {row['seed']} | {row['steps']} | "
                     f"{row['seconds'] / 60:.1f} | " + " | ".join(cells) + " |")  # fmt: skip
    lines += ["", "| arm | part | " + " | ".join(FOUND) + " |", "|---|---|" + "---|" * len(FOUND)]
    kinds = [("right", "all"), ("left", "all"), *(("both", part) for part in RANGES)]
    for name in ARMS:
        own = [row for row in arms if row["arm"] == name]
        for leg, part in kinds if own else ():
            some = [_row(row, leg, part) for row in own]
            cells = [f"{np.mean([s[n]['dice'] for s in some]):.3f}" for n in FOUND]
            what = f"{leg} leg" if part == "all" else part
            lines.append(f"| {name} | {what}, slices {some[0]['slices'][0]} to "
                         f"{some[0]['slices'][1]} | " + " | ".join(cells) + " |")  # fmt: skip
    classes = list(CLASSES)[1:]
    lines += ["", "| trained on | made slices of | " + " | ".join(classes) + " |"]
    lines += ["|---|---|" + "---|" * len(classes)]
    for key, row in there.items():
        for kind, held in row["held"].items():
            cells = ["-" if held[c] is None else f"{held[c]:.3f}" for c in classes]
            lines.append(f"| {key} | {kind} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, NOTE])


def _row(row: dict[str, Any], leg: str, part: str) -> dict[str, Any]:
    return next(r for r in row["rows"] if (r["leg"], r["part"]) == (leg, part))


def picture(work: Path, data: Path) -> None:
    """Three slices: image, truth, and what the first seed of each arm finds."""
    image, masks, kept = real_slices(data)
    empty = np.zeros(image.shape, np.uint8)
    for name in ("muscle", "cortex", "marrow", "fat"):
        empty[masks[name]] = NUMBER[name]
    columns = {"truth, by rules": empty}
    for name in ARMS:
        columns[f"found by {name}"] = found_in(work / f"{name}0_{STEPS}", image)
    panels: list[Any] = []
    for z in (1, len(kept) // 2, len(kept) - 2):
        panels.append((f"slice {kept[z]}", [_grey(image[z])]))
        panels += [(what, [_colours(values[z])]) for what, values in columns.items()]
    target = IMAGES / "proof_thigh.png"
    sheet(target, panels, 4)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
