"""Cut-outs lie as their row says, bring no dark seams, and do not end at the film's border."""

from dataclasses import replace
from functools import cache

import chest
import cv2
import numpy as np
import pytest
from scipy import ndimage

from voxelmill.engine.draw import Choice, Fixed, Uniform
from voxelmill.engine.recipes import cxr_objects

SIZE = 150
CLEAR = 10 / 255


@cache
def donors(folder):
    """Inputs with two made-up donors of unequal sides: nothing in them is symmetric."""
    for number, (height, width) in enumerate(((40, 61), (52, 35))):
        y, x = np.indices((height, width)) / (height, width)[0]
        alpha = ((y + 0.4 * x > 0.35) & (y < 0.9) & (x > 0.1) & (x + y < 1.6)) * 255
        alpha = cv2.GaussianBlur(alpha.astype(np.uint8), (5, 5), 1.0)
        grey = (150 + 90 * np.sin(7 * y + 3 * x)).astype(np.uint8)
        grey[alpha == 0] = 0  # as donors are cut: black where they are clear
        bgra = cv2.merge([grey, grey, grey, alpha])
        cv2.imwrite(str(folder / f"donor{number}.png"), bgra)
    return cxr_objects.open_inputs(cxr_objects.Inputs(donors=str(folder)))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return donors(tmp_path_factory.mktemp("donors"))


def laid(o, inputs, size=SIZE, pad=0):
    """The donor's (alpha, grey) on the film by SciPy: flipped, scaled, turned from +x to +y."""
    grey, alpha = inputs.donors[int(o["donor"])]
    if o["flip"]:
        grey, alpha = grey[:, ::-1], alpha[:, ::-1]
    angle = np.radians(o["angle_deg"])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of (y, x)
    back = np.linalg.inv(turn * o["scale"])
    centre = np.array([o["centre_y_px"], o["centre_x_px"]]) - 0.5 + pad
    offset = (np.array(alpha.shape) - 1) / 2 - back @ centre
    shape = (size + 2 * pad, size + 2 * pad)
    on_film = ndimage.affine_transform(alpha, back, offset, shape, order=1, mode="grid-constant")
    shade = ndimage.affine_transform(grey, back, offset, shape, order=1, mode="nearest")
    return on_film, shade * o["brightness"]


def cutouts(inputs, blend="alpha", count=1, indices=range(6), **changes):
    still = {"elastic": 0.0, "morph": 0.0, **changes}
    ranges = chest.only("cutout", blend, SIZE, count=count, **still)
    return chest.samples(ranges, indices, inputs=inputs)


def test_donor_is_flipped_scaled_and_turned_as_the_row_says(inputs):
    seen = set()
    for film, sample, (o,), _ in cutouts(inputs, angle_deg=Uniform(-170, 170), indices=range(10)):
        alpha, grey = laid(o, inputs)
        clear = np.abs(alpha - CLEAR) > 0.002
        np.testing.assert_array_equal(sample["modal"][clear] == 1, alpha[clear] > CLEAR)
        want = film + np.where(alpha > CLEAR, alpha, 0) * (grey - film)
        away = np.abs(sample["image"] - np.clip(want, 0, 255))
        assert away[clear].max() < 1.0
        seen.add((o["donor"], o["flip"]))
    assert len(seen) == 4


def test_film_is_untouched_outside_the_mask(inputs):
    own = {"elastic": 1.0, "morph": 1.0}
    for blend in ("alpha", "feather"):
        for film, sample, _, _ in cutouts(inputs, blend, count=3, **own):
            outside = sample["modal"] == 0
            np.testing.assert_array_equal(sample["image"][outside], film[outside])


def test_edges_have_no_dark_seam(inputs):
    """Donors are black where they are clear; none of that black reaches the film."""
    own = {"elastic": 1.0, "morph": 1.0, "morph_px": Fixed(5), "brightness": Fixed(1.0)}
    for film, sample, (o,), _ in cutouts(inputs, indices=range(12), **own):
        grey, alpha = inputs.donors[int(o["donor"])]
        least = grey[alpha > 0.5].min()
        mask = sample["modal"] == 1
        assert (sample["image"][mask] >= np.minimum(film[mask], least) - 1).all()


