"""Spawned processes that make shards: one takes a shard after another until there are no more."""

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from voxelmill.engine import store
from voxelmill.engine.errors import StoreError, VoxelmillError
from voxelmill.engine.mill import Clock, mill
from voxelmill.engine.plan import Plan, cores

GUARD = (
    'Workers import the script that called make: put the call under `if __name__ == "__main__":`'
)


class UnguardedError(VoxelmillError, RuntimeError):
    """`make` was called by a script that a spawned process only imports."""


def refuse_unguarded() -> None:
    """Raise UnguardedError in a spawned process that is still importing its main module.

    `multiprocessing` tells it by the same mark when it refuses to spawn from there.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UnguardedError(f"make was called in a process that was just spawned. {GUARD}")


def run_workers(
    plan: Plan,
    path: Path,
    shards: list[int],
    workers: int,
    batch: int | None,
    made: Callable[[int, int], None],
    begun: Callable[[], None],
) -> dict[str, float]:
    """Make `shards` in `workers` processes; the seconds of each stage, added up.

    made(samples, bytes) and begun() are called here, as `mill` calls them. Raises what a worker
    raised, with its traceback as a note, and StoreError when one died; the others are ended, and
    what is committed stays.
    """
    context, processes = multiprocessing.get_context("spawn"), []
    try:
        with _numba_threads(max(1, cores() // workers)), _interrupts_later():
            todo, said = context.Queue(), context.Queue()
            todo.cancel_join_thread()  # after an error nobody takes what is still in it
            for shard in [*shards, *[None] * workers]:
                todo.put(shard)
            compiled = context.Event()  # by the first into the cache; the others load from it
            for number in range(workers):
                arguments = (number, plan, path, todo, said, compiled, batch)
                process = context.Process(target=_worker, args=arguments, daemon=True)
                process.start()
                processes.append(process)
        return _listen(processes, said, made, begun, path)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        store.remove_leftovers(path)


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


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C comes at the end of the `with`, so that no process is half started.

    Processes that are spawned in it never see it: it comes to all, and the parent decides.
    """
    came: list[int] = []
    ours = threading.current_thread() is threading.main_thread()
    if ours:  # other threads take the signal too, so that the mask alone does not put it off
        before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    resource_tracker.ensure_running()  # as it starts it unblocks the signal again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if ours:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if came:
        raise KeyboardInterrupt


def _listen(
    processes: list[Any],
    said: Any,
    made: Callable[[int, int], None],
    begun: Callable[[], None],
    path: Path,
) -> dict[str, float]:
    """Pass on what the workers say until all are through; their stage times, added up."""
    stages: dict[str, float] = {}
    running, heard = set(range(len(processes))), set()
    while running:
        # exit status 0: its last word may still be on its way, or it never came
        killed = [w for w in running if processes[w].exitcode not in (None, 0)]
        ended = [w for w in running if processes[w].exitcode is not None]
        if killed or (ended and said.empty()):
            worker = (killed or ended)[0]
            raise StoreError(_death(worker, processes[worker].exitcode, worker in heard, path))
        try:
            worker, what, value = said.get(timeout=0.5)
        except queue.Empty:
            continue
        heard.add(worker)
        if what == "made":
            made(*value)
        elif what == "begun":
            begun()
        elif what == "started":
            continue
        elif what == "error":
            raise value
        else:
            running.discard(worker)
            for name, seconds in value.items():
                stages[name] = stages.get(name, 0.0) + seconds
    return stages


def _death(worker: int, status: int | None, started: bool, path: Path) -> str:
    if status == 1 and not started:  # an exception while it imported the main module
        return (
            f"worker {worker} could not start (exit status 1; its own error stands above). {GUARD}"
        )
    cause = "; often too little memory" if status == -signal.SIGKILL else ""
    return (
        f"worker {worker} died (exit status {status}{cause}); what is committed in {path} stays; "
        "run the same command again to go on"
    )


def _worker(
    number: int, plan: Plan, path: Path, todo: Any, said: Any, compiled: Any, batch: int | None
) -> None:
    """A spawned process: takes shard numbers until there are no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    said.put((number, "started", None))

    def made(samples: int, nbytes: int) -> None:
        compiled.set()
        said.put((number, "made", (samples, nbytes)))

    try:
        if number:
            compiled.wait()
        clock = Clock()
        job, shards = plan.job(path, batch), iter(todo.get, None)
        mill(job, shards, made, clock, _once(lambda: said.put((number, "begun", None))))
        said.put((number, "done", clock.seconds))
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        said.put((number, "error", _sendable(error)))
    finally:
        compiled.set()


def _once(function: Callable[[], None]) -> Callable[[], None]:
    """`function` that does nothing when called again."""
    todo = [function]
    return lambda: todo.pop()() if todo else None


def _end_with_parent() -> None:
    """A worker whose parent was killed works for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note; its words where it does not survive pickling."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - what a foreign class raises when pickled is its own affair
        return StoreError(f"{type(error).__name__}: {error}")
    return error
