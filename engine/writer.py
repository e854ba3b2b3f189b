"""Shards as files: samples are appended as they come, and the commit record is written last.

A shard file is the encoded samples in their order, then the index (offset and size of each,
uint64) and its crc32c: what TensorStore writes for the whole shard at once, without holding it.
`encode` may run in other threads; `ShardWriter.append` then only writes.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.commit import FileState, Record, mark_of, read_records, write_record
from voxelmill.engine.description import Description
from voxelmill.engine.encode import Arrays, Encoded, crc_of, encode, packed
from voxelmill.engine.files import Partial, make_folders, sync_folder, write_errors
from voxelmill.engine.layout import (
    ROWS,
    fill_value,
    inner_chunks,
    shard_files,
    start_name,
    stored_dtype,
)
from voxelmill.engine.sample import Field, Ragged, Rows

__all__ = ["Encoded", "ShardWriter", "encode", "write_shard"]

_ABSENT = np.uint64(2**64 - 1)


class ShardWriter:
    """One shard of all arrays. As a context manager it abandons what was not committed.

    device_class, versions: of this machine, for the commit record; the store's by default.
    Any error abandons the shard: its temporary files are removed.
    """

    def __init__(
        self,
        path: str | Path,
        description: Description,
        shard: int,
        *,
        device_class: str | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self.description, self.shard = Path(path), description, shard
        self.samples = 0
        self._class = description.device_class if device_class is None else device_class
        self._versions = description.versions if versions is None else versions
        self._due = description.samples_in(shard)
        self._params = np.full((description.samples_per_shard, len(description.columns)), np.nan)
        self._names = shard_files(description, shard)
        self._files: dict[str, Partial] = {}
        with self._or_abandon():
            for name, file in self._names.items():
                make_folders((self.path / file).parent, self.path)
                self._files[name] = Partial(self.path / file)
        sharded = {
            f.name: _Sharded(self._files[f.name], inner_chunks(description, f.name))
            for f in description.fields
        }
        self._ragged = {
            f.name: _RaggedRows(f, sharded.pop(f.name), description)
            for f in description.fields
            if isinstance(f, Ragged)
        }
        self._dense = sharded

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()  # of nothing, after a commit

    def add(self, arrays: Arrays, params: NDArray[np.float64]) -> None:
        """Take the next samples: `encode` and `append` in one."""
        with self._or_abandon():
            self.append(encode(self.description, arrays), params)

    def append(self, encoded: Encoded, params: NDArray[np.float64]) -> None:
        """Take the next samples, encoded, and their parameters (sample, column).

        Raises ValueError for more samples than the shard has left, DiskFullError.
        """
        first, last = self.samples, self.samples + encoded.samples
        columns = len(self.description.columns)
        with self._or_abandon():
            if last > self._due or params.shape != (encoded.samples, columns):
                raise ValueError(
                    f"shard {self.shard} holds {first} of {self._due} samples; {encoded.samples} "
                    f"more came with params {params.shape}, of which {columns} columns are due"
                )
            for name, chunks in encoded.dense.items():
                self._dense[name].add(chunks)
            for name, rows in encoded.ragged.items():
                self._ragged[name].add(rows)
        self._params[first:last] = params
        self.samples = last

    def commit(self, seconds: float = 0.0) -> None:
        """Make the shard whole: indexes, fsync, names, and the record last.

        seconds: how long the samples took to make, for the record.
        Raises ValueError if samples are lacking, DiskFullError.
        """
        with self._or_abandon():
            if self.samples != self._due:
                raise ValueError(f"shard {self.shard} has {self.samples} of {self._due} samples")
            self._complete()
            states = {self._names[n]: self._closed(n, f) for n, f in self._files.items()}
            for file in self._files.values():
                file.rename()
                sync_folder(file.final.parent)
            made = {"time": time.time(), "host": gethostname(), "seconds": seconds}
            versions = dict(self._versions)
            digests = (self.description.content_digest, self.description.layout_digest)
            record = Record(self.shard, self.samples, states, self._class, versions, made, *digests)
            write_record(self.path, record)
        self._files.clear()

    def _closed(self, name: str, file: Partial) -> FileState:
        digest = file.close()
        return FileState(file.size, digest, mark_of(file.path, self.description, name))

    def abandon(self) -> None:
        """Remove the temporary files."""
        for file in self._files.values():
            file.abandon()
        self._files.clear()

    def _complete(self) -> None:
        """Write what comes behind the samples."""
        for part in self._dense.values():
            part.complete()
        for rows in self._ragged.values():
            rows.complete()
            starts = rows.starts.astype("<u4").tobytes()
            self._files[start_name(rows.field)].write(starts + crc_of(starts))
        if self.description.columns:
            table = self._params.astype("<f8").tobytes()
            whole = _Sharded(self._files["params"], 1)
            whole.add([(table, crc_of(table))])
            whole.complete()

    @contextmanager
    def _or_abandon(self) -> Iterator[None]:
        fields, columns = self.description.fields, self.description.columns
        needed = self._due * (sum(map(_most_bytes, fields)) + 8 * len(columns))
        with write_errors(self.path, needed, self._saved):  # says what is free after the removal
            try:
                yield
            except BaseException:
                self.abandon()
                raise

    def _saved(self) -> str:
        whole = len(read_records(self.path, self.description))
        return f"{whole} of {self.description.shards} shards are committed and stay readable; "


def write_shard(
    path: str | Path,
    description: Description,
    shard: int,
    arrays: Arrays,
    params: NDArray[np.float64],
    seconds: float = 0.0,
) -> None:
    """Write and commit all samples of a shard at once."""
    with ShardWriter(path, description, shard) as writer:
        writer.add(arrays, params)
        writer.commit(seconds)


class _Sharded:
    """A shard file that grows by inner chunks; `complete` writes the index behind them."""

    def __init__(self, file: Partial, entries: int) -> None:
        self._file = file
        self._index = np.full((entries, 2), _ABSENT, "<u8")
        self._next = 0

    def add(self, chunks: Iterable[tuple[Any, bytes]]) -> None:
        for payload, crc in chunks:
            offset = self._file.write(payload)
            self._file.write(crc)
            self._index[self._next] = offset, self._file.size - offset
            self._next += 1

    def complete(self) -> None:
        index = self._index.tobytes()
        self._file.write(index + crc_of(index))


class _RaggedRows:
    """Rows on their way into chunks of `ROWS`, and where those of each sample start."""

    def __init__(self, field: Ragged, part: _Sharded, description: Description) -> None:
        self.field, self._part, self._level = field, part, description.zstd_level(field)
        self._waiting = np.empty((0, len(field.columns)), stored_dtype(field.dtype))
        self._bounds = [0]
        self._samples = description.samples_per_shard

    @property
    def starts(self) -> NDArray[np.int64]:
        """(samples a shard + 1,): samples that the shard does not have hold no rows."""
        lacking = self._samples + 1 - len(self._bounds)
        return np.array(self._bounds + [self._bounds[-1]] * lacking, np.int64)

    def add(self, rows: Rows) -> None:
        self._bounds += (self._bounds[-1] + rows.starts[1:]).tolist()
        self._waiting = np.concatenate([self._waiting, rows.values])
        whole = len(self._waiting) // ROWS * ROWS
        blocks = self._waiting[:whole].reshape(-1, ROWS, self._waiting.shape[1])
        self._part.add(packed(blocks, self._level))
        self._waiting = self._waiting[whole:]

    def complete(self) -> None:
        if len(self._waiting):
            block = np.full((1, ROWS, self._waiting.shape[1]), fill_value(self.field.dtype))
            block = block.astype(self._waiting.dtype)
            block[0, : len(self._waiting)] = self._waiting
            self._part.add(packed(block, self._level))
        self._part.complete()


def _most_bytes(f: Field | Ragged) -> int:
    """Of one sample, not compressed."""
    if isinstance(f, Field):
        return f.nbytes
    return f.most * len(f.columns) * np.dtype(f.dtype).itemsize