def test_grown_and_shrunk_edges(inputs):
    areas = {}
    for px in (0, 4):
        own = {
            "elastic": 1.0,
            "morph": 1.0,
            "elastic_amplitude_px": Fixed(0),
            "morph_px": Fixed(px),
        }
        for _, sample, (o,), _ in cutouts(inputs, indices=range(10), **own):
            plain = laid(o, inputs, pad=8)[0]
            y, x = np.indices((9, 9)) - 4
            disc = y * y + x * x <= o["grow_px"] ** 2
            change = ndimage.grey_dilation if o["grow_px"] >= 0 else ndimage.grey_erosion
            want = change(plain, footprint=disc)[8:-8, 8:-8]
            clear = np.abs(want - CLEAR) > 0.003
            assert (clear & ((sample["modal"] == 1) != (want > CLEAR))).sum() == 0, o["grow_px"]
            areas.setdefault(o["grow_px"], []).append(o["area_px"])
    assert set(areas) == {0, 4, -4}


def test_feathered_edges_rise_inwards(inputs):
    own = {"feather_px": Fixed(5), "brightness": Fixed(1.0), "scale": Fixed(1.2)}
    for film, sample, (o,), _ in cutouts(inputs, "feather", **own):
        assert o["feather_px"] == 5
        plain, grey = laid(o, inputs, pad=10)
        depth = ndimage.distance_transform_edt(plain >= 0.5)
        t = np.clip((depth - 0.5) / 5, 0, 1)
        alpha = (plain * t * t * (3 - 2 * t))[10:-10, 10:-10]
        want = film + alpha * (grey[10:-10, 10:-10] - film)
        away = np.abs(sample["image"] - np.clip(want, 0, 255))
        assert (away > 2).sum() <= 8  # an alpha of one half is covered here and not there


def test_border_of_the_film_is_no_edge(inputs):
    """Shrunk and feathered cut-outs that the film cuts off are as wide at its border as inside."""
    for _, sample, (o,), _ in cutouts(inputs, "feather", indices=range(60), feather_px=Fixed(4)):
        plain, grey = laid(o, inputs, pad=12)
        depth = ndimage.distance_transform_edt(plain >= 0.5)[12:-12, 12:-12]
        border = np.zeros_like(depth, bool)
        border[[0, -1]] = border[:, [0, -1]] = True
        deep = border & (depth > 6) & (plain[12:-12, 12:-12] > 0.99)
        shade = grey[12:-12, 12:-12]
        if deep.any():
            away = np.abs(sample["image"][deep] - np.clip(shade[deep], 0, 255))
            assert away.max() < 1.5
            break
    else:
        pytest.fail("none of the cut-outs crosses the border: change the seed")


def test_elastic_warps_differ_between_objects_and_stay_near(inputs):
    own = {"angle_deg": Fixed(0), "scale": Fixed(1), "flip": 0.0, "elastic": 1.0, "morph": 0.0}
    shapes = []
    for _, sample, objects, _ in cutouts(inputs, count=2, **own):
        for o in objects:
            assert 3 <= o["elastic_px"] <= 8
            assert 6 <= o["elastic_sigma_px"] <= 14
            whole = sample["amodal"] >> int(o["id"] - 1) & 1
            plain = laid(o, inputs)[0] > CLEAR
            reach = int(4 * o["elastic_px"]) + 2
            near = ndimage.binary_dilation(plain, np.ones((3, 3)), iterations=reach)
            assert not (whole & ~near).any()
            shapes.append((whole.sum(), plain.sum()))
    changed = [abs(a - b) / b for a, b in shapes if b > 500]
    assert np.median(changed) > 0.01


def test_donors_are_drawn_evenly(inputs):
    ranges = chest.only("cutout", "alpha", SIZE, count=8, place=Choice({"body": 1.0}))
    rows = [
        o
        for one in chest.draws(ranges, range(100), inputs=inputs)
        for o in chest.rows(ranges, one.params.objects)
    ]
    for column, share in (("donor", 0.5), ("flip", 0.5)):
        assert abs(np.mean([o[column] for o in rows]) - share) < 0.05
    assert abs(np.mean([o["elastic_px"] > 0 for o in rows]) - 0.5) < 0.05
    grown = [o["grow_px"] for o in rows if o["elastic_px"] > 0]
    assert abs(np.mean(np.array(grown) != 0) - 0.5) < 0.07
    assert all(o["grow_px"] == 0 for o in rows if o["elastic_px"] == 0)


def test_shipped_donors():
    ranges = replace(chest.only("cutout", size=512), count=Fixed(2))
    for _, sample, objects, _ in chest.samples(ranges, range(2)):
        assert all(o["area_px"] > 300 for o in objects)
        assert sample["amodal"].any()
