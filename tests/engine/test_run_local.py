"""`make` on this machine: workers, owners, growth, refusals, a full disk, Ctrl-C."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import mills
import pytest
import stores

from voxelmill.engine import plan as plan_module
from voxelmill.engine.errors import DiskFullError, OwnedError, StoreError
from voxelmill.engine.files import Partial
from voxelmill.engine.owner import own
from voxelmill.engine.run_local import Interrupted, make, missing_samples
from voxelmill.engine.store import check, committed, missing, read_description, state_of


@pytest.fixture(scope="module")
def due(tmp_path_factory):
    """The bytes of 40 dots in shards of 8."""
    return stores.contents(mills.made(tmp_path_factory.mktemp("due") / "x", mills.dots()))


def test_what_it_says_it_made(tmp_path, due):
    said = []
    made = make(mills.dots(), tmp_path / "x", batch=4, progress=lambda *what: said.append(what))
    assert (made.count, made.samples, made.path) == (40, 40, tmp_path / "x")
    assert said[0] == (0, 0, "compiling kernels, or loading them")
    assert sum(samples for samples, _, _ in said) == 40
    assert sum(nbytes for _, nbytes, _ in said) == made.nbytes > 40 * 6 * 8 * 4
    assert made.per_second == made.samples / made.seconds  # too short to tell more
    assert 0 < made.seconds < 20
    assert set(made.stages) == {"draw", "render", "pack", "write"}
    assert stores.contents(tmp_path / "x") == due
    again = make(mills.dots(), tmp_path / "x")
    assert (again.samples, again.nbytes, again.per_second) == (0, 0, 0.0)


def test_a_spec_can_be_given_in_any_form(tmp_path, due):
    file = mills.dots_file(tmp_path)
    make(file, tmp_path / "a", recipe_file=mills.DOTS, overrides=["count=40"])
    make(mills.dots().spec, tmp_path / "b")
    assert stores.contents(tmp_path / "a") == stores.contents(tmp_path / "b") == due


@pytest.mark.parametrize("of", [str, Path])
@pytest.mark.parametrize("url", ["s3://bucket/x.zarr", "https://ann:dear@host/x.zarr"])
def test_a_url_is_refused_with_no_secret_and_nothing_is_made(tmp_path, monkeypatch, url, of):
    monkeypatch.chdir(tmp_path)
    for command in (lambda place: make(mills.dots(), place), check):
        with pytest.raises(StoreError, match=r"folder of this machine|was given with") as caught:
            command(of(url))
        assert "dear" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_workers_and_batches_are_numbers_from_1(tmp_path):
    with pytest.raises(ValueError, match="workers 0 and batch None must be 1 or more"):
        make(mills.dots(), tmp_path / "x", workers=0)
    with pytest.raises(ValueError, match="batch 0 must be"):
        make(mills.dots(), tmp_path / "x", batch=0)
    assert not (tmp_path / "x").exists()


# Several mills on one store.


def test_runs_of_shards_make_one_store(tmp_path, due):
    path = tmp_path / "x"
    make(mills.dots(), path, shards=range(3, 5))
    assert (state_of(path), missing(path)) == ("making", [0, 1, 2])
    make(mills.dots(), path, shards=range(2))
    make(mills.dots(), path, shards=range(1, 3), workers=2)
    assert state_of(path) == "whole"
    assert stores.contents(path) == due


@pytest.mark.parametrize("shards", [range(5, 6), range(2, 2), range(-1, 2)])
def test_shards_that_are_not_there_are_refused(tmp_path, shards):
    with pytest.raises(StoreError, match=r"not some of the 5 shards of .*within 0:5"):
        make(mills.dots(), tmp_path / "x", shards=shards)
    assert not (tmp_path / "x").exists()


def test_a_second_mill_is_refused_until_it_takes_over(tmp_path, due):
    path = tmp_path / "x"
    make(mills.dots(), path, shards=range(1))
    with own(path, 0, 2):
        with pytest.raises(OwnedError, match=r"shards 0 to 2 are being made by process .*take"):
            make(mills.dots(), path)
        make(mills.dots(), path, shards=range(3, 5))
        make(mills.dots(), path, take_over=True)
        assert stores.contents(path) == due
    assert mills.partials(path) == []


def test_two_mills_that_write_the_same_shards_end_with_the_same_bytes(tmp_path, due):
    path, slow = tmp_path / "x", mills.dots(40, 8)
    started, go_on = threading.Event(), threading.Event()

    def progress(samples, nbytes, doing):
        if samples:
            started.set()
            assert go_on.wait(20)

    how = {"progress": progress, "batch": 4}
    first = threading.Thread(target=make, args=(slow, path), kwargs=how)
    first.start()
    assert started.wait(20)
    with pytest.raises(OwnedError):
        make(mills.dots(), path)
    make(mills.dots(), path, take_over=True)
    assert stores.contents(path).keys() >= due.keys()  # and the first's temporary files
    go_on.set()
    first.join(20)
    assert not first.is_alive()
    assert stores.contents(path) == due
    assert check(path) == []


# Growth, and what is refused.


@pytest.mark.parametrize("workers", [1, 2])
def test_it_grows(tmp_path, due, workers):
    path = mills.made(tmp_path / "x", mills.dots(19))
    assert missing_samples(mills.dots(), path) == 24  # the last shard held 3 of 8 samples
    made = make(mills.dots(), path, workers=workers)
    assert made.samples == 24
    assert stores.contents(path) == due


def test_samples_still_to_be_made(tmp_path):
    path = tmp_path / "x"
    assert missing_samples(mills.dots(43), path) == 43
    assert missing_samples(mills.dots(43), path, range(4, 6)) == 11
    make(mills.dots(43), path, shards=range(2))
    assert missing_samples(mills.dots(43), path) == 27
    assert missing_samples(mills.dots(43), path, range(1, 4)) == 16
    make(mills.dots(43), path)
    assert missing_samples(mills.dots(43), path) == 0
    assert missing_samples(mills.dots(20), path) == 4  # and then refused
    (path / "image" / "c" / "3" / "0" / "0").unlink()
    assert missing_samples(mills.dots(43), path) == 8


def test_other_specs_are_refused_with_the_difference(tmp_path, due):
    path = mills.made(tmp_path / "x", mills.dots())
    with pytest.raises(StoreError, match="has 40 samples, and 39 are asked for: count may only"):
        make(mills.dots(39), path)
    for change, words in (
        ("seed=6", "seed: 5 in the store, 6 in the spec"),
        ("ranges.size=9", "ranges.size: 6 in the store, 9 in the spec"),
        ("samples_per_shard=null", "samples_per_shard: 8 in the store, not set in the spec"),
        ("samples_per_shard=4", "samples_per_shard: 8 in the store, 4 in the spec"),
        ("store.labels=raw", "store.labels: zstd in the store, raw in the spec"),
    ):
        with pytest.raises(StoreError, match=words):
            make(mills.dots(41, 8, change), path)
    assert stores.contents(path) == due


def test_another_class_of_machine_is_refused_and_else_recorded(tmp_path, monkeypatch, due):
    path = tmp_path / "x"
    make(mills.dots(), path, shards=range(2))
    monkeypatch.setattr("voxelmill.engine.mill.device_class", lambda: "another cpu")
    monkeypatch.setattr(plan_module, "device_class", lambda: "another cpu")
    with pytest.raises(StoreError, match=r"this is 'another cpu': samples would differ.*--mixed"):
        make(mills.dots(48), path)
    assert read_description(path).count == 40  # refused before it grew
    make(mills.dots(), path, mixed=True)
    classes = [
        json.loads((path / "commits" / f"{k:08d}.json").read_text())["device_class"]
        for k in range(5)
    ]
    assert [c == "another cpu" for c in classes] == [False, False, True, True, True]
    made = stores.contents(path)
    assert {k: v for k, v in made.items() if not k.startswith("commits/")} == {
        k: v for k, v in due.items() if not k.startswith("commits/")
    }


def test_the_same_call_goes_on_with_shards_whose_zarr_json_was_lost(tmp_path, monkeypatch, due):
    path = tmp_path / "x"
    make(mills.dots(), path, shards=range(2))
    (path / "zarr.json").unlink()
    with pytest.raises(StoreError, match="not known to be of this spec"):
        make(mills.dots(40, 8, "seed=9"), path)
    assert make(mills.dots(), path).samples == 24
    assert stores.contents(path) == due
    (path / "zarr.json").unlink()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(plan_module, "device_class", lambda: "another cpu")
        with pytest.raises(StoreError, match="this is 'another cpu': samples would differ"):
            make(mills.dots(), path)
    assert make(mills.dots(), path).samples == 0
    assert (stores.contents(path), check(path)) == (due, [])


def test_paths_that_cannot_be_a_store(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StoreError, match="exists and is no voxelmill store"):
        make(mills.dots(), file)
    with pytest.raises(StoreError, match="cannot be written"):
        make(mills.dots(), file / "x")
    with pytest.raises(StoreError, match="cannot be written"):
        make(mills.dots(), "/proc/x.zarr")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists and is no voxelmill store"):
        make(mills.dots(), tmp_path / "folder")
    assert file.read_text() == (tmp_path / "folder" / "notes.txt").read_text() == "mine"


# A full disk.


@pytest.mark.parametrize("after", [0, 1, 30, 45, 80])
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, monkeypatch, due, after):
    path, left, real = tmp_path / "x", [after], Partial.write

    def write(self, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        return real(self, data)

    monkeypatch.setattr(Partial, "write", write)
    with pytest.raises(DiskFullError, match=r"the disk is full: up to .* bytes .* are free; ") as e:
        mills.within(20, make, mills.dots(), path, batch=4)
    there = committed(path)
    assert f"{len(there)} of 5 shards are committed" in str(e.value)
    assert mills.partials(path) == []
    if there:
        reader = mills.open_store(path, partial=True)
        assert {len(reader[8 * k + 7]["image"]) for k in there} == {6}
    monkeypatch.undo()
    make(mills.dots(), path)
    assert stores.contents(path) == due


def test_what_a_worker_meets_is_raised_here(tmp_path, due):
    path = tmp_path / "x"
    make(mills.dots(), path, shards=range(1))
    (path / "image" / "c" / "2").write_text("in the way")  # a folder is due there
    with pytest.raises(StoreError, match="cannot be written") as caught:
        mills.within(60, make, mills.dots(), path, workers=2)
    assert any("_worker" in note for note in caught.value.__notes__)
    assert mills.partials(path) == []
    (path / "image" / "c" / "2").unlink()
    make(mills.dots(), path)
    assert stores.contents(path) == due


# Workers.


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("die", StoreError, r"worker \d died \(exit status 7.*run the same command"),
        ("render", ZeroDivisionError, "the render failed"),
    ],
)
def test_a_fault_in_a_worker_ends_all(tmp_path, monkeypatch, due, fault, error, words):
    path = tmp_path / "x"
    monkeypatch.setenv("DOTS_FAULT", f"{fault}@33")
    with pytest.raises(error, match=words):
        mills.within(60, make, mills.dots(), path, workers=2, batch=4)
    assert mills.partials(path) == []
    assert 4 not in committed(path)
    monkeypatch.delenv("DOTS_FAULT")
    make(mills.dots(), path)
    assert stores.contents(path) == due


SCRIPT = """
import sys
import mills
from voxelmill.engine.run_local import make
{guard}make(mills.dots(), sys.argv[1], workers=2)
"""


@pytest.mark.parametrize("guard", ["", 'if __name__ == "__main__": '])
def test_a_script_without_a_guard_is_told_the_cure(tmp_path, guard):
    script, path = tmp_path / "script.py", tmp_path / "x"
    script.write_text(SCRIPT.format(guard=guard))
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if guard:
        assert (done.returncode, done.stderr, state_of(path)) == (0, "", "whole")
        return
    assert done.returncode == 1
    assert "UnguardedError: make was called in a process that was just spawned" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(r"StoreError: worker \d could not start .*put the call under `if __name", last)
    assert "OwnedError" not in done.stderr
    assert "memory" not in done.stderr
    assert mills.partials(path) == []


def test_an_empty_part_of_the_split_is_a_warning(tmp_path):
    sets = ["count=1", "ranges.size=64", "split.val=0.1", "split.test=0.1"]
    with pytest.warns(UserWarning, match=r"test has a share of 0\.1, but none of the 11 subjects"):
        make(mills.FILMS, tmp_path / "x", overrides=sets)


def _children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def _slow(folder, workers):
    """A mill that has made at least one shard and still has work for long; and its command."""
    file = mills.dots_file(folder, 400)
    words = ("make", file, "--recipe", mills.DOTS, "-o", folder / "x", "--set", "ranges.slow_ms=5")
    with mills.running(*words, "--workers", workers) as process:
        _until(lambda: list((folder / "x" / "commits").glob("*.json")))
        yield process, words


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("whom", ["group", "parent"])
def test_ctrl_c_keeps_what_is_whole_and_says_how_to_go_on(tmp_path, workers, whom):
    path = tmp_path / "x"
    with _slow(tmp_path, workers) as (process, words):
        children = _children(process.pid)
        (os.killpg if whom == "group" else os.kill)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        _until(lambda: not any(map(_runs, children)), 5)
    whole = committed(path)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert f"stopped: {len(whole)} of 50 shards of" in err
    assert "run the same command again to go on" in err
    assert 0 < len(whole) < 50
    assert mills.partials(path) == []
    done = mills.run(*words, "--workers", 2)
    assert done.returncode == 0
    assert f"{400 - 8 * len(whole)} of them new" in done.stdout
    assert check(path) == []


def test_ctrl_c_while_workers_start(tmp_path):
    """They load their modules for a second or two: no traceback of theirs is seen."""
    words = ("make", mills.dots_file(tmp_path), "--recipe", mills.DOTS, "-o", tmp_path / "x")
    with mills.running(*words, "--workers", 2) as process:
        _until(lambda: len(_children(process.pid)) == 3)  # with the one that tracks semaphores
        time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert re.fullmatch("compiling .*\nstopped: . of 5 shards of .*\n", err)


def test_interrupted_in_python(tmp_path):
    def progress(samples, nbytes, doing):
        if samples:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped: 0 of 5 shards of"):
        make(mills.dots(), tmp_path / "x", progress=progress)
    assert mills.partials(tmp_path / "x") == []


def test_workers_end_soon_after_their_parent_was_killed(tmp_path):
    with _slow(tmp_path, 2) as (process, words):
        children = _children(process.pid)
        assert len(children) >= 2
        process.kill()
        process.wait()
        _until(lambda: not any(map(_runs, children)), 5)
    assert mills.run(*words).returncode == 0
    assert check(tmp_path / "x") == []
    assert mills.partials(tmp_path / "x") == []


def test_a_plan_takes_no_overrides(tmp_path):
    plan = mills.dots(4, 4)
    with pytest.raises(ValueError, match="overrides and recipe_file go into open_plan"):
        make(plan, tmp_path / "x", overrides=["count=8"])
    assert not (tmp_path / "x").exists()
