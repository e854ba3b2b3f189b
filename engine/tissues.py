"""Tissues of MR: a data file with a source for each value, and one draw of them for a sample.

Good papers disagree (T1 of muscle by 57 %), mostly since they measured differently. So a sample
draws the source, one ranking for all its tissues, and not the mean of the sources; then it scatters
T1 and T2 as that source says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream, TruncatedNormal
from voxelmill.engine.errors import SourceError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.sample import Column

SHIPPED = Path(__file__).parent / "data" / "mr" / "tissues.yaml"
MARKS = {
    "V": "read in the source",
    "C": "read in public code that cites the source",
    "D": "made from other values of the source by the rule beside it in the file",
    "M": "textbook or general knowledge, not read again",
}
NAMES = ("tissue.source", "tissue.pd", "tissue.fat", "tissue.t1", "tissue.t2", "tissue.t2s")
WATER, FAT = POOLS = ("water", "fat")
WATER_LIKE, FAT_LIKE = "skeletal muscle", "subcutaneous fat"  # relaxation of the lesser pool
_MOST_SD = 2.5  # of T1 and T2 about the mean of a source
_MAIN_KEYS = {"main", "pd", "fat_fraction", "spectrum", "t2s", "relaxation"}
_RELAXATION_KEYS = {"tesla", "source", "mark", "t1", "t1_sd", "t2", "t2_sd"}


@dataclass(frozen=True)
class Value:
    """A number that is even over [low, high], where it is from, and its mark (see MARKS)."""

    low: float
    high: float
    source: str
    mark: str


@dataclass(frozen=True)
class Relaxation:
    """T1 and T2 at one field by one source, mean and standard deviation."""

    tesla: float
    source: str
    mark: str
    t1_ms: float
    t1_sd_ms: float
    t2_ms: float
    t2_sd_ms: float


@dataclass(frozen=True)
class Tissue:
    """What the file says of a tissue; `main` is the pool whose relaxation it gives."""

    name: str
    main: str
    pd: Value
    fat_fraction: Value
    spectrum: str
    t2s_ms: Mapping[float, Value]
    relaxation: tuple[Relaxation, ...]

    def at(self, tesla: float) -> tuple[Relaxation, ...]:
        """Its sources at a field."""
        return tuple(r for r in self.relaxation if r.tesla == tesla)


COLUMNS = (
    Column("pd", "M0 of water", "protons that are seen"),
    Column("fat_fraction", "1", "share of them that are fat"),
    Column("t1_ms", "ms", "T1 of the water pool"),
    Column("t2_ms", "ms", "T2 of the water pool"),
    Column("fat_t1_ms", "ms", "T1 of the fat pool"),
    Column("fat_t2_ms", "ms", "T2 of the fat pool"),
    Column("t2s_ms", "ms", "T2* of both pools"),
    Column("source", "1", "whose T1 and T2 these are, by its number in the file"),
)
AT = {column.name: i for i, column in enumerate(COLUMNS)}


@dataclass(frozen=True)
class Tissues:
    """A file of tissues; `sources` are its citations by key."""

    by_name: Mapping[str, Tissue]
    sources: Mapping[str, str]

    def __iter__(self) -> Iterator[Tissue]:
        return iter(self.by_name.values())

    def require(self, names: Sequence[str], tesla: float) -> None:
        """Raise SourceError for names that are not in the file, or have no values at a field."""
        problems = [
            f"no tissue {name!r}{did_you_mean(name, self.by_name)}"
            for name in dict.fromkeys(names)
            if name not in self.by_name
        ]
        for name in dict.fromkeys(n for n in (*names, WATER_LIKE, FAT_LIKE) if n in self.by_name):
            tissue = self.by_name[name]
            if not tissue.at(tesla) or tesla not in tissue.t2s_ms:
                known = sorted({r.tesla for r in tissue.relaxation} & set(tissue.t2s_ms))
                problems.append(f"{name} has values at {known} T, not at {tesla:g} T")
        if problems:
            raise SourceError("tissues: " + "; ".join(problems))

    def draw(self, stream: Stream, tesla: float) -> NDArray[np.float64]:
        """Values for one sample: (tissue, COLUMNS), all tissues of the file in its order.

        What is drawn for a tissue does not depend on which others a label table uses.
        """
        ranking = stream.uniform("tissue.source", len(self.sources))
        rank = dict(zip(self.sources, ranking.tolist(), strict=True))
        chances = [stream.uniform(name, len(self.by_name)) for name in NAMES[1:3]]
        t2s_chances = stream.uniform(NAMES[5], len(self.by_name))
        normal = TruncatedNormal(-_MOST_SD, _MOST_SD)
        spread = [normal.draws(stream, name, len(self.by_name)) for name in NAMES[3:5]]
        table = np.full((len(self.by_name), len(COLUMNS)), np.nan)
        order = list(self.sources)
        for row, tissue, pd, fat, t2s, z1, z2 in zip(
            table, self, *chances, t2s_chances, *spread, strict=True
        ):
            if not tissue.at(tesla) or tesla not in tissue.t2s_ms:
                continue  # `require` has refused those that are used
            found = max(tissue.at(tesla), key=lambda r: rank[r.source])
            row[AT["pd"]] = _between(tissue.pd, pd)
            row[AT["fat_fraction"]] = _between(tissue.fat_fraction, fat)
            first = AT["t1_ms"] if tissue.main == WATER else AT["fat_t1_ms"]
            row[first] = max(found.t1_ms + z1 * found.t1_sd_ms, 0.2 * found.t1_ms)
            row[first + 1] = max(found.t2_ms + z2 * found.t2_sd_ms, 0.2 * found.t2_ms)
            row[AT["t2s_ms"]] = min(_between(tissue.t2s_ms[tesla], t2s), row[first + 1])
            row[AT["source"]] = order.index(found.source)
        self._fill_lesser_pools(table)
        return table

    def _fill_lesser_pools(self, table: NDArray[np.float64]) -> None:
        """Water inside fat relaxes as muscle's does, fat inside water as subcutaneous fat's.

        But no faster than T2*, which both pools have: dephasing comes on top of T2 (1/T2* is 1/T2 +
        1/T2'), and it is the main pool that T2* was measured of. So T2 is raised, not T2* lowered.
        """
        names = list(self.by_name)
        for first, like in (("t1_ms", WATER_LIKE), ("fat_t1_ms", FAT_LIKE)):
            columns = slice(AT[first], AT[first] + 2)
            given = table[names.index(like), columns]
            table[:, columns] = np.where(np.isnan(table[:, columns]), given, table[:, columns])
        shares = 1 - table[:, AT["fat_fraction"]], table[:, AT["fat_fraction"]]
        for share, column in zip(shares, (AT["t2_ms"], AT["fat_t2_ms"]), strict=True):
            least = np.where(share > 0, table[:, AT["t2s_ms"]], 0)  # a pool that is there
            table[:, column] = np.maximum(table[:, column], least)


def _between(value: Value, chance: float) -> float:
    return value.low + (value.high - value.low) * chance


def open_tissues(path: Path = SHIPPED) -> Tissues:
    """The tissues of a YAML file; raises SourceError with all that is wrong with it."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as YAML: {error}") from error
    return _parsed(path, text)


