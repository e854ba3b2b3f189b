"""Which rows there are, and running them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from voxelmill.engine.errors import SpecError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.verify.rows import Outcome, Row, checked, run

MODULES = (
    "golden", "closed_forms", "trains", "spectra", "contrast", "geometry", "encoding",
    "randomness",
)  # fmt: skip
HERE, PEERS = "voxelmill.engine.verify", "peers"


@dataclass(frozen=True)
class Report:
    """All rows that were run."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The rows that did not pass."""
        return tuple(o for o in self.outcomes if not o.passed)


def rows(families: Sequence[str] = (), peers: bool = False) -> list[Row]:
    """The rows of this package and of all recipes that have `verify_rows()`.

    families: names, or their beginnings, of the rows wanted; none is all. Raises SpecError for one
    that no row has.
    """
    from voxelmill.engine.recipes import known, load

    sources: list[Any] = [import_module(f"{HERE}.{name}") for name in MODULES]
    sources += [load(name) for name in sorted(known())]
    sources += [import_module(f"{HERE}.{PEERS}")] if peers else []
    found = checked(
        row for source in sources for row in getattr(source, "verify_rows", lambda: ())()
    )
    wanted = [row for row in found if not families or row.name.startswith(tuple(families))]
    for family in families:
        if not any(row.name.startswith(family) for row in found):
            names = [row.name for row in found]
            raise SpecError(f"no row is named {family!r}{did_you_mean(family, names)}")
    return wanted


def notes(peers: bool) -> tuple[str, ...]:
    """What to say of peers that were asked for and are not there."""
    return import_module(f"{HERE}.{PEERS}").notes() if peers else ()


def verify(
    wanted: Sequence[Row],
    progress: Callable[[Outcome], None] = lambda _: None,
    notes: tuple[str, ...] = (),
) -> Report:
    """Run the rows in order; `progress` hears of each."""
    start, outcomes = time.perf_counter(), []
    for row in wanted:
        outcomes.append(run(row))
        progress(outcomes[-1])
    return Report(tuple(outcomes), time.perf_counter() - start, notes)
