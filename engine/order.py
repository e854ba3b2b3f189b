"""In which order an epoch visits the samples. A pure function: resuming needs one integer.

Position -> index is a keyed permutation computed on the spot (a Feistel network over the next
even number of bits, walked until it lands inside), so it costs no memory at 10^9 samples, and
which rank asks does not matter: step g of R ranks with batch B covers positions gRB..(g+1)RB.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.draw import philox

ROUNDS = 8


def shuffled(position: ArrayLike, count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The sample at each `position` of an epoch's order; a permutation of [0, count).

    seed and epoch are in [0, 2**64). Raises ValueError for a position outside [0, count).
    """
    place = np.array(position, np.int64)
    if not 0 < count <= 2**62:
        raise ValueError(f"count {count} is not in 1..2**62")
    if not (0 <= seed < 2**64 and 0 <= epoch < 2**64):
        raise ValueError(f"seed {seed} and epoch {epoch} must be in [0, 2**64)")
    if place.size and (place.min() < 0 or place.max() >= count):
        raise ValueError(f"positions {place.min()}..{place.max()} are not all in [0, {count})")
    place = place.astype(np.uint64)
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = _round_keys(seed, epoch)
    outside = np.ones(place.shape, bool)
    while outside.any():
        walked = place[outside]
        left, right = walked >> half, walked & mask
        for key in keys:
            left, right = right, left ^ (_mix(right + key) & mask)
        place[outside] = left << half | right
        outside = place >= np.uint64(count)
    return place.astype(np.int64)


def step_positions(step: int, batch: int, rank: int, ranks: int) -> NDArray[np.int64]:
    """The positions that `rank` of `ranks` takes in `step`; all ranks together leave no gap."""
    if not (step >= 0 and batch > 0 and 0 <= rank < ranks):
        raise ValueError(
            f"step {step}, batch {batch}, rank {rank} of {ranks}: step is 0 or more, batch 1 or "
            "more, rank below ranks"
        )
    return np.arange(batch, dtype=np.int64) + (step * ranks + rank) * batch


def _round_keys(seed: int, epoch: int) -> NDArray[np.uint64]:
    block = np.zeros((ROUNDS, 4), np.uint32)
    block[:, 0], block[:, 2], block[:, 3] = np.arange(ROUNDS), epoch & 0xFFFFFFFF, epoch >> 32
    words = philox(block, (seed & 0xFFFFFFFF, seed >> 32)).astype(np.uint64)
    return words[:, 0] << np.uint64(32) | words[:, 1]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele 2014)."""
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)
