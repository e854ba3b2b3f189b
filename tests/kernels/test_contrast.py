"""The look-up: its twin, partial volume, what it costs and who it depends on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import contrast as twin

from voxelmill.kernels import contrast


def scene(seed, fine, shape, rows, bins, contrasts, pools, batch=2):
    """Random blocks of labels on the fine grid, a table, and all fields."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, rows, (batch, *(-(-n // 2) for n in shape))).astype(np.uint8)
    labels = coarse
    for axis, (n, f) in enumerate(zip(shape, fine, strict=True), 1):
        labels = np.take(np.repeat(labels, 2 * f, axis), np.arange(n * f), axis)
    labels = np.roll(labels, rng.integers(0, 3, 3), (1, 2, 3))
    labels[rng.random(labels.shape) < 0.05] = rng.integers(rows)
    table = rng.normal(size=(batch, rows, bins, contrasts, pools, 2)).astype(np.float32)
    fields = rng.uniform(0.3, 1.3, (3, batch, *shape)).astype(np.float32)
    fat_rows = rng.integers(-1, rows, rows).astype(np.int16)
    return labels, table, fields, fat_rows


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    fine=st.sampled_from([(1, 1, 1), (2, 2, 2), (3, 1, 2), (1, 2, 4), (4, 3, 1)]),
    shape=st.sampled_from([(1, 1, 1), (2, 3, 5), (3, 2, 17)]),
    form=st.sampled_from([(1, 1, 1, 1), (3, 2, 2, 1), (5, 4, 1, 2), (9, 1, 3, 2)]),
    taps=st.sampled_from([None, 0, 2, 4]),
    present=st.tuples(st.booleans(), st.booleans()),
)
def test_it_is_that_of_the_twin(seed, fine, shape, form, taps, present):
    rows, bins = form[:2]
    labels, table, (b1, fat, texture), fat_rows = scene(seed, fine, shape, rows, bins, *form[2:])
    weights = None if taps is None else np.random.default_rng(seed).uniform(0, 1, fine[0] + taps)
    how = {"b1": b1 if bins > 1 else None, "b1_bins": (0.5, 0.2)}
    how |= {"fat": fat / 1.3, "fat_rows": fat_rows} if present[0] else {}
    how |= {"texture": texture} if present[1] else {}
    made = contrast.paint(labels, table, shape, weights, **how)
    assert made.dtype == np.complex64
    np.testing.assert_allclose(made, twin.paint(labels, table, shape, weights, **how), atol=2e-5)


def test_voxels_of_one_row_hold_the_same_bits_however_they_are_divided():
    labels, table, (b1, fat, texture), fat_rows = scene(3, (1, 1, 1), (4, 5, 31), 6, 5, 2, 2)
    how = {
        "b1": b1, "b1_bins": (0.5, 0.2), "fat": fat / 1.3, "fat_rows": fat_rows, "texture": texture,
    }  # fmt: skip
    whole = contrast.paint(labels, table, (4, 5, 31), **how)
    parts = labels.repeat(2, 1).repeat(3, 2).repeat(2, 3)
    assert whole.tobytes() == contrast.paint(parts, table, (4, 5, 31), **how).tobytes()
    # one part of another row in every voxel: all go the general way; with a share of 0 it is equal
    other = labels.repeat(4, 1)
    other[:, 3::4] = (other[:, 3::4] + 1) % 6
    general = contrast.paint(other, table, (4, 5, 31), [0, 1, 1, 0], **how)
    np.testing.assert_array_equal(general, whole)


def test_a_homogeneous_voxel_beside_a_mixed_one_keeps_its_bits():
    labels, table, (b1, *_), _ = scene(4, (2, 2, 2), (4, 5, 31), 6, 5, 2, 2)
    made = contrast.paint(labels, table, (4, 5, 31), b1=b1, b1_bins=(0.5, 0.2))
    blocks = labels.reshape(2, 4, 2, 5, 2, 31, 2)
    same = blocks.min((2, 4, 6)) == blocks.max((2, 4, 6))
    assert 0.1 < same.mean() < 0.9
    plain = contrast.paint(
        labels[:, ::2, ::2, ::2].copy(), table, (4, 5, 31), b1=b1, b1_bins=(0.5, 0.2)
    )
    chosen = np.broadcast_to(same[:, None, None], made.shape)
    assert made[chosen].tobytes() == plain[chosen].tobytes()


