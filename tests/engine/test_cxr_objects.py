"""What a user of `cxr_objects` relies on: labels that agree, films left alone, addresses."""

from collections import Counter
from dataclasses import replace
from zlib import crc32

import chest
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from voxelmill.engine.draw import Choice, Fixed, Integer, Stream, Uniform
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import cxr_objects, load

MANY = range(40)
EDGES = ("y0", "x0", "y1", "x1")


@pytest.fixture(scope="module")
def mixed():
    """Samples of all classes and modes at a small size, so that most objects overlap."""
    ranges = chest.ranges()
    return ranges, chest.samples(ranges, MANY)


def amodal(sample, number):
    return (sample["amodal"] >> (number - 1) & 1).astype(bool)


def box(mask):
    y, x = np.nonzero(mask)
    return (y.min(), x.min(), y.max() + 1, x.max() + 1) if len(y) else (0, 0, 0, 0)


def test_maps_and_rows_agree(mixed):
    for _, sample, objects, _ in mixed[1]:
        modal, semantic = np.zeros_like(sample["modal"]), np.zeros_like(sample["semantic"])
        for z, o in enumerate(objects):
            number, kind = int(o["id"]), chest.CLASSES.index(o["class"]) + 1
            assert (number, o["z"]) == (z + 1, z)
            whole = amodal(sample, number)
            modal[whole], semantic[whole] = number, kind
            assert tuple(o[f"box_{e}_px"] for e in EDGES) == box(whole)
            assert o["area_px"] == whole.sum()
            seen = sample["modal"] == number
            assert tuple(o[f"visible_{e}_px"] for e in EDGES) == box(seen)
            assert o["visible_fraction"] == (seen.sum() / whole.sum() if whole.any() else 0)
            assert o["runs"] == 0
        np.testing.assert_array_equal(sample["modal"], modal)
        np.testing.assert_array_equal(sample["semantic"], semantic)
        assert not (sample["amodal"] >> len(objects)).any()


def test_film_is_untouched_away_from_objects(mixed):
    changed = 0
    for film, sample, objects, _ in mixed[1]:
        near = np.zeros(film.shape, np.uint8)
        for o in objects:
            reach = 2 + int(np.ceil(4 * o["soft_sigma_px"]))  # tips of partial coverage, 4 sigma
            square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
            near |= cv2.dilate(amodal(sample, int(o["id"])).astype(np.uint8), square)
            whole = o["box_y0_px"] > reach and o["box_y1_px"] < chest.SIZE - reach
            whole &= o["box_x0_px"] > reach and o["box_x1_px"] < chest.SIZE - reach
            if not whole:  # its mask goes on outside, and may lie there alone
                near[:reach] = near[-reach:] = near[:, :reach] = near[:, -reach:] = 1
        np.testing.assert_array_equal(sample["image"][near == 0], film[near == 0])
        changed += np.count_nonzero(sample["image"] != film)
    assert changed > 10000


