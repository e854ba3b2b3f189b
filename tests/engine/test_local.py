import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import Queue

import google_crc32c
import numpy as np
import pytest
import stores
import tensorstore as ts

from voxelmill.engine.access import Convert, open_access
from voxelmill.engine.arrays import Arrays, Reads
from voxelmill.engine.check import check as check_store
from voxelmill.engine.commit import pack, read_records
from voxelmill.engine.crc import crc32c_at, crc32c_holding
from voxelmill.engine.draw import name_code, philox
from voxelmill.engine.errors import StoreError
from voxelmill.engine.kept import Kept
from voxelmill.engine.local import LocalArrays, window_steps
from voxelmill.engine.location import Location
from voxelmill.engine.order import Order
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Column, Field, Ragged, Rows
from voxelmill.engine.shard_files import (
    NOWAIT,
    Damage,
    Files,
    ShardFile,
    place_in,
    read_index,
)
from voxelmill.engine.store import create, finish
from voxelmill.engine.threads import Pool

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
WAYS = ("preadv", "mmap")
NAMES = ["image", "mask", "inside", "objects", "runs", "params"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return stores.make(tmp_path_factory.mktemp("stores") / "x.zarr")


@pytest.fixture
def damaged(whole, tmp_path):
    """A store of its own, to be damaged."""
    return shutil.copytree(whole, tmp_path / "x.zarr")


def read(arrays, indices, names=NAMES, **more):
    return arrays.start(np.array(indices, np.int64), names, **more).result()


def expected(indices, names=NAMES):
    arrays, params = stores.batch(indices)
    return {name: params if name == "params" else arrays[name] for name in names}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("check", ["first", "always", "never"])
def test_batches_are_what_was_written(whole, way, check):
    arrays = LocalArrays(whole, stores.describe(), way=way, check=check, threads=3)
    for _ in range(2):  # the second time without checks, if `first`
        for indices in ([3], [10, 0, 7, 7, 4], list(range(11)), [8, 9, 10]):
            batch = read(arrays, indices)
            assert list(batch) == [*NAMES, "index"]
            np.testing.assert_array_equal(batch["index"], indices)
            assert stores.same(expected(indices), batch)
            for name in ("image", "mask", "inside", "params"):
                assert batch[name].dtype == expected(indices)[name].dtype
    empty = read(arrays, [])
    assert empty["image"].shape == (0, 5, 7)
    assert empty["objects"].values.shape == (0, 2)
    assert empty["runs"].starts.tolist() == [0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("images", ["raw", "zstd"])
@pytest.mark.parametrize("labels", ["raw", "zstd"])
def test_it_agrees_with_tensorstore_in_all_types(tmp_path, way, images, labels):
    random = np.random.default_rng(5)
    kinds = [*DTYPES, "float16", "float32", "float64"]
    fields = tuple(
        Field(
            f"f_{kind}", kind, ("z", "y", "x")[3 - i % 4 :], (2, 3, 5)[3 - i % 4 :], is_label=i > 5
        )
        for i, kind in enumerate(kinds)
    )
    rows = tuple(
        Ragged(f"r_{kind}", (Column("a"), Column("b"), Column("c")), 300, kind)
        for kind in ("int16", "float32", "uint64")
    )
    description = stores.describe(
        7, 3, fields=(*fields, *rows), spec={"store": {"images": images, "labels": labels}}
    )
    data = {f.name: random.integers(0, 100, (7, *f.shape)).astype(f.dtype) for f in fields}
    starts = np.array([0, 300, 300, 301, 557, 813, 814, 1000])
    data |= {f.name: random.integers(0, 99, (1000, 3)).astype(f.dtype) for f in rows}
    params = random.random((7, 2))
    path = tmp_path / "x.zarr"
    stores.create(path, description)
    for shard in range(3):
        some = slice(shard * 3, shard * 3 + description.samples_in(shard))
        first, last = starts[some.start], starts[some.stop]
        batch = {f.name: data[f.name][some] for f in fields}
        bounds = starts[some.start : some.stop + 1] - first
        batch |= {f.name: Rows(data[f.name][first:last], bounds) for f in rows}
        with stores.ShardWriter(path, description, shard) as writer:
            writer.add(batch, params[some])
            writer.commit()
    stores.finish(path)
    names = [f.name for f in description.fields] + ["params"]
    arrays = LocalArrays(path, description, way=way, threads=2)
    there = Arrays(path, description)
    for indices in ([6, 0, 3, 3], [5], [1, 2, 4, 6, 5, 0, 3]):
        batch = read(arrays, indices, names)
        assert stores.same(Reads(there, np.array(indices), names).result(), batch)
        for f in fields:
            np.testing.assert_array_equal(batch[f.name], data[f.name][indices], strict=True)
        for f in rows:
            for i, sample in enumerate(indices):
                values, bounds = batch[f.name]
                mine = data[f.name][starts[sample] : starts[sample + 1]]
                np.testing.assert_array_equal(values[bounds[i] : bounds[i + 1]], mine, strict=True)
    for first, last in ((0, 7), (2, 5), (6, 7), (3, 3)):
        np.testing.assert_array_equal(arrays.column(first, last, 1), params[first:last, 1])


def test_shards_that_another_tool_wrote(tmp_path):
    """In any order, with gaps and fields of zeros left out: the index says where samples are."""
    description = stores.describe()
    path = stores.make(tmp_path / "x.zarr")
    values = {name: expected(range(11))[name] for name in ("image", "mask")}
    for name, value in values.items():
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/{name}/"}}
        spec["store_data_equal_to_fill_value"] = True
        array = ts.open(spec).result()
        shutil.rmtree(path / name / "c")
        for sample in (2, 0, 3, 1, 7, 5, 4, 6, 9, 8, 10):
            array[sample].write(value[sample]).result()
    (path / "commits.bin").unlink()
    shutil.rmtree(path / "commits")
    arrays = LocalArrays(path, description)
    assert stores.same(
        read(arrays, [9, 3, 0, 5], ["image", "mask"]), expected([9, 3, 0, 5], values)
    )
    data = bytearray((path / "image/c/0/0/0").read_bytes())  # swap two payloads of shard 0
    record = 5 * 7 * 4 + 4
    index = np.frombuffer(data, "<u8", 8, len(data) - 68).reshape(4, 2).copy()
    a, b = data[:record], data[2 * record : 3 * record]
    data[:record], data[2 * record : 3 * record] = b, a
    index[[0, 2]] = index[[2, 0]]
    data[-68:] = index.tobytes() + google_crc32c.value(index.tobytes()).to_bytes(4, "little")
    (path / "image/c/0/0/0").write_bytes(data)
    for way in WAYS:
        moved = LocalArrays(path, description, way=way)
        assert stores.same(read(moved, [2, 1, 0], ["image"]), expected([2, 1, 0], ["image"]))


def test_it_imports_no_tensorstore(whole):
    code = f"""
import sys, numpy as np
from voxelmill.engine.access import open_access
from voxelmill.engine.group import read_description
access = open_access({str(whole)!r}, read_description({str(whole)!r}))
batch = access.start(np.arange(11), {NAMES!r}).result()
print(access.column(0, 11, 1).sum() == batch["params"][:, 1].sum())
print(*[m for m in ("tensorstore", "zarr", "numba", "scipy", "jax", "torch") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True"], done.stdout + done.stderr


# Processes and threads.


def _in_child(queue, arrays, indices):
    queue.put({k: v for k, v in read(arrays, indices).items() if k in ("image", "params")})


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_used_reader_works_in_forked_children(whole, way):
    arrays = LocalArrays(whole, stores.describe(), way=way, threads=2)
    read(arrays, range(11))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [
        context.Process(target=_in_child, args=(queue, arrays, [10, 2, i])) for i in range(3)
    ]
    for child in children:
        child.start()
    batches = [queue.get(timeout=30) for _ in children]
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    for batch in batches:
        np.testing.assert_array_equal(batch["image"][:2], expected([10, 2])["image"])
    assert stores.same(read(arrays, [1, 9]), expected([1, 9]))  # the parent goes on


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_batch_does_not_cross_a_fork(whole):
    pending = LocalArrays(whole, stores.describe()).start(np.arange(5), NAMES)
    pid = os.fork()
    if not pid:
        try:
            pending.result()
        except StoreError as error:
            os._exit(7 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert len(pending.result()["image"]) == 5


def test_many_threads_read_at_once(whole):
    arrays = LocalArrays(whole, stores.describe(), threads=2)
    wrong = []

    def reading(seed):
        random = np.random.default_rng(seed)
        for _ in range(40):
            indices = random.integers(0, 11, 4)
            if not stores.same(read(arrays, indices), expected(indices)):
                wrong.append(seed)

    threads = [threading.Thread(target=reading, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_end_with_the_arrays(whole):
    before = set(threading.enumerate())
    arrays = LocalArrays(whole, stores.describe(), threads=3)
    assert set(threading.enumerate()) <= before  # none is made until something is read
    read(arrays, [1])
    made = set(threading.enumerate()) - before
    assert len(made) == 3
    del arrays
    for thread in made:
        thread.join(10)
        assert not thread.is_alive()


def test_batches_in_flight_end_in_any_order(whole):
    arrays = LocalArrays(whole, stores.describe(), threads=2)
    pending = [arrays.start(np.array([i, 10 - i]), NAMES) for i in range(11)]
    for i in (5, 0, 10, 3):
        assert stores.same(pending[i].result(), expected([i, 10 - i]))
        assert pending[i].result()["image"] is pending[i].result()["image"]


def test_the_first_error_is_raised_when_all_tasks_ended():
    ended = []

    def slow():
        time.sleep(0.05)
        ended.append(1)

    def bad():
        raise KeyError("no")

    pool = Pool(2)
    for _ in range(2):
        work = pool.begin([bad, slow, slow])
        with pytest.raises(KeyError):
            work.wait()
        with pytest.raises(KeyError):
            work.wait()
    assert len(ended) == 4
    pool.begin([]).wait()


# Buffers of the caller.


@pytest.mark.parametrize("way", ["tensorstore", *WAYS])
def test_buffers_are_filled_in_place(whole, way):
    access = open_access(whole, stores.describe(), way=way)
    room = {"image": np.full((9, 5, 7), -1, np.float32), "params": np.full((4, 2), -1.0)}
    out = {"image": room["image"][2:6], "params": room["params"]}
    batch = access.start(np.array([9, 0, 4, 5]), NAMES, out).result()
    assert batch["image"] is out["image"]
    assert batch["params"] is out["params"]
    assert stores.same(batch, expected([9, 0, 4, 5]))
    assert (room["image"][:2] == -1).all()
    assert (room["image"][6:] == -1).all()


@pytest.mark.parametrize("way", ["tensorstore", "preadv"])
@pytest.mark.parametrize(
    ("name", "buffer", "words"),
    [
        ("image", np.empty((2, 5, 7), np.float32), r"\(3, 5, 7\) float32 is due"),
        ("image", np.empty((3, 7, 5), np.float32), r"\(3, 5, 7\) float32 is due"),
        ("image", np.empty((3, 5, 7), np.float64), r"float64; \(3, 5, 7\) float32 is due"),
        ("image", np.empty((3, 7, 5), np.float32).swapaxes(1, 2), "C-contiguous and writeable"),
        ("image", np.broadcast_to(np.float32(0), (3, 5, 7)), "C-contiguous and writeable"),
        ("image", [1, 2, 3], r"\(3, 5, 7\) float32 is due"),
        ("params", np.empty((3, 3)), r"\(3, 2\) float64 is due"),
        ("objects", np.empty((3, 2)), "'objects': it is not read, or ragged"),
        ("inside", np.empty((3, 3), bool), "'inside': it is not read, or ragged"),
    ],
)
def test_other_buffers_are_refused(whole, way, name, buffer, words):
    access = open_access(whole, stores.describe(), way=way)
    with pytest.raises(ValueError, match=words):
        access.start(np.array([1, 2, 3]), ["image", "objects", "params"], {name: buffer})


# Crops and scaling.


@pytest.mark.parametrize("way", ["tensorstore", *WAYS])
def test_crops_and_scaling(whole, way):
    access = open_access(whole, stores.describe(), way=way)
    convert = Convert(scale={"mask": (0.5, 2.0)}, crop={"x": 4, "y": 3}, seed=2**40 + 7, epoch=5)
    indices = [10, 3, 3, 0, 6]
    batch = access.start(np.array(indices), NAMES, None, convert).result()
    raw = expected(indices)
    assert batch["image"].shape == batch["mask"].shape == (5, 3, 4)
    assert (batch["image"].dtype, batch["mask"].dtype) == (np.float32, np.float32)
    for i, sample in enumerate(indices):
        y, x = (
            int(
                philox(
                    np.array([[5, name_code(f"crop of {axis}"), sample, 0]], np.uint32), (7, 256)
                )[0, 0]
            )
            * room
            >> 32
            for axis, room in (("y", 3), ("x", 4))
        )
        np.testing.assert_array_equal(batch["image"][i], raw["image"][i, y : y + 3, x : x + 4])
        scaled = raw["mask"][i, y : y + 3, x : x + 4] * np.float32(0.5) + np.float32(2)
        np.testing.assert_array_equal(batch["mask"][i], scaled)
    assert stores.same({k: raw[k] for k in ("inside", "objects", "params")}, batch)
    out = {"mask": np.empty((1, 3, 4), np.float32)}
    alone = access.start(np.array([6]), ["mask"], out, convert).result()
    assert alone["mask"] is out["mask"]
    np.testing.assert_array_equal(alone["mask"][0], batch["mask"][4])


def test_crops_fall_everywhere_and_anew_in_each_epoch():
    field = Field("image", "uint8", ("y", "x"), (9, 6))
    samples = np.arange(20_000)
    grid = np.arange(54).reshape(9, 6)
    place = np.empty((len(samples), 4, 6), int)
    put = Convert(crop={"y": 4}, seed=3).put(field, samples)
    for i in samples.tolist():
        put(grid, place[i], i)
    counts = np.bincount(place[:, 0, 0] // 6, minlength=6)
    assert len(counts) == 6
    assert ((counts - 20_000 / 6) ** 2 / (20_000 / 6)).sum() < 25  # chi-square, 5 degrees
    again = Convert(crop={"y": 4}, seed=3, epoch=1)
    other = np.empty_like(place)
    put = again.put(field, samples)
    for i in samples.tolist():
        put(grid, other[i], i)
    same = (place[:, 0, 0] == other[:, 0, 0]).mean()
    assert abs(same - 1 / 6) < 0.02


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (Convert(scale={"pixels": (1, 0)}), "'pixels' cannot be scaled; there is image, mask"),
        (Convert(scale={"objects": (1, 0)}), "'objects' cannot be scaled"),
        (Convert(crop={"z": 3}), "no axis 'z' to crop; axes are y, x, channel"),
        (Convert(crop={"y": 6}), r"a crop of 6 along y is not in 1\.\.5"),
        (Convert(crop={"y": 0}), r"a crop of 0 along y is not in 1\.\.5"),
    ],
)
def test_bad_conversions_are_refused(whole, convert, words):
    for way in ("tensorstore", "preadv"):
        access = open_access(whole, stores.describe(), way=way)
        with pytest.raises(ValueError, match=words):
            access.start(np.array([1]), ["image"], None, convert)


# Damage.

FILES = [
    "image/c/1/0/0",
    "mask/c/1/0/0",
    "objects/c/1/0/0",
    "runs/c/1/0/0",
    "runs_start/c/1/0",
    "params/c/1/0",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["cut", "short", "long", "empty", "flip", "gone", "index"])
@pytest.mark.parametrize("sizes", [True, False])
def test_damage_is_an_error_that_names_the_file(damaged, way, name, harm, sizes):
    file = damaged / name
    data = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    else:
        cut = {"cut": len(data) // 2, "short": len(data) - 1, "empty": 0}.get(harm, len(data))
        data[0] ^= harm == "flip"
        data[-6] ^= harm == "index"
        file.write_bytes(bytes(data[:cut]) + bytes(harm == "long"))
    if not sizes:
        (damaged / "commits.bin").unlink()
        shutil.rmtree(damaged / "commits")
    arrays = LocalArrays(damaged, stores.describe(), way=way)
    assert stores.same(read(arrays, [0, 9]), expected([0, 9]))  # other shards are well
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            read(arrays, [0, 9, 4, 5, 6, 7])
        what = "is missing" if harm == "gone" else "is damaged"
        words = str(caught.value)
        assert words.startswith(f"{file} {what}; run `voxelmill check {damaged}` and do as it says")
        assert "makes shard 1 anew" in words
    assert stores.same(read(arrays, [0, 9]), expected([0, 9]))
    if name.startswith("params"):
        with pytest.raises(StoreError, match=r"params/c/1/0 "):
            arrays.column(0, 11, 0)


def test_a_damaged_sample_is_named(damaged):
    file = damaged / "image/c/1/0/0"
    data = bytearray(file.read_bytes())
    data[2 * 144 + 5] ^= 4
    file.write_bytes(data)
    arrays = LocalArrays(damaged, stores.describe())
    assert stores.same(read(arrays, [4, 5, 7]), expected([4, 5, 7]))
    for _ in range(2):  # not taken for checked
        with pytest.raises(StoreError, match="sample 6: the checksum of the sample is wrong"):
            read(arrays, [4, 6])
    never = LocalArrays(damaged, stores.describe(), check="never")
    assert not stores.same(read(never, [6], ["image"]), expected([6], ["image"]))


@pytest.mark.parametrize(("check", "found"), [("first", False), ("always", True)])
def test_when_samples_are_checked(damaged, check, found):
    arrays = LocalArrays(damaged, stores.describe(), check=check)
    read(arrays, range(11))
    with (damaged / "image/c/1/0/0").open("r+b") as file:  # in place: it is open
        file.seek(9)
        file.write(b"?")
    if found:
        with pytest.raises(StoreError, match="sample 4: the checksum"):
            read(arrays, [4])
    else:
        read(arrays, [4])
    fresh = LocalArrays(damaged, stores.describe(), check=check)
    with pytest.raises(StoreError, match="sample 4: the checksum"):
        read(fresh, [4])


def swap(path, name):
    """Exchange the files of shards 0 and 1 of an array; returns them."""
    tail = "/0" * len(list((path / name / "c/0").glob("**/0")))
    files = [path / name / f"c/{shard}{tail}" for shard in (0, 1)]
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    return files


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*NAMES, "objects_start"])
def test_swapped_shard_files_are_found(damaged, name, way):
    """By their sizes, by their marks, or by the hash of small ones; none is read whole for it."""
    files = swap(damaged, name)
    for shard, index in ((0, [2, 3]), (1, [5])):
        arrays = LocalArrays(damaged, stores.describe(), way=way)
        with pytest.raises(StoreError) as caught:
            read(arrays, index)
        assert str(caught.value).startswith(f"{files[shard]} is damaged; run `voxelmill check")
        assert "committed" in str(caught.value)
    assert stores.same(read(arrays, [9]), expected([9]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*NAMES, "objects_start"])
def test_swapped_shard_files_of_a_store_in_the_making_are_found(tmp_path, name, way):
    """Its commit records say what is due, also in the place of a last shard that is not full."""
    create(path := tmp_path / "x.zarr", stores.describe())
    for shard in (0, 1):
        stores.write(path, stores.describe(), shard)
    files = swap(path, name)
    with pytest.raises(StoreError, match=r"is damaged.*committed"):
        open_store(path, partial=True, way=way).start(
            [2, 3], [name.removesuffix("_start")]
        ).result()
    swap(path, name)
    assert stores.same(open_store(path, partial=True)[:8], expected(range(8)))
    stores.write(path, stores.describe(), 2)
    last = Path(str(files[0]).replace("/c/0", "/c/2"))
    finish(path)
    for data in (files[0].read_bytes(), last.read_bytes() + b"more"):
        sound = last.read_bytes()
        last.write_bytes(data)
        with pytest.raises(StoreError, match=r"is damaged.*committed"):
            open_store(path, way=way).start([9], [name.removesuffix("_start")]).result()
        last.write_bytes(sound)
    assert stores.same(open_store(path)[8:], expected(range(8, 11)))


def test_a_shard_of_another_store_counts_as_not_made(tmp_path):
    other = stores.describe(content_digest="f" * 64)
    for name, description in (("x.zarr", stores.describe()), ("y.zarr", other)):
        create(tmp_path / name, description)
        for shard in (0, 1):
            stores.write(tmp_path / name, description, shard)
    record = "commits/00000001.json"
    shutil.copy(tmp_path / "y.zarr" / record, tmp_path / "x.zarr" / record)
    assert open_store(tmp_path / "x.zarr", partial=True).available().tolist() == [0, 1, 2, 3]
    follow = open_store(tmp_path / "x.zarr", follow=True, stall_s=0.1)
    with pytest.raises(StoreError, match="shard 1 is not made yet"):
        next(follow.batches(8, window=2, fields=["image"]))


def test_swapped_files_of_one_size_are_found_by_their_marks(tmp_path):
    """Raw ones, and packed ones."""
    for images, labels in (("raw", "raw"), ("zstd", "zstd")):
        packing = {"images": images, "labels": labels, "zstd_level": 1}
        description = stores.describe(12)
        description = replace(description, spec={**description.spec, "store": packing})
        for name in ("image", "mask", "inside"):
            path = stores.make(tmp_path / f"{labels}_{name}.zarr", description)
            files = swap(path, name)
            if labels == "raw":
                assert files[0].stat().st_size == files[1].stat().st_size
            arrays = LocalArrays(path, description)
            with pytest.raises(StoreError, match=f"{name}/c/0.*committed"):
                read(arrays, [0], [name])
            read(LocalArrays(path, description, check="never"), [9], [name])
            assert {p.file for p in check_store(path)} == {str(f.relative_to(path)) for f in files}


def test_a_store_without_marks_is_read_as_before(damaged):
    data = (damaged / "commits.bin").read_bytes()
    records = read_records(damaged, stores.describe())
    bare = {
        k: replace(r, files={n: replace(f, mark=None) for n, f in r.files.items()})
        for k, r in records.items()
    }
    old = pack(stores.describe(), bare)
    assert (data[8], old[8], len(data) - len(old)) == (2, 1, 8 * 3 * 8 + 16)
    (damaged / "commits.bin").write_bytes(old)
    swap(damaged, "image")
    arrays = LocalArrays(damaged, stores.describe())
    assert stores.same(read(arrays, [0, 5], ["image"]), expected([4, 1], ["image"]))
    swap(damaged, "mask")  # of other sizes
    with pytest.raises(StoreError, match="mask/c/0/0/0 is damaged"):
        read(arrays, [0], ["mask"])


def test_an_absent_sample_is_an_error_and_no_zeros(damaged):
    """TensorStore leaves out what equals the fill value unless it is told otherwise."""
    shutil.rmtree(damaged / "image/c")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{damaged}/image/"}}
    image = expected(range(11))["image"]
    ts.open(spec).result().write(image).result()  # sample 5 is zeros
    (damaged / "commits.bin").unlink()
    shutil.rmtree(damaged / "commits")
    arrays = LocalArrays(damaged, stores.describe())
    assert stores.same(read(arrays, [4, 6], ["image"]), expected([4, 6], ["image"]))
    with pytest.raises(
        StoreError, match=r"image/c/1/0/0 is damaged.*sample 5: inner chunk 1 is ab"
    ):
        read(arrays, [5], ["image"])


@pytest.mark.parametrize("way", WAYS)
def test_a_file_cut_while_it_is_open(damaged, way):
    arrays = LocalArrays(damaged, stores.describe(), way=way)
    read(arrays, range(11))
    os.truncate(damaged / "image/c/1/0/0", 100)
    with pytest.raises(StoreError, match=r"image/c/1/0/0 is damaged.*sample 4: it ends before"):
        read(arrays, [4, 5])
    assert stores.same(read(arrays, [1, 9]), expected([1, 9]))


CUTTING = """
import sys, numpy as np
from voxelmill.engine.access import open_access
from voxelmill.engine.errors import StoreError
from voxelmill.engine.group import read_description
access = open_access(sys.argv[1], read_description(sys.argv[1]), check="never")
access.start(np.arange(8), ["image"]).result()
print("reading", flush=True)
try:
    while True:
        access.start(np.arange(8), ["image"]).result()
except StoreError as error:
    print("ends before" in str(error))
"""


def test_a_file_cut_while_it_is_copied_kills_nobody(tmp_path):
    """Through a map this is a SIGBUS in about half of the runs, which is why preadv is the way."""
    fields = (Field("image", "uint8", ("y", "x"), (700, 900)),)
    description = stores.describe(8, 8, fields=fields, columns=())
    for delay_s in (0.01, 0.03, 0.05):
        path = tmp_path / f"{delay_s}.zarr"
        stores.create(path, description)
        with stores.ShardWriter(path, description, 0) as writer:
            writer.add({"image": np.ones((8, 700, 900), np.uint8)}, np.empty((8, 0)))
            writer.commit()
        stores.finish(path)
        command = [sys.executable, "-c", CUTTING, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "reading\n"
            time.sleep(delay_s)
            os.truncate(path / "image/c/0/0/0", 5000)
            assert child.communicate(timeout=60)[0] == "True\n"
        assert child.returncode == 0


def test_a_store_that_grew_since_it_was_opened(tmp_path):
    path = stores.make(tmp_path / "x.zarr")
    old = LocalArrays(path, stores.describe())
    half = LocalArrays(path, stores.describe())
    read(half, range(11))
    stores.make(path, stores.describe(14))
    for arrays in (old, half):
        assert stores.same(read(arrays, range(11)), expected(range(11)))
    late = open_access(path, stores.describe())
    assert isinstance(late, LocalArrays)
    assert stores.same(read(late, range(11)), expected(range(11)))


# What `open_access` takes.


def test_which_way_is_taken(whole, damaged):
    description = stores.describe()
    assert isinstance(open_access(Location(whole), description), LocalArrays)
    assert not isinstance(open_access(whole, description, way="tensorstore"), LocalArrays)
    with pytest.raises(ValueError, match="way 'fast' is none of auto, mmap"):
        open_access(whole, description, way="fast")
    with pytest.raises(ValueError, match="check 'often'"):
        open_access(whole, description, check="often")
    with pytest.raises(ValueError, match="threads 0 must be 1 or more"):
        open_access(whole, description, threads=0)
    with pytest.raises(StoreError, match="not a folder of this machine; way='mmap' cannot read"):
        open_access("s3://bucket/x.zarr", description, way="mmap")
    file = damaged / "mask/zarr.json"
    metadata = json.loads(file.read_text())
    metadata["codecs"][0]["configuration"]["codecs"][1]["name"] = "gzip"
    file.write_text(json.dumps(metadata))
    assert not isinstance(open_access(damaged, description), LocalArrays)
    with pytest.raises(StoreError, match=r"mask/zarr\.json packs its samples otherwise"):
        open_access(damaged, description, way="preadv")
    file.write_text("{")
    with pytest.raises(StoreError, match=r"mask/zarr\.json is missing or damaged; run `voxelmill"):
        open_access(damaged, description)


# Bounds.


def sparse(path, count, per):
    """A store whose samples are holes: indexes, checksums and commits are true. One raw field."""
    fields = (Field("image", "uint8", ("y", "x"), (40, 60)),)
    description = stores.describe(count, per, fields=fields, columns=())
    stores.create(path, description)
    record = 2404
    index = np.stack([np.arange(per) * record, np.full(per, record)], 1).astype("<u8").tobytes()
    tail = index + google_crc32c.value(index).to_bytes(4, "little")
    folder = path / "image/c"
    for shard in range(description.shards):
        file = folder / f"{shard}/0/0"
        file.parent.mkdir(parents=True)
        with file.open("wb") as out:
            out.seek(per * record)
            out.write(tail)
    return description


def test_a_million_samples_in_a_thousand_shards(tmp_path):
    description = sparse(tmp_path / "x.zarr", 1_000_000, 1000)
    random = np.random.default_rng(0)
    started = time.perf_counter()
    arrays = LocalArrays(tmp_path / "x.zarr", description, check="never")
    batch = read(arrays, random.integers(0, 1_000_000, 32), ["image"])
    assert time.perf_counter() - started < 0.5
    assert not batch["image"].any()
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    before = len(os.listdir("/proc/self/fd"))
    arrays._here().files._most = 50
    for _ in range(60):
        read(arrays, random.integers(0, 1_000_000, 32), ["image"])
    assert len(os.listdir("/proc/self/fd")) <= min(soft, before + 50 + 4)
    assert len(arrays._here().files) == 50
    assert arrays._here().indexes.nbytes == 0  # even steps: nothing is kept


def test_files_share_what_a_process_may_open(tmp_path, monkeypatch):
    for i in range(40):
        (tmp_path / str(i)).write_bytes(bytes(i))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (60, 60))
    alone = Files()
    for i in range(40):
        held = alone.get(str(tmp_path / str(i)), i)
        assert held.size == i
    assert len(alone) <= 30
    more = [Files() for _ in range(4)]
    for i in range(40):
        alone.get(str(tmp_path / str(i)), None)
    assert len(alone) == 16  # never less
    assert len(more) == 4
    fd = held.fd
    alone.clear()
    os.fstat(fd)  # who reads keeps it open
    del held
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_what_is_kept_is_bounded():
    kept = Kept(100)
    for i in range(10):
        kept.put(i, np.zeros(30, np.uint8))
        kept.get(0)
    assert kept.nbytes <= 100
    assert kept.get(0) is not None
    assert kept.get(5) is None
    kept.put(0, np.zeros(99, np.uint8))
    assert kept.nbytes == 99


def test_memory_does_not_grow(tmp_path):
    fields = (
        Field("image", "uint8", ("y", "x"), (200, 300)),
        Field("mask", "uint8", ("y", "x"), (200, 300), is_label=True),
    )
    description = stores.describe(64, 16, fields=fields, columns=())
    stores.create(tmp_path / "x.zarr", description)
    data = np.random.default_rng(0).integers(0, 3, (16, 200, 300), np.uint8)
    for shard in range(4):
        with stores.ShardWriter(tmp_path / "x.zarr", description, shard) as writer:
            writer.add({"image": data, "mask": data}, np.empty((16, 0)))
            writer.commit()
    stores.finish(tmp_path / "x.zarr")
    code = f"""
import numpy as np
from voxelmill.engine.local import LocalArrays, window_steps
from voxelmill.engine.group import read_description
path = {str(tmp_path / "x.zarr")!r}
arrays = LocalArrays(path, read_description(path), threads=2)
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
for epoch in range(60):
    for first in range(0, 64, 8):
        arrays.start(np.arange(first, first + 8), ["image", "mask"]).result()
    if epoch == 15:
        before = resident()
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert int(done.stdout) < 2 << 20, done.stderr


# The parts.


def test_checksums_agree():
    random = np.random.default_rng(0)
    for size in (0, 1, 3, 63, 64, 4099, 300_000):
        data = random.integers(0, 256, size + 5, np.uint8)
        due = google_crc32c.value(data[5:])
        assert crc32c_at()(data.ctypes.data + 5, size) == due
        assert crc32c_holding(data.ctypes.data + 5, size) == due


def _shard(path, payloads, entries):
    """A file of payloads at the offsets given, and an index of `entries`."""
    index = np.full((entries, 2), 2**64 - 1, "<u8")
    data = bytearray()
    for number, (offset, payload) in payloads.items():
        data.extend(bytes(max(0, offset + len(payload) - len(data))))
        data[offset : offset + len(payload)] = payload
        index[number] = offset, len(payload)
    body = index.tobytes()
    path.write_bytes(bytes(data) + body + google_crc32c.value(body).to_bytes(4, "little"))
    return ShardFile(str(path))


@pytest.mark.parametrize(
    ("payloads", "compact"),
    [
        ({0: (0, b"abc"), 1: (3, b"de"), 2: (5, b"fghi")}, True),
        ({}, True),
        ({0: (0, b"abc"), 2: (3, b"de")}, False),
        ({0: (4, b"abc"), 1: (0, b"defg")}, False),
        ({1: (0, b"abc")}, False),
        ({0: (1, b"abc"), 1: (4, b"x")}, False),
    ],
)
def test_an_index_is_kept_small_where_it_can_be(tmp_path, payloads, compact):
    file = _shard(tmp_path / "x", payloads, 5)
    index = read_index(file, 5, True)
    assert (index.ndim == 1) == compact
    assert index.dtype == (np.uint32 if compact else np.uint64)
    for number in range(5):
        if number in payloads:
            offset, payload = payloads[number]
            assert place_in(index, number) == (offset, len(payload))
            assert file.read(offset, len(payload)) == payload
        else:
            with pytest.raises(Damage, match=f"inner chunk {number} is absent"):
                place_in(index, number)


@pytest.mark.parametrize("entry", [(0, 2**63), (2**64 - 2, 5), (3, 1), (2**63, 2**63)])
def test_an_index_that_points_outside_is_refused(tmp_path, entry):
    body = np.array([(0, 3), entry], "<u8").tobytes()
    (tmp_path / "x").write_bytes(b"abc" + body + google_crc32c.value(body).to_bytes(4, "little"))
    with pytest.raises(Damage, match="points behind its end"):
        read_index(ShardFile(str(tmp_path / "x")), 2, True)


def test_short_reads_are_gone_on_with(tmp_path, monkeypatch):
    data = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()
    (tmp_path / "x").write_bytes(data)
    file = ShardFile(str(tmp_path / "x"))
    whole = os.preadv

    def little(fd, buffers, offset, flags=0):
        if flags:
            raise BlockingIOError
        return whole(fd, [memoryview(buffers[0])[:7]], offset)

    monkeypatch.setattr(os, "preadv", little)
    parts = [bytearray(100), bytearray(3), bytearray(50)]
    assert not file.fill(parts, 20, 153)
    assert b"".join(parts) == data[20:173]
    with pytest.raises(Damage, match="it ends before byte 1020"):
        file.fill([bytearray(100)], 920, 100)


@pytest.mark.parametrize("fits", [True, False])
def test_a_disk_is_told_what_comes(whole, monkeypatch, fits):
    """Whole shards where several samples of one come or all fits into memory; else samples."""
    loaded, asked = [], []
    monkeypatch.setattr(ShardFile, "load", lambda self, awaited: loaded.append(awaited))
    monkeypatch.setattr(ShardFile, "expect", lambda self, *place: asked.append(place))
    monkeypatch.setattr(ShardFile, "cached", lambda self, offset: False)
    arrays = LocalArrays(whole, stores.describe(), threads=1)
    here = arrays._here()
    here.all_fits = fits
    for indices in ([9, 2, 5, 0], [2, 1, 0, 3], [1, 0, 3, 2]):
        here.cold = 5
        arrays.expect(np.array(indices), ["image", "params"])
        assert here.cold == 4
    here.hints.begin([lambda: None]).wait()
    assert sorted(asked) == ([] if fits else [(0, 144), (144, 144), (144, 144), (288, 144)])
    assert loaded == [False] * (3 if fits else 1)


@pytest.mark.parametrize("cached", [True, False, None])
def test_a_disk_that_is_told_of_whole_shards(whole, monkeypatch, cached):
    """Each once while it is under way; again when it is gone; never what is there."""
    loaded = []
    monkeypatch.setattr(ShardFile, "load", lambda self, awaited: loaded.append(awaited))
    monkeypatch.setattr(ShardFile, "cached", lambda self, offset: cached)
    arrays = LocalArrays(whole, stores.describe(), threads=1)
    here = arrays._here()
    for _ in range(2):
        gate = threading.Event()
        waiting = here.hints.begin([gate.wait])
        for indices in ([9, 2], [1, 5], [10, 0]):
            arrays.expect(np.array(indices), ["image", "mask", "params"], whole=True)
        gate.set()
        waiting.wait()
        here.hints.begin([lambda: None]).wait()
    once = 2 * 3  # files
    assert loaded == [True] * {True: 0, False: 2 * once, None: once}[cached]
    assert (here.cold > 0) is (cached is not True)


def test_how_many_steps_a_disk_is_told_ahead(monkeypatch):
    description = stores.describe(100, 4)
    image = next(f for f in description.fields if f.name == "image")
    order = Order(100, 6, ranks=2, shuffle="shard", window=5, samples_per_shard=4)
    most = 2 * (2 * 5 * 4 * image.nbytes)

    def steps(room, order=order):
        monkeypatch.setattr("voxelmill.engine.local_shards._memory_available", lambda: room)
        return window_steps(order, description, ["image", "params"])

    assert steps(most + 2) == 2  # 20 samples, 12 a step
    assert steps(most) == 0  # they would throw each other out of the page cache
    assert steps(1 << 30, replace(order, shuffle="global")) == 0
    assert steps(1 << 30, replace(order, count=49)) == 0  # most of a shard is not wanted
    assert steps(1 << 30, replace(order, batch=1, ranks=1, window=10**6)) == 1024


def gone(path):
    """An open file that is not in the page cache."""
    file = ShardFile(str(path))
    os.fsync(file.fd)
    os.posix_fadvise(file.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return file


def test_loading_brings_a_file_into_the_page_cache(tmp_path):
    (tmp_path / "x").write_bytes(bytes(3 << 20))
    file = gone(tmp_path / "x")
    file.load(awaited=True)
    assert file.fill([bytearray(1 << 20)], 1 << 20, 1 << 20)
    assert file.cached(0)
    assert not file.loading
    assert NOWAIT == os.RWF_NOWAIT
    file.expect(0, 100)


def test_what_a_load_is_about_to_bring_is_waited_for(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(bytes(100))
    file, gates, sent = ShardFile(str(tmp_path / "x")), Queue(), []

    def sendfile(to, own, offset, size):
        gates.get(timeout=20)
        sent.append(offset)
        return 40 if offset < 80 else 0

    monkeypatch.setattr(os, "sendfile", sendfile)
    monkeypatch.setattr("voxelmill.engine.shard_files._AWAITED", 60)
    file.wait_for(100)  # nothing is under way
    loading = threading.Thread(target=file.load, args=(True,))
    loading.start()
    while not file.loading:
        time.sleep(0.001)
    file.wait_for(61)  # too far
    threading.Timer(0.05, gates.put, (1,)).start()
    file.wait_for(40)
    assert sent == [0]
    file.wait_for(30)
    for _ in range(2):
        threading.Timer(0.05, gates.put, (1,)).start()
    file.wait_for(90)  # until it ends, which is before
    assert sent == [0, 40, 80]
    loading.join()
    assert not file.loading
    os.unlink(tmp_path / "x")
    file.load(True)  # a hint, so that no error matters
    assert not file.loading


def test_a_window_that_is_not_in_the_page_cache_is_read_whole(tmp_path):
    """All samples, each as it was, and those of later epochs when the cache was dropped between."""
    path = stores.make(tmp_path / "x.zarr")
    reader = open_store(path)
    for epoch in range(2):
        for file in path.rglob("*/c/*"):
            if file.is_file():
                gone(file)
        seen = []
        for batch in reader.batches(2, "shard", epoch=epoch, window=2, fields=["image", "mask"]):
            assert stores.same(batch, expected(batch["index"].tolist(), ["image", "mask"]))
            seen += batch["index"].tolist()
        assert len(set(seen)) == len(seen) == 10


def test_a_miss_of_the_page_cache_is_noticed(whole, monkeypatch):
    """Then the disk is told of the batches that follow, for a while."""
    arrays = LocalArrays(whole, stores.describe(), threads=1)
    read(arrays, range(11))
    assert arrays._here().cold == 0
    read(arrays, [3, 4])
    monkeypatch.setattr("voxelmill.engine.local_dense.preadv", lambda *_: -1)
    monkeypatch.setattr(ShardFile, "fill", lambda self, *place: bool(self._rest(*place, 0)))
    arrays = LocalArrays(whole, stores.describe(), threads=1)
    for way in (["image"], ["mask"]):
        arrays._here().cold = 0
        assert stores.same(read(arrays, [5, 2], way), expected([5, 2], way))
        assert arrays._here().cold > 0
