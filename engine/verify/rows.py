"""What a row of the self-test is, and how rows are run."""

import math
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A number found, the number it should be, and how far off it may be.

    note: what else a reader should know, such as how many cases the worst was taken of.
    """

    measured: float
    expected: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Within the tolerance; NaN never is."""
        return bool(abs(self.measured - self.expected) <= self.tolerance)


@dataclass(frozen=True)
class Row:
    """One test: its name, unique, with a family before the first point; what it looks at."""

    name: str
    title: str  # what is computed, with parameters
    proves: str  # what it shows if it passes
    run: Callable[[], Measured]


@dataclass(frozen=True)
class Outcome:
    """A row that was run. `error` is the traceback if it could not be."""

    row: Row
    result: Measured
    seconds: float
    error: str = ""

    @property
    def passed(self) -> bool:
        """It ran, and what it measured is within the tolerance."""
        return not self.error and self.result.passed


def run(row: Row) -> Outcome:
    """Run one row; what it raises makes it fail, and is kept."""
    start = time.perf_counter()
    try:
        result, error = row.run(), ""
    except Exception:  # noqa: BLE001 - a row that breaks must not hide the others
        result, error = Measured(math.nan, math.nan, 0.0), traceback.format_exc()
    return Outcome(row, result, time.perf_counter() - start, error)


def checked(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with a name of its own. Raises ValueError if two share one."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.name in found:
            raise ValueError(f"two rows of verify are named {row.name!r}: give each its own name")
        found[row.name] = row
    return list(found.values())
