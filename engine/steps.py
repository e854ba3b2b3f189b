"""The steps of a stream of batches: which samples each takes, and where the stream stands then."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.order import Order

TOLD_AHEAD = 16  # steps: what a cold disk needs to stream
_TOGETHER = 4096  # samples of which the order is computed in one call


class Step(NamedTuple):
    """One step of this rank; `after` is where the stream stands when it is handed over."""

    indices: NDArray[np.int64]
    padded: NDArray[np.bool_] | None
    epoch: int
    after: tuple[int, int]


def planned(order: Order, epoch: int, delivered: int, last: int | None = None) -> Iterator[Step]:
    """All steps from a position of an epoch on, up to the epoch `last`; None: without end."""
    while last is None or epoch < last:
        order = replace(order, epoch=epoch, start=delivered)
        for step, indices in _in_order(order):
            ended = step == order.steps - 1
            yield Step(
                indices,
                order.padded(step) if order.end == "pad" else None,
                epoch,
                (epoch + 1, 0) if ended else (epoch, order.delivered(step + 1)),
            )
        epoch, delivered = epoch + 1, 0


def announced(
    steps: Iterator[Step], tell: Callable[[NDArray[np.int64]], None], ahead: int
) -> Iterator[Step]:
    """The steps, each told to `tell` when it is `ahead` steps away."""
    waiting: deque[Step] = deque()
    for step in steps:
        tell(step.indices)
        waiting.append(step)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _in_order(order: Order) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each step with its samples; more and more steps are computed together."""
    step, together = 0, 1
    while step < order.steps:
        steps = range(step, min(step + together, order.steps))
        yield from zip(steps, order.many(steps), strict=True)
        step, together = steps.stop, min(2 * together, max(1, _TOGETHER // order.batch))
