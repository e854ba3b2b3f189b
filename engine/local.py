"""The arrays of a store on this machine, read with no Zarr library in the way.

Raw payloads go from the page cache straight into the batch, zstd ones are decoded into it, in a
few threads that hold no GIL meanwhile. It imports no TensorStore and works under fork: a child
makes threads and opens files of its own.

What is checked, and when:
- the checksum of a sample on its first touch in a process (`check="first"`), at each ("always"),
  or not at all ("never"); that of a shard's index when it is read, once;
- against commits.bin, or the commit records of a store that is not whole, so that a file put in
  another's place is found: the size of each shard file when it is opened, its mark
  (`engine.commit`) when its index is read, the hash of params and of starts of ragged rows. Raw
  files whose last samples are alike have the same mark: only `voxelmill check` tells them apart.
  Stores made before there were marks have sizes and hashes only.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.convert import Convert
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.local_commits import Commits
from voxelmill.engine.local_dense import Dense
from voxelmill.engine.local_rows import ParamsTable, RaggedRows, ragged_rows
from voxelmill.engine.local_shards import COLD_BATCHES, Process, Rules, fits
from voxelmill.engine.order import Order
from voxelmill.engine.sample import Field
from voxelmill.engine.threads import Work

Buffers = Mapping[str, NDArray[Any]]
_LEAST_TASK_BYTES = 1 << 19
_MOST_TOLD = 1024  # steps


class LocalArrays:
    """The arrays of the store at `path`.

    way: "preadv" or "mmap". check: "first", "always" or "never". threads: as many as cores, at
    most 4, by default; they start with the first batch.
    """

    def __init__(
        self,
        path: str | Path,
        description: Description,
        *,
        way: str = "preadv",
        check: str = "first",
        threads: int | None = None,
    ) -> None:
        if way not in ("preadv", "mmap") or check not in ("first", "always", "never"):
            raise ValueError(
                f"way {way!r} is preadv or mmap, and check {check!r} first, always or never"
            )
        if threads is not None and threads < 1:
            raise ValueError(f"threads {threads} must be 1 or more")
        self.path, self.description = Path(path), description
        self._rules = Rules(way, check, threads or min(4, len(os.sched_getaffinity(0))))
        self._process: Process | None = None
        commits = Commits(self.path, description)
        arguments = (self.path, description)
        self._dense: dict[str, Dense] = {}
        self._ragged: dict[str, RaggedRows] = {}
        for f in description.fields:
            if isinstance(f, Field):
                self._dense[f.name] = Dense(*arguments, f, commits, self._rules)
            else:
                self._ragged[f.name] = ragged_rows(f, *arguments, commits, self._rules)
        self._nbytes = sum(dense.nbytes for dense in self._dense.values()) * description.count
        self._params: ParamsTable | None = None
        if description.columns:
            self._params = ParamsTable(*arguments, "params", commits, self._rules)

    def start(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> "LocalPending":
        """Begin to read samples; `indices` and `names` were checked before.

        out: arrays (sample, *shape) of dense fields and params, C-contiguous and of the right type
        (ValueError else), that are filled in place; those that are lacking are made.
        """
        here = self._here()
        indices = np.ascontiguousarray(indices, np.int64)
        batch = self._buffers(len(indices), names, out or {}, convert)
        order = np.argsort(indices, kind="stable")
        tasks: list[Callable[[], None]] = []
        if any(name not in self._dense for name in names):
            tasks.append(partial(self._fill_tables, here, indices, names, batch))
        dense = [name for name in names if name in self._dense]
        nbytes = sum(self._dense[name].nbytes for name in dense) * len(indices)
        parts = min(self._rules.threads, len(indices), 1 + nbytes // _LEAST_TASK_BYTES)
        tasks += [
            partial(self._fill_dense, here, indices[part], part, dense, batch, convert)
            for part in (np.array_split(order, parts) if dense and parts else [])
        ]
        if here.cold > 0:
            self._hint(here, indices, dense)
        return LocalPending(here, here.pool.begin(tasks), batch, indices)

    def expect(self, indices: NDArray[np.int64], names: Sequence[str], whole: bool = False) -> None:
        """Say that samples will be read soon, so that the disk begins with them; a hint.

        whole: and all others of their shards. Nothing happens while what is read is found in the
        page cache. `start` says it of its own samples, once some were not there; who knows what
        comes behind them keeps the disk busy by saying it earlier.
        """
        here = self._here()
        dense = [name for name in names if name in self._dense]
        if not dense or not len(indices):
            return
        if here.cold <= 0:  # one look a batch: of a shuffled one, at any shard
            if not self._dense[dense[0]].absent(here, int(indices[0])):
                return
            here.cold = COLD_BATCHES
        self._hint(here, indices, dense, whole)

    def column(self, first: int, last: int, number: int) -> NDArray[np.float64]:
        """Column `number` of `params` of the samples `first` to `last`, the last not in."""
        if self._params is None:
            raise ValueError(f"{self.path} has no params")
        here, size = self._here(), self.description.samples_per_shard
        out = np.empty(last - first)
        for shard in range(first // size, -(-last // size)):
            start, end = max(first, shard * size), min(last, (shard + 1) * size)
            table = self._params.table(here, shard)
            out[start - first : end - first] = table[
                start - shard * size : end - shard * size, number
            ]
        return out

    def _here(self) -> Process:
        process = self._process
        if process is None or process.pid != os.getpid():
            process = self._process = Process(self._rules.threads, self._nbytes)
        return process

    def _buffers(
        self, size: int, names: Sequence[str], out: Buffers, convert: Convert | None
    ) -> dict[str, Any]:
        """Where each field goes: the caller's array or a new one; None where rows decide."""
        if convert is not None:
            convert.refuse_bad(self.description.fields)
        batch: dict[str, Any] = {}
        for name in names:
            if name in self._ragged:
                batch[name] = None
                continue
            shape, dtype = self._form(name, convert)
            given = out.get(name)
            if given is not None:
                refuse_unfit(name, given, (size, *shape), dtype)
            batch[name] = np.empty((size, *shape), dtype) if given is None else given
        if strange := [name for name in out if batch.get(name) is None]:
            raise ValueError(
                f"no buffer can be filled with {strange[0]!r}: it is not read, or ragged"
            )
        return batch

    def _form(self, name: str, convert: Convert | None) -> tuple[tuple[int, ...], np.dtype[Any]]:
        if name not in self._dense:
            return (len(self.description.columns),), np.dtype(np.float64)
        f = self._dense[name].field
        return (
            (f.shape, np.dtype(f.dtype))
            if convert is None
            else (convert.shape(f), convert.dtype(f))
        )

    def _fill_dense(
        self,
        here: Process,
        samples: NDArray[np.int64],
        places: NDArray[np.intp],
        names: Sequence[str],
        batch: Mapping[str, NDArray[Any]],
        convert: Convert | None,
    ) -> None:
        for name in names:
            dense = self._dense[name]
            changed = convert is not None and convert.changes(dense.field)
            put = convert.put(dense.field, samples) if convert is not None and changed else None
            dense.fill(here, samples, places, batch[name], put)

    def _fill_tables(
        self, here: Process, indices: NDArray[np.int64], names: Sequence[str], batch: dict[str, Any]
    ) -> None:
        for name in names:
            if name in self._ragged:
                batch[name] = self._ragged[name].read(here, indices)
            elif self._params is not None and name not in self._dense:
                self._params.rows(here, indices, batch[name])

    def _hint(
        self, here: Process, indices: NDArray[np.int64], names: Sequence[str], whole: bool = False
    ) -> None:
        here.cold -= 1
        samples = np.sort(indices).tolist()
        for name in names:
            self._dense[name].expect(here, samples, whole)


