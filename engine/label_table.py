"""What the values of a label map mean: rows with a name, a tissue, a class and a side partner.

In memory a label map holds row numbers of its table, never the values of its file, so that kernels
index tables by row and the values of a file may be any integers. Row 0 is background.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.spec_yaml import Problems, parse, plain
from voxelmill.engine.words import counted

FOLDER = Path(__file__).parent / "data" / "mr" / "tables"
MOST_ROWS = 256  # a label map in memory is uint8
_KEYS = {"name", "about", "source", "subject", "rows", "catch_all"}
_ROW_KEYS = {"value", "name", "tissue", "class", "partner"}
_CATCH_KEYS = {"name", "tissue", "class", "values"}

Rows = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelRow:
    """A row: the values that mean it, what it is called, its tissue and its class.

    partner: the row number of the same part on the other side; its own where it has no side.
    """

    values: tuple[int, ...]
    name: str
    tissue: str
    group: str
    partner: int


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table; `subject` is a pattern that finds a person in a file's name, or ""."""

    name: str
    rows: tuple[LabelRow, ...]
    subject: str = ""
    source: str = ""

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each row."""
        return tuple(row.name for row in self.rows)

    @cached_property
    def tissues(self) -> tuple[str, ...]:
        """The tissue of each row."""
        return tuple(row.tissue for row in self.rows)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class names in the order in which the rows first name them; 0 is background's."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    @cached_property
    def class_of_row(self) -> Rows:
        """(rows,) the number of each row's class."""
        numbers = {name: i for i, name in enumerate(self.classes)}
        return np.array([numbers[row.group] for row in self.rows], np.uint8)

    @cached_property
    def partners(self) -> Rows:
        """(rows,) the row that each becomes when left and right are swapped."""
        return np.array([row.partner for row in self.rows], np.uint8)

    @cached_property
    def row_of_value(self) -> dict[int, int]:
        """Value in a file -> row number."""
        return {value: i for i, row in enumerate(self.rows) for value in row.values}

    def row(self, name: str) -> int:
        """The number of a row; raises SourceError, naming the nearest, if there is none."""
        if name not in self.names:
            raise SourceError(f"{self.name}: no label {name!r}{did_you_mean(name, self.names)}")
        return self.names.index(name)

    def flip(self, rows: Rows) -> Rows:
        """A map (..., z, y, x) mirrored along x, its side partners swapped."""
        return self.partners[rows[..., ::-1]]

    def to_rows(self, values: NDArray[Any]) -> tuple[Rows, dict[int, int]]:
        """(row numbers of integer `values`, voxel count of each value that has no row)."""
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        if high - low < 2**20:  # one look-up a voxel
            count = np.bincount((values - low).ravel(), minlength=high - low + 1)
            found = {low + int(i): int(count[i]) for i in np.flatnonzero(count)}
            unknown = {v: n for v, n in found.items() if v not in self.row_of_value}
            table = np.zeros(high - low + 1, np.uint8)
            for value, row in self.row_of_value.items():
                if low <= value <= high:
                    table[value - low] = row
            return table[values - low], unknown
        there, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        rows = np.array([self.row_of_value.get(int(v), 0) for v in there], np.uint8)
        pairs = zip(there.tolist(), counts.tolist(), strict=True)
        unknown = {v: n for v, n in pairs if v not in self.row_of_value}
        return rows[inverse].reshape(values.shape), unknown


