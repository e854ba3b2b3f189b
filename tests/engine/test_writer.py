import errno
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import stores
import tensorstore

from voxelmill.engine import files
from voxelmill.engine.errors import DiskFullError, StoreError
from voxelmill.engine.layout import array_metadata
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Field, Rows
from voxelmill.engine.store import create, missing, remove_leftovers
from voxelmill.engine.writer import ShardWriter, encode, write_shard


@pytest.fixture
def empty(tmp_path):
    create(tmp_path / "x.zarr", stores.describe())
    return tmp_path / "x.zarr"


def _partials(path):
    return [f.name for f in path.rglob("*.partial")]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64", "float16", "float32", "bool"])
def test_tensorstore_writes_the_same_bytes(tmp_path, dtype):
    fields = (Field("image", dtype, ("y", "x"), (5, 7)),)
    d = stores.describe(fields=fields, columns=())
    create(tmp_path / "x.zarr", d)
    images = (np.random.default_rng(1).random((11, 5, 7)) * 3).astype(dtype)
    images[4] = 0
    for shard in range(3):
        part = images[4 * shard : 4 * shard + 4]
        write_shard(tmp_path / "x.zarr", d, shard, {"image": part}, np.empty((len(part), 0)))
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{tmp_path}/ts/"},
        "metadata": {k: v for k, v in array_metadata(d)["image"].items() if k != "attributes"},
        "store_data_equal_to_fill_value": True,
    }
    array = tensorstore.open(spec, create=True).result()
    array[...] = images
    for shard in range(3):
        ours = (tmp_path / f"x.zarr/image/c/{shard}/0/0").read_bytes()
        assert ours == (tmp_path / f"ts/c/{shard}/0/0").read_bytes()


def test_a_writer_holds_no_sample_and_shows_nothing_before_the_commit(empty):
    d = stores.describe()
    with ShardWriter(empty, d, 0) as writer:
        writer.add(*stores.batch([0, 1, 2, 3]))
        assert len(_partials(empty)) == len(array_metadata(d))
        assert not (empty / "image/c/0/0/0").exists()
        assert missing(empty) == [0, 1, 2]
        writer.commit()
    assert (_partials(empty), missing(empty)) == ([], [1, 2])


