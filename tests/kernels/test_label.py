"""Label maps, boxes, areas and run lengths against their twins and against each other."""

import numpy as np
import pytest
from reference import label as twin
from reference.tiles import random_patches

from voxelmill.kernels import label

SHAPE = (71, 133)  # strips of 16 rows: an uneven end


def scene(seed, dtype="uint8", counts=(4, 0, 19)):
    """Coverage, windows, starts, samples, ids, classes of three samples."""
    samples = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    windows, starts, coverage = random_patches(seed, samples, SHAPE, (60, 90))
    ids = np.concatenate([np.arange(1, n + 1) for n in counts]).astype(dtype)
    classes = np.random.default_rng(seed).integers(1, 256, len(ids), np.uint8)
    return coverage, windows, starts, samples, ids, classes


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("seed", range(5))
def test_maps_and_measures_are_those_of_the_twin(seed, dtype):
    shapes = scene(seed, dtype)
    ours, theirs = label.maps(*shapes, 3, SHAPE), twin.maps(*shapes, 3, SHAPE)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    measured = label.measure(*shapes[:5], ours.modal)
    for a, b in zip(measured, twin.measure(*shapes[:5], ours.modal), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_canvas_wider_than_a_strip():
    samples = np.zeros(7, np.int32)
    windows, starts, coverage = random_patches(3, samples, (20, 1500), (30, 900))
    shapes = coverage, windows, starts, samples, np.arange(1, 8, dtype=np.uint8)
    rest = np.arange(7, 0, -1, dtype=np.uint8), 1, (20, 1500)
    for a, b in zip(label.maps(*shapes, *rest), twin.maps(*shapes, *rest), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(4))
def test_the_maps_the_boxes_and_the_runs_tell_the_same(seed):
    coverage, windows, starts, samples, ids, classes = scene(seed, counts=(5, 16))
    modal, amodal, semantic = label.maps(coverage, windows, starts, samples, ids, classes, 2, SHAPE)
    measured = label.measure(coverage, windows, starts, samples, ids, modal)
    counts, run_starts = label.runs(coverage, windows, starts, SHAPE)
    np.testing.assert_array_equal(modal > 0, amodal > 0)  # union of all is what is seen
    np.testing.assert_array_equal(modal > 0, semantic > 0)
    assert np.bitwise_count(amodal).sum() == measured.area.sum()  # overlaps count once a shape
    assert (modal > 0).sum() == measured.visible.sum()
    for s, (y0, x0, y1, x1) in enumerate(measured.boxes):
        mask = amodal[samples[s]] >> (ids[s] - 1) & 1
        assert measured.area[s] == mask.sum() == mask[y0:y1, x0:x1].sum()
        assert measured.visible[s] <= measured.area[s]
        run = counts[run_starts[s] : run_starts[s + 1]]
        assert run.sum() == mask.size
        assert run[1::2].sum() == measured.area[s]
        painted = np.repeat(np.arange(len(run)) % 2, run).reshape(SHAPE[::-1]).T
        np.testing.assert_array_equal(painted, mask)
        last = (samples == samples[s]).nonzero()[0][-1]
        if s == last:  # nothing lies on the uppermost
            assert measured.visible[s] == measured.area[s]
            np.testing.assert_array_equal(measured.visible_boxes[s], measured.boxes[s])
            assert (semantic[samples[s]][mask > 0] == classes[s]).all()


def test_a_batch_of_three_equals_three_batches_of_one():
    coverage, windows, starts, samples, ids, classes = scene(8, counts=(3, 2, 5))
    whole = label.maps(coverage, windows, starts, samples, ids, classes, 3, SHAPE)
    for n in range(3):
        own = np.flatnonzero(samples == n)
        first, last = starts[own[0]], starts[own[-1] + 1]
        alone = label.maps(
            coverage[first:last], windows[own], starts[own[0] : own[-1] + 2] - first,
            samples[own] * 0, ids[own], classes[own], 1, SHAPE,
        )  # fmt: skip
        for a, b in zip(alone, whole, strict=True):
            assert a[0].tobytes() == b[n].tobytes()


def test_half_a_pixel_is_covered_and_less_is_not():
    windows, starts = np.array([[1, 2, 1, 3]], np.int32), np.array([0, 3])
    coverage = np.array([0.5, np.nextafter(np.float32(0.5), 0), 1], np.float32)
    one = np.zeros(1, np.int32), np.array([1], np.uint8), np.array([7], np.uint8)
    modal, amodal, semantic = label.maps(coverage, windows, starts, *one, 1, (3, 6))
    np.testing.assert_array_equal(modal[0, 1], [0, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(amodal[0, 1], [0, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(semantic[0, 1], [0, 0, 7, 0, 7, 0])
    measured = label.measure(coverage, windows, starts, *one[:2], modal)
    assert [part.ravel().tolist() for part in measured] == [[1, 2, 2, 5]] * 2 + [[2]] * 2
    assert label.runs(coverage, windows, starts, (3, 6))[0].tolist() == [7, 1, 5, 1, 4]


def test_a_shape_outside_the_canvas_has_no_box():
    windows, starts = np.array([[-4, 2, 3, 3], [0, 0, 0, 5]], np.int32), np.array([0, 9, 9])
    shapes = np.ones(9, np.float32), windows, starts, np.zeros(2, np.int32)
    ids = np.array([1, 2], np.uint8)
    measured = label.measure(*shapes, ids, np.zeros((1, 5, 6), np.uint8))
    assert not any(part.any() for part in measured)
    counts, run_starts = label.runs(*shapes[:3], (5, 6))
    np.testing.assert_array_equal(counts, [30, 30])
    np.testing.assert_array_equal(run_starts, [0, 1, 2])


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_those_of_the_twin(seed):
    coverage, windows, starts, *_ = scene(seed)
    windows[0] = 0, 0, *windows[0, 2:]  # the first pixel may be covered, and the last
    coverage[: starts[1]] = 1
    for ours, theirs in zip(
        label.runs(coverage, windows, starts, (31, 43)),
        twin.runs(coverage, windows, starts, (31, 43)),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_run_lengths_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools (extra dev)")
    coverage, windows, starts, *_ = scene(2)
    counts, run_starts = label.runs(coverage, windows, starts, SHAPE)
    for s, mask in enumerate(twin.masks(coverage, windows, starts, SHAPE)):
        run = counts[run_starts[s] : run_starts[s + 1]].tolist()
        ours = coco.frPyObjects({"size": list(SHAPE), "counts": run}, *SHAPE)
        assert ours == coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_what_does_not_fit_is_refused():
    coverage, windows, starts, samples, ids, classes = scene(0)
    with pytest.raises(ValueError, match="uint8 or uint16, not int64"):
        label.maps(coverage, windows, starts, samples, ids.astype(np.int64), classes, 3, SHAPE)
    with pytest.raises(ValueError, match="classes are uint8"):
        label.maps(coverage, windows, starts, samples, ids, classes.astype(int), 3, SHAPE)
    with pytest.raises(ValueError, match="modal is"):
        label.measure(coverage, windows, starts, samples, ids, np.zeros(SHAPE, np.uint8))
