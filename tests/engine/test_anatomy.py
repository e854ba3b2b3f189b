import csv
import importlib.util
import json
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from voxelmill.engine.anatomy import CXAS_NAMES, CXAS_PARTS, REGIONS, derive, from_stack
from voxelmill.engine.errors import SourceError

ROOT = Path(__file__).resolve().parents[2]
FILMS = ROOT / "engine/data/films"
CT = ROOT.parent / "shared/data/ct"


@cache
def films():
    with (FILMS / "films.csv").open() as file:
        return list(csv.DictReader(file))


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def lung_mask(film):
    return pixels_of(FILMS / film["mask"]) > 0


def ellipses(
    shape=(500, 540), centre=(0.0, 0.0), size=1.0, tilt_deg=0.0, left=1.0, gap=0.0, tall=1.0
):
    """Two lungs: half ellipses over domes, `left` scales the left one; lengths in pixels."""
    y, x = np.indices(shape) + 0.5
    dy, dx = y - shape[0] / 2 - centre[0], x - shape[1] / 2 - centre[1]
    t = np.deg2rad(tilt_deg)
    v, u = (dy * np.cos(t) + dx * np.sin(t)) / size, (dx * np.cos(t) - dy * np.sin(t)) / size
    mask = np.zeros(shape, bool)
    for side, scale in ((-1, 1.0), (1, left)):
        w = side * u - 22 - gap  # from the medial border outwards
        out = (w - 10) / (125 * scale)
        lung = (out**2 + ((v - 150 * tall) / (300 * tall)) ** 2 < 1) & (w > 0)
        mask |= lung & (v < 120 * tall - 35 * np.cos((w - 60) / 40))
    return mask


def centre(mask):
    return np.array(ndimage.center_of_mass(mask))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


CASES = [
    {},
    {"tilt_deg": 10},
    {"tilt_deg": -10},
    {"left": 0.8},
    {"left": 1.2, "tilt_deg": 6},
    {"tall": 0.65},
    {"gap": 25},
    {"size": 0.6, "centre": (-40, 70)},
    {"shape": (300, 260), "size": 0.55},
    {"shape": (80, 96), "size": 0.2},
]


@pytest.mark.parametrize("case", CASES)
def test_regions_lie_where_they_must(case):
    mask = ellipses(**case)
    found = derive(mask)
    check_places(mask, found)
    assert (found["lungs"] == mask).all()


@pytest.mark.parametrize("film", films(), ids=lambda film: film["id"])
def test_regions_of_shipped_films(film):
    mask = lung_mask(film)
    check_places(mask, derive(mask))


def check_places(mask, found):
    assert tuple(found) == REGIONS
    for name, region in found.items():
        assert region.shape == mask.shape
        assert region.dtype == bool
        assert region.any(), name
    assert not (found["lung_right"] & found["lung_left"]).any()
    assert (found["lungs"] == (found["lung_right"] | found["lung_left"])).all()
    across = {name: centre(region)[1] for name, region in found.items()}
    assert across["lung_right"] < across["trachea"] < across["lung_left"]
    assert across["lung_right"] < across["heart"] < across["lung_left"]
    down = {name: centre(region)[0] for name, region in found.items()}
    assert down["clavicles"] < down["lungs"] < down["diaphragm"]
    assert down["trachea"] < down["heart"] < down["diaphragm"]
    assert not (found["heart"] & ~found["mediastinum"]).any()
    top = np.flatnonzero(found["mediastinum"].any(1))[0] + 0.04 * len(mask)
    low_trachea = found["trachea"] & (np.arange(len(mask)) > top)[:, None]
    assert (low_trachea & found["mediastinum"]).sum() > 0.95 * low_trachea.sum()
    assert (found["aorta"] & found["mediastinum"]).sum() > 0.95 * found["aorta"].sum()
    for name in ("lungs", "ribs", "mediastinum", "aorta", "diaphragm"):
        assert not (found[name] & ~found["body"]).any(), name
    for name in ("heart", "aorta", "trachea", "mediastinum", "diaphragm"):
        assert ndimage.label(found[name], np.ones((3, 3)))[1] == 1, name
    assert ndimage.label(found["clavicles"])[1] == 2
    width = np.ptp(np.flatnonzero(found["lungs"].any(0)))
    assert 0.35 < np.ptp(np.flatnonzero(found["heart"].any(0))) / width < 0.6


def test_heart_and_aorta_lie_to_the_patients_left():
    found = derive(ellipses(left=1.0))
    midline = 0.5 * (centre(found["lung_right"])[1] + centre(found["lung_left"])[1])
    assert centre(found["heart"])[1] > midline + 5
    assert centre(found["aorta"])[1] > midline + 5
    assert abs(centre(found["trachea"])[1] - midline) < 12


