"""Outlines, filled by the raster kernel, against their definition at sample points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import outline as twin

from voxelmill.kernels import outline, raster

CANVAS = (17, 22)
POINTS = 64  # sample points a pixel and axis
y, x = (np.arange(n * POINTS).astype(np.float32) / POINTS + 0.5 / POINTS for n in CANVAS)
Y, X = np.meshgrid(y, x, indexing="ij", sparse=True)


def filled(rings, even_odd=False):
    """The canvas with one shape of `rings`."""
    canvas = np.zeros((1, *CANVAS), np.float32)
    if rings:
        starts = np.cumsum([0] + [len(r) for r in rings])
        shape = np.array([0, len(rings)])
        rule = np.array([even_odd])
        raster.draw(canvas, np.array([0]), np.concatenate(rings), starts, shape, rule)
    return canvas[0]


def share(within):
    height, width = CANVAS
    return (
        np.broadcast_to(within, (len(y), len(x)))
        .reshape(height, POINTS, width, POINTS)
        .mean((1, 3))
    )


def agree(rings, within, even_odd=False):
    """To the deviation of 0.002 px and half a sample point at each edge along the grid."""
    np.testing.assert_allclose(filled(rings, even_odd), share(within), rtol=0, atol=0.02)


offset = st.tuples(st.floats(5, 12), st.floats(6, 16))
axis = st.floats(0.4, 7)
unhurried = settings(max_examples=20, deadline=None)


@unhurried
@given(offset, st.tuples(axis, axis), st.floats(-4, 4))
def test_ellipse(center, axes, angle):
    agree([outline.ellipse(center, axes, angle)], twin.in_ellipse(Y, X, center, axes, angle))


@unhurried
@given(offset, st.tuples(axis, axis), st.floats(-4, 4))
def test_rectangle(center, sides, angle):
    # Off the grid of sample points, on which an edge would gain or lose a whole line of them.
    center, sides = np.array(center) + 0.0013, np.array(sides) + 0.0007
    agree([outline.rectangle(center, sides, angle)], twin.in_rectangle(Y, X, center, sides, angle))


def test_ring_is_two_ellipses_by_the_even_odd_rule():
    center, angle = (8.3, 10.4), 0.7
    rings = [outline.ellipse(center, axes, angle) for axes in ((7, 5), (4, 3))]
    outer, inner = (twin.in_ellipse(Y, X, center, axes, angle) for axes in ((7, 5), (4, 3)))
    agree(rings, outer & ~inner, even_odd=True)


@pytest.mark.parametrize("axes", [(0.2, 0.3), (3, 5), (40, 7), (200, 200)])
def test_ellipse_keeps_its_area_and_its_distance(axes):
    ring = outline.ellipse((0, 0), axes, 0.0).astype(float)
    v, u = ring.T
    area = abs(v @ np.roll(u, -1) - u @ np.roll(v, -1)) / 2
    np.testing.assert_allclose(area, np.pi * axes[0] * axes[1], rtol=1e-5)
    middles = (ring + np.roll(ring, -1, 0)) / 2
    for points in (ring, middles):
        off = np.hypot(points[:, 0] / axes[0], points[:, 1] / axes[1]) - 1
        assert abs(off * max(axes)).max() <= 0.0021


def lines():
    apart = st.tuples(st.floats(1, 16), st.floats(1, 21))
    grid = st.tuples(st.integers(1, 7), st.integers(1, 10)).map(
        lambda p: (2.003 * p[0], 2.001 * p[1])
    )
    crowded = st.tuples(st.floats(8, 8.4), st.floats(9, 9.4))  # segments far below the width
    repeated = st.lists(apart, min_size=1, max_size=4).map(lambda p: [q for q in p for _ in (0, 1)])
    return repeated | st.lists(apart | grid | crowded, min_size=1, max_size=7)


@settings(max_examples=80, deadline=None)
@given(lines(), st.floats(0.6, 6), st.sampled_from(["round", "butt"]), st.booleans())
def test_stroke_is_the_union_of_segments_and_joins(points, width, cap, closed):
    points = np.array(points)
    rings = outline.stroke(points, width, cap, closed)
    agree(rings, twin.in_stroke(Y, X, points, width, cap, closed))


@pytest.mark.parametrize("width", [0.8, 3.0, 5.0])
@pytest.mark.parametrize("closed", [False, True])
def test_smooth_strokes_are_united_where_they_cross(width, closed):
    t = np.linspace(0, 2 * np.pi, 150, endpoint=not closed)
    eight = np.stack([8.5 + 5 * np.sin(2 * t), 11 + 7 * np.sin(t)], 1)
    (ring, *_) = rings = outline.stroke(eight, width, "butt", closed)
    agree(rings, twin.in_stroke(Y, X, eight, width, "butt", closed))
    assert len(rings) == 1 + closed
    assert len(ring) < 4 * len(eight)  # no needless way through the joints


def test_ends_joins_and_dots():
    disc = np.pi * 2.5**2
    np.testing.assert_allclose(filled(outline.stroke([(8, 9)], 5)).sum(), disc, rtol=1e-3)
    assert outline.stroke([(8, 9), (8, 9)], 5, "butt") == []
    line = np.array([(8.0, 5.0), (8.0, 15.0)])
    np.testing.assert_allclose(filled(outline.stroke(line, 5, "butt")).sum(), 50, rtol=1e-5)
    np.testing.assert_allclose(filled(outline.stroke(line, 5)).sum(), 50 + disc, rtol=1e-3)
    there_and_back = np.concatenate([line, line[:1]])
    half = filled(outline.stroke(there_and_back, 5, "butt"))
    np.testing.assert_allclose(half.sum(), 50 + disc / 2, rtol=1e-3)


def test_rings_wind_in_one_sense_so_that_shapes_unite():
    rings = [
        outline.ellipse((8, 8), (4, 3), 0.3),
        outline.rectangle((8, 10), (5, 6), 1.0),
        *outline.stroke([(3, 3), (9, 15), (14, 6)], 2.0),
        *outline.stroke([(3, 5), (9, 18), (14, 9)], 1.5, closed=True),
    ]
    alone = [filled([ring]) for ring in rings[:3]] + [filled(rings[3:])]
    assert (filled(rings) >= np.max(alone, 0) - 2e-6).all()


@unhurried
@given(
    st.lists(st.tuples(st.floats(-9, 30), st.floats(-9, 30)), min_size=4, max_size=4),
    st.integers(2, 9),
)
def test_bezier(controls, count):
    found = outline.bezier(np.array(controls), count)
    np.testing.assert_allclose(found, twin.bezier(controls, count), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_catmull_rom(seed):
    points = np.random.default_rng(seed).uniform(0, 30, (seed + 2, 2))
    found = outline.catmull_rom(points, 6)
    np.testing.assert_allclose(found, twin.catmull_rom(points, 6), atol=2e-5)
    np.testing.assert_allclose(found[::6], points, atol=1e-5)
    again = outline.catmull_rom(np.repeat(points, 2, 0), 6)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: outline.ellipse((0, 0), (0, 1), 0), "semi-axes"),
        (lambda: outline.rectangle((0, 0), (1, -1), 0), "sides"),
        (lambda: outline.bezier(np.zeros((3, 2)), 5), "Bezier"),
        (lambda: outline.catmull_rom(np.zeros((1, 2)), 5), "Catmull-Rom"),
        (lambda: outline.stroke(np.zeros((0, 2)), 1), "points"),
        (lambda: outline.stroke(np.zeros((2, 2)), 0), "width"),
        (lambda: outline.stroke(np.zeros((2, 2)), 1, "square"), "cap"),
    ],
)
def test_mistakes_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
