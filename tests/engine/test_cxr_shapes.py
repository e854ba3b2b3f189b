"""Each primitive against an independent drawing of its stored row, in each mode."""

from functools import cache
from importlib.resources import files

import chest
import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont
from scipy import ndimage
from scipy.spatial import cKDTree

from voxelmill.engine.draw import Choice, Fixed, Uniform

SIZE, PAD, SHARE = 144, 72, 12  # a canvas with room around the film; sub-pixels a side
OUTLINED = ("circular", "ring", "rectangular", "clip", "line", "parallel")


def turned_back(o, points):
    """Points (n, 2) in the object's own frame, before its turn from +x to +y."""
    y, x = (points - (o["centre_y_px"], o["centre_x_px"])).T
    angle = np.radians(o["angle_deg"])
    return y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)


def middle_line(o, n=6000):
    """Points on the curve that a stroke follows."""
    if o["class"] == "clip":
        angle = np.radians(o["angle_deg"])
        along = np.linspace(-1, 1, n)[:, None] * o["size_a_px"]
        centre = (o["centre_y_px"], o["centre_x_px"])
        return centre + along * (np.sin(angle), np.cos(angle))
    if o["class"] == "ring":
        t, angle = np.linspace(0, 2 * np.pi, n), np.radians(o["angle_deg"])
        y, x = o["size_a_px"] * np.sin(t), o["size_b_px"] * np.cos(t)
        return np.stack(
            [
                o["centre_y_px"] + x * np.sin(angle) + y * np.cos(angle),
                o["centre_x_px"] + x * np.cos(angle) - y * np.sin(angle),
            ],
            1,
        )
    start = np.array([o["start_y_px"], o["start_x_px"]])
    tip = np.array([o["centre_y_px"], o["centre_x_px"]])
    one = start + (tip - start) / 3 + (o["bend1_y_px"], o["bend1_x_px"])
    two = start + 2 * (tip - start) / 3 + (o["bend2_y_px"], o["bend2_x_px"])
    t = np.linspace(0, 1, n)[:, None]
    return (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * one + 3 * (1 - t) * t**2 * two + t**3 * tip


def within(o, tree, line, points, half):
    """Whether points are nearer than `half` to a line; a tube's ends are cut off straight."""
    distance, nearest = tree.query(points, distance_upper_bound=half)
    near = np.isfinite(distance)
    if o["class"] == "parallel":
        for end, beside in ((0, 1), (len(line) - 1, len(line) - 2)):
            at_end = near & (nearest == end)
            beyond = (points[at_end] - line[end]) @ (line[end] - line[beside]) > 0
            near[np.flatnonzero(at_end)[beyond]] = False
    return near


def inside(o, width):
    """A function of points: whether they lie in the silhouette, or in a stroke of `width`."""
    if o["class"] == "circular":
        return lambda p: (
            np.hypot(*np.divide(turned_back(o, p), ([o["size_a_px"]], [o["size_b_px"]]))) <= 1
        )
    if o["class"] == "rectangular":
        return lambda p: (
            np.abs(turned_back(o, p)) <= [[o["size_a_px"] / 2], [o["size_b_px"] / 2]]
        ).all(0)
    line = middle_line(o)
    tree = cKDTree(line)
    return lambda p: within(o, tree, line, p, width / 2)


def drawn(o, width=None):
    """Coverage of the object on the canvas, PAD pixels larger on each side, by sub-pixels."""
    if width is None:
        width = o["stroke_px"]
        if o["class"] == "parallel":
            width += 2 * o["size_a_px"]
    test = inside(o, width)
    side = SIZE + 2 * PAD
    centres = np.indices((side, side)).reshape(2, -1).T + 0.5 - PAD
    offsets = np.arange(1, SHARE**2 + 1)[:, None] * (0.7548776662, 0.5698402910) % 1 - 0.5  # R2
    coarse = np.zeros(side * side, bool)
    for corner in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5), (0, 0)):
        coarse |= test(centres + corner)
    maybe = np.flatnonzero(ndimage.binary_dilation(coarse.reshape(side, side), np.ones((3, 3))))
    share = test((centres[maybe, None] + offsets).reshape(-1, 2)).reshape(len(maybe), -1).mean(1)
    out = np.zeros(side * side)
    out[maybe] = share
    return out.reshape(side, side)


def cropped(canvas):
    return canvas[PAD:-PAD, PAD:-PAD]


