"""Distributions: their moments and bounds, slots that stay, integers without bias, names."""

import importlib
import math
import pkgutil
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from voxelmill.engine import recipes
from voxelmill.engine.draw import (
    Choice,
    Fixed,
    Integer,
    LogUniform,
    Stream,
    TruncatedNormal,
    Uniform,
    name_code,
    ranged,
)
from voxelmill.kernels import philox

N = 20_000
STREAM = Stream(seed=11, index=2**33 + 5)
DISTRIBUTIONS = [
    Fixed(2.5),
    Uniform(-3.0, 5.0),
    Uniform(4.0, 4.0),
    LogUniform(1e-3, 10.0),
    Integer(-2, 7),
    Integer(5, 5),
    TruncatedNormal(-1.0, 4.0, mean=1.0, sd=2.0),
    TruncatedNormal(5.0, 6.0, mean=0.0, sd=1.0),
    TruncatedNormal(-6.0, -5.0, mean=0.0, sd=1.0),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_draws_stay_inside_their_bounds_and_slots_stay(distribution):
    drawn = distribution.draws(STREAM, "x", N)
    low, high = distribution.bounds()
    assert drawn.shape == (N,)
    assert drawn.min() >= low
    assert drawn.max() <= high
    np.testing.assert_array_equal(distribution.draws(STREAM, "x", 7), drawn[:7])
    np.testing.assert_array_equal(distribution.draws(STREAM, "x", 5, first=6), drawn[6:11])
    assert distribution.draw(STREAM, "x") == drawn[0]
    np.testing.assert_array_equal(distribution.draws(Stream(11, 2**33 + 5), "x", N), drawn)
    if low < high:
        for other in (Stream(12, 2**33 + 5), Stream(11, 5), Stream(11 + 2**32, 2**33 + 5)):
            assert (distribution.draws(other, "x", 40) != drawn[:40]).any()
        assert (distribution.draws(STREAM, "y", 40) != drawn[:40]).any()


@pytest.mark.parametrize(
    ("distribution", "frozen"),
    [
        (Uniform(-3.0, 5.0), stats.uniform(-3, 8)),
        (LogUniform(1e-3, 10.0), stats.loguniform(1e-3, 10)),
        (TruncatedNormal(-1.0, 4.0, mean=1.0, sd=2.0), stats.truncnorm(-1, 1.5, 1, 2)),
        (TruncatedNormal(-9.0, 9.0, mean=1.0, sd=0.5), stats.norm(1, 0.5)),
        (TruncatedNormal(4.0, 9.0, mean=0.0, sd=1.0), stats.truncnorm(4, 9)),
        (TruncatedNormal(-9.0, -4.0, mean=0.0, sd=1.0), stats.truncnorm(-9, -4)),
        (TruncatedNormal(5.0, 5.5, mean=0.0, sd=1.0), stats.truncnorm(5, 5.5)),
        (TruncatedNormal(-5.5, -5.0, mean=0.0, sd=1.0), stats.truncnorm(-5.5, -5)),
    ],
    ids=str,
)
def test_shapes_are_right(distribution, frozen):
    drawn = distribution.draws(STREAM, "x", N)
    assert stats.kstest(drawn, frozen.cdf).statistic < 1.95 / math.sqrt(N)  # p = 0.001
    assert drawn.mean() == pytest.approx(frozen.mean(), abs=5 * frozen.std() / math.sqrt(N))
    assert drawn.std() == pytest.approx(frozen.std(), rel=0.05)


def test_far_tails_mirror_each_other():
    right = TruncatedNormal(5.0, 8.0, mean=0.0, sd=1.0).draws(STREAM, "x", 1000)
    left = TruncatedNormal(-8.0, -5.0, mean=0.0, sd=1.0).draws(STREAM, "x", 1000)
    assert len(set(right.tolist())) == 1000  # the tail keeps its digits
    assert stats.kstest(-left, right).pvalue > 0.001


def test_integers_reach_all_values_alike():
    drawn = Integer(-2, 7).draws(STREAM, "x", N)
    counts = np.bincount(drawn.astype(int) + 2, minlength=10)
    assert stats.chisquare(counts).pvalue > 0.001
    assert (drawn % 1 == 0).all()


def test_integers_of_wide_spans():
    wide = STREAM.integers("x", 0, 2**32 - 1, N)
    assert wide.max() < 2**32
    assert wide.mean() / 2**32 == pytest.approx(0.5, abs=0.01)
    biased = 3 * 2**30  # 32-bit words modulo this would hit the lower third twice as often
    share = (STREAM.integers("x", 0, biased - 1, N) < 2**30).mean()
    assert share == pytest.approx(1 / 3, abs=0.012)
    for low, high in ((3, 2), (0, 2**32)):
        with pytest.raises(ValueError, match=r"x: integers in \[.* span .*, not 1\.\.2\*\*32"):
            STREAM.integers("x", low, high)


def test_rejected_integers_end_after_a_bounded_number_of_attempts(monkeypatch):
    """Words of 0 are rejected by every bound that is no power of two."""
    asked = []

    def zeros(element, *rest):
        asked.append(element)
        return (np.uint32(0),) * 4

    monkeypatch.setattr(philox, "philox", zeros)
    with np.errstate(over="ignore"):
        assert int(philox.bounded.py_func(6, 3, 1, 2, 3, 4, 5)) == 0
    assert len(asked) == philox.ATTEMPTS == 8
    assert set(asked) == {24, 25, 26, 27}  # the elements of slot 6, and no other's


def test_choice_goes_by_weight():
    choice = Choice({"a": 1.0, "none": 0.0, "b": 3.0, "never": 0.0})
    drawn = choice.draws(STREAM, "x", N)
    assert set(drawn) == {"a", "b"}
    assert drawn.count("b") / N == pytest.approx(0.75, abs=0.015)
    assert choice.draws(STREAM, "x", 9) == drawn[:9]
    assert choice.draws(STREAM, "x", 4, first=5) == drawn[5:9]
    assert choice.draw(STREAM, "x") == drawn[0]
    assert Choice({"a": 2.0, "b": 6.0}).draws(STREAM, "x", 99) == drawn[:99]
    assert set(Choice({"only": 1e-300}).draws(STREAM, "x", 99)) == {"only"}


class Extreme:
    """A stream whose uniforms are the least or the greatest there are."""

    def __init__(self, u):
        self.u = u

    def uniform(self, name, count=1, first=0):
        return np.full(count, self.u)


@pytest.mark.parametrize("u", [0.0, 1 - 2**-32])
def test_the_extremes_of_the_uniform_are_taken(u):
    stream = Extreme(u)
    for distribution in DISTRIBUTIONS:
        if not isinstance(distribution, Integer):
            low, high = distribution.bounds()
            assert low <= distribution.draw(stream, "x") <= high
    weights = {"zero": 0.0, "a": 0.1, "b": 0.2, "c": 0.7, "end": 0.0}
    assert Choice(weights).draw(stream, "x") == ("a" if u == 0 else "c")


@settings(deadline=None, max_examples=100)
@given(
    st.floats(-5, 5), st.floats(0.01, 5), st.floats(-10, 10), st.floats(0, 10), st.integers(0, 99)
)
def test_any_truncated_normal_that_is_taken_keeps_its_bounds(mean, sd, low, width, index):
    try:
        distribution = TruncatedNormal(low, low + width, mean, sd)
    except ValueError as error:
        assert "too far from mean" in str(error)  # noqa: PT017
        return
    drawn = distribution.draws(Stream(1, index), "x", 50)
    assert low <= drawn.min()
    assert drawn.max() <= low + width


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Uniform(2, 1), "low 2 is above high 1; swap them"),
        (lambda: Uniform(0, math.inf), "bounds must be finite"),
        (lambda: Uniform(math.nan, 1), "bounds must be finite"),
        (lambda: LogUniform(0, 1), "must be above 0"),
        (lambda: LogUniform(2, 1), "swap them"),
        (lambda: Integer(0.5, 1), "whole numbers"),
        (lambda: TruncatedNormal(0, 1, 0, 0), "sd 0 must be above 0"),
        (lambda: TruncatedNormal(0, 1, 0, math.nan), "must be above 0"),
        (lambda: TruncatedNormal(8, 9, 0, 1), "too far from mean"),
        (lambda: Choice({"a": -1.0}), "not negative"),
        (lambda: Choice({"a": math.nan}), "finite"),
        (lambda: Choice({"a": 0.0}), "at least one weight"),
        (lambda: Choice({}), "at least one weight"),
    ],
)
def test_bad_bounds_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


def test_names_count_by_their_crc():
    assert name_code("flip_deg") == crc32(b"flip_deg")
    assert name_code("plumless") == name_code("buckeroo")  # why a recipe's names are compared


def test_streams_have_addresses_of_five_words():
    assert Stream(2**32 + 7, 2**33 + 9).key("x") == (7, 1, name_code("x"), 9, 2)
    assert Stream(0, 1).key("x") != Stream(1, 0).key("x")


def test_no_recipe_has_two_names_with_one_code():
    package = [m.name for m in pkgutil.iter_modules(recipes.__path__)]
    assert all(module.rsplit(".", 1)[1] in package for module in recipes.RECIPES.values())
    for module in recipes.RECIPES.values():
        names = importlib.import_module(module).NAMES
        assert len({name_code(name) for name in names}) == len(names)


def test_ranged_keeps_default_and_bounds():
    made = ranged(3, "a meaning", low=1, high=5, unit="px")
    assert made.default == 3
    assert dict(made.metadata) == {"meaning": "a meaning", "low": 1, "high": 5, "unit": "px"}
