import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import patches as twin

from voxelmill.kernels import patches


@st.composite
def buffers(draw):
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.arange(starts[-1], dtype=np.float32) + 1
    which = draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10))
    return flat, starts, np.array(which, np.int64)


@given(buffers())
def test_take_is_its_twin(made):
    for got, expected in zip(patches.take(*made), twin.take(*made), strict=True):
        np.testing.assert_array_equal(got, expected)


@given(buffers())
def test_put_gives_back_what_take_took(made):
    flat, starts, which = made
    which = np.unique(which)
    taken, _ = patches.take(-flat, starts, which)
    ours, expected = flat.copy(), flat.copy()
    patches.put(ours, starts, which, taken)
    twin.put(expected, starts, which, taken)
    np.testing.assert_array_equal(ours, expected)
    touched = np.concatenate([np.arange(starts[s], starts[s + 1]) for s in which] or [[]])
    assert set(np.flatnonzero(ours < 0)) == set(touched.astype(int))


def test_put_refuses_other_sizes():
    with pytest.raises(ValueError, match="3 values do not fill patches of 4"):
        patches.put(np.zeros(4, np.float32), np.array([0, 4]), np.array([0]), np.zeros(3))
