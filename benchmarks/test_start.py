"""What a trainer waits for before its first step: an import, and the first batch of a large store.

    python -m pytest benchmarks/test_start.py --benchmark-enable

The import is timed inside a fresh interpreter that has NumPy already, files in the page cache; it
is bound by compiled modules (zstandard, xxhash, google_crc32c) and by reading some fifty files.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import workloads

from voxelmill.engine.reader import open_store

BATCH = 32
MODULE = "voxelmill.engine.reader"
_IMPORT = f"""
import time, numpy
start = time.perf_counter()
import {MODULE}
print(time.perf_counter() - start)
"""


def test_import(benchmark):
    """Beyond NumPy."""
    took = []

    def run():
        words = [sys.executable, "-c", _IMPORT]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        took.append(float(done.stdout))

    benchmark.pedantic(run, rounds=9, warmup_rounds=1)
    benchmark.extra_info.update(
        table="import", module=MODULE, import_ms=round(1000 * statistics.median(took[1:] or took))
    )
    benchmark.extra_info["load"] = os.getloadavg()[0]


@pytest.fixture
def folder():
    """An empty folder on the disk, removed afterwards."""
    place = Path(tempfile.mkdtemp(prefix="voxelmill_", dir=os.environ.get("VOXELMILL_BENCH_DISK")))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_first_batch_of_a_million(benchmark, folder):
    """Opening 10^6 samples in 1,000 shards and reading a shuffled batch of 32.

    The shards are one file under a thousand names (64 x 64 uint8), each with its own commit record,
    so that the indexes of 32 shards are read as ever.
    """
    path = workloads.write_million(folder / "million.zarr")
    firsts = []

    def run():
        firsts.append(next(open_store(path).batches(BATCH, seed=len(firsts)))["image"].shape)

    benchmark.pedantic(run, rounds=9)
    assert set(firsts) == {(BATCH, 64, 64)}
    if benchmark.stats is not None:
        ms = round(1000 * benchmark.stats.stats.median, 1)
        benchmark.extra_info.update(table="first", first_batch_ms=ms, load=os.getloadavg()[0])
        print(f"\nfirst batch: {ms} ms")
