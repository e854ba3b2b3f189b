"""A few threads that do tasks in their order, and a set of tasks that can be waited for.

Smaller than `concurrent.futures`: a batch of 32 samples takes a millisecond, and a future with
its locks costs twenty microseconds of it. Threads start with the first task and end with the pool.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

Task = Callable[[], None]


class Pool:
    """At most `threads` daemon threads. Not to be used in a forked child: make a new one there."""

    def __init__(self, threads: int, name: str = "voxelmill-read") -> None:
        self.threads, self._name = threads, name
        self._queue: SimpleQueue[tuple[Task, SimpleQueue[BaseException | None]] | None]
        self._queue = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _stop, self._queue, threads)

    @property
    def waiting(self) -> int:
        """Tasks that no thread has begun."""
        return self._queue.qsize()

    def begin(self, tasks: Sequence[Task]) -> "Work":
        """Do `tasks`, behind those that were begun before."""
        if len(self._threads) < self.threads:
            self._start()
        work = Work(len(tasks))
        for task in tasks:
            self._queue.put((task, work.ended))
        return work

    def _start(self) -> None:
        with self._lock:
            if not _pools:
                atexit.unregister(_end_all)
                atexit.register(_end_all)
            _pools.add(self)
            for number in range(len(self._threads), self.threads):
                name = f"{self._name}-{number}"
                thread = threading.Thread(target=_run, args=(self._queue,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def end(self) -> None:
        """Drop what has not begun and wait for what has, so that no thread is left."""
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                break
        _stop(self._queue, len(self._threads))
        for thread in self._threads:
            thread.join()


_pools: "weakref.WeakSet[Pool]" = weakref.WeakSet()


def _end_all() -> None:
    """At exit: an interpreter that ends under a thread that copies aborts the process."""
    for pool in list(_pools):
        pool.end()


class Work:
    """Tasks under way."""

    def __init__(self, tasks: int) -> None:
        self.ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._left = tasks
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether all of them have ended, well or not."""
        return self.ended.qsize() >= self._left

    def wait(self) -> None:
        """Wait for all of them, then raise the first error that one met."""
        while self._left:
            error = self.ended.get()
            self._left -= 1
            self._error = self._error or error
        if self._error is not None:
            raise self._error


def _run(queue: "SimpleQueue[tuple[Task, SimpleQueue[BaseException | None]] | None]") -> None:
    _let_others_go_first()
    while (item := queue.get()) is not None:
        task, ended = item
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            ended.put(error)
        else:
            ended.put(None)
        del item, task, ended  # or an idle thread would keep the arrays of a batch


def _let_others_go_first() -> None:
    """Take a core that is free, or one's share of it later, but stop nobody by waking up.

    Else, on few cores, a thread that begins to copy stops the one that trains, often for the whole
    batch. The policy is that of this thread alone.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _stop(queue: "SimpleQueue[Any]", threads: int) -> None:
    for _ in range(threads):
        queue.put(None)
