"""Small stores made by the whole mill, for its tests."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from voxelmill.engine.plan import open_plan
from voxelmill.engine.reader import open_store
from voxelmill.engine.run_local import make
from voxelmill.engine.sample import Rows

ROOT = Path(__file__).resolve().parents[1]
DOTS = Path(__file__).with_name("dots.py")
FILMS = ROOT / "examples" / "cxr_objects.yaml"
COMMAND = [sys.executable, "-c", "from voxelmill.engine.cli import main; main()"]


def dots(count=40, per_shard=8, *sets):
    """The plan of `count` small samples; sets: more keys, as `ranges.size=9`."""
    text = f"recipe: dots\ncount: {count}\nseed: 5\nsamples_per_shard: {per_shard}\n"
    return open_plan(text, sets, DOTS)


def dots_file(folder, count=40, per_shard=8):
    """The same spec as a file."""
    file = Path(folder) / "dots.yaml"
    file.write_text(f"recipe: dots\ncount: {count}\nseed: 5\nsamples_per_shard: {per_shard}\n")
    return file


def films(count=20, per_shard=8, size=64, *sets):
    """The plan of small X-rays with objects."""
    fixed = (f"count={count}", f"samples_per_shard={per_shard}", f"ranges.size={size}")
    return open_plan(FILMS, [*fixed, *sets])


def samples(path):
    """Every array of every sample as bytes."""
    reader = open_store(path)
    found = []
    for i in range(len(reader)):
        arrays = {n: np.asarray(a) for n, a in reader[i].items()}
        found.append({n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()})
    return found


def made(path, plan, **how):
    """The path of the store, made."""
    make(plan, path, **how)
    return path


def assert_same_alone(together, alone, i):
    """That sample i of a micro-batch's arrays is, in all bits, the one sample of others."""
    for name, array in alone.items():
        if isinstance(array, Rows):
            first, last = together[name].starts[i : i + 2]
            np.testing.assert_array_equal(together[name].values[first:last], array.values)
        else:
            np.testing.assert_array_equal(together[name][i], array[0], name)


def partials(path):
    """Temporary files and owners that are left."""
    return [p for p in Path(path).rglob("*") if ".partial" in p.name or "owners" in p.name]


def run(*words, timeout=120, **more):
    """The command line: what came of it."""
    options = {"capture_output": True, "text": True, "check": False, "timeout": timeout}
    return subprocess.run([*COMMAND, *map(str, words)], **(options | more))


@contextmanager
def running(*words):
    """The command line in a process group of its own, which ends with the `with`."""
    with subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def within(seconds, function, *args, **named):
    """Call `function` in a thread; a hang fails the test instead of lasting for ever."""
    result = {}

    def call():
        try:
            result["value"] = function(*args, **named)
        except BaseException as error:  # noqa: BLE001 - raised again below
            result["error"] = error

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"{function} hangs"
    if "error" in result:
        raise result["error"]
    return result["value"]
