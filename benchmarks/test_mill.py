"""Samples/s of the whole mill, beside the writer alone and beside OpenCV + PNG + JSON.

    python -m pytest benchmarks/test_mill.py --benchmark-enable -s

All cases make the scenes of examples/cxr_objects.yaml at 512 x 512, on the disk (the temporary
folder, or VOXELMILL_BENCH_DISK) or in memory (/dev/shm). Each counts everything from the call to
the last commit: interpreter start of workers, kernels loaded from the cache, fsync.

What bounds them: on a disk, its write bandwidth (an image is 256 KiB, raw); in memory, the two
cores, most of all in rendering: `stages_s` has the seconds that each stage worked. The peer is
bound by PNG compression and by whole-canvas OpenCV calls for each object.
"""

import multiprocessing
import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import cxr_objects
from voxelmill.engine.run_local import make
from voxelmill.engine.store import create
from voxelmill.engine.writer import ShardWriter

SAMPLES = int(os.environ.get("VOXELMILL_BENCH_SAMPLES", "4096"))
PEER_SAMPLES = SAMPLES // 8
SPEC = Path(__file__).parents[1] / "examples" / "cxr_objects.yaml"
MEMORY = Path("/dev/shm")


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    """A folder on the disk or in memory, removed afterwards."""
    root = Path(os.environ.get("VOXELMILL_BENCH_DISK", tmp_path))
    if request.param == "memory":
        if not MEMORY.is_dir():
            pytest.skip("no /dev/shm")
        root = MEMORY
    folder = root / "voxelmill_bench"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def opened(count):
    """The plan of the example, its shards small enough for two workers."""
    per_shard = min(1024, max(64, count // 4))
    return open_plan(SPEC, [f"count={count}", f"samples_per_shard={per_shard}"])


def tell(benchmark, samples, nbytes=None):
    """Put samples/s (and MB/s) of the best round into the report."""
    if benchmark.stats is None:
        return
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["samples_per_s"] = round(samples / seconds, 1)
    if nbytes:
        benchmark.extra_info["MB_per_s"] = round(nbytes / seconds / 1e6, 1)
    print(f"\n{benchmark.name}: {samples / seconds:.0f} samples/s")


def size_of(folder):
    """(bytes, files) below a folder."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files), len(files)


def clear(folder):
    """Empty the folder between rounds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_make(benchmark, place, workers):
    """The whole of `make`, from the call to the last commit."""
    plan = opened(SAMPLES)
    made = benchmark.pedantic(
        lambda: make(plan, place / "store.zarr", workers=workers),
        setup=lambda: clear(place),
        rounds=3,
        warmup_rounds=1,
    )
    benchmark.extra_info["stages_s"] = {k: round(v, 2) for k, v in made.stages.items()}
    nbytes, files = size_of(place)
    benchmark.extra_info["bytes_per_sample"] = round(nbytes / SAMPLES)
    benchmark.extra_info["files"] = files
    tell(benchmark, SAMPLES, nbytes)


def test_writer_alone(benchmark, place):
    """The same arrays, rendered before the clock starts: packed and written shard by shard."""
    plan = opened(SAMPLES)
    job, d = plan.job(place), plan.description
    batches = [render_batch(job, draw_batch(job, range(i, i + 32))) for i in range(0, 256, 32)]
    params = np.zeros((32, len(d.columns)))

    def write():
        for shard in range(d.shards):
            with ShardWriter(place / "store.zarr", d, shard) as writer:
                for i in range(0, d.samples_in(shard), 32):
                    writer.add(batches[i // 32 % len(batches)], params)
                writer.commit()

    def empty():
        clear(place)
        create(place / "store.zarr", d)

    benchmark.pedantic(write, setup=empty, rounds=3, warmup_rounds=1)
    tell(benchmark, SAMPLES, size_of(place)[0])


def scenes(start, stop):
    """What the peer draws from: (film, rows, extras) of each sample, made before the clock."""
    plan = opened(SAMPLES)
    job, ranges = plan.job(""), plan.spec.ranges
    columns = [c.name for c in cxr_objects.object_columns(ranges)]
    found = []
    for one in draw_batch(job, range(start, stop)):
        film = plan.inputs.film(one.params.input, ranges.size)
        rows = [dict(zip(columns, row.tolist(), strict=True)) for row in one.params.objects]
        named = [(cxr_objects.CLASSES[int(o["class"]) - 1], o) for o in rows]
        extra = {
            "donors": plan.inputs.donors,
            "rng": np.random.default_rng(one.stream.index),
            "region": film.regions["aorta"],
            "ranges": ranges,
            "stream": one.stream,
        }
        found.append((one.stream.index, film.image, named, extra))
    return found


def peer(folder, made):
    """Draw and write scenes with OpenCV."""
    from peers.opencv_scene import scene, write

    for index, film, rows, extra in made:
        write(folder, index, scene(film, rows, extra))


def _peer_process(folder, start, stop, ready, go):
    import cv2

    cv2.setNumThreads(1)
    made = scenes(start, stop)
    peer(folder, made[:1])
    ready.set()
    go.wait()
    peer(folder, made)


@pytest.mark.parametrize("processes", [1, 2])
def test_peer_opencv_png_json(benchmark, processes):
    """The same scenes (image, modal, amodal, boxes) by OpenCV into PNG + JSON, in memory."""
    folder = MEMORY / "voxelmill_peer"
    clear(folder)
    if processes == 1:
        made = scenes(0, PEER_SAMPLES)
        peer(folder, made[:2])
        benchmark.pedantic(lambda: peer(folder, made), rounds=3)
        benchmark.extra_info["note"] = "one process, OpenCV's own threads"
    else:
        benchmark.pedantic(_go, setup=lambda: (_started(folder, processes), {}), rounds=3)
    nbytes, files = size_of(folder)
    benchmark.extra_info["bytes_per_sample"] = round(nbytes / PEER_SAMPLES)
    benchmark.extra_info["files_per_sample"] = round(files / PEER_SAMPLES, 2)
    tell(benchmark, PEER_SAMPLES, nbytes)
    shutil.rmtree(folder)


def _started(folder, processes):
    """Processes that have made their scenes and wait for the clock."""
    context = multiprocessing.get_context("spawn")
    go, running = context.Event(), []
    cuts = [PEER_SAMPLES * i // processes for i in range(processes + 1)]
    for start, stop in pairwise(cuts):
        ready = context.Event()
        process = context.Process(target=_peer_process, args=(folder, start, stop, ready, go))
        process.start()
        running.append((process, ready))
    for _, ready in running:
        ready.wait()
    return [process for process, _ in running], go


def _go(processes, go):
    go.set()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a peer process ended with status {process.exitcode}")
