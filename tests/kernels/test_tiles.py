"""Tiles against their twin, and the owner of every element."""

import numpy as np
import pytest
from reference import tiles as twin

from voxelmill.kernels import tiles

SHAPE = (23, 37)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tile", [(5, 7), (16, 37), (32, 32)])
def test_touched_tiles_are_those_of_the_twin(seed, tile):
    samples = np.sort(np.random.default_rng(seed).integers(0, 3, seed)).astype(np.int32)
    windows, _, _ = twin.random_patches(seed, samples, SHAPE, (15, 30))
    made = tiles.touched(windows, samples, SHAPE, 3, tile)
    for ours, theirs in zip(made, twin.touched(windows, samples, SHAPE, 3, tile), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_every_element_has_its_patch_row_and_column():
    windows, starts, flat = twin.random_patches(4, [0] * 9, SHAPE)
    i = 0
    for s, patch in enumerate(twin.patches(flat, windows, starts)):
        for y, x in np.ndindex(patch.shape):
            assert tiles.place_of(i, windows, starts) == (s, y, x)
            i += 1
    assert i == flat.size


def test_a_sample_outside_the_batch_is_refused():
    windows = np.ones((2, 4), np.int32)
    with pytest.raises(ValueError, match=r"samples 0\.\.3 of patches are not in \[0, 3\)"):
        tiles.touched(windows, np.array([0, 3], np.int32), SHAPE, 3)


def test_patches_that_do_not_fit_are_refused():
    windows, starts, flat = twin.random_patches(4, [0, 0], SHAPE)
    tiles.check_patches(flat, windows, starts)
    with pytest.raises(ValueError, match="agree patch by patch"):
        tiles.check_patches(flat[1:], windows, starts)
    with pytest.raises(ValueError, match="float32"):
        tiles.check_patches(flat.astype(float), windows, starts)
    with pytest.raises(ValueError, match="int32"):
        tiles.check_patches(flat, windows.astype(np.int64), starts)
    with pytest.raises(ValueError, match="int64"):
        tiles.check_patches(flat, windows, starts[:-1])
    with pytest.raises(ValueError, match=r"grey \(3,\) must have one row for each of 2"):
        tiles.check_rows(2, opacity=np.zeros(2), grey=np.zeros(3))
