"""Is a network that is trained on labels_mr alone any good on real T1 images of brains?

    python benchmarks/proof_brain.py WORK --prepare           # label maps and stores, once
    python benchmarks/proof_brain.py WORK --choose 16 4e-3    # try a width and a rate
    python benchmarks/proof_brain.py WORK --arm b --seed 0    # train, score, add the row
    python benchmarks/proof_brain.py WORK --volumes           # the labellers' volumes
    python benchmarks/proof_brain.py WORK --table             # what results/proof_brain.json holds

WORK holds what is made; both steps go on where they were killed. All arms train the same network
with the same steps, at most `--minutes`, and are scored on the same 15 real images (the number of
the person, modulo 4, is 1), none of which, nor their labels, is in any training store:

    a  labels_mr from the 20 maps of brain_labels; no real image, another labeller
    b  the 45 other pairs of brain_t1
    c  labels_mr from the parcellations of these 45
    d  b and c in turn

docs/proof_brain.md says what was found, and how labels are mapped.
"""

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import proofs
from proofs import record
from scipy.ndimage import distance_transform_edt

from voxelmill.engine.label_table import open_table
from voxelmill.engine.run_local import make
from voxelmill.engine.train import Keep, Network, TrainSpec, summary

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "proof_brain.json"
PAIRS_RECIPE = HERE / "recipes" / "pairs.py"
PAIRS = {"train": 45, "test": 15, "fit": 33, "choose": 12}  # fit and choose are parts of train
CLASSES = {
    "outside": (
        "background", "csf", "optic nerve", "vessel", "head", "skull", "surround",
    ),
    "ventricles": ("lateral ventricle", "third ventricle", "fourth ventricle"),
    "white": ("cerebral white matter", "cerebellar white matter"),
    "grey": ("cerebral cortex", "cerebellar cortex", "deep grey matter",
             "hippocampus and amygdala"),
    "other": ("brain stem",),
}  # fmt: skip
SCORED = ("ventricles", "white", "grey")
BRAIN = tuple(n for names in list(CLASSES.values())[1:] for n in names)
NEAR = (*BRAIN, "csf")  # the parcellation: what a real image is kept around
MARGIN = 2  # voxels of 2 mm
AROUND_MM = 12.0  # of a whole head that is kept around the brain
SURROUND = 250  # see engine/data/mr/tables/dlmuse.yaml
SURROUND_MM = 10.0
SAMPLES = 750  # of each store of labels_mr; each is seen twice
STEPS = 1500  # 5 minutes on two free cores, 13 on one shared one
# Chosen on training people alone: the rows "choice" of the results. The width was not: see docs.
RATE = 2e-3
NETWORK = Network(width=16, levels=4, fold=2)
ARMS = {"a": ["mr_a.zarr"], "b": ["pairs_train.zarr"], "c": ["mr_c.zarr"],
        "d": ["pairs_train.zarr", "mr_c.zarr"]}  # fmt: skip
MR_SPEC = """
recipe: labels_mr
count: {count}
seed: {seed}
inputs: {{maps: {maps}, table: {table}}}
ranges:
  shape: [80, 96, 80]
  voxel_mm: [2.0, 2.0, 2.0]
  mode: {{choice: {{physics: 2, random: 1, subcluster: 1}}}}
  families: {{choice: {{mprage: 2, t1_spoiled_echo: 2, t1_spin_echo: 1}}}}
"""
PAIRS_SPEC = """
recipe: pairs
count: {count}
seed: 1
inputs: {{folder: {folder}, part: {part}}}
ranges: {{shape: [80, 96, 80], voxel_mm: [2.0, 2.0, 2.0], margin: 2}}
"""


