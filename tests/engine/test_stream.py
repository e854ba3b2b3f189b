"""A spec as a loader: the same samples as its store, in any order, with no store."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from mills import DOTS, FILMS, dots, dots_file, made, within

from voxelmill.engine import open_spec, open_store
from voxelmill.engine.errors import RecipeError, SpecError, StoreError, VoxelmillError
from voxelmill.engine.reader import Reader
from voxelmill.engine.sample import Rows
from voxelmill.engine.stream import Stream


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of 40 dots in shards of 8, made by the mill."""
    return open_store(made(tmp_path_factory.mktemp("made") / "dots.zarr", dots()))


@pytest.fixture
def stream():
    return open_spec(dots())


def flat(batch):
    """Every array of a batch as bytes."""
    found = {}
    for name, value in batch.items():
        parts = tuple(value) if isinstance(value, Rows) else (value,)
        found[name] = [(a.dtype.str, a.shape, a.tobytes()) for a in parts]
    return found


def alike(some, others):
    """The number of batches, all of them the same."""
    some, others = [flat(b) for b in some], [flat(b) for b in others]
    assert some == others
    return len(some)


ORDERS = [
    {},
    {"shuffle": False},
    {"shuffle": "shard", "window": 2},
    {"end": "uneven", "epoch": 3},
    {"end": "pad", "ranks": 3, "rank": 2},
    {"fields": ["mask", "params"]},
    {"fields": ["dots"], "padded": {"dots": (2, "drop")}},
    {"where": "dots >= 2"},
    {"where": "dots.y < 3", "end": "uneven"},
    {"indices": [3, 9, 30, 11, 5, 8, 39]},
    {"scale": {"mask": (0.5, 1.0)}, "crop": {"y": 3}, "epochs": 2},
]


@pytest.mark.parametrize("how", ORDERS, ids=str)
def test_batches_are_those_of_the_store(store, stream, how):
    how = {"seed": 11, **how}
    assert alike(stream.batches(7, **how), store.batches(7, **how))


def test_batches_larger_than_a_micro_batch_and_one_alone(store):
    stream = open_spec(dots())
    job = stream.plan.job("")
    assert job.batch < 40
    assert alike(stream.batches(40), store.batches(40)) == 1
    assert alike(stream.batches(1), store.batches(1)) == 40


def test_samples_by_index(store, stream):
    for index in (0, 17, 39):
        assert flat(stream[index]) == flat(store[index])
    assert flat(stream[3:30:7]) == flat(store[3:30:7])
    assert flat(stream[[5, 5, 2]]) == flat(store[[5, 5, 2]])
    assert len(stream) == len(store) == 40
    with pytest.raises(IndexError, match="40 is not in"):
        stream[40]


def test_films_are_those_of_the_store(tmp_path):
    sets = ["count=12", "samples_per_shard=4", "ranges.size=64"]
    stream = open_spec(FILMS, sets)
    path = made(tmp_path / "films.zarr", stream.plan)
    store = open_store(path)
    assert alike(stream.batches(5, seed=2), store.batches(5, seed=2)) == 2
    for part in ("train", "val", "test"):
        assert stream.split(part).tolist() == store.split(part).tolist()
    assert list(stream.subjects) == list(store.subjects)


def test_what_it_says_of_itself(store, stream):
    assert stream.fields == store.fields
    assert stream.labels == store.labels
    assert stream.categories == store.categories
    assert list(stream.params) == list(store.params)
    for name in store.params:
        assert np.array_equal(stream.params[name], store.params[name])
    assert np.array_equal(stream.params_of(7), store.params_of(7))


def test_it_goes_on_where_the_store_stood_on_other_ranks(store, stream):
    reading = store.batches(4, seed=3)
    for _ in range(3):
        next(reading)
    state = reading.state_dict()
    for rank in range(2):
        mine = stream.batches(4, seed=3, rank=rank, ranks=2)
        mine.load_state_dict(state)
        theirs = store.batches(4, seed=3, rank=rank, ranks=2)
        theirs.load_state_dict(state)
        assert alike(mine, theirs) == 3


def test_the_state_counts_what_was_handed_over(stream):
    whole = [b["index"].tolist() for b in stream.batches(4, seed=1, epochs=2)]
    reading = stream.batches(4, seed=1, epochs=2, ahead=6)
    first = [next(reading)["index"].tolist() for _ in range(7)]
    again = open_spec(dots()).batches(4, seed=1, epochs=2)
    again.load_state_dict(reading.state_dict())
    assert first + [b["index"].tolist() for b in again] == whole


