import itertools
import json
import os
import threading
import time

import numpy as np
import pytest
import stores
from hypothesis import given, settings
from hypothesis import strategies as st

from voxelmill.engine.batches import Batches, padded_rows
from voxelmill.engine.convert import Convert
from voxelmill.engine.errors import StoreError
from voxelmill.engine.order import Order
from voxelmill.engine.reader import open_store
from voxelmill.engine.recycled import Recycled
from voxelmill.engine.sample import Column, Field, Ragged, Rows
from voxelmill.engine.store import create, finish
from voxelmill.engine.writer import ShardWriter

COUNT, STORE = 11, stores.describe().content_digest[:16]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return stores.make(tmp_path_factory.mktemp("stores") / "x.zarr")


@pytest.fixture
def reader(whole):
    return open_store(whole)


class Source:
    """What begins batches that hold their indices only, and counts those under way."""

    def __init__(self):
        self.begun = self.done = self.most = 0
        self.fail_at = None

    def begin(self, indices, names, out=None, convert=None):
        self.begun += 1
        self.most = max(self.most, self.begun - self.done)
        number, source = self.begun, self

        class Pending:
            def result(self):
                source.done += 1
                if number == source.fail_at:
                    raise StoreError("damaged")
                return {"index": indices, "convert": convert}

        return Pending()


def _of(count, batch=3, digest="a:all:global", **options):
    own = {k: options.pop(k) for k in ("ahead", "epochs") if k in options}
    source = Source()
    return Batches(source.begin, Order(count, batch, **options), [], digest=digest, **own), source


def _indices(batches, most=None):
    found = []
    for batch in batches:
        found.append(batch["index"].tolist())
        if len(found) == most:
            break
    return found


def _flat(found):
    return [i for batch in found for i in batch]


# One epoch, stopped and resumed


@given(
    count=st.integers(1, 60),
    legs=st.lists(
        st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(0, 5), st.integers(0, 9)),
        min_size=2,
        max_size=6,
    ),
    end=st.sampled_from(["pad", "uneven"]),
    shuffle=st.sampled_from(["global", "shard", "none"]),
)
@settings(max_examples=200, deadline=None)
def test_stopped_and_resumed_on_other_ranks_each_sample_comes_once(count, legs, end, shuffle):
    """Several times in a row, with batches in flight, at epochs' ends and beyond them."""
    same = {"end": end, "shuffle": shuffle, "samples_per_shard": 5, "window": 2, "seed": 8}
    state, taken = {"epoch": 0, "delivered": 0}, {}
    for batch, ranks, stop, ahead in legs:
        streams = [
            _of(count, batch, rank=r, ranks=ranks, ahead=ahead, **same)[0] for r in range(ranks)
        ]
        here = taken.setdefault(state["epoch"], [])
        for stream in streams:
            if "seed" in state:
                stream.load_state_dict(state)
            for found in itertools.islice(stream, stop):
                padded = found.get("padded", np.zeros(len(found["index"]), bool))
                here += found["index"][~padded].tolist()
        states = [json.loads(json.dumps(s.state_dict())) for s in streams]
        assert all(s == states[0] for s in states)
        state = states[0]
    for epoch, samples in taken.items():
        assert len(samples) == len(set(samples))
        due = count if epoch < state["epoch"] else state["delivered"]
        assert len(samples) == due


def test_the_state_counts_what_was_handed_over(reader):
    stream = reader.batches(3, seed=5, ahead=2)
    assert stream.state_dict() == {
        "epoch": 0,
        "delivered": 0,
        "seed": 5,
        "count": COUNT,
        "digest": f"{STORE}:all:global",
    }
    taken = [next(stream), next(stream)]
    assert stream.state_dict()["delivered"] == 6
    again = open_store(reader.path).batches(1, seed=5, end="uneven")
    again.load_state_dict(stream.state_dict())
    due = [b["index"] for b in taken] + [b["index"] for b in again]
    assert sorted(np.concatenate(due)) == list(range(COUNT))
    assert again.state_dict() | {"digest": ""} == {
        "epoch": 1,
        "delivered": 0,
        "seed": 5,
        "count": COUNT,
        "digest": "",
    }


