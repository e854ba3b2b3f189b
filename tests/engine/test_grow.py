"""Kills: at every rename and fsync of create, of a shard, of finish and of grow."""

import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import stores

from voxelmill.engine.errors import StoreError
from voxelmill.engine.reader import open_store
from voxelmill.engine.store import (
    check,
    create,
    finish,
    grow,
    missing,
    read_description,
    state_of,
)

SHORT, LONG = 6, 11

# Forks a child for each step at which to die; the parent then resumes and compares.
KILLS = """
import os, shutil, sys
from pathlib import Path
import stores
from voxelmill.engine.reader import open_store
from voxelmill.engine.store import create, finish, remove_leftovers

kind, folder = sys.argv[1], Path(sys.argv[2])
os.fsync = lambda _: None  # a killed process loses no written page; only a step to die at
short, long = stores.describe(6), stores.describe(11)
due = stores.contents(stores.make(folder / "due.zarr", long))


def prepare(path):
    if kind == "grow":
        stores.make(path, short)
    elif kind == "finish":
        create(path, long)
        for shard in range(3):
            stores.write(path, long, shard)


def dying(real, left):
    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os._exit(99)
        return real(*args, **kwargs)
    return call


def die_at(path, step):
    left = [step]
    for name in ("replace", "fsync", "mkdir"):
        setattr(os, name, dying(getattr(os, name), left))
    {"create": create, "make": stores.make, "grow": stores.make}.get(kind, lambda p, _: finish(p))(
        path, long
    )
    os._exit(0)


step = 0
while True:
    path = folder / f"{step}.zarr"
    prepare(path)
    child = os.fork()
    if child == 0:
        die_at(path, step)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 99), status
    if kind == "grow":  # the old samples, all along; TensorStore only in a process of its own
        child = os.fork()
        if child == 0:
            reader = open_store(path, partial=True)
            old = all(stores.same(reader[i], stores.sample(i)) for i in range(6))
            os._exit(0 if old else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, step
    stores.make(path, long)
    remove_leftovers(path)
    assert stores.contents(path) == due, step
    shutil.rmtree(path)
    step += 1
    if status == 0:
        break
print(step - 1)
"""


