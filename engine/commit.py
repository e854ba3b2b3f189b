"""What says that a shard is whole: a record a shard, and one manifest for a store that is whole.

`commits/<shard>.json` is written last, when all files of a shard have their names. `commits.bin`
sums them up, so that a reader of a whole store opens one file:

    8 bytes   b"VMcommit"
    u32       version of this format, 1
    u32       F, the number of files a shard (one in each array)
    u64       samples of the store
    u64       K, the number of shards
    u32, ...  length and UTF-8 of the names of the F arrays, one a line
    K x F x   u64 size of the file, 16 bytes of its xxh3-128 (big end first, as its hexadecimal)
    16 bytes  xxh3-128 of all of the above

All numbers little end first. Its bytes depend on the data only, not on who made them or when.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import AbsentError
from voxelmill.engine.files import write_atomic
from voxelmill.engine.layout import array_metadata, shard_files
from voxelmill.engine.location import Location

MANIFEST = "commits.bin"
_MAGIC = b"VMcommit"
_HEAD = struct.Struct("<8sIIQQI")
_ENTRY = struct.Struct("<Q16s")


@dataclass(frozen=True)
class FileState:
    """Size in bytes and xxh3-128 (hexadecimal) of one file of a shard."""

    size: int
    xxh3_128: str


@dataclass(frozen=True)
class Record:
    """A shard that is whole. `files` goes by path inside the store; `made` is in no hash."""

    shard: int
    samples: int
    files: Mapping[str, FileState]
    device_class: str
    versions: Mapping[str, str]
    made: Mapping[str, Any]


def record_path(store: Path, shard: int) -> Path:
    """Where the commit record of `shard` stands."""
    return store / "commits" / f"{shard:08d}.json"


def write_record(store: Path, record: Record) -> None:
    """Commit a shard: the last thing that is written of it."""
    write_atomic(record_path(store, record.shard), json.dumps(asdict(record), indent=1).encode())


def read_record(path: Path) -> Record | None:
    """The record at `path`; None if it is absent or unreadable: such a shard is made again."""
    try:
        json_ = json.loads(path.read_bytes())
        files = {name: FileState(**state) for name, state in json_.pop("files").items()}
        return Record(**json_, files=files)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def read_records(store: Path, description: Description) -> dict[int, Record]:
    """All readable records of shards that the store has, by shard, ascending."""
    folder = store / "commits"
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    records: dict[int, Record] = {}
    for name in names:
        record = read_record(folder / name) if name.endswith(".json") else None
        if record and name == f"{record.shard:08d}.json" and record.shard < description.shards:
            records[record.shard] = record
    return records


def fits(record: Record, description: Description) -> bool:
    """Whether a record holds all samples and files now due; after growth the last old does not."""
    due = description.samples_in(record.shard)
    names = set(shard_files(description, record.shard).values())
    return record.samples == due and set(record.files) == names


def present(store: Path, files: Mapping[str, FileState]) -> bool:
    """Whether all files are there and as long as recorded."""
    try:
        return all((store / name).stat().st_size == state.size for name, state in files.items())
    except (FileNotFoundError, NotADirectoryError):
        return False


def pack(description: Description, records: Mapping[int, Record]) -> bytes:
    """The bytes of `commits.bin` from the fitting records of all shards."""
    import xxhash

    arrays = list(array_metadata(description))
    names = "\n".join(arrays).encode()
    head = _HEAD.pack(_MAGIC, 1, len(arrays), description.count, description.shards, len(names))
    parts = [head, names]
    for shard in range(description.shards):
        for name in shard_files(description, shard).values():
            state = records[shard].files[name]
            parts.append(_ENTRY.pack(state.size, bytes.fromhex(state.xxh3_128)))
    body = b"".join(parts)
    return body + xxhash.xxh3_128_digest(body)


def read_manifest(
    store: Path | Location, description: Description
) -> dict[int, dict[str, FileState]]:
    """The files of every shard by path, from `commits.bin`; raises as `manifest_entries`."""
    entries = iter(_ENTRY.iter_unpack(manifest_entries(store, description)))
    return {
        shard: {
            name: FileState(size, digest.hex())
            for name, (size, digest) in zip(
                shard_files(description, shard).values(), entries, strict=False
            )
        }
        for shard in range(description.shards)
    }


def manifest_entries(store: Path | Location, description: Description) -> bytes:
    """The entries of `commits.bin`, checked.

    Raises StoreError if it is absent, damaged or of another store.
    """
    import xxhash

    place = Location(store)
    path = place.join(MANIFEST)
    cure = "run `voxelmill make` again: it is made anew from the commit records"
    try:
        data = place.read(MANIFEST)
    except AbsentError:
        raise StoreError(f"{path} is missing from a store that says it is whole; {cure}") from None
    body, digest = data[:-16], data[-16:]
    if len(body) < _HEAD.size or xxhash.xxh3_128_digest(body) != digest:
        raise StoreError(f"{path} is damaged: its checksum is wrong; {cure}")
    magic, version, files, count, shards, length = _HEAD.unpack_from(body)
    names = body[_HEAD.size : _HEAD.size + length].decode().split("\n")
    due = (_MAGIC, 1, description.count, description.shards, list(array_metadata(description)))
    if (magic, version, count, shards, names) != due or files != len(names):
        raise StoreError(f"{path} is of another store or of another format; {cure}")
    return body[_HEAD.size + length :]
