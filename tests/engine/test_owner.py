import json
import os
import subprocess
import sys
import time

import pytest

from voxelmill.engine import owner as module
from voxelmill.engine.errors import OwnedError
from voxelmill.engine.owner import Owner, own, owners
from voxelmill.engine.process import Process, this_process


@pytest.fixture
def store(tmp_path):
    return tmp_path


def _record(store, process, first=0, last=3, beat=0.0, token="aa"):
    """A record that beat `beat` seconds ago."""
    now = time.time()
    owner = Owner(process, first, last, now - 2000, now - beat, token)
    (store / "owners").mkdir(exist_ok=True)
    file = store / "owners" / owner.file_name
    file.write_text(json.dumps({**vars(owner), "process": vars(process)}))
    return file


def _other(**changes):
    return Process(**(vars(this_process()) | changes))


def test_a_run_is_owned_and_let_go(store):
    with own(store, 2, 5) as mine:
        (file,) = (store / "owners").iterdir()
        assert file.name == f"2-5-{mine.token}.json"
        assert owners(store) == [mine]
        assert json.loads(file.read_text())["process"]["pid"] == os.getpid()
    assert list(store.iterdir()) == []


def test_overlapping_runs_are_refused_in_words(store):
    with own(store, 2, 5):
        for first, last in ((0, 2), (5, 9), (3, 4), (0, 9)):
            with pytest.raises(OwnedError) as caught, own(store, first, last):
                pass
            words = str(caught.value)
            assert f"shards 2 to 5 are being made by process {os.getpid()} on " in words
            assert "last heard of 0 s ago; wait" in words
            assert "--shards" in words
            assert "--take-over" in words
        with own(store, 0, 1), own(store, 6, 9):
            assert len(owners(store)) == 3
    assert list(store.iterdir()) == []


def test_errors_let_go_too(store):
    with pytest.raises(KeyboardInterrupt), own(store, 0, 1):
        raise KeyboardInterrupt
    assert list(store.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "beat", "stale"),
    [
        ({}, 0, False),
        ({}, 5000, False),  # on this host its process counts, however long ago it beat
        ({"started": 1}, 0, True),  # the number was given to a later process
        ({"boot_id": "before"}, 0, True),
        ({"pid": 2**22 + 5}, 0, True),
        ({"host": "far", "pid": 2**22 + 5}, 500, False),
        ({"host": "far"}, 601, True),
        ({"namespace": "another container", "pid": 2**22 + 5}, 500, False),
        ({"namespace": "another container"}, 601, True),
    ],
)
def test_who_is_stale(store, changes, beat, stale):
    file = _record(store, _other(**changes), beat=beat)
    if stale:
        with own(store, 1, 1):
            assert not file.exists()
    else:
        with pytest.raises(OwnedError), own(store, 1, 1):
            pass
        assert file.exists()
        with own(store, 1, 1, take_over=True):
            assert not file.exists()


def test_a_killed_process_holds_nothing(store):
    code = f"""
import os
from voxelmill.engine.owner import own
with own({str(store)!r}, 0, 9):
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list((store / "owners").iterdir())) == 1
    with own(store, 0, 9) as mine:
        assert owners(store) == [mine]


def test_a_live_process_holds_its_run(store):
    code = f"""
from voxelmill.engine.owner import own
with own({str(store)!r}, 0, 9):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OwnedError, match=f"process {other.pid} on "), own(store, 9, 9):
            pass
        other.communicate("\n")
    with own(store, 9, 9):
        pass


def test_of_two_at_once_the_earlier_stays(store):
    now = time.time()
    early = Owner(this_process(), 0, 3, now, now, "aa")
    late = Owner(this_process(), 3, 6, now + 0.1, now + 0.1, "bb")
    for each in (early, late):  # both looked before either wrote
        module._write(store / "owners", each)
    module._refuse_others(store / "owners", early, False, only_earlier=True)
    with pytest.raises(OwnedError, match="shards 0 to 3"):
        module._refuse_others(store / "owners", late, False, only_earlier=True)


def test_it_beats_until_it_is_taken_over(store, monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)
    with own(store, 0, 3) as mine:
        file = store / "owners" / mine.file_name
        _until(lambda: owners(store)[0].beat > mine.beat)
        with own(store, 0, 3, take_over=True):
            time.sleep(0.1)
            assert not file.exists()


def _until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_no_record_holds_nothing(store):
    (store / "owners").mkdir()
    (store / "owners/0-9-aa.json").write_text("{")
    (store / "owners/0-9-bb.json").write_text("{}")
    with own(store, 0, 9):
        pass
