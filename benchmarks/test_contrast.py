"""Contrast and noise at 128^3: the look-up beside a copy, noise beside a bare loop, 64 labels by 4.

Run: `pytest benchmarks/test_contrast.py --benchmark-enable -s`. Labels are a Voronoi partition into
64 cells on a grid twice as fine, so 5 % of the voxels hold several; with 4 labels its cells have
numbers modulo 4, and with "4 cells" there are only 4 cells. `extra_info` has the bytes moved (each
input read and each output written once), their rate, and that of a copy by a parallel loop on as
many threads, measured here. The bare loops draw Philox words and turn them into normals by
Box-Muller, one with the C library's functions (`philox.normals`) and one with the polynomials that
noise uses (`gaussian.white`); both only write. Noise is counted by the normal: a complex element
takes two.
What bounds the look-up is not memory but the 5 % of voxels that hold several labels: 1 image at one
B1 takes 10 ms in one thread; with one label everywhere 2.5 to 3 (0.8 of it finding where labels are
alike, 0.8 their largest number), and with mixed voxels skipped 4.5. By the processor's counters a
mixed voxel takes some 1,000 instructions: 8 parts gathered and compared one by one, two rows of
signals interpolated, nothing of it in vectors. Tried without gain: a short way for voxels of two
rows (98 % of them; a fourth fewer instructions, no less time), flat arrays, no counts of
references. Half of a copy would leave 15 ns a mixed voxel, with all else free. With 8 images a line
of voxels is written at the rate of plain stores, which read what they overwrite, unlike a copy's.
"""

import time

import copying
import numba
import numpy as np
import pytest
from scipy.spatial import cKDTree

from voxelmill.kernels import contrast, gaussian, noise, philox, resolution
from voxelmill.kernels import label_gaussians as labels_of

SHAPE, ROUNDS = (128, 128, 128), 15
KEYS = np.array([[7, 0, 0x1234, 5, 0]], np.uint32)
SD = np.ones(1, np.float32)


def cells(count):
    """(1, 256, 256, 256) uint8: the nearest of `count` points."""
    points = np.random.default_rng(0).uniform(0, 256, (count, 3))
    places = np.indices((256, 256, 256)).reshape(3, -1).T
    return cKDTree(points).query(places, workers=-1)[1].astype(np.uint8).reshape(1, 256, 256, 256)


@pytest.fixture(scope="module")
def many():
    """Fine labels of 64 cells."""
    return cells(64)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    """Numba on one thread, and on two."""
    before = numba.get_num_threads()
    numba.set_num_threads(request.param)
    yield request.param
    numba.set_num_threads(before)


def best_ms(function, *args, **how):
    """The least of ROUNDS times, after one that warms up."""
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        function(*args, **how)
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[1:])


def copy_rate():
    """GB/s read and written by a copy on as many threads."""
    return copying.bandwidth() / 1e9


def report(benchmark, ms, **said):
    """Keep what was measured, and say it."""
    benchmark.extra_info.update(ms=ms, **said)
    print(f"\n{benchmark.name}: {benchmark.extra_info}")


def painted(labels, contrasts, pools, bins):
    """A painting, its arguments and the bytes that it must move."""
    rows, b1 = 64, np.cos(np.linspace(-1.2, 1.2, 128)) + 0.2
    b1 = np.broadcast_to(b1, (1, *SHAPE)).astype(np.float32).copy() if bins > 1 else None
    table = np.random.default_rng(1).normal(size=(1, rows, bins, contrasts, pools, 2))
    out = np.empty((1, contrasts, pools, *SHAPE), np.complex64)
    how = {"b1": b1, "b1_bins": (0.4, 0.05), "out": out}
    moved = labels.nbytes + out.nbytes + (0 if b1 is None else b1.nbytes)
    return (labels, table.astype(np.float32), SHAPE), how, moved


