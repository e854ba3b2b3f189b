"""Look a store through for damage: every file present, as long as it was, with the same hash."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxelmill.engine.commit import (
    FileState,
    Record,
    fits,
    hash_of,
    mark_of,
    open_manifest,
    read_manifest,
    read_records,
    record_path,
)
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.files import partials
from voxelmill.engine.group import KEY, MOVE_AWAY, Json, describe, read_group, state_in
from voxelmill.engine.layout import array_metadata
from voxelmill.engine.location import Location

NOT_MADE = "the shard is not made yet"
LEFT_OVER = "is the unfinished file of a writer"
_REMAKE = "run the same `voxelmill make` again: it makes this shard anew"
_REMOVE = "remove this file, then run the same `voxelmill make` again: it makes this shard anew"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file. shard: None for what belongs to no shard."""

    shard: int | None
    file: str
    what: str
    cure: str

    def __str__(self) -> str:
        """A line for the terminal."""
        return f"{self.file}: {self.what}; {self.cure}"


def check(path: str | Path, progress: Callable[[int, int], None] | None = None) -> list[Problem]:
    """All that is wrong with the store at `path`; empty if it is whole and sound.

    progress: called with (shards looked at, shards). Raises StoreError if there is no store.
    """
    store, group = Location(path).path, read_group(path)
    description = describe(store, group)
    problems = [*_described(store, group, description), *_metadata(store, description)]
    problems += _consolidated(group, description)
    due, found = _due(store, group, description)
    problems += found
    for shard in range(description.shards):
        if shard in due:
            problems += _files(store, shard, due[shard], description)
        else:
            name = str(record_path(store, shard).relative_to(store))
            problems.append(Problem(shard, name, NOT_MADE, _REMAKE))
        if progress:
            progress(shard + 1, description.shards)
    problems += _records(store, group, description)
    return [*problems, *_leftovers(store, description)]


def contradicted(
    store: Path, description: Description, records: Mapping[int, Record]
) -> Iterator[tuple[int, str]]:
    """(shard, file) of records that neither `commits.bin` nor the file itself bears out.

    A shard that was made anew on another class of machine has another record, which its files do
    bear out; what fits `commits.bin` is not hashed.
    """
    try:
        due = read_manifest(store, description)
    except StoreError:
        return
    for shard, record in records.items():
        for name, state in record.files.items():
            file = store / name
            other = due[shard].get(name, state) != state
            if other and file.is_file() and _altered(file, name, state, description):
                yield shard, name
                break


def _records(store: Path, group: Json, description: Description) -> Iterator[Problem]:
    """Commit records of a whole store, of which readers see `commits.bin` only."""
    if state_in(group) != "whole":
        return
    records = read_records(store, description)
    for path in sorted((store / "commits").glob("*.json")):
        shard = int(path.stem) if path.stem.isdecimal() else description.shards
        fitting = shard in records and fits(records[shard], description)
        if shard < description.shards and not fitting:
            what = "is no record of this shard"
            yield Problem(shard, f"commits/{path.name}", what, _REMAKE)
    for shard, name in contradicted(store, description, records):
        what = f"its hash of {name} is not that of commits.bin"
        yield Problem(shard, f"commits/{record_path(store, shard).name}", what, _REMAKE)


def _described(store: Path, group: Json, description: Description) -> Iterator[Problem]:
    """What is still a description, but not the one that was written."""
    if description.stated_digest != description.content_digest:
        yield Problem(None, "zarr.json", "its spec is not the one of its digest", MOVE_AWAY)
        return
    if state_in(group) == "whole":
        with suppress(StoreError):  # `_due` says what is wrong with commits.bin
            due = open_manifest(store, description).description
            if due not in (None, hash_of(group["attributes"][KEY])):
                what = "its description is not the one that commits.bin is of"
                yield Problem(None, "zarr.json", what, MOVE_AWAY)


def _metadata(store: Path, description: Description) -> Iterator[Problem]:
    cure = "run the same `voxelmill make` again: it writes this file anew"
    for name, metadata in array_metadata(description).items():
        file = f"{name}/zarr.json"
        try:
            if json.loads((store / file).read_bytes()) != metadata:
                yield Problem(None, file, "is not what the group describes", cure)
        except FileNotFoundError:
            yield Problem(None, file, "is missing", cure)
        except ValueError:
            yield Problem(None, file, "is not JSON", cure)


def _consolidated(group: Json, description: Description) -> Iterator[Problem]:
    """Compared as zarr-python understands it: its versions write defaults differently."""
    if state_in(group) != "whole":
        return
    from zarr.core.metadata.v3 import ArrayV3Metadata

    cure = "run the same `voxelmill make` again: it writes this file anew"
    try:
        found = group["consolidated_metadata"]["metadata"]
        same = {n: ArrayV3Metadata.from_dict(m).to_dict() for n, m in found.items()} == {
            n: ArrayV3Metadata.from_dict(dict(m)).to_dict()
            for n, m in array_metadata(description).items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        same = False
    if not same:
        what = "its consolidated metadata is not that of the arrays"
        yield Problem(None, "zarr.json", what, cure)


def _due(
    store: Path, group: Json, description: Description
) -> tuple[dict[int, Mapping[str, FileState]], list[Problem]]:
    """The files that must be there, by shard: by the manifest, or by the records without it."""
    problems = []
    if state_in(group) == "whole":
        try:
            return {**read_manifest(store, description)}, []
        except StoreError as error:
            cure = "run the same `voxelmill make` again"
            problems.append(Problem(None, "commits.bin", f"cannot be used ({error})", cure))
    records = read_records(store, description).items()
    return {k: r.files for k, r in records if fits(r, description)}, problems


def _files(
    store: Path, shard: int, files: Mapping[str, FileState], description: Description
) -> Iterator[Problem]:
    for name, state in files.items():
        try:
            size = (store / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            yield Problem(shard, name, "is missing", _REMAKE)
            continue
        if size != state.size:
            what = f"has {size:,} bytes instead of {state.size:,}"
            yield Problem(shard, name, what, _REMAKE)
        elif _altered(store / name, name, state, description):
            yield Problem(shard, name, "its bytes are not those that were written", _REMOVE)


def _altered(file: Path, name: str, state: FileState, description: Description) -> bool:
    """Whether the bytes of a file, `name` inside the store, are not those of `state`."""
    if _hash(file) != state.xxh3_128:
        return True
    return state.mark not in (None, mark_of(file, description, name.split("/")[0]))


def _hash(file: Path) -> str:
    import xxhash

    digest = xxhash.xxh3_128()
    with open(file, "rb", buffering=0) as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return str(digest.hexdigest())


def _leftovers(store: Path, description: Description) -> Iterator[Problem]:
    arrays = set(array_metadata(description))
    for file in partials(store):
        parts = file.relative_to(store).parts
        of_shard = len(parts) > 3 and parts[0] in arrays and parts[2].isdecimal()
        shard = int(parts[2].split(".")[0]) if of_shard else None
        cure = "the next `voxelmill make` removes it, if its writer no longer lives"
        yield Problem(shard, "/".join(parts), LEFT_OVER, cure)