def test_buffers_are_filled(store, stream):
    def sets():
        return [
            {"image": np.zeros((5, 6, 8), np.float32), "params": np.zeros((5, 3))} for _ in range(3)
        ]

    mine = sets()
    names = ["image", "params", "dots"]
    pairs = zip(
        stream.batches(5, fields=names, out=mine),
        store.batches(5, fields=names, out=sets()),
        strict=True,
    )
    for step, (a, b) in enumerate(pairs):
        assert flat(a) == flat(b)
        assert np.shares_memory(a["image"], mine[step % 3]["image"])
    with pytest.raises(ValueError, match="nothing is cast"):
        stream.start([1], ["image"], {"image": np.zeros((1, 6, 8))})
    with pytest.raises(ValueError, match="ragged"):
        stream.start([1], ["dots"], {"dots": np.zeros((1, 6, 2))})


def test_what_is_ahead_is_bounded_in_bytes():
    one = 8 * (6 * 8 * 5 + 8)
    stream = open_spec(dots(400, 8), ahead_bytes=3 * one)
    reading = stream.batches(8, ahead=20)
    seen = []
    for _ in reading:
        time.sleep(0.005)
        seen.append(stream._mill.flights.used)
    assert 0 < max(seen) <= 3 * one
    assert stream._mill.flights.used == 0


def test_ahead_is_what_there_is_room_for():
    assert open_spec(dots(), ahead_bytes=1).batches(8)._ahead == 1
    assert 1 < open_spec(dots(), ahead_bytes=10_000).batches(8)._ahead < 20


def test_two_streams_in_turns_and_dropped_ones(store):
    stream = open_spec(dots(), ahead_bytes=1)

    def both():
        for _ in range(3):
            train, other = stream.batches(4, seed=1), stream.batches(4, seed=2)
            for _ in range(5):
                next(train), next(other), stream[3]
        del train, other
        return alike(stream.batches(4), store.batches(4))

    assert within(60, both) == 10


