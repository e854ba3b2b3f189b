"""What was committed of the shard files of a local store: what one in another's place differs by.

A whole store says it in commits.bin. One that is still being made, or that grew since it was
described, has none that fits: there the commit record of each shard says it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from voxelmill.engine.commit import (
    FileState,
    Manifest,
    Record,
    open_manifest,
    read_record,
    record_path,
)
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.group import read_description
from voxelmill.engine.layout import array_metadata, shard_files

_ENTRY = np.dtype([("size", "<u8"), ("hash", "V16")])


class Commits:
    """The states of the shard files of a store, as they were committed."""

    def __init__(self, path: Path, description: Description) -> None:
        self._path, self._description = path, description
        self._numbers = {name: i for i, name in enumerate(array_metadata(description))}
        self._manifest = _manifest_of(path, description)
        self._records: dict[int, Record] = {}

    def state(self, name: str, shard: int) -> FileState | None:
        """Of the file of array `name`; None if nothing is known of it."""
        if self._manifest is None:
            return self._recorded(name, self._record(shard))
        entries, marks, _ = self._manifest
        at = shard * len(self._numbers) + self._numbers[name]
        size, digest = np.frombuffer(entries, _ENTRY, 1, at * _ENTRY.itemsize)[0].tolist()
        mark = None if marks is None else marks[8 * at : 8 * at + 8].hex()
        return FileState(size, digest.hex(), mark)

    def was_remade(self, name: str, shard: int, same: Callable[[FileState], bool]) -> bool:
        """Whether a file that is not as it was committed was made anew since.

        So is the last shard, if it was not full, when a store grows. same: whether a state is
        that of the file. While it grows, files come before their record: nothing is known then.
        """
        record = self._records.get(shard)
        samples = self._description.samples_in(shard)
        if self._manifest is None and record is not None:
            samples = record.samples
        elif samples == self._description.samples_per_shard:
            return False
        now = self._recorded(name, self._read(shard))
        if now is not None and same(now):
            return True
        try:
            return read_description(self._path).samples_in(shard) > samples
        except (StoreError, ValueError):
            return False

    def _record(self, shard: int) -> Record | None:
        return self._records.get(shard) or self._read(shard)

    def _read(self, shard: int) -> Record | None:
        found = read_record(record_path(self._path, shard))
        if found is None or found.shard != shard:
            return None
        self._records[shard] = found
        return found

    def _recorded(self, name: str, record: Record | None) -> FileState | None:
        if record is None:
            return None
        return record.files.get(shard_files(self._description, record.shard)[name])


def _manifest_of(path: Path, description: Description) -> Manifest | None:
    """What commits.bin says; None if there is none that fits.

    Whether that may be is for who opens the store.
    """
    try:
        return open_manifest(path, description)
    except StoreError:
        return None
