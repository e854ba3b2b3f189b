"""Shuffled batches of 32: our reader beside the loaders that a trainer could take instead.

    pip install -e ".[peers]" && pip install --no-deps mosaicml-streaming Brotli python-snappy zstd
    python -m pytest benchmarks/test_reader_peers.py --benchmark-enable --benchmark-json=reader.json
    python benchmarks/report.py reader.json

One process, the same bytes, page cache warm unless a case says "cold". Each case is read whole and
compared with the source, sample by sample, before its clock starts; then epochs are timed.
`limit_share` is the rate divided by that of copying the same samples in random order from one
array in memory into reused batches, in two threads, timed before each round. Peers run with
0 and 2 worker processes, and the better counts; `benchmarks/peers/readers.py` has their settings.

VOXELMILL_BENCH_READER_SAMPLES (2048) sets the size, VOXELMILL_BENCH_DISK where the files lie,
VOXELMILL_BENCH_MINUTES (0.1) how long memory is watched.
"""

import gc
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import workloads
import xxhash
from peers.readers import PEERS

from voxelmill.engine.gather import gather_rate
from voxelmill.engine.reader import open_store

SAMPLES = int(os.environ.get("VOXELMILL_BENCH_READER_SAMPLES", "2048"))
MINUTES = float(os.environ.get("VOXELMILL_BENCH_MINUTES", "0.1"))
BATCH = 32
ROUNDS, ROUND_S = 3, 1.5
IDLE_EPOCHS = 4
MAKERS = {
    "films": lambda: workloads.films(SAMPLES),
    "volumes": lambda: workloads.volumes(SAMPLES // 8),
    "wide": lambda: workloads.wide(SAMPLES // 8),
}
FEW_PEERS = ("mosaicml-streaming", "h5py", "npz", "zarr-python")
_held = {}
pytestmark = pytest.mark.filterwarnings("ignore")


def arrays_of(kind):
    """The arrays of a workload; only one is held at a time."""
    if kind not in _held:
        _held.clear()
        gc.collect()
        arrays = MAKERS[kind]()
        _held[kind] = arrays, Counter(digests(arrays))
    return _held[kind]


@pytest.fixture
def folder():
    """An empty folder on the disk, removed afterwards."""
    place = Path(tempfile.mkdtemp(prefix="voxelmill_", dir=os.environ.get("VOXELMILL_BENCH_DISK")))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def digests(batch):
    """One of each sample, over all its arrays."""
    arrays = [np.ascontiguousarray(batch[name]) for name in ("image", "mask") if name in batch]
    found = []
    for sample in zip(*arrays, strict=True):
        h = xxhash.xxh3_128()
        for a in sample:
            h.update(np.ascontiguousarray(a).view(np.uint8).reshape(-1).data)
        found.append(h.digest())
    return found


def verify(batches, source):
    """Read an epoch: each sample as it was, and no more often than in the source."""
    seen = Counter(d for batch in batches for d in digests(batch))
    assert seen <= source
    assert seen.total() > source.total() // 2


def drained(batches):
    """Samples of an epoch."""
    return sum(len(batch["image"]) for batch in batches)


def timed(benchmark, epoch, kind, **info):
    """Time whole epochs; `epoch(number)` gives the batches."""
    arrays, source = arrays_of(kind)
    verify(epoch(0), source)
    start = time.perf_counter()
    drained(epoch(1))
    seconds = time.perf_counter() - start
    repeats = max(1, round(ROUND_S / seconds))
    rounds = ROUNDS if seconds < 4 else 1
    counter = iter(range(2, 10**9))
    limits, samples = [], []

    def setup():
        limits.append(gather_rate(arrays, BATCH))

    def run():
        samples.append(sum(drained(epoch(next(counter))) for _ in range(repeats)))

    benchmark.pedantic(run, setup=setup, rounds=rounds)
    tell(benchmark, kind, samples[0], statistics.median(limits), **info)


def tell(benchmark, kind, samples, limit, **info):
    """Put samples/s, GB/s and the share of the gather limit into the report."""
    sample_bytes = sum(a[0].nbytes for a in arrays_of(kind)[0].values())
    if benchmark.stats is None:
        return
    rate = samples / benchmark.stats.stats.median
    benchmark.extra_info.update(
        table="reader",
        workload=kind,
        samples_per_s=round(rate, 1),
        GB_per_s=round(rate * sample_bytes / 1e9, 2),
        gather_per_s=round(limit, 1),
        limit_share=round(rate / limit, 3),
        load=os.getloadavg()[0],
        **info,
    )
    print(f"\n{benchmark.name}: {rate:.0f} samples/s, {rate / limit:.2f} of the gather limit")


def buffers(reader, sets=5):
    """Reused batches."""
    return [
        {n: np.zeros((BATCH, *f.shape), f.dtype) for n, f in reader.fields.items()}
        for _ in range(sets)
    ]


@pytest.mark.parametrize("kind", MAKERS)
def test_gather(benchmark, kind):
    """The limit: copies from memory."""
    arrays, _ = arrays_of(kind)
    rates = []
    benchmark.pedantic(lambda: rates.append(gather_rate(arrays, BATCH)), rounds=ROUNDS)
    limit = statistics.median(rates)
    tell(benchmark, kind, limit * (benchmark.stats.stats.median if benchmark.stats else 1), limit)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("labels", ["raw", "zstd"])
@pytest.mark.parametrize(
    "how", ["first-later", "never", "always", "first-mmap", "first-new-arrays"]
)
def test_ours(benchmark, folder, kind, labels, how):
    """Later epochs of a process: reads in flight, into reused batches or new ones."""
    if kind != "films" and (labels == "zstd" or how not in ("first-later", "first-mmap")):
        pytest.skip("only films have masks; other workloads are timed once")
    check, _, more = how.partition("-")
    options = {"way": "mmap"} if more == "mmap" else {}
    path = workloads.write_store(folder / "s.zarr", arrays_of(kind)[0], labels)
    reader = open_store(path, check=check, **options)
    out = None if more == "new-arrays" else buffers(reader)

    def epoch(number):
        return reader.batches(BATCH, seed=1, epoch=number, out=out)

    timed(benchmark, epoch, kind, store=labels, how=how)


@pytest.mark.parametrize("labels", ["raw", "zstd"])
@pytest.mark.parametrize("check", ["first", "never"])
def test_ours_first_epoch(benchmark, folder, labels, check):
    """The first epoch of a process, page cache warm: files opened, every checksum compared."""
    arrays, source = arrays_of("films")
    path = workloads.write_store(folder / "s.zarr", arrays, labels)
    out = buffers(open_store(path))
    verify(open_store(path, check=check).batches(BATCH), source)
    limits, samples = [], []

    def setup():
        limits.append(gather_rate(arrays, BATCH, 0.5))

    def run():
        samples.append(drained(open_store(path, check=check).batches(BATCH, out=out)))

    benchmark.pedantic(run, setup=setup, rounds=9)
    limit = statistics.median(limits)
    tell(benchmark, "films", samples[0], limit, store=labels, how=f"{check}, first epoch")


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", PEERS)
def test_peer(benchmark, folder, kind, name):
    """A peer with the number of workers that suits it best here."""
    peer = PEERS[name]
    if kind != "films" and name not in FEW_PEERS:
        pytest.skip(f"{kind} is timed for {', '.join(FEW_PEERS)} only")
    if importlib.util.find_spec(peer.package) is None:
        pytest.skip(f"{peer.package} is not installed")
    arrays, source = arrays_of(kind)
    warnings.simplefilter("ignore")
    peer.write(folder, arrays)
    tried = {}
    for workers in peer.workers:
        epoch = peer.open(folder, arrays, BATCH, workers)
        verify(epoch(0), source)
        start = time.perf_counter()
        samples = drained(epoch(1))
        tried[workers] = samples / (time.perf_counter() - start)
        del epoch
        gc.collect()
    best = max(tried, key=lambda w: tried[w])
    epoch = peer.open(folder, arrays, BATCH, best)
    rates = {str(w): round(r) for w, r in tried.items()}
    timed(benchmark, epoch, kind, peer=name, workers=best, tried=rates, shuffle=peer.shuffle)


def drop(folder):
    """Take the files out of the page cache."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            with open(file, "rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_whole(folder):
    """The files one after the other, as `dd bs=1M` reads them; seconds."""
    room = bytearray(1 << 20)
    start = time.perf_counter()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with open(file, "rb", buffering=0) as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while opened.readinto(room):
                pass
    return time.perf_counter() - start


@pytest.mark.parametrize("shuffle", ["shard", "global"])
def test_cold(benchmark, folder, shuffle):
    """Nothing in the page cache, against reading the same files in their order; in turns."""
    arrays, source = arrays_of("films")
    path = workloads.write_store(folder / "s.zarr", arrays, "raw")
    drop(path)
    verify(open_store(path).batches(BATCH, shuffle, window=1), source)
    start = time.perf_counter()
    read_whole(path)
    warm, out, sequential = time.perf_counter() - start, buffers(open_store(path)), []

    def setup():
        drop(path)
        sequential.append(read_whole(path))
        drop(path)

    def run():
        drained(open_store(path).batches(BATCH, shuffle, window=1, out=out))

    benchmark.pedantic(run, setup=setup, rounds=5)
    dd = SAMPLES / statistics.median(sequential)
    tell(benchmark, "films", SAMPLES // BATCH * BATCH, dd, store="raw", how=f"cold, {shuffle}")
    benchmark.extra_info["limit"] = "sequential read of the cold files"
    benchmark.extra_info["warm_over_cold_read"] = round(statistics.median(sequential) / warm, 1)


def slept(step_s):
    """A step of a trainer that waits for its GPU: no core is used."""
    time.sleep(step_s)


def computed(step_s):
    """A step on one core of this machine, most of it without the GIL."""
    import torch

    one, end = torch.ones(192, 192), time.perf_counter() + step_s
    while time.perf_counter() < end:
        one @ one


STEPS = {"sleeping": slept, "computing": computed}


@pytest.mark.parametrize("labels", ["raw", "zstd"])
@pytest.mark.parametrize("step", STEPS)
def test_torch_idle(benchmark, folder, labels, step):
    """What share of its time a trainer with steps of 5 ms waits for batches, in PyTorch.

    A step sleeps, as a trainer does whose work is on a GPU, or computes, as one whose own thread
    keeps a core busy. Waiting is all time in `next`, and in dropping the batch before, from the
    first batch on (files are opened for that one), over epochs of 64 batches.
    """
    torch = pytest.importorskip("torch")
    from voxelmill.engine.to_torch import TorchStream

    path = workloads.write_store(folder / "s.zarr", arrays_of("films")[0], labels)
    work, idle, threads = STEPS[step], [], torch.get_num_threads()

    def run():
        stream, waited, start = TorchStream(open_store(path), BATCH), 0.0, None
        for epoch in range(IDLE_EPOCHS):
            stream.set_epoch(epoch)
            batches = iter(stream)
            while True:
                asked = time.perf_counter()
                batch = next(batches, None)
                now = time.perf_counter()
                if start is None:
                    start = now  # from the first batch on
                else:
                    waited += now - asked
                if batch is None:
                    break
                work(0.005)
        idle.append(waited / (time.perf_counter() - start))

    torch.set_num_threads(1)
    try:
        benchmark.pedantic(run, rounds=3)
    finally:
        torch.set_num_threads(threads)
    benchmark.extra_info.update(
        table="idle",
        store=labels,
        step=step,
        idle_share=round(statistics.median(idle), 4),
        load=os.getloadavg()[0],
    )
    print(f"\nidle, {step}, {labels}: {statistics.median(idle):.4f}")


_WATCHED = """
import itertools, json, sys, time
from pathlib import Path
from voxelmill.engine.reader import open_store
from voxelmill.engine.to_torch import TorchStream

def anonymous_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) * 1024 / 1e6 for x in lines if x.startswith("RssAnon"))

