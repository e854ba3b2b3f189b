"""Draw docs/img/thigh_mr_real.png: simulated thighs beside a real image, and print their ratios.

Run from the repository root: `python benchmarks/picture_thigh.py [../shared/data]`. Above, a
shipped muscle map in each contrast; below, the muscle map of thigh/qmritools in opposed phase
beside the real image that it was drawn on, three slices. Then tables of signals over that of
muscle: measured in simulated images, expected from the relaxation times of Gold et al. 2004 alone,
and in the real image. Without the data only the upper rows and their table are made.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel
import numpy as np
from pictures_mr import IMAGES, _colours, _grey, sample, sheet
from scipy.ndimage import binary_closing, binary_erosion, binary_fill_holes

from voxelmill.engine import protocols
from voxelmill.engine.draw import Fixed, Stream
from voxelmill.engine.label_table import open_table
from voxelmill.engine.recipes.thigh_ranges import CONTRASTS, Protocols
from voxelmill.engine.tissues import AT, COLUMNS

TABLE = open_table("thigh")
CLASS = {name: i for i, name in enumerate(TABLE.classes)}
SKELETAL = [i for i, tissue in enumerate(TABLE.tissues) if tissue == "skeletal muscle"]
LEVEL = (
    "ranges.mode=physics", "ranges.scanner.tesla=3T", "ranges.muscles=true",
    "ranges.anatomy={choice: {procedural: 0, maps: 1}}",
    "ranges.pose.rotation_deg=0", "ranges.pose.move_mm=0", "ranges.acquisition.motion_chance=0",
    "ranges.acquisition.ghost_chance=0", "ranges.acquisition.spike_chance=0",
)  # fmt: skip
# T1, T2 of Gold et al., AJR 2004;183:343, as in engine/data/mr/tissues.yaml; T2* and PD are the
# middle of that file's ranges; fat shares 0 and 1.
GOLD = {"muscle": (1420, 32, 23.5, 0.785, 0.0), "fat": (371, 133, 27.5, 0.9, 1.0),
        "marrow": (365, 133, 12.5, 0.85, 1.0)}  # fmt: skip
FIXED = {
    "t1w": {"tr_ms": 600, "te_ms": 15},
    "t2w": {"tr_ms": 3000, "te_ms": 80, "spacing_ms": 10, "echoes": 16, "refocus_deg": 150},
    "stir": {"tr_ms": 4000, "te_ms": 50, "ti_ms": 220, "spacing_ms": 10, "echoes": 10,
             "refocus_deg": 180, "efficiency": 1},
    "in_phase": {"tr_ms": 150, "te_ms": 2.3, "flip_deg": 60},
    "opposed_phase": {"tr_ms": 150, "te_ms": 1.15, "flip_deg": 60},
}  # fmt: skip


def rendered(*settings: str, index: int = 0) -> dict[str, Any]:
    """One sample's arrays, without the sample axis."""
    wanted = ("image", "label", "muscle", "b1")
    return sample("examples/thigh_mr.yaml", ["seed=11", *LEVEL, *settings], index, wanted)


def eroded(mask: Any, times: int) -> Any:
    """In each slice by itself."""
    return np.stack([binary_erosion(plane, iterations=times) for plane in mask])


def ratios(image: Any, masks: dict[str, Any]) -> dict[str, float]:
    """Median signal of each mask over that of muscle."""
    medians = {name: float(np.median(image[mask])) for name, mask in masks.items()}
    return {name: m / medians["muscle"] for name, m in medians.items() if name != "muscle"}


def simulated_masks(made: dict[str, Any], times: int = 2) -> dict[str, Any]:
    """Where a simulated sample is surely muscle, fat, marrow, cortex."""
    label = made["label"]
    return {
        "muscle": eroded(np.isin(made["muscle"], SKELETAL), times),
        "fat": eroded(label == CLASS["subcutaneous fat"], times),
        "marrow": eroded(label == CLASS["marrow"], times),
        "cortex": eroded(label == CLASS["cortical bone"], 1),
    }


