"""Label maps as inputs: which there are, all checked before work starts, read when asked for."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from io import StringIO
from json import dumps
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SourceError
from voxelmill.engine.kept import Kept
from voxelmill.engine.label_nifti import SUFFIXES, Grid, read_map
from voxelmill.engine.label_table import LabelTable, Rows, open_table
from voxelmill.engine.words import counted

SHIPPED = Path(__file__).parent / "data" / "mr" / "maps"
CACHE_BYTES = 512 * 2**20  # twenty whole heads at 1 mm
THREADS = 4
_READ = 6  # bytes a voxel while a map of 16 bits is read, beside what is kept
MARGIN = 1  # voxels of background that are kept around the labels
_NO_GRID = Grid("", (1.0, 1.0, 1.0), 0.0)


@dataclass(frozen=True)
class MapInputs:
    """What the key `inputs:` of a recipe of label maps may hold; paths start at the spec."""

    maps: str = ranged(
        "shipped",
        "shipped (those of the table); a NIfTI file; a folder of them; or a CSV with columns id, "
        "map and, if known, subject, source (paths start at the CSV)",
    )
    table: str = ranged(
        "brain", "what the values mean: the name of a shipped table, or a YAML file"
    )
    files: str = ranged("*", "which files of a folder are maps, as a pattern: *labels*")
    subject: str | None = ranged(
        None,
        "a regular expression that finds the person in an id, if the table has none; a map "
        "without a person is a subject of its own",
    )
    anisotropy_max: float = ranged(
        40.0, "the longest side of a voxel over its shortest, at most", low=1, high=1000
    )


@dataclass(frozen=True)
class MapSource:
    """Where a map comes from, and how it lies there."""

    id: str
    path: Path
    subject: str
    source: str = ""
    grid: Grid = _NO_GRID
    nbytes: int = 0  # in memory, cut to its labels
    digest: str = ""  # of the file, "" if it was not checked


@dataclass(frozen=True)
class LabelMap:
    """A map in memory: rows (z, y, x), cut to its labels and a margin of one voxel.

    In our frame: z grows to Superior, y to Posterior, x to Left; orientation is the file's.
    """

    rows: Rows
    voxel_mm: tuple[float, float, float]
    id: str
    subject: str
    orientation: str

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.rows.nbytes


class Packed(NamedTuple):
    """Maps in one buffer, as `kernels.warp` takes them: map m is flat[starts[m]:starts[m + 1]]."""

    flat: Rows
    starts: NDArray[np.int64]
    shapes: NDArray[np.int32]


class LabelMaps:
    """Label maps by number, in the order of their ids. Pickles as its list, without voxels."""

    def __init__(
        self,
        table: LabelTable,
        sources: Sequence[MapSource],
        digest: str,
        skipped: Sequence[str] = (),
        notes: Sequence[str] = (),
        most_ratio: float = 40.0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """skipped: a line for each map that is left out as bad. notes: what else to tell."""
        self.label_table, self.sources, self.digest = table, tuple(sources), digest
        self.skipped, self.notes = list(skipped), list(notes)
        self.most_ratio, self.cache_bytes = most_ratio, cache_bytes
        self._kept: Kept[LabelMap] = Kept(cache_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """As its list of files: another process reads no more than it draws."""
        return LabelMaps, (
            self.label_table,
            self.sources,
            self.digest,
            self.skipped,
            self.notes,
            self.most_ratio,
            self.cache_bytes,
        )

    def __len__(self) -> int:
        """How many maps there are."""
        return len(self.sources)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Their ids, ascending."""
        return tuple(s.id for s in self.sources)

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Whose maps they are: what a split keeps together."""
        return tuple(s.subject for s in self.sources)

    @cached_property
    def voxels_mm(self) -> NDArray[np.float64]:
        """(map, 3) voxel lengths z, y, x."""
        return np.array([s.grid.voxel_mm for s in self.sources]).reshape(-1, 3)

    def table(self) -> dict[str, list[Any]]:
        """What a store records of them: no path."""
        return {
            "id": list(self.ids),
            "subject": list(self.subjects),
            "source": [s.source for s in self.sources],
            "orientation": [s.grid.orientation for s in self.sources],
            "voxel_mm": [list(s.grid.voxel_mm) for s in self.sources],
        }

    @property
    def held_bytes(self) -> int:
        """The most that is kept of them: the cache, and a map that is being read."""
        sizes = [s.nbytes for s in self.sources]
        return min(sum(sizes), self.cache_bytes + max(sizes)) + _READ * max(sizes)

    def map(self, i: int) -> LabelMap:
        """Map `i`, from the cache or read; any thread may ask."""
        return self._kept.get(i) or self._kept.put(i, self._read(self.sources[i]))

    def _read(self, source: MapSource) -> LabelMap:
        try:
            rows, grid = read_map(source.path, self.label_table, self.most_ratio)
            if source.digest not in ("", _digest(source.path)):
                raise SourceError("it has changed since it was checked; begin again")
        except SourceError as error:
            raise SourceError(f"map {source.id}: {source.path}: {error}") from error
        return LabelMap(crop(rows), grid.voxel_mm, source.id, source.subject, grid.orientation)

    @cached_property
    def packed(self) -> Packed:
        """All maps in one buffer, in the order of `ids`; kept."""
        return pack([self.map(i).rows for i in range(len(self))])


def crop(rows: Rows, margin: int = MARGIN) -> Rows:
    """The box of the labels with `margin` voxels of background around it."""
    slices = []
    for axis in range(3):
        there = np.flatnonzero(rows.any(tuple(a for a in range(3) if a != axis)))
        slices.append(slice(int(there[0]), int(there[-1]) + 1))
    return np.ascontiguousarray(np.pad(rows[tuple(slices)], margin))


def pack(maps: Iterable[Rows]) -> Packed:
    """Maps (z, y, x) of any shapes in one buffer."""
    arrays = list(maps)
    starts = np.concatenate([[0], np.cumsum([a.size for a in arrays])]).astype(np.int64)
    shapes = np.array([a.shape for a in arrays], np.int32).reshape(-1, 3)
    flat = np.concatenate([a.ravel() for a in arrays]) if arrays else np.empty(0, np.uint8)
    return Packed(flat, starts, shapes)


def open_label_maps(
    inputs: MapInputs, folder: str | Path = ".", skip_bad: bool = False
) -> LabelMaps:
    """The maps of `inputs`, each read and checked. folder: where relative paths start.

    Raises SourceError with all that is wrong with all of them; `skip_bad` leaves bad maps out, and
    `skipped` says which and why.
    """
    base = Path(folder)
    table = open_table(inputs.table, base)
    pattern = _pattern(inputs.subject if inputs.subject is not None else table.subject)
    listed, problems = _list_maps(inputs, table, base)

    def check(source: MapSource) -> MapSource | str:
        try:
            rows, grid = read_map(source.path, table, inputs.anisotropy_max)
            digest = _digest(source.path)
        except (SourceError, OSError) as error:
            return f"map {source.id}: {source.path}: {error}"
        person = pattern.search(source.id) if pattern and not source.subject else None
        subject = source.subject or (person and person.group()) or source.id
        size = crop(rows).nbytes
        return replace(source, subject=subject, grid=grid, nbytes=size, digest=digest)

    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(check, listed))
    good = sorted((c for c in checked if not isinstance(c, str)), key=lambda source: source.id)
    bad = problems + [c for c in checked if isinstance(c, str)]
    if bad and not skip_bad:
        raise SourceError(
            f"{counted(len(bad), 'label map')} cannot be used; mend them, or leave them out with "
            "--skip-bad:\n  " + "\n  ".join(bad)
        )
    if not good:
        raise SourceError("\n  ".join([f"{inputs.maps}: no label map left to use", *bad]))
    notes = [f"{counted(len(bad), 'bad label map')} left out (--skip-bad)"] * bool(bad)
    facts = [[repr(table)], [[s.id, s.subject, s.digest] for s in good]]
    total = sha256(dumps(facts).encode()).hexdigest()
    return LabelMaps(table, good, total, bad, notes, inputs.anisotropy_max)


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise SourceError(f"subject: {text!r} is no regular expression: {error}") from error


def _list_maps(
    inputs: MapInputs, table: LabelTable, base: Path
) -> tuple[list[MapSource], list[str]]:
    """(maps, problems); raises SourceError where there is nothing to list."""
    if inputs.maps == "shipped":
        where = SHIPPED / table.name
        if not where.is_dir():
            raise SourceError(f"maps: none ship for table {table.name!r}; give a folder of them")
    else:
        where = base / Path(inputs.maps).expanduser()
    problems: list[str] = []
    if where.is_dir():
        files = sorted(f for f in where.glob(inputs.files) if f.name.endswith(SUFFIXES))
        found = [MapSource(_stem(f), f, "", table.source) for f in files]
    elif where.is_file() and where.suffix == ".csv":
        found, problems = _from_csv(where)
    elif where.is_file() and where.name.endswith(SUFFIXES):
        found = [MapSource(_stem(where), where, "")]
    else:
        raise SourceError(
            f"maps: {where} is neither a NIfTI file, a folder nor a CSV; give one, or maps: shipped"
        )
    if not found and not problems:
        raise SourceError(f"maps: no label maps in {where} ({inputs.files}, .nii or .nii.gz)")
    times = Counter(s.id for s in found)
    problems += [f"map {name}: {n} maps have this id" for name, n in times.items() if n > 1]
    return [s for s in found if times[s.id] == 1], problems


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(s) for s in SUFFIXES if path.name.endswith(s))


def _from_csv(path: Path) -> tuple[list[MapSource], list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"maps: {path} is not a readable CSV: {error}") from error
    rows = csv.DictReader(StringIO(text, newline=""))
    lacking = {"id", "map"} - set(rows.fieldnames or ())
    if lacking:
        raise SourceError(f"maps: {path} has no column {' and '.join(sorted(lacking))}")
    found, problems = [], []
    for row in rows:
        given = {k: (v or "").strip() for k, v in row.items() if isinstance(v, str | None) and k}
        if not given["id"] or not given["map"]:
            problems.append(f"{path}:{rows.line_num}: a map needs an id and a file in column map")
            continue
        where = path.parent / given["map"]
        subject, source = given.get("subject", ""), given.get("source", "")
        found.append(MapSource(given["id"], where, subject, source))
    return found, problems