def test_regions_move_with_the_lungs():
    before = derive(ellipses(size=0.8))
    after = derive(ellipses(size=0.8, centre=(13, -18)))
    for name in REGIONS:
        if name != "body":  # it runs out of the film
            moved = np.roll(before[name], (13, -18), (0, 1))
            assert dice(after[name], moved) > 0.95, name
    for name in ("heart", "trachea", "aorta", "mediastinum"):
        shift = centre(after[name]) - centre(before[name])
        np.testing.assert_allclose(shift, (13, -18), atol=2.5, err_msg=name)


@pytest.mark.parametrize("size", [0.5, 0.7])
def test_regions_scale_with_the_lungs(size):
    one, other = derive(ellipses()), derive(ellipses(size=size))
    for name in ("heart", "aorta", "mediastinum", "diaphragm", "lungs"):
        ratio = np.sqrt(other[name].sum() / one[name].sum())
        assert ratio == pytest.approx(size, rel=0.08), name


def test_regions_scale_with_the_film():
    film = lung_mask(films()[3])
    large, small = derive(film), derive(film[::2, ::2])
    for name in REGIONS:
        assert dice(large[name][::2, ::2], small[name]) > 0.94, name


def test_regions_tilt_with_the_lungs():
    upright, tilted = derive(ellipses()), derive(ellipses(tilt_deg=-8))
    for name in ("trachea", "mediastinum"):
        y, x = np.nonzero(upright[name])
        before = np.polyfit(y, x, 1)[0]
        y, x = np.nonzero(tilted[name])
        turned = np.rad2deg(np.arctan(np.polyfit(y, x, 1)[0]) - np.arctan(before))
        assert -10 < turned < -5, name


def test_regions_change_little_when_the_lungs_change_little():
    for change in ({"left": 1.03}, {"tilt_deg": 1.0}, {"tall": 1.03}, {"gap": 2.0}):
        one, other = derive(ellipses()), derive(ellipses(**change))
        for name in REGIONS:
            assert dice(one[name], other[name]) > 0.8, (name, change)


def test_regions_follow_the_lungs_shape():
    wide, usual, short = derive(ellipses(gap=25)), derive(ellipses()), derive(ellipses(tall=0.6))
    assert wide["mediastinum"].sum() > 1.05 * usual["mediastinum"].sum()
    assert np.ptp(np.nonzero(short["heart"])[0]) < np.ptp(np.nonzero(usual["heart"])[0])
    assert short["trachea"].sum() < usual["trachea"].sum()


def test_regions_are_the_same_twice():
    mask = lung_mask(films()[0])
    one, other = derive(mask), derive(mask.copy())
    assert all((one[name] == other[name]).all() for name in REGIONS)


@pytest.mark.parametrize("tilt_deg", [-8, 0, 8])
def test_lungs_that_touch_are_parted(tilt_deg):
    apart = derive(ellipses(tilt_deg=tilt_deg))
    mask = ellipses(tilt_deg=tilt_deg)
    mask[240:275, 230:310] = True
    touching = derive(mask)
    assert (touching["lungs"] == mask).all()
    for name in ("lung_right", "lung_left", "heart", "trachea"):
        assert dice(apart[name], touching[name]) > 0.9, name


def test_specks_are_dropped_and_fragments_kept():
    mask = ellipses()
    speckled = mask.copy()
    speckled[10:18, 30:38] = True
    speckled[260:264] = False  # a device cut both lungs through
    found = derive(speckled)
    assert not found["lungs"][10:18].any()
    for side in ("lung_right", "lung_left"):
        whole = derive(mask)[side]
        whole[260:264] = False
        assert (found[side] == whole).all()


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros((90, 100), bool), "no foreground"),
        (np.ones((90, 100), bool), "fewer than two lungs"),
        (ellipses() & (np.arange(540) < 270), "fewer than two lungs"),
        (np.ones((8, 90), bool), "at least 32 pixels a side, not \\(8, 90\\)"),
        (np.ones((40, 40, 3), bool), "not \\(40, 40, 3\\)"),
    ],
)
def test_masks_without_two_lungs_are_refused(mask, told):
    with pytest.raises(SourceError, match=told):
        derive(mask)


def test_one_lung_and_a_speck_are_refused():
    mask = ellipses() & (np.arange(540) < 270)
    mask[200:212, 400:412] = True
    with pytest.raises(SourceError, match="fewer than two lungs"):
        derive(mask)


def test_lungs_one_above_the_other_are_refused():
    mask = np.zeros((300, 300), bool)
    mask[20:120, 60:240] = mask[160:280, 60:240] = True
    with pytest.raises(SourceError, match="fewer than two lungs"):
        derive(mask)


