"""A batch as the bytes of a store: checked against the description, compressed, checksummed.

The dear part of writing. It keeps nothing and touches no file, so it may run in any thread.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from voxelmill.engine.description import Description
from voxelmill.engine.layout import stored_dtype
from voxelmill.engine.sample import Field, Ragged, Rows

Arrays = Mapping[str, Any]  # by field: an array (sample, *shape), or Rows


@dataclass(frozen=True)
class Encoded:
    """Samples ready to be written: for each dense field the payload and crc32c of each sample.

    Raw payloads are views of the arrays given to `encode`: leave those as they are until
    `ShardWriter.append` has returned.
    """

    samples: int
    dense: dict[str, list[tuple[Any, bytes]]]
    ragged: dict[str, Rows]

    @property
    def nbytes(self) -> int:
        """Bytes held, for queues that are bounded in bytes."""
        dense = sum(memoryview(p).nbytes + 4 for chunks in self.dense.values() for p, _ in chunks)
        return dense + sum(r.values.nbytes + r.starts.nbytes for r in self.ragged.values())


def encode(description: Description, arrays: Arrays) -> Encoded:
    """Compress and checksum a batch: dense arrays (sample, *shape), ragged ones as Rows.

    Raises ValueError if a name, a shape or a dtype is not as described: nothing is broadcast
    or cast.
    """
    samples = check_batch(description, arrays)
    dense: dict[str, list[tuple[Any, bytes]]] = {}
    ragged: dict[str, Rows] = {}
    for f in description.fields:
        if isinstance(f, Field):
            array = np.ascontiguousarray(arrays[f.name], stored_dtype(f.dtype))
            dense[f.name] = packed(array, description.zstd_level(f))
        else:
            rows = arrays[f.name]
            values = np.ascontiguousarray(rows.values, stored_dtype(f.dtype))
            ragged[f.name] = Rows(values, np.asarray(rows.starts, np.int64))
    return Encoded(samples, dense, ragged)


def packed(blocks: NDArray[Any], level: int | None) -> list[tuple[Any, bytes]]:
    """The payload and crc32c of each block (block, ...): zstd at `level`, or a view if None."""
    flat = blocks.reshape(len(blocks), math.prod(blocks.shape[1:])).view(np.uint8)
    if level is None:
        return [(block, crc_of(block)) for block in flat]
    compressor = zstandard.ZstdCompressor(level=level)  # its own: it is not thread safe
    payloads = [compressor.compress(block.data) for block in flat]
    return [(payload, crc_of(payload)) for payload in payloads]


def crc_of(data: Any) -> bytes:
    """The crc32c of a buffer as it is stored behind it."""
    return struct.pack("<I", google_crc32c.value(data))


def check_batch(description: Description, arrays: Arrays) -> int:
    """The number of samples of a batch.

    Raises ValueError that names the field if a name, a shape or a dtype is not as described.
    """
    names = {f.name for f in description.fields}
    if set(arrays) != names:
        lacking, strange = sorted(names - set(arrays)), sorted(set(arrays) - names)
        raise ValueError(f"fields {lacking} are lacking and {strange} are not in the store")
    counts = {f.name: _check_one(f, arrays[f.name]) for f in description.fields}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the arrays of a batch hold different numbers of samples: {counts}")
    return next(iter(counts.values()), 0)


def _check_one(f: Field | Ragged, value: Any) -> int:
    due = np.ndarray if isinstance(f, Field) else Rows
    if not isinstance(value, due):
        raise ValueError(f"{f.name}: a {type(value).__name__} came; {due.__name__} is due")
    return _check_dense(f, value) if isinstance(f, Field) else _check_rows(f, *value)


def _check_dense(f: Field, value: Any) -> int:
    if value.ndim != 1 + len(f.shape) or value.shape[1:] != f.shape or value.dtype != f.dtype:
        raise ValueError(
            f"{f.name}: {value.shape} {value.dtype} came; (samples, "
            f"{', '.join(map(str, f.shape))}) {f.dtype} is due: nothing is broadcast or cast"
        )
    return len(value)


def _check_rows(f: Ragged, values: Any, starts: Any) -> int:
    if values.ndim != 2 or values.shape[1] != len(f.columns) or values.dtype != f.dtype:
        raise ValueError(
            f"{f.name}: rows {values.shape} {values.dtype} came; (rows, {len(f.columns)}) "
            f"{f.dtype} are due"
        )
    sizes = np.diff(starts)
    if len(starts) < 1 or starts[0] != 0 or starts[-1] != len(values) or (sizes < 0).any():
        raise ValueError(f"{f.name}: starts must ascend from 0 to the {len(values)} rows")
    if sizes.size and sizes.max() > f.most:
        raise ValueError(
            f"{f.name}: {sizes.max()} rows in one sample; the store holds at most {f.most}"
        )
    return len(sizes)
