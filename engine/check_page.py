"""What `voxelmill check` prints: what is damaged, what is not made yet, and a verdict."""

from collections.abc import Sequence
from itertools import pairwise

from voxelmill.engine.check import LEFT_OVER, NOT_MADE, Problem
from voxelmill.engine.description import Description
from voxelmill.engine.words import counted

MOST_RANGES = 20


def verdict(problems: Sequence[Problem], state: str) -> str:
    """`damaged`, `unfinished` or `in order`; what a writer left behind harms no sample."""
    if any(p.what not in (NOT_MADE, LEFT_OVER) for p in problems):
        return "damaged"
    if state != "whole" or any(p.what == NOT_MADE for p in problems):
        return "unfinished"
    return "in order, but for files that a writer left" if problems else "in order"


def lines(problems: Sequence[Problem], state: str, description: Description) -> list[str]:
    """A line for each problem, and one for all shards that are not made yet."""
    found = [
        f"{'' if p.shard is None else f'shard {p.shard}: '}{p}"
        for p in problems
        if p.what != NOT_MADE
    ]
    lacking = sorted({p.shard for p in problems if p.what == NOT_MADE and p.shard is not None})
    cure = "run the same `voxelmill make` again: it goes on where it stopped"
    if lacking:
        noun = "shard" if len(lacking) == 1 else "shards"
        of = f"{len(lacking):,} of {counted(description.shards, 'shard')}"
        found.append(f"not made yet: {noun} {in_ranges(lacking)} ({of}); {cure}")
    elif state != "whole":
        found.append(f"all shards are there, but the store was not closed; {cure}")
    return found


def in_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: `0-2, 7, 9-11`."""
    starts = [b for a, b in pairwise([None, *numbers]) if b is not None and a != b - 1]
    stops = [a for a, b in pairwise([*numbers, None]) if a is not None and b != a + 1]
    words = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, stops, strict=True)]
    rest = len(words) - MOST_RANGES
    return ", ".join(words[:MOST_RANGES]) + (f" and {rest:,} more runs" if rest > 0 else "")
