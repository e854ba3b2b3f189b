"""What a store holds and how: the description in its attributes, and the metadata of its arrays.

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

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from voxelmill.engine.sample import Column, Field, Ragged
from voxelmill.engine.version import FORMAT

ROWS = 256  # of an inner chunk of a ragged array
# What both tensorstore and zarr-python open.
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("bool", *INTEGERS, "float16", "float32", "float64")
RESERVED = ("params", "index", "commits", "owners", "zarr")


@dataclass(frozen=True)
class Description:
    """What a store is: enough to write it, and for a reader to need nothing else.

    fields, columns: what a sample holds; columns are those of `params`, one value a sample.
    spec: the whole spec with its defaults filled in. content_digest, layout_digest: of the spec
    and of the layout; both are without `count`, which alone may grow.
    inputs: JSON; `subjects` (a list) gives the subject of input number i where params have a
    column `input`; a column `subject` with categories goes before it.
    device_class, versions: of the machine that created the store.
    """

    count: int
    samples_per_shard: int
    fields: tuple[Field | Ragged, ...]
    columns: tuple[Column, ...]
    spec: dict[str, Any]
    content_digest: str
    layout_digest: str
    recipe: str
    recipe_version: int
    device_class: str
    inputs: dict[str, Any]
    versions: dict[str, str]
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be stored so that every Zarr tool opens it."""
        if self.count < 1 or self.samples_per_shard < 1:
            raise ValueError(
                f"count {self.count} and samples_per_shard {self.samples_per_shard} must be 1 or "
                "more"
            )
        _check_names(self.fields)
        _check_dtypes(self.fields)
        _check_axes(self.fields)

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.count // self.samples_per_shard)

    def samples_in(self, shard: int) -> int:
        """The number of samples of `shard`; only the last may hold fewer than the others."""
        if not 0 <= shard < self.shards:
            raise ValueError(f"shard {shard} is not in 0..{self.shards - 1}")
        return min(self.samples_per_shard, self.count - shard * self.samples_per_shard)

    def zstd_level(self, f: Field | Ragged) -> int | None:
        """The level of zstd with which `f` is packed; None: raw. From the spec's `store`."""
        store = {"images": "raw", "labels": "zstd", "zstd_level": 1} | (
            self.spec.get("store") or {}
        )
        packed = store["labels" if isinstance(f, Ragged) or f.is_label else "images"] == "zstd"
        return int(store["zstd_level"]) if packed else None

    def to_attributes(self) -> dict[str, Any]:
        """JSON for the group's attributes."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        fields = [_field_to_json(f) for f in self.fields]
        return plain | {"fields": fields, "columns": [_column_to_json(c) for c in self.columns]}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "Description":
        """What `to_attributes` wrote."""
        return cls(
            **{name: attributes[name] for name in _PLAIN},
            fields=tuple(_field_from_json(f) for f in attributes["fields"]),
            columns=tuple(_column_from_json(c) for c in attributes["columns"]),
        )


_PLAIN = (
    "format",
    "count",
    "samples_per_shard",
    "spec",
    "content_digest",
    "layout_digest",
    "recipe",
    "recipe_version",
    "device_class",
    "inputs",
    "versions",
)


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
        attributes={"meaning": f.meaning, "columns": [_column_to_json(c) for c in f.columns]},
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
            "columns": [_column_to_json(c) for c in d.columns],
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


def _column_to_json(column: Column) -> dict[str, Any]:
    return asdict(column) | {"categories": list(column.categories)}


def _column_from_json(json: Mapping[str, Any]) -> Column:
    return Column(**{**json, "categories": tuple(json["categories"])})


def _field_to_json(f: Field | Ragged) -> dict[str, Any]:
    if isinstance(f, Ragged):
        columns = [_column_to_json(c) for c in f.columns]
        plain = {k: getattr(f, k) for k in ("name", "dtype", "most", "meaning")}
        return {"kind": "ragged", **plain, "columns": columns}
    plain = {k: getattr(f, k) for k in ("name", "dtype", "unit", "meaning", "is_label")}
    labels = {str(k): v for k, v in f.labels.items()}
    return {
        "kind": "dense",
        **plain,
        "axes": list(f.axes),
        "shape": list(f.shape),
        "labels": labels,
    }


def _field_from_json(json: Mapping[str, Any]) -> Field | Ragged:
    plain = {k: v for k, v in json.items() if k != "kind"}
    if json["kind"] == "ragged":
        return Ragged(**{**plain, "columns": tuple(map(_column_from_json, json["columns"]))})
    labels = {int(k): v for k, v in json["labels"].items()}
    sizes = {"axes": tuple(json["axes"]), "shape": tuple(json["shape"]), "labels": labels}
    return Field(**{**plain, **sizes})


def _check_names(fields: tuple[Field | Ragged, ...]) -> None:
    names = [f.name for f in fields] + [start_name(f) for f in fields if isinstance(f, Ragged)]
    for name in names:
        if names.count(name) > 1 or name in RESERVED or not name.isidentifier():
            raise ValueError(
                f"a field cannot be called {name!r}: names are identifiers, each used once, and "
                f"none of {', '.join(RESERVED)}"
            )


def _check_dtypes(fields: tuple[Field | Ragged, ...]) -> None:
    for f in fields:
        if f.dtype not in DTYPES:
            raise ValueError(f"{f.name}: dtype {f.dtype!r} is not one of {', '.join(DTYPES)}")
        if isinstance(f, Ragged) and (f.most < 1 or not f.columns):
            raise ValueError(f"{f.name}: at least one column and most >= 1, not {f.most}")
        if isinstance(f, Field) and (len(f.axes) != len(f.shape) or 0 in f.shape):
            raise ValueError(f"{f.name}: axes {f.axes} and shape {f.shape} do not go together")


def _check_axes(fields: tuple[Field | Ragged, ...]) -> None:
    """A name of an axis has one size in a group, or xarray does not open it."""
    sizes: dict[str, tuple[int, str]] = {}
    for f in fields:
        for axis, size in zip(f.axes, f.shape, strict=True) if isinstance(f, Field) else ():
            known, other = sizes.setdefault(axis, (size, f.name))
            if known != size or axis in ("sample", "shard"):
                raise ValueError(
                    f"axis {axis!r} is {size} in {f.name} and {known} in {other}: give one of them "
                    "another name"
                )