def test_behind_an_epoch_is_the_start_of_the_next():
    a, _ = _of(10, 5, epochs=None)
    next(a), next(a)
    assert (a.state_dict()["epoch"], a.state_dict()["delivered"]) == (1, 0)
    b, _ = _of(10, 5)
    b.load_state_dict(a.state_dict())
    assert _indices(b) == [next(a)["index"].tolist(), next(a)["index"].tolist()]
    # what no whole step is left for has ended too
    c, _ = _of(10, 4)
    c.load_state_dict(b.state_dict() | {"epoch": 3, "delivered": 7})
    assert (c.state_dict()["epoch"], c.state_dict()["delivered"]) == (4, 0)


def test_epochs_follow_each_other():
    one, source = _of(7, 3, ahead=4)
    first, second, third = _indices(one), _indices(one), _indices(one)
    assert source.begun == source.done == 6
    assert len(first) == len(second) == len(one) == 2
    assert first != second != third
    assert next(one, None) is None  # until it is asked for an iterator again
    assert _indices(_of(7, 3, epochs=3)[0]) == first + second + third
    assert _indices(_of(7, 3, epochs=None)[0], 6) == first + second + third
    started, _ = _of(7, 3, epoch=1, epochs=2)
    assert _indices(started) == second + third
    resumed, _ = _of(7, 3, epochs=2)
    resumed.load_state_dict(one.state_dict() | {"epoch": 1})
    assert _indices(resumed) == second  # to the end of the two that it was in
    assert _indices(resumed, 2) == third


@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize("end", ["drop", "pad", "uneven"])
def test_who_takes_exactly_an_epoch_by_next_has_the_next_one_in_a_loop(ahead, end):
    due, _ = _of(7, 3, epochs=3, ahead=ahead, end=end)
    due = _indices(due)
    stream, _ = _of(7, 3, ahead=ahead, end=end)
    found = []
    for _ in range(3):
        turn = iter(stream)
        assert iter(turn) is turn
        found += [next(turn)["index"].tolist() for _ in range(len(stream))]
    assert found == due
    assert next(stream, None) is None  # without a loop it has stopped
    assert stream.state_dict()["epoch"] == 3
    two, _ = _of(7, 3, epochs=2, ahead=ahead, end=end)
    steps = len(two)
    found = [next(two)["index"].tolist() for _ in range(steps)] + _indices(two)
    assert found == due[: 2 * steps]  # the end of an epoch inside a run is none


def test_it_says_what_it_gives(reader):
    stream = reader.batches(3, seed=5, fields=["mask"], rank=1, ranks=2, end="pad")
    next(stream)
    assert repr(stream) == (
        "Batches(11 samples, 3 a batch, rank 1 of 2, shuffle='global', seed=5, end='pad', "
        "fields=['mask'], at 6 of epoch 0)"
    )


def test_a_loop_that_was_left_goes_on():
    due = _indices(_of(20, 3)[0])
    stream, _ = _of(20, 3)
    assert _indices(stream, 2) + _indices(stream, 1) + _indices(stream) == due


def test_set_epoch():
    stream, _ = _of(20, 3)
    epochs = [_indices(_of(20, 3, epoch=e)[0]) for e in range(8)]
    for e in (0, 1, 5, 2):
        stream.set_epoch(e)
        assert _indices(stream) == epochs[e]
    stream.set_epoch(7)
    assert _indices(stream, 2) == epochs[7][:2]
    resumed, _ = _of(20, 3)
    resumed.load_state_dict(stream.state_dict())
    resumed.set_epoch(7)  # as a loop over epochs says it: the place in it stays
    assert _indices(resumed) == epochs[7][2:]
    stream.set_epoch(0)
    assert _indices(stream) == epochs[0]


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_no_more_is_under_way_than_asked_for(ahead):
    stream, source = _of(60, 3, ahead=ahead)
    assert source.begun == 0
    for _ in stream:
        assert source.begun - source.done <= ahead
    assert source.most == min(ahead + 1, 20)
    stream.close()


