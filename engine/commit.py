"""What says that a shard is whole: a record a shard, and one manifest for a store that is whole.

`commits/<shard>.json` is written last, when all files of a shard have their names. `commits.bin`
sums them up, so that a reader of a whole store opens one file:

    8 bytes   b"VMcommit"
    u32       version of this format, 2
    u32       F, the number of files a shard (one in each array)
    u64       samples of the store
    u64       K, the number of shards
    u32, ...  length and UTF-8 of the names of the F arrays, one a line
    K x F x   u64 size of the file, 16 bytes of its xxh3-128 (big end first, as its hexadecimal)
    K x F x   8 bytes: the mark of the file
    16 bytes  xxh3-128 of the description in the group's zarr.json
    16 bytes  xxh3-128 of all of the above

All numbers little end first. Its bytes depend on the data only, not on who made them or when.

The mark is what tells shard files of one array and of one size apart without reading them whole:
4 bytes that are the crc32c of the stored crc32c's of those inner chunks that end in the last 64 KiB
in front of the index, and the last 4 of the file, which are the crc32c of the index. Version 1 had
neither marks nor the hash of the description; a store of which a record lacks its marks still gets
that version.
"""

import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import AbsentError
from voxelmill.engine.files import write_atomic
from voxelmill.engine.layout import array_metadata, inner_chunks, shard_files, start_name
from voxelmill.engine.location import Location
from voxelmill.engine.sample import Ragged
from voxelmill.engine.shard_files import ShardFile, read_index, read_mark

MANIFEST = "commits.bin"
_MAGIC = b"VMcommit"
_HEAD = struct.Struct("<8sIIQQI")
_ENTRY = struct.Struct("<Q16s")


_MARK_BYTES = 8


@dataclass(frozen=True)
class FileState:
    """Size in bytes, xxh3-128 and mark (both hexadecimal) of one file of a shard.

    mark: None in records and manifests of before there were marks.
    """

    size: int
    xxh3_128: str
    mark: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError for what no file has."""
        lengths = (len(bytes.fromhex(self.xxh3_128)), len(bytes.fromhex(self.mark or "0" * 16)))
        if lengths != (16, _MARK_BYTES) or not 0 <= self.size < 2**64:
            raise ValueError(f"{self} is the state of no file")


@dataclass(frozen=True)
class Record:
    """A shard that is whole. `files` goes by path inside the store; `made` is in no hash.

    content_digest, layout_digest: of the store that it is a shard of; "" in older records.
    """

    shard: int
    samples: int
    files: Mapping[str, FileState]
    device_class: str
    versions: Mapping[str, str]
    made: Mapping[str, Any]
    content_digest: str = ""
    layout_digest: str = ""

    def is_of(self, description: Description) -> bool:
        """Whether it says that it is of such a store."""
        due = (description.content_digest, description.layout_digest)
        return (self.content_digest, self.layout_digest) == due

    def may_be_of(self, description: Description) -> bool:
        """Whether it does not say that it is of another store."""
        return not self.content_digest or self.is_of(description)


def record_path(store: Path, shard: int) -> Path:
    """Where the commit record of `shard` stands."""
    return store / record_name(shard)


def record_name(shard: int) -> str:
    """The same inside the store."""
    return f"commits/{shard:08d}.json"


def write_record(store: Path, record: Record) -> None:
    """Commit a shard: the last thing that is written of it."""
    write_atomic(record_path(store, record.shard), json.dumps(asdict(record), indent=1).encode())


def read_record(path: Path) -> Record | None:
    """The record at `path`; None if it is absent or unreadable: such a shard is made again."""
    with suppress(FileNotFoundError):
        return parsed_record(path.read_bytes())
    return None


def parsed_record(data: bytes) -> Record | None:
    """The record that `data` is; None if it is none."""
    try:
        json_ = json.loads(data)
        files = {name: FileState(**state) for name, state in json_.pop("files").items()}
        return Record(**json_, files=files)
    except (ValueError, TypeError, KeyError, AttributeError):
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
    same = record.samples == due and set(record.files) == names
    return same and record.may_be_of(description)


def mark_of(file: Path, description: Description, name: str) -> str:
    """The mark of a sound shard file of array `name`, hexadecimal."""
    opened = ShardFile(str(file))
    if name in [start_name(f) for f in description.fields if isinstance(f, Ragged)]:
        return read_mark(opened, np.array([0, opened.size])).hex()  # one chunk and no index
    return read_mark(opened, read_index(opened, inner_chunks(description, name), check=False)).hex()


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
    states = [
        records[shard].files[name]
        for shard in range(description.shards)
        for name in shard_files(description, shard).values()
    ]
    marks = [bytes.fromhex(state.mark) for state in states if state.mark is not None]
    version = 2 if len(marks) == len(states) else 1
    sizes = (len(arrays), description.count, description.shards, len(names))
    parts = [_HEAD.pack(_MAGIC, version, *sizes), names]
    parts += [_ENTRY.pack(state.size, bytes.fromhex(state.xxh3_128)) for state in states]
    if version > 1:
        parts += [*marks, hash_of(description.to_attributes())]
    body = b"".join(parts)
    return body + xxhash.xxh3_128_digest(body)


def hash_of(attributes: Mapping[str, Any]) -> bytes:
    """xxh3-128 of a description as JSON, less what says how far the store is."""
    import xxhash

    kept = {k: v for k, v in attributes.items() if k not in ("state", "growing")}
    return xxhash.xxh3_128_digest(json.dumps(kept, separators=(",", ":")).encode())


class Manifest(NamedTuple):
    """`commits.bin`: size and hash of each file; their marks and the description's hash, if any."""

    entries: bytes
    marks: bytes | None
    description: bytes | None


def read_manifest(
    store: Path | Location, description: Description
) -> dict[int, dict[str, FileState]]:
    """The files of every shard by path, from `commits.bin`; raises as `open_manifest`."""
    entries, marks, _ = open_manifest(store, description)
    states = (
        FileState(size, digest.hex(), None if marks is None else marks[8 * i : 8 * i + 8].hex())
        for i, (size, digest) in enumerate(_ENTRY.iter_unpack(entries))
    )
    return {
        shard: dict(zip(shard_files(description, shard).values(), states, strict=False))
        for shard in range(description.shards)
    }


def manifest_entries(store: Path | Location, description: Description) -> bytes:
    """The sizes and hashes in `commits.bin`; raises as `open_manifest`."""
    return open_manifest(store, description).entries


def open_manifest(store: Path | Location, description: Description) -> Manifest:
    """What is in `commits.bin`, checked.

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
    due = (_MAGIC, description.count, description.shards, list(array_metadata(description)))
    if (magic, count, shards, names) != due or files != len(names) or version not in (1, 2):
        raise StoreError(f"{path} is of another store or of another format; {cure}")
    rest = body[_HEAD.size + length :]
    last = shards * files * _ENTRY.size
    if version == 1:
        return Manifest(rest[:last], None, None)
    return Manifest(rest[:last], rest[last:-16], rest[-16:])
