"""In which order an epoch visits the samples. A pure function: resuming needs a few integers.

Position -> sample is a keyed permutation computed on the spot (`engine.permutation`), so it costs
no memory at 10^9 samples, and which rank asks does not matter: step g of R ranks with batch B
covers positions gRB..(g+1)RB, rank r its slice. docs/order.md compares the ways to shuffle.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.permutation import Indices, shard_shuffled, shuffled, window_shuffled

__all__ = [
    "WINDOW",
    "End",
    "Order",
    "Shuffle",
    "by_shard",
    "shuffled",
    "step_positions",
    "subset_name",
]

Shuffle = Literal["global", "shard", "none"]
End = Literal["drop", "pad", "uneven"]
WINDOW = 16  # shards


@dataclass(frozen=True)
class Order:
    """Which samples each step of each rank takes in one epoch.

    count: samples of the epoch; with `subset`, its entries, which are what `indices` gives then.
    batch: samples a step and rank. seed, epoch: in [0, 2**64).
    shuffle: "global", any sample anywhere; "shard", the shards permuted, then the samples of each
    `window` shards of `samples_per_shard` (the subset is to be ascending: `by_shard`); "none".
    end: the step that is not full is dropped ("drop"), filled from the start of the epoch
    ("pad", see `padded`), or shared evenly by the ranks, of which some may get none ("uneven").
    start: positions that all ranks together had before step 0, as `delivered` said.
    follow: epoch 0 takes windows of shards as they are made, the samples permuted inside (unless
    shuffle is "none").
    """

    count: int
    batch: int
    seed: int = 0
    epoch: int = 0
    rank: int = 0
    ranks: int = 1
    shuffle: Shuffle = "global"
    window: int = WINDOW
    end: End = "drop"
    samples_per_shard: int = 1
    start: int = 0
    subset: Indices | None = field(default=None, compare=False)
    follow: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError for numbers that make no order."""
        for name in ("batch", "seed", "epoch", "rank", "ranks"):
            if not hasattr(getattr(self, name), "__index__"):
                raise TypeError(f"{name} is a whole number, not {getattr(self, name)!r}")
        step_positions(0, self.batch, self.rank, self.ranks)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(words)}")
        if self.window < 1 or self.samples_per_shard < 1:
            raise ValueError(
                f"window {self.window} and samples_per_shard {self.samples_per_shard} must be 1 or "
                "more"
            )
        if not 0 <= self.start <= self.count:
            raise ValueError(f"start {self.start} is not in [0, {self.count}]")
        if not (0 <= self.seed < 2**64 and 0 <= self.epoch < 2**64):
            raise ValueError(f"seed {self.seed} and epoch {self.epoch} must be in [0, 2**64)")

    @property
    def steps(self) -> int:
        """The steps from `start` on, the same for all ranks."""
        left, size = self.count - self.start, self.batch * self.ranks
        return left // size if self.end == "drop" else -(-left // size)

    @property
    def name(self) -> str:
        """What position -> sample depends on besides seed, epoch, count and subset."""
        ways = {"shard": f"shard{self.window}x{self.samples_per_shard}"}
        follow = f"-follow{self.window}x{self.samples_per_shard}" if self.follow else ""
        return ways.get(self.shuffle, self.shuffle) + follow

    def delivered(self, step: int) -> int:
        """The positions that all ranks together have had when `step` steps are done."""
        return min(self.start + step * self.batch * self.ranks, self.count)

    def indices(self, step: int) -> Indices:
        """The samples of this rank in `step`; empty where an uneven end leaves it none."""
        return self.samples(self.positions(step) % max(1, self.count))

    def padded(self, step: int) -> NDArray[np.bool_]:
        """Which of `indices(step)` only fill the last step: all ranks have had them before."""
        padded: NDArray[np.bool_] = self.positions(step) >= self.count
        return padded

    def many(self, steps: range) -> list[Indices]:
        """`indices` of several steps, at the cost of about one."""
        positions = [self.positions(step) for step in steps]
        ends = np.cumsum([len(p) for p in positions])[:-1]
        return np.split(self.samples(np.concatenate(positions) % max(1, self.count)), ends)

    def positions(self, step: int) -> Indices:
        """The positions of this rank in `step`; from `count` on they wrap."""
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} is not in [0, {self.steps})")
        first = self.start + step * self.batch * self.ranks
        left = self.count - first
        if left >= self.batch * self.ranks or self.end != "uneven":
            return first + step_positions(0, self.batch, self.rank, self.ranks)
        mine = range(left * self.rank // self.ranks, left * (self.rank + 1) // self.ranks)
        return first + np.arange(mine.start, mine.stop, dtype=np.int64)

    def samples(self, positions: Indices) -> Indices:
        """The sample at each of the `positions` of the epoch, in [0, count)."""
        places = self._places(positions)
        return places if self.subset is None else self.subset[places]

    def _places(self, positions: Indices) -> Indices:
        seed, epoch, window, shard = self.seed, self.epoch, self.window, self.samples_per_shard
        if not positions.size:
            return positions
        if self.shuffle == "none":
            return positions
        if self.follow and epoch == 0:
            return window_shuffled(
                positions, self.count, shard=shard, window=window, seed=seed, epoch=epoch
            )
        if self.shuffle == "shard":
            return shard_shuffled(
                positions, self.count, shard=shard, window=window, seed=seed, epoch=epoch
            )
        return shuffled(positions, self.count, seed=seed, epoch=epoch)


_WORDS = {"shuffle": ("global", "shard", "none"), "end": ("drop", "pad", "uneven")}


def step_positions(step: int, batch: int, rank: int, ranks: int) -> Indices:
    """The positions that `rank` of `ranks` takes in `step`; all ranks together leave no gap."""
    for name, value, least in (("step", step, 0), ("batch", batch, 1), ("ranks", ranks, 1)):
        if value < least:
            raise ValueError(f"{name} {value} must be {least} or more")
    if not 0 <= rank < ranks:
        raise ValueError(f"rank {rank} of {ranks} must be in 0..{ranks - 1}: ranks count from 0")
    return np.arange(batch, dtype=np.int64) + (step * ranks + rank) * batch


def by_shard(subset: Indices, samples_per_shard: int) -> tuple[Indices, int]:
    """What `Order` takes to shuffle a subset by shard: it ascending, and its samples a shard.

    A run of so many entries lies in one shard, or in few neighbours, as many as the subset has
    shards: no table of shards is needed.
    """
    ascending = np.sort(subset)
    shards = len(np.unique(ascending // samples_per_shard))
    return ascending, -(-len(ascending) // max(1, shards))


def subset_name(subset: Indices | None) -> str:
    """A digest of a subset, "all" for none."""
    if subset is None:
        return "all"
    return sha256(np.ascontiguousarray(subset, "<i8").tobytes()).hexdigest()[:16]
