"""Batches on their way through the two threads that make samples: one draws, one renders."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.batches import Batch, Buffers
from voxelmill.engine.convert import Convert
from voxelmill.engine.draw import Draw
from voxelmill.engine.errors import VoxelmillError
from voxelmill.engine.in_flight import InFlight
from voxelmill.engine.mill import Job, draw_batch, render_batch
from voxelmill.engine.params import param_rows
from voxelmill.engine.sample import Field, Rows
from voxelmill.engine.threads import Pool, Work


class Mill:
    """The two threads that make samples, and what they have under way."""

    def __init__(self, job: Job, ahead_bytes: int) -> None:
        self.job, self.process = job, os.getpid()
        self.flights = InFlight(ahead_bytes)
        self.drawing, self.rendering = Pool(1, "voxelmill-draw"), Pool(1, "voxelmill-render")


class Rendering:
    """A batch on its way through the threads of `mill`."""

    nbytes = 0

    def __init__(
        self,
        mill: Mill,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers,
        convert: Convert | None,
    ) -> None:
        self._mill = mill
        self._task = _Task(mill.job, indices, list(names), out, convert)
        self._work: Work | None = None
        self._held = False

    def begin(self) -> None:
        """Give it to the threads; `InFlight` calls this when there is room."""
        self._held = True
        drawn = self._mill.drawing.begin([self._task.draw])
        self._work = self._mill.rendering.begin([partial(self._task.render, drawn)])

    def result(self) -> Batch:
        """Wait: arrays (sample, ...) by name, `Rows` of ragged fields, and "index"."""
        if self._mill.process != os.getpid():
            raise VoxelmillError(
                f"this batch was begun in process {self._mill.process}, and this is {os.getpid()}, "
                "forked from it: begin batches in the process that takes them"
            )
        self._mill.flights.now(self)
        try:
            if self._work is not None:
                self._work.wait()
        finally:
            self._leave()
        return self._task.batch

    def __del__(self) -> None:
        self._task.dropped = True
        self._leave()

    def _leave(self) -> None:
        if self._held and self._mill.process == os.getpid():
            self._held = False
            self._mill.flights.leave(self.nbytes)


class _Task:
    """Draws and renders one batch, in micro-batches as large as the mill's."""

    def __init__(
        self,
        job: Job,
        indices: NDArray[np.int64],
        names: list[str],
        out: Buffers,
        convert: Convert | None,
    ) -> None:
        self._job, self._indices, self._names = job, indices, names
        self._out, self._convert = out, convert
        self._draws: list[Draw[Any]] = []
        self.batch: Batch = {}
        self.dropped = False

    def draw(self) -> None:
        if not self.dropped:
            self._draws = draw_batch(self._job, self._indices.tolist())

    def render(self, drawn: Work) -> None:
        drawn.wait()
        draws, step = self._draws, self._job.batch
        rows: dict[str, list[Rows]] = {}
        batch: Batch = dict(self._out)
        for first in range(0, len(draws), step):
            if self.dropped:
                return
            part = slice(first, min(first + step, len(draws)))
            arrays = render_batch(self._job, draws[part])
            for f in self._job.description.fields:
                if f.name in self._names and isinstance(f, Field):
                    self._place(batch, f, part, arrays[f.name])
                elif f.name in self._names:
                    rows.setdefault(f.name, []).append(arrays[f.name])
        batch |= {name: _joined(parts) for name, parts in rows.items()}
        if "params" in self._names:
            table = param_rows(self._job.description.columns, draws, self._job.inputs)
            np.copyto(batch.setdefault("params", table), table)
        self._draws = []
        self.batch = {n: batch[n] for n in self._names} | {"index": self._indices}

    def _place(self, batch: Batch, f: Field, part: slice, values: NDArray[Any]) -> None:
        """Put the samples of a micro-batch into the batch, converted on the way."""
        convert, whole = self._convert, part.stop - part.start == len(self._indices)
        changes = convert is not None and convert.changes(f)
        if f.name not in batch and whole and not changes:
            batch[f.name] = values
            return
        if f.name not in batch:
            shape, dtype = f.shape, np.dtype(f.dtype)
            if convert is not None:
                shape, dtype = convert.shape(f), convert.dtype(f)
            batch[f.name] = np.empty((len(self._indices), *shape), dtype)
        target = batch[f.name][part]
        if convert is None or not changes:
            np.copyto(target, values)
            return
        indices = self._indices[part]
        put = convert.put(f, indices)
        for sample, place, number in zip(values, target, indices.tolist(), strict=True):
            put(sample, place, number)


def _joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one behind the other."""
    counts = [np.diff(p.starts) for p in parts]
    starts = np.cumsum(np.concatenate([[0], *counts]))
    return Rows(np.concatenate([p.values for p in parts]), starts.astype(np.int64))
