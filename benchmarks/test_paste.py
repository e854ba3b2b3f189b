"""Composition and label maps, one thread, 32 samples of 512 x 512 with 6 objects each.

Four discs and two thin lines a sample (about 200,000 patch pixels; most of a line's window is
empty). What bounds them: `compose` moves about 1.3 MiB a sample (alpha, film, image) and does five
float operations a patch pixel in vectors along whole canvas rows; it takes about twice as long as
copying as many bytes from memory to memory (`copy`), so both count. `maps` is bound by memory: half
of its time goes into the new pages of its three maps, 1 MiB a sample each call. Peers do the same
work an object at a time.

    pytest benchmarks/test_paste.py --benchmark-enable
"""

import cv2
import numba
import numpy as np
import pytest

from voxelmill.kernels import label, paste

SIZE, BATCH, OBJECTS = 512, 32, 6


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Numba and OpenCV on one thread each."""
    threads = numba.get_num_threads(), cv2.getNumThreads()
    numba.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    numba.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


def disc(side):
    """Coverage of a disc in a square window."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip(side / 2 - 2 - np.hypot(y, x), 0, 1)


def line(height, width):
    """Coverage of a line from corner to corner."""
    y, x = np.mgrid[:height, :width]
    return np.clip(4 - np.abs(y / height - x / width) * min(height, width) / 1.4, 0, 1)


@pytest.fixture(scope="module")
def scene():
    """Films, alpha, windows, starts, samples, opacity, grey, ids, classes."""
    random = np.random.default_rng(0)
    n = BATCH * OBJECTS
    covers = [
        line(*random.integers(200, 400, 2)) if s % 3 == 2 else disc(int(random.integers(40, 110)))
        for s in range(n)
    ]
    sizes = np.array([cover.shape for cover in covers])
    corners = random.integers(-20, SIZE + 20 - sizes)
    windows = np.concatenate([corners, sizes], 1).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes.prod(1))]).astype(np.int64)
    alpha = np.concatenate([cover.ravel() for cover in covers]).astype(np.float32)
    return {
        "films": random.integers(0, 256, (BATCH, SIZE, SIZE), np.uint8),
        "alpha": alpha,
        "windows": windows,
        "starts": starts,
        "samples": np.repeat(np.arange(BATCH, dtype=np.int32), OBJECTS),
        "opacity": random.uniform(0.5, 1, n).astype(np.float32),
        "grey": random.uniform(0, 255, n).astype(np.float32),
        "ids": np.tile(np.arange(1, OBJECTS + 1, dtype=np.uint8), BATCH),
        "classes": random.integers(1, 9, n, np.uint8),
    }


def compose(s):
    """Ours."""
    choice = np.arange(BATCH, dtype=np.int32)
    layers = s["alpha"], s["windows"], s["starts"], s["samples"], s["opacity"], s["grey"]
    return paste.compose(s["films"], choice, *layers, None, None, BATCH)


def maps(s):
    """Ours."""
    shapes = s["alpha"], s["windows"], s["starts"], s["samples"], s["ids"], s["classes"]
    return label.maps(*shapes, BATCH, (SIZE, SIZE))


def inside(s, i):
    """Patch i and the canvas region it covers, both cut to the canvas."""
    y0, x0, height, width = (int(v) for v in s["windows"][i])
    patch = s["alpha"][s["starts"][i] : s["starts"][i + 1]].reshape(height, width)
    y, x = slice(max(y0, 0), min(y0 + height, SIZE)), slice(max(x0, 0), min(x0 + width, SIZE))
    return patch[y.start - y0 : y.stop - y0, x.start - x0 : x.stop - x0], (y, x)


def compose_numpy(s):
    """A loop over objects, each blended into its region of a float32 canvas."""
    out = np.empty_like(s["films"])
    for n in range(BATCH):
        canvas = s["films"][n].astype(np.float32)
        for i in range(n * OBJECTS, (n + 1) * OBJECTS):
            patch, place = inside(s, i)
            canvas[place] += patch * s["opacity"][i] * (s["grey"][i] - canvas[place])
        out[n] = np.clip(canvas + np.float32(0.5), 0, 255)
    return out


