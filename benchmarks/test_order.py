"""The order of one batch of 64 at 10^9 samples, and a state that is loaded there: time and memory.

    python -m pytest benchmarks/test_order.py --benchmark-enable

`peak_kB` is what Python and NumPy take for it at most. Nothing is held from batch to batch: the
time is that of eight rounds of a hash over the positions, and of a walk where they fall outside.
"""

import itertools
import tracemalloc

import numpy as np
import pytest

from voxelmill.engine.batches import Batches
from voxelmill.engine.order import Order

COUNT, BATCH = 10**9, 64
TOGETHER = 64  # steps that a stream computes at once


def peak_kb(work):
    """What is allocated at most while it works."""
    tracemalloc.start()
    try:
        work()
        return round(tracemalloc.get_traced_memory()[1] / 1000, 1)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shuffle", ["global", "shard"])
def test_order_of_a_batch(benchmark, shuffle):
    """What each step costs that is computed alone."""

    def first():
        return Order(COUNT, BATCH, seed=1, rank=3, ranks=8, shuffle=shuffle, samples_per_shard=1024)

    benchmark.extra_info["peak_kB"] = peak_kb(lambda: first().indices(0))
    order, steps = first(), itertools.count(1)
    found = benchmark(lambda: order.indices(next(steps)))
    assert len(np.unique(found)) == BATCH


class Held:
    """A batch that is its indices."""

    def __init__(self, indices, *_):
        self._indices = indices

    def result(self):
        """What was asked for."""
        return {"index": self._indices}


def stream_of(shuffle="global"):
    """Batches of which nothing is read."""
    order = Order(COUNT, BATCH, shuffle=shuffle, samples_per_shard=1024)
    return Batches(Held, order, [], digest="a:all:global", ahead=0)


@pytest.mark.parametrize("shuffle", ["global", "shard"])
def test_stream_of_batches(benchmark, shuffle):
    """What each step costs in a stream, which computes those of 4,096 samples together."""
    stream = stream_of(shuffle)
    benchmark.extra_info["peak_kB"] = peak_kb(lambda: [next(stream) for _ in range(256)])
    found = benchmark(lambda: [next(stream) for _ in range(TOGETHER)])
    assert len(np.unique(np.concatenate([b["index"] for b in found]))) == TOGETHER * BATCH
    if benchmark.stats is not None:
        us = 1e6 * benchmark.stats.stats.median / TOGETHER
        benchmark.extra_info["us_a_batch"] = round(us, 2)


def test_resuming_in_the_middle(benchmark):
    """A state is loaded and the next batch asked for; nothing is read."""
    stream = stream_of()
    state = stream.state_dict() | {"epoch": 5, "delivered": COUNT // 2}

    def resumed():
        stream.load_state_dict(state)
        return next(stream)

    benchmark.extra_info["peak_kB"] = peak_kb(resumed)
    assert len(benchmark(resumed)["index"]) == BATCH
