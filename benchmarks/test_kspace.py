"""K-space, two threads: each step against copying its bytes, and whole acquisitions.

`share of copy` is the least time in which NumPy copies as many bytes as a step must read and write,
in its one thread and with nothing of them in the cache, over the least time of the step. Weights of
lines and homodyne detection are bound by memory. Not so the transform, the limit of an acquisition
(`limit`: two pools forward, one image back); coils, a root, a division and 30 operations a voxel;
turns, 16 complex taps in the plane or 64 in space; distortion, branches and a division a voxel.

    pytest benchmarks/test_kspace.py --benchmark-enable
"""

from time import perf_counter

import numpy as np
import pytest

from voxelmill.engine import acquisition
from voxelmill.engine.acquire import acquire
from voxelmill.engine.encoding import encoding
from voxelmill.kernels import coils, distort, homodyne, kspace, motion, slices

SHAPES = {"slices": (4, 2, 1, 512, 512), "volume": (1, 2, 32, 192, 192)}  # sample, pool, z, y, x
AXES = {"slices": kspace.SLICES, "volume": kspace.VOLUME}
KINDS = pytest.mark.parametrize("kind", SHAPES)


def complexes(*shape):
    """Random complex values."""
    random = np.random.default_rng(0)
    parts = random.standard_normal((*shape[:-1], 2 * shape[-1]), np.float32)
    return parts.view(np.complex64)


SWEEP = np.ones(2**26, np.float32)


def swept():
    """Leave nothing of the arrays in the cache."""
    SWEEP.sum()


