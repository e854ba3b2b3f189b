"""Compare derived regions with the same regions segmented in two CTs, projected to the front.

Run from the repository root: `python benchmarks/anatomy_ct.py [../shared/data/ct]`. It prints a
table and writes benchmarks/results/anatomy_ct.json; docs/anatomy.md says what the figures mean.

Each CT is turned to patient axes by its affine, and projected from front to back: the image's left
is the patient's right, its top the head, one pixel 2 mm. The references come from thresholds and
positions, not from a reader:
- lungs: labels 2-6 of ccth_torso (2-3 left); in Lung_Dx the air below -400 HU inside the body,
  parted into two by erosion. A lung is on the "film" where rays cross at least 20 mm of it, and
  below the top of the right dome half of the longest in their column: so it reaches behind the
  heart and ends at the domes, as readers of films draw it, not in the recesses behind these.
- trachea: in each slice from the top the air (below -500 HU, lower where the wall to a lung is too
  thin to be seen) that overlaps the tube of the slice above, until the tube has become two (the
  carina); then the two bronchi for 25 mm more. At least 4 mm of it on a ray.
- mediastinum: in each slice the convex hull of both lungs without the lungs; soft tissue from -150
  to 250 HU, opened by 8 mm (vessels of the lungs go), at least 10 mm of it on a ray. It ends
  10 mm below the top of the right dome; below that top it is no wider than above it.
- heart: the part of it from 20 mm below the carina downwards and at least 5 mm in front of the
  spine, which leaves the descending aorta out; the roots of the great vessels are in it.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import nibabel
import numpy as np
from scipy import ndimage

from voxelmill.engine.anatomy import derive

PIXEL_MM = 2.0
CASES = {
    "ccth_torso": ("ccth_torso/ct_1.9x1.9x2.5mm.nii.gz", "ccth_torso/labels.nii.gz"),
    "Lung_Dx-A0001": ("Lung_Dx-A0001_3_000000_5mm_41315.nii.gz", None),
}
Array = np.ndarray[Any, np.dtype[Any]]


class Chest(NamedTuple):
    """A CT as (z from the head down, y from the front back, x from the patient's right)."""

    hu: Array
    right: Array
    left: Array
    spacing_mm: Array


def main(folder: Path, results: Path) -> None:
    """Print the table of all cases and write it as JSON."""
    table = {name: compare(folder, name) for name in CASES}
    print(f"{'CT':14} {'region':12} {'Dice':>5} {'inside':>7} {'offset x, y mm':>16}")
    for name, regions in table.items():
        for region, row in regions.items():
            x, y = row["offset_mm"]
            print(
                f"{name:14} {region:12} {row['dice']:5.2f} {row['inside']:7.2f} {x:8.1f} {y:7.1f}"
            )
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(table, indent=1) + "\n")