def test_close_waits_and_stands_still():
    stream, source = _of(60, 3, ahead=4)
    next(stream)
    state = stream.state_dict()
    stream.close()
    assert source.begun == source.done == 5
    assert stream.state_dict() == state
    assert len(_indices(stream)) == 19


def test_an_error_stands_still_and_is_tried_again():
    stream, source = _of(12, 3, ahead=2)
    due = _indices(_of(12, 3)[0])
    source.fail_at = 2
    found = [next(stream)["index"].tolist()]
    with pytest.raises(StoreError, match="damaged"):
        next(stream)
    assert stream.state_dict()["delivered"] == 3
    assert found + _indices(stream) == due


def test_an_uneven_end_may_leave_a_rank_nothing():
    for rank, sizes in ((0, [2]), (1, [2, 1]), (2, [2, 1])):
        stream, _ = _of(8, 2, rank=rank, ranks=3, end="uneven")
        assert [len(b) for b in _indices(stream)] == sizes
        assert stream.state_dict()["epoch"] == 1
    with pytest.raises(ValueError, match="2 samples for 3 ranks: some would wait for ever"):
        _of(2, 1, ranks=3, end="uneven", epochs=None)


# Reading on, in a thread


def _reading_on(count, batch=3, **options):
    stream, source = _of(count, batch, **options)
    stream.read_on()
    return stream, source


@pytest.mark.parametrize("ahead", [0, 1, 4, 9])
@pytest.mark.parametrize("end", ["drop", "pad", "uneven"])
def test_reading_on_changes_no_batch_and_no_state(ahead, end):
    plain, _ = _of(14, 3, ahead=ahead, end=end)
    stream, source = _reading_on(14, 3, ahead=ahead, end=end)
    assert source.begun == 0
    for _ in range(4):
        for due, found in itertools.zip_longest(plain, stream):
            assert due["index"].tolist() == found["index"].tolist()
            assert plain.state_dict() == stream.state_dict()
            assert plain.at == stream.at
        assert next(stream, None) is None  # until it is asked for an iterator again
    stream.close()
    assert source.most <= max(1, ahead)


def test_the_next_epoch_is_begun_before_this_one_ends():
    stream, source = _reading_on(12, 3, ahead=2)
    due = _indices(_of(12, 3, epochs=2)[0])
    assert _indices(stream, 4) == due[:4]
    stream.close()  # only to wait for the thread
    assert source.begun == 6
    assert _indices(stream) == due[4:]


def test_what_was_read_on_is_thrown_away_by_a_jump():
    epochs = [_indices(_of(20, 3, epoch=e)[0]) for e in range(6)]
    stream, _ = _reading_on(20, 3, ahead=5)
    assert _indices(stream) == epochs[0]
    stream.set_epoch(4)
    assert _indices(stream) == epochs[4]
    state = stream.state_dict()
    assert _indices(stream, 2) == epochs[5][:2]
    stream.load_state_dict(state | {"epoch": 1, "delivered": 6})
    assert _indices(stream) == epochs[1][2:]
    assert _indices(stream) == epochs[2]
    stream.set_epoch(3)  # where it stands
    assert _indices(stream) == epochs[3]


def test_an_error_of_what_was_read_on_comes_in_its_turn():
    stream, source = _reading_on(12, 3, ahead=3)
    due = _indices(_of(12, 3, epochs=2)[0])
    source.fail_at = 6
    assert _indices(stream) == due[:4]
    assert _indices(stream, 1) == due[4:5]
    with pytest.raises(StoreError, match="damaged"):
        next(stream)
    assert stream.at == (1, 3)
    assert _indices(stream) == due[5:]


@pytest.mark.parametrize("reads_on", [False, True])
def test_what_cannot_be_begun_comes_in_its_turn_and_is_tried_again(reads_on):
    stream, source = _of(15, 3, ahead=3)
    if reads_on:
        stream.read_on()
    due, begin = _indices(_of(15, 3)[0]), source.begin

    def refusing(indices, names, out=None, convert=None):
        if source.begun == source.refused_at:
            source.refused_at = None
            raise StoreError("no room")
        return begin(indices, names, out, convert)

    source.refused_at = 2
    stream._flight.how = stream._flight.how._replace(begin=refusing)
    found = _indices(stream, 2)
    with pytest.raises(StoreError, match="no room"):
        next(stream)
    assert found + _indices(stream) == due


