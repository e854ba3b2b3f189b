"""Draw the derived regions over shipped films: docs/img/anatomy.png.

Run from the repository root: `python benchmarks/anatomy_picture.py [folder with films.csv]`.
"""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from PIL import Image

from voxelmill.engine.anatomy import derive

COLOURS = {
    "lung_right": "#4cc9f0",
    "lung_left": "#4895ef",
    "mediastinum": "#ffd166",
    "heart": "#ef476f",
    "aorta": "#ff7f50",
    "trachea": "#06d6a0",
    "ribs": "#adb5bd",
    "diaphragm": "#c77dff",
    "clavicles": "#f8f9fa",
    "body": "#74c69d",
}


def main(folder: Path, target: Path, most: int = 6) -> None:
    """Draw the outlines of all regions of the first `most` films of `folder`."""
    with (folder / "films.csv").open() as file:
        films = list(csv.DictReader(file))[:most]
    columns = min(3, len(films))
    rows = -(-len(films) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(4.2 * columns, 4.2 * rows + 0.5))
    for panel, film in zip(np.ravel(panels), films, strict=False):
        draw(panel, folder, film)
    lines = [Line2D([], [], color=colour, lw=3) for colour in COLOURS.values()]
    figure.legend(
        lines, list(COLOURS), loc="lower center", ncols=5, frameon=False, labelcolor="white"
    )
    figure.patch.set_facecolor("#101418")
    figure.subplots_adjust(0.005, 0.55 / (4.2 * rows + 0.5), 0.995, 0.97, 0.01, 0.04)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)
    Image.open(target).convert("RGB").save(target, optimize=True)


def draw(panel: plt.Axes, folder: Path, film: dict[str, str]) -> None:
    """Draw one film and the outlines of its regions."""
    image = np.asarray(Image.open(folder / film["image"]))
    regions = derive(np.asarray(Image.open(folder / film["mask"])) > 0)
    low, high = np.percentile(image, [1, 99.5])
    panel.imshow(image, cmap="gray", vmin=low, vmax=high)
    for name, colour in COLOURS.items():
        # A frame of zeros closes the outline of what runs out of the film.
        level = np.pad(regions[name].astype(float), 1)
        y, x = (np.arange(-1, n + 1) for n in image.shape)
        panel.contour(x, y, level, [0.5], colors=colour, linewidths=1.2)
    panel.set(xlim=(-1, image.shape[1]), ylim=(image.shape[0], -1), xticks=[], yticks=[])
    panel.set_title(f"{film['id']} {film['view']}", color="white", fontsize=9, pad=3)
    panel.set_frame_on(False)


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    films = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "engine/data/films"
    main(films, here / "docs/img/anatomy.png")
