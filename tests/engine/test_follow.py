import threading
import time

import numpy as np
import pytest
import stores

from voxelmill.engine.errors import StoreError
from voxelmill.engine.owner import own
from voxelmill.engine.reader import open_store
from voxelmill.engine.store import create, finish, grow

COUNT = 11


@pytest.fixture
def begun(tmp_path):
    """A store of which no shard is made yet."""
    create(tmp_path / "x.zarr", stores.describe())
    return tmp_path / "x.zarr"


def _make(path, shards, pause=0.1, description=None):
    """A mill in a thread."""

    def work():
        with own(path, min(shards), max(shards)):
            for shard in shards:
                time.sleep(pause)
                stores.write(path, description or stores.describe(), shard)
        if set(shards) == {0, 1, 2}:
            finish(path)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _flat(batches):
    return np.concatenate([b["index"] for b in batches]).tolist()


@pytest.mark.parametrize("shards", [[0, 1, 2], [2, 1, 0]])
def test_batches_come_as_shards_are_made(begun, shards):
    mill = _make(begun, shards)
    reader = open_store(begun, follow=True, stall_s=5)
    stream = reader.batches(2, seed=3, window=1, end="uneven", ahead=2)
    found = list(stream)
    mill.join()
    for batch in found:
        for j, i in enumerate(batch["index"].tolist()):
            np.testing.assert_array_equal(batch["image"][j], stores.sample(i)["image"])
    order = _flat(found)
    assert sorted(order) == list(range(COUNT))
    assert [i // 4 for i in order] == sorted(i // 4 for i in order)  # ascending windows
    assert order != sorted(order)  # permuted inside
    # the same once it is whole; and from epoch 1 on the normal order
    whole = open_store(begun, follow=True)
    assert _flat(whole.batches(2, seed=3, window=1, end="uneven")) == order
    later = open_store(begun).batches(2, seed=3, end="uneven", epoch=1)
    assert _flat(stream) == _flat(later)


def test_what_is_there_comes_before_what_is_waited_for(begun):
    stores.write(begun, stores.describe(), 0)
    stream = open_store(begun, follow=True, stall_s=0.3).batches(2, window=1, ahead=4)
    assert sorted(_flat([next(stream), next(stream)])) == [0, 1, 2, 3]
    state = stream.state_dict()
    start = time.monotonic()
    with pytest.raises(StoreError) as caught:
        next(stream)
    assert 0.25 < time.monotonic() - start < 3
    words = str(caught.value)
    assert "shard 1 is not made yet, nothing came for" in words
    assert "nobody is making shards; run the same `voxelmill make` to go on" in words
    assert stream.state_dict() == state
    stores.write(begun, stores.describe(), 1)
    assert sorted(_flat([next(stream), next(stream)])) == [4, 5, 6, 7]


def test_a_live_owner_is_waited_for(begun):
    def late():
        with own(begun, 0, 2):
            time.sleep(0.6)
            stores.write(begun, stores.describe(), 0)

    thread = threading.Thread(target=late)
    thread.start()
    time.sleep(0.1)
    stream = open_store(begun, follow=True, stall_s=0.15).batches(2, window=1)
    assert len(next(stream)["index"]) == 2
    thread.join()


def test_stopped_and_resumed_on_other_ranks(begun):
    for shard in (0, 1):
        stores.write(begun, stores.describe(), shard)
    reader = open_store(begun, follow=True, stall_s=5)
    stream = reader.batches(3, seed=2, window=1)
    found = _flat([next(stream)])
    mill = _make(begun, [2])
    for rank in range(2):
        part = open_store(begun, follow=True, stall_s=5).batches(
            2, seed=2, window=1, rank=rank, ranks=2, end="uneven"
        )
        part.load_state_dict(stream.state_dict())
        found += _flat(part)
    mill.join()
    assert sorted(found) == list(range(COUNT))
    with pytest.raises(StoreError, match="its order is global-follow1x4, and here it is global"):
        open_store(begun, partial=True).batches(2, seed=2).load_state_dict(stream.state_dict())


def test_a_growing_store_waits_for_its_last_old_shard(tmp_path):
    path = stores.make(tmp_path / "x.zarr", stores.describe(6))
    grow(path, stores.describe())
    reader = open_store(path, follow=True, stall_s=5)
    mill = _make(path, [1, 2])
    assert np.isnan(reader.params["angle"][8:]).all()
    order = _flat(reader.batches(1, window=1))
    mill.join()
    assert not np.isnan(reader.params["angle"]).any()
    assert sorted(order) == list(range(COUNT))


def test_what_has_not_begun_is_not_waited_for(begun):
    stores.write(begun, stores.describe(), 0)
    sets = [{"image": np.zeros((4, 5, 7), "f4")} for _ in range(3)]
    stream = open_store(begun, follow=True).batches(4, False, out=sets, window=1)
    assert next(stream)["index"].tolist() == [0, 1, 2, 3]  # as stored, where nothing is shuffled
    start = time.monotonic()
    stream.load_state_dict(stream.state_dict() | {"delivered": 0})
    assert next(stream)["index"].tolist() == [0, 1, 2, 3]
    stream.close()
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("shuffle", [True, False])
def test_indices_of_what_will_be_made(begun, shuffle):
    """Each once, whichever shards they are in, and resumable; those of made shards come first."""
    chosen = [9, 6, 0, 2, 3, 10, 1]
    stores.write(begun, stores.describe(), 0)
    how = {"shuffle": shuffle, "seed": 3, "window": 1, "indices": chosen, "end": "uneven"}
    stream = open_store(begun, follow=True, stall_s=5).batches(2, ahead=1, **how)
    assert len(stream) == 4
    mill = _make(begun, [2, 1])
    found = _flat([next(stream), next(stream)])
    state = stream.state_dict()
    for rank in range(2):
        part = open_store(begun, follow=True, stall_s=5).batches(1, rank=rank, ranks=2, **how)
        part.load_state_dict(state)
        found += _flat(part)
    mill.join()
    assert sorted(found) == sorted(chosen)
    if shuffle:
        assert set(found[:3]) <= {0, 1, 2, 3}
    else:
        assert found[:4] == chosen[:4]
    whole = open_store(begun, follow=True).batches(2, **how)
    whole.load_state_dict(state)
    assert sorted(_flat(whole)) == sorted(found[4:])
    later = open_store(begun, follow=True).batches(2, **how | {"epoch": 1})
    assert sorted(_flat(later)) == sorted(chosen)
    with pytest.raises(IndexError, match=r"11 is not in \[0, 11\)"):
        open_store(begun, follow=True).batches(2, indices=[11])


def test_splits_and_conditions_wait_until_it_is_whole(begun):
    reader = open_store(begun, follow=True)
    for wrong in (
        {"split": "train"},
        {"where": "angle > 1"},
        {"where": "angle > 1", "indices": [1]},
    ):
        with pytest.raises(ValueError, match=r"which samples split= and where= choose.*indices="):
            reader.batches(2, **wrong)
    _make(begun, [0, 1, 2], 0).join()
    for how in ({"split": "train"}, {"where": "angle > 0.5"}):
        reader, due = open_store(begun, follow=True), open_store(begun)
        found = _flat(reader.batches(1, seed=3, **how))
        assert sorted(found) == sorted(_flat(due.batches(1, **how)))


def test_what_does_not_go_with_it(begun):
    reader = open_store(begun, follow=True)
    with pytest.raises(ValueError, match="follow=True is for one store"):
        open_store([begun], follow=True)
    assert "follow=True" in repr(reader)