def test_ranks_without_samples_read_on_too():
    streams = [_reading_on(2, 1, rank=r, ranks=3, end="uneven")[0] for r in range(3)]
    for epoch in range(3):
        found = [_flat(_indices(s)) for s in streams]
        assert sorted(_flat(found)) == [0, 1]
        assert all(s.at == (epoch + 1, 0) for s in streams)


def test_reading_on_fills_buffers_only_when_they_are_free(reader):
    sets = [{"image": np.zeros((2, 5, 7), "f4")} for _ in range(3)]
    stream = reader.batches(2, out=sets, ahead=9, fields=["image"])
    stream.read_on()
    for _ in range(4):
        for batch in stream:
            time.sleep(0.002)  # time enough to write into a buffer that is not free
            for i, image in zip(batch["index"].tolist(), batch["image"], strict=True):
                np.testing.assert_array_equal(image, stores.sample(i)["image"])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_on_by_itself(reader):
    stream = reader.batches(3, seed=5, ahead=2)
    stream.read_on()
    due = [b["index"].tolist() for b in reader.batches(3, seed=5)]
    assert next(stream)["index"].tolist() == due[0]
    read, write = os.pipe()
    if not (pid := os.fork()):
        try:
            os.write(write, json.dumps([_indices(stream), _indices(stream)]).encode())
        finally:
            os._exit(0)
    os.close(write)
    found = json.loads(os.read(read, 9999))
    os.waitpid(pid, 0)
    assert found == [due[1:], [b["index"].tolist() for b in reader.batches(3, seed=5, epoch=1)]]
    assert _indices(stream) == due[1:]


# Recycled memory


def test_memory_is_another_while_it_is_held_and_comes_back():
    fresh = Recycled({"image": ((3, 2), np.dtype("f4")), "mask": ((3,), np.dtype("u1"))})
    assert list(fresh) == ["image", "mask"]
    held = [fresh["image"] for _ in range(3)]
    addresses = {a.ctypes.data for a in held}
    assert len(addresses) == 3
    part = held[0][1:, :1]
    kept = held[0].ctypes.data
    held.clear()
    again = [fresh["image"] for _ in range(2)]
    assert {a.ctypes.data for a in again} == addresses - {kept}
    del part
    assert fresh["image"].ctypes.data == kept
    assert fresh["mask"].shape == (3,)
    many = [fresh["mask"] for _ in range(20)]
    del many
    assert len(fresh._idle["mask"]) == 4


def test_batches_in_recycled_memory_are_never_overwritten(reader):
    forms = {"image": ((2, 5, 7), np.dtype("f4"))}
    stream = reader.batches(2, seed=3, fields=["image"], out=Recycled(forms))
    stream.read_on()
    held = [batch for _ in range(4) for batch in stream]
    for batch in held:
        for i, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            np.testing.assert_array_equal(image, stores.sample(i)["image"])


# States of something else


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 6}, "its seed is 6, and here it is 5"),
        ({"count": 12}, "its number of samples is 12, and here it is 11"),
        ({"digest": "e:all:global"}, f"its store is e, and here it is {STORE}"),
        ({"digest": "c:77:global"}, "its subset is 77, and here it is all"),
        ({"digest": "c:all:shard4x16"}, "its order is shard4x16, and here it is global"),
    ],
)
def test_a_state_of_something_else_is_refused(reader, change, words):
    stream = reader.batches(3, seed=5)
    with pytest.raises(StoreError, match="does not fit these batches: ") as caught:
        stream.load_state_dict(stream.state_dict() | change)
    assert words in str(caught.value)
    assert "open the same store, with the same subset, order and seed" in str(caught.value)


