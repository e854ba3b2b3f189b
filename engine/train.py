"""Train a segmentation network on stores, and score it on others: `voxelmill train`.

This opens stores and hands iterators of batches to `voxelmill.models`, which know no store.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SpecError
from voxelmill.engine.reader import Reader, open_store
from voxelmill.engine.spec_build import build
from voxelmill.engine.spec_yaml import Problems, override, parse
from voxelmill.engine.training_batches import Change, Source, TrainingBatches, source

Told = Callable[[int, float], None]


@dataclass(frozen=True)
class Network:
    """How large the U-Net is: see `voxelmill.models.unet`."""

    width: int = ranged(24, "channels of the first level, a multiple of 8", low=8, high=512)
    levels: int = ranged(4, "sizes of image, each half of the one before", low=1, high=8)
    fold: int = ranged(2, "voxels a side that become channels at the entry", low=1, high=4)


@dataclass(frozen=True)
class Keep:
    """What of an image is kept: labels by name, and voxels around them; no names: all of it."""

    near: tuple[str, ...] = ()
    margin: int = ranged(2, "around these labels", low=0, high=64, unit="voxels")


@dataclass(frozen=True)
class TrainSpec:
    """What `voxelmill train` reads; paths start at the spec.

    classes: name of a class -> names in the label tables of the stores; the first is the rest,
    which is not scored. test: stores that are only scored. contrasts: where images have several,
    "all" are the network's input, or "one", drawn for each sample. minutes: of training, at most.
    """

    stores: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    test: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    split: str | None = None
    image: str = "image"
    label: str = "label"
    contrasts: Literal["all", "one"] = "all"
    keep: Keep = Keep()
    crop: dict[str, int] | None = None
    flip: tuple[str, ...] = ()
    gamma_log_sd: float = ranged(0.0, "of the exponent of the image", low=0, high=1)
    batch: int = ranged(1, "samples a step", low=1, high=4096)
    steps: int = ranged(2000, "of training", low=1, high=10**8)
    rate: float = ranged(2e-3, "the highest learning rate", low=1e-8, high=1)
    minutes: float = ranged(20.0, "of training at most", low=0.001, high=1e6, unit="min")
    seed: int = ranged(0, "of the order, of what is varied, and of the weights", low=0)
    network: Network = Network()


def read_train_spec(path: str | Path, overrides: Sequence[str] = ()) -> TrainSpec:
    """The training spec of a YAML file; SpecError tells all its mistakes, with their places."""
    file, problems = Path(path), Problems()
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot read this spec: {error}") from error
    root = parse(text, str(path), problems)
    if root is None:
        problems.raise_any()
        raise SpecError(f"{path}: nothing to read")
    for item in overrides:
        override(root, item, problems)
    spec: TrainSpec | None = build(TrainSpec, None, root, "", problems)
    problems.raise_any()
    if spec is None:
        raise SpecError(f"{path}: nothing to read")
    if not spec.stores or len(spec.classes) < 2:
        raise SpecError(f"{path}: at least one store and two classes are needed")
    return spec


def run(
    spec: TrainSpec,
    out: str | Path,
    folder: str | Path = ".",
    *,
    every_s: float = 60.0,
    told: Told = lambda step, loss: None,
) -> dict[str, Any]:
    """Train by `spec` in the folder `out`, and score; goes on where an earlier run was killed.

    Writes spec.json, checkpoint.safetensors, weights.safetensors and result.json, whose content it
    returns: steps, seconds, loss, and a row for each sample of the test stores; with contrasts
    "one" for each contrast of it. folder: where the paths of the spec start.
    """
    try:
        import jax
        from flax import nnx

        from voxelmill.models.training import Schedule, save_network, train
        from voxelmill.models.unet import Size, UNet
    except ModuleNotFoundError as error:
        raise SpecError(
            f"training needs {error.name}, which is not installed; in the clone: "
            'pip install ".[models]"'
        ) from error

    place, base = Path(out), Path(folder)
    sources = [open_source(base / store, spec) for store in spec.stores]
    tests = [open_source(base / store, spec) for store in spec.test]
    is_one = spec.contrasts == "one"
    if not is_one:
        check_contrasts([*sources, *tests])
    size = Size(len(sources[0].axes), 1 if is_one else sources[0].contrasts, len(spec.classes),
                spec.network.width, spec.network.levels, spec.network.fold)  # fmt: skip
    low, high = spec.seed & 0xFFFFFFFF, spec.seed >> 32  # a key alone would cut the seed
    key = jax.random.fold_in(jax.random.key(low), high & 0xFFFFFFFF)
    network = UNet(size, rngs=nnx.Rngs(key))
    change = Change(spec.flip, spec.gamma_log_sd, is_one)
    try:
        batches = TrainingBatches(sources, spec.weights, size=spec.batch, seed=spec.seed,
                                  crop=spec.crop, split=spec.split, change=change)  # fmt: skip
    except ValueError as error:  # of the reader: a split, a crop or a batch that it cannot make
        raise SpecError(str(error)) from error
    _keep_spec(spec, place)
    schedule = Schedule(spec.steps, spec.rate, seconds=60 * spec.minutes)
    checkpoint = place / "checkpoint.safetensors"
    try:
        done = train(network, batches, schedule, checkpoint, every_s=every_s, told=told)
    except ValueError as error:
        raise SpecError(str(error)) from error
    finally:
        batches.close()
    result = {
        "steps": done.steps,
        "is_done": done.is_done,
        "seconds": round(done.seconds, 1),
        "loss": float(np.mean(done.losses[-50:])),
        "rows": [row for one in tests for row in score(done.network, one, list(spec.classes))],
    }
    save_network(place / "weights.safetensors", network, {"classes": list(spec.classes)})
    (place / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _keep_spec(spec: TrainSpec, place: Path) -> None:
    """Write the spec beside the checkpoint; raise SpecError where that was begun with another.

    Only the tests and the time may change. (The reader's state knows its stores by their content.)
    """
    file, kept = place / "spec.json", asdict(spec)
    for name in ("stores", "test", "minutes"):
        del kept[name]
    kept["classes"] = list(kept["classes"].items())  # their order is their number
    text = json.dumps(kept, indent=1) + "\n"
    if (place / "checkpoint.safetensors").exists() and file.exists():
        before, now = json.loads(file.read_text()), json.loads(text)
        other = [name for name in now if before.get(name) != now[name]]
        if other:
            raise SpecError(
                f"{place} was begun with other {', '.join(other)}; go on with what "
                f"{file.name} says, or begin in another folder"
            )
    place.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def open_source(path: Path, spec: TrainSpec) -> Source:
    """A store as the spec's network sees it."""
    named = {"image": spec.image, "label": spec.label}
    return source(open_store(path), spec.classes, **named, near=spec.keep.near,
                  margin=spec.keep.margin)  # fmt: skip


def check_contrasts(sources: Sequence[Source]) -> None:
    """Raise SpecError for stores whose images do not have the same contrasts in the same order."""
    for pair in combinations(sources, 2):
        names = {s.contrast_names for s in pair if s.contrast_names}
        if len(names) > 1 or pair[0].contrasts != pair[1].contrasts:
            told = " and ".join(
                f"{s.reader.location} ({', '.join(s.contrast_names) or s.contrasts})" for s in pair
            )
            raise SpecError(
                f"other contrasts in {told}; make them alike, or take one of them for each sample: "
                "contrasts: one"
            )


def score(network: Any, on: Source, classes: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each sample: subject, and of each class but the first Dice and volumes.

    Volumes are in mL where the store's spec says how long voxels are, else in voxels. Where the
    network sees one contrast and the store has several, there is a row for each, with its number.
    """
    from voxelmill.models.metrics import fit
    from voxelmill.models.training import classifier

    find, volume = classifier(network), _voxel_ml(on.reader)
    subjects = _subjects(on.reader)
    rows = []
    apart = on.contrasts > network.size.inputs
    for index in range(len(on.reader)):
        batch = on.reader.start([index], [on.image, on.label]).result()
        for which in range(on.contrasts if apart else 1):
            sample = on.prepared(batch, [which] if apart else None)
            found = find_classes(find, sample["image"], network.size.divisor)
            fits = fit(found, sample["label"], len(classes))
            row: dict[str, Any] = {"sample": index, "subject": subjects[index]}
            row |= {"contrast": which} if apart else {}
            for k, name in enumerate(classes[1:], 1):
                row[name] = {
                    "dice": _rounded(fits.dice[k]),
                    "truth_ml": round(float(fits.truth[k]) * volume, 3),
                    "found_ml": round(float(fits.found[k]) * volume, 3),
                    "volume_error": _rounded(fits.volume_error[k]),
                }
            rows.append(row)
    return rows


def find_classes(
    find: Callable[[Any], NDArray[np.uint8]], image: NDArray[Any], divisor: int
) -> NDArray[np.uint8]:
    """The classes of images (sample, *space, channel) of any size: zeros are put around them."""
    space = image.shape[1:-1]
    pads = [(0, 0), *((0, -n % divisor) for n in space), (0, 0)]
    found = find(np.pad(image, pads))
    return found[(slice(None), *(slice(n) for n in space))]


def summary(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Over rows of `score`, for each class: mean and worst Dice, mean |volume error|, its mean."""
    made = {}
    for name in classes:
        dice = np.array([row[name]["dice"] for row in rows], float)
        error = np.array([row[name]["volume_error"] for row in rows], float)
        dice, error = dice[~np.isnan(dice)], error[~np.isnan(error)]
        made[name] = {
            "dice": _rounded(dice.mean()) if dice.size else None,
            "dice_sd": _rounded(dice.std(ddof=1)) if dice.size > 1 else None,
            "dice_least": _rounded(dice.min()) if dice.size else None,
            "volume_error": _rounded(error.mean()) if error.size else None,
            "volume_error_abs": _rounded(np.abs(error).mean()) if error.size else None,
        }
    return made


def score_table(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Any:
    """What `summary` says of each class, as a table for the screen."""
    from rich.table import Table

    made = Table("class", "Dice", "worst", "volume error", box=None, header_style="bold")
    for name, one in summary(rows, classes).items():
        cells = ((one["dice"], "{:.3f}"), (one["dice_least"], "{:.3f}"),
                 (one["volume_error"], "{:+.1%}"))  # fmt: skip
        made.add_row(name, *("-" if v is None else form.format(v) for v, form in cells))
    return made


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _subjects(reader: Reader) -> list[str]:
    if "subject" not in {c.name for c in reader.description.columns}:
        return [""] * len(reader)
    return [str(s) for s in reader.subjects]


def _voxel_ml(reader: Reader) -> float:
    ranges = reader.description.spec.get("ranges", {})
    lengths = ranges.get("voxel_mm") if isinstance(ranges, Mapping) else None
    return float(np.prod(lengths)) / 1000 if lengths else 1.0