class LocalPending:
    """A batch under way."""

    def __init__(
        self, process: Process, work: Work, batch: dict[str, Any], indices: NDArray[np.int64]
    ) -> None:
        self._pid, self._work, self._batch, self._indices = process.pid, work, batch, indices

    def result(self) -> dict[str, Any]:
        """Arrays (sample, ...) by name, `Rows` of ragged fields, and "index". Raises StoreError."""
        if self._pid != os.getpid():
            raise StoreError(
                f"this batch was begun in process {self._pid}, and this is {os.getpid()}, forked "
                "from it: begin batches in the process that takes them"
            )
        self._work.wait()
        return self._batch | {"index": self._indices}


def window_steps(order: Order, description: Description, names: Sequence[str]) -> int:
    """The steps that a window of shards lasts, if its shards are to be read whole; else 0.

    They are if the order takes most of each shard, and two windows fit into the page cache: one
    that is read from it, and one that the disk brings meanwhile.
    """
    if order.shuffle != "shard" or 2 * order.count < description.count:
        return 0
    dense = sum(f.nbytes for f in description.fields if isinstance(f, Field) and f.name in names)
    window = min(order.window * description.samples_per_shard, description.count)
    if not fits(2 * window * dense):
        return 0
    steps = -(-order.window * order.samples_per_shard // (order.batch * order.ranks))
    return min(steps, _MOST_TOLD)


def refuse_unfit(name: str, given: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless `given` can be filled in place."""
    if not isinstance(given, np.ndarray) or given.shape != shape or given.dtype != dtype:
        what = f"{given.shape} {given.dtype}" if isinstance(given, np.ndarray) else type(given)
        raise ValueError(f"out[{name!r}] is {what}; {shape} {dtype} is due: nothing is cast")
    if not (given.flags.c_contiguous and given.flags.writeable):
        raise ValueError(f"out[{name!r}] must be C-contiguous and writeable; give a fresh array")
