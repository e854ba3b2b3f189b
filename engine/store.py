"""What a store is on disk: create, finish, grow; `engine.check` looks for damage.

    x.zarr/zarr.json                  the group: state, description; see `engine.group`
    x.zarr/<array>/zarr.json          see `engine.layout`
    x.zarr/<array>/c/<shard>/0...     one file a shard, see `engine.writer`
    x.zarr/commits/<shard>.json       that the shard is whole, see `engine.commit`
    x.zarr/commits.bin                the same of all shards, when the store is whole
    x.zarr/owners/                    who makes which shards now, see `engine.owner`; then gone

Each step puts files in place by a rename and can be done again, so a kill at any point is cured
by running the same make again.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxelmill.engine.check import Problem, check, contradicted
from voxelmill.engine.commit import (
    MANIFEST,
    fits,
    pack,
    present,
    read_manifest,
    read_records,
    record_path,
)
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.files import (
    is_leftover,
    is_partial,
    make_folders,
    partials,
    sync_folder,
    write_errors,
)
from voxelmill.engine.group import (
    KEY,
    MOVE_AWAY,
    describe,
    read_description,
    read_group,
    state_in,
    state_of,
    write_arrays,
    write_group,
    write_if_other,
)
from voxelmill.engine.layout import array_metadata

__all__ = [
    "Description",
    "Problem",
    "check",
    "committed",
    "create",
    "finish",
    "forget",
    "grow",
    "missing",
    "name_shards",
    "read_description",
    "remove_leftovers",
    "state_of",
]


def create(path: str | Path, description: Description) -> None:
    """Make an empty store, or complete one of the same description that a kill left half made.

    Shards of such a store whose zarr.json was lost are kept. Raises StoreError if there is a store
    of another spec (its message gives the differences), something that is no store, or if `path`
    cannot be written.
    """
    store = Path(path)
    with write_errors(store, 0):
        if not os.path.lexists(store / "zarr.json"):
            description = _with_those_found(store, description)
            store.mkdir(parents=True, exist_ok=True)
            sync_folder(store.absolute().parent)
            _fill(store, description)
            write_group(store, description, "making")
            return
    existing = read_description(store)
    _refuse_other(store, existing, description)
    if existing.count != description.count:
        raise StoreError(_other_count(store, existing, description))
    with write_errors(store, 0):
        _fill(store, existing)


def committed(path: str | Path) -> set[int]:
    """The shards that are whole: by the manifest, or by the records while it is being made."""
    store, group = Path(path), read_group(path)
    description = describe(store, group)
    if state_in(group) == "whole":
        return set(read_manifest(store, description))
    records = read_records(store, description)
    return {shard for shard, record in records.items() if fits(record, description)}


def missing(path: str | Path) -> list[int]:
    """The shards still to be made, ascending.

    By the records, whatever the state says, and by the sizes of the files: a shard that lost a
    file or its end is made again, and so is one whose record `commits.bin` and its files deny.
    """
    store, description = Path(path), read_description(path)
    records = read_records(store, description)
    wrong = {shard for shard, _ in contradicted(store, description, records)}
    whole = {
        shard
        for shard, record in records.items()
        if shard not in wrong and fits(record, description) and present(store, record.files)
    }
    return [shard for shard in range(description.shards) if shard not in whole]


def finish(path: str | Path) -> None:
    """Say that the store is whole: the manifest, then state and consolidated metadata at once.

    Harmless when done again. Raises StoreError if a shard is missing.
    """
    store, description = Path(path), read_description(path)
    if lacking := missing(store):
        raise StoreError(f"{store}: {name_shards(lacking)} not made yet; run the same make again")
    manifest = pack(description, read_records(store, description))
    with write_errors(store, len(manifest)):
        _fill(store, description)
        write_if_other(store / MANIFEST, manifest)
        write_group(store, description, "whole")


def grow(path: str | Path, description: Description) -> None:
    """Let the store have more samples: state and new count at once, then the arrays' shapes.

    A kill in between is cured by `grow` or `create` with the same description. The last shard,
    if it was not full, counts as missing until it is made whole anew; the old samples stay
    readable. Versions and device class stay those of the creation. Raises StoreError if anything
    but a greater count differs.
    """
    store, group = Path(path), read_group(path)
    existing = describe(store, group)
    _refuse_other(store, existing, description)
    if description.count < existing.count:
        raise StoreError(_other_count(store, existing, description))
    if description.count > existing.count:
        before = group["attributes"][KEY].get("growing", {}).get("from", existing.count)
        growing = {"from": before, "to": description.count}
        kept = replace(description, versions=existing.versions, device_class=existing.device_class)
        with write_errors(store, 0):
            write_group(store, kept, "growing", growing)
    create(store, description)


def forget(path: str | Path, shards: Iterable[int]) -> None:
    """Let damaged shards count as missing, so that the next make makes them again."""
    store, group = Path(path), read_group(path)
    with write_errors(store, 0):
        if state_in(group) == "whole":
            write_group(store, describe(store, group), "making")
        for shard in shards:
            record_path(store, shard).unlink(missing_ok=True)
        sync_folder(store / "commits")


def remove_leftovers(path: str | Path) -> list[Path]:
    """Remove temporary files of writers that are dead, inside this store only; returns them."""
    store = Path(path)
    read_group(store)  # refuses what is no store: nothing is removed from it
    dead = [file for file in partials(store) if is_leftover(file)]
    for file in dead:
        file.unlink(missing_ok=True)
    return dead


def name_shards(shards: list[int], most: int = 3) -> str:
    """Shards in words, with their verb: "shards 3, 7, 9 and 12 more are"."""
    if len(shards) == 1:
        return f"shard {shards[0]} is"
    named, rest = ", ".join(map(str, shards[:most])), len(shards) - most
    return f"shards {named}{f' and {rest:,} more' if rest > 0 else ''} are"


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


def _fill(store: Path, description: Description) -> None:
    """Folders and metadata of the arrays."""
    for name in ("commits", *array_metadata(description)):
        make_folders(store / name, store)
    write_arrays(store, description)


def _with_those_found(store: Path, description: Description) -> Description:
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


def _refuse_other(store: Path, existing: Description, wanted: Description) -> None:
    """By digests, layout and split: a path in a spec may change."""
    if existing.stated_digest != existing.content_digest:
        raise StoreError(
            f"{store}/zarr.json is damaged: its spec is not the one of its digest; {MOVE_AWAY}"
        )
    same = ("content_digest", "layout_digest", "recipe", "recipe_version", "samples_per_shard")
    alike = all(getattr(existing, n) == getattr(wanted, n) for n in (*same, "fields", "columns"))
    if alike and existing.spec.get("split") == wanted.spec.get("split"):
        return  # with another split, samples that were trained on would be tested on
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
        + "\nuse the store's own spec to go on with it, or make a new store with -o"
    )


def _other_count(store: Path, existing: Description, wanted: Description) -> str:
    cure = "grow it"
    if wanted.count < existing.count:
        cure = "count may only grow; take a part of it when reading, or make a new store with -o"
    return f"{store} has {existing.count:,} samples, and {wanted.count:,} are asked for: {cure}"


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