def expected(name: str) -> dict[str, float]:
    """Of Gold's relaxation times, with nothing else: closed forms and echo trains."""
    kind = type(getattr(Protocols(), name))
    given = {k: Fixed(v) for k, v in FIXED[name].items()}
    phase = getattr(getattr(Protocols(), name), "phase", None)
    row = protocols.draw_protocol(
        kind(**given, **({"phase": phase} if phase else {})), Stream(0, 0), 0, 3.0
    )
    table = np.zeros((len(GOLD), len(COLUMNS)))
    for line, (t1, t2, t2s, pd, fat) in zip(table, GOLD.values(), strict=True):
        values = {"pd": pd, "fat_fraction": fat, "t1_ms": t1, "t2_ms": t2, "fat_t1_ms": t1,
                  "fat_t2_ms": t2, "t2s_ms": t2s}  # fmt: skip
        for key, value in values.items():
            line[AT[key]] = value
    spectra = ["hamilton", "hamilton", "marrow"]
    shown = abs(protocols.signals(row, table, spectra, np.ones(1), 3.0)[:, 0].sum(1))
    return dict(zip(("fat", "marrow"), (shown[1:] / shown[0]).tolist(), strict=True))


def measured(samples: int = 8) -> dict[str, list[dict[str, float]]]:
    """Ratios in simulated images with the protocols FIXED and drawn tissues, by contrast."""
    fixed = [f"ranges.protocols.{name}.{key}={value}" for name, values in FIXED.items()
             for key, value in values.items()]  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {name: [] for name in FIXED}
    for index in range(samples):
        made = rendered(
            "ranges.shape=[2, 192, 320]", "ranges.voxel_mm=[8, 1.3, 1.3]", "ranges.preset=none",
            f"ranges.contrasts=[{', '.join(FIXED)}]", "ranges.scanner.b1=1",
            "ranges.scanner.b1_rms=0", "ranges.b1_dip=0", "ranges.scanner.bias_log_rms=0",
            "ranges.acquisition.matrix=1", "ranges.acquisition.snr=100", *fixed, index=index,
        )  # fmt: skip
        masks = simulated_masks(made)
        for name, image in zip(FIXED, made["image"], strict=True):
            found[name].append(ratios(image.astype(np.float32), masks))
    return found


def real(data: Path) -> tuple[Any, Any, tuple[float, ...]]:
    """Image and muscle labels of thigh/qmritools in our frame, (z, y, x), and its voxels in mm."""
    folder = data / "thigh" / "qmritools"
    arrays = []
    for name in ("thigh_image", "thigh_labels_v1_20240527"):
        volume = nibabel.as_closest_canonical(nibabel.load(folder / f"{name}.nii.gz"))
        arrays.append(np.asanyarray(volume.dataobj)[::-1, ::-1].transpose(2, 1, 0))
    return arrays[0].astype(np.float32), arrays[1], volume.header.get_zooms()[::-1]


def real_masks(image: Any, labels: Any, mm: float) -> dict[str, Any]:
    """The same tissues in the real image, by rules.

    Muscle: its labels, 3 mm from their edges. Marrow: more than 9 mm inside the femur's label;
    cortex: 2 to 4 mm inside. Fat: 3 mm inside the body's outline (a tenth of the brightest per
    cent, holes filled) and 3 mm outside the closing of the labels by 21 mm, the fascia.
    """
    bone = np.isin(labels, (103, 104))
    muscle = (labels > 0) & ~bone
    depth = [eroded(bone, k) for k in range(7)]
    body = np.stack([binary_fill_holes(p > 0.1 * np.percentile(image, 99)) for p in image])
    disc = np.hypot(*np.ogrid[-14:15, -14:15]) <= 21 / mm
    fascia = np.stack([binary_closing(np.pad(p > 0, 20), disc)[20:-20, 20:-20] for p in labels])
    near = ~eroded(~fascia, round(3 / mm))
    return {
        "muscle": eroded(muscle, round(3 / mm)),
        "fat": eroded(body, round(3 / mm)) & ~near,
        "marrow": depth[round(9 / mm)],
        "cortex": depth[1] & ~depth[3],
    }


