"""Tissues of thighs by the kernel and by scipy: 16 slices of 512 x 512 with both legs.

    python -m pytest benchmarks/test_thigh.py --benchmark-enable -s

`shapes` paints thighs from nothing, `depths` the same body about a shipped muscle map in its own
plane; the map's depths are kept by the recipe and so not counted. `scipy` is the usual way: masks
of fascia, periosteum and muscles, given, then a distance transform of each leg's in every slice
and thresholds on it; it has no vessels, no streaks and no rounded corners. `copy_share` is the time
that a parallel copy takes to move what a kernel must read and write over its time.

What bounds them is arithmetic, a voxel at a time: `shapes` takes up to four Fourier series with a
root and a division, then the three nearest of the ellipses, with branches that follow the anatomy;
`depths` reads 8 to 9 bytes a voxel, and takes a series where skin or cortex may be.
"""

from pathlib import Path
from unittest.mock import patch

import copying
import numpy as np
import pytest
from scipy import ndimage

from voxelmill.engine import thigh_shape, thigh_tissues
from voxelmill.engine.draw import Stream
from voxelmill.engine.plan import open_plan
from voxelmill.kernels import thigh

SPEC = Path(__file__).parents[1] / "examples" / "thigh_mr.yaml"
SHAPE, VOXEL_MM = (16, 512, 512), (6.0, 0.8, 0.8)
SKIN_MM, FASCIA_MM, CORTEX_MM, GAP_MM = 1.5, 1.0, 4.0, 1.0


@pytest.fixture(scope="module")
def bandwidth():
    """Of a copy."""
    return copying.bandwidth()


def given(name, make):
    """What the recipe gives the kernel `name`."""
    with patch.object(thigh, name, side_effect=getattr(thigh, name)) as kernel:
        make()
    return kernel.call_args.args


@pytest.fixture(scope="module")
def scenes():
    """Arguments of both kernels."""
    plan, stream = open_plan(SPEC), Stream(7, 0)
    person = plan.spec.module.draw(plan.spec.ranges, stream, plan.inputs).thigh
    depths = plan.inputs.maps.depths(0)
    return {
        "shapes": given(
            "of_shapes",
            lambda: thigh_shape.procedural_thigh([person], [stream], SHAPE, VOXEL_MM),
        ),
        "depths": given("of_depths", lambda: thigh_tissues.derive_tissues(depths, person, stream)),
    }


KERNELS = {"shapes": thigh.of_shapes, "depths": thigh.of_depths}


@pytest.mark.benchmark(group="ours")
@pytest.mark.parametrize("kind", KERNELS)
def test_kernel(benchmark, scenes, bandwidth, kind):
    """Ours, and its share of a copy."""
    args = scenes[kind]
    made = benchmark.pedantic(KERNELS[kind], args, rounds=15, warmup_rounds=2)
    assert {thigh.SKIN, thigh.FASCIA, thigh.CORTEX, thigh.MARROW} <= set(np.unique(made).tolist())
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        moved = made.nbytes + sum(a.nbytes for a in args if isinstance(a, np.ndarray))
        benchmark.extra_info["ns_a_voxel"] = 1e9 * seconds / made.size
        benchmark.extra_info["copy_share"] = moved / bandwidth / seconds


def by_distance(masks):
    """Rows of slices from masks of the bodies within the skin, fascia and periosteum, and rows."""
    body, hull, femur, muscles = masks
    made = np.zeros(hull.shape, np.uint8)
    for z in range(len(made)):
        own, inside = made[z], ndimage.distance_transform_edt(hull[z], VOXEL_MM[1:])
        under = ndimage.distance_transform_edt(body[z], VOXEL_MM[1:])
        bone = ndimage.distance_transform_edt(femur[z], VOXEL_MM[1:])
        own[body[z]] = thigh.FAT
        own[body[z] & (under < SKIN_MM)] = thigh.SKIN
        own[hull[z]] = thigh.IMF
        for row in np.unique(muscles[z])[1:]:
            mask = muscles[z] == row
            own[ndimage.distance_transform_edt(mask, VOXEL_MM[1:]) > GAP_MM] = row
        own[hull[z] & (inside < FASCIA_MM)] = thigh.FASCIA
        own[femur[z]] = thigh.MARROW
        own[femur[z] & (bone < CORTEX_MM)] = thigh.CORTEX
    return made


@pytest.mark.benchmark(group="scipy")
def test_scipy(benchmark, scenes):
    """The thighs of `shapes`, painted again from masks of them."""
    rows = thigh.of_shapes(*scenes["shapes"])
    outer = (rows == thigh.BACKGROUND) | (rows == thigh.SKIN) | (rows == thigh.FAT)
    femur = (rows == thigh.CORTEX) | (rows == thigh.MARROW)
    muscles = np.where((rows == thigh.MUSCLE) | (rows >= thigh.FIRST_MUSCLE), rows, 0)
    masks = rows != thigh.BACKGROUND, ~outer, femur, muscles
    made = benchmark.pedantic(by_distance, (masks,), rounds=2)
    assert (made == rows).mean() > 0.9
    if benchmark.stats is not None:
        benchmark.extra_info["ns_a_voxel"] = 1e9 * benchmark.stats.stats.median / made.size
