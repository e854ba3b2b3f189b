"""Text outlines: size, place, holes, weight, and what the font lacks."""

import numpy as np
import pytest

from voxelmill.engine.errors import SpecError
from voxelmill.engine.glyphs import characters, text_rings
from voxelmill.kernels import raster

CANVAS = (44, 150)


def filled(rings):
    canvas = np.zeros((1, *CANVAS), np.float32)
    rings = [ring + np.float32([22, 75]) for ring in rings]
    starts, shape = np.cumsum([0] + [len(r) for r in rings]), np.array([0, len(rings)])
    raster.draw(canvas, np.array([0]), np.concatenate(rings), starts, shape, np.array([False]))
    return canvas[0]


def test_capitals_have_the_asked_height_around_the_origin():
    rings = text_rings("HIT", 20.0)
    low, high = np.min([r.min(0) for r in rings], 0), np.max([r.max(0) for r in rings], 0)
    np.testing.assert_allclose((low[0], high[0]), (-10, 10), atol=1e-4)
    assert abs(low[1] + high[1]) < 1e-4
    assert all(ring.dtype == np.float32 for ring in rings)


def test_every_character_that_markers_need_is_there_and_has_ink():
    for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+":
        assert character in characters()
        assert filled(text_rings(character, 20)).sum() > 20
    assert text_rings(" ", 20) == []


def test_letters_stand_side_by_side_upright_and_have_holes():
    cover = filled(text_rings("PL", 30))
    ink = np.flatnonzero(cover.sum(0))
    gap = ink[np.flatnonzero(np.diff(ink) > 1)[0]] + 1
    p, el = cover[:, ink[0] : gap], cover[:, gap : ink[-1] + 1]
    assert p[:22].sum() > 1.5 * p[22:].sum()  # P is heavy above, L below
    assert el[22:].sum() > 1.5 * el[:22].sum()
    middle = p[:, p.shape[1] // 2 - 2] > 0.5
    assert np.count_nonzero(np.diff(middle.astype(int))) == 4  # two bars, the bowl open between


def test_weight_only_adds_ink():
    thin, bold = filled(text_rings("R8+", 24)), filled(text_rings("R8+", 24, 2.0))
    assert (bold >= thin - 2e-6).all()
    assert 1.15 * thin.sum() < bold.sum() < 2 * thin.sum()


def test_what_the_font_lacks_is_named():
    with pytest.raises(SpecError, match="'Ж'"):
        text_rings("RЖ", 10)
    with pytest.raises(SpecError, match="height_px above 0"):
        text_rings("R", 0)
