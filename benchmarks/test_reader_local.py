"""Local reading by itself: what each way and each check cost, beside a gather from memory.

    python -m pytest benchmarks/test_reader_local.py --benchmark-enable

Shuffled batches of 32 into 6 sets of reused buffers, 5 in flight, two threads, warm page cache;
"fresh" lets the reader make its arrays. A round is one epoch, and right before it the same epoch is
gathered from one array in memory into the same buffers by two threads (`np.take`): `limit_share`
is the median of the ratios of neighbours, since machines that are shared change their speed.

What bounds it: memory. A gather reads and writes each byte once, from huge pages. `preadv` does as
much in the kernel, folio by folio: about three quarters of the gather where the page cache holds
large folios (files written or read in sequence), half of it where it holds single pages (read
sample by sample from a cold disk). A map copies in user space and pays with TLB misses: three
quarters to nine tenths. A check adds one crc32c from the second cache, about 26 GB/s a core. Python
holds the GIL for half a microsecond a sample and field; to get it back costs more where other
programs take the cores, so that small samples lose more there than large ones.

`preadv` is the default, although a map is faster: a file that is cut while it is copied kills the
process through a map (SIGBUS in 5 of 12 runs), and is an error through preadv (12 of 12).

VOXELMILL_BENCH_LOCAL_MIB (512) is the size of each store.
"""

import os
import statistics
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import workloads

from voxelmill.engine.access import open_access
from voxelmill.engine.group import read_description

MIB = int(os.environ.get("VOXELMILL_BENCH_LOCAL_MIB", "512"))
BATCH, SETS, AHEAD, ROUNDS = 32, 6, 4, 7
SHAPES = {
    "films": ((512, 512), "uint8", True),
    "volumes": ((96, 128, 96), "float16", False),
    "wide": ((1024, 1024), "uint16", False),
}
_pool = ThreadPoolExecutor(2)


def made_up(kind):
    """The arrays of a store: noise, and a mask of boxes where the kind has one."""
    shape, dtype, masked = SHAPES[kind]
    one = int(np.prod(shape)) * np.dtype(dtype).itemsize * (2 if masked else 1)
    count = max(2 * BATCH, (MIB << 20) // one // BATCH * BATCH)
    random = np.random.default_rng(0)
    arrays = {"image": random.integers(0, 200, (count, *shape), np.uint8).astype(dtype)}
    if masked:
        mask = arrays["mask"] = np.zeros((count, *shape), np.uint8)
        for one_mask in mask:
            for label in range(1, 6):
                y, x, height, width = random.integers(0, 160, 4)
                one_mask[2 * y : 2 * y + height, 2 * x : 2 * x + width] = label
    return arrays


@pytest.fixture(scope="module", params=["films-raw", "films-zstd", "volumes-raw", "wide-raw"])
def case(request, tmp_path_factory):
    """A store, its arrays in memory, and buffers."""
    kind, labels = request.param.split("-")
    arrays = made_up(kind)
    path = tmp_path_factory.mktemp(request.param) / "x.zarr"
    workloads.write_store(path, arrays, labels)
    buffers = [
        {name: np.ones((BATCH, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        for _ in range(SETS)
    ]
    return path, arrays, buffers


class Gathered:
    """A batch that is gathered from memory by two threads."""

    def __init__(self, arrays, indices, out):
        half = len(indices) // 2
        self._parts = [
            _pool.submit(_take, arrays, indices, out, part)
            for part in (slice(0, half), slice(half, None))
        ]

    def result(self):
        """Wait for it."""
        for part in self._parts:
            part.result()


def _take(arrays, indices, out, part):
    for name, array in arrays.items():
        np.take(array, indices[part], axis=0, out=out[name][part], mode="clip")


def epoch(begin, count, buffers, seed):
    """Seconds of an epoch in shuffled batches."""
    order = np.random.default_rng(seed).permutation(count)
    flight = deque()
    started = time.perf_counter()
    for step in range(count // BATCH):
        out = buffers[step % SETS] if buffers else None
        flight.append(begin(order[step * BATCH : (step + 1) * BATCH], out))
        if len(flight) > AHEAD:
            flight.popleft().result()
    while flight:
        flight.popleft().result()
    return time.perf_counter() - started


WAYS = {
    "preadv": {"way": "preadv"},
    "preadv-fresh": {"way": "preadv"},
    "preadv-first-epoch": {"way": "preadv"},
    "preadv-always": {"way": "preadv", "check": "always"},
    "preadv-never": {"way": "preadv", "check": "never"},
    "mmap": {"way": "mmap"},
    "mmap-first-epoch": {"way": "mmap"},
    "tensorstore": {"way": "tensorstore"},
}


@pytest.mark.parametrize("way", WAYS)
def test_read(benchmark, case, way):
    """An epoch of the way; "mmap" and "preadv" are later epochs of a process, with checks done."""
    path, arrays, buffers = case
    count, names = len(arrays["image"]), list(arrays)
    description = read_description(path)
    threads = {} if way == "tensorstore" else {"threads": 2}
    opened = []

    def fresh():
        opened[:] = [open_access(path, description, **WAYS[way], **threads)]

    def begin(indices, out):
        return opened[0].start(indices, names, out)

    def gather(indices, out):
        return Gathered(arrays, indices, out)

    fresh()
    epoch(begin, count, buffers, 0)
    last = {k: v.copy() for k, v in begin(np.arange(5, 9), None).result().items() if k in arrays}
    for name, values in last.items():
        np.testing.assert_array_equal(values, arrays[name][5:9])
    shares, rounds = [], []

    def before():
        if way.endswith("first-epoch"):
            fresh()
        rounds.append(epoch(gather, count, buffers, len(rounds)))
        return (), {}

    def run():
        taken = epoch(begin, count, None if way.endswith("fresh") else buffers, len(rounds))
        shares.append(rounds[-1] / taken)

    benchmark.pedantic(run, setup=before, rounds=ROUNDS)
    nbytes = sum(a.nbytes for a in arrays.values()) / 1e9
    benchmark.extra_info["samples_per_s"] = count / benchmark.stats.stats.median
    benchmark.extra_info["gb_per_s"] = nbytes / benchmark.stats.stats.median
    benchmark.extra_info["gather_gb_per_s"] = nbytes / statistics.median(rounds)
    benchmark.extra_info["limit_share"] = statistics.median(shares)
