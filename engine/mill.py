"""Spec -> store, shard by shard: draw, render, pack and write overlap in four threads.

Between two stages stands a channel bounded in bytes, so that a slow disk stops the kernels and
memory does not grow. Only the caller's thread runs parallel kernels (Numba's threading layers die
when two do). A sample's content depends on none of this: see DESIGN, contracts 1 and 4.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.recipes import Recipe
from voxelmill.engine.sample import Column, Field, Rows, columns_of
from voxelmill.engine.store import Description
from voxelmill.engine.writer import ShardWriter, encode

CHANNEL_BYTES = 96 << 20
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


class Stopped(Exception):
    """Another stage failed, or the caller asked to stop."""


class Channel:
    """A queue of (item, bytes) that holds at most `limit` bytes, or one item."""

    def __init__(self, limit: int = CHANNEL_BYTES) -> None:
        self._limit, self._held = limit, 0
        self._items: deque[tuple[Any, int]] = deque()
        self._changed = threading.Condition()
        self._closed = self._broken = False

    def put(self, item: Any, nbytes: int) -> None:
        """Wait for room, then add. Raises Stopped when the channel is broken."""
        with self._changed:
            while self._items and self._held + nbytes > self._limit and not self._broken:
                self._changed.wait()
            if self._broken:
                raise Stopped
            self._items.append((item, nbytes))
            self._held += nbytes
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake all who wait, with Stopped."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        while True:
            with self._changed:
                while not self._items and not self._closed and not self._broken:
                    self._changed.wait()
                if self._broken:
                    raise Stopped
                if not self._items:
                    return
                item, nbytes = self._items.popleft()
                self._held -= nbytes
                self._changed.notify_all()
            yield item


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


ENGINE_COLUMNS = (Column("sample", "1", "the sample's own number"),)


def param_columns(recipe: Recipe, inputs: Any) -> tuple[Column, ...]:
    """The columns of `params`: the sample's number, what its input is, then the recipe's."""
    own = columns_of(recipe.Params)
    if inputs is None:
        return (*ENGINE_COLUMNS, *own)
    subjects = tuple(sorted(set(inputs.subjects)))
    return (
        *ENGINE_COLUMNS,
        Column("input", "1", "the input's id", tuple(inputs.ids)),
        Column("subject", "1", "the input's subject", subjects),
        Column("devices", "1", "1: the input is known to show devices of its own"),
        *(c for c in own if c.name != "input"),
    )


def param_rows(
    columns: Sequence[Column], draws: Sequence[Draw[Any]], inputs: Any
) -> NDArray[np.float64]:
    """The rows of `params` for `draws`, (sample, column)."""
    rows = np.empty((len(draws), len(columns)))
    codes = {}
    if inputs is not None:
        subject = next(c.categories for c in columns if c.name == "subject")
        codes = {name: i for i, name in enumerate(subject)}
    for row, one in zip(rows, draws, strict=True):
        known: dict[str, float] = {"sample": one.stream.index}
        if inputs is not None:
            i = one.params.input
            known |= {"subject": codes[inputs.subjects[i]], "devices": float(inputs.devices[i])}
        row[:] = [
            known[c.name] if c.name in known else getattr(one.params, c.name) for c in columns
        ]
    return rows


def draw_batch(job: Job, indices: Iterable[int]) -> list[Draw[Any]]:
    """The draws of the samples `indices`."""
    streams = [Stream(job.seed, i) for i in indices]
    return [Draw(job.recipe.draw(job.ranges, s, job.inputs), s) for s in streams]


def render_batch(job: Job, draws: Sequence[Draw[Any]]) -> dict[str, Any]:
    """The arrays of a micro-batch, checked against the fields that the recipe declares."""
    arrays = job.recipe.render(job.ranges, draws, job.inputs, np)
    declared = {f.name for f in job.description.fields}
    if set(arrays) != declared:
        raise TypeError(
            f"{job.description.recipe}: render gave {sorted(arrays)}, but fields() declares "
            f"{sorted(declared)}"
        )
    return dict(arrays)


def mill(
    job: Job,
    shards: Iterable[int],
    made: Callable[[int, int], None] = lambda samples, nbytes: None,
    committed: Callable[[int], None] = lambda shard: None,
    clock: Clock | None = None,
) -> None:
    """Make and commit `shards`, in their order.

    made(samples, bytes) is called as samples are written, committed(shard) after a commit; both
    from the writing thread. Whatever fails or interrupts, what is committed stays, and the shard in
    hand leaves nothing behind but, after a kill, temporary files that the next run removes.
    """
    clock = clock or Clock()
    drawn, rendered, packed = Channel(16 << 20), Channel(), Channel()
    channels, errors = (drawn, rendered, packed), []

    def stage(work: Callable[[], None], then: Channel | None) -> threading.Thread:
        def run() -> None:
            try:
                work()
                if then is not None:
                    then.close()
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                errors.append(error)
                for channel in channels:
                    channel.abort()

        thread = threading.Thread(target=run, name=work.__name__, daemon=True)
        thread.start()
        return thread

    def drawing() -> None:
        for shard, indices, last in _batches(job, shards):
            draws = clock.timed("draw", draw_batch, job, indices)
            drawn.put((shard, draws, last), 4096 * len(draws))

    def rendering() -> None:
        for shard, draws, last in drawn:
            arrays = clock.timed("render", render_batch, job, draws)
            params = param_rows(job.description.columns, draws, job.inputs)
            rendered.put((shard, arrays, params, last), _nbytes(arrays))
        rendered.close()

    def packing() -> None:
        for shard, arrays, params, last in rendered:
            encoded = clock.timed("pack", encode, job.description, arrays)
            packed.put((shard, encoded, params, last), encoded.nbytes)

    def writing() -> None:
        _write(job, packed, made, committed, clock)

    threads = [stage(drawing, drawn), stage(packing, packed), stage(writing, None)]
    try:
        rendering()
    except Stopped:
        pass
    except BaseException:
        for channel in channels:
            channel.abort()
        raise
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def _batches(job: Job, shards: Iterable[int]) -> Iterator[tuple[int, range, bool]]:
    """(shard, indices, is its last) of all micro-batches."""
    for shard in shards:
        first = shard * job.description.samples_per_shard
        stop = first + job.description.samples_in(shard)
        for start in range(first, stop, job.batch):
            yield shard, range(start, min(start + job.batch, stop)), start + job.batch >= stop


def _nbytes(arrays: dict[str, Any]) -> int:
    return sum(a.values.nbytes if isinstance(a, Rows) else a.nbytes for a in arrays.values())


def _write(
    job: Job,
    packed: Iterable[Any],
    made: Callable[[int, int], None],
    committed: Callable[[int], None],
    clock: Clock,
) -> None:
    writer: ShardWriter | None = None
    try:
        for shard, encoded, params, last in packed:
            if writer is None:
                writer, start = ShardWriter(job.path, job.description, shard), time.monotonic()
            clock.timed("write", writer.append, encoded, params)
            made(len(params), encoded.nbytes)
            if last:
                clock.timed("write", writer.commit, time.monotonic() - start)
                writer = None
                committed(shard)
    finally:
        if writer is not None:
            writer.abandon()
