"""Spec -> store, shard by shard: draw, render, pack and write overlap in four threads.

Between two stages stands a channel bounded in bytes, so that a slow disk stops the kernels and
memory does not grow. Only the caller's thread runs parallel kernels (Numba's threading layers die
when two do). A sample's content depends on none of this: see DESIGN, contracts 1 and 4.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voxelmill.engine.channel import Channel, Stopped
from voxelmill.engine.description import Description
from voxelmill.engine.device_class import device_class, versions
from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.encode import check_batch, encode
from voxelmill.engine.errors import RecipeError
from voxelmill.engine.params import param_rows
from voxelmill.engine.recipes import Recipe
from voxelmill.engine.sample import Field, Rows
from voxelmill.engine.writer import ShardWriter

DRAWN_BATCHES = 2  # ahead of the kernels; few, or one worker would take the shards of all
CHANNEL_BYTES = 64 << 20
BATCH_BYTES = 48 << 20
MOST_A_BATCH = 32


@dataclass
class Job:
    """All that a process needs to make shards of a store."""

    path: Any
    recipe: Recipe
    ranges: Any
    seed: int
    inputs: Any
    description: Description
    batch: int


@dataclass
class Clock:
    """Seconds that each stage worked, not waited; for `bench` and for reports."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` and add its time to `stage`."""
        start = time.perf_counter()
        result = function(*args)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
        return result


def batch_size(fields: Iterable[Any]) -> int:
    """Samples rendered at once: as many as fit 48 MiB of output, at most 32."""
    nbytes = sum(f.nbytes for f in fields if isinstance(f, Field))
    return max(1, min(MOST_A_BATCH, BATCH_BYTES // max(1, nbytes)))


def draw_batch(job: Job, indices: Iterable[int]) -> list[Draw[Any]]:
    """The draws of the samples `indices`."""
    streams = [Stream(job.seed, i) for i in indices]
    return [Draw(job.recipe.draw(job.ranges, s, job.inputs), s) for s in streams]


# One thread of a process at a time: where Numba has neither TBB nor OpenMP, two that call parallel
# kernels at once end the process.
_rendering = threading.Lock()


def render_batch(job: Job, draws: Sequence[Draw[Any]]) -> dict[str, Any]:
    """The arrays of a micro-batch. Raises RecipeError where they are not what `fields` declares."""
    with _rendering:
        arrays = job.recipe.render(job.ranges, draws, job.inputs, np)
    try:
        samples = check_batch(job.description, arrays)
        if samples != len(draws):
            raise ValueError(f"{samples} samples came for {len(draws)} draws")
    except (ValueError, TypeError) as error:
        raise RecipeError(
            f"recipe {job.description.recipe}: render does not give what fields declares: {error}"
        ) from error
    return dict(arrays)


def mill(
    job: Job,
    shards: Iterable[int],
    made: Callable[[int, int], None] = lambda samples, nbytes: None,
    clock: Clock | None = None,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Make and commit `shards`, in their order.

    made(samples, bytes) is called from the writing thread as samples are written; begun() from the
    caller's after each rendered batch, the first of which has the kernels compiled. A stage that
    ends, for whatever reason, stops the one before it and lets those behind it finish what they
    have: after an error or Ctrl-C, shards that were rendered whole are still committed, and the
    one in hand is removed. The first error is raised here.
    """
    clock = clock or Clock()
    drawn, rendered, packed = Channel(DRAWN_BATCHES), Channel(CHANNEL_BYTES), Channel(CHANNEL_BYTES)
    errors: list[BaseException] = []

    def drawing() -> None:
        for shard, indices, last in _batches(job, shards):
            drawn.put((shard, clock.timed("draw", draw_batch, job, indices), last), 1)

    def rendering() -> None:
        for shard, draws, last in drawn:
            arrays = clock.timed("render", render_batch, job, draws)
            params = param_rows(job.description.columns, draws, job.inputs)
            begun()
            rendered.put((shard, arrays, params, last), _nbytes(arrays))

    def packing() -> None:
        for shard, arrays, params, last in rendered:
            encoded = clock.timed("pack", encode, job.description, arrays)
            packed.put((shard, encoded, params, last), encoded.nbytes)

    def writing() -> None:
        _write(job, packed, made, clock)

    def run(work: Callable[[], None], source: Channel | None, target: Channel | None) -> None:
        try:
            work()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)
        finally:
            if source is not None:
                source.abort()
            if target is not None:
                target.close()

    others = ((drawing, None, drawn), (packing, rendered, packed), (writing, packed, None))
    threads = [threading.Thread(target=run, args=stage, daemon=True) for stage in others]
    for thread in threads:
        thread.start()
    run(rendering, drawn, rendered)
    _join(threads, errors)
    if errors:
        raise errors[0]


def _join(threads: Sequence[threading.Thread], errors: list[BaseException]) -> None:
    """Wait for what is still being written, also after a first Ctrl-C; not after a second."""
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt as stop:
                if errors:
                    raise
                errors.append(stop)


def _batches(job: Job, shards: Iterable[int]) -> Iterator[tuple[int, range, bool]]:
    """(shard, indices, is its last) of all micro-batches."""
    for shard in shards:
        first = shard * job.description.samples_per_shard
        stop = first + job.description.samples_in(shard)
        for start in range(first, stop, job.batch):
            yield shard, range(start, min(start + job.batch, stop)), start + job.batch >= stop


def _nbytes(arrays: dict[str, Any]) -> int:
    return sum(a.values.nbytes if isinstance(a, Rows) else a.nbytes for a in arrays.values())


def _write(job: Job, packed: Iterable[Any], made: Callable[[int, int], None], clock: Clock) -> None:
    writer: ShardWriter | None = None
    try:
        for shard, encoded, params, last in packed:
            if writer is None:
                writer = ShardWriter(
                    job.path,
                    job.description,
                    shard,
                    device_class=device_class(),
                    versions=versions(),
                )
                start = time.monotonic()
            clock.timed("write", writer.append, encoded, params)
            made(len(params), encoded.nbytes)
            if last:
                clock.timed("write", writer.commit, time.monotonic() - start)
                writer = None
    finally:
        if writer is not None:
            writer.abandon()
