"""The mill as a loader: samples of a spec, made when they are asked for, with no store.

`open_spec` gives what `open_store` would give of the store of the same spec: the same samples,
orders, subsets and positions to go on from. One thread draws, another renders, ahead of what is
taken and bounded in bytes.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.batches import Batches, Buffers, Pending
from voxelmill.engine.convert import Convert
from voxelmill.engine.description import Description
from voxelmill.engine.errors import VoxelmillError
from voxelmill.engine.local import refuse_unfit
from voxelmill.engine.location import Location
from voxelmill.engine.made import Made
from voxelmill.engine.mill import draw_batch
from voxelmill.engine.order import Shuffle
from voxelmill.engine.params import param_rows
from voxelmill.engine.plan import Plan, open_plan
from voxelmill.engine.reader import Reader
from voxelmill.engine.rendering import Mill, Rendering
from voxelmill.engine.sample import Field
from voxelmill.engine.spec import Spec

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
        self._mill: Mill | None = None
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
        flight = Rendering(mill, np.array(indices, np.int64), names, out or {}, convert)
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

    def _here(self) -> Mill:
        """The threads of this process. Raises VoxelmillError in a child forked from one."""
        if self._mill is None:
            job = self.plan.job("")
            self._mill = Mill(job, self.ahead_bytes)
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
