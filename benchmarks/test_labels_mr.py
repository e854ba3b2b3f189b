"""Samples/s of labels_mr end to end: whole heads of 128^3 voxels, drawn, rendered, written.

    python -m pytest benchmarks/test_labels_mr.py --benchmark-enable -s

Every case makes a store of the shipped heads in memory (/dev/shm), from the call to the last
commit, with one process; all effects are as likely as their defaults say. `stages_ms` has the time
that each stage of the mill worked in the last round, `render_ms` what the parts of rendering took,
both in milliseconds a sample; a part does not count what another takes inside it. `render_ms.rest`
is the turning of float32 into float16, tables, and what lies between.

What bounds it: rendering, on two cores; see `render_ms` for its parts. The 2-D transforms of
slices are faster than the 3-D ones of MPRAGE; classes inside labels cost a look-up of a field
on the fine grid.
"""

import os
from pathlib import Path

import pytest
from stages import PARTS, make_store

from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import mr_random, mr_scan

SAMPLES = int(os.environ.get("VOXELMILL_BENCH_HEADS", "24"))
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
OF_HEADS = {
    **PARTS,
    "gaussians": [(mr_random, "random_pools")],
    "slices": [(mr_scan, "on_grid")],
}


@pytest.mark.parametrize("case", CASES)
def test_make(benchmark, case, tmp_path):
    """The whole of `make`."""
    store = (MEMORY if MEMORY.is_dir() else tmp_path) / "voxelmill_heads.zarr"
    plan = open_plan(SPEC, [f"count={SAMPLES}", *SIZE, *CASES[case]])
    make_store(benchmark, plan, SAMPLES, store, OF_HEADS)
