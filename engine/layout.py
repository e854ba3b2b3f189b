"""How a store holds it: the metadata of its arrays and the files of its shards.

All of it is a pure function of the description, so that every writer makes the same bytes.

- A dense field is an array (sample, *axes); a shard file holds `samples_per_shard` samples, an
  inner chunk each. Images are raw + crc32c and labels zstd 1 + crc32c, unless the spec's `store`
  says otherwise. Fill 0 (false).
- A ragged field `x` is `x` (shard, row, column) with inner chunks of 256 rows, packed as labels
  are, and `x_start` (shard, sample + 1) uint32: rows of sample i = k * samples_per_shard + s are
  `x[k, x_start[k, s] : x_start[k, s + 1]]`. The last chunk is padded with the fill value (NaN, or
  0 of integers); chunks behind it are absent.
- `params` is (sample, parameter) float64, one inner chunk a shard, fill NaN.
"""

from typing import Any

import numpy as np

from voxelmill.engine.description import Description, column_to_json
from voxelmill.engine.sample import Field, Ragged

ROWS = 256  # of an inner chunk of a ragged array


def array_metadata(description: Description) -> dict[str, dict[str, Any]]:
    """The `zarr.json` of every array, by name, in the order in which a shard's files are listed."""
    d = description
    arrays: dict[str, dict[str, Any]] = {}
    for f in d.fields:
        if isinstance(f, Field):
            arrays[f.name] = _dense(d, f)
        else:
            arrays[start_name(f)] = _starts(d, f)
            arrays[f.name] = _rows(d, f)
    if d.columns:
        arrays["params"] = _params(d)
    return arrays


def start_name(ragged: Ragged) -> str:
    """The array that says where each sample's rows start."""
    return f"{ragged.name}_start"


def shard_files(description: Description, shard: int) -> dict[str, str]:
    """The file of `shard` in each array: name -> path inside the store."""
    return {
        name: f"{name}/c/{shard}" + "/0" * rest
        for name, rest in _inner_dimensions(description).items()
    }


def _inner_dimensions(d: Description) -> dict[str, int]:
    """The dimensions of each array behind its first; cheap, unlike the metadata."""
    dimensions: dict[str, int] = {}
    for f in d.fields:
        if isinstance(f, Ragged):
            dimensions |= {start_name(f): 1, f.name: 2}
        else:
            dimensions[f.name] = len(f.axes)
    return dimensions | ({"params": 1} if d.columns else {})


def inner_chunks(description: Description, name: str) -> int:
    """The entries in the index of a shard file of array `name`."""
    for f in description.fields:
        if f.name == name:
            return (
                description.samples_per_shard
                if isinstance(f, Field)
                else -(-description.samples_per_shard * f.most // ROWS)
            )
    return 1  # params


def stored_dtype(name: str) -> np.dtype[Any]:
    """The little-endian NumPy type whose bytes are stored."""
    return np.dtype(name).newbyteorder("<")


def fill_value(dtype: str) -> float:
    """What pads the last chunk of ragged rows."""
    return float("nan") if dtype.startswith("float") else 0


def _dense(d: Description, f: Field) -> dict[str, Any]:
    shape = list(f.shape)
    labels = {"labels": {str(k): v for k, v in f.labels.items()}} if f.labels else {}
    return _array(
        shape=[d.count, *shape],
        chunk=[d.samples_per_shard, *shape],
        dtype=f.dtype,
        codecs=_sharded([1, *shape], f.dtype, d.zstd_level(f)),
        fill=False if f.dtype == "bool" else 0 if np.dtype(f.dtype).kind in "iu" else 0.0,
        dims=["sample", *f.axes],
        attributes={"unit": f.unit, "meaning": f.meaning, **labels},
    )


def _starts(d: Description, f: Ragged) -> dict[str, Any]:
    columns = d.samples_per_shard + 1
    return _array(
        shape=[d.shards, columns],
        chunk=[1, columns],
        dtype="uint32",
        codecs=[_bytes("uint32"), {"name": "crc32c"}],
        fill=0,
        dims=["shard", f"{f.name}_bound"],
        attributes={
            "unit": f"row of {f.name}",
            "meaning": f"rows of sample s of shard k: {f.name}[k, start[k, s]:start[k, s + 1]]",
        },
    )


def _rows(d: Description, f: Ragged) -> dict[str, Any]:
    cap, columns = d.samples_per_shard * f.most, len(f.columns)
    return _array(
        shape=[d.shards, cap, columns],
        chunk=[1, -(-cap // ROWS) * ROWS, columns],
        dtype=f.dtype,
        codecs=_sharded([1, ROWS, columns], f.dtype, d.zstd_level(f)),
        fill="NaN" if f.dtype.startswith("float") else 0,
        dims=["shard", f"{f.name}_row", f"{f.name}_column"],
        attributes={"meaning": f.meaning, "columns": [column_to_json(c) for c in f.columns]},
    )


def _params(d: Description) -> dict[str, Any]:
    columns = len(d.columns)
    return _array(
        shape=[d.count, columns],
        chunk=[d.samples_per_shard, columns],
        dtype="float64",
        codecs=_sharded([d.samples_per_shard, columns], "float64", None),
        fill="NaN",
        dims=["sample", "parameter"],
        attributes={
            "meaning": "what was drawn for each sample",
            "columns": [column_to_json(c) for c in d.columns],
        },
    )


def _array(
    *,
    shape: list[int],
    chunk: list[int],
    dtype: str,
    codecs: list[Any],
    fill: Any,
    dims: list[str],
    attributes: dict[str, Any],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": codecs,
        "dimension_names": dims,
        "attributes": attributes,
    }


def _bytes(dtype: str) -> dict[str, Any]:
    if np.dtype(dtype).itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _sharded(inner: list[int], dtype: str, level: int | None) -> list[Any]:
    zstd = {"name": "zstd", "configuration": {"level": level, "checksum": False}}
    crc = {"name": "crc32c"}
    configuration = {
        "chunk_shape": inner,
        "codecs": [_bytes(dtype), *([zstd] if level is not None else []), crc],
        "index_codecs": [_bytes("uint64"), crc],
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]