before, seen, end = anonymous_mb(), [], time.monotonic() + 60 * float(sys.argv[2])
stream = TorchStream(open_store(sys.argv[1]), int(sys.argv[3]), ahead=int(sys.argv[4]))
batches = (batch for epoch in itertools.count() for batch in stream)
for number, batch in enumerate(batches):
    if number % 32 == 0:
        seen.append(anonymous_mb() - before)
        if time.monotonic() > end:
            break
print(json.dumps([number, seen]))
"""


def test_memory(benchmark, folder):
    """Memory that no file stands behind, of a process in which epochs go by; above its start.

    The bound: `ahead` batches, the one that was handed over and the one before, which is held till
    then; and what a reader keeps at most of indexes and of small arrays, 64 MiB each.
    """
    pytest.importorskip("torch")
    arrays, ahead = arrays_of("films")[0], 4
    path = workloads.write_store(folder / "s.zarr", arrays, "zstd")
    words = [sys.executable, "-c", _WATCHED, *map(str, (path, MINUTES, BATCH, ahead))]
    done = benchmark.pedantic(
        lambda: subprocess.run(words, capture_output=True, text=True, check=False), rounds=1
    )
    assert not done.returncode, done.stderr
    batches, seen = json.loads(done.stdout)
    tenth = max(1, len(seen) // 10)
    batch_mb = BATCH * sum(a[0].nbytes for a in arrays.values()) / 1e6
    benchmark.extra_info.update(
        table="memory",
        minutes=MINUTES,
        batches=batches,
        batch_mb=round(batch_mb, 1),
        bound_mb=round((ahead + 2) * batch_mb + 2 * (64 << 20) / 1e6, 1),
        first_tenth_mb=round(max(seen[:tenth]), 1),
        last_tenth_mb=round(max(seen[-tenth:]), 1),
        most_mb=round(max(seen), 1),
        load=os.getloadavg()[0],
    )
    print(f"\nmemory: {benchmark.extra_info}")
