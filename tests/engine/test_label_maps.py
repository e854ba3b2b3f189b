"""Label maps: orientation, every message on what is wrong, subjects, digests, the cache."""

import pickle
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_maps import LabelMaps, MapInputs, crop, open_label_maps, pack

SHAPE = (7, 5, 6)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def labels():
    """Values of the table hirriririir, with a background of one voxel around them."""
    values = np.zeros(SHAPE, np.uint8)
    values[1:6, 1:4, 1:5] = np.arange(60).reshape(5, 3, 4) % 11 + 1
    return values


def save(path, values, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([0.8, 0.9, 5.0, 1]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def maps_of(folder, maps="maps", skip_bad=False, table="hirriririir", **keys):
    return open_label_maps(MapInputs(maps, table, **keys), folder, skip_bad)


def message(folder, *args, **keys):
    with pytest.raises(SourceError) as caught:
        maps_of(folder, *args, **keys)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    """Three good maps of two persons."""
    for name in ("T1__THIGH_002_1", "Fat__THIGH_001_0", "T2__THIGH_001_3"):
        save(tmp_path / "maps" / f"{name}.nii.gz", labels())
    return tmp_path


def test_a_folder_of_maps(folder):
    maps = maps_of(folder)
    assert maps.ids == ("Fat__THIGH_001_0", "T1__THIGH_002_1", "T2__THIGH_001_3")
    assert maps.subjects == ("THIGH_001", "THIGH_002", "THIGH_001")  # splits go by the person
    assert maps_of(folder, subject="T[12]").subjects == ("Fat__THIGH_001_0", "T1", "T2")
    assert len(maps) == 3
    assert maps.skipped == maps.notes == []
    found = maps.map(1)
    assert found.rows.shape == (6, 5, 7)
    assert found.voxel_mm == pytest.approx((5.0, 0.9, 0.8))
    assert found.orientation == "RAS"
    expected = labels()[::-1, ::-1].transpose(2, 1, 0)  # z to Superior, y to Posterior, x to Left
    np.testing.assert_array_equal(found.rows, expected)
    assert maps.table()["orientation"] == ["RAS"] * 3
    np.testing.assert_allclose(maps.voxels_mm[2], (5.0, 0.9, 0.8))


@pytest.mark.parametrize("pattern", ["[0-9]*", "x?"])
def test_nobody_is_a_person_without_a_name(folder, pattern):
    maps = maps_of(folder, subject=pattern)  # each matches the empty text
    assert maps.subjects == maps.ids


def test_a_map_that_changes_after_its_check_is_not_drawn_from(folder):
    maps, other = maps_of(folder), labels()
    other[other == 3] = 4
    save(folder / "maps" / "T1__THIGH_002_1.nii.gz", other)
    assert maps.map(0).id == "Fat__THIGH_001_0"
    with pytest.raises(SourceError, match=r"map T1__THIGH_002_1: .* has changed since it was"):
        maps.map(1)


@pytest.mark.parametrize("codes", ["LIA", "PSR", "LPS", "SAR", "IPL"])
def test_every_orientation_gives_the_same_map(tmp_path, codes):
    straight = nibabel.Nifti1Image(labels(), np.diag([0.8, 0.9, 5.0, 1]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(straight.affine),
        nibabel.orientations.axcodes2ornt(codes),
    )
    turned = straight.as_reoriented(turn)
    save(tmp_path / "maps" / "a.nii", np.asanyarray(turned.dataobj), turned.affine)
    found = maps_of(tmp_path).map(0)
    assert found.orientation == codes
    assert found.voxel_mm == pytest.approx((5.0, 0.9, 0.8))
    np.testing.assert_array_equal(found.rows, labels()[::-1, ::-1].transpose(2, 1, 0))


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1e-3), ("micron", 1e3), ("unknown", 1)])
def test_voxels_are_in_the_unit_of_the_header(tmp_path, unit, mm):
    image = nibabel.Nifti1Image(labels(), np.diag([0.8 * mm, 0.9 * mm, 5.0 * mm, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    found = maps_of(tmp_path, "a.nii").map(0)
    assert found.voxel_mm == pytest.approx((5.0, 0.9, 0.8))


def header_of(qform, sform):
    """A file whose sform and qform are these, None for one that is not set."""
    image = nibabel.Nifti1Image(labels(), np.eye(4))
    for name, matrix in (("qform", qform), ("sform", sform)):
        getattr(image.header, f"set_{name}")(matrix, 0 if matrix is None else 1)
    image.header["vox_offset"] = 352
    return image.header.binaryblock + b"\0" * 4 + labels().tobytes("F")


def test_a_map_whose_header_leaves_its_sides_unclear_is_refused(tmp_path):
    right, left = np.diag([0.8, 0.9, 5, 1]), np.diag([-0.8, 0.9, 5, 1])
    turned = right.copy()  # by 10 degrees about z, as a program may leave one of the two
    turned[:2, :2] = [[0.788, -0.156], [0.139, 0.886]]
    file = tmp_path / "a.nii"
    for forms in ((right, None), (None, right), (right, right), (turned, right)):
        file.write_bytes(header_of(*forms))
        assert maps_of(tmp_path, "a.nii").map(0).orientation == "RAS"
    for forms, expected in (
        ((None, None), "neither its sform nor its qform is set"),
        ((left, right), "its sform and its qform disagree on how it lies"),
    ):
        file.write_bytes(header_of(*forms))
        assert expected in message(tmp_path, "a.nii")


def test_an_oblique_map_is_taken_along_its_nearest_axes(tmp_path):
    t = np.radians(20)
    turn = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, 0.9, 5.0])
    save(tmp_path / "maps" / "a.nii", labels(), affine)
    maps = maps_of(tmp_path)
    assert maps.map(0).orientation == "LAS"
    assert maps.sources[0].grid.tilt_deg == pytest.approx(20, abs=1e-3)


def test_all_that_is_wrong_is_told_at_once(folder):
    where = folder / "maps"
    good = labels()
    odd = good.astype(np.int16)
    odd[2, 2, 2:4], odd[3, 3, 3] = 77, -5
    save(where / "unknown.nii.gz", odd)
    save(where / "empty.nii.gz", good * 0)
    save(where / "float.nii.gz", good.astype(np.float32) + np.float32(0.25))
    save(where / "plane.nii.gz", good[0])
    save(where / "film.nii.gz", np.stack([good, good], -1))
    save(where / "long.nii.gz", good, np.diag([0.5, 0.5, 30, 1]))
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    broken, flat = np.eye(4), np.diag([1.0, 0, 1, 1])
    broken[1, 3] = np.nan
    for name, affine in (("sheared", sheared), ("nan", broken), ("singular", flat)):
        image = nibabel.Nifti1Image(good, np.eye(4))
        image.header.set_sform(affine, 1)
        image.header.set_qform(None, 0)
        path = where / f"{name}.nii"
        path.write_bytes(image.header.binaryblock + b"\0" * 4 + good.tobytes("F"))
    data = (where / "T1__THIGH_002_1.nii.gz").read_bytes()
    (where / "cut.nii.gz").write_bytes(data[: len(data) // 2])
    (where / "text.nii.gz").write_text("no map")
    text = message(folder)
    assert text.startswith(
        "11 label maps cannot be used; mend them, or leave them out with --skip-"
    )
    for expected in (
        "unknown.nii.gz: values without a row in table 'hirriririir': 77 (2 voxels), -5 (1 voxels)",
        "empty.nii.gz: no foreground",
        "210 voxels are not integers, such as 0.25",
        "plane.nii.gz: a label map has three axes, not the shape (5, 6)",
        "film.nii.gz: a label map has three axes, not the shape (7, 5, 6, 2)",
        "the longest is 60 times the shortest, above anisotropy_max 40",
        "sheared.nii: its affine is sheared: two axes meet at 78.7 degrees",
        "nan.nii: its affine is not finite",
        "singular.nii: its affine is singular",
        "cut.nii.gz: unreadable",
        "text.nii.gz: unreadable",
    ):
        assert expected in text
    assert len(text.splitlines()) == 12
    maps = maps_of(folder, skip_bad=True)
    assert len(maps) == 3
    assert len(maps.skipped) == 11
    assert maps.notes == ["11 bad label maps left out (--skip-bad)"]
    assert maps.digest == maps_of(folder, files="*THIGH*").digest
    assert len(maps_of(folder, files="[lT]*.nii.gz", anisotropy_max=60, skip_bad=True)) == 3


def test_floats_that_are_integers_are_labels(tmp_path):
    save(tmp_path / "maps" / "a.nii.gz", labels()[..., None].astype(np.float32))
    np.testing.assert_array_equal(
        maps_of(tmp_path).map(0).rows, labels()[::-1, ::-1].transpose(2, 1, 0)
    )


def test_nothing_to_list(folder):
    assert "neither a NIfTI file, a folder nor a CSV" in message(folder, "none")
    assert "no label maps in" in message(folder, files="*.mha")
    assert "none ship for table 'thigh'" in message(folder, "shipped", table="thigh")
    assert "is no regular expression" in message(folder, subject="(")
    (folder / "bad.csv").write_text("id,file\n")
    assert "has no column map" in message(folder, "bad.csv")


def test_a_csv_of_maps(folder):
    rows = ["id,map,subject,source", "b,maps/T1__THIGH_002_1.nii.gz,Q,there"]
    rows += ["a,maps/T2__THIGH_001_3.nii.gz,,", "gone,maps/gone.nii.gz,,", ",x,,", "b,x,,"]
    (folder / "maps.csv").write_text("\n".join(rows))
    text = message(folder, "maps.csv")
    assert "maps.csv:5: a map needs an id" in text
    assert "map b: 2 maps have this id" in text
    assert "map gone:" in text
    (folder / "maps.csv").write_text("\n".join(rows[:3]))
    maps = maps_of(folder, "maps.csv")
    assert maps.ids == ("a", "b")
    assert maps.subjects == ("a", "Q")
    assert maps.table()["source"] == ["", "there"]
    assert maps_of(folder, "maps/T1__THIGH_002_1.nii.gz").subjects == ("THIGH_002",)


def test_a_file_that_changes_later_is_an_error_that_names_it(folder):
    maps = maps_of(folder)
    (folder / "maps" / "T1__THIGH_002_1.nii.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="map T1__THIGH_002_1"):
        maps.map(1)


def test_pickles_lightly_and_keeps_a_bounded_cache(folder):
    maps = maps_of(folder)
    before = len(pickle.dumps(maps))
    found = maps.map(0)
    assert maps.map(0) is found
    assert len(pickle.dumps(maps)) == before
    again = pickle.loads(pickle.dumps(maps))
    assert again.digest == maps.digest
    np.testing.assert_array_equal(again.map(0).rows, found.rows)
    small = LabelMaps(maps.label_table, maps.sources, "", cache_bytes=found.nbytes)
    found = small.map(0)
    small.map(1)
    assert small.map(0) is not found


def test_packing():
    arrays = [np.full(shape, i, np.uint8) for i, shape in enumerate([(2, 3, 4), (1, 5, 2)])]
    flat, starts, shapes = pack(arrays)
    np.testing.assert_array_equal(starts, [0, 24, 34])
    np.testing.assert_array_equal(shapes, [[2, 3, 4], [1, 5, 2]])
    assert flat.sum() == 10
    assert pack([]).starts.tolist() == [0]


def test_cropping_keeps_a_margin():
    rows = np.zeros((9, 8, 7), np.uint8)
    rows[2:4, 3, 5] = 1
    np.testing.assert_array_equal(crop(rows), rows[1:5, 2:5, 4:7])


@pytest.mark.parametrize(("table", "count"), [("brain", 4), ("hirriririir", 6)])
def test_shipped_maps(table, count):
    maps = open_label_maps(MapInputs("shipped", table))
    assert len(maps) == len(set(maps.subjects)) == count
    folder = maps.sources[0].path.parent
    assert "Apache License" in (folder / "LICENSE.txt").read_text()
    assert sum(f.stat().st_size for f in folder.iterdir()) < 1.5e6


def test_a_head_lies_as_it_should():
    maps = open_label_maps(MapInputs("shipped", "brain"))
    head, table = maps.map(0), maps.label_table
    places = {
        name: np.argwhere(head.rows == table.row(name)).mean(0)
        for name in ("left cerebral cortex", "right cerebral cortex", "eyes", "brain stem")
    }
    assert places["left cerebral cortex"][2] > places["right cerebral cortex"][2] + 20
    assert places["eyes"][1] < places["brain stem"][1] - 20
    assert places["left cerebral cortex"][0] > places["brain stem"][0] + 10


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
def test_all_thighs_of_shared_are_read(tmp_path):
    maps = open_label_maps(MapInputs(str(SHARED / "thigh/hirriririir"), "hirriririir"))
    assert len(maps) == 35
    assert len(set(maps.subjects)) == 32
    shutil.copy(SHARED / "thigh/qmritools/thigh_labels_v1_20240527.nii.gz", tmp_path)
    assert maps_of(tmp_path, ".", table="qmritools").map(0).orientation == "RAS"
