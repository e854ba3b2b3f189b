"""A stream of batches in an order, with reads in flight, that can stop and go on anywhere.

What gives the samples is a function `begin(indices, names, out)`; a reader, several stores mixed
and the mill itself have one. The position counts batches that were handed over, never those in
flight, and has no rank in it: it goes on with other ranks and another batch size.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.access import Buffers, Pending
from voxelmill.engine.convert import Convert
from voxelmill.engine.errors import StoreError, VoxelmillError
from voxelmill.engine.order import Order
from voxelmill.engine.sample import Rows
from voxelmill.engine.state import State

__all__ = [
    "TOLD_AHEAD",
    "Batch",
    "Batches",
    "Begin",
    "Buffers",
    "Pending",
    "finished",
    "padded_rows",
]

Batch = dict[str, Any]
TOLD_AHEAD = 16  # steps: what a cold disk needs to stream
_TOGETHER = 4096  # samples of which the order is computed in one call


class Begin(Protocol):
    """What begins to read a batch; see `Batches`."""

    def __call__(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """Begin with the samples `indices`; `out` arrays (sample, *shape) are filled in place."""


class _Step(NamedTuple):
    """One step of this rank; `after` is where the stream stands when it is handed over."""

    indices: NDArray[np.int64]
    padded: NDArray[np.bool_] | None
    epoch: int
    after: tuple[int, int]


class Batches(Iterator[Batch]):
    """Batches of the order, epoch after epoch.

    begin:  begins to read the samples of a step; up to `ahead` more than asked for are under way.
    order:  of the first epoch; its `start` is where it begins.
    digest: "store:subset:order", what a state must agree with.
    epochs: how many are given before it stops; None: it never stops.
    out:    sets of buffers (batch, *shape) by name, filled in turn, so that fewer are read ahead
            than there are sets. A batch stays as it is while `len(out) - ahead - 1` more are
            asked for.
    rows:   field -> how many rows of it a sample has room for: (sample, rows, column) instead of
            `Rows`, zeros behind, and "<field>_count" with how many rows of the sample are in it.
            Those for which there is no room are left out.
    convert: crops and scaling, for the epoch of each step. Where it crops, a batch has "crop",
            (sample, axis) int64: where each crop begins, the axes as in `convert.crop`.
    expect: is told what will be read `told` steps on, so that a cold disk begins with it.

    With end="pad" each batch has "padded", (sample,) bool. When it has stopped, or a loop over it
    was left, another `for` goes on where it stands: behind a whole epoch with the next, also when
    its last batch was taken by `next` and its end was not met.
    """

    def __init__(
        self,
        begin: Begin,
        order: Order,
        names: Sequence[str],
        *,
        digest: str,
        ahead: int = 4,
        epochs: int | None = 1,
        out: Sequence[Buffers] | None = None,
        rows: Mapping[str, int] | None = None,
        convert: Convert | None = None,
        expect: Callable[[NDArray[np.int64], Sequence[str]], None] | None = None,
        told: int = TOLD_AHEAD,
    ) -> None:
        _refuse_bad(order, ahead, epochs)
        self.order, self.names = order, list(names)
        self._begin, self.digest, self._epochs = begin, digest, epochs
        self.convert, self.rows = convert, dict(rows or {})
        self._out = list(out) if out is not None else None
        if self._out is not None:
            _refuse_buffers(self._out, order.batch)
            ahead = min(ahead, len(self._out) - 1)
        self._ahead, self._expect = ahead, expect
        self._told_ahead = told if expect is not None else 0
        self._first = order.epoch
        self._last: int | None = None  # the epoch before which it stops
        self._queue: deque[tuple[_Step, Pending | None]] = deque()
        self._told: deque[_Step] = deque()
        self._stopped = False
        self._go_to(order.epoch, order.start)

    def __iter__(self) -> "Batches":
        """Itself; when it had stopped, or the last batch was had, the next epochs."""
        if self._stopped or (self._last is not None and self._at[0] >= self._last):
            self._go_to(*self._at)
        return self

    def __repr__(self) -> str:
        """What it gives, and where it stands."""
        o, (epoch, delivered) = self.order, self._at
        return (
            f"Batches({o.count} samples, {o.batch} a batch, rank {o.rank} of {o.ranks}, "
            f"shuffle={o.shuffle!r}, seed={o.seed}, end={o.end!r}, fields={self.names}, "
            f"at {delivered} of epoch {epoch})"
        )

    def __len__(self) -> int:
        """The batches of one whole epoch, also when it goes on in the middle of one.

        With end="uneven" the last may be missing on some ranks.
        """
        return replace(self.order, start=0).steps

    def __next__(self) -> Batch:
        """The next batch. Raises StoreError for what is missing or damaged; then it stands still.

        Called again after an error, it tries the same batch again.
        """
        while not self._stopped:
            self._fill()
            if not self._queue:
                self._stopped = True
                break
            step, pending = self._queue[0]
            if pending is None:  # an uneven end has nothing for this rank
                self._at = step.after
                self._queue.popleft()
                continue
            try:
                batch = finished(pending.result(), self.rows, self._convert_in(step.epoch))
                if step.padded is not None:
                    batch["padded"] = step.padded
            except BaseException:
                self._go_to(*self._at)
                raise
            self._queue.popleft()
            self._at = step.after
            return batch
        raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: epoch, delivered, seed, count and digest; plain numbers and a str.

        It counts what was handed over, for all ranks: each rank has the same after the same step.
        Behind the last batch of an epoch it is the start of the next.
        """
        return asdict(self._state())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, also on other ranks and with another batch size.

        Costs nothing. Raises StoreError, saying what differs, for a state of another store,
        subset, order or seed.
        """
        wanted = State.of(state)
        if lines := self._state().differences(wanted):
            raise StoreError(
                "the state does not fit these batches: "
                + "; ".join(lines)
                + "; open the same store, with the same subset, order and seed"
            )
        if wanted.delivered > wanted.count:
            raise StoreError(
                f"the state has had {wanted.delivered} of {wanted.count} samples, which cannot be"
            )
        self._go_to(wanted.epoch, wanted.delivered)

    def set_epoch(self, epoch: int) -> None:
        """Begin with `epoch`. In that epoch already, it stays where it stands, as when resumed."""
        if epoch != self._at[0]:
            self._first = epoch
            self._go_to(epoch, 0)

    def close(self) -> None:
        """Wait for what is under way and forget it; the stream stands where it stood."""
        _wait(self._queue)
        self._go_to(*self._at)

    def _state(self) -> State:
        return State(*self._at, self.order.seed, self.order.count, self.digest)

    def _go_to(self, epoch: int, delivered: int) -> None:
        """Stand at a position of an epoch: nothing in flight, no step planned."""
        queue, self._queue = self._queue, deque()
        self._told.clear()
        if self._out is not None:  # what is under way still writes into the buffers
            _wait(queue)
        if delivered and not replace(self.order, epoch=epoch, start=delivered).steps:
            epoch, delivered = epoch + 1, 0
        self._at = (epoch, delivered)
        self._stopped, self._begun, self._last = False, 0, None
        if self._epochs is not None:
            self._last = self._first + ((epoch - self._first) // self._epochs + 1) * self._epochs
        self._steps = self._planned(epoch, delivered, self._last)

    def _planned(self, epoch: int, delivered: int, last: int | None) -> Iterator[_Step]:
        """All steps from a position on, to the end of the run of `epochs` that it is in."""
        while last is None or epoch < last:
            order = replace(self.order, epoch=epoch, start=delivered)
            for step, indices in _in_order(order):
                ended = step == order.steps - 1
                yield _Step(
                    indices,
                    order.padded(step) if order.end == "pad" else None,
                    epoch,
                    (epoch + 1, 0) if ended else (epoch, order.delivered(step + 1)),
                )
            epoch, delivered = epoch + 1, 0

    def _fill(self) -> None:
        """Have the next batch and `ahead` more under way."""
        while len(self._queue) <= self._ahead:
            step = self._next_step()
            if step is None:
                return
            pending = None
            if step.indices.size:
                out, convert = self._buffers(len(step.indices)), self._convert_in(step.epoch)
                pending = self._begin(step.indices, self.names, out, convert)
                self._begun += 1
            self._queue.append((step, pending))

    def _next_step(self) -> _Step | None:
        """The next step to begin, after telling of those that come behind it."""
        while len(self._told) <= self._told_ahead and (step := next(self._steps, None)) is not None:
            if self._expect is not None:
                self._expect(step.indices, self.names)
            self._told.append(step)
        return self._told.popleft() if self._told else None

    def _convert_in(self, epoch: int) -> Convert | None:
        return None if self.convert is None else replace(self.convert, epoch=epoch)

    def _buffers(self, size: int) -> Buffers | None:
        if self._out is None:
            return None
        chosen = self._out[self._begun % len(self._out)]
        return {name: buffer[:size] for name, buffer in chosen.items()}


def _wait(queue: deque[tuple[_Step, Pending | None]]) -> None:
    """Until nothing is under way; what has not begun (`begun` False) is not waited for."""
    for _, pending in queue:
        if pending is not None and getattr(pending, "begun", True):
            with suppress(VoxelmillError):
                pending.result()


def _in_order(order: Order) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each step with its samples; more and more steps are computed together."""
    step, together = 0, 1
    while step < order.steps:
        steps = range(step, min(step + together, order.steps))
        yield from zip(steps, order.many(steps), strict=True)
        step, together = steps.stop, min(2 * together, max(1, _TOGETHER // order.batch))


def finished(batch: Batch, rows: Mapping[str, int], convert: Convert | None) -> Batch:
    """A batch that was read, with the fields of `rows` padded and "crop": see `Batches`."""
    whole = dict(batch)
    for name, room in rows.items():
        if name in whole:
            whole[name], whole[f"{name}_count"] = padded_rows(whole[name], room)
    if convert is not None and convert.crop:
        whole["crop"] = convert.offsets(whole["index"])
    return whole


def padded_rows(rows: Rows, room: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(sample, room, column) with zeros behind the rows, and how many of each sample are in it.

    Rows for which there is no room are left out, and not counted.
    """
    counts = np.diff(rows.starts)
    out = np.zeros((len(counts), room, *rows.values.shape[1:]), rows.values.dtype)
    sample = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(sample)) - np.repeat(rows.starts[:-1] - rows.starts[0], counts)
    fits = row < room
    out[sample[fits], row[fits]] = rows.values[fits]
    return out, np.minimum(counts, room)


def _refuse_bad(order: Order, ahead: int, epochs: int | None) -> None:
    if ahead < 0 or (epochs is not None and epochs < 1):
        raise ValueError(f"ahead {ahead} must be 0 or more, and epochs {epochs} 1 or more or None")
    if epochs is None and order.end == "uneven" and order.count < order.ranks:
        raise ValueError(
            f"{order.count} samples for {order.ranks} ranks: some would wait for "
            'ever; take end="pad"'
        )
    if not replace(order, start=0).steps:
        raise ValueError(
            f"{order.count} samples are no batch of {order.batch} for each of {order.ranks} ranks; "
            'take smaller batches, or end="uneven" or end="pad"'
        )


def _refuse_buffers(out: Sequence[Buffers], batch: int) -> None:
    if not out:
        raise ValueError("out= needs at least one set of buffers")
    for buffers in out:
        for name, buffer in buffers.items():
            if len(buffer) < batch:
                raise ValueError(f"the buffer of {name!r} has room for {len(buffer)} of {batch}")
