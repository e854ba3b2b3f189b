"""Which part of a data set a subject belongs to: a pure function of its id."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

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