def test_an_abandoned_shard_leaves_nothing(empty):
    def interrupted():
        with ShardWriter(empty, stores.describe(), 0) as writer:
            writer.add(*stores.batch([0, 1]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (_partials(empty), missing(empty)) == ([], [0, 1, 2])


def test_two_writers_of_a_shard_do_no_harm(empty, tmp_path):
    d = stores.describe()
    first, second = ShardWriter(empty, d, 0), ShardWriter(empty, d, 0)
    for i in range(4):
        first.add(*stores.batch([i]))
        second.add(*stores.batch([i]))
    first.commit()
    assert remove_leftovers(empty) == []  # the second lives
    second.commit()
    assert stores.contents(stores.make(empty)) == stores.contents(stores.make(tmp_path / "y.zarr"))


def test_encoding_in_threads_makes_the_same_bytes(empty, tmp_path):
    d, before = stores.describe(), threading.active_count()
    with ThreadPoolExecutor(3) as pool:
        for shard in range(3):
            indices = range(4 * shard, min(4 * shard + 4, 11))
            batches = [stores.batch([i]) for i in indices]
            encoded = list(pool.map(lambda one: encode(d, one[0]), batches))
            with ShardWriter(empty, d, shard) as writer:
                for one, (_, params) in zip(encoded, batches, strict=True):
                    assert one.nbytes > stores.FIELDS[0].nbytes
                    writer.append(one, params)
                writer.commit()
    assert threading.active_count() <= before
    assert stores.contents(stores.make(empty)) == stores.contents(stores.make(tmp_path / "y.zarr"))


def _changed(**changes):
    arrays, _ = stores.batch([0, 1])
    return {k: v for k, v in (arrays | changes).items() if v is not None}


WRONG = [
    (_changed(image=None), "fields ['image'] are lacking"),
    (_changed(extra=np.zeros(2)), "['extra'] are not in the store"),
    (_changed(image=np.zeros((2, 7, 5), "float32")), "image: (2, 7, 5) float32 came; (samples, 5"),
    (_changed(image=np.zeros((1, 5, 7), "float32")), "different numbers of samples: {'image': 1"),
    (_changed(image=np.zeros((2, 5, 7))), "float64 came"),
    (_changed(mask=np.zeros((2, 5, 7), "int64")), "nothing is broadcast or cast"),
    (_changed(objects=Rows(np.zeros((3, 3)), np.array([0, 1, 3]))), "(rows, 2) float64 are due"),
    (_changed(objects=Rows(np.zeros((3, 2)), np.array([0, 1, 2]))), "ascend from 0 to the 3 rows"),
    (_changed(objects=Rows(np.zeros((3, 2)), np.array([0, 4, 3]))), "ascend from 0 to the 3 rows"),
    (_changed(objects=Rows(np.zeros((151, 2)), np.array([0, 151, 151]))), "at most 150"),
]


@pytest.mark.parametrize(("arrays", "words"), WRONG)
def test_wrong_arrays_are_refused_in_words(empty, arrays, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        ShardWriter(empty, stores.describe(), 0).add(arrays, np.zeros((2, 2)))
    assert _partials(empty) == []


def test_wrong_numbers_of_samples_are_refused(empty):
    d = stores.describe()
    with pytest.raises(ValueError, match=r"holds 0 of 3 samples; 4 more came with params \(4, 2\)"):
        ShardWriter(empty, d, 2).add(*stores.batch([0, 1, 2, 3]))
    writer = ShardWriter(empty, d, 2)
    writer.add(*stores.batch([8, 9]))
    with pytest.raises(ValueError, match="shard 2 has 2 of 3 samples"):
        writer.commit()
    with pytest.raises(ValueError, match=r"params \(2, 1\), of which 2 columns are due"):
        ShardWriter(empty, d, 0).add(stores.batch([0, 1])[0], np.zeros((2, 1)))
    assert _partials(empty) == []
    assert missing(empty) == [0, 1, 2]


@pytest.mark.parametrize("step", ["write", "close", "folder", "record"])
def test_a_full_disk_loses_nothing_that_was_committed(empty, monkeypatch, step):
    d = stores.describe()
    stores.write(empty, d, 0)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {
        "write": "voxelmill.engine.files.Partial.write",
        "close": "voxelmill.engine.files.Partial.close",
        "folder": "voxelmill.engine.writer.make_folders",
        "record": "voxelmill.engine.commit.write_atomic",
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(DiskFullError) as caught:
            stores.write(empty, d, 1)
    words = str(caught.value)
    needed = 4 * (5 * 7 * 4 + 5 * 7 + 3 + 150 * 2 * 8 + 3 * 4 + 2 * 8)
    assert words.startswith(f"{empty}: the disk is full: up to {needed:,} bytes are needed and ")
    assert re.search(r" and [\d,]+ are free; ", words)
    assert "1 of 3 shards are committed and stay readable; free some space" in words
    assert _partials(empty) == []
    assert missing(empty) == [1, 2]
    assert stores.same(open_store(empty, partial=True)[3], stores.sample(3))
    stores.make(empty)


def test_a_really_full_file_says_so(empty, monkeypatch):
    class Full(files.Partial):
        def __init__(self, final):
            super().__init__(final)
            self._file.close()
            self._file = open("/dev/full", "wb")  # noqa: SIM115

    monkeypatch.setattr("voxelmill.engine.writer.Partial", Full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        stores.write(empty, stores.describe(), 1)
    assert _partials(empty) == []


def test_a_shard_in_a_folder_that_cannot_be_written(empty, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "image")

    monkeypatch.setattr("voxelmill.engine.writer.make_folders", refuse)
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied: image\)"):
        stores.write(empty, stores.describe(), 1)