def compose_opencv(s):
    """The same loop with OpenCV's vector arithmetic."""
    out = np.empty_like(s["films"])
    for n in range(BATCH):
        canvas = s["films"][n].astype(np.float32)
        for i in range(n * OBJECTS, (n + 1) * OBJECTS):
            patch, place = inside(s, i)
            under = canvas[place]
            difference = cv2.subtract((float(s["grey"][i]),) * 4, under)
            cv2.multiply(difference, patch, difference, float(s["opacity"][i]))
            cv2.add(under, difference, under)
        cv2.convertScaleAbs(canvas, out[n])
    return out


def maps_numpy(s):
    """A loop over objects that writes its id, bit and class where it is."""
    shape = (BATCH, SIZE, SIZE)
    modal, amodal, semantic = (np.zeros(shape, dtype) for dtype in ("u1", "u2", "u1"))
    for i, n in enumerate(s["samples"]):
        patch, place = inside(s, i)
        covered = patch >= 0.5
        np.copyto(modal[n][place], s["ids"][i], where=covered)
        np.copyto(semantic[n][place], s["classes"][i], where=covered)
        under = amodal[n][place]
        np.bitwise_or(under, np.uint16(1 << (s["ids"][i] - 1)), out=under, where=covered)
    return modal, amodal, semantic


def run(benchmark, function, scene):
    """The result of `function`, timed; and its milliseconds a sample."""
    result = benchmark.pedantic(function, (scene,), rounds=15, warmup_rounds=2)
    if benchmark.stats is not None:
        benchmark.extra_info["ms_a_sample"] = benchmark.stats.stats.median * 1e3 / BATCH
    return result


@pytest.mark.benchmark(group="compose")
@pytest.mark.parametrize("peer", [compose, compose_numpy, compose_opencv])
def test_compose(benchmark, scene, peer):
    """Composition, ours and peers."""
    off = run(benchmark, peer, scene).astype(int) - compose(scene)
    assert np.abs(off).max() <= 1


@pytest.mark.benchmark(group="maps")
@pytest.mark.parametrize("peer", [maps, maps_numpy])
def test_maps(benchmark, scene, peer):
    """Label maps, ours and peers."""
    for made, ours in zip(run(benchmark, peer, scene), maps(scene), strict=True):
        np.testing.assert_array_equal(made, ours)


@pytest.mark.benchmark(group="measure")
def test_measure(benchmark, scene):
    """Boxes and areas."""
    shapes = [scene[name] for name in ("alpha", "windows", "starts", "samples", "ids")]
    modal = maps(scene).modal
    run(benchmark, lambda _: label.measure(*shapes, modal), scene)


@pytest.mark.benchmark(group="copy")
@pytest.mark.parametrize("what", ["compose", "maps"])
def test_copy(benchmark, scene, what):
    """As many bytes as `what` must read and write, copied from memory to memory."""
    films, canvas = scene["films"].nbytes, scene["films"].size
    read, written = scene["alpha"].nbytes, {"compose": canvas, "maps": 4 * canvas}[what]
    read += films if what == "compose" else 0
    source = np.ones((read + written) // 2, np.uint8)
    target, sweep = np.zeros_like(source), np.ones(2**27, np.uint8)

    def setup():
        sweep.sum()  # what the kernels leave in the cache, so do the copy's arrays not

    benchmark.pedantic(np.copyto, (target, source), setup=setup, rounds=15, warmup_rounds=2)
    if benchmark.stats is not None:
        median = benchmark.stats.stats.median
        benchmark.extra_info["ms_a_sample"] = median * 1e3 / BATCH
        benchmark.extra_info["gb_a_second"] = (read + written) / median / 1e9
