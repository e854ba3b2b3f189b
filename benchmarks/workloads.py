"""The bytes that readers are timed with, and our stores of them."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxelmill.engine.commit import read_record, record_path, write_record
from voxelmill.engine.layout import shard_files
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Field
from voxelmill.engine.store import Description, create, finish
from voxelmill.engine.writer import ShardWriter

SPEC = Path(__file__).parents[1] / "examples" / "cxr_objects.yaml"
COMMAND = [sys.executable, "-c", "from voxelmill.engine.cli import main; main()"]
PER_SHARD = 512


def films(count):
    """Radiographs with objects and their masks: image and semantic of the example, 512^2 uint8."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "films.zarr"  # made by another process: none of its threads stay here
        words = ["make", SPEC, "-o", path, "--count", count]
        subprocess.run([*COMMAND, *map(str, words)], check=True, capture_output=True)
        names = ["image", "semantic"]
        parts = [*open_store(path).batches(32, False, fields=names, end="uneven")]
    image, mask = (np.concatenate([p[name] for p in parts]) for name in names)
    return {"image": image, "mask": mask}


def volumes(count):
    """96 x 128 x 96 float16, made-up values."""
    bits = np.random.default_rng(0).integers(0, 0x3C00, (count, 96, 128, 96), np.uint16)
    return {"image": bits.view(np.float16)}  # in [0, 1)


def wide(count):
    """1024^2 uint16, made-up values."""
    return {"image": np.random.default_rng(0).integers(0, 4096, (count, 1024, 1024), np.uint16)}


def describe(arrays, count, per_shard, labels="zstd"):
    """A store of such arrays; "mask" is a label map."""
    fields = tuple(
        Field(
            name,
            str(a.dtype),
            tuple("zyx"[3 - len(a.shape[1:]) :]),
            a.shape[1:],
            labels={0: "background"} if name == "mask" else {},
            is_label=name == "mask",
        )
        for name, a in arrays.items()
    )
    return Description(
        count=count,
        samples_per_shard=per_shard,
        fields=fields,
        columns=(),
        spec={"recipe": "bench", "store": {"labels": labels}},
        content_digest="0" * 64,
        layout_digest="0" * 64,
        recipe="bench",
        recipe_version=1,
        device_class="any",
        inputs={},
        versions={},
    )


def write_store(path, arrays, labels="zstd"):
    """Our store of the arrays."""
    count = len(next(iter(arrays.values())))
    description = describe(arrays, count, min(PER_SHARD, count), labels)
    create(path, description)
    for shard in range(description.shards):
        write_shard(path, description, shard, arrays)
    finish(path)
    return path


def write_shard(path, description, shard, arrays):
    """One shard, whole."""
    first = shard * description.samples_per_shard
    last = first + description.samples_in(shard)
    with ShardWriter(path, description, shard) as writer:
        for i in range(first, last, 32):
            part = {n: a[i : min(i + 32, last)] for n, a in arrays.items()}
            writer.add(part, np.empty((min(i + 32, last) - i, 0)))
        writer.commit()


def write_million(path):
    """10^6 samples of 64^2 uint8 in 1,000 shards that are one file under as many names."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 64, 64), np.uint8)
    description = describe({"image": images}, 10**6, 1000)
    create(path, description)
    write_shard(path, description, 0, {"image": images})
    one = shard_files(description, 0)["image"]
    record = read_record(record_path(path, 0))
    for shard in range(1, description.shards):
        other = shard_files(description, shard)["image"]
        (path / other).parent.mkdir(parents=True, exist_ok=True)
        os.link(path / one, path / other)
        files = {other: record.files[one]}
        write_record(path, replace(record, shard=shard, files=files))
    finish(path)
    return path
