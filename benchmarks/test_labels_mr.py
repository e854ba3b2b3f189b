"""Samples/s of labels_mr end to end: whole heads of 128^3 voxels, drawn, rendered, written.

    python -m pytest benchmarks/test_labels_mr.py --benchmark-enable -s

Every case makes a store of the shipped heads in memory (/dev/shm), from the call to the last
commit, with one process; all effects are as likely as their defaults say. `stages_s` has the
seconds that each stage of the mill worked, `render_ms` what the parts of a sample took in the last
round, milliseconds of wall time a sample; `render_ms.rest` is the turning of float32 into float16,
tables, and what lies between.

What bounds it: rendering, on two cores; see `render_ms` for its parts. The 2-D transforms of
slices are faster than the 3-D ones of MPRAGE; classes inside labels cost a look-up of a field
on the fine grid.
"""

import os
import shutil
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from voxelmill.engine import mill
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import mr_body, mr_random, mr_scan
from voxelmill.engine.run_local import make
from voxelmill.kernels import shares

SAMPLES = int(os.environ.get("VOXELMILL_BENCH_HEADS", "32"))
SPEC = Path(__file__).parents[1] / "examples" / "brain_mr.yaml"
MEMORY = Path("/dev/shm")
SIZE = ["ranges.shape=[128, 128, 128]", "ranges.voxel_mm=[1.6, 1.6, 1.6]"]
CASES = {
    "example": [],
    "mprage": ["ranges.mode=physics", "ranges.families=mprage"],
    "t2_fse": ["ranges.mode=physics", "ranges.families=t2_fse"],
    "random": ["ranges.mode=random"],
    "subcluster": ["ranges.mode=subcluster"],
}
PARTS = {
    "bend": (mr_body, "bend_displacement"),
    "labels": (mr_body, "fine_labels"),
    "fields": (mr_scan, "magnet_fields"),
    "physics": (mr_scan, "physics_pools"),
    "gaussians": (mr_random, "random_pools"),
    "k-space": (mr_scan, "acquired"),
    "slices": (mr_scan, "on_grid"),
    "classes": (shares, "largest"),
    "all": (mill, "render_batch"),
}


@contextmanager
def timed(spent):
    """Add the seconds of each of PARTS to `spent`."""

    def wrapped(name, function):
        def call(*args, **keys):
            start = time.perf_counter()
            try:
                return function(*args, **keys)
            finally:
                spent[name] += time.perf_counter() - start

        return call

    with ExitStack() as stack:
        for name, (module, word) in PARTS.items():
            stack.enter_context(patch.object(module, word, wrapped(name, getattr(module, word))))
        yield


@pytest.mark.parametrize("case", CASES)
def test_make(benchmark, case):
    """The whole of `make`."""
    place = MEMORY if MEMORY.is_dir() else Path("/tmp")
    store = place / "voxelmill_heads.zarr"
    plan = open_plan(SPEC, [f"count={SAMPLES}", *SIZE, *CASES[case]])
    spent = Counter()

    def setup():
        shutil.rmtree(store, ignore_errors=True)
        spent.clear()

    with timed(spent):
        made = benchmark.pedantic(lambda: make(plan, store), setup=setup, rounds=3, warmup_rounds=1)
    shutil.rmtree(store)
    parts = {k: round(1000 * v / SAMPLES, 1) for k, v in spent.most_common() if k != "all"}
    parts["rest"] = round(1000 * spent["all"] / SAMPLES - sum(parts.values()), 1)
    benchmark.extra_info["stages_s"] = {k: round(v, 2) for k, v in made.stages.items()}
    benchmark.extra_info["render_ms"] = parts
    if benchmark.stats is not None:
        rate = SAMPLES / benchmark.stats.stats.min
        benchmark.extra_info["samples_per_s"] = round(rate, 2)
        print(f"\n{case}: {rate:.2f} samples/s, {parts}")