def alpha_of(o, coverage, mu):
    """The alpha of a mode, from the coverage on the large canvas."""
    if o["mode"] == "soft":
        radius = int(np.ceil(4 * o["soft_sigma_px"]))
        return ndimage.gaussian_filter(coverage, o["soft_sigma_px"], mode="constant", radius=radius)
    if o["mode"] == "beer_lambert":
        distance = ndimage.distance_transform_edt(coverage >= 0.5)
        return coverage * (1 - np.exp(-mu * np.sqrt(distance / max(distance.max(), 1e-9))))
    return coverage


def painted(o, film):
    """The film with the object, from its row alone."""
    layers = [(drawn(o), o["grey"])]
    if o["class"] == "parallel":
        layers.append((drawn(o, 2 * o["size_a_px"] - o["stroke_px"]), o["fill_grey"]))
    image = film.astype(float)
    for coverage, grey in layers:
        mu = o["mu"] * (2 if grey < 128 else 1)
        alpha = cropped(alpha_of(o, coverage, mu)) * o["opacity"]
        image += alpha * (grey - image)
    return image


@cache
def cases(name, mode):
    """Objects of a class in a mode, half of them cut off by the film's border."""
    half_sizes = {"semi_axis_px": Uniform(6, 24), "side_px": Uniform(9, 30)}
    changes = {k: v for k, v in half_sizes.items() if hasattr(getattr(chest.ranges(), name), k)}
    if name == "circular":
        changes["grey"] = Uniform(0, 255)
    if name in ("rectangular", "clip", "circular", "ring"):
        changes["angle_deg"] = Uniform(-180, 180)
        changes["place"] = Choice({"frame": 1.0})
    if name in ("line", "parallel"):
        changes["bend_px"] = Uniform(-8, 8)  # bends wider than the tube: its ends are plain cuts
    ranges = chest.only(name, mode, SIZE, top={"mu": Uniform(0.5, 3.5)}, **changes)
    return [(film, s, o) for film, s, (o,), _ in chest.samples(ranges, range(3))]


@pytest.mark.parametrize("mode", ["overlay", "soft", "beer_lambert"])
@pytest.mark.parametrize("name", OUTLINED)
def test_object_is_as_its_row_says(name, mode):
    for film, sample, o in cases(name, mode):
        coverage = cropped(drawn(o))
        clear = np.abs(coverage - 0.5) > 0.03  # else a few sub-pixels decide
        np.testing.assert_array_equal(sample["modal"][clear] == 1, coverage[clear] >= 0.5)
        if mode == "beer_lambert" and not clear.all():
            continue  # the distance hangs on the pixels that are not clear
        away = np.abs(sample["image"] - painted(o, film))
        assert away.max() <= (12 if name == "parallel" else 7), (name, mode, away.max())
        assert away.mean() < (0.3 if mode == "beer_lambert" else 0.05)


@pytest.mark.parametrize("name", ["circular", "rectangular", "textual"])
def test_overlay_is_opacity_of_the_way_to_grey(name):
    key = "opacity" if name != "circular" else None
    changes = {key: Uniform(0.2, 0.9)} if key else {}
    ranges = chest.only(name, "overlay", SIZE, **changes)
    for film, sample, (o,), _ in chest.samples(ranges, range(4)):
        core = ndimage.binary_erosion(sample["modal"] == 1, np.ones((5, 5)), border_value=1)
        if name != "textual":
            assert core.any()
        want = film + o["opacity"] * (o["grey"] - film.astype(float))
        assert np.abs(sample["image"][core] - want[core]).max(initial=0) <= 0.51


def test_bodies_are_as_thick_at_the_border_as_inside():
    own = {"semi_axis_px": Fixed(20), "grey": Fixed(250), "place": Choice({"frame": 1.0})}
    ranges = chest.only("circular", "beer_lambert", SIZE, top={"mu": Fixed(2)}, **own)
    cut = []
    for film, sample, (o,), _ in chest.samples(ranges, range(40)):
        y, x = o["centre_y_px"], o["centre_x_px"]
        if min(y, x, SIZE - y, SIZE - x) < 10:
            cut.append(o)
            mask = sample["modal"] == 1
            y, x = np.nonzero(mask)
            depth = 20 - np.hypot(y + 0.5 - o["centre_y_px"], x + 0.5 - o["centre_x_px"])
            alpha = 1 - np.exp(-2 * np.sqrt(np.clip(depth, 0, None) / 20))
            behind = film[mask].astype(float)
            deep = depth > 3
            want = behind + alpha * (250 - behind)
            assert np.abs(sample["image"][mask] - want)[deep].max() < 10
    assert len(cut) > 5


