"""Which part of a data set a subject belongs to: a pure function of its id."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from voxelmill.engine.draw import ranged

Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Split:
    """What the key `split:` of a spec may set: shares of the subjects; the rest is for training."""

    val: float = ranged(0.0, "share of the subjects for validation", low=0, high=1)
    test: float = ranged(0.0, "share of the subjects for the test", low=0, high=1)
    by: Literal["subject"] = ranged("subject", "what is never in two parts at once")

    def __post_init__(self) -> None:
        """Raise ValueError where nothing is left to train on."""
        if not self.val + self.test < 1:
            raise ValueError(
                f"val {self.val} and test {self.test} leave no training data; their sum must be "
                "below 1"
            )

    def part(self, subject: str) -> Part:
        """The part of `subject`: by a hash of its id, so that new inputs move no old subject.

        The share is met on average over subjects, not exactly in a handful of them.
        """
        place = int.from_bytes(sha256(subject.encode()).digest()[:8], "big") / 2**64
        if place < self.test:
            return "test"
        return "val" if place < self.test + self.val else "train"

    @property
    def shares(self) -> dict[Part, float]:
        """Part -> share of the subjects that is asked for."""
        return {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}


@dataclass(frozen=True)
class Portion:
    """What a part of a split gets of the inputs at hand. share: as the spec asks."""

    part: Part
    share: float
    subjects: int
    inputs: int


def portions(split: Split, subjects: Sequence[str]) -> list[Portion]:
    """What each part gets, where `subjects` has the subject of each input."""
    parts = [split.part(subject) for subject in subjects]
    return [
        Portion(name, share, len({s for s, p in zip(subjects, parts, strict=True) if p == name}), n)
        for name, share in split.shares.items()
        for n in [parts.count(name)]
    ]


def empty_parts(split: Split, inputs: Any) -> list[str]:
    """A line for each part that has a share but, with these inputs (None: none), no subject."""
    if inputs is None:
        return []
    total = len(set(inputs.subjects))
    return [
        f"split: {p.part} has a share of {p.share:.3g}, but none of the {total} subjects (they go "
        "by a hash of their ids): choose other shares, or add subjects"
        for p in portions(split, inputs.subjects)
        if p.share > 0 and not p.subjects
    ]
