"""What `voxelmill bench` measures: a store as it is read here, or a spec as it is made here."""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxelmill.engine.errors import StoreError
from voxelmill.engine.gather import gather_rate
from voxelmill.engine.reader import Reader, open_store
from voxelmill.engine.recycled import Recycled
from voxelmill.engine.sample import Field, Rows

_GATHERED_BYTES = 512 << 20  # more than any cache holds
_PARTS = 5


@dataclass(frozen=True)
class StoreFigures:
    """How a store is read: shuffled batches of `batch`, all fields, files as they lie in memory.

    first_batch_s: from opening to the first batch. first_epoch_per_s: samples/s of the first
    epoch, or of what of it fits, with its checks. samples_per_s, MB_per_s: afterwards.
    gather_per_s: of copying such samples from memory to memory; gather_share: of that.
    stalled_share: of the time of a trainer whose steps take step_ms, that it waits for batches.
    """

    store: str
    count: int
    batch: int
    sample_bytes: int
    first_batch_s: float
    first_epoch_per_s: float
    samples_per_s: float
    MB_per_s: float
    gather_per_s: float
    gather_share: float
    step_ms: float
    stalled_share: float


@dataclass(frozen=True)
class SpecFigures:
    """How a spec is made, in one process.

    samples_per_s: drawn, rendered, packed and written to `folder`, all four at once; stages:
    the ms that each works for a sample. loader_per_s: samples/s of `open_spec`, with no store.
    """

    recipe: str
    folder: str
    batch: int
    sample_bytes: int
    first_batch_s: float
    samples_per_s: float
    MB_per_s: float
    stages_ms: dict[str, float]
    loader_per_s: float


def bench_store(
    place: Any, batch: int = 32, seconds: float = 5.0, step_ms: float = 5.0
) -> StoreFigures:
    """Read the store at `place` for about `seconds`. batch: at most the samples that it has.

    Raises StoreError for what is no whole store, or damaged.
    """
    _refuse_bad(batch, seconds)
    start = time.perf_counter()
    reader = open_store(place)
    batch = min(batch, len(reader))
    next(reader.batches(batch))
    first_batch = time.perf_counter() - start
    first = open_store(place)  # as a process that has checked nothing yet
    first_rate = _rate(lambda: first.batches(batch, seed=1), batch, seconds / 5)
    rates = [_rate(_batches(first, batch, 2 + k), batch, seconds / 10) for k in range(_PARTS)]
    rate, limit = statistics.median(rates), _limit(reader, batch, seconds / 5)
    nbytes = _sample_bytes(reader)
    return StoreFigures(
        store=str(place),
        count=len(reader),
        batch=batch,
        sample_bytes=nbytes,
        first_batch_s=first_batch,
        first_epoch_per_s=first_rate,
        samples_per_s=rate,
        MB_per_s=rate * nbytes / 1e6,
        gather_per_s=limit,
        gather_share=rate / limit,
        step_ms=step_ms,
        stalled_share=_stalled(first, batch, step_ms / 1000, seconds / 5),
    )


