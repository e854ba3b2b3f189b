"""Samples/s of thigh_mr end to end: slices of 512 x 512 and volumes of 192 x 192 x 32, on disk.

    python -m pytest benchmarks/test_thigh_mr.py --benchmark-enable -s

Every case makes a store on the disk (the temporary folder, or VOXELMILL_BENCH_DISK), from the call
to the last commit, with one process; all effects are as likely as their defaults say. `blsa` has
three contrasts a sample, `all` eleven, of which Dixon's two take three to six echoes. `stages_s`
has the seconds that each stage of the mill worked, `render_ms` what the parts of a sample took in
the last round, milliseconds of wall time a sample; `render_ms.rest` is the turning of float32 into
float16, tables, and what lies between. Depths of muscle maps are found in the warm-up.

What bounds it: rendering, on two cores; of that, k-space and the painting of the anatomy.
"""

import os
import shutil
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from voxelmill.engine import mill, thigh_noise, thigh_shape, thigh_tissues
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import mr_body, mr_scan
from voxelmill.engine.run_local import make
from voxelmill.kernels import shares

SPEC = Path(__file__).parents[1] / "examples" / "thigh_mr.yaml"
SLICE = ["ranges.shape=[1, 512, 512]", "ranges.voxel_mm=[8, 0.8, 0.8]", "ranges.mode=physics"]
VOLUME = ["ranges.shape=[32, 192, 192]", "ranges.voxel_mm=[6, 2.2, 2.2]", "ranges.mode=physics"]
NOTHING = ["ranges.anatomy={choice: {procedural: 1, maps: 0}}"]
MAPS = ["ranges.anatomy={choice: {procedural: 0, maps: 1}}"]
CASES = {
    "slice_blsa": (48, [*SLICE, "ranges.preset=blsa"]),
    "slice_all": (24, [*SLICE, "ranges.preset=all"]),
    "volume_blsa": (16, [*VOLUME, "ranges.preset=blsa"]),
    "volume_blsa_procedural": (16, [*VOLUME, *NOTHING, "ranges.preset=blsa"]),
    "volume_blsa_maps": (16, [*VOLUME, *MAPS, "ranges.preset=blsa"]),
    "volume_all": (8, [*VOLUME, "ranges.preset=all"]),
}
PARTS = {
    "from nothing": (thigh_shape, "procedural_thigh"),
    "from a map": (thigh_tissues, "derive_tissues"),
    "bend": (mr_body, "bend_displacement"),
    "labels": (mr_body, "fine_labels"),
    "fields": (mr_scan, "magnet_fields"),
    "fat in muscle": (thigh_noise, "fat_fraction"),
    "physics": (mr_scan, "physics_pools"),
    "k-space": (mr_scan, "acquired"),
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
def test_make(benchmark, case, tmp_path):
    """The whole of `make`."""
    store = Path(os.environ.get("VOXELMILL_BENCH_DISK", tmp_path)) / "voxelmill_thighs.zarr"
    samples, sets = CASES[case]
    plan = open_plan(SPEC, [f"count={samples}", *sets])
    spent = Counter()

    def setup():
        shutil.rmtree(store, ignore_errors=True)
        spent.clear()

    with timed(spent):
        made = benchmark.pedantic(lambda: make(plan, store), setup=setup, rounds=3, warmup_rounds=1)
    shutil.rmtree(store)
    parts = {k: round(1000 * v / samples, 1) for k, v in spent.most_common() if k != "all"}
    parts["rest"] = round(1000 * spent["all"] / samples - sum(parts.values()), 1)
    benchmark.extra_info["stages_s"] = {k: round(v, 2) for k, v in made.stages.items()}
    benchmark.extra_info["render_ms"] = parts
    if benchmark.stats is not None:
        rate = samples / benchmark.stats.stats.min
        benchmark.extra_info["samples_per_s"] = round(rate, 2)
        print(f"\n{case}: {rate:.2f} samples/s, {parts}")