def test_columns_hold_what_their_class_has(mixed):
    common = {"class", "id", "z", "area_px", "visible_fraction", "runs", "place", "mode"}
    common |= {f"{kind}_{e}_px" for kind in ("box", "visible") for e in EDGES}
    common |= {"soft_sigma_px", "mu", "opacity", "centre_y_px", "centre_x_px"}
    curve = {f"{p}_{axis}_px" for p in ("start", "bend1", "bend2") for axis in "yx"}
    text = {"scale", "stroke_px", "angle_deg", "grey", "characters"}
    own = {
        "textual": text,
        "circular": {"size_a_px", "size_b_px", "angle_deg", "grey"},
        "ring": {"size_a_px", "size_b_px", "stroke_px", "angle_deg", "grey"},
        "rectangular": {"size_a_px", "size_b_px", "angle_deg", "grey"},
        "clip": {"size_a_px", "stroke_px", "angle_deg", "grey"},
        "grid": {"size_a_px", "size_b_px", "stroke_px", "cell_px", "edges", "grey"},
        "line": {*curve, "stroke_px", "grey"},
        "parallel": {*curve, "size_a_px", "stroke_px", "grey", "fill_grey"},
        "cutout": {
            *("donor", "scale", "flip", "angle_deg", "brightness", "elastic_px"),
            *("elastic_sigma_px", "grow_px", "feather_px"),
        },
    }
    seen = Counter()
    for _, _, objects, _ in mixed[1]:
        for o in objects:
            filled = {name for name, v in o.items() if isinstance(v, str) or not np.isnan(v)}
            letters = {f"character{i}" for i in range(6)}
            if o["class"] == "textual":
                count = int(o["characters"])
                assert {f"character{i}" for i in range(count)} == filled & letters
            assert filled - letters == common | own[o["class"]], o["class"]
            assert (o["mu"] > 0) == (o["mode"] == "beer_lambert")
            assert (o["soft_sigma_px"] > 0) == (o["mode"] == "soft")
            assert (o["mode"] in ("alpha", "feather")) == (o["class"] == "cutout")
            seen[o["class"]] += 1
    assert set(seen) == set(chest.CLASSES)


def test_every_number_is_in_its_range():
    ranges = chest.ranges()
    of = {
        "textual": {"scale": "scale", "stroke_px": "stroke_px", "characters": "characters"},
        "circular": {"size_a_px": "semi_axis_px", "size_b_px": "semi_axis_px", "grey": "grey"},
        "ring": {"size_a_px": "semi_axis_px", "stroke_px": "stroke_px", "grey": "grey"},
        "rectangular": {"size_a_px": "side_px", "size_b_px": "side_px", "opacity": "opacity"},
        "clip": {"size_a_px": "half_length_px", "stroke_px": "stroke_px", "angle_deg": "angle_deg"},
        "grid": {"size_b_px": "width_px", "cell_px": "cell_px", "stroke_px": "stroke_px"},
        "line": {"bend1_y_px": "bend_px", "bend2_x_px": "bend_px", "stroke_px": "stroke_px"},
        "parallel": {
            "size_a_px": "half_width_px",
            "stroke_px": "wall_px",
            "fill_grey": "fill_grey",
        },
        "cutout": {"scale": "scale", "angle_deg": "angle_deg", "brightness": "brightness"},
    }
    widest = {}
    for one in chest.draws(ranges, range(300)):
        for o in chest.rows(ranges, one.params.objects):
            own = getattr(ranges, o["class"])
            for column, key in of[o["class"]].items():
                low, high = getattr(own, key).bounds()
                assert low <= o[column] <= high, (o["class"], column)
                if low < high:
                    place = (o[column] - low) / (high - low)
                    least, most = widest.get((o["class"], column), (1.0, 0.0))
                    widest[o["class"], column] = min(least, place), max(most, place)
            if o["class"] in ("line", "parallel"):
                y, x = o["start_y_px"], o["start_x_px"]
                outside = max(-y, y - ranges.size, -x, x - ranges.size)
                assert 0 <= outside <= 20
                if o["class"] == "parallel":
                    assert y <= 0
            if o["class"] == "textual":
                assert abs(o["angle_deg"]) in (0, 15, 90)
                assert not np.signbit(o["angle_deg"]) or o["angle_deg"]
                dark, faint = o["grey"] <= 60, o["opacity"] < 1
                assert dark or o["grey"] >= 200
                assert not (dark and faint)
                assert not faint or 0.2 <= o["opacity"] <= 0.5
            if o["class"] == "cutout" and o["grow_px"]:
                assert o["elastic_px"] >= 3
                assert 2 <= abs(o["grow_px"]) <= 5
    assert all(least < 0.15 and most > 0.85 for least, most in widest.values()), widest