def test_rows_that_nobody_has_change_nothing():
    labels, table, (b1, *_), _ = scene(5, (2, 2, 2), (3, 5, 9), 4, 3, 2, 1)
    more = np.concatenate([table, np.full((2, 252, *table.shape[2:]), np.nan, "f4")], 1)
    few, many = (
        contrast.paint(labels, t, (3, 5, 9), b1=b1, b1_bins=(0.5, 0.2)) for t in (table, more)
    )
    assert few.tobytes() == many.tobytes()


def test_opposed_pools_cancel_only_when_they_are_summed():
    """Half a voxel water, half fat: both pools are half there, and out of phase they cancel."""
    table = np.zeros((1, 2, 1, 2, 2, 2), np.float32)
    table[0, 0, 0, :, 0, 0] = 1
    table[0, 1, 0, :, 1, 0] = 1, -1
    fine = np.array([0, 1], np.uint8).reshape(1, 1, 1, 2)
    made = contrast.paint(fine, table, (1, 1, 1))[0, :, :, 0, 0, 0]
    np.testing.assert_array_equal(made, [[0.5, 0.5], [0.5, -0.5]])
    np.testing.assert_array_equal(made.sum(1), [1, 0])


def test_a_slice_profile_sees_its_neighbours_and_repeats_the_ends():
    fine = np.array([0, 0, 1, 1], np.uint8).reshape(1, 4, 1, 1)
    table = np.array([0, 8], np.float32).reshape(1, 2, 1, 1, 1, 1).repeat(2, 5)
    box = contrast.paint(fine, table, (2, 1, 1)).real.ravel()
    np.testing.assert_array_equal(box, [0, 8])
    wide = contrast.paint(fine, table, (2, 1, 1), [1, 1, 1, 1]).real.ravel()
    np.testing.assert_array_equal(wide, [2, 6])


def test_a_sample_does_not_depend_on_its_batch():
    labels, table, (b1, fat, texture), fat_rows = scene(6, (2, 1, 3), (3, 7, 11), 5, 4, 2, 2, 3)

    def made(chosen):
        return contrast.paint(
            labels[chosen], table[chosen], (3, 7, 11), [1, 2, 2, 1], b1=b1[chosen],
            b1_bins=(0.5, 0.2), fat=fat[chosen], fat_rows=fat_rows, texture=texture[chosen],
        )  # fmt: skip

    together = made(slice(3))
    for n in range(3):
        assert together[n].tobytes() == made(slice(n, n + 1))[0].tobytes()


def test_it_fills_what_is_given():
    labels, table, _, _ = scene(7, (1, 1, 1), (2, 3, 5), 3, 1, 2, 1)
    out = np.empty((2, 2, 1, 2, 3, 5), np.complex64)
    assert contrast.paint(labels, table, (2, 3, 5), out=out) is out
    assert out.tobytes() == contrast.paint(labels, table, (2, 3, 5)).tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (2, 3, 4)}, "divide"),
        ({"z_weights": [1, 1]}, "even number more"),
        ({"z_weights": [0]}, "sum to more than 0"),
        ({"z_weights": [1] * 301}, "above 256"),
        ({"b1": np.ones((2, 2, 3, 5), "f4")}, "takes 1"),
        ({"fat": np.ones((2, 2, 3, 5), "f4")}, "come together"),
        ({"texture": np.ones((2, 2, 3, 6), "f4")}, "texture is"),
        ({"table": np.ones((2, 2, 1, 1, 1, 2), "f4")}, "a label is 2"),
        ({"table": np.ones((2, 3, 1, 33, 2, 2), "f4")}, "66|33 contrasts"),
        ({"fine": np.ones((2, 2, 3, 5), np.int16)}, "uint8"),
        ({"out": np.ones((2, 1, 1, 2, 3, 4), "c8")}, "out is"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    labels = np.arange(60).reshape(2, 2, 3, 5).astype(np.uint8) % 3
    arguments = {"fine": labels, "table": np.ones((2, 3, 1, 1, 1, 2), "f4"), "shape": (2, 3, 5)}
    with pytest.raises(ValueError, match=said):
        contrast.paint(**{**arguments, **change})