def test_streams_in_threads_share_the_kernels(tmp_path):
    plans = [open_spec(FILMS, ["count=16", "ranges.size=64", f"seed={s}"]) for s in (1, 2)]
    alone = [[flat(b) for b in s.batches(4)] for s in plans]
    together = [[], []]

    def read(k):
        together[k] = [flat(b) for b in open_spec(plans[k].plan).batches(4)]

    threads = [threading.Thread(target=read, args=(k,)) for k in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        within(60, t.join)
    assert together == alone


_BOTH = """
import sys
from voxelmill.engine import open_spec
sets = ["count=64", "samples_per_shard=16", "ranges.size=64"]
one = open_spec(sys.argv[1], sets, write_to=sys.argv[2])
other = open_spec(sys.argv[1], [*sets, "seed=3"])
print(sum(1 for _ in zip(one.batches(8), other.batches(8))))
"""


def test_two_mills_in_a_process_where_numba_serves_one_thread(tmp_path):
    words = [sys.executable, "-c", _BOTH, str(FILMS), str(tmp_path / "x.zarr")]
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr


def test_faults_are_told_by_name(monkeypatch):
    stream = open_spec(dots())
    monkeypatch.setenv("DOTS_FAULT", "dtype@9")
    reading = stream.batches(8, shuffle=False)
    next(reading)
    with pytest.raises(RecipeError, match="image"):
        next(reading)
    monkeypatch.delenv("DOTS_FAULT")
    assert next(reading)["index"].tolist() == list(range(8, 16))
    monkeypatch.setenv("DOTS_FAULT", "draw@17")
    with pytest.raises(ValueError, match="the draw failed"):
        stream[17]
    with pytest.raises(SpecError):
        open_spec(dots_text().replace("dots", "dotz"))
    with pytest.raises(ValueError, match="ahead_bytes 0"):
        open_spec(dots(), ahead_bytes=0)
    with pytest.raises(ValueError, match="no field 'imag'"):
        stream.batches(4, fields=["imag"])
    with pytest.raises(VoxelmillError, match="has no folder"):
        stream.path  # noqa: B018


def dots_text():
    return "recipe: dots\ncount: 40\nseed: 5\n"


def test_a_spec_from_a_file_with_overrides(store, tmp_path):
    stream = open_spec(dots_file(tmp_path, count=99), ["count=40"], DOTS)
    assert alike(stream.batches(8), store.batches(8)) == 5


def test_overrides_that_are_no_list(tmp_path):
    with pytest.raises(TypeError, match=r"a list of key=value, not 'count=5': \['count=5'\]"):
        open_spec(dots_file(tmp_path), "count=5", DOTS)


def test_it_pickles_without_its_threads(store, stream):
    next(stream.batches(8))
    again = pickle.loads(pickle.dumps(stream))
    assert isinstance(again, Stream)
    assert repr(again) == repr(stream)
    assert alike(again.batches(8), store.batches(8)) == 5


def test_a_spawned_child_makes_its_own(store, stream):
    next(stream.batches(8))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert flat(pool.apply(stream.__getitem__, (5,))) == flat(store[5])


def test_a_forked_child_is_told():
    stream = open_spec(dots())
    stream[0]
    child = os.fork()
    if not child:
        try:
            stream[1]
        except VoxelmillError as error:
            os._exit(7 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_forked_child_does_not_wait_for_batches_of_its_parent():
    batches = open_spec(dots(40, 8, "ranges.slow_ms=50")).batches(4)
    next(batches)
    child = os.fork()
    if not child:
        signal.alarm(20)
        told = 0
        for _ in range(2):
            try:
                next(batches)
            except VoxelmillError as error:
                told += "forked" in str(error)
        os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_write_to_makes_the_store_and_reads_it(store, tmp_path):
    path = tmp_path / "through.zarr"
    stream = open_spec(dots(), write_to=path)
    found = within(60, list, stream.batches(4, seed=3, epochs=2))
    assert sorted(i for b in found[:10] for i in b["index"]) == list(range(40))
    for batch in found:
        expected = store.start(batch["index"]).result()
        assert flat(batch) == flat(expected)
    stream.close()
    whole = open_store(path)
    assert alike(whole.batches(8), store.batches(8)) == 5
    assert alike(open_spec(dots(), write_to=path).batches(4, seed=3, epochs=2), found) == 20


def test_write_to_waits_for_one_sample(store, tmp_path):
    stream = open_spec(dots(40, 8, "ranges.slow_ms=5"), write_to=tmp_path / "x.zarr")
    assert flat(within(60, stream.__getitem__, 39)) == flat(store[39])
    stream.close()


def test_write_to_goes_on_after_it_was_closed(store, tmp_path):
    path = tmp_path / "x.zarr"
    plan = dots(40, 8, "ranges.slow_ms=10")
    stream = open_spec(plan, write_to=path)
    reading = stream.batches(4, seed=3)
    within(60, next, reading)
    stream.close()
    with pytest.raises(StoreError, match="closed"):
        within(60, list, reading)
    again = open_spec(plan, write_to=path)
    assert len(within(60, list, again.batches(4, seed=3))) == 10
    again.close()


def test_write_to_tells_what_went_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("DOTS_FAULT", "dtype@20")
    stream = open_spec(dots(), write_to=tmp_path / "x.zarr")
    with pytest.raises(RecipeError, match="image"):
        within(60, list, stream.batches(4))
    monkeypatch.delenv("DOTS_FAULT")
    made(tmp_path / "y.zarr", dots(24))
    with pytest.raises(StoreError, match="another spec"):
        open_spec(dots(40, 8, "seed=6"), write_to=tmp_path / "y.zarr")


def test_a_process_ends_while_its_store_is_made(tmp_path):
    code = """
import sys
from voxelmill.engine import open_spec, open_store
sets = ["count=400", "samples_per_shard=8", "ranges.size=64"]
reading = open_spec(sys.argv[1], sets, write_to=sys.argv[2]).batches(4)
next(reading)
"""
    words = [sys.executable, "-c", code, str(FILMS), str(tmp_path / "x.zarr")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 < len(open_store(tmp_path / "x.zarr", partial=True).available()) < 400


def test_write_to_in_another_process_follows(tmp_path):
    stream = open_spec(dots(), write_to=tmp_path / "x.zarr")
    there = pickle.loads(pickle.dumps(stream))
    assert type(there) is Reader
    assert there.follow
    assert len(within(60, list, there.batches(4))) == 10
    stream.close()
