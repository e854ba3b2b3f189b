import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from voxelmill.engine.order import Order, by_shard, shuffled, step_positions, subset_name
from voxelmill.engine.permutation import derived_seed, shard_shuffled, window_shuffled

ENDS = ("drop", "pad", "uneven")


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
    assert len({derived_seed(s, k) for s in words for k in range(20)}) == 20 * len(words)


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


@pytest.mark.parametrize("count", [5, 9])
def test_each_pair_of_positions_gets_every_pair_alike(count):
    orders = np.array([shuffled(np.arange(count), count, seed=2, epoch=e) for e in range(4000)])
    pairs = list(itertools.combinations(range(count), 2))
    worst = min(
        stats.chisquare(np.bincount(codes, minlength=count**2)[apart]).pvalue
        for apart in [np.arange(count**2) // count != np.arange(count**2) % count]
        for codes in (orders[:, i] * count + orders[:, j] for i, j in pairs)
    )
    assert worst > 1e-3 / len(pairs)


def test_all_orders_of_four_come_alike():
    orders = np.array([shuffled(np.arange(4), 4, seed=3, epoch=e) for e in range(6000)])
    found = np.unique(orders @ [64, 16, 4, 1], return_counts=True)[1]
    assert len(found) == 24
    assert stats.chisquare(found).pvalue > 1e-3


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


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 1}, {"seed": 2**40}, {"epoch": 2**33}])
def test_epochs_and_seeds_have_nothing_in_common(change):
    count, places = 1_000_003, np.arange(100_000)
    a = shuffled(places, count, **{"seed": 0, "epoch": 0})
    b = shuffled(places, count, **({"seed": 0, "epoch": 0} | change))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(places))
    bins = np.bincount((b - a) % count * 100 // count, minlength=100)
    assert stats.chisquare(bins).pvalue > 1e-3
    assert (a == b).sum() < 8  # of one expected in ten


def test_a_billion_samples_cost_no_memory():
    order = Order(10**9, 64, seed=1, epoch=2, ranks=8, rank=3)
    sharded = replace(order, shuffle="shard", samples_per_shard=1000)
    for o in (order, sharded):
        o.indices(0)
    tracemalloc.start()
    for o in (order, sharded):
        taken = [o.indices(step) for step in (0, 7, o.steps - 1)]
        found = np.concatenate(taken)
        assert len(np.unique(found)) == len(found)
        assert found.min() >= 0
        assert found.max() < 10**9
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 6), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_shard_orders_take_each_sample_once_and_stay_in_their_windows(count, shard, window, epoch):
    arguments = {"shard": shard, "window": window, "seed": 5, "epoch": epoch}
    places, shards = np.arange(count), -(-count // shard)
    order = shard_shuffled(places, count, **arguments)
    np.testing.assert_array_equal(np.sort(order), places)
    np.testing.assert_array_equal(shard_shuffled(places[::-7], count, **arguments), order[::-7])
    sizes = np.bincount(order // shard)
    seen = np.zeros(shards, int)
    for taken in (order // shard).tolist():  # a window ends where all its shards are complete
        seen[taken] += 1
        begun = (seen > 0) & (seen <= sizes)
        assert np.sum(begun) <= window
        if (seen[begun] == sizes[begun]).all():
            seen[begun] = count + 1
    assert (seen > count).all()
    ascending = window_shuffled(places, count, **arguments)
    np.testing.assert_array_equal(np.sort(ascending), places)
    np.testing.assert_array_equal(ascending // (shard * window), places // (shard * window))


def test_shards_and_their_samples_are_permuted_alike():
    """Each place has each sample as often, where no shard is short: those are in short windows."""
    count, shard, window, epochs = 24, 4, 2, 2000
    orders = np.array(
        [
            shard_shuffled(np.arange(count), count, shard=shard, window=window, seed=6, epoch=e)
            for e in range(epochs)
        ]
    )
    for place in (0, 3, 8, 23):
        found = np.bincount(orders[:, place], minlength=count)
        assert stats.chisquare(found).pvalue > 1e-4
    # with all shards in the window it is a shuffle of everything
    whole = shard_shuffled(np.arange(count), count, shard=shard, window=6, seed=6, epoch=0)
    assert len(set((whole // shard).tolist()[:6])) > 2


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_ranks_leave_no_gap(ranks):
    taken = [step_positions(g, 4, r, ranks) for g in range(6) for r in range(ranks)]
    np.testing.assert_array_equal(np.concatenate(taken), np.arange(6 * 4 * ranks))


SHUFFLES = st.sampled_from(["global", "shard", "none"])


@given(
    count=st.integers(1, 90),
    ways=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=4),
    stops=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    end=st.sampled_from(ENDS),
    shuffle=SHUFFLES,
)
@settings(max_examples=300, deadline=None)
def test_resumed_on_other_ranks_each_sample_comes_once(count, ways, stops, end, shuffle):
    start, taken = 0, []
    for k, ((batch, ranks), stop) in enumerate(zip(ways, stops, strict=False)):
        orders = [
            Order(
                count,
                batch,
                seed=3,
                epoch=1,
                rank=rank,
                ranks=ranks,
                shuffle=shuffle,
                window=2,
                end=end,
                samples_per_shard=7,
                start=start,
            )
            for rank in range(ranks)
        ]
        assert len({o.steps for o in orders}) == 1
        steps = orders[0].steps if k == len(ways) - 1 else min(stop, orders[0].steps)
        for step in range(steps):
            for o in orders:
                index, padded = o.indices(step), o.padded(step)
                np.testing.assert_array_equal(o.many(range(step, steps))[0], index)
                assert end == "uneven" or len(index) == batch
                assert len(index) <= batch
                taken += index[~padded].tolist()
        sizes = [len(o.indices(s)) for o in orders for s in range(steps)]
        assert (
            not sizes
            or end != "uneven"
            or max(sizes[steps - 1 :: steps]) <= 1 + min(sizes[steps - 1 :: steps])
        )
        start = orders[0].delivered(steps)
    assert len(taken) == len(set(taken)) == start
    left = count - start
    assert left == 0 or (end == "drop" and left < ways[-1][0] * ways[-1][1])


def test_a_padded_end_is_the_start_of_the_epoch():
    orders = [Order(7, 3, seed=1, rank=r, ranks=3, end="pad") for r in range(3)]
    found = np.concatenate([o.indices(0) for o in orders])
    np.testing.assert_array_equal(found[7:], found[:2])
    padded = np.concatenate([o.padded(0) for o in orders])
    np.testing.assert_array_equal(padded, np.arange(9) >= 7)
    assert Order(2, 7, end="pad", shuffle="none").indices(0).tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_subsets_have_the_same_order():
    subset = np.array([40, 3, 3, 17, 22])
    order = Order(5, 2, seed=4, subset=subset, end="uneven")
    places = shuffled(np.arange(5), 5, seed=4, epoch=0)
    found = np.concatenate([order.indices(s) for s in range(3)])
    np.testing.assert_array_equal(found, subset[places])
    ascending, per_shard = by_shard(subset, 8)
    assert (ascending.tolist(), per_shard) == ([3, 3, 17, 22, 40], 2)
    assert by_shard(np.arange(40, 80), 8)[1] == 8
    assert subset_name(None) == "all"
    names = {subset_name(np.array(s)) for s in ([1, 2], [2, 1], [1, 2, 2], [], [2**40])}
    assert len(names) == 5


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
    for wrong, words in (
        ({"rank": 3, "ranks": 3}, "rank 3 of 3"),
        ({"shuffle": "buffer"}, "shuffle='buffer' is not one of global, shard, none"),
        ({"end": "wrap"}, "end='wrap' is not one of drop, pad, uneven"),
        ({"window": 0}, "window 0"),
        ({"start": 12}, r"start 12 is not in \[0, 11\]"),
        ({"epoch": -1}, "epoch -1"),
    ):
        with pytest.raises(ValueError, match=words):
            Order(11, 4, **wrong)
    with pytest.raises(ValueError, match=r"step 2 is not in \[0, 2\)"):
        Order(11, 4).indices(2)
