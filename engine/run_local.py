"""Run the shards of a store on this machine: in this process, or in spawned workers."""

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxelmill.engine import store
from voxelmill.engine.errors import StoreError, VoxelmillError
from voxelmill.engine.mill import Clock, mill
from voxelmill.engine.owner import own
from voxelmill.engine.plan import Plan, cores, open_plan
from voxelmill.engine.spec import Spec

# (samples, bytes) since the last call; a worker's line says what it does ("compiling kernels").
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Made:
    """What a call of `make` did: new samples and bytes, in how many seconds."""

    path: Path
    count: int
    samples: int
    nbytes: int
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)


class Interrupted(VoxelmillError, KeyboardInterrupt):
    """Ctrl-C: what is committed stays."""


def make(
    source: str | Path | Spec | Plan,
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    recipe_file: str | Path | None = None,
    workers: int = 1,
    shards: range | None = None,
    take_over: bool = False,
    skip_bad: bool = False,
    mixed: bool = False,
    batch: int | None = None,
    progress: Progress = lambda samples, nbytes, doing: None,
) -> Made:
    """Make the store of a spec at `path`, or what is missing of it.

    The same call after a kill goes on where it stopped; a larger count grows the store. `shards`
    makes only a run of them, for several machines on one store. Raises SpecError, SourceError,
    StoreError (another spec's store, no space), OwnedError (another mill on the same shards).
    """
    plan = (
        source if isinstance(source, Plan) else open_plan(source, overrides, recipe_file, skip_bad)
    )
    path = Path(path)
    if workers < 1:
        raise ValueError(f"workers {workers} must be 1 or more")
    start = time.monotonic()
    plan = _opened(plan, path, mixed)
    everything = range(plan.description.shards)
    run = everything if shards is None else shards
    if len(run) and not (run[0] >= 0 and run[-1] < len(everything)):
        raise StoreError(
            f"shards {run[0]}..{run[-1]} are not in 0..{len(everything) - 1} of {path}"
        )
    done = _Counter(progress)
    missing = [s for s in store.missing(path) if s in run]
    if missing:
        with own(path, missing[0], missing[-1], take_over):
            store.remove_leftovers(path)
            missing = [s for s in store.missing(path) if s in run]
            stages = _run(plan, path, missing, workers, batch, done)
    else:
        stages = {}
    if not store.missing(path):
        store.finish(path)
    return Made(
        path, plan.description.count, done.samples, done.nbytes, time.monotonic() - start, stages
    )


def _opened(plan: Plan, path: Path, mixed: bool) -> Plan:
    """Create the store, or check that it is this spec's and grow it; the plan that fits it."""
    if not (path / "zarr.json").exists():
        store.create(path, plan.description)
        return plan
    there = store.read_description(path)
    if there.device_class != plan.description.device_class and not mixed:
        raise StoreError(
            f"{path} was made on {there.device_class!r}, this is {plan.description.device_class!r}: "
            "samples would differ by rounding; go on there, or allow it with --mixed"
        )
    if plan.description.count > there.count:
        store.grow(path, plan.description)
    else:
        store.create(path, plan.description)  # refuses another spec's store
    return plan


class _Counter:
    """Adds up what was written, and tells `progress`."""

    def __init__(self, progress: Progress) -> None:
        self.samples = self.nbytes = 0
        self._progress = progress

    def made(self, samples: int, nbytes: int) -> None:
        self.samples += samples
        self.nbytes += nbytes
        self._progress(samples, nbytes, "")

    def says(self, doing: str) -> None:
        self._progress(0, 0, doing)