def test_beer_lambert_at_the_thickest_pixel():
    for grey, times in ((220.0, 1), (40.0, 2)):  # dark bodies attenuate twice as fast
        own = {"grey": Fixed(grey), "semi_axis_px": Fixed(20)}
        ranges = chest.only("circular", "beer_lambert", SIZE, top={"mu": Uniform(0.5, 3)}, **own)
        for film, sample, (o,), _ in chest.samples(ranges, range(4)):
            assert 0.5 <= o["mu"] <= 3  # the drawn value, not twice it
            mask = np.pad(sample["modal"] == 1, 30)
            depth = ndimage.distance_transform_edt(mask)[30:-30, 30:-30]
            y, x = np.unravel_index(depth.argmax(), depth.shape)
            behind = float(film[y, x])
            want = grey - (grey - behind) * np.exp(-times * o["mu"])
            assert abs(sample["image"][y, x] - want) <= 0.51


def test_soft_edges_stay_in_their_halo():
    ranges = chest.only(
        "rectangular", "soft", SIZE, side_px=Fixed(20), place=Choice({"heart": 1.0})
    )
    for film, sample, (o,), _ in chest.samples(ranges, range(4)):
        mask = sample["modal"] == 1
        reach = 1 + int(np.ceil(4 * o["soft_sigma_px"]))
        near = ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=reach)
        np.testing.assert_array_equal(sample["image"][~near], film[~near])
        ring = ndimage.binary_dilation(mask) & ~mask
        assert (sample["image"][ring] != film[ring]).mean() > 0.7


# Meshes


def edges_of(o, film):
    """(y0, x0, y1, x1) of all edges of the mesh that may be there, by its row and its region."""
    cell, thin = o["cell_px"], o["stroke_px"] / 2
    ny, nx = max(1, round(o["size_a_px"] / cell)), max(1, round(o["size_b_px"] / cell))
    top, left = o["centre_y_px"] - ny * cell / 2, o["centre_x_px"] - nx * cell / 2
    found = []
    for i in range(ny + 1):
        for j in range(nx + 1):
            y, x = top + i * cell, left + j * cell
            ends = [(y, x + cell)] * (j < nx) + [(y + cell, x)] * (i < ny)
            for y1, x1 in ends:
                at = int(np.floor((y + y1) / 2)), int(np.floor((x + x1) / 2))
                in_film = 0 <= at[0] < SIZE and 0 <= at[1] < SIZE
                if in_film and film.regions[o["place"]][at]:
                    found.append((y - thin, x - thin, y1 + thin, x1 + thin))
    return np.array(found)


def rectangles(boxes):
    """Coverage of the union of upright boxes, by sub-pixels."""
    fine = np.zeros((SIZE * SHARE, SIZE * SHARE), bool)
    for box in np.round(boxes * SHARE).astype(int):
        y0, x0, y1, x1 = np.clip(box, 0, SIZE * SHARE)
        fine[y0:y1, x0:x1] = True
    return fine.reshape(SIZE, SHARE, SIZE, SHARE).mean((1, 3))


def test_mesh_with_all_edges():
    ranges = chest.only("grid", "overlay", SIZE, keep=1.0, stroke_px=Fixed(2))
    for _, sample, (o,), film in chest.samples(ranges, range(6)):
        boxes = edges_of(o, film)
        coverage = rectangles(boxes)
        assert o["edges"] == len(boxes)
        clear = np.abs(coverage - 0.5) > 0.13  # edges of boxes are rounded to sub-pixels
        np.testing.assert_array_equal((sample["modal"] == 1)[clear], (coverage >= 0.5)[clear])


def test_mesh_keeps_its_share_of_edges_each_with_its_grey():
    ranges = chest.only("grid", "overlay", SIZE, count=12, grey=Uniform(180, 255))
    kept = there = 0
    for film, sample, objects, one in chest.samples(ranges, range(6)):
        possible = np.zeros(film.shape, bool)
        for o in objects:
            boxes = edges_of(o, one)
            kept, there = kept + o["edges"], there + len(boxes)
            assert 1 <= o["edges"] <= max(len(boxes), 1)
            assert 180 <= o["grey"] <= 255
            possible |= rectangles(boxes) > 0
        assert not ((sample["modal"] > 0) & ~possible).any()
        full = sample["modal"] > 0
        assert len(np.unique(sample["image"][full])) > 20
    assert abs(kept / there - 0.7) < 0.03


