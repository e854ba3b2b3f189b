"""Draw docs/img/labels_mr_real.png: a simulated MPRAGE beside a real T1 image of the same brain.

Run from the repository root: `python benchmarks/picture_brain.py [../shared/data]`. Also prints
signals over that of white matter: in the 60 real images of brain_t1, in simulated ones of one
person's parcellation with drawn tissue values, and by the closed form with the values of each
source. Nothing farther than 2 voxels from the parcellation is shown or measured, so no face.

What it draws is made from an image of IXI (CC BY-SA 3.0): see docs/img/ATTRIBUTION.md.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel
import numpy as np
from pictures_mr import IMAGES, LEVEL, ZOOM, _colours, _grey, sample, sheet
from PIL import Image
from proof_brain import MARGIN, MR_SPEC, surrounded, write_maps
from recipes.pairs import MOST_RATIO, read_image
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from voxelmill.engine.label_nifti import read_map
from voxelmill.engine.label_table import open_table
from voxelmill.engine.tissues import AT, open_tissues
from voxelmill.kernels.signals import mprage

TABLE = open_table("dlmuse")
NAMES = np.array(TABLE.names)
GROUPS = np.array([row.group for row in TABLE.rows])
PERSON = "IXI012-HH-1211"  # not of the test
# All 60 are of Hammersmith Hospital, a Philips 3 T. IXI gives: TR 9.6 ms (of a pulse), TE 4.6 ms,
# 208 phase encodings, a train of 208, 8 degrees. It gives no TI and no time from train to train:
# those are ours, TI the shortest that a train of 2 s with its middle at the centre of k-space has.
# Its own numbers are mark M (see engine/data/mr/tissues.yaml): from memory, not read again.
PULSE_MS, TE_MS, FLIP_DEG, PULSES = 9.6, 4.6, 8.0, 208
TI_MS, TR_MS = 1010.0, 3000.0
PROTOCOL = {"tr_ms": TR_MS, "ti_ms": TI_MS, "te_ms": TE_MS, "flip_deg": FLIP_DEG,
            "spacing_ms": PULSE_MS, "pulses": PULSES, "efficiency": 1}  # fmt: skip
SETTINGS = (
    *LEVEL, "seed=11", "ranges.mode=physics", "ranges.families=mprage", "ranges.pose.scaling=1",
    "ranges.pose.shear=0", "ranges.bend.rms_mm=0", "ranges.acquisition.matrix=1",
    "ranges.acquisition.partial_fourier=1", "ranges.acquisition.window=none",
    "ranges.acquisition.bandwidth_hz=200", "ranges.acquisition.order=linear",
    "ranges.acquisition.snr=40", *(f"ranges.protocols.mprage.{k}={v}" for k, v in PROTOCOL.items()),
)  # fmt: skip
OTHERS = ((3000, 1500), (2400, 1010), (2100, 1010))  # times of trains and TI that also fit, ms
SAMPLES = 24
TOP = 1.35  # of white matter: what is shown white
NEAR_VOXELS = 3.0  # sd of the Gaussian over which white matter is averaged: 6 mm
TISSUES = {
    "cortex": ("grey matter", GROUPS == "cerebral cortex"),
    "thalamus": ("deep grey matter", np.char.endswith(NAMES, "thalamus")),
    "caudate": ("deep grey matter", np.char.endswith(NAMES, "caudate")),
    "putamen": ("deep grey matter", np.char.endswith(NAMES, "putamen")),
    "pallidum": ("deep grey matter", np.char.endswith(NAMES, "pallidum")),
    "fluid of the lateral ventricles": ("csf", GROUPS == "lateral ventricle"),
}


def ratios(image: Any, rows: Any) -> dict[str, tuple[float, float]]:
    """Median signal of each tissue over white matter's median, and over white matter nearby.

    Labels are eroded by a voxel, white matter by two where it is taken as a whole. Nearby: averaged
    by a Gaussian, which takes out most of what coils and transmit field do to both.
    """
    inside = binary_erosion(GROUPS[rows] == "cerebral white matter")
    white, near = binary_erosion(inside), _mean_near(image, inside)
    found = {}
    for name, (_, which) in TISSUES.items():
        mask = binary_erosion(which[rows])
        if mask.sum() >= 20:
            found[name] = (
                float(np.median(image[mask]) / np.median(image[white])),
                float(np.median(image[mask] / near[mask])),
            )
    return found


def _mean_near(image: Any, mask: Any) -> Any:
    share = gaussian_filter(mask.astype(np.float32), NEAR_VOXELS)
    return gaussian_filter(image * mask, NEAR_VOXELS) / np.maximum(share, 1e-6)


def real(data: Path, name: str) -> tuple[Any, Any]:
    """Image, 0 farther than MARGIN voxels from the parcellation, and rows of one person."""
    folder = data / "brain_t1"
    label_file = folder / f"{name}_DLMUSE.nii.gz"
    rows, _ = read_map(label_file, TABLE, MOST_RATIO)
    image = read_image(folder / f"{name}_T1.nii.gz", nibabel.load(label_file).affine)
    return image * binary_dilation(rows > 0, iterations=MARGIN), rows


def closed_form(source: str, tr_ms: float = TR_MS, ti_ms: float = TI_MS) -> dict[str, float]:
    """Over white matter, of the means of one source; where it has no value, of the only one."""
    shown = {}
    for tissue in ("white matter", "grey matter", "deep grey matter", "csf"):
        one = open_tissues().by_name[tissue]
        own = [r for r in one.at(3.0) if r.source == source] or one.at(3.0)
        pd, t2s = one.pd, one.t2s_ms[3.0]
        shown[tissue] = mprage((pd.low + pd.high) / 2, own[0].t1_ms, (t2s.low + t2s.high) / 2,
                               tr_ms, ti_ms, TE_MS, FLIP_DEG, PULSE_MS, PULSES,
                               PULSES // 2)  # fmt: skip
    return {tissue: abs(float(v / shown["white matter"])) for tissue, v in shown.items()}


def simulated(maps: Path, shape: tuple[int, ...], index: int) -> tuple[Any, str]:
    """Image on the grid of the map in the folder `maps`, and the source of its white matter."""
    text = MR_SPEC.format(count=SAMPLES, seed=0, maps=f'"{maps}"', table="dlmuse")
    made = sample(text, [*SETTINGS, f"ranges.shape={list(shape)}"], index, ("image",))
    tissues = open_tissues()
    row = list(tissues.by_name).index("white matter")
    source = list(tissues.sources)[int(made["drawn"].tissues[row, 1 + AT["source"]])]
    return made["image"].astype(np.float32), source


def beside(data: Path) -> tuple[list[Any], dict[str, list[Any]]]:
    """Columns of slices, and ratios of simulated images by the source of their white matter."""
    image, rows = real(data, PERSON)
    with TemporaryDirectory() as folder:
        write_maps(Path(folder), [data / "brain_t1" / f"{PERSON}_DLMUSE.nii.gz"], surrounded)
        around, _ = read_map(Path(folder) / f"{PERSON}_DLMUSE.nii.gz", TABLE, MOST_RATIO)
        box = [np.flatnonzero(around.any(tuple({0, 1, 2} - {a}))) for a in range(3)]
        image, rows, near = (
            a[tuple(slice(b[0] - 1, b[-1] + 2) for b in box)]  # as label maps are cut
            for a in (image, rows, binary_dilation(rows > 0, iterations=MARGIN))
        )
        columns, found = [("IXI012, real T1", image)], {}
        for index in range(SAMPLES):
            made, source = simulated(Path(folder), rows.shape, index)
            if source not in found:
                columns.append((f"simulated, {source.capitalize()}", made * near))
            found.setdefault(source, []).append(ratios(made, rows))
    white = GROUPS[rows] == "cerebral white matter"
    shown = [(name, planes(a, lambda p, a=a: _grey(p, TOP * float(np.median(a[white])))))
             for name, a in columns]  # fmt: skip
    classes = TABLE.class_of_row[rows]
    return [*shown, ("parcellation", planes(classes, _colours))], found


def planes(volume: Any, draw: Any) -> list[Image.Image]:
    """Axial, coronal and sagittal slices through the middle, off it to one side for the last."""
    z, y, x = (int(n * share) for n, share in zip(volume.shape, (0.52, 0.5, 0.42), strict=True))
    cuts = volume[z], volume[::-1, y], volume[::-1, :, x]
    how = Image.Resampling.NEAREST if draw is _colours else Image.Resampling.BICUBIC
    made = [draw(np.asarray(cut)) for cut in cuts]
    return [p.resize((p.width * ZOOM, p.height * ZOOM), how) for p in made]


def spread(values: list[float]) -> str:
    """Median, lowest and highest."""
    return f"{np.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main(data: Path) -> None:
    """The picture and the table."""
    if not (data / "brain_t1").is_dir():
        sys.exit(f"no {data}/brain_t1: nothing is drawn")
    people = sorted(f.name.removesuffix("_T1.nii.gz") for f in (data / "brain_t1").glob("*_T1.*"))
    theirs = [ratios(*real(data, name)) for name in people]
    columns, ours = beside(data)
    sources = sorted(ours)
    heads = ["tissue", f"real, {len(people)} people", "real, white nearby"]
    for source in sources:
        heads += [f"{source}, {len(ours[source])} samples", "white nearby", "closed form"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, (tissue, _) in TISSUES.items():
        cells = [spread([one[name][i] for one in theirs if name in one]) for i in range(2)]
        for source in sources:
            cells += [spread([one[name][i] for one in ours[source]]) for i in range(2)]
            cells.append(f"{closed_form(source)[tissue]:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")
    for tr, ti in ((TR_MS, TI_MS), *OTHERS):
        for source in sources:
            found = closed_form(source, tr, ti)
            print(f"{tr:g}/{ti:g} {source}: " + ", ".join(f"{k} {v:.2f}" for k, v in found.items()))
    target = IMAGES / "labels_mr_real.png"
    sheet(target, columns, len(columns))
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