def _run(
    plan: Plan, path: Path, shards: list[int], workers: int, batch: int | None, done: _Counter
) -> dict[str, float]:
    done.says("compiling kernels, or loading them")
    if workers == 1 or len(shards) == 1:
        job, clock = plan.job(path), Clock()
        job.batch = batch or job.batch
        try:
            mill(job, shards, made=done.made, clock=clock)
        except KeyboardInterrupt:
            raise _interrupted(path) from None
        return clock.seconds
    with _numba_threads(max(1, cores() // workers)):
        return _run_workers(plan, path, shards, min(workers, len(shards)), batch, done)


def _interrupted(path: Path) -> Interrupted:
    left = len(store.missing(path))
    return Interrupted(
        f"stopped; all but {left} shards of {path} are committed; the same command goes on"
    )


@contextmanager
def _numba_threads(threads: int) -> Iterator[None]:
    """Processes that are spawned here run their kernels in `threads` threads."""
    before = os.environ.get("NUMBA_NUM_THREADS")
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ["NUMBA_NUM_THREADS"]
        else:
            os.environ["NUMBA_NUM_THREADS"] = before


def _run_workers(
    plan: Plan, path: Path, shards: list[int], workers: int, batch: int | None, done: _Counter
) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    todo, said = context.Queue(), context.Queue()
    for shard in shards:
        todo.put(shard)
    for _ in range(workers):
        todo.put(None)
    # the first compiles into the disk cache, the others then load from it
    compiled = context.Event()
    arguments = (plan.spec, str(path), todo, said, compiled, batch, plan.description)
    processes = [
        context.Process(target=_worker, args=(number, *arguments), daemon=True)
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        return _listen(processes, said, done, path)
    except KeyboardInterrupt:
        raise _interrupted(path) from None
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _listen(processes: list[Any], said: Any, done: _Counter, path: Path) -> dict[str, float]:
    """Pass on what the workers say until all are through; their stage times, added up."""
    stages: dict[str, float] = {}
    running = set(range(len(processes)))
    while running:
        try:
            worker, what, value = said.get(timeout=1.0)
        except queue.Empty:
            dead = [w for w in running if not processes[w].is_alive()]
            if dead and said.empty():
                raise StoreError(
                    f"worker {dead[0]} died (exit status {processes[dead[0]].exitcode}; -9 is "
                    f"often too little memory); what is committed in {path} stays, the same "
                    "command goes on"
                ) from None
            continue
        if what == "made":
            done.made(*value)
        elif what == "error":
            raise value
        else:
            running.discard(worker)
            for name, seconds in value.items():
                stages[name] = stages.get(name, 0.0) + seconds
    return stages


def _worker(
    number: int,
    spec: Spec,
    path: str,
    todo: Any,
    said: Any,
    compiled: Any,
    batch: int | None,
    description: Any,
) -> None:
    """A spawned process: takes shard numbers until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    try:
        if number:
            compiled.wait()
        plan = open_plan(spec, skip_bad=True)
        if plan.description.content_digest != description.content_digest:
            raise StoreError(f"the inputs of {path} changed while it was made; start again")
        job, clock = plan.job(Path(path)), Clock()
        job.batch, job.description = batch or job.batch, description

        def made(samples: int, nbytes: int) -> None:
            if not _parent_lives():
                os._exit(1)  # killed: nobody would hear of an error
            compiled.set()
            said.put((number, "made", (samples, nbytes)))

        mill(job, iter(todo.get, None), made=made, clock=clock)
        said.put((number, "done", clock.seconds))
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        said.put((number, "error", _sendable(error)))
    finally:
        compiled.set()


def _parent_lives() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and parent.is_alive()


def _sendable(error: Exception) -> Exception:
    """The error itself where it survives pickling, else its words."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # noqa: BLE001
        return StoreError(f"{type(error).__name__}: {error}")


def missing_samples(plan: Plan, path: str | Path, shards: range | None = None) -> int:
    """How many samples `make` would still have to make."""
    d, path = plan.description, Path(path)
    there = set()
    if (path / "zarr.json").exists():
        whole = store.read_description(path).count == d.count
        last = d.shards if whole else store.read_description(path).count // d.samples_per_shard
        there = {s for s in store.committed(path) if s < last}
    run = range(d.shards) if shards is None else shards
    return sum(d.samples_in(s) for s in run if s < d.shards and s not in there)
