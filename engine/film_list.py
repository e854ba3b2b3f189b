"""Which films there are: those that ship, those of a folder or those of a CSV; opens no picture."""

import csv
from collections import Counter
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

from voxelmill.engine.errors import SourceError
from voxelmill.engine.films import Source
from voxelmill.engine.pictures import SUFFIXES

SHIPPED = Path(__file__).parent / "data" / "films" / "films.csv"
SHIPPED_DONORS = Path(__file__).parent / "data" / "donors"
COLUMNS = ("id", "image", "mask", "subject", "view", "devices", "source")
_TRUTH: dict[str, bool | None] = {
    "": None,
    "0": False,
    "false": False,
    "no": False,
    "1": True,
    "true": True,
    "yes": True,
}
Found = tuple[list[Source], list[str]]


def list_films(films: str, masks: str | None, regions: str | None, base: Path) -> Found:
    """(films, problems) of the keys of `inputs:`; relative paths start at `base`.

    Raises SourceError where there is nothing to list; a problem is a line on one film.
    """
    where = SHIPPED if films == "shipped" else base / Path(films).expanduser()
    mask_folder = _folder(masks, base, "masks")
    region_folder = _folder(regions, base, "regions")
    if where.is_dir():
        found, problems = _from_folder(where, mask_folder)
    elif where.is_file():
        found, problems = _from_csv(where, mask_folder)
    else:
        raise SourceError(
            f"films: {where} is neither a folder nor a CSV; give one, or films: shipped"
        )
    if not found and not problems:
        raise SourceError(f"films: no films in {where}; it needs {_wanted(where)}")
    times = Counter(source.id for source in found)
    problems += [f"film {name}: {n} films have this id" for name, n in times.items() if n > 1]
    kept = []
    for source in found:
        stack = _stack(source.id, region_folder)
        if region_folder is not None and stack is None:
            where = region_folder / source.id
            problems.append(f"film {source.id}: no regions; looked for {where}.npz and {where}/")
        elif not source.mask.is_file():
            problems.append(f"film {source.id}: no mask; looked for {source.mask}")
        elif times[source.id] == 1:
            kept.append(Source(**{**vars(source), "stack": stack}))
    return kept, problems


def donor_files(donors: str | None, base: Path) -> list[Path]:
    """The PNG files of the donor folder in the order of their names; SourceError if none."""
    folder = SHIPPED_DONORS if donors == "shipped" else _folder(donors, base, "donors")
    if folder is None:
        return []
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() == ".png")
    if not files:
        raise SourceError(f"donors: no PNG in {folder}; it needs cut-outs with an alpha channel")
    return files


def _folder(name: str | None, base: Path, key: str) -> Path | None:
    if name is None:
        return None
    folder = base / Path(name).expanduser()
    if not folder.is_dir():
        raise SourceError(f"{key}: {folder} is not a folder")
    return folder


def _wanted(where: Path) -> str:
    if where.is_file():
        return "a row for each film"
    return "images/*.png or *.jpg, and masks/ with a PNG of the same name for each"


def _stack(name: str, folder: Path | None) -> Path | None:
    """<name>.npz or the folder <name> in `folder`, whichever is there."""
    if folder is None:
        return None
    return next((p for p in (folder / f"{name}.npz", folder / name) if p.exists()), None)


def _from_folder(folder: Path, masks: Path | None) -> Found:
    """images/ (or the folder itself, where `masks` is given apart) and masks/; ids are stems."""
    images = folder / "images"
    if not images.is_dir() and masks is not None:
        images = folder
    masks = masks or folder / "masks"
    if not images.is_dir():
        return [], []
    files = sorted(f for f in images.iterdir() if f.suffix.lower() in SUFFIXES)
    return [Source(f.stem, f, masks / f"{f.stem}.png", f.stem) for f in files], []


def _from_csv(path: Path, masks: Path | None) -> Found:
    try:
        rows = csv.DictReader(StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
        names = list(rows.fieldnames or ())
        _check_columns(path, names)
        found, problems = [], []
        for row in rows:
            try:
                found.append(_row(row, path.parent, masks))
            except SourceError as error:
                problems.append(f"{path}:{rows.line_num}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"films: {path} is not a readable CSV: {error}") from error
    return found, problems


def _check_columns(path: Path, names: list[str]) -> None:
    """Raise SourceError where a column is missing, double, or looks like a misspelt one."""
    lacking = [name for name in ("id", "image") if name not in names]
    double = [name for name, n in Counter(names).items() if n > 1]
    if lacking:
        raise SourceError(f"films: {path} has no column {' and '.join(lacking)}; it has {names}")
    if double:
        raise SourceError(f"films: {path} has the column {double[0]!r} twice")
    for name in names:
        absent = [column for column in COLUMNS if column not in names]
        near = get_close_matches(name.lower(), absent, 1, 0.75) if name not in COLUMNS else []
        if near:
            raise SourceError(f"films: {path}: column {name!r}; did you mean {near[0]!r}?")


def _row(row: dict[str, str | None], folder: Path, masks: Path | None) -> Source:
    """The film of a row; empty fields are as absent ones."""
    if None in row or None in row.values():
        raise SourceError("more or fewer fields than the header has columns")
    given = {name: str(value).strip() for name, value in row.items()}
    if not given["id"] or not given["image"]:
        raise SourceError("a film needs an id and an image")
    image = folder / given["image"]
    devices = given.get("devices", "")
    if devices.lower() not in _TRUTH:
        raise SourceError(f"devices is {devices!r}; it is 0 or 1, or empty where unknown")
    mask = folder / given["mask"] if given.get("mask") else None
    if mask is None and masks is not None:
        mask = masks / f"{image.stem}.png"
    if mask is None:
        raise SourceError(f"film {given['id']}: no mask; name it in the column mask")
    return Source(
        given["id"],
        image,
        mask,
        given.get("subject") or given["id"],
        given.get("view", ""),
        _TRUTH[devices.lower()],
        given.get("source", ""),
    )
