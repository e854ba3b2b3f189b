"""How fast this machine copies random samples from memory into a batch: what a reader can reach."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.threads import Pool

_BUFFERS = 4  # as many as a reader has in flight


def gather_rate(
    arrays: Mapping[str, NDArray[Any]], batch: int, seconds: float = 1.0, threads: int = 2
) -> float:
    """Samples/s of copies, sample by sample in random order, into reused batches.

    arrays: (sample, ...) by name, in memory. The median over five parts of `seconds`.
    """
    pool = Pool(threads, "voxelmill-gather")
    count = len(next(iter(arrays.values())))
    buffers = [
        {name: np.zeros((batch, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        for _ in range(_BUFFERS)
    ]
    rng = np.random.default_rng(0)
    steps = [rng.integers(0, count, batch) for _ in range(64)]

    def one(number: int) -> None:
        out, picked = buffers[number % _BUFFERS], steps[number % len(steps)]
        parts = np.array_split(np.arange(batch), threads)
        pool.begin([partial(_copy, arrays, out, picked, part.tolist()) for part in parts]).wait()

    one(0)
    rates = []
    for _ in range(5):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 5:
            one(done)
            done += 1
        rates.append(done * batch / (time.perf_counter() - start))
    return float(np.median(rates))


def _copy(
    arrays: Mapping[str, NDArray[Any]],
    out: Mapping[str, NDArray[Any]],
    picked: NDArray[np.int64],
    part: list[int],
) -> None:
    for name, source in arrays.items():
        target = out[name]
        for place in part:
            np.copyto(target[place], source[picked[place]])
