"""The mill as a loader: samples of a spec, made when they are asked for, with no store.

`open_spec` gives what `open_store` would give of the store of the same spec: the same samples,
orders, subsets and positions to go on from. One thread draws, another renders, ahead of what is
taken and bounded in bytes.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.batches import Batch, Batches, Buffers, Pending
from voxelmill.engine.convert import Convert
from voxelmill.engine.description import Description
from voxelmill.engine.draw import Draw
from voxelmill.engine.errors import VoxelmillError
from voxelmill.engine.in_flight import InFlight
from voxelmill.engine.local import refuse_unfit
from voxelmill.engine.location import Location
from voxelmill.engine.made import Made
from voxelmill.engine.mill import Job, draw_batch, render_batch
from voxelmill.engine.order import Shuffle
from voxelmill.engine.params import param_rows
from voxelmill.engine.plan import Plan, open_plan
from voxelmill.engine.reader import Reader
from voxelmill.engine.sample import Field, Rows
from voxelmill.engine.spec import Spec
from voxelmill.engine.threads import Pool, Work

AHEAD_BYTES = 256 << 20
_MOST_AHEAD = 64
_AT_ONCE = 4096  # samples of which the parameters are drawn together


def open_spec(
    spec: str | Path | Spec | Plan,
    overrides: Sequence[str] = (),
    recipe_file: str | Path | None = None,
    write_to: str | Path | None = None,
    *,
    ahead_bytes: int = AHEAD_BYTES,
    skip_bad: bool = False,
) -> Reader:
    """The samples of a spec as a reader of them: `batches`, `[i]`, `params`, `split` and all else.

    overrides: keys of the spec to set, as `count=100000`. ahead_bytes: how much is rendered ahead.
    write_to: make the store there meanwhile, and read what is made: see `engine.write_through`.
    Raises SpecError or SourceError that tell all that is wrong, and StoreError for `write_to`.
    """
    plan = spec if isinstance(spec, Plan) else open_plan(spec, overrides, recipe_file, skip_bad)
    if ahead_bytes < 1:
        raise ValueError(f"ahead_bytes {ahead_bytes} must be 1 or more")
    if write_to is None:
        return Stream(plan, ahead_bytes)
    from voxelmill.engine.write_through import WriteThrough

    return WriteThrough(plan, Path(write_to))


class Stream(Reader):
    """A spec opened for reading. It pickles as its plan, so that each process makes its own.

    `params`, `split` and `where` need the parameters of all samples: these are drawn once, when
    first asked for, at some thousand samples/s.
    """

    def __init__(self, plan: Plan, ahead_bytes: int = AHEAD_BYTES) -> None:
        self.plan, self.ahead_bytes = plan, ahead_bytes
        self.description = plan.description
        self.location = Location(f"spec of {plan.description.recipe}")
        self.partial = self.follow = False
        self._made = _AllMade(self.description)
        self._mill: _Mill | None = None
        self._params: NDArray[np.float64] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """The plan: threads and what is under way stay in their process."""
        return Stream, (self.plan, self.ahead_bytes)

    def __repr__(self) -> str:
        """Stable, since loaders compare it when they resume."""
        digest = self.description.content_digest[:16]
        return f"Stream({self.description.recipe!r}, count={len(self)}, content={digest})"

    @property
    def path(self) -> Path:
        """There is none. Raises VoxelmillError."""
        raise VoxelmillError(f"{self!r} has no folder: it is made while it is read")

    def batches(
        self, size: int, shuffle: bool | Shuffle = True, *, ahead: int | None = None, **how: Any
    ) -> Batches:
        """As `Reader.batches`. ahead: batches begun; by default what `ahead_bytes` has room for."""
        if ahead is None:
            chosen = self.checked_names(how.get("fields"))
            ahead = min(_MOST_AHEAD, max(1, self.ahead_bytes // self._bytes(size, chosen)))
        return super().batches(size, shuffle, ahead=ahead, **how)

    def begin(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """Begin to make samples; see `Reader.begin`."""
        for name, given in (out or {}).items():
            shape, dtype = self._form(name, convert)
            if name not in names or shape is None:
                raise ValueError(
                    f"no buffer can be filled with {name!r}: it is not read, or ragged"
                )
            refuse_unfit(name, given, (len(indices), *shape), dtype)
        mill = self._here()
        flight = _Rendering(mill, np.array(indices, np.int64), names, out or {}, convert)
        flight.nbytes = self._bytes(len(indices), names)
        mill.flights.enter(flight)
        return flight

    def column(self, number: int) -> NDArray[np.float64]:
        """Column `number` of `params`, (count,) float64: the first call draws all samples."""
        if self._params is None:
            job = self.plan.job("")
            table = np.empty((len(self), len(self.description.columns)))
            for first in range(0, len(self), _AT_ONCE):
                draws = draw_batch(job, range(first, min(first + _AT_ONCE, len(self))))
                table[first : first + len(draws)] = param_rows(
                    self.description.columns, draws, job.inputs
                )
            self._params = table
        return self._params[:, number].copy()

    def _here(self) -> "_Mill":
        """The threads of this process. Raises VoxelmillError in a child forked from one."""
        if self._mill is None:
            job = self.plan.job("")
            self._mill = _Mill(job, self.ahead_bytes)
        if self._mill.process != os.getpid():
            raise VoxelmillError(
                f"process {os.getpid()} was forked from {self._mill.process} after samples had "
                "been made there, and the threads of the kernels do not survive a fork: start "
                "workers with 'spawn' or 'forkserver', or take none (in PyTorch, num_workers=0)"
            )
        return self._mill

    def _expect(self, indices: NDArray[np.int64], names: Sequence[str], whole: bool) -> None:
        """Nothing: a mill has no disk to hurry."""

    def _bytes(self, samples: int, names: Sequence[str]) -> int:
        sizes = {f.name: f.nbytes for f in self.description.fields if isinstance(f, Field)}
        return max(1, samples * (sum(sizes.get(n, 0) for n in names) + 8))

    def _form(
        self, name: str, convert: Convert | None
    ) -> tuple[tuple[int, ...] | None, np.dtype[Any]]:
        """Shape and dtype of one sample in a batch; no shape where it is ragged."""
        f = self.fields.get(name)
        if isinstance(f, Field):
            if convert is not None:
                return convert.shape(f), convert.dtype(f)
            return f.shape, np.dtype(f.dtype)
        columns = (len(self.description.columns),) if name == "params" else None
        return columns, np.dtype(np.float64)


class _AllMade(Made):
    """Every sample can be had."""

    def __init__(self, description: Description) -> None:
        self._description, self.shards = description, None


class _Mill:
    """The two threads that make samples, and what they have under way."""

    def __init__(self, job: Job, ahead_bytes: int) -> None:
        self.job, self.process = job, os.getpid()
        self.flights = InFlight(ahead_bytes)
        self.drawing, self.rendering = Pool(1, "voxelmill-draw"), Pool(1, "voxelmill-render")


class _Rendering:
    """A batch on its way through the threads of `mill`."""

    nbytes = 0

    def __init__(
        self,
        mill: _Mill,
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
        if self._held:
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
