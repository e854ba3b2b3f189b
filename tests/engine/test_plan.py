"""What a plan says is what `make` then makes; memory is bounded before any work starts."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mills
import numpy as np
import pytest

from voxelmill.engine.draw import Choice, Fixed, Integer, LogUniform, TruncatedNormal, Uniform
from voxelmill.engine.errors import SpecError
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.plan import default_samples_per_shard, open_plan
from voxelmill.engine.plan_page import describe, distributions, estimate_seconds, facts
from voxelmill.engine.progress import duration
from voxelmill.engine.sample import Field

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _files(path):
    return [p for p in path.rglob("*") if p.is_file()]


def _bytes(path, array):
    return sum(p.stat().st_size for p in _files(path / array / "c"))


@pytest.mark.parametrize("plan", [mills.dots(43, 8), mills.films(20, 8, 96)], ids=["dots", "films"])
def test_files_shards_and_bytes_are_as_planned(tmp_path, plan):
    path = mills.made(tmp_path / "x", plan)
    said = facts(plan, 1, None)
    assert said["files"] == len(_files(path))
    assert said["shards"] == len(list((path / "commits").iterdir()))
    count = said["count"]
    assert 0.95 < said["bytes_a_sample"]["image"] * count / _bytes(path, "image") < 1.05
    assert said["bytes_a_sample"]["params"] * count <= _bytes(path, "params")
    if "semantic" in said["bytes_a_sample"]:
        whole = sum(_bytes(path, array) for array in said["bytes_a_sample"])
        assert 0.7 < said["bytes"] / whole < 1.3


def test_a_spec_made_by_a_program_is_as_one_from_a_file():
    plan = open_plan(mills.FILMS, ["count=6", "ranges.size=64"])
    ranges = plan.spec.ranges
    turned = Choice(dict(reversed(list(ranges.classes.weights.items()))))
    again = open_plan(replace(plan.spec, ranges=replace(ranges, classes=turned)))
    assert again.description.content_digest == plan.description.content_digest
    for a, b in zip(*(draw_batch(p.job(""), range(6)) for p in (plan, again)), strict=True):
        np.testing.assert_array_equal(a.params.objects, b.params.objects)
    with pytest.raises(ValueError, match=r"overrides \['count=3'\] .* are for the file or text"):
        open_plan(plan.spec, ["count=3"])
    with pytest.raises(SpecError, match="negative_share: 2 is above 1"):
        open_plan(replace(plan.spec, ranges=replace(ranges, negative_share=2.0)))


def test_shards_of_1024_where_files_stay_small():
    def one(side, dtype="uint8", **more):
        return [Field("image", dtype, ("y", "x"), (side, side), **more)]

    assert open_plan(mills.FILMS).description.samples_per_shard == 1024
    assert default_samples_per_shard(one(512)) == 1024
    assert default_samples_per_shard(one(512, "float32")) == 256
    assert default_samples_per_shard(one(512, "float32", is_label=True)) == 1024
    assert default_samples_per_shard(one(1024)) == 256
    assert default_samples_per_shard(one(30_000)) == 1
    assert default_samples_per_shard([]) == 1024


def test_a_shard_size_that_needs_too_much_memory_is_refused(monkeypatch):
    monkeypatch.setattr("voxelmill.engine.plan.MOST_MEMORY_BYTES", 720 << 20)
    assert mills.dots(10, 1024)
    with pytest.raises(
        SpecError,
        match=r"samples_per_shard 1048576 would need about \d\.\d GiB of memory, above 0\.7"
        r"\d* GiB; set samples_per_shard to 1024",
    ):
        mills.dots(10, 2**20)


def test_samples_that_need_too_much_memory_are_refused():
    with pytest.raises(
        SpecError,
        match=r"a sample of these fields would need about 2\.\d GiB of memory, above 1\.5",
    ):
        mills.dots(10, 1, "ranges.size=9000")


def test_memory_grows_with_workers_and_not_with_count():
    plan = open_plan(mills.FILMS)
    one, two, three = map(plan.memory_bytes, (1, 2, 3))
    assert 800 << 20 < one < 1000 << 20
    assert one + 500 * 2**20 < two
    assert two + 500 * 2**20 < three < 3 * one
    assert open_plan(mills.FILMS, ["count=1000000000"]).memory_bytes() == plan.memory_bytes()


PEAK = """
import sys
from voxelmill.engine.plan import open_plan
from voxelmill.engine.run_local import make
plan = open_plan(sys.argv[1], ["count=1056"])
assert plan.description.shards == 2
make(plan, sys.argv[2])
# not ru_maxrss, which a child takes over from the process that forked it
peak = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print(int(peak) << 10, plan.memory_bytes())
"""


def test_peak_memory_stays_below_the_estimate_and_the_bound(tmp_path):
    """Shards of the default size, 1,024 samples of 512 x 512."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(mills.FILMS), str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak, estimate = map(int, done.stdout.split())
    assert peak < estimate < 1.5 * 2**30


def test_time_is_estimated_from_a_few_samples(tmp_path):
    plan = mills.dots(400, 8, "ranges.slow_ms=2")
    assert 0.8 < estimate_seconds(plan, 1) < 4
    large = mills.dots(1_000_000, 8, "ranges.slow_ms=2")
    assert 1900 < estimate_seconds(large, 1) < 10_000
    assert 950 < estimate_seconds(large, 2) < 5_000


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Fixed(3.0), "3"),
        (Uniform(1, 2.5), "uniform 1 .. 2.5"),
        (LogUniform(1, 10), "loguniform 1 .. 10"),
        (Integer(1, 12), "whole 1 .. 12"),
        (TruncatedNormal(0, 9, 3, 2), "normal 3 +- 2 in [0, 9]"),
        (Choice({"a": 3, "b": 1, "c": 0}), "a 75%, b 25%"),
        (512, "512"),
    ],
)
def test_distributions_in_words(value, words):
    assert describe(value) == words


def test_every_range_is_told():
    rows = distributions(open_plan(mills.FILMS).spec.ranges)
    keys = [key for key, *_ in rows]
    assert "ranges.cutout.elastic_sigma_px" in keys
    assert len(keys) == len(set(keys))
    assert all(meaning for *_, meaning in rows)


def test_seconds_in_words():
    assert [duration(s) for s in (0.4, 119, 600, 7300)] == ["0 s", "119 s", "10 min", "2.0 h"]


def test_facts_are_json():
    said = json.loads(json.dumps(facts(mills.films(), 2, 12.5)))
    assert (said["recipe"], said["seconds"], said["shards"], said["inputs"]) == (
        "cxr_objects",
        12.5,
        3,
        len(mills.films().inputs.ids),
    )


def test_the_example_on_all_films_of_shared(shared):
    plan = open_plan(EXAMPLES / "shared" / "cxr_objects.yaml", ["ranges.size=64"])
    assert len(plan.inputs) == 32
    assert plan.inputs.notes == ["2 films with known devices left out (allow_devices: false)"]
    assert render_batch(plan.job(""), draw_batch(plan.job(""), range(3)))["image"].shape[0] == 3