@lru_cache(8)
def _parsed(path: Path, text: str) -> Tissues:
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SourceError(f"{path}: cannot be read as YAML: {error}") from error
    problems: list[str] = []
    lacking = {"sources", "tissues"} - set(whole if isinstance(whole, dict) else ())
    if lacking:
        raise SourceError(f"{path}: lacks {', '.join(sorted(lacking))}")
    sources, cv = _cited(path, whole)
    tissues = {
        name: tissue
        for name, entry in whole["tissues"].items()
        if (tissue := _tissue(name, entry, cv, sources, problems)) is not None
    }
    problems += [
        f"{like!r} must be there: others take its relaxation"
        for like in (WATER_LIKE, FAT_LIKE)
        if like not in whole["tissues"]
    ]
    if problems:
        raise SourceError(f"{path}:\n  " + "\n  ".join(problems))
    return Tissues(tissues, sources)


def _cited(path: Path, whole: Mapping[str, Any]) -> tuple[dict[str, str], float]:
    """The citations by key, and the scatter of T1 and T2 where a source gives none."""
    try:
        sources = {
            str(name): f"{one['cite']}{', doi ' + one['doi'] if 'doi' in one else ''}"
            for name, one in whole["sources"].items()
        }
        cv, _ = float(whole.get("cv", 0.08)), whole["tissues"].items()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path}: sources and tissues are mappings, a source has a cite, and cv is a number "
            f"({type(error).__name__}: {error})"
        ) from error
    if not 0 <= cv <= 1:
        raise SourceError(f"{path}: cv {cv:g} must be within 0 and 1")
    return sources, cv