def test_negatives_counts_classes_and_modes_follow_their_shares():
    weights = {"circular": 1.0, "line": 3.0, "clip": 0.0, "ring": 2.0}
    ranges = chest.ranges(weights=weights, count=Integer(2, 5))
    made = chest.draws(ranges, range(3000))
    counts = Counter(one.params.count for one in made)
    assert abs(counts[0] / 3000 - 0.25) < 0.025
    assert all((one.params.count == 0) == one.params.negative for one in made)
    assert all(abs(counts[n] / 2250 - 0.25) < 0.03 for n in (2, 3, 4, 5)), counts
    objects = [o for one in made for o in chest.rows(ranges, one.params.objects)]
    kinds = Counter(o["class"] for o in objects)
    for name in chest.CLASSES:
        assert abs(kinds[name] / len(objects) - weights.get(name, 0) / 6) < 0.015
    modes = Counter(o["mode"] for o in objects if o["class"] == "line")
    assert abs(modes["soft"] / kinds["line"] - 2 / 3) < 0.03
    assert modes["beer_lambert"] == 0
    used = Counter(one.params.input for one in made)
    assert len(used) == 11
    assert all(abs(n / 3000 - 1 / 11) < 0.025 for n in used.values())


def test_negatives_are_the_film():
    ranges = chest.ranges(negative_share=1.0)
    for film, sample, objects, _ in chest.samples(ranges, range(3)):
        np.testing.assert_array_equal(sample["image"], film)
        assert not objects
        assert not any(sample[name].any() for name in ("modal", "amodal", "semantic"))


def test_anchors_lie_in_their_region():
    ranges, checked = chest.ranges(size=128), Counter()
    for one in chest.draws(ranges, range(400)):
        film = chest.films().film(one.params.input, 128)
        for o in chest.rows(ranges, one.params.objects):
            y, x = int(o["centre_y_px"]), int(o["centre_x_px"])
            assert 0 <= o["centre_y_px"] < 128
            assert 0 <= o["centre_x_px"] < 128
            if o["place"] != "frame":
                assert film.regions[o["place"]][y, x], o
                checked[o["class"], o["place"]] += 1
    assert set(checked) == {
        ("circular", "heart"), ("ring", "heart"), ("ring", "aorta"), ("clip", "ribs"),
        ("grid", "aorta"), ("line", "heart"), ("line", "aorta"), ("parallel", "trachea"),
        ("cutout", "body"),
    }  # fmt: skip


def test_anchors_fill_their_region_evenly():
    ranges = chest.only("circular", size=96, count=40)
    film = chest.films().film(0, 96)
    heart = film.regions["heart"]
    made = [one for one in chest.draws(ranges, range(250)) if one.params.input == 0]
    found = [o for one in made for o in chest.rows(ranges, one.params.objects)]
    at = np.array([(o["centre_y_px"], o["centre_x_px"]) for o in found])
    y, x = np.nonzero(heart)
    assert np.abs(at.mean(0) - (y.mean() + 0.5, x.mean() + 0.5)).max() < 1.0
    assert np.abs(at.std(0) - (y.std(), x.std())).max() < 1.0
    assert np.abs((at % 1).mean(0) - 0.5).max() < 0.05


