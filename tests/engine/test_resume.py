"""Kills at random points: the same command then makes the same bytes as an uninterrupted run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mills
import pytest
import stores

from voxelmill.engine.owner import owners
from voxelmill.engine.store import check, committed

# Forks a child for each kill, from a parent that has loaded everything but started no thread pool;
# then runs the same again in another child and compares. Prints at how many points it was killed.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import mills, stores
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.run_local import make

kind, kills, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
chance, long, short = random.Random(kind), mills.dots(43), mills.dots(19)
job = long.job("")
render_batch(job, draw_batch(job, range(2)))  # loads the kernels; none of them is parallel
NAMES = ("replace", "mkdir", "open", "unlink", "fsync", "rmdir")


def child(work, *args):
    pid = os.fork()
    if pid == 0:
        try:
            work(*args)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def counting(left):
    def wrap(real):
        def call(*args, **named):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(9)
            return real(*args, **named)
        return call

    for name in NAMES:
        setattr(os, name, wrap(getattr(os, name)))


def prepare(path):
    if kind == "grow":
        make(short, path)
    elif kind == "finish":
        import voxelmill.engine.store as store
        store.finish, real = lambda path: None, store.finish
        make(long, path)


def steps(path):  # of a whole run, written to the pipe by the child
    reading, writing = os.pipe()
    def count():
        left = [10**9]
        counting(left)
        make(long, path)
        os.write(writing, str(10**9 - left[0]).encode())
    assert ended(child(count)) == 0
    return int(os.read(reading, 20))


def dying(path, step):
    counting([step])
    make(long, path)


assert ended(child(make, long, folder / "due")) == 0
due = stores.contents(folder / "due")
assert ended(child(prepare, folder / "count")) == 0
start = time.monotonic()
most = steps(folder / "count")
seconds = time.monotonic() - start
killed = 0
for number in range(kills):
    path = folder / f"{number}.zarr"
    assert ended(child(prepare, path)) == 0
    if kind == "delay":
        pid = child(make, long, path)
        time.sleep(chance.uniform(0, seconds))
        os.kill(pid, signal.SIGKILL)
        status = ended(pid)
    else:
        status = ended(child(dying, path, 1 + int(most * (number + chance.random()) / kills)))
    assert status in (0, -signal.SIGKILL), status
    killed += status != 0
    assert ended(child(make, long, path)) == 0, number
    found = stores.contents(path)
    assert found == due, (number, set(found) ^ set(due))
print(killed)
"""


@pytest.mark.parametrize(
    ("kind", "kills", "least"),
    [("make", 30, 28), ("grow", 15, 13), ("finish", 12, 10), ("delay", 24, 12)],
)
def test_killed_anywhere_the_same_command_makes_the_same_bytes(tmp_path, kind, kills, least):
    done = subprocess.run(
        [sys.executable, "-c", KILLS, kind, str(kills), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(mills.__file__).parent,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least


def test_workers_killed_with_their_parent_and_alone(tmp_path):
    """The whole command, again and again, its processes killed at random moments."""
    chance, path = random.Random(3), tmp_path / "x"
    due = stores.contents(mills.made(tmp_path / "due", mills.dots(240, 8, "ranges.slow_ms=15")))
    file = mills.dots_file(tmp_path, 240)
    words = ("make", file, "--recipe", mills.DOTS, "-o", path, "--set", "ranges.slow_ms=15")
    before = 0  # shards that are committed: each run makes at least one more
    for whom in ("parent", "worker", "group", "parent"):
        with mills.running(*words, "--workers", 2) as process:
            while len(list(path.glob("commits/*.json"))) <= before:
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.1))
            if whom == "group":
                os.killpg(process.pid, signal.SIGKILL)
            elif whom == "parent":
                process.kill()
            else:
                with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
                    os.kill(int(children.read().split()[-1]), signal.SIGKILL)
                _, err = process.communicate(timeout=20)
                assert process.returncode == 1
                assert "died (exit status -9" in err
                assert "Traceback" not in err
            process.wait(20)
        whole = len(committed(path)) if (path / "zarr.json").exists() else 0
        assert whole < 30
        before = whole
    assert mills.run(*words, "--workers", 2).returncode == 0
    assert stores.contents(path) == due
    assert check(path) == []
    assert owners(path) == []
