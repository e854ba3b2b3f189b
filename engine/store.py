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

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

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
from voxelmill.engine.existing import other_count, refuse_other, with_those_found
from voxelmill.engine.files import (
    is_leftover,
    make_folders,
    partials,
    sync_folder,
    write_errors,
)
from voxelmill.engine.group import (
    KEY,
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
            description = with_those_found(store, description)
            store.mkdir(parents=True, exist_ok=True)
            sync_folder(store.absolute().parent)
            _fill(store, description)
            write_group(store, description, "making")
            return
    existing = read_description(store)
    refuse_other(store, existing, description)
    if existing.count != description.count:
        raise StoreError(other_count(store, existing, description))
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
    refuse_other(store, existing, description)
    if description.count < existing.count:
        raise StoreError(other_count(store, existing, description))
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


def _fill(store: Path, description: Description) -> None:
    """Folders and metadata of the arrays."""
    for name in ("commits", *array_metadata(description)):
        make_folders(store / name, store)
    write_arrays(store, description)
