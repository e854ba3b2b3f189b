import itertools
import time

import numpy as np
import pytest
from scipy import stats

from voxelmill.engine.order import shuffled, step_positions


@pytest.mark.parametrize("count", [*range(1, 70), 127, 128, 129, 1000, 4095, 4097])
def test_a_permutation_at_every_count(count):
    order = shuffled(np.arange(count), count, seed=7, epoch=3)
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_seeds_and_epochs_differ_in_all_their_bits():
    words = (0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1)
    orders = {
        (s, e): tuple(shuffled(np.arange(50), 50, seed=s, epoch=e))
        for s, e in itertools.product(words, words)
    }
    assert len(set(orders.values())) == len(orders)
    assert orders[1, 2] == tuple(shuffled(list(range(50)), 50, seed=1, epoch=2))


def test_any_part_is_asked_alone():
    whole = shuffled(np.arange(1001), 1001, seed=1, epoch=0)
    for place in (np.array([7]), np.array([[5, 1000], [0, 7]]), 12, []):
        np.testing.assert_array_equal(
            shuffled(place, 1001, seed=1, epoch=0), whole[np.asarray(place, int)]
        )


@pytest.mark.parametrize("count", [5, 12, 33])
def test_each_position_gets_every_index_alike(count):
    epochs = 3000
    orders = np.array([shuffled(np.arange(count), count, seed=9, epoch=e) for e in range(epochs)])
    worst = min(
        stats.chisquare(np.bincount(orders[:, place], minlength=count)).pvalue
        for place in range(count)
    )
    assert worst > 1e-3 / count


def test_neighbours_are_alike():
    """The step from one sample to the next takes each value as often, at small and large counts."""
    count = 12
    orders = np.array([shuffled(np.arange(count), count, seed=4, epoch=e) for e in range(3000)])
    steps = (np.diff(orders) % count).ravel()
    assert stats.chisquare(np.bincount(steps, minlength=count)[1:]).pvalue > 1e-3
    count = 1_000_003
    order = shuffled(np.arange(200_000), count, seed=4, epoch=0)
    bins = (np.diff(order) % count) * 100 // count
    assert stats.chisquare(np.bincount(bins, minlength=100)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(order * 100 // count, minlength=100)).pvalue > 1e-3


def test_a_billion_samples_cost_no_memory():
    start = time.perf_counter()
    order = shuffled(np.arange(999_934_464, 10**9), 10**9, seed=1, epoch=2)
    assert time.perf_counter() - start < 2
    assert len(np.unique(order)) == 65_536
    assert order.min() >= 0
    assert order.max() < 10**9


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_ranks_leave_no_gap(ranks):
    taken = [step_positions(g, 4, r, ranks) for g in range(6) for r in range(ranks)]
    np.testing.assert_array_equal(np.concatenate(taken), np.arange(6 * 4 * ranks))


def test_what_is_out_of_bounds_is_refused():
    with pytest.raises(ValueError, match=r"positions 3\.\.11 are not all in \[0, 11\)"):
        shuffled([3, 11], 11, seed=0, epoch=0)
    with pytest.raises(ValueError, match="positions -1"):
        shuffled([-1], 11, seed=0, epoch=0)
    with pytest.raises(ValueError, match="count 0 is not"):
        shuffled([], 0, seed=0, epoch=0)
    with pytest.raises(ValueError, match="seed -1 and epoch 0"):
        shuffled([0], 5, seed=-1, epoch=0)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        step_positions(0, 4, 2, 2)