@cache
def shipped_tables() -> tuple[str, ...]:
    """The names of the tables that ship."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def open_table(table: str, folder: str | Path = ".") -> LabelTable:
    """The table of a shipped name, or of a YAML file whose path starts at `folder`.

    Raises SourceError with all that is wrong in it.
    """
    if table in shipped_tables():
        return _shipped(table)
    path = Path(folder) / Path(table).expanduser()
    if not path.is_file():
        known = did_you_mean(table, shipped_tables())
        raise SourceError(f"table: {path} is not a file, and no table {table!r} ships{known}")
    return _parsed(path)


@cache
def _shipped(table: str) -> LabelTable:
    return _parsed(FOLDER / f"{table}.yaml")


def _parsed(path: Path) -> LabelTable:
    problems = Problems()
    try:
        root = parse(path.read_text("utf-8"), str(path), problems)
        problems.raise_any()
    except (OSError, UnicodeDecodeError, SpecError) as error:
        raise SourceError(f"table: {path} is not readable YAML: {error}") from error
    return table_of(None if root is None else plain(root), str(path))


def table_of(found: Any, where: str) -> LabelTable:
    """The table of a parsed file; `where` names it in messages. Raises SourceError."""
    if not isinstance(found, Mapping) or not isinstance(found.get("rows"), Sequence):
        raise SourceError(f"{where}: a label table is a mapping with a list `rows`")
    problems = [f"unknown key {k!r}{did_you_mean(str(k), _KEYS)}" for k in set(found) - _KEYS]
    entries = [_entry(entry, problems) for entry in found["rows"]]
    catch = found.get("catch_all")
    if catch is not None:
        entries.append(_catch(catch, problems))
    good = [entry for entry in entries if entry is not None]
    _check_rows(good, problems)
    if problems:
        raise SourceError(
            "\n  ".join([f"{where}: {counted(len(problems), 'mistake')}:", *problems])
        )
    number = {value: i for i, (values, *_) in enumerate(good) for value in values}
    rows = tuple(
        LabelRow(values, name, tissue, group, i if partner is None else number[partner])
        for i, (values, name, tissue, group, partner) in enumerate(good)
    )
    name = str(found.get("name") or Path(where).stem)
    return LabelTable(name, rows, str(found.get("subject") or ""), str(found.get("source") or ""))


_Entry = tuple[tuple[int, ...], str, str, str, int | None]


def _entry(entry: Any, problems: list[str]) -> _Entry | None:
    """(values, name, tissue, class, partner's value) of an item of `rows`."""
    if not isinstance(entry, Mapping) or not {"value", "name", "tissue"} <= set(entry):
        problems.append(f"{entry!r}: a row needs value, name and tissue")
        return None
    problems += [
        f"{entry['name']}: unknown key {key!r}{did_you_mean(str(key), _ROW_KEYS)}"
        for key in set(entry) - _ROW_KEYS
    ]
    given = entry["value"]
    values = tuple(given) if isinstance(given, list) else (given,)
    partner = entry.get("partner")
    if not values or not all(_whole(v) for v in values) or not (partner is None or _whole(partner)):
        problems.append(
            f"{entry['name']}: value and partner are integers, not {given!r}, {partner!r}"
        )
        return None
    group = str(entry.get("class", entry["name"]))
    return values, str(entry["name"]), str(entry["tissue"]), group, partner


def _catch(catch: Any, problems: list[str]) -> _Entry | None:
    """The row of `catch_all`: odd small values that are declared to mean one thing."""
    if not isinstance(catch, Mapping) or set(catch) != _CATCH_KEYS:
        problems.append(f"catch_all needs {', '.join(sorted(_CATCH_KEYS))}, not {catch!r}")
        return None
    row = {"value": catch["values"], **{k: catch[k] for k in ("name", "tissue", "class")}}
    return _entry(row, problems)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_rows(rows: list[_Entry], problems: list[str]) -> None:
    """Add what is wrong between rows."""
    if not rows or 0 not in rows[0][0]:
        problems.append("row 0 must be background: the first of `rows` has value 0")
    if len(rows) > MOST_ROWS:
        problems.append(f"{len(rows)} rows; a label map in memory has at most {MOST_ROWS}")
    for what, items in (
        ("value", [v for values, *_ in rows for v in values]),
        ("name", [name for _, name, *_ in rows]),
    ):
        problems += [
            f"{what} {item!r} stands {n} times" for item, n in Counter(items).items() if n > 1
        ]
    by_value = {value: row for row in rows for value in row[0]}
    for values, name, tissue, _, partner in rows:
        if partner is None:
            continue
        if partner not in by_value:
            problems.append(f"{name}: its partner {partner} is the value of no row")
            continue
        _, other, its_tissue, _, back = by_value[partner]
        if back not in values:
            problems.append(f"{name}: its partner {other!r} has the partner {back}, not it")
        elif its_tissue != tissue:
            problems.append(
                f"{name}: of tissue {tissue!r}, its partner {other!r} of {its_tissue!r}; a flip "
                "makes one of the other, so give both one tissue, or neither a partner"
            )
