"""The mill: the same bytes at any batch, threads and workers; faults end it cleanly."""

import json
import subprocess
import sys
import threading
import time

import mills
import numpy as np
import pytest
import stores

from voxelmill.engine import mill as module
from voxelmill.engine.channel import Channel, Stopped
from voxelmill.engine.device_class import device_class, versions
from voxelmill.engine.errors import RecipeError
from voxelmill.engine.mill import Clock, batch_size, mill
from voxelmill.engine.params import param_columns
from voxelmill.engine.rate import Rate
from voxelmill.engine.sample import Field
from voxelmill.engine.store import check, committed, create


def test_a_sample_is_the_same_at_any_shard_size_batch_and_number_of_workers(tmp_path):
    due = mills.samples(mills.made(tmp_path / "due", mills.dots(40, 8), batch=1))
    assert len(due) == 40
    assert len({d["image"] for d in due}) == 40  # no two samples alike
    for per_shard, workers, batch in ((32, 1, 32), (8, 2, None), (7, 2, 3), (64, 1, 5)):
        path = tmp_path / f"{per_shard}-{workers}"
        mills.made(path, mills.dots(40, per_shard), workers=workers, batch=batch)
        assert mills.samples(path) == due
        assert check(path) == []


def test_files_are_the_same_at_any_batch_and_number_of_workers(tmp_path):
    plan = mills.dots(43, 8)
    due = stores.contents(mills.made(tmp_path / "due", plan, batch=1))
    for workers, batch in ((1, 32), (1, 3), (2, 1), (3, None)):
        path = mills.made(tmp_path / f"{workers}-{batch}", plan, workers=workers, batch=batch)
        assert stores.contents(path) == due


def test_shards_of_64_and_of_512(tmp_path):
    small, large = (
        mills.made(tmp_path / f"{n}", mills.dots(600, n, "ranges.size=3")) for n in (64, 512)
    )
    assert mills.samples(small) == mills.samples(large)


def test_films_with_objects_are_the_same_too(tmp_path):
    plan = mills.films(20, 8)
    first = mills.made(tmp_path / "due", plan, batch=1)
    due, whole = mills.samples(first), stores.contents(first)
    assert stores.contents(mills.made(tmp_path / "32", plan, batch=32)) == whole
    assert stores.contents(mills.made(tmp_path / "w2", plan, workers=2)) == whole
    assert mills.samples(mills.made(tmp_path / "16", mills.films(20, 16), batch=5)) == due


@pytest.mark.parametrize("threads", [1, 2])
def test_films_are_the_same_at_any_number_of_threads(tmp_path, threads):
    code = (
        "import sys, mills, numba; mills.made(sys.argv[1], mills.films());"
        "print(numba.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=True,
        cwd=mills.DOTS.parent,
        env={**mills.os.environ, "NUMBA_NUM_THREADS": str(threads)},
    )
    assert int(done.stdout) == threads
    due = stores.contents(mills.made(tmp_path / "due", mills.films()))
    assert stores.contents(tmp_path / "x") == due


def test_commit_records_say_who_made_the_shard(tmp_path):
    path = mills.made(tmp_path / "x", mills.dots())
    for file in (path / "commits").glob("*.json"):
        record = json.loads(file.read_text())
        assert (record["device_class"], record["versions"]) == (device_class(), versions())


def test_the_clock_counts_work_and_not_waiting(tmp_path):
    plan, clock = mills.dots(16, 8, "ranges.slow_ms=20"), Clock()
    create(tmp_path / "x", plan.description)
    mill(plan.job(tmp_path / "x", 4), range(2), clock=clock)
    assert set(clock.seconds) == {"draw", "render", "pack", "write"}
    assert 0.32 <= clock.seconds["render"] < 3
    assert clock.seconds["draw"] + clock.seconds["pack"] < 0.3


# Faults.


def _mill(path, plan, shards=None, **named):
    create(path, plan.description)
    mills.within(20, mill, plan.job(path, 4), shards or range(plan.description.shards), **named)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("draw", ValueError, "the draw failed"),
        ("render", ZeroDivisionError, "the render failed"),
        (
            "param",
            RecipeError,
            r"(?s)draw gave grey = array.* for sample 19; a column of",
        ),
        ("name", RecipeError, r"recipe dots: .*fields \['image'\] are lacking and \['picture'\]"),
        (
            "dtype",
            RecipeError,
            r"image: \(4, 6, 8\) float64 came; .* float32 is due",
        ),
        ("shape", RecipeError, r"mask: \(4, 6, 7\) uint8 came"),
        ("count", RecipeError, "3 samples came for 4 draws"),
        ("rows", RecipeError, "dots: a ndarray came; Rows is due"),
    ],
)
def test_what_a_recipe_does_wrong_is_said_and_ends_all(tmp_path, monkeypatch, fault, error, words):
    monkeypatch.setenv("DOTS_FAULT", f"{fault}@19")
    before = threading.active_count()
    with pytest.raises(error, match=words):
        _mill(tmp_path / "x", mills.dots())
    assert threading.active_count() == before
    assert committed(tmp_path / "x") == {0, 1}  # what was rendered before is not lost
    assert mills.partials(tmp_path / "x") == []
    monkeypatch.delenv("DOTS_FAULT")
    due = stores.contents(mills.made(tmp_path / "due", mills.dots()))
    assert stores.contents(mills.made(tmp_path / "x", mills.dots())) == due