def bench_spec(plan: Any, batch: int = 32, seconds: float = 5.0) -> SpecFigures:
    """Make samples of an opened `Plan` for about `seconds`, in a folder that is removed again."""
    from voxelmill.engine.mill import Clock, draw_batch, mill, render_batch
    from voxelmill.engine.store import create
    from voxelmill.engine.stream import Stream

    _refuse_bad(batch, seconds)
    job, start = plan.job(""), time.perf_counter()
    batch = min(batch, plan.description.count)
    render_batch(job, draw_batch(job, range(min(job.batch, plan.description.count))))
    first_batch = time.perf_counter() - start  # compiles kernels, or loads them
    stream = Stream(plan)
    loader = _rate(_batches(stream, batch, 0), batch, seconds / 2)
    nbytes = sum(f.nbytes for f in plan.description.fields if isinstance(f, Field))
    per_shard = max(job.batch, int(loader * seconds / 8) // job.batch * job.batch)
    per_shard = min(per_shard, plan.description.samples_per_shard)
    short = replace(plan.description, samples_per_shard=per_shard)
    folder = Path(tempfile.mkdtemp(prefix="voxelmill_bench_"))
    try:
        create(folder / "store.zarr", short)
        job = replace(job, path=folder / "store.zarr", description=short)
        clock, made = Clock(), [0]

        def count(samples: int, nbytes: int) -> None:
            made[0] += samples

        start = time.perf_counter()
        mill(job, _shards_until(short.shards, start + seconds / 2), count, clock)
        took = time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
    return SpecFigures(
        recipe=plan.description.recipe,
        folder=str(folder.parent),
        batch=batch,
        sample_bytes=nbytes,
        first_batch_s=first_batch,
        samples_per_s=made[0] / took,
        MB_per_s=made[0] / took * nbytes / 1e6,
        stages_ms={stage: 1000 * s / made[0] for stage, s in clock.seconds.items()},
        loader_per_s=loader,
    )


def to_json(figures: StoreFigures | SpecFigures) -> dict[str, Any]:
    """The figures with their units in their names, and on what they were measured."""
    machine = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2)}
    return {name: _rounded(value) for name, value in (asdict(figures) | machine).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _refuse_bad(batch: int, seconds: float) -> None:
    if batch < 1 or not seconds > 0:
        raise StoreError(f"batch {batch} must be 1 or more, and seconds {seconds} above 0")


def _batches(reader: Reader, batch: int, seed: int) -> Callable[[], Iterator[Any]]:
    return lambda: reader.batches(batch, seed=seed, epochs=None)


def _rate(batches: Callable[[], Iterator[Any]], batch: int, seconds: float) -> float:
    """Samples/s over at least one batch and about `seconds`."""
    start, done = time.perf_counter(), 0
    for _ in batches():
        done += batch
        if time.perf_counter() - start >= seconds:
            break
    return done / (time.perf_counter() - start)


def _stalled(reader: Reader, batch: int, step_s: float, seconds: float) -> float:
    """The share of time waited for batches, after the first one, between steps of `step_s`.

    They are read as `engine.to_torch` reads them.
    """
    dense = [f for f in reader.fields.values() if isinstance(f, Field)]
    out: Any = Recycled({f.name: ((batch, *f.shape), np.dtype(f.dtype)) for f in dense})
    found, waited = reader.batches(batch, seed=9, epochs=None, out=out), 0.0
    found.read_on()
    next(found)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        time.sleep(step_s)
        asked = time.perf_counter()
        next(found)
        waited += time.perf_counter() - asked
    return waited / (time.perf_counter() - start)


def _limit(reader: Reader, batch: int, seconds: float) -> float:
    """The gather from memory of samples like these."""
    count = max(batch, _GATHERED_BYTES // max(1, _sample_bytes(reader)))
    count = min(count, max(batch, len(reader)))
    sample = {
        k: np.asarray(v) for k, v in reader[0].items() if isinstance(reader.fields.get(k), Field)
    }
    arrays = {name: np.repeat(a[None], count, 0) for name, a in sample.items()}
    return gather_rate(arrays, batch, seconds) if arrays else float("nan")


def _sample_bytes(reader: Reader) -> int:
    """Of one sample in a batch; rows by the first ones."""
    first = reader.start(np.arange(min(32, len(reader)))).result()
    arrays = [v.values if isinstance(v, Rows) else v for k, v in first.items() if k != "index"]
    return sum(a.nbytes for a in arrays) // min(32, len(reader))


def _shards_until(shards: int, end: float) -> Iterator[int]:
    """Shards from the first on, and from the first again, until the clock says `end`."""
    shard = 0
    while shard == 0 or time.perf_counter() < end:
        yield shard % shards
        shard += 1
