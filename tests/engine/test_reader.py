import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from inspect import signature

import numpy as np
import pytest
import stores

from voxelmill.engine.access import REMOTE, open_access
from voxelmill.engine.cached import open_remote
from voxelmill.engine.errors import StoreError
from voxelmill.engine.order import shuffled
from voxelmill.engine.reader import Reader, open_store
from voxelmill.engine.sample import Rows
from voxelmill.engine.split import Split
from voxelmill.engine.store import create

COUNT = 11


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return stores.make(tmp_path_factory.mktemp("stores") / "x.zarr")


@pytest.fixture
def damaged(tmp_path):
    """A store of its own, to be damaged."""
    return stores.make(tmp_path / "x.zarr")


def _flat(batch, i):
    """Sample `i` of a batch, as the reader gives one alone."""
    return {
        k: v.values[v.starts[i] : v.starts[i + 1]] if isinstance(v, Rows) else v[i]
        for k, v in batch.items()
    }


def test_each_sample(whole):
    reader = open_store(whole)
    assert len(reader) == COUNT
    for i in range(COUNT):
        one = reader[i]
        assert stores.same(one, stores.sample(i))
        assert one["index"] == i
        assert one["objects"].dtype == np.float64
        assert one["runs"].dtype == np.uint32
        np.testing.assert_array_equal(reader.params_of(i), stores.sample(i)["params"])
    assert sum(1 for _ in reader) == COUNT


@pytest.mark.parametrize(
    "index",
    [
        [3],
        [10, 0, 7, 7, 4],
        np.array([1, 9], np.uint16),
        slice(2, 9, 3),
        slice(None),
        slice(-2, None),
        [],
        slice(4, 4),
        [0, 4, 8],  # samples with no objects
    ],
)
def test_batches_by_index(whole, index):
    batch = open_store(whole)[index]
    due = np.arange(COUNT)[index if isinstance(index, slice) else np.asarray(index, int)]
    np.testing.assert_array_equal(batch["index"], due)
    assert batch["image"].shape == (len(due), 5, 7)
    assert len(batch["objects"].starts) == len(due) + 1
    assert all(stores.same(_flat(batch, j), stores.sample(i)) for j, i in enumerate(due))


@pytest.mark.parametrize("index", [-1, COUNT, [0, COUNT], 2**40])
def test_an_index_outside_is_named_with_its_bounds(whole, index):
    with pytest.raises(IndexError, match=rf"-?\d+ is not in \[0, {COUNT}\) of .*x\.zarr"):
        open_store(whole)[index]


@pytest.mark.parametrize("index", ["image", 1.0, [True, False], [[0, 1]], None])
def test_what_is_no_index_is_refused(whole, index):
    with pytest.raises(TypeError, match="an index is an integer or a list of them, not"):
        open_store(whole)[index]


def test_what_the_store_says_of_itself(whole):
    reader = open_store(whole)
    assert list(reader.fields) == ["image", "mask", "inside", "objects", "runs"]
    assert reader.fields["image"].unit == "grey"
    assert reader.fields["objects"].columns[1].unit == "px"
    assert reader.labels == {"mask": {0: "background", 1: "wire", 10: "clip"}}
    assert reader.categories == {"subject": stores.SUBJECTS}
    assert reader.description == stores.describe()
    assert list(reader.params) == ["subject", "angle"]
    due = np.stack([stores.sample(i)["params"] for i in range(COUNT)])
    np.testing.assert_array_equal(reader.params["angle"], due[:, 1])
    assert list(reader.subjects) == [stores.SUBJECTS[i % 3] for i in range(COUNT)]
    with pytest.raises(KeyError, match="no column 'anger' in params; did you mean 'angle'"):
        reader.params["anger"]
    assert ("angle" in reader.params, "anger" in reader.params) == (True, False)
    assert reader.params.get("anger") is None
    assert repr(reader.params) == "Params(subject, angle: 11 samples)"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"way": "fast"}, "way='fast' is not one of auto, mmap, preadv, tensorstore"),
        ({"check": "often"}, "check='often' is not one of first, always, never"),
        ({"check": True, "way": "tensorstore"}, "check=True is not one of first"),
        ({"threads": 0}, "threads=0 must be 1 or more"),
        ({"requests_at_once": 0}, "requests_at_once=0 must be 1 or more"),
        ({"timeout_s": 0}, "timeout_s=0 must be above 0"),
        (
            {"cache": "here"},
            "a bound in bytes, not cache='here' and cache_bytes=None",
        ),
        ({"whole_shards": True}, "a cache, which whole_shards needs too"),
    ],
)
def test_bad_ways_to_read_are_refused_at_once(whole, wrong, words):
    with pytest.raises(ValueError, match=words):
        open_store(whole, **wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"chekc": "first"}, "there is no option 'chekc'; did you mean 'check'"),
        ({"cache_byte": 1}, "'cache_byte'; did you mean 'cache_bytes'"),
        ({"folow": True}, "'folow'; did you mean 'follow'"),
        ({"wieghts": [1]}, "'wieghts'; did you mean 'weights'"),
        ({"qqq": 1}, "there is no option 'qqq'; there is way, check, threads, cache, "),
    ],
)
def test_unknown_options_are_refused_at_once_with_the_nearest(whole, wrong, words):
    for place in (whole, [whole, whole]):
        with pytest.raises(TypeError, match=words):
            open_store(place, **wrong)


