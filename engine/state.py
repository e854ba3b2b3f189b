"""Where a stream of batches stands, in a few plain numbers that hold no rank."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from voxelmill.engine.errors import StoreError


@dataclass(frozen=True)
class State:
    """Where a stream stands: all ranks have had the first `delivered` positions of `epoch`.

    count: samples an epoch. digest: of the content, the subset and the way of shuffling.
    """

    epoch: int
    delivered: int
    seed: int
    count: int
    digest: str

    @classmethod
    def of(cls, json: Mapping[str, Any]) -> "State":
        """What `asdict` gave. Raises StoreError for anything else."""
        known = {f.name: f.type for f in fields(cls)}
        good = set(json) == set(known) and isinstance(json["digest"], str)
        if not good or not all(
            isinstance(json[k], int) and json[k] >= 0 for k in known if k != "digest"
        ):
            raise StoreError(
                f"{dict(json)!r} is no state of a stream of batches, which holds {', '.join(known)}"
            )
        return cls(**json)

    def differences(self, other: "State") -> list[str]:
        """In words, what `other` has that this has not: another store, subset, order or seed."""
        lines = [
            f"its {what} is {theirs}, and here it is {mine}"
            for what, theirs, mine in zip(
                ("store", "subset", "order"),
                other.digest.split(":", 2),
                self.digest.split(":", 2),
                strict=False,
            )
            if theirs != mine
        ]
        for name, what in (("seed", "seed"), ("count", "number of samples")):
            theirs, mine = getattr(other, name), getattr(self, name)
            if theirs != mine:
                lines.append(f"its {what} is {theirs}, and here it is {mine}")
        return lines