def main() -> None:
    """Do what the command line asks for."""
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("work", type=Path)
    asked.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    asked.add_argument("--prepare", action="store_true")
    asked.add_argument("--volumes", action="store_true")
    asked.add_argument("--table", action="store_true")
    asked.add_argument("--choose", nargs=2, metavar=("WIDTH", "RATE"))
    asked.add_argument("--arm", choices=list(ARMS))
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--steps", type=int, default=STEPS)
    asked.add_argument("--minutes", type=float, default=20.0)
    asked.add_argument("--samples", type=int, default=SAMPLES)
    asked.add_argument("--results", type=Path, default=RESULTS)
    given = asked.parse_args()
    if given.prepare:
        prepare(given.work, given.data, given.samples)
    if given.volumes:
        record(given.results, "volumes", volumes(given.data))
    if given.choose:
        width, rate = int(given.choose[0]), float(given.choose[1])
        record(given.results, f"choice {width} {rate:g}", choose(given, width, rate))
    if given.arm:
        longer = "" if given.steps == STEPS else f" {given.steps}"
        record(given.results, f"{given.arm}{given.seed}{longer}", arm(given))
    if given.table or given.volumes or given.arm or given.choose:
        print(table(given.results))


def prepare(work: Path, data: Path, samples: int) -> None:
    """Label maps and stores of all arms."""
    work.mkdir(parents=True, exist_ok=True)
    write_maps(work / "maps_a", sorted((data / "brain_labels").glob("*.nii.gz")), near_brain)
    files = sorted((data / "brain_t1").glob("*_DLMUSE.nii.gz"))
    write_maps(work / "maps_c", [f for f in files if not is_test(f)], surrounded)
    for part, count in PAIRS.items():
        text = PAIRS_SPEC.format(count=count, folder=json.dumps(str(data / "brain_t1")), part=part)
        made = make(text, work / f"pairs_{part}.zarr", recipe_file=PAIRS_RECIPE)
        print(f"{made.path.name}: {made.count} samples, {made.seconds:.0f} s")
    for name, seed, which in (("a", 11, "brain"), ("c", 12, "dlmuse")):
        maps = json.dumps(str((work / f"maps_{name}").resolve()))
        text = MR_SPEC.format(count=samples, seed=seed, maps=maps, table=which)
        made = make(text, work / f"mr_{name}.zarr")
        print(f"{made.path.name}: {made.count} samples, {made.seconds:.0f} s")


def is_test(file: Path) -> bool:
    """Whether a file of brain_t1 is of a person of the test."""
    found = re.match("IXI([0-9]+)", file.name)
    if found is None:
        raise ValueError(f"{file}: no number of a person")
    return int(found.group(1)) % 4 == 1


