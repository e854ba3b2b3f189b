"""Exact-area coverage against 256 x 256 sample points a pixel, and what must hold exactly."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import raster as twin

from voxelmill.kernels import raster

CANVAS = (7, 10)
LEVEL = 1 / 255
unhurried = settings(max_examples=25, deadline=None)  # a first call compiles; sampling is slow

anywhere = st.floats(-4, 14, width=32)
# Coordinates on halves meet often: shared vertices, horizontal and vertical edges, overlaps.
halves = st.integers(-6, 26).map(lambda n: n / 2)
point = st.tuples(anywhere, anywhere) | st.tuples(halves, halves)
ring = st.lists(point, min_size=1, max_size=9)


def packed(shapes):
    """Flat arrays of shapes, each a list of rings."""
    rings = [np.array(r, np.float32).reshape(-1, 2) for shape in shapes for r in shape]
    ring_starts = np.cumsum([0] + [len(r) for r in rings])
    shape_starts = np.cumsum([0] + [len(shape) for shape in shapes])
    return np.concatenate(rings), ring_starts, shape_starts


def patches(shapes, even_odd, margin=0, canvas=CANVAS):
    arrays = packed(shapes)
    even_odd = np.broadcast_to(even_odd, len(shapes))
    frames, starts = raster.windows(*arrays, canvas, np.full(len(shapes), margin))
    flat = raster.coverage(*arrays, even_odd, frames, starts)
    return [
        flat[starts[s] : starts[s + 1]].reshape(frames[s, 2:]) for s in range(len(shapes))
    ], frames


def check(shapes, even_odd, margin=0, samples=256):
    found, frames = patches(shapes, even_odd, margin)
    for shape, rule, frame, cover in zip(shapes, even_odd, frames, found, strict=True):
        rings = [np.array(r, np.float32).astype(float) for r in shape]
        assert cover.min(initial=0) >= 0
        assert cover.max(initial=0) <= 1
        expected = twin.patch(rings, rule, frame, samples)
        np.testing.assert_allclose(cover, expected, rtol=0, atol=LEVEL)


@unhurried
@given(
    st.lists(
        st.tuples(st.lists(ring, min_size=1, max_size=2), st.booleans()), min_size=1, max_size=2
    )
)
def test_coverage_is_that_of_sample_points(shapes):
    check([rings for rings, _ in shapes], [rule for _, rule in shapes], margin=1)


@pytest.mark.parametrize("even_odd", [False, True])
def test_edges_that_cross_inside_pixels(even_odd):
    # A fan of long edges through two pixels: tens of crossings in each.
    angles = np.arange(23) * (11 * 2 * np.pi / 23)
    star = np.stack([3.4 + 3 * np.sin(angles), 4.6 + 3 * np.cos(angles)], 1)
    check([[star]], [even_odd])
    tiny = np.stack([3.45 + 0.3 * np.sin(angles), 4.55 + 0.3 * np.cos(angles)], 1)
    check([[tiny]], [even_odd])


@pytest.mark.parametrize("even_odd", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_scribbles_in_few_pixels(seed, even_odd):
    rng = np.random.default_rng(seed)
    check([[rng.uniform(2, 5, (40, 2))]], [even_odd])


def test_flat_edges_across_many_pixels():
    rng = np.random.default_rng(5)
    ring = np.stack([3 + rng.uniform(0, 0.01, 12), rng.uniform(-1, 11, 12)], 1)
    # 1,024 points a pixel: at 256 the twin itself is off by 1 / 256 along so flat an edge.
    check([[ring], [ring + np.array([0.6, 0.0])]], [False, True], samples=1024)


@unhurried
@given(ring, st.booleans(), st.tuples(st.integers(0, 3), st.integers(0, 3)), st.integers(0, 1))
def test_whole_pixel_shifts_change_nothing_but_the_place(ring, even_odd, shift, flip):
    ring = np.array(ring, np.float32) * np.float32(0.5) + np.float32(4)
    ring = np.round(ring * 256) / 256  # on a grid that the shift keeps exactly
    moved = ring + np.array(shift)
    (here, there), frames = patches([[ring], [moved]], even_odd, canvas=(40, 50))
    if here.size:
        np.testing.assert_array_equal(frames[1], frames[0] + np.array([*shift, 0, 0]))
    np.testing.assert_array_equal(here, there)
    if flip:  # the sense of a ring has no meaning of its own
        np.testing.assert_allclose(
            patches([[ring[::-1]]], even_odd, canvas=(40, 50))[0][0], here, atol=2e-6
        )


@pytest.mark.parametrize("seed", range(5))
def test_sub_pixel_shifts_keep_area_and_centre(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    ring = 20 + np.stack([7 * np.sin(angles), 9 * np.cos(angles)], 1)
    expected = None
    for shift in rng.uniform(0, 1, (6, 2)):
        (cover,), frames = patches([[ring + shift]], False, canvas=(40, 44))
        y, x = (np.arange(n) + 0.5 for n in cover.shape)
        area = cover.astype(float).sum()
        centre = (cover.sum(1) @ y / area + frames[0, 0], cover.sum(0) @ x / area + frames[0, 1])
        found = np.array([area, *(centre - shift)])
        expected = found if expected is None else expected
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        # The centre of mass by pixel centres is off by the second moment within edge pixels.
        np.testing.assert_allclose(found[1:], expected[1:], atol=0.01)


def test_area_of_simple_polygons_is_exact():
    rng = np.random.default_rng(1)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 24))
        radius = rng.uniform(15, 60, 24)
        ring = 70 + np.stack([radius * np.sin(angles), radius * np.cos(angles)], 1)
        ring = ring.astype(np.float32).astype(float)
        y, x = ring.T
        area = abs(y @ np.roll(x, -1) - x @ np.roll(y, -1)) / 2
        (cover,), _ = patches([[ring]], True, canvas=(140, 140))
        np.testing.assert_allclose(cover.astype(float).sum(), area, rtol=1e-5)


def test_inside_is_exactly_one_and_outside_exactly_zero():
    rng = np.random.default_rng(2)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    ring = np.stack([60 + 50 * np.sin(angles), 300 + 200 * np.cos(angles)], 1)
    canvas = np.zeros((1, 120, 700), np.float32)
    raster.draw(canvas, np.array([0]), *packed([[ring]]), np.array([False]))
    middle = twin.inside([ring], False, np.arange(120) + 0.5, np.arange(700) + 0.5)
    fringe = np.zeros_like(middle)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            fringe |= np.roll(middle, step, axis) != middle
    far = (canvas[0] > 0) & (canvas[0] < 1)
    assert not (far & ~fringe).sum() > far.sum() * 0.2  # flat edges have a long fringe along x
    assert (canvas[0, :, 520:] == 0).all()
    assert (canvas[0, 58:62, 250:350] == 1).all()


@pytest.mark.parametrize("turn", [1, -1])
def test_many_edges_of_one_sense_in_few_pixels_sum_exactly(turn):
    # A comb: a row of it has 14 edges down that are added before, between or after 14 up.
    teeth = 1 + np.repeat(np.arange(14) / 2, 4) + np.tile([0, 0, 0.25, 0.25], 14)
    comb = np.stack([np.tile([4, 1, 1, 4], 14), teeth], 1)
    comb = np.concatenate([comb, [(4, 40), (6, 40), (6, 1)]])[::turn]
    (cover,), _ = patches([[comb]], False)
    assert cover.shape == (5, 9)
    np.testing.assert_array_equal(cover[:3, :7], 0.5)
    np.testing.assert_array_equal(cover[:3, 7:], 0)
    np.testing.assert_array_equal(cover[3:], 1)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 33, 1100])
def test_rows_of_any_width(width):
    canvas = np.zeros((2, 3, width), np.float32)
    rings = [[[(0, 0.25), (0, width - 0.5), (3, width - 0.5), (3, 0.25)]]] * 2
    raster.draw(canvas, np.array([0, 1]), *packed(rings), np.array([False, True]))
    expected = np.ones(width)
    expected[0] -= 0.25
    expected[-1] -= 0.5
    np.testing.assert_array_equal(canvas, np.broadcast_to(expected, canvas.shape))
    found, _ = patches(rings, False, margin=1, canvas=(3, width))
    for cover in found:
        np.testing.assert_array_equal(cover, np.pad(canvas[0], 1))


def test_what_lies_left_of_a_window_still_winds():
    ring = np.array([[1.0, -30.0], [5.0, -20.0], [5.0, 4.5], [1.0, 4.5]])
    (cover,), frames = patches([[ring]], False)
    assert frames[0].tolist() == [1, 0, 4, 5]
    np.testing.assert_array_equal(cover[:, :4], 1)
    np.testing.assert_array_equal(cover[:, 4], 0.5)


@unhurried
@example([([(0.0, 1.1754943508222875e-38), (6.95, 0.0)], False, 0)])  # a width that has no inverse
@example([([(0.0, -1e-38), (6.95, 1e-38), (3.0, 5.0)], False, 0)])
@given(st.lists(st.tuples(ring, st.booleans(), st.integers(0, 1)), min_size=1, max_size=4))
def test_draw_is_the_greatest_coverage(shapes):
    arrays = packed([[r] for r, _, _ in shapes])
    even_odd = np.array([rule for _, rule, _ in shapes])
    samples = np.array([sample for _, _, sample in shapes])
    canvas = np.full((2, *CANVAS), 0.125, np.float32)
    expected = canvas.copy()
    raster.draw(canvas, samples, *arrays, even_odd)
    frames, starts = raster.windows(*arrays, CANVAS, np.zeros(len(shapes), int))
    flat = raster.coverage(*arrays, even_odd, frames, starts)
    for s, (y, x, h, w) in enumerate(frames):
        part = expected[samples[s], y : y + h, x : x + w]
        np.maximum(part, flat[starts[s] : starts[s + 1]].reshape(h, w), out=part)
    assert np.isfinite(canvas).all()
    np.testing.assert_array_equal(canvas, expected)


@given(
    st.lists(st.tuples(ring, st.integers(0, 3)), min_size=1, max_size=4),
    st.tuples(st.integers(1, 9), st.integers(1, 12)),
)
@settings(deadline=None)
def test_windows_are_those_of_the_twin(shapes, canvas):
    arrays, margins = packed([[r] for r, _ in shapes]), np.array([m for _, m in shapes])
    frames, starts = raster.windows(*arrays, canvas, margins)
    np.testing.assert_array_equal(frames, twin.windows(*arrays, canvas, margins))
    np.testing.assert_array_equal(np.diff(starts), frames[:, 2] * frames[:, 3])


def test_vertices_far_out_do_no_harm():
    ring = np.array([[-1e30, -1e30], [1e30, -1e30], [1e30, 1e30], [-1e30, 1e30]])
    (cover,), frames = patches([[ring]], False)
    assert frames[0].tolist() == [0, 0, *CANVAS]
    np.testing.assert_array_equal(cover, 1)


def test_no_shape_no_patch():
    none = np.zeros((0, 2), np.float32), np.zeros(1, int), np.zeros(1, int)
    frames, starts = raster.windows(*none, CANVAS, np.zeros(0, int))
    assert raster.coverage(*none, np.zeros(0, bool), frames, starts).size == 0
    canvas = np.ones((1, *CANVAS), np.float32)
    raster.draw(canvas, np.zeros(0, int), *none, np.zeros(0, bool))
    assert (canvas == 1).all()


def test_the_same_bits_on_every_thread_count():
    import numba

    rng = np.random.default_rng(3)
    shapes = [[rng.uniform(-5, 60, (12, 2))] for _ in range(9)]
    arrays, even_odd = packed(shapes), np.arange(9) % 2 == 0
    results, threads = [], numba.get_num_threads()
    try:
        for count in (1, threads):
            numba.set_num_threads(count)
            canvas = np.zeros((3, 50, 55), np.float32)
            raster.draw(canvas, np.arange(9) % 3, *arrays, even_odd)
            results.append(canvas)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(*results)


def test_mistakes_are_named():
    vertices, rings, shapes = packed([[[(0, 0), (3, 0), (0, 3)]]])
    margin, rule = np.zeros(1, int), np.array([False])
    with pytest.raises(ValueError, match="must be finite"):
        raster.windows(vertices * np.float32(np.nan), rings, shapes, CANVAS, margin)
    with pytest.raises(ValueError, match="float32"):
        raster.windows(vertices.astype(float), rings, shapes, CANVAS, margin)
    with pytest.raises(ValueError, match="ring_starts must rise from 0 to 3"):
        raster.windows(vertices, np.array([0, 4]), shapes, CANVAS, margin)
    with pytest.raises(ValueError, match="margin_px"):
        raster.windows(vertices, rings, shapes, CANVAS, margin - 1)
    with pytest.raises(ValueError, match="samples"):
        raster.draw(
            np.zeros((1, *CANVAS), np.float32), np.array([1]), vertices, rings, shapes, rule
        )
    with pytest.raises(ValueError, match="canvas"):
        raster.draw(np.zeros((1, *CANVAS)), np.array([0]), vertices, rings, shapes, rule)
