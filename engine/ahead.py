"""Batches that were begun and not handed over yet: by who asks for them, or in a thread.

It knows the steps and what begins them, and not where the stream stands.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.access import Buffers, Pending
from voxelmill.engine.convert import Convert
from voxelmill.engine.recycled import Fresh
from voxelmill.engine.steps import Step
from voxelmill.engine.threads import Pool, Work


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


class How(NamedTuple):
    """How batches are begun: see `Batches`."""

    begin: Begin
    names: Sequence[str]
    out: Sequence[Buffers] | Fresh | None
    convert: Convert | None

    def buffers(self, number: int, size: int) -> Buffers | None:
        """Those that batch `number`, of `size` samples, is read into; None: new arrays."""
        if self.out is None:
            return None
        chosen = self.out if isinstance(self.out, Fresh) else self.out[number % len(self.out)]
        return {name: buffer[:size] for name, buffer in chosen.items()}

    def convert_in(self, epoch: int) -> Convert | None:
        """The crops and scaling of an epoch."""
        return None if self.convert is None else replace(self.convert, epoch=epoch)


class Ahead:
    """Steps under way, in their order: the first and up to `most` more.

    What cannot be begun stands in the queue too, so that its error comes in its turn.
    """

    def __init__(self, how: How, most: int) -> None:
        self.how, self.most = how, most
        self._queue: deque[tuple[Step, Pending | None]] = deque()
        self._steps: Iterator[Step] = iter(())
        self._begun = self._taken = 0  # of those that have samples: they number the buffers
        self._thread: Pool | None = None  # of process `_pid`
        self._filling: Work | None = None  # by the thread
        self._pid = 0

    @property
    def is_inherited(self) -> bool:
        """Whether its thread has stayed in the process that this one was forked from."""
        return self._thread is not None and self._pid != os.getpid()

    def use_thread(self) -> None:
        """From now on begin in a thread, once a batch was handed over, not when one is due."""
        self._thread, self._filling, self._pid = Pool(1, "voxelmill-begin"), None, os.getpid()

    def head(self) -> tuple[Step, Pending | None]:
        """The first step, begun if it had to be; None in place of what has no samples."""
        if self._thread is None:
            self._fill(self.most + 1)
        elif not self._queue:
            self._settle()
            self._fill(max(1, self.most))
        return self._queue[0]

    def took(self) -> None:
        """The first step was handed over."""
        _, pending = self._queue.popleft()
        self._taken += pending is not None
        if self._thread is not None and self.most and (not self._filling or self._filling.done):
            self._filling = self._thread.begin([self._fill_most])

    def restart(self, steps: Iterator[Step]) -> None:
        """Forget what is under way and begin with `steps`."""
        self._settle()
        queue, self._queue = self._queue, deque()
        self._steps, self._begun = steps, self._taken  # the last batches keep their buffers
        out = self.how.out
        if out is not None and not isinstance(out, Fresh):  # they are still written into
            _wait(queue)

    def wait(self) -> None:
        """Until nothing is under way."""
        self._settle()
        _wait(self._queue)

    def _settle(self) -> None:
        """Let the thread end what it does."""
        if self.is_inherited:
            self.use_thread()
        if self._filling is not None:
            self._filling.wait()
            self._filling = None

    def _fill_most(self) -> None:
        self._fill(self.most)

    def _fill(self, most: int) -> None:
        """Have `most` steps under way."""
        while len(self._queue) < most:
            try:
                step = next(self._steps, None)
            except Exception as error:  # noqa: BLE001 - it is raised in its turn
                self._queue.append((_NO_STEP, _Failed(error)))
                return
            if step is None:
                return
            self._queue.append((step, self._pending(step) if step.indices.size else None))

    def _pending(self, step: Step) -> Pending:
        how = self.how
        try:
            out = how.buffers(self._begun, len(step.indices))
            self._begun += 1
            return how.begin(step.indices, how.names, out, how.convert_in(step.epoch))
        except Exception as error:  # noqa: BLE001 - it is raised in its turn
            return _Failed(error)


class _Failed:
    """A batch that could not be begun."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self) -> NoReturn:
        raise self._error


_NO_STEP = Step(np.empty(0, np.int64), None, 0, (0, 0))


def _wait(queue: "deque[tuple[Step, Pending | None]]") -> None:
    """Until nothing is under way; what has not begun (`begun` False) is not waited for."""
    for _, pending in queue:
        if pending is not None and getattr(pending, "begun", True):
            with suppress(Exception):  # nobody asks for it any more
                pending.result()
