"""Make one sample of a store again, alone, and compare it with what is stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxelmill.engine import recipes
from voxelmill.engine.device_class import device_class
from voxelmill.engine.errors import SampleError, SourceError, StoreError, VersionError
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.params import param_rows
from voxelmill.engine.plan import Plan, open_plan
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Rows
from voxelmill.engine.spec import from_dict
from voxelmill.engine.store import Description


@dataclass(frozen=True)
class Remade:
    """A sample made again: its arrays, and which of them differ from the stored ones and how."""

    index: int
    arrays: dict[str, Any]
    differences: tuple[str, ...]


def remake(
    path: str | Path, index: int, folder: str = ".", recipe_file: str | Path | None = None
) -> Remade:
    """Make sample `index` of the store at `path` again and compare it byte for byte.

    Relative input paths of the stored spec are taken from `folder`. Raises VersionError where this
    program's recipe has another version than the store's, StoreError where inputs differ or where
    the stored sample is damaged, SampleError for an index that the store does not have.
    """
    reader = open_store(path, partial=True)
    if not 0 <= index < len(reader):
        raise SampleError(f"sample {index} is not in 0..{len(reader) - 1} of {path}")
    found = reader[index]
    stored = reader.description
    plan = _plan(path, stored, folder, recipe_file)
    draws = draw_batch(plan.job(path), [index])
    arrays = render_batch(plan.job(path), draws)
    arrays["params"] = param_rows(plan.description.columns, draws, plan.inputs)
    single = {k: a.values if isinstance(a, Rows) else a[0] for k, a in arrays.items()}
    differences = [d for name in single for d in _difference(name, single[name], found[name])]
    if differences and stored.device_class != device_class():
        differences.append(
            f"made on {stored.device_class!r}, this is {device_class()!r}: rounding may differ"
        )
    return Remade(index, single, tuple(differences))


def _plan(
    path: str | Path, stored: Description, folder: str, recipe_file: str | Path | None
) -> Plan:
    """The plan of a store's own spec: the same recipe version, the same inputs."""
    have = recipes.load(Path(recipe_file) if recipe_file else stored.recipe).VERSION
    if have != stored.recipe_version:
        was = stored.versions.get("voxelmill", "another version")
        raise VersionError(
            f"{path} was made by version {stored.recipe_version} of recipe {stored.recipe} "
            f"(voxelmill {was}); this program has version {have}: use that version of the recipe"
        )
    # with the same digest the same inputs were left out as bad
    try:
        plan = open_plan(from_dict(stored.spec, folder, recipe_file), skip_bad=True)
    except SourceError as error:
        raise SourceError(
            f"{error}\nrelative paths of the store's spec were taken from {folder!r}: name the "
            "folder where that spec lay with --folder (in Python, folder=)"
        ) from error
    if plan.description.content_digest != stored.content_digest:
        raise StoreError(
            f"{path}: the inputs under {folder!r} are not those that it was made from (content "
            f"digest {plan.description.content_digest[:12]}, stored {stored.content_digest[:12]}); "
            "if they lie elsewhere, name the folder with --folder"
        )
    return plan


def _difference(name: str, made: Any, stored: Any) -> list[str]:
    if made.shape != stored.shape or made.dtype != stored.dtype:
        return [f"{name}: {made.dtype} {made.shape}, stored {stored.dtype} {stored.shape}"]
    if made.tobytes() == stored.tobytes():
        return []
    made, stored = made.astype(float), stored.astype(float)
    other = (made != stored) & ~(np.isnan(made) & np.isnan(stored))
    away = np.nan_to_num(np.abs(made - stored)[other], nan=np.inf)  # a number where none was
    return [f"{name}: {len(away)} values differ, by at most {away.max(initial=0):g}"]
