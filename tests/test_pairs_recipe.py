"""The recipe that puts real pairs into stores: frame, cut, mask, who is in which part."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxelmill.engine.errors import VoxelmillError
from voxelmill.engine.label_table import open_table
from voxelmill.engine.reader import open_store
from voxelmill.engine.run_local import make

PAIRS = Path(__file__).parents[1] / "benchmarks" / "recipes" / "pairs.py"
NUMBERS = (4, 5, 6)  # 5 % 4 is 1: the test


def write_pair(folder, number):
    """Axes grow to P, S, R; white matter of the left side, a left ventricle, an eye far away."""
    affine = np.array([[0, 0, 2.0, -9], [-2, 0, 0, 20], [0, 2, 0, -7], [0, 0, 0, 1]])
    labels = np.zeros((14, 12, 10), np.uint8)  # (y, z, -x) of our frame
    labels[4:10, 3:9, 2:5] = 82
    labels[6:8, 5:7, 3] = 52
    image = np.where(labels == 82, 100 + number, 30).astype(np.int16)
    image[0, 0, 9] = 999
    for end, values in (("T1", image), ("DLMUSE", labels)):
        file = folder / f"IXI{number:03}-X_{end}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, affine), file)


@pytest.fixture
def folder(tmp_path):
    for number in NUMBERS:
        write_pair(tmp_path, number)
    return tmp_path


def made(folder, part, count):
    text = f"""
recipe: pairs
count: {count}
seed: 1
inputs: {{folder: {folder}, part: {part}}}
ranges: {{shape: [8, 12, 6], voxel_mm: [2.0, 2.0, 2.0], margin: 1}}
"""
    store = folder / f"{part}.zarr"
    make(text, store, recipe_file=PAIRS)
    return open_store(store)


def test_pairs_come_in_our_frame(folder):
    reader = made(folder, "train", 2)
    assert reader.subjects.tolist() == ["IXI004", "IXI006"]
    names = reader.labels["label"]
    sample = reader[1]
    image, label = sample["image"].astype(float), sample["label"]
    white = label == next(v for v, n in names.items() if n == "cerebral white matter")
    fluid = label == next(v for v, n in names.items() if n == "lateral ventricle")
    assert white.sum() == 6 * 6 * 3 - 4
    assert fluid.sum() == 4
    z, y, x = (np.flatnonzero(white.any(a)) for a in ((1, 2), (0, 2), (0, 1)))
    assert (z[0], z[-1], y[0], y[-1], x[0], x[-1]) == (1, 6, 3, 8, 2, 4)  # in the middle
    assert np.unique(np.argwhere(fluid)[:, 2]).tolist() == [3]
    assert image[0].any()
    assert not image[:, :2].any()  # margin 1
    grey = image[white]
    assert grey.min() == grey.max()
    assert image[fluid] == pytest.approx(grey[0] * 30 / 106, rel=1e-3)
    assert image.max() == grey.max()  # the bright voxel far away is gone
    test = made(folder, "test", 1)
    assert test.subjects.tolist() == ["IXI005"]


def test_mistakes_are_told(folder):
    with pytest.raises(VoxelmillError, match="set count"):
        made(folder, "test", 2)
    with pytest.raises(VoxelmillError, match="part 'half'"):
        made(folder, "half", 1)
    (folder / "IXI004-X_DLMUSE.nii.gz").unlink()
    with pytest.raises(VoxelmillError, match="IXI004-X"):
        made(folder, "train", 2)


def test_both_brain_tables_have_the_same_classes():
    """So that one mapping serves both: what one has alone lies around the brain."""
    brain, dlmuse = (set(open_table(name).classes) for name in ("brain", "dlmuse"))
    assert brain - dlmuse == {"vessel", "head", "skull"}
    assert dlmuse - brain == {"surround"}


def test_sides_of_dlmuse_are_partners():
    table = open_table("dlmuse")
    for row in table.rows:
        side, _, part = row.name.partition(" ")
        other = table.rows[row.partner].name
        if side in ("left", "right"):
            assert other == f"{'right' if side == 'left' else 'left'} {part}"
        else:
            assert other == row.name
    assert {v % 2 for v in table.rows[table.row("left cerebral cortex")].values} == {1}
