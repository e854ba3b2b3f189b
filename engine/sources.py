"""Real inputs: a folder or CSV of chest films with lung masks, region stacks, cut-out donors.

Everything that is wrong with them is found before work starts and told in one message.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import TypeVar

from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SourceError
from voxelmill.engine.film_list import donor_files, list_films
from voxelmill.engine.films import Film, Films, Source
from voxelmill.engine.pictures import (
    Mask,
    check_picture,
    decode_cutout,
    decode_lungs,
    read_file,
    resize_mask,
)
from voxelmill.engine.regions import check_stack
from voxelmill.engine.words import counted

__all__ = ["Film", "FilmInputs", "Films", "open_films"]
THREADS = 4
T = TypeVar("T")
R = TypeVar("R")
COARSE = 128  # side at which regions are tried before work starts


@dataclass(frozen=True)
class FilmInputs:
    """What the key `inputs:` of a recipe of chest films may hold; paths start at the spec."""

    films: str = ranged(
        "shipped",
        "shipped; or a folder with images/ and masks/ (same names); or a CSV with columns id, "
        "image and, if known, mask, subject, view, devices, source (paths start at the CSV)",
    )
    masks: str | None = ranged(
        None, "folder of lung masks, <image name>.png: 255 lung, 127 large device, 0 background"
    )
    regions: str | None = ranged(
        None, "folder of region masks, <id>.npz (names, masks) or <id>/<region>.png"
    )
    donors: str | None = ranged(
        None, "shipped; or a folder of PNG cut-outs with alpha, for cut-and-paste"
    )
    allow_devices: bool = ranged(
        False, "whether films that are known to show devices may be backgrounds"
    )


def open_films(inputs: FilmInputs, folder: str | Path = ".", skip_bad: bool = False) -> Films:
    """The films of `inputs`, all checked: files whole, masks that fit and show two lungs.

    folder: where relative paths start. A film without a subject is a subject of its own. Films
    with known devices are left out unless `allow_devices`; `notes` says how many. Raises
    SourceError with all that is wrong; `skip_bad` leaves bad films and donors out, and `skipped`
    says which and why.
    """
    base = Path(folder)
    listed, problems = list_films(inputs.films, inputs.masks, inputs.regions, base)
    films = [f for f in listed if inputs.allow_devices or not f.devices]
    dropped = len(listed) - len(films)
    films_out = f"{counted(dropped, 'film')} with known devices left out (allow_devices: false)"
    notes = [films_out] * bool(dropped)
    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(_attempt(_check_film), films))
        donors = list(pool.map(_attempt(_check_donor), donor_files(inputs.donors, base)))
    bad = problems + [p for _, p in (*checked, *donors) if p]
    good = [found for found, _ in checked if found]
    cutouts = [found for found, _ in donors if found]
    if bad and not skip_bad:
        raise SourceError(
            f"{counted(len(bad), 'input')} cannot be used; mend them, or leave them out with "
            "--skip-bad:\n  " + "\n  ".join(bad)
        )
    if inputs.donors is not None and not cutouts:
        raise SourceError("\n  ".join([f"{inputs.donors}: no usable donor", *bad]))
    if not good:
        raise SourceError("\n  ".join([f"{inputs.films}: no film left to use", *notes, *bad]))
    if bad:
        notes.append(f"{counted(len(bad), 'bad input')} left out (--skip-bad)")
    if unknown := sum(source.devices is None for source, _ in good):
        notes.append(
            f"{unknown} films do not say whether they show devices, which would be objects that no "
            "mask shows; say it in the column devices of a CSV"
        )
    good.sort(key=lambda pair: pair[0].id)
    facts = [[s.id, s.subject, s.devices, *d] for s, d in good]
    text = dumps([facts, [digest for _, digest in cutouts]])
    digest = sha256(text.encode()).hexdigest()
    return Films([source for source, _ in good], [path for path, _ in cutouts], digest, bad, notes)


def _attempt(check: Callable[[T], R]) -> Callable[[T], tuple[R | None, str | None]]:
    """`check` that returns its result, or the message of its SourceError."""

    def run(item: T) -> tuple[R | None, str | None]:
        try:
            return check(item), None
        except SourceError as error:
            return None, str(error)

    return run


def _check_film(film: Source) -> tuple[Source, list[str]]:
    """The film with the names of its regions, and the digests of its files."""
    try:
        image, mask = read_file(film.image), read_file(film.mask)
        shape = check_picture(image, film.image)
        lungs = decode_lungs(mask, film.mask)
        if lungs.shape != shape:
            raise SourceError(
                f"{film.mask}: a mask of {lungs.shape} (y, x) for a film of {shape}; they must be "
                "the same pixels"
            )
        digests = [sha256(image).hexdigest(), sha256(mask).hexdigest()]
        names: frozenset[str] = frozenset()
        if film.stack is not None:
            names, digest = check_stack(film.stack, shape)
            digests.append(digest)
        _check_lungs(lungs, names)
    except SourceError as error:
        raise SourceError(f"film {film.id}: {error}") from error
    return replace(film, region_names=names), digests


def _check_lungs(lungs: Mask, names: frozenset[str]) -> None:
    """Raise SourceError where regions must be derived but cannot: no two lungs, or no room."""
    from voxelmill.engine.anatomy import REGIONS, derive

    if not names.issuperset(REGIONS):
        derive(resize_mask(lungs, min(COARSE, *lungs.shape)))


def _check_donor(path: Path) -> tuple[Path, str]:
    data = read_file(path)
    check_picture(data, path)
    decode_cutout(data, path)
    return path, sha256(data).hexdigest()
