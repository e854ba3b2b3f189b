"""The progress line: samples/s, MB/s, time left, memory; or plain lines where no terminal is."""

import os
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

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


class _Rate(ProgressColumn):
    """Samples/s and MB/s since the first sample, and memory."""

    max_refresh = 0.5

    def render(self, task: Any) -> Text:
        """The column's text."""
        return Text(task.fields["rate"], style="cyan")


class Line:
    """A progress line on `console` while the `with` lasts."""

    def __init__(self, console: Console, total: int, unit: str) -> None:
        self._total, self._unit, self._console = total, unit, console
        self._done = self._bytes = 0
        self._first = self._said = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total, rate="")

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

    def update(self, done: int, nbytes: int, doing: str) -> None:
        """`done` more samples of `nbytes`; or, with 0, what is being done before the first."""
        now = time.monotonic()
        if not done:
            self._bar.update(self._task, description=doing)
            if not self._console.is_terminal:
                self._console.print(doing)
            return
        if not self._done:
            self._first = now  # compilation is not counted into the rate
            self._skipped = done
        self._done += done
        self._bytes += nbytes
        self._bar.update(
            self._task, completed=self._done, description="making", rate=self._rate(now)
        )
        if not self._console.is_terminal and now - self._said > PLAIN_EVERY_S:
            self._said = now
            left = (self._total - self._done) / max(self._per_second(now), 1e-9)
            self._console.print(
                f"{self._done}/{self._total} {self._unit}, {self._rate(now)}, {left:.0f} s left"
            )

    def _per_second(self, now: float) -> float:
        return (self._done - self._skipped) / max(now - self._first, 1e-9)

    def _rate(self, now: float) -> str:
        rate = self._per_second(now)
        speed = self._bytes / self._done * rate / 1e6
        return f"{rate:.0f} {self._unit}/s {speed:.0f} MB/s {memory_bytes() / 2**20:.0f} MiB"