@pytest.mark.parametrize(
    "state", [{}, {"epoch": 1}, {"delivered": -1}, {"epoch": "1"}, {"rank": 3}, {"digest": 4}]
)
def test_what_is_no_state_is_refused(reader, state):
    stream = reader.batches(3)
    state = state and (stream.state_dict() | state if state != {"epoch": 1} else state)
    with pytest.raises(StoreError, match="is no state of a stream of batches, which holds epoch"):
        stream.load_state_dict(state)


def test_a_state_beyond_the_end_is_refused(reader):
    stream = reader.batches(3)
    with pytest.raises(StoreError, match="the state has had 12 of 11 samples"):
        stream.load_state_dict(stream.state_dict() | {"delivered": 12})


def test_states_of_subsets_and_other_stores(whole, tmp_path):
    reader = open_store(whole)
    state = reader.batches(2, indices=[1, 2, 3]).state_dict()
    for other in ([1, 2, 4], [3, 2, 1]):
        with pytest.raises(StoreError, match="its subset is"):
            reader.batches(2, indices=other).load_state_dict(state)
    reader.batches(1, indices=np.array([1, 2, 3], np.uint8)).load_state_dict(state)
    other = open_store(stores.make(tmp_path / "y.zarr", stores.describe(content_digest="f" * 64)))
    with pytest.raises(StoreError, match=f"its store is {STORE}, and here it is ffff"):
        other.batches(2).load_state_dict(reader.batches(2).state_dict())
    grown = open_store(stores.make(tmp_path / "z.zarr", stores.describe(12)))
    with pytest.raises(StoreError, match="its number of samples is 11, and here it is 12"):
        grown.batches(2).load_state_dict(reader.batches(2).state_dict())


# What a store gives