def test_mesh_with_no_luck_is_one_edge_at_its_anchor():
    ranges = chest.only("grid", "overlay", SIZE, keep=0.01, cell_px=Fixed(12), width_px=Fixed(12))
    alone = [(s, o) for _, s, (o,), _ in chest.samples(ranges, range(20)) if o["edges"] == 1]
    assert len(alone) > 10
    for sample, o in alone:
        y, x = np.nonzero(sample["modal"])
        assert np.hypot(y.mean() - o["centre_y_px"], x.mean() - o["centre_x_px"]) < 40
        assert 5 <= o["area_px"] <= 26


def test_mesh_height_is_a_share_of_its_vessel():
    ranges = chest.only("grid", size=SIZE, length_share=Fixed(0.5))
    for one in chest.draws(ranges, range(8)):
        (o,) = chest.rows(ranges, one.params.objects)
        film = chest.films().film(one.params.input, SIZE)
        y, _ = np.nonzero(film.regions["aorta"])
        assert o["size_a_px"] == 0.5 * (y.max() - y.min() + 1)


# Text


def written(o, side, fine=6):
    """The row's text by Pillow in the shipped font, on a canvas of its own: coverage."""
    path = files("voxelmill.engine") / "data" / "font" / "DejaVuSans-Bold.ttf"
    capital = 21 * o["scale"] * fine
    probe = ImageFont.truetype(str(path), 2048).getbbox("H", anchor="ls")
    font = ImageFont.truetype(str(path), capital * 2048 / -probe[1])
    text = "".join(o[f"character{i}"] for i in range(int(o["characters"])))
    picture = Image.new("L", (2 * side * fine, side * fine))
    pen = ImageDraw.Draw(picture)
    y, x = o["centre_y_px"] * fine, o["centre_x_px"] * fine
    left = 0.0
    for c in text:  # no kerning
        pen.text((x + left, y + capital / 2), c, 255, font, anchor="ls")
        left += font.getlength(c)
    ink = np.flatnonzero(np.asarray(picture).max(0) > 127)
    picture = ImageChops.offset(picture, round(x - (ink[0] + ink[-1] + 1) / 2), 0)
    # Pillow turns counter-clockwise, which is from +y to +x
    picture = picture.rotate(-o["angle_deg"], Image.Resampling.BILINEAR, center=(x, y))
    picture = picture.crop((0, 0, side * fine, side * fine))
    return np.asarray(picture, float).reshape(side, fine, side, fine).mean((1, 3)) / 255


@pytest.mark.parametrize("tilt", ["level", "slanted", "upright"])
def test_text_reads_as_its_row_says(tilt):
    own = {"tilt": Choice({tilt: 1.0}), "stroke_px": Fixed(1), "place": Choice({"heart": 1.0})}
    ranges = chest.only("textual", "overlay", SIZE, scale=Uniform(0.7, 1.5), **own)
    angles = {"level": {0}, "slanted": {15, -15}, "upright": {90, -90}}[tilt]
    seen = set()
    for _, sample, (o,), _ in chest.samples(ranges, range(8)):
        seen.add(o["angle_deg"])
        mask, want = sample["modal"] == 1, written(o, SIZE) >= 0.5
        overlap = (mask & want).sum() / (mask | want).sum()
        assert overlap > 0.9, (o["angle_deg"], overlap)
    assert seen == angles


def test_bold_text_has_no_seams():
    plain = {"tilt": Choice({"level": 1.0}), "place": Choice({"heart": 1.0}), "scale": Fixed(1.5)}
    masks = {}
    for weight in (1, 2, 3):
        ranges = chest.only("textual", "overlay", SIZE, stroke_px=Fixed(weight), **plain)
        masks[weight] = [s["modal"] == 1 for _, s, _, _ in chest.samples(ranges, range(5))]
    for weight in (2, 3):
        for thin, bold in zip(masks[1], masks[weight], strict=True):
            assert not (thin & ~bold).any()
            assert bold.sum() > 1.05 * thin.sum()
            grown = ndimage.binary_dilation(thin, np.ones((3, 3)), iterations=2)
            assert not (bold & ~grown).any()
