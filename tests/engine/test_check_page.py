"""What `check` prints, in words that do not contradict each other."""

import mills
import pytest

from voxelmill.engine.check import LEFT_OVER, NOT_MADE, Problem
from voxelmill.engine.check_page import in_ranges, lines, verdict


def _problem(what, shard=3):
    return Problem(shard, "image/c/3/0/0", what, "cure")


@pytest.mark.parametrize(
    ("whats", "state", "word"),
    [
        ([], "whole", "in order"),
        ([], "making", "unfinished"),
        ([NOT_MADE, LEFT_OVER], "making", "unfinished"),
        ([NOT_MADE, "is missing"], "making", "damaged"),
        (["is missing"], "whole", "damaged"),
        ([LEFT_OVER], "whole", "in order, but for files that a writer left"),
    ],
)
def test_verdict(whats, state, word):
    assert verdict([_problem(what) for what in whats], state) == word


def test_ranges_in_words():
    assert in_ranges([5]) == "5"
    assert in_ranges([0, 1, 2, 7, 9, 10]) == "0-2, 7, 9-10"
    assert in_ranges(range(0, 60, 2)).endswith("36, 38 and 10 more runs")


def test_a_line_for_all_shards_that_are_not_made():
    description = mills.dots(40, 8).description
    problems = [_problem(NOT_MADE, 1), _problem("is missing", 2), _problem(NOT_MADE, 3)]
    one, two = lines(problems, "making", description)
    assert one == "shard 2: image/c/3/0/0: is missing; cure"
    assert two.startswith("not made yet: shards 1, 3 (2 of 5 shards); run the same")
    (line,) = lines([], "making", description)
    assert line.startswith("all shards are there, but the store was not closed; run the same")