@pytest.mark.parametrize("bins", [1, 24], ids=["one B1", "24 B1"])
@pytest.mark.parametrize("signals", [(1, 1), (4, 2)], ids=["1 image", "8 images"])
def test_look_up(benchmark, many, threads, signals, bins):
    """Complex images of 64 labels, against the bandwidth of a copy."""
    args, how, moved = painted(many, *signals, bins)
    ms = best_ms(contrast.paint, *args, **how)
    benchmark.pedantic(contrast.paint, args, how, rounds=3)
    rate, copied = moved / ms / 1e6, copy_rate()
    report(
        benchmark, ms, megabytes=moved / 1e6, gb_per_s=rate, copy_gb_per_s=copied,
        of_copy=rate / copied,
    )  # fmt: skip


@pytest.mark.parametrize("signals", [(1, 1), (4, 2)], ids=["1 image", "8 images"])
def test_labels_cost_nothing(benchmark, many, threads, signals):
    """Time at 64 labels over time at 4."""
    ms = {}
    for name, labels in (("64", many), ("4", many % 4), ("4 cells", cells(4))):
        args, how, _ = painted(labels, *signals, 24)
        ms[name] = best_ms(contrast.paint, *args, **how)
    benchmark.pedantic(contrast.paint, args, how, rounds=1)
    report(benchmark, ms["64"], ms_4=ms["4"], ms_4_cells=ms["4 cells"], ratio=ms["64"] / ms["4"])
    if benchmark.enabled:
        assert ms["64"] < 1.2 * ms["4"] * 1.1  # 10 % for noise of the machine


def test_gaussian_labels(benchmark, many, threads):
    """One Gaussian a label with a bias, at 64 labels over 4; and the plain normals of as many."""
    rng, gain = np.random.default_rng(1), np.ones((1, *SHAPE), np.float32)
    mean, sd = rng.uniform(size=(2, 1, 64)).astype(np.float32)
    coarse = many[:, ::2, ::2, ::2].copy()
    few = coarse % 4
    args = (coarse, mean, sd, KEYS, gain)
    ms = best_ms(labels_of.gaussian_labels, *args)
    ratio = ms / best_ms(labels_of.gaussian_labels, few, *args[1:])
    benchmark.pedantic(labels_of.gaussian_labels, args, rounds=3)
    report(benchmark, ms, ratio=ratio, white_ms=best_ms(gaussian.white, KEYS, SHAPE))


@pytest.mark.parametrize("kind", ["add_complex", "rician", "rician of complex"])
@pytest.mark.parametrize("with_gain", [False, True], ids=["even", "g-factor"])
def test_noise(benchmark, threads, kind, with_gain):
    """Complex noise in 128^3 elements against loops that only make as many normals."""
    complex_image = np.ones((1, *SHAPE), np.complex64)
    gain = np.ones((1, *SHAPE), np.float32) if with_gain else None
    function = noise.add_complex if kind == "add_complex" else noise.rician
    image = complex_image if kind != "rician" else complex_image.real.copy()
    args = (image, SD, KEYS, gain)
    ms = best_ms(function, *args)
    benchmark.pedantic(function, args, rounds=3)
    library = best_ms(philox.normals, KEYS, 2 * 128**3)
    bare = best_ms(gaussian.white, KEYS, (*SHAPE, 2))
    report(
        benchmark, ms, over_bare=ms / library, bare_ms=library, over_polynomials=ms / bare,
        polynomials_ms=bare,
    )  # fmt: skip


def test_sum_of_squares(benchmark, threads):
    """Eight coils of 128^3, against a copy."""
    coils = np.ones((1, 8, *SHAPE), np.complex64)
    ms = best_ms(noise.sum_of_squares, coils)
    benchmark.pedantic(noise.sum_of_squares, (coils,), rounds=3)
    rate = (coils.nbytes + coils.nbytes / 16) / ms / 1e6
    report(benchmark, ms, gb_per_s=rate, copy_gb_per_s=copy_rate())


@pytest.mark.parametrize("spacing", [(4, 1, 1), (2, 2, 2)], ids=str)
def test_coarsened(benchmark, threads, spacing):
    """Thick slices, and lower resolution all round."""
    args = np.ones((1, *SHAPE), np.float32), np.array([spacing], np.float32)
    ms = best_ms(resolution.coarsened, *args)
    benchmark.pedantic(resolution.coarsened, args, rounds=3)
    report(benchmark, ms)
