"""The command: every line that the README shows, and every mistake in words."""

import json
import os
import re
import subprocess
import sys

import mills
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from voxelmill.engine import cli, progress
from voxelmill.engine.progress import Line

COMMANDS = ("recipes", "schema", "plan", "make", "show", "check", "remake", "bench", "verify")


@pytest.fixture
def call(capsys, monkeypatch):
    """Run a command in this process: (status, out, err)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["voxelmill", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return stop.value.code or 0, out, err

    return run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return mills.made(tmp_path_factory.mktemp("store") / "cxr.zarr", mills.films(20, 8, 96))


@pytest.fixture
def spec(tmp_path):
    """A spec of 40 dots and the words that make it."""
    return [mills.dots_file(tmp_path), "--recipe", mills.DOTS]


def test_help_of_every_command_shows_an_example(call):
    status, out, _ = call("--help")
    assert status == 0
    assert all(name in out for name in COMMANDS)
    assert "voxelmill make examples/cxr_objects.yaml -o cxr.zarr" in re.sub(r"\s+", " ", out)
    for name in COMMANDS:
        status, out, _ = call(name, "-h")
        assert status == 0
        assert re.search(rf"Examples?:?\s+voxelmill {name}|Example.*voxelmill {name}", out), out
    assert call("--version")[1].startswith("voxelmill ")


def test_no_command_shows_the_help(call):
    status, out, err = call()
    assert status == 2
    assert "Usage: voxelmill" in out + err


def test_the_command_as_a_module_and_without_a_terminal(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "voxelmill.engine.cli", "recipes"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"cxr_objects +\d+ +\w", done.stdout)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_schema(call):
    status, out, _ = call("schema", "cxr_objects")
    assert status == 0
    assert json.loads(out)["properties"]["ranges"]
    status, _, err = call("schema", "cxr_object")
    assert status == 1
    assert "did you mean 'cxr_objects'" in err


def test_plan(call):
    plan = ["plan", mills.FILMS, "--count", 5000, "--workers", 2, "--no-time"]
    status, out, err = call(*plan, "--all")
    assert (status, err) == (0, "")
    said = re.sub(r" +", " ", out)
    assert "samples 5,000" in said
    assert "shards 5 of 1,024 samples" in said
    assert re.search(r"peak memory up to \d+ MiB with 2 processes", said)
    assert re.search(r"split train 0.7: 8 subjects, 8 films; val 0.15: 2 subjects, 2", said)
    assert "ranges.cutout.brightness" in out  # no key is cut off at 80 columns
    short = call(*plan, "--set", "ranges.ring.stroke_px=3")[1]
    assert len(short.splitlines()) < len(out.splitlines()) / 2
    assert short.index("ranges.ring.stroke_px") < short.index("ranges.size")  # set ones first
    assert re.search(r"ranges.cutout +12 as by default", short)
    assert "ranges.cutout.brightness" not in short
    status, out, _ = call("plan", mills.FILMS, "--set", "ranges.size=64", "--json")
    said = json.loads(out)
    assert status == 0
    assert said["count"] == 2000
    assert [part["subjects"] for part in said["split"]] == [8, 2, 1]
    empty = ["plan", mills.FILMS, "--no-time", "--set", "split.test=0.1", "--set", "split.val=0.1"]
    assert "test has a share of 0.1, but none of the 11 subjects" in call(*empty)[2]
    assert said["seconds"] > 0


def test_make_and_go_on_and_grow(call, tmp_path, spec):
    path = tmp_path / "x.zarr"
    make = ["make", *spec, "-o", path]
    status, out, err = call(*make, "--shards", "0:2")
    assert status == 0
    assert re.search(
        r"x\.zarr: 40 samples, 16 of them new in [\d.]+ s \([\d.,]+ samples/s, \d", out
    )
    assert err == "compiling kernels, or loading them\n"
    status, said, _ = call("check", path)
    assert status == 1
    assert said.startswith(
        "not made yet: shards 2-4 (3 of 5 shards); run the same `voxelmill make`"
    )
    assert re.search(r"x\.zarr: unfinished, 40 samples in 5 shards \(", said)
    assert len(said.splitlines()) == 2
    assert "24 of them new" in call(*make, "--seed", 5)[1]
    assert "nothing was missing" in call(*make)[1]
    assert "9 of them new" in call(*make, "--count", 49, "--workers", 2)[1]
    status, out, _ = call("check", path)
    assert status == 0
    assert "in order, 49 samples in 7 shards" in re.sub(r"\s+", " ", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count", "39"], "has 40 samples, and 39 are asked for"),
        (["--count", "0"], "count: 0"),
        (["--seed", "6"], "seed: 5 in the store, 6 in the spec"),
        (["--set", "ranges.grey=0.5"], "ranges.grey"),
        (["--set", "ranges.gray=0.5"], "did you mean 'grey'"),
        (["--set", "ranges.grey"], "KEY=VALUE|key=value|ranges.grey"),
        (["--set", "ranges.dots={integer: [5, 2]}"], "low 5 is above high 2"),
        (["--set", "ranges.size=big"], "ranges.size.*must be a whole number"),
        (["--shards", "0:9"], r"shards 0:9 are not some of the 5 shards of .* within 0:5"),
        (["--shards", "3:2"], "shards 3:2 are not some"),
        (["--shards", "x"], "--shards 'x': write first:stop, as 0:8, or one number"),
    ],
)
def test_mistakes_in_make(call, tmp_path, spec, words, said):
    path = tmp_path / "x.zarr"
    call("make", *spec, "-o", path)
    status, _, err = call("make", *spec, "-o", path, *words)
    assert status == 1
    assert re.search(said, err.replace("\n", " ")), err


def test_mistakes_in_paths(call, tmp_path, spec, store):
    (tmp_path / "file").write_text("mine")
    for words, said in (
        (["make", "nowhere.yaml", "-o", tmp_path / "x"], "nowhere.yaml: cannot read this spec"),
        (["make", *spec, "-o", tmp_path / "file"], "is no voxelmill store"),
        (["make", *spec, "-o", "/proc/x"], "cannot be written"),
        (["make", spec[0], "-o", tmp_path / "x"], "unknown recipe 'dots'"),
        (["make", store, "-o", tmp_path / "x"], "is a store and no spec; open_store opens it"),
        (["check", tmp_path / "x"], "there is no store at"),
        (["check", tmp_path / "file"], "is a file and no store; open_spec opens a spec"),
        (["show", tmp_path / "x"], "there is no store at"),
        (["remake", tmp_path / "x", 3], "there is no store at"),
    ):
        status, _, err = call(*words)
        assert status == 1, words
        assert said in err.replace("\n", " ")
    assert call("make", *spec)[0] == 2  # no -o: the usage says it
    assert call("make", *spec, "-o", "x", "--workers", 0)[0] == 2


def test_show(call, tmp_path, store):
    sheet = tmp_path / "sheet.png"
    status, out, _ = call("show", store, "-o", sheet, "--index", "0:5")
    assert status == 0
    assert "5 samples" in out
    with Image.open(sheet) as picture:
        assert picture.width > 780
    said = call("show", store, "-o", sheet, "--index", "3,19,400")[1]
    assert "2 samples of the 3 asked for; the others are not there" in said
    assert "1 sample of the 20 asked" in call("show", store, "-o", sheet, "--index", "19:39")[1]
    for index, said in (
        ("x", "write first:stop, as 0:24, or numbers, as 3,7"),
        ("5:", "write first:stop"),
        ("-1", "--index '-1': samples are numbered from 0"),
        ("-2:3", "samples are numbered from 0"),
        ("5:5", "0 samples; a sheet shows 1 to 240"),
        ("0:1000000", "1,000,000 samples; a sheet shows 1 to 240"),
        ("100:120", "none of the samples asked for is there; 20 of 20 are made"),
    ):
        status, _, err = call("show", store, "-o", sheet, "--index", index)
        assert status == 1
        assert said in err.replace("\n", " ")
    status, _, err = call("show", store, "-o", tmp_path / "nowhere" / "sheet.png")
    assert status == 1
    assert f"there is no folder {tmp_path / 'nowhere'}; make it first" in err
    status, _, err = call("show", tmp_path / "no store", "-o", tmp_path / "a.txt")
    assert status == 1  # before all work
    assert "a.txt: a sheet is a PNG; give a name that ends in .png" in err


def test_remake(call, tmp_path, store):
    status, out, _ = call("remake", store, 12, "-o", tmp_path / "sample.npz")
    assert status == 0
    assert "sample 12: the same bytes" in out
    with np.load(tmp_path / "sample.npz") as arrays:
        assert arrays["image"].shape == (96, 96)
        assert arrays["params"][0] == 12
    status, _, err = call("remake", store, 20)
    assert status == 1
    assert "sample 20 is not in 0..19" in err


def _missing(file):
    file.unlink()


def _truncated(file):
    os.truncate(file, file.stat().st_size - 9)


def _flipped(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def _wrong_hash(file):
    group = file.parents[4] / "commits.bin"
    data = bytearray(group.read_bytes())
    data[-20] ^= 1
    group.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_missing, "shard 2: mask/c/2/0/0: is missing; run the same `voxelmill make` again"),
        (_truncated, r"shard 2: mask/c/2/0/0: has .* bytes instead of"),
        (_flipped, "shard 2: mask/c/2/0/0: its bytes are not those that were written; remove"),
        (_wrong_hash, r"commits\.bin: cannot be used .*damaged"),
    ],
)
def test_check_lists_what_is_damaged(call, tmp_path, spec, damage, said):
    path = tmp_path / "x.zarr"
    make = ["make", *spec, "-o", path]
    call(*make)
    damage(path / "mask" / "c" / "2" / "0" / "0")
    status, out, _ = call("check", path)
    assert status == 1
    assert re.search(said, out), out
    assert "x.zarr: damaged, 40 samples in 5 shards" in out
    status, out, _ = call("check", path, "--json")
    assert status == 1
    assert json.loads(out)[0]["cure"]
    if damage is _flipped:  # it says: remove this file
        (path / "mask" / "c" / "2" / "0" / "0").unlink()
    assert call(*make)[0] == 0
    assert call("check", path)[0] == 0


def test_inputs_that_are_left_out_are_told(call, tmp_path):
    folder, data = tmp_path / "films", mills.ROOT / "engine" / "data" / "films"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        for file in sorted((data / part).iterdir())[:3]:
            (folder / part / file.name).write_bytes(file.read_bytes())
    bad = sorted((folder / "masks").iterdir())[0]
    bad.write_bytes(b"")
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "recipe: cxr_objects\ncount: 3\ninputs: {films: films, donors: shipped}\n"
        "ranges: {size: 64}\n"
    )
    make = ["make", spec, "-o", tmp_path / "x.zarr"]
    status, _, err = call(*make)
    assert status == 1
    assert bad.name in err
    assert "--skip-bad" in err
    status, out, err = call(*make, "--skip-bad")
    assert status == 0
    assert "1 bad input left out (--skip-bad)" in err
    assert bad.name in err
    assert "3 samples, 3 of them new" in out
    assert call("remake", tmp_path / "x.zarr", 1, "--folder", tmp_path)[0] == 0


def test_one_sample_is_singular(call, tmp_path, spec):
    make = ["make", *spec, "-o", tmp_path / "x.zarr", "--count", 1]
    assert "x.zarr: 1 sample, 1 of them new in" in call(*make)[1]
    assert "x.zarr: 1 sample, nothing was missing" in call(*make)[1]


def test_one_shard_takes_one_worker(call, tmp_path):
    spec = mills.dots_file(tmp_path, 8)
    words = ["make", spec, "--recipe", mills.DOTS, "-o", tmp_path / "x.zarr", "--workers", 2]
    status, out, err = call(*words)
    assert status == 0
    assert "1 of 2 workers run: a worker makes whole shards, and 1 is to be made" in err
    assert "8 of them new" in out
    assert "once started" not in out
    assert "workers" not in call(*words)[2]
    assert "in order, 8 samples in 1 shard (" in call("check", tmp_path / "x.zarr")[1]


# The progress line.


def test_plain_progress_is_a_line_now_and_then(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("voxelmill.engine.progress.time.monotonic", lambda: clock[0])
    console = Console(file=open(os.devnull, "w"), width=200, record=True)  # noqa: SIM115
    with console.file, Line(console, 4000) as line:
        line.update(0, 0, "compiling kernels, or loading them")
        clock[0] = 50.0  # compiling is not counted
        for _ in range(100):
            line.update(20, 2_000_000, "")
            clock[0] += 0.5
        lines = console.export_text().splitlines()
    assert lines[0] == "compiling kernels, or loading them"
    assert len(lines) <= 7
    assert re.fullmatch(
        r"\d+/4000 samples, 40 samples/s, 4\.0 MB/s, \d+ MiB, \d+ s left", lines[-1]
    ), lines[-1]


def test_memory_counts_children_too():
    own = progress.memory_bytes()
    assert 30 << 20 < own < 8 << 30
    code = "import sys; block = bytearray(80 << 20); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert progress.memory_bytes() - own > 75 << 20
        child.stdin.close()


# Compiled kernels.


def test_an_unwritable_cache_folder_costs_time_but_works(tmp_path):
    """Numba may put what it compiles nowhere: it is said, and the store is the same."""
    code = (
        "import sys, mills\n"
        "from numba.core import caching\n"
        "for locator in caching.CacheImpl._locator_classes:\n"
        "    locator.from_function = classmethod(lambda *_: None)\n"
        "mills.made(sys.argv[1], mills.dots(16))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=False,
        cwd=mills.DOTS.parent,
    )
    assert done.returncode == 0, done.stderr
    assert "no writable folder for compiled kernels" in done.stderr
    assert "NUMBA_CACHE_DIR" in done.stderr
    assert mills.samples(tmp_path / "x") == mills.samples(
        mills.made(tmp_path / "due", mills.dots(16))
    )


def test_a_cache_folder_that_cannot_be_made(tmp_path, spec):
    words = ["make", *spec, "-o", tmp_path / "x.zarr"]
    done = mills.run(*words, env={**os.environ, "NUMBA_CACHE_DIR": "/dev/null/x"})
    assert done.returncode == 0, done.stderr
    assert "40 of them new" in done.stdout
