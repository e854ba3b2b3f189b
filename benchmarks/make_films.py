"""Make the shipped films: eleven radiographs and lung masks of ../shared/data/cxr at 512 x 512.

Run from the repository root: `python benchmarks/make_films.py [../shared/data/cxr]`. It writes
engine/data/films/images, masks and films.csv; ATTRIBUTION.md and the licence beside them are
written by hand. The films are a choice from those that the catalog marks aligned and free of
devices and that show none at full size either (bd3ceeb6 and d6494b39 do, against the catalog), nor
burned-in letters, which would be objects of the class `textual` that no mask shows.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CHOSEN = (
    *("0a7faa2a", "1d435a4b", "3b46de94", "5acb8ac5", "5f619d7e", "90986ce4"),
    *("a8ac1969", "bd10d5e2", "c3829ecb", "e1446fe8", "f8335316"),
)
SIZE = (512, 512)
FLAGS = ("pacemaker_icd", "ortho_implant", "ecg_leads_or_lines")
SOURCE = "Hannover Medical School, doi:10.6084/m9.figshare.12275009"


def main(source: Path, target: Path) -> None:
    """Resize the chosen films and masks of `source` into `target` and write their table."""
    with (source / "device_catalog_UNVERIFIED.csv").open() as file:
        catalog = {row["image_id"]: row for row in csv.DictReader(file)}
    for folder in ("images", "masks"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    with (target / "films.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "image", "mask", "subject", "view", "devices", "source"])
        for name in CHOSEN:
            row = catalog[name]
            if row["mask_aligned"] != "1" or any(row[flag] != "0" for flag in FLAGS):
                raise ValueError(f"{name} is not a clean, aligned film: {row}")
            image, mask = f"images/{name}.png", f"masks/{name}.png"
            resize_film(source / image, target / image)
            resize_mask(source / mask, target / mask)
            table.writerow([name, image, mask, name, row["projection"].upper(), 0, SOURCE])
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{len(CHOSEN)} films, {total / 1e6:.2f} MB in {target}")


def resize_film(source: Path, target: Path) -> None:
    """Write an 8-bit grey film at SIZE."""
    with Image.open(source) as film:
        film.convert("L").resize(SIZE, Image.Resampling.LANCZOS).save(target, optimize=True)


def resize_mask(source: Path, target: Path) -> None:
    """Write a mask of 0 and 255 at SIZE: lung where it covers at least half of a pixel."""
    with Image.open(source) as mask:
        values = set(np.unique(np.asarray(mask)).tolist())
        if not values <= {0, 255}:
            raise ValueError(f"{source} holds {values}; only 0 and 255 (lung) are expected")
        share = np.asarray(mask.resize(SIZE, Image.Resampling.BOX))
    lung = np.where(share >= 128, 255, 0).astype(np.uint8)
    Image.fromarray(lung).save(target, optimize=True)


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "shared/data/cxr"
    main(shared, here / "engine/data/films")
