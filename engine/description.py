"""What a store holds, in words that any program can read: the description in its attributes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from voxelmill.engine.sample import Column, Field, Ragged
from voxelmill.engine.version import FORMAT

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

    @property
    def stated_digest(self) -> str:
        """What `content_digest` has to be for the spec that stands beside it."""
        try:
            recipe, seed, ranges = (self.spec[k] for k in ("recipe", "seed", "ranges"))
        except KeyError as error:
            return f"(the spec has no {error})"
        inputs = self.inputs.get("digest", "")
        return digest_of_content(recipe, self.recipe_version, seed, ranges, inputs)

    def to_attributes(self) -> dict[str, Any]:
        """JSON for the group's attributes."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        fields = [_field_to_json(f) for f in self.fields]
        return plain | {"fields": fields, "columns": [column_to_json(c) for c in self.columns]}

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


def digest_of(data: Any) -> str:
    """sha256 of canonical JSON: sorted keys, no spaces, shortest numbers."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


def digest_of_content(
    recipe: str, version: int, seed: int, ranges: Mapping[str, Any], inputs: str
) -> str:
    """What decides the content of sample i: see `engine.spec.content_digest`.

    ranges: as JSON, defaults filled in. inputs: their digest, "" without inputs.
    """
    return digest_of(
        {"recipe": recipe, "version": version, "seed": seed, "ranges": ranges, "inputs": inputs}
    )


def column_to_json(column: Column) -> dict[str, Any]:
    """A column for JSON attributes."""
    return asdict(column) | {"categories": list(column.categories)}


def _column_from_json(json: Mapping[str, Any]) -> Column:
    return Column(**{**json, "categories": tuple(json["categories"])})


def _field_to_json(f: Field | Ragged) -> dict[str, Any]:
    if isinstance(f, Ragged):
        columns = [column_to_json(c) for c in f.columns]
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
    names = [f.name for f in fields] + [f"{f.name}_start" for f in fields if isinstance(f, Ragged)]
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
