"""The progress line: samples/s, MB/s, memory, time left; or plain lines where no terminal is."""

import os
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from voxelmill.engine.rate import Rate
from voxelmill.engine.words import figure

PLAIN_EVERY_S = 10.0


def memory_bytes() -> int:
    """Resident memory of this process and its children, Linux; 0 elsewhere."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, todo = 0, [os.getpid()]
        while todo:
            pid = todo.pop()
            with open(f"/proc/{pid}/statm") as file:
                total += int(file.read().split()[1]) * page
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                todo += [int(child) for child in file.read().split()]
    except (OSError, ValueError):
        return 0
    return total


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Line:
    """A progress line on `console` while the `with` lasts; plain lines where no terminal is."""

    def __init__(self, console: Console, total: int) -> None:
        self._total, self._console = total, console
        self._rate, self._said = Rate(), time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} {task.fields[facts]}"),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total, facts="")

    def __enter__(self) -> "Line":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, samples: int, nbytes: int, doing: str) -> None:
        """`samples` more of `nbytes`; or, with 0, what is being done before the first."""
        if not samples:
            self._bar.update(self._task, description=doing)
            if not self._console.is_terminal:
                self._console.print(doing)
            return
        self._rate.add(samples, nbytes)
        done = self._rate.samples
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, description="making", facts=self._facts())
        elif time.monotonic() - self._said > PLAIN_EVERY_S:
            self._said = time.monotonic()
            self._console.print(f"{done}/{self._total} {self._facts()}")

    def _facts(self) -> str:
        rate, memory = self._rate.per_second(), memory_bytes() / 2**20
        if not rate:
            return f"samples, {memory:.0f} MiB"
        left = duration((self._total - self._rate.samples) / rate)
        speed = figure(self._rate.bytes_per_second() / 1e6)
        return f"samples, {figure(rate)} samples/s, {speed} MB/s, {memory:.0f} MiB, {left} left"
