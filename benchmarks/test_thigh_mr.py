"""Samples/s of thigh_mr end to end: slices of 512 x 512 and volumes of 192 x 192 x 32, on disk.

    python -m pytest benchmarks/test_thigh_mr.py --benchmark-enable -s

Every case makes a store on the disk (the temporary folder, or VOXELMILL_BENCH_DISK), from the call
to the last commit, with one process; all effects are as likely as their defaults say. `blsa` has
three contrasts a sample, `all` eleven, of which Dixon's two take three to six echoes. `stages_ms`
has the time that each stage of the mill worked in the last round, `render_ms` what the parts of
rendering took, both in milliseconds a sample; a part does not count what another takes inside it.
`render_ms.rest` is the turning of float32 into float16, tables, and what lies between. Depths of
muscle maps are found in the warm-up.

What bounds it: rendering, on two cores; of that the painting of the anatomy, twice as dear from
nothing, then k-space, which leads where there are many contrasts.
"""

import os
from pathlib import Path

import pytest
from stages import PARTS, make_store

from voxelmill.engine import thigh_noise, thigh_shape, thigh_tissues
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import mr_random

SPEC = Path(__file__).parents[1] / "examples" / "thigh_mr.yaml"
SLICE = ["ranges.shape=[1, 512, 512]", "ranges.voxel_mm=[8, 0.8, 0.8]", "ranges.mode=physics"]
VOLUME = ["ranges.shape=[32, 192, 192]", "ranges.voxel_mm=[6, 2.2, 2.2]", "ranges.mode=physics"]
NOTHING = ["ranges.anatomy={choice: {procedural: 1, maps: 0}}"]
MAPS = ["ranges.anatomy={choice: {procedural: 0, maps: 1}}"]
CASES = {
    "slice_blsa": (32, [*SLICE, "ranges.preset=blsa"]),
    "slice_all": (16, [*SLICE, "ranges.preset=all"]),
    "volume_blsa": (16, [*VOLUME, "ranges.preset=blsa"]),
    "volume_blsa_procedural": (8, [*VOLUME, *NOTHING, "ranges.preset=blsa"]),
    "volume_blsa_maps": (12, [*VOLUME, *MAPS, "ranges.preset=blsa"]),
    "volume_all": (6, [*VOLUME, "ranges.preset=all"]),
}
OF_THIGHS = {
    **PARTS,
    "anatomy": [(thigh_shape, "procedural_thigh"), (thigh_tissues, "derive_tissues")],
    "fat in muscle": [(thigh_noise, "fat_fraction")],
    "gaussians": [(mr_random, "random_pools")],
}


@pytest.mark.parametrize("case", CASES)
def test_make(benchmark, case, tmp_path):
    """The whole of `make`."""
    store = Path(os.environ.get("VOXELMILL_BENCH_DISK", tmp_path)) / "voxelmill_thighs.zarr"
    samples, sets = CASES[case]
    plan = open_plan(SPEC, [f"count={samples}", *sets])
    make_store(benchmark, plan, samples, store, OF_THIGHS)
