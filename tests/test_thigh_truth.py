"""benchmarks/thigh_truth.py: the rules by which the real image of thighs gets its truth."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import thigh_truth as rules

MM = 1.5
CENTRES = {"right": (38.0, 34.0), "left": (36.0, 98.0)}  # y, x; right is at low x
SKIN, FASCIA, SHAFT, MARROW = 29.0, 25.0, 9.5, 4.0  # radii in pixels


def distance(shape, leg):
    y, x = np.indices(shape)
    return np.hypot(y - CENTRES[leg][0], x - CENTRES[leg][1])


@pytest.fixture
def thighs():
    """Two slices of two round legs, shaded by half from side to side; muscle 200, fat 160."""
    plane = (76, 133)
    image, labels = np.zeros((2, *plane), np.float32), np.zeros((2, *plane), np.int16)
    for leg, value in (("right", 32), ("left", 31)):
        r = distance(plane, leg)
        image[:, r <= SKIN] = 160
        image[:, r <= FASCIA] = 200
        image[:, (r <= FASCIA) & (r > FASCIA - 1)] = 20  # the fascia itself is dark
        image[:, r <= SHAFT] = 10
        image[:, r <= MARROW] = 110
        labels[:, r <= FASCIA - 1] = value
        labels[:, r <= SHAFT] = rules.FEMURS[leg]
    wedge = distance(plane, "left") + 0 * image[0]
    columns = np.arange(plane[1]) - CENTRES["left"][1]
    gap = (wedge <= FASCIA - 1) & (wedge > 15) & (abs(columns) < 4)  # between two muscles
    labels[:, gap] = 0
    return image * np.linspace(1, 0.5, plane[1], dtype=np.float32), labels


def test_threshold_parts_two_groups():
    assert rules.otsu(np.array([1.0, 2, 3, 20, 21])) == 11.5
    assert rules.otsu(np.array([5.0, 5, 5, 9])) == 7
    drawn = np.random.default_rng(1).normal(0, 1, 400)
    assert rules.otsu(np.concatenate([drawn, 12 + drawn[:40]])) == pytest.approx(6, abs=3)
    for bad in ([], [3.0], [2.0, 2.0]):
        with pytest.raises(ValueError, match="no threshold parts"):
            rules.otsu(np.array(bad))


def test_tissues_are_where_they_were_put(thighs):
    image, labels = thighs
    made = rules.truth(image, labels, MM)
    plane = labels.shape[1:]
    near = np.minimum(distance(plane, "right"), distance(plane, "left"))
    marrow, shaft = near <= MARROW, near <= SHAFT
    for z in range(2):
        np.testing.assert_array_equal(made["marrow"][z], marrow)
        np.testing.assert_array_equal(made["cortex"][z], shaft & ~marrow)
        np.testing.assert_array_equal(made["femur"][z], shaft)
        np.testing.assert_array_equal(made["muscle"][z], (labels[z] > 0) & ~shaft)
        fat = made["fat"][z]
        assert fat[(near > FASCIA + 1) & (near < SKIN - 3)].all()
        assert not fat[near < FASCIA - 2].any()  # nor in the gap between two muscles
        assert not fat[near > SKIN - 0.3].any()  # skin


def test_what_is_bright_at_the_edge_of_a_femur_is_neither(thighs):
    image, labels = thighs
    signal = image[0].copy()
    edge = labels[0] == rules.FEMURS["right"]
    signal[38, 34 - 9] = 190  # muscle, inside the label
    cortex, marrow = rules.bone(signal, edge, MM)
    assert not cortex[38, 25]
    assert not marrow[38, 25]
    signal[38, 34] = 5  # a dark spot inside the marrow is marrow
    assert rules.bone(signal, edge, MM)[1][38, 34]
    flat = rules.bone(np.ones_like(signal), edge, MM)  # nothing to part: all is cortex
    np.testing.assert_array_equal(flat[0], edge)
    assert not flat[1].any()


def test_legs_and_slices(thighs):
    image, labels = thighs
    legs = rules.leg_of(labels)
    assert (legs["left"] ^ legs["right"]).all()
    assert legs["right"][0, 38, 34]
    assert legs["left"][1, 36, 98]
    stack, numbers = np.repeat(image[:1], 5, 0), np.repeat(labels[:1], 5, 0)
    numbers[1] = 0  # parts a slice from the longest run
    numbers[4, :, :66] = 0  # half of the labels are missing
    body = rules.body_mask(stack)
    assert body[0, 38, 34]
    np.testing.assert_array_equal(rules.slices_kept(numbers, body), [2, 3])
    with pytest.raises(ValueError, match="no slice"):
        rules.slices_kept(0 * numbers, body)