def copied(moved):
    """Seconds to copy `moved` / 2 bytes, from memory to memory: the least of 15."""
    source = np.ones(moved // 8, np.float32)
    target, least = np.zeros_like(source), np.inf
    for _ in range(15):
        swept()
        start = perf_counter()
        np.copyto(target, source)
        least = min(least, perf_counter() - start)
    return least


def timed(benchmark, function, samples, moved=None):
    """Runs it; milliseconds a sample, and its share of copying `moved` bytes."""
    benchmark.pedantic(function, setup=swept, rounds=15, warmup_rounds=2)
    if benchmark.stats is not None:
        stats = benchmark.stats.stats
        benchmark.extra_info["ms_a_sample"] = stats.median * 1e3 / samples
        if moved is not None:
            benchmark.extra_info["share_of_copy"] = copied(moved) / stats.min


@pytest.mark.benchmark(group="kspace")
@KINDS
def test_transform(benchmark, kind):
    """One pool forward, in place."""
    k = complexes(SHAPES[kind][0], *SHAPES[kind][2:])
    timed(benchmark, lambda: kspace.to_kspace(k, AXES[kind], overwrite=True), len(k), 2 * k.nbytes)


@pytest.mark.benchmark(group="kspace")
@KINDS
def test_encode(benchmark, kind):
    """Two pools under all weights of their lines."""
    k = complexes(SHAPES[kind][0], 1, *SHAPES[kind][1:])
    n, _, pools, _, ny, nx = k.shape
    gain, along = complexes(n, pools, 1, ny), complexes(n, pools, 4, nx)
    row = np.random.default_rng(0).integers(0, 4, (n, 1, ny)).astype(np.int32)
    out = np.empty((n, 1, *k.shape[3:]), np.complex64)

    def run():
        kspace._encode_cpu(out, k, gain, along, row, False)

    run()
    timed(benchmark, run, n, k.nbytes + out.nbytes)


@pytest.mark.benchmark(group="kspace")
@KINDS
def test_weigh(benchmark, kind):
    """One pool under a window, in place; weights of 1, so that values stay as they are."""
    k = complexes(SHAPES[kind][0], 1, *SHAPES[kind][2:])
    gain, along = np.ones((len(k), 1, k.shape[3]), "c8"), np.ones((len(k), k.shape[4]), "c8")
    timed(benchmark, lambda: kspace.weigh(k, gain, along), len(k), 2 * k.nbytes)


@pytest.mark.benchmark(group="kspace")
@KINDS
def test_detect(benchmark, kind):
    """Homodyne detection, in place."""
    full, low = (complexes(SHAPES[kind][0], *SHAPES[kind][2:]) for _ in "ab")
    timed(benchmark, lambda: homodyne.detect(full, low), len(full), 3 * full.nbytes)


@pytest.mark.benchmark(group="kspace")
@pytest.mark.parametrize("axis", [-1, -2])
@KINDS
def test_distort(benchmark, kind, axis):
    """Two pools displaced by a smooth field of some pixels."""
    pools = complexes(*SHAPES[kind])
    n, _, *shape = pools.shape
    b0_hz = np.broadcast_to(60 * np.sin(np.arange(shape[2]) / 40), (n, *shape)).astype("f4")
    scale = np.full(n, 0.02, np.float32)
    moved = 2 * pools.nbytes + b0_hz.nbytes
    timed(benchmark, lambda: distort.distort(pools, b0_hz, scale, axis), n, moved)


@pytest.mark.benchmark(group="kspace")
@KINDS
def test_sensitivities(benchmark, kind):
    """Maps of one coil; computed, not read."""
    n, _, *shape = SHAPES[kind]
    loops = [np.repeat(a[None], n, 0) for a in coils.ring(8, 150)]
    loop_mm, voxel_mm = np.full(n, 40, np.float32), np.ones((n, 3), np.float32)
    one = slice(0, 1)
    moved = 8 * n * int(np.prod(shape))
    timed(
        benchmark, lambda: coils.sensitivities(*loops, loop_mm, voxel_mm, tuple(shape), one), n,
        moved,
    )  # fmt: skip


@pytest.mark.benchmark(group="kspace")
@pytest.mark.parametrize("turn", ["in plane", "in space"])
@KINDS
def test_turn(benchmark, kind, turn):
    """One pool turned by a few degrees."""
    image = complexes(SHAPES[kind][0], 1, *SHAPES[kind][2:])
    angles = [[5, 0, 0]] if turn == "in plane" else [[5, 2, -3]]
    matrix = motion.pull_matrix(motion.rotations(angles), np.zeros((1, 3)), [3, 1, 1], image.shape)
    matrix = np.repeat(matrix, len(image), 0)
    timed(benchmark, lambda: motion.turn(image, matrix), len(image), 2 * image.nbytes)


@pytest.mark.benchmark(group="kspace")
def test_between(benchmark):
    """A volume between slices 1.2 planes apart."""
    acquired = complexes(1, 27, 192, 192)
    places = (np.arange(27, dtype=np.float32) * 1.2)[None]
    moved = acquired.nbytes + 32 * 192 * 192 * 8
    timed(benchmark, lambda: slices.between(acquired, places, 32), 1, moved)


def plan(kind, effects):
    """An acquisition with no effect, noise and chemical shift only, or with movement and coils."""
    n, _, *grid = SHAPES[kind]
    sampling = acquisition.full_sampling(n, tuple(grid))
    voxel_mm, given = np.ones((n, 3), np.float32), {}
    if effects != "nothing":
        keys = np.array([[7, 0, 11, i, 0] for i in range(n)], np.uint32)
        given["noise"] = acquisition.Noise(np.full(n, 0.1, np.float32), keys)
        given["chemical_shift_px"] = np.array([[0, 1.5]] * n)
        echoes = np.exp(-np.arange(1, 17) / np.array([[[5.0], [12.0]]] * n))
        given["train"] = acquisition.Train(echoes, np.full(n, 16), np.full(n, 7))
    if effects == "movement":
        given["poses"] = np.random.default_rng(0).normal(0, 1, (n, 4, 6))
        if kind == "slices":
            given["poses"][..., [0, 4, 5]] = 0  # in the plane
    if effects == "coils":
        loops = [np.repeat(a[None], n, 0) for a in coils.ring(8, 150)]
        given["coils"] = acquisition.Coils(*loops, np.full(n, 40, np.float32))
    return acquisition.Acquisition(AXES[kind], voxel_mm, sampling, **given)


@pytest.mark.benchmark(group="acquire")
@pytest.mark.parametrize("effects", ["nothing", "usual", "movement", "coils"])
@KINDS
def test_acquire(benchmark, kind, effects):
    """Two pools to a magnitude; usual: noise, chemical shift and echo train; the others besides."""
    pools, given = complexes(*SHAPES[kind]), plan(kind, effects)
    benchmark.pedantic(acquire, (pools, given), rounds=5, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["ms_a_sample"] = benchmark.stats.stats.median * 1e3 / len(pools)


@pytest.mark.benchmark(group="acquire")
@KINDS
def test_limit(benchmark, kind):
    """The transforms of an acquisition alone: two pools forward, one image back."""
    pools = complexes(*SHAPES[kind])
    axes = AXES[kind]

    def run():
        kspace.to_image(kspace.to_kspace(pools, axes)[:, 0], axes)

    timed(benchmark, run, len(pools))


@pytest.mark.benchmark(group="acquire")
@KINDS
def test_encoding(benchmark, kind):
    """The weights of all lines, on the host."""
    given, (_, _, *grid) = plan(kind, "usual"), SHAPES[kind]
    timed(benchmark, lambda: encoding(given, tuple(grid), SHAPES[kind]), SHAPES[kind][0])