def test_subsets(reader):
    found = _flat(_indices(reader.batches(2, indices=[9, 2, 2, 5], end="uneven")))
    assert sorted(found) == [2, 2, 5, 9]
    found = _indices(reader.batches(2, False, indices=[9, 2, 2, 5]))
    assert found == [[9, 2], [2, 5]]
    parts = [reader.split(name) for name in ("train", "val", "test")]
    name = ("train", "val", "test")[int(np.argmax([len(p) for p in parts]))]
    some = reader.split(name)
    found = _flat(_indices(reader.batches(1, split=name, indices=[10, *some[::-1], 3])))
    assert set(found) == set(some)
    sharded = reader.batches(1, "shard", indices=[10, 0, 9, 3, 1], window=1)
    assert [i // 4 for i in _flat(_indices(sharded))] in ([0, 0, 0, 2, 2], [2, 2, 0, 0, 0])
    with pytest.raises(ValueError, match=r"x\.zarr has no sample with where='angle > 2'"):
        reader.batches(1, where="angle > 2")
    with pytest.raises(IndexError, match=r"11 is not in \[0, 11\)"):
        reader.batches(1, indices=[1, 11])


def test_shuffled_by_shard(reader):
    found = _flat(_indices(reader.batches(1, "shard", window=1, seed=3)))
    assert sorted(found) == list(range(COUNT))
    shards = [i // 4 for i in found]
    assert sum(a != b for a, b in itertools.pairwise(shards)) == 2
    assert found != sorted(found)


def test_padded_steps_are_marked(reader):
    found = list(reader.batches(4, end="pad", seed=3, fields=["params"]))
    assert [b["padded"].tolist() for b in found] == [[False] * 4, [False] * 4, [False] * 3 + [True]]
    assert found[2]["index"][3] == found[0]["index"][0]


def test_rows_are_padded_by_name(reader):
    room = {"objects": (40, "drop"), "runs": 3}
    for batch in reader.batches(5, padded=room, fields=["objects", "runs"]):
        for j, i in enumerate(batch["index"].tolist()):
            rows = stores.sample(i)["objects"]
            kept = min(len(rows), 40)
            assert batch["objects_count"][j] == kept
            np.testing.assert_array_equal(batch["objects"][j, :kept], rows[:40])
            assert not batch["objects"][j, kept:].any()
        assert batch["objects"].shape == (5, 40, 2)
        assert batch["runs"].dtype == np.uint32
    out, counts = padded_rows(Rows(np.ones((0, 2), "f4"), np.zeros(4, np.int64)), 2)
    assert (out.shape, counts.tolist()) == ((3, 2, 2), [0, 0, 0])
    with pytest.raises(ValueError, match=r"padded='object' .*did you mean 'objects'"):
        reader.batches(2, padded={"object": 3})
    with pytest.raises(ValueError, match="must have room for 1 row or more"):
        reader.batches(2, padded={"objects": 0})
    with pytest.raises(ValueError, match=r'may have 150 rows .* 150, or \(40, "drop"\) to leave'):
        reader.batches(2, padded={"objects": 40})
    with pytest.raises(ValueError, match=r'is neither rows nor \(rows, "drop"\)'):
        reader.batches(2, padded={"objects": (40, "keep")})
    assert next(reader.batches(2, padded={"objects": 150}))["objects"].shape == (2, 150, 2)


@pytest.mark.parametrize("way", ["preadv", "mmap", "tensorstore"])
def test_buffers_of_the_caller_are_filled_in_turn(whole, way):
    reader = open_store(whole, way=way)
    sets = [
        {"image": np.full((3, 5, 7), -1, "f4"), "mask": np.zeros((4, 5, 7), "u1")} for _ in range(3)
    ]
    used = []
    for batch in reader.batches(3, end="uneven", out=sets, fields=["image", "mask", "inside"]):
        used.append([np.shares_memory(batch["image"], s["image"]) for s in sets].index(True))
        for j, i in enumerate(batch["index"].tolist()):
            for name in ("image", "mask", "inside"):
                np.testing.assert_array_equal(batch[name][j], stores.sample(i)[name])
    assert used == [0, 1, 2, 0]
    with pytest.raises(ValueError, match="buffer of 'image' has room for 3 of 4"):
        reader.batches(4, out=sets)
    with pytest.raises(ValueError, match="at least one set"):
        reader.batches(4, out=[])


@pytest.mark.parametrize("way", ["preadv", "tensorstore"])
def test_crops_and_scales_go_by_seed_epoch_and_index(whole, way):
    reader = open_store(whole, way=way)
    arguments = {"crop": {"y": 3, "x": 4}, "scale": {"mask": (1 / 10, 0.5)}, "seed": 2}
    names = ["image", "mask"]
    first = {
        int(i): batch["image"][j]
        for batch in reader.batches(2, end="uneven", fields=names, **arguments)
        for j, i in enumerate(batch["index"])
    }
    places = set()
    for i, image in first.items():
        whole_image = stores.sample(i)["image"]
        found = [
            (y, x)
            for y in range(3)
            for x in range(4)
            if np.array_equal(whole_image[y : y + 3, x : x + 4], image)
        ]
        assert found
        places |= set(found[:1])
    assert len(places) > 3
    stream = reader.batches(5, epoch=0, end="uneven", fields=names, epochs=2, **arguments)
    differ = 0
    for number, batch in enumerate(stream):
        assert batch["mask"].dtype == np.float32
        assert batch["mask"].min() >= 0.5
        for j, i in enumerate(batch["index"].tolist()):
            equal = np.array_equal(first[i], batch["image"][j])
            assert equal or number >= 3  # the second epoch
            differ += not equal
    assert differ > 5
    with pytest.raises(ValueError, match="no axis 'z' to crop"):
        reader.batches(2, crop={"z": 3})


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """A store of masks with one rectangle each, and the box of it in the pixels of the film."""
    names = ("y0", "x0", "y1", "x1")
    fields = (
        Field("mask", "uint8", ("y", "x"), (9, 13), unit="class"),
        Ragged("boxes", tuple(Column(n, "px") for n in names), 1),
    )
    rng = np.random.default_rng(3)
    low, size = rng.integers(0, (7, 10), (8, 2)), rng.integers(1, 3, (8, 2))
    rows = np.concatenate([low, low + size], 1)
    masks = np.zeros((8, 9, 13), "uint8")
    for mask, (y0, x0, y1, x1) in zip(masks, rows.tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    path = tmp_path_factory.mktemp("boxes") / "x.zarr"
    description = stores.describe(8, fields=fields, columns=(), spec={})
    create(path, description)
    for shard in range(2):
        part = slice(4 * shard, 4 * shard + 4)
        arrays = {
            "mask": masks[part],
            "boxes": Rows(rows[part].astype(float), np.arange(5)),
        }
        with ShardWriter(path, description, shard) as writer:
            writer.add(arrays, np.empty((4, 0)))
            writer.commit(0.5)
    finish(path)
    return path


@pytest.mark.parametrize("way", ["preadv", "mmap", "tensorstore", "mixed"])
def test_boxes_less_the_offset_of_the_crop_are_the_boxes_in_it(boxes, way):
    reader = open_store([boxes, boxes]) if way == "mixed" else open_store(boxes, way=way)
    crop, seen = {"x": 8, "y": 6}, 0
    stream = reader.batches(
        3,
        crop=crop,
        seed=4,
        epoch=1,
        epochs=2,
        end="pad",
        padded={"boxes": 1},
        fields=["mask", "boxes"],
    )
    for batch in stream:
        assert (batch["crop"].dtype, batch["crop"].shape) == (np.int64, (3, 2))
        x, y = batch["crop"].T  # in the order of the mapping
        found = batch["boxes"][:, 0] - np.stack([y, x, y, x], 1)
        inside = found.clip(0, [6, 8, 6, 8]).astype(int)
        for mask, (y0, x0, y1, x1) in zip(batch["mask"], inside.tolist(), strict=True):
            due = np.zeros((6, 8), "uint8")
            due[y0:y1, x0:x1] = 1
            np.testing.assert_array_equal(mask, due)
            seen += due.any()
    assert seen > 6


def test_the_offsets_of_crops_need_no_image(boxes, tmp_path):
    reader = open_store(boxes)
    only = next(reader.batches(2, crop={"x": 6}, fields=["boxes"], seed=1))
    whole = next(reader.batches(2, crop={"x": 6}, seed=1))
    np.testing.assert_array_equal(only["crop"], whole["crop"])
    assert "crop" not in next(reader.batches(2, scale={"mask": (2.0, 0.0)}))
    crop = Field("crop", "uint8", ("y", "x"), (5, 7), unit="class")
    create(tmp_path / "x.zarr", stores.describe(fields=(crop, *stores.FIELDS)))
    taken = open_store(tmp_path / "x.zarr", partial=True)
    with pytest.raises(ValueError, match="a field called 'crop' cannot be read cropped"):
        taken.batches(2, crop={"y": 3})


def test_what_cannot_be_is_refused_at_once(reader):
    for words, size, wrong in (
        ("11 samples are no batch of 12 for each of 1 ranks", 12, {}),
        ("11 samples are no batch of 4 for each of 3 ranks", 4, {"ranks": 3}),
        ("rank 2 of 2", 2, {"rank": 2, "ranks": 2}),
        ("rank -1 of 2", 2, {"rank": -1, "ranks": 2}),
        (r"^rank 8 of 8 must be in 0\.\.7: ranks count from 0$", 1, {"rank": 8, "ranks": 8}),
        ("^ranks 0 must be 1 or more$", 1, {"ranks": 0}),
        ("^batch 0 must be 1 or more$", 0, {}),
        ("ahead -1", 2, {"ahead": -1}),
        ("epochs 0", 2, {"epochs": 0}),
        ("shuffle='buffer' is not one of", 2, {"shuffle": "buffer"}),
        ("end='last' is not one of drop, pad, uneven", 2, {"end": "last"}),
        ("no split 'dev'", 2, {"split": "dev"}),
        ("no field 'pixels'", 2, {"fields": ["pixels"]}),
    ):
        with pytest.raises(ValueError, match=words):
            reader.batches(size, **wrong)
    with pytest.raises(TypeError, match=r"write \['image'\]"):
        reader.batches(2, fields="image")
    for wrong in ("4", 4.0):
        with pytest.raises(TypeError, match="batch is a whole number, not"):
            reader.batches(wrong)


def test_a_whole_step_is_no_matter_where_the_end_is_filled(reader):
    assert len(list(reader.batches(12, end="uneven"))) == 1
    (batch,) = reader.batches(12, end="pad")
    assert batch["padded"].sum() == 1


def test_partial_stores_give_what_is_made(tmp_path):
    path, d = tmp_path / "x.zarr", stores.describe()
    create(path, d)
    stores.write(path, d, 2)
    stream = open_store(path, partial=True).batches(2, end="uneven")
    state = stream.state_dict()
    assert state["count"] == 3
    assert sorted(_flat(_indices(stream))) == [8, 9, 10]
    stores.write(path, d, 0)
    with pytest.raises(StoreError, match="its number of samples is 3, and here it is 7"):
        open_store(path, partial=True).batches(2).load_state_dict(state)


@pytest.mark.parametrize("way", ["preadv", "mmap", "tensorstore"])
@pytest.mark.parametrize("read", [[], [0], [5]])
def test_a_store_may_grow_before_it_is_read(tmp_path, way, read):
    path = stores.make(tmp_path / "x.zarr", stores.describe(6))
    reader = open_store(path, way=way)
    reader[read]
    stores.make(path)
    assert len(reader) == 6
    assert all(stores.same(reader[i], stores.sample(i)) for i in range(6))
    with pytest.raises(IndexError):
        reader[6]


@pytest.mark.parametrize("way", ["preadv", "mmap", "tensorstore"])
def test_a_reader_keeps_the_count_that_it_opened(tmp_path, way):
    path = stores.make(tmp_path / "x.zarr", stores.describe(6))
    reader = open_store(path, way=way)
    stream = reader.batches(1, seed=4, ahead=0)
    found = _indices(stream, 2)
    stores.make(path)
    found += _indices(stream)
    assert sorted(_flat(found)) == list(range(6))
    assert sorted(_flat(_indices(stream))) == list(range(6))
    assert len(open_store(path)) == COUNT
    assert all(stores.same(reader[i], stores.sample(i)) for i in range(6))


def test_conversion_is_told_the_epoch():
    source = Source()
    convert = Convert(seed=1)
    stream = Batches(
        source.begin, Order(4, 2), [], digest="a:b:c", epochs=2, ahead=5, convert=convert
    )
    assert [b["convert"].epoch for b in stream] == [0, 0, 1, 1]


def test_a_batch_stays_while_spare_buffers_last(reader):
    sets = [{"image": np.zeros((1, 5, 7), "f4")} for _ in range(5)]
    stream = reader.batches(1, out=sets, ahead=1, fields=["image"])
    held = [next(stream) for _ in range(4)]
    for batch in held:
        due = stores.sample(int(batch["index"][0]))["image"]
        np.testing.assert_array_equal(batch["image"][0], due)


def test_no_thread_is_left(reader):
    before = threading.active_count()
    for _ in range(3):
        next(reader.batches(2))
    assert threading.active_count() - before <= 8


def test_threads_that_read_stop_nobody_by_waking_up(reader):
    stream = reader.batches(2)
    stream.read_on()
    _indices(stream)
    ours = [t for t in threading.enumerate() if t.name.startswith("voxelmill-")]
    assert {t.name.split("-")[1] for t in ours} >= {"read", "begin"}
    assert {os.sched_getscheduler(t.native_id) for t in ours} == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_what_comes_is_told_before_it_is_read():
    told, begun = [], []

    class Done:
        def __init__(self, indices):
            self.indices = indices

        def result(self):
            return {"index": self.indices}

    def begin(indices, names, out=None, convert=None):
        begun.append(indices.tolist())
        return Done(indices)

    order = Order(count=100, batch=2, seed=3, epoch=0, shuffle="shard", samples_per_shard=8)
    batches = Batches(
        begin, order, ["x"], digest="a:b:c", ahead=1, expect=lambda i, n: told.append(i.tolist())
    )
    first = next(batches)["index"].tolist()
    assert told[0] == begun[0] == first
    assert len(told) == len(begun) + 16
    rest = [batch["index"].tolist() for batch in batches]
    assert told == begun == [first, *rest]
    assert sorted(i for step in told for i in step) == list(range(100))
