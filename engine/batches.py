"""A stream of batches in an order, with reads in flight, that can stop and go on anywhere.

What gives the samples is a function `begin(indices, names, out)`; a reader, several stores mixed
and the mill itself have one. The position counts batches that were handed over, never those in
flight, and has no rank in it: it goes on with other ranks and another batch size.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.access import Buffers, Pending
from voxelmill.engine.ahead import Ahead, Begin, How
from voxelmill.engine.convert import Convert
from voxelmill.engine.errors import StoreError
from voxelmill.engine.order import Order
from voxelmill.engine.recycled import Fresh
from voxelmill.engine.sample import Rows
from voxelmill.engine.state import State
from voxelmill.engine.steps import TOLD_AHEAD, Step, announced, planned

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


class Batches(Iterator[Batch]):
    """Batches of the order, epoch after epoch.

    begin:  begins to read the samples of a step; up to `ahead` more than asked for are under way.
    order:  of the first epoch; its `start` is where it begins.
    digest: "store:subset:order", what a state must agree with.
    epochs: how many are given before it stops; None: it never stops.
    out:    sets of buffers (batch, *shape) by name, filled in turn, so that fewer are read ahead
            than there are sets. A batch stays as it is while `len(out) - ahead - 1` more are
            asked for; of `Fresh` ones, as long as somebody holds it.
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
        out: Sequence[Buffers] | Fresh | None = None,
        rows: Mapping[str, int] | None = None,
        convert: Convert | None = None,
        expect: Callable[[NDArray[np.int64], Sequence[str]], None] | None = None,
        told: int = TOLD_AHEAD,
    ) -> None:
        _refuse_bad(order, ahead, epochs)
        self.order, self.names = order, list(names)
        self.digest, self._epochs = digest, epochs
        self.convert, self.rows = convert, dict(rows or {})
        if out is not None and not isinstance(out, Fresh):
            _refuse_buffers(out, order.batch)
            ahead = min(ahead, len(out) - 1)
        self._ahead, self._flight = ahead, Ahead(How(begin, self.names, out, convert), ahead)
        self._expect, self._told, self._reads_on = expect, told, False
        self._first = order.epoch
        self._at = (order.epoch, order.start)
        self._last: int | None = None  # the epoch before which it stops
        self._go_to(order.epoch, order.start)

    def __iter__(self) -> "Batches":
        """Itself; when the last batch was had, the next epochs."""
        if self._has_ended:
            if self._reads_on:
                self._last = self._end_of_run(self._at[0])
            else:
                self._go_to(*self._at)
        return self

    @property
    def at(self) -> tuple[int, int]:
        """Where it stands: epoch, and how many of its positions all ranks have had."""
        return self._at

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
        if self._flight.is_inherited:
            self._go_to(*self._at)
        while not self._has_ended:
            try:
                step, pending = self._flight.head()
                batch = None if pending is None else self._finished(step, pending)
            except BaseException:
                self._go_to(*self._at)
                raise
            self._at = step.after
            self._flight.took()
            if batch is not None:  # an uneven end may have nothing for this rank
                return batch
        raise StopIteration

    def read_on(self) -> None:
        """Begin each batch in a thread, and at an epoch's end also the next epoch's.

        For who goes on with that epoch by another `for`: neither does `next` begin anything then,
        nor does the next epoch's first batch take longer than others. Position and order are as
        ever; what was begun and is not asked for is thrown away.
        """
        self._reads_on = True
        self._flight.use_thread()
        self._go_to(*self._at)

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
        elif self._has_ended:
            iter(self)

    def close(self) -> None:
        """Wait for what is under way and forget it; the stream stands where it stood."""
        self._flight.wait()
        self._go_to(*self._at)

    def _state(self) -> State:
        return State(*self._at, self.order.seed, self.order.count, self.digest)

    @property
    def _has_ended(self) -> bool:
        """Whether it stops here, until another `for`."""
        return self._last is not None and self._at[0] >= self._last

    def _go_to(self, epoch: int, delivered: int) -> None:
        """Stand at a position of an epoch: nothing in flight, no step planned."""
        if delivered and not replace(self.order, epoch=epoch, start=delivered).steps:
            epoch, delivered = epoch + 1, 0
        self._at, self._last = (epoch, delivered), self._end_of_run(epoch)
        last = None if self._reads_on else self._last
        steps, expect, names = planned(self.order, epoch, delivered, last), self._expect, self.names
        if expect is not None:
            steps = announced(steps, lambda indices: expect(indices, names), self._told)
        self._flight.restart(steps)

    def _end_of_run(self, epoch: int) -> int | None:
        """The epoch before which it stops: the end of the run of `epochs` that `epoch` is in."""
        if self._epochs is None:
            return None
        return self._first + ((epoch - self._first) // self._epochs + 1) * self._epochs

    def _finished(self, step: Step, pending: Pending) -> Batch:
        convert = self._flight.how.convert_in(step.epoch)
        batch = finished(pending.result(), self.rows, convert)
        return batch if step.padded is None else batch | {"padded": step.padded}


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
