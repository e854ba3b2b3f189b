"""`voxelmill bench`: what it says of a store and of a spec, not how fast they are."""

import json
import sys

import mills
import numpy as np
import pytest
from stores import make as make_store

from voxelmill.engine import cli
from voxelmill.engine.bench import bench_spec, bench_store, to_json
from voxelmill.engine.errors import StoreError
from voxelmill.engine.gather import gather_rate

SHORT = 0.2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("bench") / "s.zarr")


@pytest.fixture
def call(capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["voxelmill", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return stop.value.code or 0, out, err

    return run


def test_figures_of_a_store(store):
    f = bench_store(store, batch=4, seconds=SHORT, step_ms=1)
    assert (f.count, f.batch, f.step_ms) == (11, 4, 1)
    dense = 5 * 7 * (4 + 1) + 3
    assert dense < f.sample_bytes < dense + 16 * 150 + 16 * 4
    assert min(f.first_batch_s, f.first_epoch_per_s, f.samples_per_s, f.gather_per_s) > 0
    assert f.gather_share == pytest.approx(f.samples_per_s / f.gather_per_s)
    assert pytest.approx(f.samples_per_s * f.sample_bytes / 1e6) == f.MB_per_s
    assert 0 <= f.stalled_share <= 1
    assert bench_store(store, batch=1000, seconds=SHORT).batch == 11


def test_figures_of_a_spec():
    plan = mills.dots(40, 8, "ranges.slow_ms=1")
    f = bench_spec(plan, batch=4, seconds=SHORT)
    assert set(f.stages_ms) == {"draw", "render", "pack", "write"}
    assert f.stages_ms["render"] >= 1
    assert 0 < f.samples_per_s < 1000
    assert 0 < f.loader_per_s < 1000
    assert f.sample_bytes == 6 * 8 * 5


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bench_spec(mills.dots(40, 8), batch=4, seconds=SHORT)
    monkeypatch.setenv("DOTS_FAULT", "dtype@35")
    with pytest.raises(TypeError):
        bench_spec(mills.dots(40, 8), batch=40, seconds=SHORT)
    assert not list(tmp_path.iterdir())


def test_json_of_both(call, store, tmp_path):
    status, out, _ = call("bench", store, "--json", "--seconds", SHORT, "--batch", 4)
    assert status == 0
    found = json.loads(out)
    assert found == found | {"store": str(store), "count": 11, "batch": 4}
    assert {"cores", "load", "gather_share", "stalled_share", "first_batch_s"} <= set(found)
    spec = mills.dots_file(tmp_path)
    words = ["--recipe", mills.DOTS, "--set", "count=9", "--json", "--seconds", SHORT]
    status, out, _ = call("bench", spec, *words)
    assert status == 0
    assert json.loads(out)["recipe"] == "dots"
    assert set(json.loads(out)["stages_ms"]) == {"draw", "render", "pack", "write"}
    assert to_json(bench_store(store, 4, SHORT))["count"] == 11


def test_a_page_of_both(call, store, tmp_path):
    out = call("bench", store, "--seconds", SHORT)[1]
    for words in ("11 samples", "first batch", "first epoch", "from memory", "stalls", "cores"):
        assert words in out
    out = call("bench", mills.dots_file(tmp_path), "--recipe", mills.DOTS, "--seconds", SHORT)[1]
    for words in ("dots", "stages", "render", "as a loader", "cores"):
        assert words in out
    assert "voxelmill bench cxr.zarr" in call("bench", "-h")[1]


def test_mistakes_in_words(call, store, tmp_path):
    status, _, err = call("bench", tmp_path / "none.zarr")
    assert status == 1
    assert "none.zarr" in err
    status, _, err = call("bench", tmp_path / "none.yaml")
    assert status == 1
    assert "none.yaml" in err
    with pytest.raises(StoreError, match="seconds 0 above 0"):
        bench_store(store, seconds=0)


def test_the_gather_copies_every_array():
    arrays = {"a": np.ones((9, 3, 5), np.uint8), "b": np.ones((9, 2), np.float32)}
    assert gather_rate(arrays, 4, 0.05, threads=3) > 0