def test_all_options_of_the_ways_to_read_are_known():
    local, remote = (
        {name for name, p in signature(of).parameters.items() if p.kind is p.KEYWORD_ONLY}
        for of in (open_access, open_remote)
    )
    assert (local, remote) == ({"way", "check", "threads"}, set(REMOTE))


def test_splits_go_by_subject(whole):
    reader = open_store(whole)
    rule = Split(val=0.3, test=0.2)
    parts = {name: reader.split(name) for name in ("train", "val", "test")}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(COUNT))
    for name, indices in parts.items():
        assert {rule.part(s) for s in reader.subjects[indices]} <= {name}
    name = max(parts, key=lambda n: len(parts[n]))
    taken = [b["index"] for b in reader.batches(2, split=name, seed=1, end="uneven")]
    assert sorted(np.concatenate(taken)) == sorted(parts[name])
    with pytest.raises(ValueError, match="no split 'dev'; there is train, val, test"):
        reader.split("dev")


def test_subjects_by_the_inputs_table(tmp_path):
    columns = (stores.Column("input"), stores.COLUMNS[1])
    d = stores.describe(columns=columns, inputs={"subjects": ["p7", "p7", "p9"]})
    reader = open_store(stores.make(tmp_path / "x.zarr", d))
    assert list(reader.subjects[:3]) == ["p7", "p7", "p9"]
    d = stores.describe(columns=(stores.Column("a"), stores.Column("b")))
    with pytest.raises(StoreError, match="does not say which subject"):
        open_store(stores.make(tmp_path / "y.zarr", d)).split("train")


@pytest.mark.parametrize("ahead", [0, 1, 4, 99])
def test_shuffled_batches_are_the_order(whole, ahead):
    reader = open_store(whole)
    found = list(reader.batches(3, seed=5, epoch=2, ahead=ahead))
    order = shuffled(np.arange(COUNT), COUNT, seed=5, epoch=2)
    np.testing.assert_array_equal([b["index"] for b in found], order[:9].reshape(3, 3))
    for batch in found:
        assert "params" not in batch
        assert all(
            stores.same(_flat(batch, j), {k: stores.sample(i)[k] for k in reader.fields})
            for j, i in enumerate(batch["index"])
        )


def test_ranks_share_an_epoch(whole):
    reader = open_store(whole)
    taken = [
        b["index"]
        for rank in range(3)
        for b in reader.batches(2, rank=rank, ranks=3, end="uneven", fields=["mask", "params"])
    ]
    assert sorted(np.concatenate(taken)) == list(range(COUNT))
    in_order = [b["index"].tolist() for b in reader.batches(4, shuffle=False, end="uneven")]
    assert in_order == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_bad_batches_are_refused_at_once(whole):
    reader = open_store(whole)
    with pytest.raises(ValueError, match="no field 'pixels'; it has image, mask"):
        reader.batches(2, fields=["pixels"])
    with pytest.raises(ValueError, match="11 samples are no batch of 12 for each of 1 ranks"):
        reader.batches(12)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        reader.batches(2, rank=2, ranks=2)
    with pytest.raises(ValueError, match="batch 0"):
        reader.batches(0)