def beside_real(data: Path) -> tuple[list[Any], dict[str, float], dict[str, float]]:
    """Panels, and ratios of the simulated and the real image, of the map of thigh/qmritools."""
    image, labels, voxel_mm = real(data)
    keep = slice(5, 22)
    with TemporaryDirectory() as folder:
        source = data / "thigh" / "qmritools" / "thigh_labels_v1_20240527.nii.gz"
        shutil.copy(source, Path(folder) / "qmritools.nii.gz")
        made = rendered(
            f"inputs.maps={folder}", "inputs.table=qmritools", "ranges.preset=none",
            "ranges.contrasts=[opposed_phase]", "ranges.shape=[15, 190, 270]",
            f"ranges.voxel_mm={[float(v) for v in voxel_mm]}", "ranges.pose.scaling=1",
            "ranges.pose.flip_chance=0", "ranges.bend.rms_mm=0", "ranges.thigh.fat_mm=7",
            "ranges.thigh.fat_lobe=0.3", "ranges.thigh.infiltration=0.15",
            "ranges.thigh.atrophy_mm=0.1", "ranges.thigh.septum_mm=0.2",
            "ranges.thigh.muscle_fat=0.02",
            "ranges.protocols.opposed_phase={tr_ms: 10, te_ms: 1.15, flip_deg: 5, phase: opposed}",
            "ranges.b1_dip=0.4", "ranges.scanner.b1=0.9", "ranges.scanner.b1_rms=0.15",
            "ranges.scanner.bias_log_rms=0.25", "ranges.acquisition.snr=40",
            "ranges.acquisition.matrix=0.9", "ranges.acquisition.partial_fourier=1",
            "ranges.acquisition.window=none",
        )  # fmt: skip
    shown = made["image"][0].astype(np.float32)
    panels = []
    rows, columns = np.flatnonzero(labels.any((0, 2))), np.flatnonzero(labels.any((0, 1)))
    middle = (rows[0] + rows[-1]) // 2, (columns[0] + columns[-1]) // 2
    box = tuple(slice(m - n // 2, m + n // 2) for m, n in zip(middle, (150, 250), strict=True))
    for z in (2, 7, 12):
        panels.append(("simulated", _grey(shown[z, 20:170, 10:260])))
        panels.append(("real", _grey(image[keep][z][box])))
    masks = real_masks(image[keep], labels[keep], float(voxel_mm[1]))
    return panels, ratios(shown, simulated_masks(made, 1)), ratios(image[keep], masks)


def main(data: Path) -> None:
    """The picture and the table."""
    made = rendered("ranges.shape=[2, 150, 250]", "ranges.voxel_mm=[8, 1.5, 1.5]",
                    "ranges.preset=all", "ranges.acquisition.snr=40", index=3)  # fmt: skip
    panels = [(name, _grey(image[0].astype(np.float32)))
              for name, image in zip(CONTRASTS, made["image"], strict=True)]  # fmt: skip
    panels.append(("labels", _colours(made["label"][0])))
    print("| contrast | tissue | simulated, 8 samples | Gold 2004 alone |\n|---|---|---|---|")
    for name, found in measured().items():
        wanted = expected(name)
        for tissue in ("fat", "marrow", "cortex"):
            values = [one[tissue] for one in found]
            known = f"{wanted[tissue]:.2f}" if tissue in wanted else "0.00"
            spread = f"{min(values):.2f} to {max(values):.2f}"
            print(f"| {name} | {tissue} | {np.mean(values):.2f} ({spread}) | {known} |")
    if (data / "thigh" / "qmritools").is_dir():
        more, ours, theirs = beside_real(data)
        panels += more
        print("\n| opposed phase, TR 10 ms, 5 degrees | simulated | real image |\n|---|---|---|")
        for tissue in ours:
            print(f"| {tissue} | {ours[tissue]:.2f} | {theirs[tissue]:.2f} |")
    else:
        print(f"\nno {data}/thigh/qmritools: nothing to stand beside it")
    target = IMAGES / "thigh_mr_real.png"
    sheet(target, [(name, [picture]) for name, picture in panels], 6)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
