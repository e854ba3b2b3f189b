"""Make the shipped label maps from ../shared/data: heads at 2 mm, thighs cut to their muscles.

Run from the repository root: `python benchmarks/make_label_maps.py [../shared/data]`. It writes
engine/data/mr/maps/brain and hirriririir; ATTRIBUTION.md and the licences beside them are written
by hand. Heads: of each 2 x 2 x 2 voxels the label that most have (the lower value among equals).
Thighs: nothing is resampled; planes and slices without labels are cut off, and where slices lie
closer than 6 mm every second one is kept.
"""

import gzip
import sys
from pathlib import Path

import nibabel
import numpy as np

HEADS = ("03", "10", "12", "14")  # lateral ventricles of 10, 26, 29 and 62 mL
THIGHS = (
    *("Fat__HV002_2_0000", "Water__HV003_3_0001", "STIR__THIGH_112_0001"),
    *("STIR__THIGH_114_0001", "STIR__THIGH_119_0001", "T1__THIGH_049_0002"),
)
CLOSE_MM = 6.0


def main(source: Path, target: Path) -> None:
    """Write the chosen maps of `source` into `target`."""
    for name in HEADS:
        image = nibabel.load(source / f"brain_labels/training_seg_{name}.nii.gz")
        labels = np.asanyarray(image.dataobj).astype(np.uint16)
        affine = image.affine @ np.diag([2.0, 2, 2, 1])
        affine[:3, 3] = (image.affine @ [0.5, 0.5, 0.5, 1])[:3]
        write(target / f"brain/head_{name}.nii.gz", *cut(halved(labels), affine))
    for name in THIGHS:
        image = nibabel.load(source / f"thigh/hirriririir/{name}.nii.gz")
        labels, affine = cut(np.asanyarray(image.dataobj).astype(np.uint8), image.affine)
        if np.linalg.norm(affine[:, 2]) < CLOSE_MM:
            labels, affine = labels[:, :, ::2], affine @ np.diag([1.0, 1, 2, 1])
        write(target / f"hirriririir/{name}.nii.gz", labels, affine)
    total = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{len(HEADS) + len(THIGHS)} maps, {total / 1e6:.2f} MB in {target}")


def halved(labels: np.ndarray) -> np.ndarray:
    """Labels of which each axis has an even length, at half the resolution, by vote."""
    x, y, z = (n // 2 for n in labels.shape)
    blocks = labels.reshape(x, 2, y, 2, z, 2).transpose(0, 2, 4, 1, 3, 5).reshape(x, y, z, 8)
    blocks = np.sort(blocks, -1)
    votes = (blocks[..., :, None] == blocks[..., None, :]).sum(-1)
    return np.take_along_axis(blocks, votes.argmax(-1)[..., None], -1)[..., 0]


def cut(labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box of the labels, and its affine."""
    there = np.argwhere(labels)
    low, high = there.min(0), there.max(0) + 1
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    return labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], moved


def write(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """A compressed NIfTI file that is the same at every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = nibabel.Nifti1Image(labels, affine).to_bytes()
    path.write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    shared = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "shared/data"
    main(shared, here / "engine/data/mr/maps")