def test_an_unfinished_store_is_read_only_when_asked(tmp_path):
    path, d = tmp_path / "x.zarr", stores.describe()
    create(path, d)
    stores.write(path, d, 1)
    with pytest.raises(StoreError, match=r"making: shards 0, 2 are not made yet; run the same"):
        open_store(path)
    reader = open_store(path, partial=True)
    assert stores.same(reader[6], stores.sample(6))
    for index in (0, [5, 8], slice(None)):
        with pytest.raises(StoreError, match=r"sample \d is in shard \d, which is not made yet"):
            reader[index]
    np.testing.assert_array_equal(reader.available(), [4, 5, 6, 7])
    assert sorted(np.concatenate([b["index"] for b in reader.batches(2)])) == [4, 5, 6, 7]
    np.testing.assert_array_equal(np.isnan(reader.params["angle"]), np.arange(11) // 4 != 1)
    assert list(reader.subjects[3:6]) == ["", "bob", "cid"]
    assert set(np.concatenate([reader.split(n) for n in ("train", "val", "test")])) == {4, 5, 6, 7}


FILES = ["image/c/1/0/0", "mask/c/1/0/0", "objects/c/1/0/0", "runs_start/c/1/0", "params/c/1/0"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["cut", "short", "empty", "flip", "gone", "index"])
def test_damage_is_an_error_that_names_the_file(damaged, name, harm):
    file = damaged / name
    data = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    else:
        cut = {"cut": len(data) // 2, "short": len(data) - 1, "empty": 0}.get(harm, len(data))
        data[0] ^= harm == "flip"
        data[-6] ^= harm == "index"
        file.write_bytes(data[:cut])
    reader = open_store(damaged)
    assert stores.same(reader[[0, 9]], open_store(damaged)[[0, 9]])  # other shards are well
    what = "is missing" if harm == "gone" else "is damaged"
    if name.startswith("params"):
        with pytest.raises(StoreError, match=r"params/c/1/0 "):
            reader.params["subject"]
    with pytest.raises(StoreError) as caught:
        reader[[0, 9, 4, 5, 6, 7]]
    words = str(caught.value)
    assert words.startswith(f"{file} {what}; run `voxelmill check {damaged}` and do as it says")
    assert "makes shard 1 anew" in words


def test_damaged_metadata_is_an_error(damaged):
    (damaged / "mask/zarr.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"mask/zarr\.json is missing or damaged; run `voxelmill check"
    ):
        open_store(damaged)[0]
    (damaged / "commits.bin").unlink()
    with pytest.raises(StoreError, match=r"commits\.bin is missing from a store that says"):
        open_store(damaged)
    group = json.loads((damaged / "zarr.json").read_text())
    group["attributes"]["voxelmill"]["format"] = 2
    (damaged / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(
        StoreError, match=r"format version 2, and this voxelmill .* install a newer"
    ):
        open_store(damaged)


def test_it_pickles_as_its_path(whole):
    reader = open_store(whole)
    assert reader[0]["index"] == 0
    data = pickle.dumps(reader)
    assert len(data) < 400
    again = pickle.loads(data)
    assert stores.same(again[7], stores.sample(7))
    assert repr(again) == repr(reader)


def test_a_spawned_process_opens_its_own(whole):
    reader = open_store(whole)
    assert reader[0]["index"] == 0
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert stores.same(pool.apply(Reader.__getitem__, (reader, 7)), stores.sample(7))


FORKED = """
import os, sys, warnings
from voxelmill.engine.reader import open_store
from voxelmill.engine.errors import StoreError
reader = open_store(sys.argv[1], way=sys.argv[3])
if sys.argv[2] == "used":
    reader[0]
if os.fork() == 0:
    try:
        print("read", reader[1]["index"], flush=True)
    except StoreError as error:
        print(error, flush=True)
    os._exit(0)
print("exit", os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize(
    ("use", "way", "words"),
    [
        ("used", "auto", "read 1"),
        ("unused", "tensorstore", "read 1"),
        ("used", "tensorstore", "do not survive a fork: start workers with"),
    ],
)
def test_a_fork_reads_or_is_refused_in_words_before_it_kills(whole, use, way, words):
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(whole), use, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert words in done.stdout
    assert "exit 0" in done.stdout


LIGHT = """
import sys
import voxelmill.engine.reader as reader
heavy = {"jax", "numba", "cupy", "pydantic", "torch", "tensorstore", "zarr", "scipy"}
print(sorted(heavy & set(sys.modules)))
x = reader.open_store(sys.argv[1])
x.labels, x.fields, len(x)
print(sorted(heavy & set(sys.modules)))
x[0], x.split("train"), next(x.batches(2))
print(sorted(heavy & set(sys.modules)))
"""


def test_a_trainer_pays_for_a_reader_only(whole):
    command = [sys.executable, "-c", LIGHT, str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.splitlines() == ["[]", "[]", "[]"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scale": 1 / 255}, r'scale is a factor and an offset by field, not 0\.0039.*\{"image"'),
        ({"scale": {"image": 0.5}}, r"scale\['image'\] is .*, not 0\.5: write \(0\.5, 0\)"),
        ({"scale": {"image": ("a", 0)}}, r"scale\['image'\] is a factor and an offset, not"),
        ({"crop": 3}, "crop is a size by axis, not 3"),
        ({"crop": {"y": 2.5}}, r"crop\['y'\] is a whole number of voxels, not 2\.5"),
    ],
)
def test_scales_and_crops_of_a_wrong_form_are_refused_at_once(whole, wrong, words):
    with pytest.raises(TypeError, match=words):
        open_store(whole).batches(2, **wrong)
    with pytest.raises(ValueError, match="'imgae' cannot be scaled; did you mean 'image'"):
        open_store(whole).batches(2, scale={"imgae": (1, 0)})
