"""Make one sample of a store again, alone, and compare it with what is stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxelmill.engine.device_class import device_class
from voxelmill.engine.errors import StoreError, VersionError
from voxelmill.engine.mill import draw_batch, param_rows, render_batch
from voxelmill.engine.plan import open_plan
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Rows
from voxelmill.engine.spec import from_dict


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
    program's recipe has another version than the store's, StoreError where inputs differ.
    """
    reader = open_store(path, partial=True)
    if not 0 <= index < len(reader):
        raise IndexError(f"{index} is not in [0, {len(reader)}) of {path}")
    stored = reader.description
    spec = from_dict(stored.spec, folder, recipe_file)
    have = spec.module.VERSION
    if have != stored.recipe_version:
        was = stored.versions.get("voxelmill", "another version")
        raise VersionError(
            f"{path} was made by version {stored.recipe_version} of recipe {stored.recipe} "
            f"(voxelmill {was}); this program has version {have}: install voxelmill {was}"
        )
    plan = open_plan(spec)
    if plan.description.content_digest != stored.content_digest:
        raise StoreError(
            f"{path}: the inputs under {folder!r} are not those that it was made from (content "
            f"digest {plan.description.content_digest[:12]}, stored {stored.content_digest[:12]})"
        )
    job = plan.job(path)
    draws = draw_batch(job, [index])
    arrays = render_batch(job, draws)
    arrays["params"] = param_rows(plan.description.columns, draws, plan.inputs)
    single = {k: a.values if isinstance(a, Rows) else a[0] for k, a in arrays.items()}
    found = reader[index]
    differences = [d for name in single for d in _difference(name, single[name], found[name])]
    if differences and stored.device_class != device_class():
        differences.append(
            f"made on {stored.device_class!r}, this is {device_class()!r}: rounding may differ"
        )
    return Remade(index, single, tuple(differences))


def _difference(name: str, made: Any, stored: Any) -> list[str]:
    if made.shape != stored.shape or made.dtype != stored.dtype:
        return [f"{name}: {made.dtype} {made.shape}, stored {stored.dtype} {stored.shape}"]
    if made.tobytes() == stored.tobytes():
        return []
    away = np.abs(made.astype(float) - stored.astype(float))
    return [f"{name}: {np.count_nonzero(away)} values differ, by at most {np.nanmax(away):g}"]