def test_cxas_names_are_those_of_the_published_list():
    assert len(CXAS_NAMES) == len(set(CXAS_NAMES)) == 159
    assert (CXAS_NAMES[0], CXAS_NAMES[36]) == ("spine", "posterior 12th rib right")
    assert (CXAS_NAMES[121], CXAS_NAMES[158]) == ("heart", "breast right")
    assert crc32("\n".join(CXAS_NAMES).encode()) == 4250853075  # of paxray_labels.json, in order
    for region, choices in CXAS_PARTS.items():
        assert region in REGIONS
        assert {part for parts in choices for part in parts} <= set(CXAS_NAMES)


def stack(*names, shape=(6, 7)):
    """A stack in which region k has pixel k, of all 7 x 6."""
    masks = np.zeros((len(names), *shape), np.uint8)
    masks.reshape(len(names), -1)[np.arange(len(names)), np.arange(len(names))] = 255
    return list(names), masks


def pixels(mask):
    return np.flatnonzero(mask).tolist()


def test_stack_gives_our_regions_and_its_own():
    names, masks = stack(
        "trachea", "tracheal bifurcation", "ascending aorta", "descending aorta", "aortic arch"
    )
    found = from_stack(names, masks)
    assert set(found) == {*names, "aorta"}
    assert pixels(found["aorta"]) == [2, 3, 4]
    assert pixels(found["trachea"]) == [0, 1]
    assert pixels(found["tracheal bifurcation"]) == [1]
    assert all(mask.dtype == bool and mask.shape == (6, 7) for mask in found.values())


def test_stack_prefers_the_whole_and_makes_nothing_up():
    found = from_stack(*stack("left lung", "lung", "lung base", "right lung", "posterior 1st rib"))
    assert pixels(found["lungs"]) == [1]
    assert pixels(found["lung_left"]) == [0]
    assert pixels(found["lung_right"]) == [3]
    assert "ribs" not in found
    found = from_stack(*stack("lungs", "lung"))
    assert pixels(found["lungs"]) == [0]


def test_stack_of_all_cxas_labels_gives_all_but_the_body():
    found = from_stack(CXAS_NAMES, np.ones((159, 4, 5), bool))
    assert set(found) == set(REGIONS) - {"body"} | set(CXAS_NAMES)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("heart", "aotra"), "unknown region 'aotra'; did you mean 'aorta'"),
        (("clavicle",), "did you mean 'clavicles'"),
        (("xyzzy",), "use lungs, lung_right"),
        (("humerus", "heart"), "unknown region 'humerus'"),
        (("heart", "heart"), "'heart' is given twice"),
    ],
)
def test_stack_with_wrong_names_is_refused(names, told):
    with pytest.raises(SourceError, match=told):
        from_stack(*stack(*names))


def test_stack_of_another_length_is_refused():
    with pytest.raises(SourceError, match=r"2 region names need masks of shape \(2, y, x\)"):
        from_stack(["heart", "aorta"], np.ones((3, 4, 5), bool))


def test_shipped_films_are_small_clean_and_whole():
    paths = [path for path in FILMS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < 3e6
    assert (FILMS / "ATTRIBUTION.md").exists()
    assert "Attribution 3.0 Unported" in (FILMS / "LICENSE-CC-BY-3.0.txt").read_text()
    named = {FILMS / film[key] for film in films() for key in ("image", "mask")}
    assert named == {path for path in paths if path.suffix == ".png"}
    assert len({film["id"] for film in films()}) == 11
    for film in films():
        image, mask = (pixels_of(FILMS / film[key]) for key in ("image", "mask"))
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == mask.shape == (512, 512)
        assert set(np.unique(mask)) == {0, 255}
        assert film["devices"] == "0"
        assert film["view"] in ("PA", "AP")


@pytest.mark.skipif(not CT.exists(), reason="../shared/data/ct is not here")
def test_regions_meet_those_of_two_cts(tmp_path):
    pytest.importorskip("nibabel")
    pytest.importorskip("cv2")
    place = ROOT / "benchmarks/anatomy_ct.py"
    module = importlib.util.spec_from_file_location("anatomy_ct", place)
    anatomy_ct = importlib.util.module_from_spec(module)
    module.loader.exec_module(anatomy_ct)
    anatomy_ct.main(CT, tmp_path / "anatomy_ct.json")
    table = json.loads((tmp_path / "anatomy_ct.json").read_text())
    least = {"heart": 0.75, "mediastinum": 0.75, "trachea": 0.5}
    for name, rows in table.items():
        for region, row in rows.items():
            assert row["dice"] > least[region], (name, region, row)
            assert np.hypot(*row["offset_mm"]) < 20, (name, region, row)