def _tissue(
    name: str, entry: Any, cv: float, sources: Mapping[str, str], problems: list[str]
) -> Tissue | None:
    """One entry of the file; None, and what is wrong told in `problems`, if it is none."""
    if not isinstance(entry, dict) or not {"pd", "t2s", "relaxation"} <= set(entry):
        problems.append(f"{name}: must have pd, t2s and relaxation")
        return None
    from voxelmill.kernels.spectrum import SPECTRA

    before = len(problems)
    spectrum = entry.get("spectrum", "hamilton")
    if spectrum not in list(SPECTRA):
        problems.append(f"{name}: unknown spectrum {spectrum!r}{did_you_mean(spectrum, SPECTRA)}")
    problems += [f"{name}: unknown key {k!r}{did_you_mean(k, _MAIN_KEYS)}"
                 for k in entry if k not in _MAIN_KEYS]  # fmt: skip
    if entry.get("main", WATER) not in POOLS:
        problems.append(f"{name}: main must be water or fat, not {entry['main']!r}")
    nothing = {"range": [0, 0], "source": "textbook", "mark": "M"}
    try:
        made = Tissue(
            name,
            entry.get("main", WATER),
            _value(f"{name}.pd", entry["pd"], (0, 1.2), sources, problems),
            _value(f"{name}.fat_fraction", entry.get("fat_fraction", nothing), (0, 1), sources,
                   problems),
            spectrum,
            {float(t): _value(f"{name}.t2s.{t}", v, (1e-3, 1e4), sources, problems)
             for t, v in entry["t2s"].items()},
            tuple(_relaxation(name, one, cv, sources, problems) for one in entry["relaxation"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problems.append(f"{name}: cannot be read ({type(error).__name__}: {error})")
        return None
    return made if len(problems) == before else None


def _value(
    name: str,
    entry: Mapping[str, Any],
    bounds: tuple[float, float],
    sources: Mapping[str, str],
    problems: list[str],
) -> Value:
    low, high = (float(v) for v in entry["range"])
    if not bounds[0] <= low <= high <= bounds[1]:
        problems.append(f"{name}: [{low:g}, {high:g}] must be ascending and within {list(bounds)}")
    _check_origin(name, entry, sources, problems)
    return Value(low, high, entry["source"], entry["mark"])


def _relaxation(
    name: str,
    entry: Mapping[str, Any],
    cv: float,
    sources: Mapping[str, str],
    problems: list[str],
) -> Relaxation:
    place = f"{name} at {entry['tesla']} T by {entry['source']}"
    problems += [f"{place}: unknown key {k!r}" for k in entry if k not in _RELAXATION_KEYS]
    _check_origin(place, entry, sources, problems)
    t1, t2 = float(entry["t1"]), float(entry["t2"])
    if not 0 < t2 <= t1 < inf:
        problems.append(f"{place}: T2 {t2:g} must be above 0 and not above T1 {t1:g}")
    t1_sd, t2_sd = float(entry.get("t1_sd", cv * t1)), float(entry.get("t2_sd", cv * t2))
    problems += [f"{place}: {sd:g} is no standard deviation" for sd in (t1_sd, t2_sd)
                 if not 0 <= sd < inf]  # fmt: skip
    return Relaxation(
        float(entry["tesla"]), entry["source"], entry["mark"], t1, t1_sd, t2, t2_sd
    )  # fmt: skip


def _check_origin(
    name: str, entry: Mapping[str, Any], sources: Mapping[str, str], problems: list[str]
) -> None:
    if entry["source"] not in sources:
        problems.append(f"{name}: unknown source {entry['source']!r}; list it under sources")
    if entry["mark"] not in MARKS:
        problems.append(f"{name}: mark {entry['mark']!r} must be one of {', '.join(MARKS)}")
