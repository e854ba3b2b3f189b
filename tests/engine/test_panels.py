"""Volumes as pictures: which slices, in which proportions, and the tint of labels."""

import numpy as np
import pytest

from voxelmill.engine.panels import GAP_PX, MOST, NAME_PX, is_volume, mosaic, panels
from voxelmill.engine.sample import Field

PAPER, INK = (1, 2, 3), (150, 150, 150)


@pytest.mark.parametrize(
    ("axes", "shape", "volume"),
    [
        (("z", "y", "x"), (4, 5, 6), True),
        (("contrast", "z", "y", "x"), (2, 4, 5, 6), True),
        (("y", "x"), (5, 6), False),
        (("channel", "y", "x"), (3, 5, 6), False),
        (("a", "b", "z", "y", "x"), (1, 1, 4, 5, 6), False),
    ],
)
def test_which_fields_are_volumes(axes, shape, volume):
    assert is_volume(Field("image", "float16", axes, shape)) is volume


def test_a_deep_volume_is_cut_in_three_ways_with_z_upwards():
    z, y, x = np.indices((9, 11, 13))
    image = (10 * z + y + 0 * x).astype(np.float32)
    label = (z > 4).astype(np.uint8)
    axial, coronal, sagittal, tinted = panels(image, label, (3, 2, 1), ["t1"])
    assert [p.image.shape for p in (axial, coronal, sagittal)] == [(11, 13), (9, 13), (9, 11)]
    assert [p.mm for p in (axial, coronal, sagittal)] == [(2, 1), (3, 1), (3, 2)]
    assert coronal.image[0, 0] > coronal.image[-1, 0]
    np.testing.assert_array_equal(tinted.image, axial.image)
    np.testing.assert_array_equal(tinted.label, label[4])
    assert coronal.label is None
    names = [p.name for p in (axial, coronal, sagittal, tinted)]
    assert names == ["t1, axial", "t1, coronal", "t1, sagittal", "t1 + label"]
    assert len(panels(image, None, (3, 2, 1), ["t1"])) == 3


def test_thin_and_several_volumes_are_shown_axially():
    image = np.random.default_rng(1).random((2, 11, 13)).astype(np.float16)
    label = np.zeros(image.shape, np.uint8)
    assert [p.image.shape for p in panels(image, label, (3, 2, 2), ["t1"])] == [(11, 13)] * 2
    several = np.stack([image, 100 * image, image])
    shown = panels(several, label, (3, 2, 2), "abc", "class")
    assert [p.name for p in shown] == ["a", "b", "c", "a + class"]
    np.testing.assert_allclose(shown[0].image.astype(int), shown[1].image, atol=1)
    assert len(panels(np.repeat(several, 9, 0), label, (3, 2, 2), "a" * 27)) == MOST


def test_panels_keep_proportions_and_labels_tint_the_last():
    image = np.full((8, 10, 20), 0.0)
    image[:, :, 10:] = 1
    label = np.zeros(image.shape, np.uint8)
    label[:, :5] = 2
    shown = panels(image, label, (2, 2, 1), ["t1"])
    size = 2 * (40 + NAME_PX) + GAP_PX  # two panels of 40 px, one upon the other
    picture = np.asarray(mosaic(shown, size, PAPER, INK, {1: (9, 9, 9), 2: (200, 100, 0)}))
    assert picture.shape == (size, size, 3)
    left = (size - 80 - GAP_PX) // 2
    below, right = 40 + NAME_PX + GAP_PX, left + 40 + GAP_PX
    axial = picture[:40, left : left + 40]
    tinted = picture[below : below + 40, right : right + 40]
    assert (picture[:40, left - 1] == PAPER).all()
    assert (picture[40:below, left : left + 40] > 100).any()  # a name
    assert (axial[3:-3, 24:36] > 250).all()
    assert (axial[3:-3, 4:16] < 5).all()
    np.testing.assert_allclose(
        tinted[4:16, 4:16], np.broadcast_to([100, 50, 0], (12, 12, 3)), atol=4
    )
    np.testing.assert_array_equal(tinted[24:-3], axial[24:-3])


def test_few_cells_stay_empty_and_rows_are_as_high_as_their_panels():
    image = np.random.default_rng(1).random((4, 1, 160, 256))
    label = np.ones(image.shape[1:], np.uint8)
    shown = panels(image, label, (6, 2, 2), "abcd")
    picture = np.asarray(mosaic(shown, 400, PAPER, INK, {1: (200, 100, 0)}))
    drawn = (picture != PAPER).any(-1)
    assert drawn.mean() > 0.65
    assert drawn.any(1).mean() > 0.9
    wide = mosaic(shown[:1], 400, PAPER, INK, {})
    assert wide.size == (400, 250 + NAME_PX)