def compare(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """Dice, share of the derived region inside the CT's, and centroid offset (derived less CT).

    The offset is (x, y) in mm: to the patient's left and towards the feet.
    """
    truth, found = regions_of(folder, name)
    rows = {}
    for region, reference in truth.items():
        mask = found[region]
        if region == "trachea":  # the CT sees it from the top of the scan only
            mask = mask & (np.arange(len(mask)) >= np.flatnonzero(reference.any(1))[0])[:, None]
        both = (mask & reference).sum()
        shift = np.subtract(ndimage.center_of_mass(mask), ndimage.center_of_mass(reference))
        rows[region] = {
            "dice": round(float(2 * both / (mask.sum() + reference.sum())), 3),
            "inside": round(float(both / mask.sum()), 3),
            "offset_mm": [round(float(s) * PIXEL_MM, 1) for s in shift[::-1]],
        }
    return rows


def regions_of(folder: Path, name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Frontal masks (y, x) of one case: the CT's regions, and all that derive gives."""
    chest = load(folder, name)
    trachea, carina = find_trachea(chest)
    mediastinum, heart = find_mediastinum(chest, carina)
    film = visible(chest.right, chest) | visible(chest.left, chest)
    truth = {
        "trachea": frontal(trachea, chest, 4),
        "mediastinum": frontal(mediastinum, chest, 10),
        "heart": frontal(heart, chest, 10),
    }
    return truth, derive(film)


def load(folder: Path, name: str) -> Chest:
    """One CT in the axes of Chest, cut to the lungs and 60 mm above and below them."""
    image, labels = CASES[name]
    ct = nibabel.as_closest_canonical(nibabel.load(folder / image))  # x to the right, y front, z up
    hu = _display(np.asarray(ct.dataobj, np.float32))
    spacing_mm = np.array(ct.header.get_zooms()[::-1], float)
    if spacing_mm[2] < 1:  # half the pixels a side are plenty, and eight times faster
        hu = hu.reshape(len(hu), hu.shape[1] // 2, 2, hu.shape[2] // 2, 2).mean((2, 4))
        spacing_mm = spacing_mm * (1, 2, 2)
    if labels is not None:
        lobes = nibabel.as_closest_canonical(nibabel.load(folder / labels))
        lobe = _display(np.asarray(lobes.dataobj))
        right, left = np.isin(lobe, (4, 5, 6)), np.isin(lobe, (2, 3))
    else:
        right, left = threshold_lungs(hu, spacing_mm)
    rows = np.flatnonzero((right | left).any((1, 2)))
    margin = int(60 / spacing_mm[0])
    cut = slice(max(0, rows[0] - margin), rows[-1] + margin)
    return Chest(hu[cut], right[cut], left[cut], spacing_mm)


def _display(volume: Array) -> Array:
    return volume.transpose(2, 1, 0)[::-1, ::-1, ::-1]


def threshold_lungs(hu: Array, spacing_mm: Array) -> tuple[Array, Array]:
    """Right and left lung: air inside the body, parted where it is narrowest."""
    air = hu < -400
    for k in range(len(air)):  # air around the body touches the slice's edge
        pieces, _ = ndimage.label(air[k])
        rim = np.unique(np.r_[pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
        air[k] &= ~np.isin(pieces, rim[rim > 0])
    for radius_mm in (4.0, 6.0, 8.0, 10.0, 12.0):
        ball = _ball(radius_mm, spacing_mm)
        cores, count = ndimage.label(ndimage.binary_erosion(air, ball))
        sizes = ndimage.sum_labels(cores > 0, cores, np.arange(1, count + 1))
        pair = np.argsort(sizes)[-2:] + 1
        if sizes[pair - 1].min() > 0.2 * sizes[pair - 1].max():
            break
    else:
        raise ValueError(f"no two lungs fall out of the threshold: cores of {sizes[pair - 1]}")
    centres = ndimage.center_of_mass(cores > 0, cores, pair)
    right, left = (pair[i] for i in np.argsort([c[2] for c in centres]))
    near = [ndimage.binary_dilation(cores == k, ball) & air for k in (right, left)]
    lungs = [ndimage.binary_closing(lung, _ball(6.0, spacing_mm)) for lung in near]
    return lungs[0], lungs[1] & ~lungs[0]


def find_trachea(chest: Chest) -> tuple[Array, int]:
    """The trachea and 25 mm of its bronchi, and the slice of the carina."""
    air = chest.hu < -500
    pixel_mm2 = chest.spacing_mm[1] * chest.spacing_mm[2]
    tube = np.zeros(air.shape, bool)
    lungs = chest.right | chest.left
    first = np.flatnonzero(lungs.any((1, 2)))[0]
    centre = np.mean([np.nonzero(side.any((0, 1)))[0].mean() for side in (chest.right, chest.left)])
    pieces, count = ndimage.label(air[first])
    places = ndimage.center_of_mass(air[first], pieces, np.arange(1, count + 1))
    areas = ndimage.sum_labels(air[first], pieces, np.arange(1, count + 1)) * pixel_mm2
    fits = [k for k in range(count) if 80 < areas[k] < 700]
    seed = min(fits, key=lambda k: abs(places[k][1] - centre)) + 1
    tube[first] = pieces == seed
    for k in range(first - 1, -1, -1):  # up into the neck
        tube[k] = _follow(chest.hu[k], tube[k + 1], pixel_mm2)
    carina = last = 0
    for k in range(first + 1, len(air)):
        tube[k] = _follow(chest.hu[k], tube[k - 1], pixel_mm2)
        if not carina and ndimage.label(tube[k])[1] > 1:
            carina = k
            last = k + int(25 / chest.spacing_mm[0])
        if not tube[k].any() or (carina and k >= last):
            break
    return tube, carina


def _follow(hu: Array, before: Array, pixel_mm2: float) -> Array:
    """The air of 30 to 900 mm2 that overlaps `before`; darker air where it runs into a lung."""
    for most_hu in (-500, -800, -900, -940):
        pieces, count = ndimage.label(hu < most_hu)
        areas = np.bincount(pieces.ravel(), minlength=count + 1) * pixel_mm2
        hit = [k for k in np.unique(pieces[before]) if k and areas[k] >= 30]
        if hit and max(areas[hit]) <= 900:
            return np.isin(pieces, hit)
    return np.zeros_like(before)


def find_mediastinum(chest: Chest, carina: int) -> tuple[Array, Array]:
    """The soft tissue between the lungs, and the heart in it."""
    lungs = chest.right | chest.left
    between = np.zeros_like(lungs)
    for k in np.flatnonzero(chest.right.any((1, 2)) & chest.left.any((1, 2))):
        points = np.argwhere(lungs[k])[:, ::-1].astype(np.int32)
        hull = np.zeros(lungs[k].shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        between[k] = (hull > 0) & ~ndimage.binary_fill_holes(lungs[k])
    soft = between & (chest.hu > -150) & (chest.hu < 250)
    soft = ndimage.binary_opening(soft, _ball(8.0, chest.spacing_mm))
    top = dome(chest)
    soft[top + int(10 / chest.spacing_mm[0]) :] = False
    columns = np.flatnonzero(soft[top - 2].any(0))
    soft[top:, :, : columns[0]] = soft[top:, :, columns[-1] :] = False
    pieces, count = ndimage.label(soft)
    soft = pieces == 1 + np.argmax(ndimage.sum_labels(soft, pieces, np.arange(1, count + 1)))
    heart = soft.copy()
    heart[: carina + int(20 / chest.spacing_mm[0])] = False
    middle = slice(*np.quantile(np.nonzero(soft)[2], [0.3, 0.7]).astype(int))
    spine = heart.shape[1]  # its front; a slice between two vertebrae takes the last one's
    for k in np.flatnonzero(heart.any((1, 2))):
        bone = np.flatnonzero((chest.hu[k][:, middle] > 150).sum(1) * chest.spacing_mm[2] > 12)
        back = bone[bone > np.nonzero(lungs[k])[0].mean()]
        spine = back.min() if back.size else spine
        heart[k, spine - int(5 / chest.spacing_mm[1]) :] = False
    return soft, heart


def visible(lung: Array, chest: Chest) -> Array:
    """The lung (y, x) as a reader of the film would outline it, at PIXEL_MM."""
    depth_mm = path_mm(lung, chest)
    thin = depth_mm < 0.5 * depth_mm.max(0)
    thin[: round(dome(chest) * chest.spacing_mm[0] / PIXEL_MM)] = False
    seen = (depth_mm >= 20) & ~np.logical_or.accumulate(thin, axis=0)
    return ndimage.binary_opening(ndimage.binary_fill_holes(seen), iterations=2)


def dome(chest: Chest) -> int:
    """The slice of the top of the right dome: where rays through it fall to 60 % of their column's.

    Only the middle of the right lung counts.
    """
    depth_mm = path_mm(chest.right, chest)
    columns = np.flatnonzero(depth_mm.max(0) > 0)
    middle = depth_mm[:, columns[len(columns) // 4] : columns[-len(columns) // 4]]
    lowest = len(middle) - np.argmax(middle[::-1] > 0.6 * middle.max(0), axis=0)
    return int(lowest.min() * PIXEL_MM / chest.spacing_mm[0])


def frontal(mask: Array, chest: Chest, least_mm: float) -> Array:
    """Where rays from front to back cross at least `least_mm` of `mask`, at PIXEL_MM."""
    return path_mm(mask, chest) >= least_mm


def path_mm(mask: Array, chest: Chest) -> Array:
    """Length of the rays from front to back inside `mask`, (y, x) at PIXEL_MM."""
    depth_mm = (mask.sum(1) * chest.spacing_mm[1]).astype(np.float32)
    pitch_mm = chest.spacing_mm[[0, 2]]
    ny, nx = (round(n * mm / PIXEL_MM) for n, mm in zip(depth_mm.shape, pitch_mm, strict=True))
    return cv2.resize(depth_mm, (nx, ny), interpolation=cv2.INTER_LINEAR)


def _ball(radius_mm: float, spacing_mm: Array) -> Array:
    reach = np.maximum(1, np.floor(radius_mm / spacing_mm)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1)
    return (((grid * spacing_mm) ** 2).sum(-1) <= radius_mm**2 + 1e-6) | (np.abs(grid).sum(-1) <= 1)


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "shared/data/ct"
    main(shared, here / "benchmarks/results/anatomy_ct.json")