def test_regions_of_the_user_are_used(tmp_path):
    for source in chest.films().sources:
        shape = cv2.imread(str(source.image), cv2.IMREAD_GRAYSCALE).shape
        masks = np.zeros((2, *shape), bool)
        masks[0, shape[0] // 8 : shape[0] // 4, : shape[1] // 3] = True
        masks[1, -shape[0] // 5 :, -shape[1] // 4 :] = True
        np.savez_compressed(tmp_path / f"{source.id}.npz", names=["heart", "spine"], masks=masks)
    inputs = cxr_objects.open_inputs(cxr_objects.Inputs(regions=str(tmp_path)))
    own = Choice({"heart": 1.0, "spine": 1.0, "trachea": 1.0})
    ranges = chest.only("circular", size=96, count=6, place=own)
    cxr_objects.check_opened(ranges, inputs)
    seen = Counter()
    for one in chest.draws(ranges, range(30), inputs=inputs):
        film = inputs.film(one.params.input, 96)
        for o in chest.rows(ranges, one.params.objects):
            y, x = o["centre_y_px"], o["centre_x_px"]
            assert film.regions[o["place"]][int(y), int(x)]
            if o["place"] == "heart":
                assert 11 <= y <= 25
                assert x <= 33
            if o["place"] == "spine":
                assert y >= 76
                assert x >= 71
            seen[o["place"]] += 1
    assert set(seen) == {"heart", "spine", "trachea"}


def spec(*lines):
    return "\n".join(["recipe: cxr_objects", "count: 4", "inputs: {films: shipped}", *lines])


def test_small_films_are_refused():
    with pytest.raises(SpecError, match="below 64"):
        open_plan(spec("ranges: {size: 32}"))


def test_unknown_region_is_an_error_before_work():
    with pytest.raises(SourceError, match=r"unknown region 'hart'; did you mean 'heart'"):
        open_plan(spec("ranges: {clip: {place: {choice: {hart: 1}}}}"))


def test_cutouts_without_donors_are_an_error():
    with pytest.raises(SpecError, match=r"weight to cutout, but inputs\.donors names no folder"):
        open_plan(spec("ranges: {classes: {choice: {cutout: 1}}}"))


def test_walls_that_leave_no_lumen_are_an_error():
    with pytest.raises(SpecError, match=r"walls of 9 px leave no lumen at a half-width of 4 px"):
        open_plan(spec("ranges: {parallel: {wall_px: 9}}"))


def test_a_mesh_of_too_many_edges_is_an_error():
    text = "ranges: {size: 4096, grid: {width_px: {uniform: [16, 2000]}}}"
    with pytest.raises(SpecError, match=r"cells of 4 px make up to \d+ edges, above 65536"):
        open_plan(spec(text))


def test_donors_too_big_to_warp_are_an_error():
    ranges = chest.only("cutout", scale=Fixed(10.0), elastic_sigma_px=Fixed(0.5))
    with pytest.raises(SourceError, match=r"donor scaled to \d+ px is too big .*elastic_sigma_px"):
        cxr_objects.check_opened(ranges, chest.films())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize("most", [17, 64])
def test_many_objects_are_run_lengths(most):
    ranges = chest.ranges(count=Fixed(most), negative_share=0.3)
    fields = {f.name: f for f in cxr_objects.fields(ranges)}
    assert "amodal" not in fields
    for _, sample, objects, _ in chest.samples(ranges, range(6)):
        assert set(sample) == set(fields)
        assert len(objects) in (0, most)
        runs, at = sample["amodal_runs"][:, 0], 0
        assert len(runs) <= fields["amodal_runs"].most
        modal = np.zeros((chest.SIZE, chest.SIZE), np.uint8)
        for o in objects:
            own = runs[at : at + int(o["runs"])]
            at += int(o["runs"])
            size = [chest.SIZE, chest.SIZE]
            mask = coco.decode(coco.frPyObjects({"counts": own.tolist(), "size": size}, *size))
            modal[mask > 0] = o["id"]
            assert tuple(o[f"box_{e}_px"] for e in EDGES) == box(mask)
            assert o["area_px"] == mask.sum()
        assert at == len(runs)
        np.testing.assert_array_equal(sample["modal"], modal)


def test_meshes_fit_the_room_for_their_runs():
    wide = {"length_share": Fixed(1.0), "width_px": Fixed(48), "cell_px": Fixed(4.0), "keep": 1.0}
    ranges = chest.only("grid", size=512, count=17, place=Choice({"lungs": 1.0}), **wide)
    fields = {f.name: f for f in cxr_objects.fields(ranges)}
    (sample,) = chest.split(chest.batch(ranges, [3]))
    table = chest.rows(ranges, sample["objects"])
    assert 17 * max(o["runs"] for o in table) <= fields["amodal_runs"].most


@pytest.mark.parametrize("name", chest.CLASSES)
@pytest.mark.parametrize("size", [64, 160])
def test_each_class_alone(name, size):
    ranges = chest.only(name, size=size, count=3)
    for film, sample, objects, _ in chest.samples(ranges, range(3)):
        assert {o["class"] for o in objects} == {name}
        kind = chest.CLASSES.index(name) + 1
        assert set(np.unique(sample["semantic"])) <= {0, kind}
        if size == 160:
            assert all(o["area_px"] > 0 for o in objects)
            assert (sample["image"] != film).any()


def test_published_size():
    ranges = chest.ranges(size=512)
    (film, sample, objects, _), *_ = chest.samples(ranges, [1])
    assert sample["image"].shape == film.shape == (512, 512)
    assert len(objects) > 3


# Addresses


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("count", [Integer(1, 12), Integer(1, 30)])
def test_a_batch_is_its_samples_bit_for_bit(count):
    ranges = chest.ranges(count=count)
    indices = [3, 900, 4, 77, 2**33 + 5]
    together = chest.split(chest.batch(ranges, indices))
    for index, sample in zip(indices, together, strict=True):
        (alone,) = chest.split(chest.batch(ranges, [index]))
        same(alone, sample)


def test_high_words_of_index_and_seed_count():
    ranges = chest.ranges(negative_share=0.0)
    images = [
        chest.batch(ranges, [index], seed)["image"].tobytes()
        for seed, index in [(7, 5), (7, 5 + 2**32), (7 + 2**32, 5), (5, 7), (6, 6), (8, 4)]
    ]
    assert len(set(images)) == len(images)
    assert chest.batch(ranges, [5], 7)["image"].tobytes() == images[0]


def numbers(ranges, indices):
    """(sample, id) -> row, of all objects."""
    return {
        (i, o["id"]): o
        for i, one in zip(indices, chest.draws(ranges, indices), strict=True)
        for o in chest.rows(ranges, one.params.objects)
    }


def test_a_class_does_not_disturb_the_others():
    plain = chest.ranges(weights={"circular": 1.0, "line": 1.0, "textual": 1.0})
    more = chest.ranges(weights={"circular": 1.0, "line": 1.0, "textual": 1.0, "clip": 2.0})
    a, b = numbers(plain, range(60)), numbers(more, range(60))
    assert a.keys() == b.keys()
    kept = [key for key in a if a[key]["class"] == b[key]["class"]]
    assert len(kept) > 50
    assert all(repr(a[key]) == repr(b[key]) for key in kept)


def test_a_range_of_a_class_does_not_disturb_the_others():
    plain = chest.ranges()
    other = replace(plain, ring=replace(plain.ring, stroke_px=Uniform(9, 9.5)))
    a, b = numbers(plain, range(40)), numbers(other, range(40))
    for key in a:
        changed = {c for c in a[key] if repr(a[key][c]) != repr(b[key][c])}
        assert changed == ({"stroke_px"} if a[key]["class"] == "ring" else set())


def test_names_are_all_and_only_those_that_draw(monkeypatch):
    used, address = set(), Stream._address
    fixed = {"textual.slant_deg", "rectangular.angle_deg", "clip.grey", "parallel.opacity"}
    monkeypatch.setattr(Stream, "_address", lambda s, name: (used.add(name), address(s, name))[1])
    chest.batch(chest.ranges(), range(12))
    assert used == set(cxr_objects.NAMES) - fixed  # drawn only where a spec gives them a range
    chest.batch(
        chest.ranges(
            textual=replace(chest.ranges().textual, slant_deg=Uniform(10, 20)),
            rectangular=replace(chest.ranges().rectangular, angle_deg=Uniform(0, 9)),
            clip=replace(chest.ranges().clip, grey=Uniform(200, 240)),
            parallel=replace(chest.ranges().parallel, opacity=Uniform(0.5, 1)),
        ),
        range(12),
    )
    assert used == set(cxr_objects.NAMES)
    assert len({crc32(name.encode()) for name in used}) == len(used)
    assert load("cxr_objects") is cxr_objects
