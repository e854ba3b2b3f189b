"""How well orders shuffle: ours beside those of the loaders that a trainer could take instead.

    python benchmarks/shuffle_quality.py

Prints the table of docs/order.md. The peers' own code makes their orders (mosaicml-streaming's
py1e, webdataset's buffer, PyTorch's DistributedSampler); one that is not installed is left out.
"""

import importlib.util
import random
import sys
import time
import tracemalloc
import types
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.order import Order

SHARD, SHARDS, BATCH = 1024, 1024, 64
COUNT = SHARD * SHARDS
Indices = NDArray[np.int64]


def ours(shuffle: str, window: int = 16) -> Callable[[int], Indices]:
    """An order of voxelmill: epoch -> all samples."""

    def epoch_order(epoch: int) -> Indices:
        order = Order(
            COUNT, COUNT, epoch=epoch, shuffle=shuffle, window=window, samples_per_shard=SHARD
        )
        return order.indices(0)

    return epoch_order


def webdataset_buffer(epoch: int) -> Indices:
    """Shards permuted, then a buffer of 1,000 samples, as `shardshuffle` and `.shuffle(1000)`."""
    from webdataset.filters import _shuffle

    rng = random.Random(epoch)
    shards = list(range(SHARDS))
    rng.shuffle(shards)
    samples = (s * SHARD + i for s in shards for i in range(SHARD))
    return np.fromiter(_shuffle(samples, bufsize=1000, initial=1000, rng=rng), np.int64)


def streaming_py1e(epoch: int, block: int = 1 << 18) -> Indices:
    """mosaicml-streaming's default, on one canonical node."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = np.full(SHARDS, SHARD)
        order = py1e_module().get_shuffle_py1e(sizes, 1, 9176, epoch, block)
    return np.asarray(order, np.int64)


@cache
def py1e_module() -> Any:
    """Its module alone: the packages around it import much, and a shuffle needs NumPy only."""
    spec = importlib.util.find_spec("streaming")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("mosaicml-streaming")
    folder = spec.submodule_search_locations[0]
    for inside in ("", "/base", "/base/shuffle"):
        package = types.ModuleType(f"streaming{inside}".replace("/", "."))
        package.__path__ = [folder + inside]
        sys.modules[package.__name__] = package
    return importlib.import_module("streaming.base.shuffle.py1e")


def distributed_sampler(epoch: int) -> Indices:
    """PyTorch's DistributedSampler: a permutation held as a list."""
    from torch.utils.data import DistributedSampler

    sampler = DistributedSampler(range(COUNT), num_replicas=1, rank=0, shuffle=True)
    sampler.set_epoch(epoch)
    return np.fromiter(sampler, np.int64)


def measures(a: Indices, b: Indices) -> list[float]:
    """The columns of the table, of the orders of two epochs; 1 is what pure chance gives."""
    place = np.arange(COUNT)
    displacement = np.abs(a - place).mean() / (COUNT / 3)
    order_kept = abs(np.corrcoef(a, place)[0, 1])
    shard = a // SHARD
    same = np.mean(shard[1:] == shard[:-1]) / ((SHARD - 1) / (COUNT - 1))
    batches = np.sort(shard.reshape(-1, BATCH))
    distinct = 1 + (np.diff(batches) > 0).sum(1).mean()
    drift = (a.reshape(-1, BATCH) / COUNT).mean(1).std() / np.sqrt(1 / 12 / BATCH)
    batch_of = np.empty((2, COUNT), np.int64)
    for k, order in enumerate((a, b)):
        batch_of[k, order] = place // BATCH
    met = batch_of[0] * (COUNT // BATCH) + batch_of[1]
    together = np.unique(met, return_counts=True)[1]  # samples in one batch in both epochs
    chance = COUNT * (BATCH - 1) / 2 * (BATCH - 1) / (COUNT - 1)
    again = (together * (together - 1) / 2).sum() / chance
    return [displacement, order_kept, same, distinct, drift, again]


def main() -> None:
    """Print the table."""
    cases: dict[str, Callable[[int], Indices]] = {
        'voxelmill `shuffle=True` ("global")': ours("global"),
        'voxelmill "shard", window 16': ours("shard"),
        'voxelmill "shard", window 64': ours("shard", 64),
        "mosaicml-streaming py1e, block 2^18": streaming_py1e,
        "mosaicml-streaming py1e, block 2^16": lambda e: streaming_py1e(e, 1 << 16),
        "mosaicml-streaming py1e, block 2^14": lambda e: streaming_py1e(e, 1 << 14),
        "webdataset, buffer 1,000": webdataset_buffer,
        "PyTorch DistributedSampler": distributed_sampler,
        "none": ours("none"),
    }
    print(
        "| order | displacement | order kept | same shard next | shards in a batch "
        "| drift of batches | batchmates again | one epoch's order |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, order in cases.items():
        try:
            order(2)
        except ImportError as error:
            print(f"| {name} | not installed: {error} | | | | | | |")
            continue
        start = time.perf_counter()
        a = order(0)
        seconds = time.perf_counter() - start
        row = measures(a, order(1))
        assert (np.sort(a) == np.arange(COUNT)).all()
        cells = [f"{row[0]:.3f}", f"{row[1]:.4f}", f"{row[2]:.2f}", f"{row[3]:.1f}"]
        cells += [f"{row[4]:.2f}", f"{row[5]:.1f}", f"{seconds:.2f} s"]
        print(f"| {name} | {' | '.join(cells)} |")
    print_cost()


def print_cost() -> None:
    """Memory and time of one batch's order at 10^9 samples."""
    for shuffle in ("global", "shard"):
        tracemalloc.start()
        order = Order(10**9, BATCH, shuffle=shuffle, samples_per_shard=SHARD)
        order.indices(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        times = []
        for step in range(1, 400):
            start = time.perf_counter()
            order.indices(step)
            times.append(time.perf_counter() - start)
        print(f"{shuffle}: {np.median(times) * 1e6:.0f} us a batch, {peak / 1000:.0f} kB at 10^9")


if __name__ == "__main__":
    main()