@pytest.mark.parametrize(
    ("kind", "least"), [("create", 20), ("make", 60), ("finish", 6), ("grow", 40)]
)
def test_killed_at_each_step_it_resumes_to_the_same_bytes(tmp_path, kind, least):
    done = subprocess.run(
        [sys.executable, "-c", KILLS, kind, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(stores.__file__).parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least  # so many places were tried


@pytest.mark.parametrize("short", [3, 4, 6, 8, 10])
def test_grown_later_it_is_as_if_made_at_once(tmp_path, short):
    path = stores.make(tmp_path / "x.zarr", stores.describe(short))
    stores.make(path, stores.describe(LONG))
    assert stores.contents(path) == stores.contents(stores.make(tmp_path / "y.zarr"))
    assert check(path) == []
    reader = open_store(path)
    assert all(stores.same(reader[i], stores.sample(i)) for i in range(LONG))


def test_what_is_missing_while_it_grows(tmp_path):
    path = stores.make(tmp_path / "x.zarr", stores.describe(SHORT))
    before = open_store(path)
    grow(path, stores.describe(LONG))
    grow(path, stores.describe(LONG))
    assert (state_of(path), missing(path)) == ("growing", [1, 2])  # the last was not full
    assert read_description(path).count == LONG
    with pytest.raises(StoreError, match=r"is growing: shards 1, 2 are not made yet.*partial=True"):
        open_store(path)
    reader = open_store(path, partial=True)
    np.testing.assert_array_equal(reader.available(), np.arange(SHORT))
    with pytest.raises(StoreError, match="sample 6 is in shard 1, which is not made yet"):
        reader[6]
    for shard in (1, 2):
        stores.write(path, stores.describe(LONG), shard)
        assert all(stores.same(r[i], stores.sample(i)) for r in (before, reader) for i in range(6))
    with pytest.raises(StoreError, match="all shards are made, but the store is not finished"):
        open_store(path)


def test_it_grows_twice_and_while_it_is_being_made(tmp_path):
    path = tmp_path / "x.zarr"
    create(path, stores.describe(3))
    grow(path, stores.describe(SHORT))
    stores.write(path, stores.describe(SHORT), 0)
    grow(path, stores.describe(LONG))
    due = stores.contents(stores.make(tmp_path / "y.zarr"))
    assert stores.contents(stores.make(path)) == due


def test_only_the_count_may_grow(tmp_path):
    d = stores.describe(LONG)
    path = stores.make(tmp_path / "x.zarr", d)
    before = stores.contents(path)
    with pytest.raises(
        StoreError, match=r"has 11 samples, and 6 are asked for: count may only grow"
    ):
        grow(path, stores.describe(SHORT))
    with pytest.raises(StoreError, match="has 11 samples, and 12 are asked for: grow it"):
        create(path, stores.describe(12))
    other = replace(d, count=12, spec={**d.spec, "seed": 4}, content_digest="f" * 64)
    with pytest.raises(StoreError, match="seed: 3 in the store, 4 in the spec"):
        grow(path, other)
    with pytest.raises(StoreError, match="columns"):
        grow(path, replace(d, count=12, columns=d.columns[:1]))
    assert stores.contents(path) == before


def test_the_creators_versions_stay(tmp_path):
    path = stores.make(tmp_path / "x.zarr", stores.describe(SHORT))
    grow(path, stores.describe(LONG, versions={"numpy": "9"}, device_class="another cpu"))
    d = read_description(path)
    assert (d.versions, d.device_class) == ({"numpy": "2"}, "some cpu")


@pytest.mark.parametrize("way", ["preadv", "mmap", "tensorstore"])
def test_a_reader_sent_to_a_process_keeps_its_count_while_the_store_grows(tmp_path, way):
    path = stores.make(tmp_path / "x.zarr", stores.describe(SHORT))
    data = pickle.dumps(open_store(path, way=way))
    due = [open_store(path)[i] for i in range(SHORT)]

    def same():
        reader = pickle.loads(pickle.dumps(pickle.loads(data)))
        assert (len(reader), reader.is_whole) == (SHORT, True)
        (batch,) = reader.batches(SHORT, shuffle=False, fields=reader.names)
        for name in reader.fields:
            if name in ("objects", "runs"):
                ends = batch[name].starts
                rows = [batch[name].values[a:b] for a, b in pairwise(ends.tolist())]
            else:
                rows = batch[name]
            for one, values in zip(due, rows, strict=True):
                np.testing.assert_array_equal(values, one[name])
        np.testing.assert_array_equal(batch["params"], [one["params"] for one in due])
        with pytest.raises(IndexError):
            reader[SHORT]

    same()
    long = stores.describe(LONG)
    grow(path, long)
    same()
    for shard in missing(path):
        stores.write(path, long, shard)
        same()
    finish(path)
    same()
    assert len(open_store(path)) == LONG


@pytest.mark.parametrize("name", ["image", "objects", "runs", "params"])
def test_adapters_give_nothing_for_samples_that_are_not_made_yet(tmp_path, name):
    """Rows and params of a shard that is not full look like those of samples without any."""
    from voxelmill.engine.to_grain import GrainBatches, GrainSource
    from voxelmill.engine.to_torch import TorchSamples

    path = stores.make(tmp_path / "x.zarr", stores.describe(SHORT))
    long = stores.describe(LONG)
    grow(path, long)
    part, following = open_store(path, partial=True), open_store(path, follow=True, stall_s=0.2)
    ways = [
        lambda: TorchSamples(part, [name])[SHORT],
        lambda: GrainSource(part, [name])[SHORT],
        lambda: GrainBatches(following, LONG, fields=[name], shuffle=False)[0],
    ]
    for way in ways:
        with pytest.raises(StoreError, match=r"shards? 1\b.* not made yet"):
            way()
    stores.write(path, long, 1)
    source = GrainSource(following, [name])
    np.testing.assert_array_equal(source[SHORT][name], stores.sample(SHORT)[name])
