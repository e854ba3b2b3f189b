"""Small made-up stores of unequal sizes, for the tests of what a store is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxelmill.engine.sample import Column, Field, Ragged, Rows
from voxelmill.engine.store import Description, create, finish, grow, missing, read_description
from voxelmill.engine.writer import ShardWriter

MOST = 150
SUBJECTS = ("ann", "bob", "cid")
FIELDS = (
    Field("image", "float32", ("y", "x"), (5, 7), unit="grey", meaning="a film"),
    Field(
        "mask",
        "uint8",
        ("y", "x"),
        (5, 7),
        unit="class",
        labels={0: "background", 1: "wire", 10: "clip"},
        is_label=True,
    ),
    Field("inside", "bool", ("channel",), (3,)),
    Ragged("objects", (Column("kind", categories=("u", "v")), Column("area", "px")), MOST),
    Ragged("runs", (Column("length", "px"),), 3, "uint32"),
)
COLUMNS = (
    Column("subject", categories=SUBJECTS, meaning="who"),
    Column("angle", "deg", "how it is turned"),
)


def describe(count=11, samples_per_shard=4, **changes):
    """A store of 3 shards, the last with 3 of 4 samples."""
    spec = {
        "recipe": "made_up",
        "count": count,
        "seed": 3,
        "ranges": {"size": [5, 7], "noise": {"uniform": [0.1, 0.2]}},
        "split": {"val": 0.3, "test": 0.2, "by": "subject"},
    }
    whole = {
        "count": count,
        "samples_per_shard": samples_per_shard,
        "fields": FIELDS,
        "columns": COLUMNS,
        "spec": spec,
        "content_digest": "",
        "layout_digest": "d" * 64,
        "recipe": "made_up",
        "recipe_version": 1,
        "device_class": "some cpu",
        "inputs": {"digest": "e" * 64},
        "versions": {"numpy": "2"},
    }
    description = Description(**(whole | changes))
    if "content_digest" in changes:
        return description
    return replace(description, content_digest=description.stated_digest)


def sample(index):
    """The content of sample `index`: a function of the index alone. Every third mask is empty."""
    rng = np.random.default_rng([7, index])
    rows = int(rng.integers(0, MOST + 1)) if index % 4 else 0
    mask = rng.choice([0, 1, 10], (5, 7)).astype("uint8") * (index % 3 > 0)
    return {
        "image": rng.random((5, 7), dtype=np.float32) * (index != 5),
        "mask": mask.astype("uint8"),
        "inside": rng.random(3) < 0.5,
        "objects": rng.random((rows, 2)),
        "runs": rng.integers(0, 99, (index % 4, 1), dtype=np.uint32),
        "params": np.array([index % 3, rng.random()]),
    }


def batch(indices, description=None):
    """The arrays and params of samples, as a recipe's `render` gives them."""
    samples = [sample(i) for i in indices]
    arrays = {}
    for f in (description or describe()).fields:
        values = [s[f.name] for s in samples]
        if isinstance(f, Field):
            arrays[f.name] = np.stack(values)
        else:
            starts = np.concatenate([[0], np.cumsum([len(v) for v in values])])
            arrays[f.name] = Rows(np.concatenate(values), starts)
    return arrays, np.stack([s["params"] for s in samples])


def write(path, description, shard, by=4):
    """Make a shard whole, `by` samples at a time."""
    first = shard * description.samples_per_shard
    last = first + description.samples_in(shard)
    with ShardWriter(path, description, shard) as writer:
        for i in range(first, last, by):
            writer.add(*batch(range(i, min(i + by, last))))
        writer.commit(0.5)


def make(path, description=None, by=4):
    """What a mill does, resuming included."""
    description = description or describe()
    there = (Path(path) / "zarr.json").exists()
    if there and read_description(path).count < description.count:
        grow(path, description)
    else:
        create(path, description)
    for shard in missing(path):
        write(path, description, shard, by)
    finish(path)
    return path


def contents(path):
    """The "same bytes" of a store: every file; commit records without `made`."""
    found = {}
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            name, data = str(file.relative_to(path)), file.read_bytes()
            if name.startswith("commits/"):
                data = json.loads(data)
                del data["made"]
            found[name] = data
    return found


def same(a, b):
    """Whether two samples or batches hold the same values."""
    pairs = [(a[k], b[k]) for k in a if k != "index"]
    flat = [
        (u, v)
        for x, y in pairs
        for u, v in (zip(x, y, strict=True) if isinstance(x, Rows) else [(x, y)])
    ]
    return all(np.asarray(u).dtype.kind == np.asarray(v).dtype.kind for u, v in flat) and all(
        np.array_equal(u, v) for u, v in flat
    )
