"""Time of the order of one batch of 64 at 10^9 samples, and of a state that is loaded there.

python -m pytest benchmarks/test_order.py --benchmark-enable
"""

import itertools
import tracemalloc

import numpy as np
import pytest

from voxelmill.engine.batches import Batches
from voxelmill.engine.order import Order

COUNT, BATCH = 10**9, 64


@pytest.mark.parametrize("shuffle", ["global", "shard"])
def test_order_of_a_batch(benchmark, shuffle):
    """What each step costs."""
    tracemalloc.start()
    order = Order(COUNT, BATCH, seed=1, rank=3, ranks=8, shuffle=shuffle, samples_per_shard=1024)
    order.indices(0)
    benchmark.extra_info["peak_bytes"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    steps = itertools.count(1)
    found = benchmark(lambda: order.indices(next(steps)))
    assert len(np.unique(found)) == BATCH


def test_resuming_in_the_middle(benchmark):
    """A state is loaded and the next batch asked for; nothing is read."""

    class Held:
        def __init__(self, indices):
            self.indices = indices

        def result(self):
            return {"index": self.indices}

    stream = Batches(
        lambda indices, *_: Held(indices), Order(COUNT, BATCH), [], digest="a:all:global", ahead=0
    )
    state = stream.state_dict() | {"epoch": 5, "delivered": COUNT // 2}

    def resumed():
        stream.load_state_dict(state)
        return next(stream)

    assert len(benchmark(resumed)["index"]) == BATCH