def write_maps(folder: Path, files: list[Path], change: Any) -> None:
    """Each map, changed, as a file of the same grid; those that are there are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        if target.exists():
            continue
        image = nibabel.load(file)
        lengths = nibabel.affines.voxel_sizes(image.affine)
        values = change(np.asarray(image.dataobj).astype(np.int16), lengths)
        partial = folder / f"partial_{os.getpid()}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, image.affine), partial)
        partial.replace(target)


def near_brain(values: Any, lengths: Any) -> Any:
    """A whole head, less what is farther than AROUND_MM from cerebrum and cerebellum.

    Brain stem (16) and fluid (24) do not count: they go down the neck.
    """
    outside = (values == 0) | (values == 16) | (values == 24) | (values > 500)
    return np.where(distance_transform_edt(outside, sampling=lengths) <= AROUND_MM, values, 0)


def surrounded(values: Any, lengths: Any) -> Any:
    """A parcellation with SURROUND around it, whose own surroundings nobody labelled."""
    outside = values == 0
    near = distance_transform_edt(outside, sampling=lengths) <= SURROUND_MM
    return np.where(outside & near, SURROUND, values)


def choose(given: argparse.Namespace, width: int, rate: float) -> dict[str, Any]:
    """Train a network of this width at this rate on 33 of the training people: its score on 12."""
    network = replace(NETWORK, width=width)
    spec = spec_of(given, ("pairs_fit.zarr",), "pairs_choose.zarr", rate, network)
    return trained(given, spec, f"choice_{width}_{rate:g}_{given.steps}") | {"rate": rate}


def arm(given: argparse.Namespace) -> dict[str, Any]:
    """Train and score one arm: its row."""
    spec = spec_of(given, tuple(ARMS[given.arm]), "pairs_test.zarr", RATE, NETWORK)
    return {"arm": given.arm} | trained(given, spec, f"{given.arm}{given.seed}_{given.steps}")


def spec_of(
    given: argparse.Namespace, stores: tuple[str, ...], test: str, rate: float, network: Network
) -> TrainSpec:
    """What all arms share, and what they do not."""
    return TrainSpec(
        stores=stores,
        classes=CLASSES,
        test=(test,),
        keep=Keep(NEAR, MARGIN),
        flip=("x",),
        gamma_log_sd=0.15,
        steps=given.steps,
        rate=rate,
        network=network,
        minutes=given.minutes,
        seed=given.seed,
    )


def trained(given: argparse.Namespace, spec: TrainSpec, name: str) -> dict[str, Any]:
    """Train by a spec in a folder of WORK, or go on; score."""
    row, rows = proofs.trained(spec, given.work / name, given.work)
    return row | {"summary": summary(rows, [*SCORED, "other"]), "rows": rows}


def volumes(data: Path) -> dict[str, Any]:
    """Mean, sd and range of the volumes in mL of each class in both sets of labels."""
    sets = {
        "brain_labels": ("brain", sorted((data / "brain_labels").glob("*.nii.gz"))),
        "brain_t1": ("dlmuse", sorted((data / "brain_t1").glob("*_DLMUSE.nii.gz"))),
    }
    made = {}
    for name, (which, files) in sets.items():
        label_table = open_table(which)
        per_file = []
        for file in files:
            image = nibabel.load(file)
            rows, unknown = label_table.to_rows(np.asarray(image.dataobj).astype(np.int64))
            if unknown:
                raise ValueError(f"{file}: {unknown}")
            count = np.bincount(rows.ravel(), minlength=len(label_table))
            ml = count * float(np.prod(nibabel.affines.voxel_sizes(image.affine))) / 1000
            classes = np.array([row.group for row in label_table.rows])
            groups = dict(CLASSES) | {"csf": ("csf",)}
            per_file.append([ml[np.isin(classes, theirs)].sum() for theirs in groups.values()])
        columns = np.array(per_file).T
        made[name] = {
            group: {"mean_ml": round(float(v.mean()), 1), "sd_ml": round(float(v.std(ddof=1)), 1),
                    "least_ml": round(float(v.min()), 1), "most_ml": round(float(v.max()), 1)}
            for group, v in zip(groups, columns, strict=True) if group != "outside"
        }  # fmt: skip
        made[name]["maps"] = len(files)
    return made


def table(file: Path) -> str:
    """What the results hold, as Markdown."""
    there = json.loads(file.read_text())
    lines = []
    if "volumes" in there:
        sets = there["volumes"]
        lines += ["| class | " + " | ".join(f"{s} (n {v['maps']})" for s, v in sets.items()) + " |"]
        lines += ["|---|" + "---|" * len(sets)]
        for group in next(iter(sets.values())):
            if group != "maps":
                cells = [f"{v[group]['mean_ml']} ± {v[group]['sd_ml']}" for v in sets.values()]
                lines.append(f"| {group} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["| arm | seed | steps | minutes | " + " | ".join(SCORED) + " |"]
    lines += ["|---|---|---|---|" + "---|" * len(SCORED)]
    for key, row in there.items():
        if key == "volumes":
            continue
        row = {"arm": key} | row
        cells = []
        for name in SCORED:
            s = row["summary"][name]
            cells.append(
                f"{s['dice']:.3f} ± {s['dice_sd']:.3f}, {100 * s['volume_error']:+.0f} % "
                f"({100 * s['volume_error_abs']:.0f} %)"
            )
        minutes = f"{row['seconds'] / 60:.1f}"
        lines.append(f"| {row['arm']} | {row['seed']} | {row['steps']} | {minutes} | "
                     + " | ".join(cells) + " |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
