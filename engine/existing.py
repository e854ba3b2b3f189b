"""What is there already where a store is to be: this very store, another, or something else."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxelmill.engine.commit import read_records
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.files import is_partial
from voxelmill.engine.group import MOVE_AWAY
from voxelmill.engine.layout import array_metadata


def with_those_found(store: Path, description: Description) -> Description:
    """The description of a store that is to be at `store`, where there is no zarr.json.

    Only nothing, an empty folder, what a killed `create` left, or the shards of this very store
    may be there; these keep the class and the versions that they were made with.
    """
    if not os.path.lexists(store):
        return description
    ours = {store / name / "zarr.json" for name in array_metadata(description)}
    if store.is_dir():
        found = [Path(folder) / name for folder, _, names in os.walk(store) for name in names]
        if all(file in ours or is_partial(file.name) for file in found):
            return description
    records = list(read_records(store, replace(description, count=2**62)).values())
    if not records:
        raise StoreError(
            f"{store} exists and is no voxelmill store; name another path with -o or remove it"
        )
    lost = f"{store} has {len(records):,} shards and no zarr.json"
    if not all(record.is_of(description) for record in records):
        raise StoreError(
            f"{lost}, and they are not known to be of this spec; put its zarr.json back from a "
            "copy, run `voxelmill make` with their spec, or name another path with -o"
        )
    count = max(r.shard * description.samples_per_shard + r.samples for r in records)
    if count > description.count:
        raise StoreError(
            f"{lost}, and they reach to sample {count:,}; ask for as many samples as it had, which "
            f"were more than {description.count:,}"
        )
    first = records[0]
    return replace(description, device_class=first.device_class, versions=dict(first.versions))


def refuse_other(store: Path, existing: Description, wanted: Description) -> None:
    """Raise StoreError, telling the differences, if the store at `store` is not the wanted one.

    By digests, layout and split: a path in a spec may change.
    """
    if existing.stated_digest != existing.content_digest:
        raise StoreError(
            f"{store}/zarr.json is damaged: its spec is not the one of its digest; {MOVE_AWAY}"
        )
    same = ("content_digest", "layout_digest", "recipe", "recipe_version", "samples_per_shard")
    alike = all(getattr(existing, n) == getattr(wanted, n) for n in (*same, "fields", "columns"))
    if alike and existing.spec.get("split") == wanted.spec.get("split"):
        return  # with another split, samples that were trained on would be tested on
    cure = "use the store's own spec to go on with it, or make a new store with -o"
    if existing.recipe != wanted.recipe:  # nearly all other keys differ as well
        raise StoreError(
            f"{store} was made by recipe {existing.recipe}, and this spec is of {wanted.recipe}: "
            f"{cure}"
        )
    lines = differences(existing.spec, wanted.spec)
    old, new = (
        {n: getattr(d, n) for n in (*same[2:], "inputs") if n not in d.spec}
        for d in (existing, wanted)
    )
    lines += differences(old, new)
    old, new = (
        {n: d.to_attributes()[n] for n in (*same[:2], "fields", "columns")}
        for d in (existing, wanted)
    )
    raise StoreError(
        f"{store} was made from another spec:\n  "
        + "\n  ".join(lines or differences(old, new))
        + f"\n{cure}"
    )


def other_count(store: Path, existing: Description, wanted: Description) -> str:
    """What to tell of a store that has another number of samples."""
    cure = "grow it"
    if wanted.count < existing.count:
        cure = "count may only grow; take a part of it when reading, or make a new store with -o"
    return f"{store} has {existing.count:,} samples, and {wanted.count:,} are asked for: {cure}"


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Where two JSON values differ, a line a key; `count` at the top is left out."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for k in [*old, *(k for k in new if k not in old)]:
            if key or k != "count":
                name = f"{key}.{k}" if key else str(k)
                lines += differences(old.get(k, "(absent)"), new.get(k, "(absent)"), name)
        return lines
    if json.dumps(old) == json.dumps(new):  # a tuple that became a list is no difference
        return []
    return [f"{key}: {_short(old)} in the store, {_short(new)} in the spec"]


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