@pytest.mark.parametrize("stage", ["encode", "append", "commit", "made"])
def test_a_fault_while_packing_or_writing_ends_all(tmp_path, monkeypatch, stage):
    calls = iter(range(100))

    def failing(real):
        def call(*args, **named):
            if next(calls) == 3:
                raise MemoryError("no room")
            return real(*args, **named)

        return call

    named = {}
    if stage == "encode":
        monkeypatch.setattr(module, "encode", failing(module.encode))
    elif stage == "made":
        named["made"] = failing(lambda samples, nbytes: None)
    else:
        real = getattr(module.ShardWriter, stage)
        monkeypatch.setattr(module.ShardWriter, stage, failing(real))
    with pytest.raises(MemoryError, match="no room"):
        _mill(tmp_path / "x", mills.dots(), **named)
    assert mills.partials(tmp_path / "x") == []
    assert committed(tmp_path / "x") == ({0, 1, 2} if stage == "commit" else {0})


def test_a_slow_writer_does_not_pile_up_samples(tmp_path, monkeypatch):
    """Drawing stays a few batches ahead only, so that a worker takes no shards of another's."""
    taken = []

    def shards():
        for shard in range(20):
            taken.append(shard)
            yield shard

    monkeypatch.setattr(module, "CHANNEL_BYTES", 1)
    ahead = []
    _mill(
        tmp_path / "x",
        mills.dots(160, 8, "ranges.slow_ms=1"),
        shards(),
        made=lambda samples, nbytes: (time.sleep(0.01), ahead.append(len(taken))),
    )
    # of 2 batches a shard: 2 drawn, 1 in each of 2 channels, 4 in hand
    assert all(n - i // 2 <= 6 for i, n in enumerate(ahead))


# What stands between the stages.


def test_a_channel_is_bounded_in_bytes():
    channel, put = Channel(10), []

    def fill():
        for i in range(4):
            channel.put(i, 4)
            put.append(i)
        channel.close()

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    time.sleep(0.05)
    assert put == [0, 1]
    taking = iter(channel)
    assert next(taking) == 0
    time.sleep(0.05)
    assert put == [0, 1, 2]
    assert list(taking) == [1, 2, 3]
    thread.join(1)


def test_one_item_passes_however_large():
    channel = Channel(10)
    channel.put("large", 1000)
    channel.close()
    assert list(channel) == ["large"]


def test_abort_wakes_who_waits():
    full, empty, seen = Channel(1), Channel(1), []
    full.put("a", 1)

    def expect(work):
        try:
            work()
        except Stopped:
            seen.append("stopped")

    threads = [
        threading.Thread(target=expect, args=(work,), daemon=True)
        for work in (lambda: full.put("b", 1), lambda: list(empty))
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert seen == []
    full.abort()
    empty.abort()
    for thread in threads:
        thread.join(1)
    assert seen == ["stopped", "stopped"]
    with pytest.raises(Stopped):
        full.put("c", 1)


def test_the_rate_leaves_out_what_came_before_the_first_batch(monkeypatch):
    times = iter([100.0, 102.0, 103.0, 104.0])
    monkeypatch.setattr("voxelmill.engine.rate.time.monotonic", lambda: next(times))
    rate = Rate()
    rate.add(8, 800)
    assert rate.per_second() == 0
    rate.add(8, 800)
    rate.add(8, 800)
    rate.add(8, 800)
    assert rate.per_second() == 24 / 4
    assert rate.bytes_per_second() == 2400 / 4


def test_a_burst_of_batches_that_waited_is_no_rate(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("voxelmill.engine.rate.time.monotonic", lambda: clock[0])
    rate = Rate()
    rate.begin()
    for clock[0] in (101.5, 101.51, 101.52, 101.53):
        rate.add(32, 3200)
    assert rate.per_second() == 0  # 2 s have not passed
    rate.begin()  # told again after each batch
    clock[0] = 104.0
    rate.add(32, 3200)
    assert rate.per_second() == 128 / 4  # from the first that was rendered, not written


def test_it_tells_each_rendered_batch(tmp_path):
    plan, begun, made = mills.dots(16, 8), [], []
    create(tmp_path / "x", plan.description)
    job = plan.job(tmp_path / "x", 4)
    mill(job, [0, 1], lambda n, _: made.append(n), begun=lambda: begun.append(sum(made)))
    assert len(begun) == 4
    assert begun[0] == 0


def test_batches_are_as_large_as_memory_lets_them():
    def one(side):
        return [Field("image", "float32", ("y", "x"), (side, side))]

    assert batch_size(one(16)) == 32
    assert batch_size(one(1024)) == 12
    assert batch_size(one(8192)) == 1


def test_params_say_which_input_and_whose(tmp_path):
    plan = mills.films(6, 4)
    names = [c.name for c in param_columns(plan.spec.module, plan.inputs)]
    assert names[:4] == ["sample", "input", "subject", "devices"]
    assert len(names) == len(set(names))
    path = mills.made(tmp_path / "x", plan)
    reader = mills.open_store(path)
    np.testing.assert_array_equal(reader.params["sample"], np.arange(6))
    subjects = [plan.inputs.subjects[int(i)] for i in reader.params["input"]]
    assert reader.subjects.tolist() == subjects
