"""Warps, flows, fields and shares, each beside a copy of as many bytes, at 128^3 on all threads.

    python -m pytest benchmarks/test_warp.py --benchmark-enable -s

`copy_share` is the time that a parallel copy takes to move the bytes which a kernel must read and
write (its arguments and its result, once each), over the kernel's time. What bounds them: `labels`
and `linear` scattered loads, one and eight a voxel, a scalar each (Numba makes no gathers of them),
so that they stay far below a copy: a label takes 16 instructions and 8 cycles (35 and 14 before
its bodies were inlined and rows taken by sixteen) for 3.5 bytes; `cubic` 64 loads a voxel; `flow`
24, six times over; `spline` and `hard` memory; `shares` the voxels that hold several labels, a
fifth here. scipy.ndimage does the same work in one thread, as it does; it is given the places, and
so not charged for them.
"""

import copying
import numpy as np
import pytest
from scipy import ndimage

from voxelmill.kernels import fields, flow, places, resample, shares, warp

N, HALF, ROWS = 128, 64, 33
SHAPE, FINE = (N, N, N), (2, 2, 2)
WHICH = np.zeros(1, np.int32)


@pytest.fixture(scope="module")
def bandwidth():
    """Of a copy."""
    return copying.bandwidth()


@pytest.fixture(scope="module")
def scene():
    """A map of blocks, an image, a warp, and what they make."""
    random = np.random.default_rng(0)
    label_map = np.kron(random.integers(0, ROWS, (16, 16, 16), np.uint8), np.ones((8,) * 3, "u1"))
    keys = np.array([[7, 0, 11, 5, 0]], np.uint32)
    sd = np.full((1, 3), 3 / fields.RMS, np.float32)
    nodes = fields.lattice_normals(keys, (3, 7, 7, 7), sd)
    velocity = fields.spline(nodes, (HALF,) * 3)
    shift = flow.rescaled(flow.exponentiate(velocity), SHAPE)
    turn = np.array([[0.95, 0.05, 0], [-0.05, 0.95, 0.1], [0, -0.1, 0.95]])
    affine = places.centred(SHAPE, (1, 1, 1), SHAPE, (1, 1, 1), turn)[None]
    packed = label_map.ravel(), np.array([0, N**3]), np.array([SHAPE], np.int32)
    image = random.normal(size=(1, *SHAPE)).astype(np.float32)
    labels = warp.pull_labels(*packed, WHICH, affine, shift, SHAPE, FINE)
    table = (np.arange(ROWS) % 7).astype(np.uint8)
    whole = np.stack([  # of the displacement at each voxel
        ndimage.zoom(part, 2, order=1, mode="nearest", grid_mode=True) for part in shift[0]
    ])  # fmt: skip
    at = np.einsum("ij,jzyx->izyx", affine[0, :, :3], np.indices(SHAPE) + whole)
    at += affine[0, :, 3, None, None, None]
    return {
        "packed": packed, "map": label_map, "image": image, "affine": affine, "shift": shift,
        "velocity": velocity, "nodes": nodes, "labels": labels, "table": table,
        "at": at.astype(np.float32), "held": shares.shares(labels, table, 7, FINE),
    }  # fmt: skip


def of(s):
    """The warp of a scene, as the pulls take it."""
    return WHICH, s["affine"], s["shift"], SHAPE


OURS = {  # what is timed, and the inputs that it reads
    "labels": (lambda s: warp.pull_labels(*s["packed"], *of(s)), ("map", "shift")),
    "labels, 2 x 2 x 2 parts": (
        lambda s: warp.pull_labels(*s["packed"], *of(s), FINE), ("map", "shift"),
    ),
    "linear": (lambda s: resample.pull(s["image"], *of(s)), ("image", "shift")),
    "cubic": (lambda s: resample.pull(s["image"], *of(s), cubic=True), ("image", "shift")),
    "flow": (lambda s: flow.exponentiate(s["velocity"]), ("velocity",)),
    "jacobian": (lambda s: flow.least_jacobian(s["shift"]), ("shift",)),
    "spline": (lambda s: fields.spline(s["nodes"][:, :1], SHAPE), ("nodes",)),
    "shares": (lambda s: shares.shares(s["labels"], s["table"], 7, FINE), ("labels",)),
    "largest": (lambda s: shares.largest(s["labels"], s["table"], 7, FINE), ("labels",)),
    "hard": (lambda s: shares.hard(s["held"]), ("held",)),
}  # fmt: skip


@pytest.mark.benchmark(group="ours")
@pytest.mark.parametrize("what", OURS)
def test_kernel(benchmark, scene, bandwidth, what):
    """Ours, and its share of a copy."""
    function, reads = OURS[what]
    made = benchmark.pedantic(function, (scene,), rounds=15, warmup_rounds=2)
    if benchmark.stats is not None:
        moved = made.nbytes + sum(scene[name].nbytes for name in reads)
        copied = moved / bandwidth
        benchmark.extra_info["mb"] = round(moved / 1e6, 1)
        benchmark.extra_info["copy_gb_a_second"] = round(bandwidth / 1e9, 1)
        benchmark.extra_info["copy_share"] = copied / benchmark.stats.stats.median


def labels_scipy(s):
    """Nearest labels."""
    return ndimage.map_coordinates(s["map"], s["at"], order=0, mode="grid-constant")


def linear_scipy(s):
    """Trilinear."""
    return ndimage.map_coordinates(s["image"][0], s["at"], order=1, mode="grid-constant")


def cubic_scipy(s):
    """A cubic B-spline with its prefilter: scipy has no cubic convolution."""
    return ndimage.map_coordinates(s["image"][0], s["at"], order=3, mode="grid-constant")


def square_scipy(s):
    """One squaring of six."""
    v = s["velocity"][0]
    at = np.indices(v.shape[1:], np.float32) + v
    return v + [ndimage.map_coordinates(part, at, order=1, mode="nearest") for part in v]


def spline_scipy(s):
    """A coarse field to full size, cubic."""
    return ndimage.zoom(s["nodes"][0, 0], N / 7, order=3)


PEERS = {
    "labels": labels_scipy, "linear": linear_scipy, "cubic": cubic_scipy,
    "flow, one step of six": square_scipy, "spline": spline_scipy,
}  # fmt: skip


@pytest.mark.benchmark(group="scipy")
@pytest.mark.parametrize("what", PEERS)
def test_scipy(benchmark, scene, what):
    """The peer; where it does the same work its result is ours."""
    made = benchmark.pedantic(PEERS[what], (scene,), rounds=3)
    if what == "labels":
        assert (made == OURS[what][0](scene)[0]).mean() > 0.999
    elif what == "linear":
        np.testing.assert_allclose(made, OURS[what][0](scene)[0], atol=1e-3)
