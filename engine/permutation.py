"""Keyed permutations of [0, count) with random access: no memory, at 10^9 samples as at 10.

A Feistel network over the next even number of bits, walked until it lands inside. Three orders
are made of it: the global one, one that stays inside windows of permuted shards (for storage that
is slow at random places), and one inside windows of ascending shards (for a store still being
made). `use` and `number` keep their keys apart.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.draw import philox

ROUNDS = 8
Indices = NDArray[np.int64]
_GLOBAL, _SHARDS, _INSIDE, _ASCENDING, _SEED, _SLOTS = range(6)


def shuffled(position: ArrayLike, count: int, *, seed: int, epoch: int) -> Indices:
    """The sample at each `position` of an epoch's order; a permutation of [0, count).

    seed and epoch are in [0, 2**64). Raises ValueError for a position outside [0, count).
    """
    return _permuted(_checked(position, count), count, seed, epoch, _GLOBAL)


def shard_shuffled(
    position: ArrayLike, count: int, *, shard: int, window: int, seed: int, epoch: int
) -> Indices:
    """As `shuffled`, but each `window` shards in a row, of `shard` samples each, come together.

    The shards are permuted, then the samples of each window of them; the last shard may be short.
    """
    place = _checked(position, count)
    shards = -(-count // shard)
    lacking = shards * shard - count  # of the short shard, and where it came to stand
    short = _place_of(shards - 1, shards, seed, epoch, _SHARDS)
    # Samples of windows behind the short shard's move back by what it lacks.
    behind = min((short // window + 1) * window, shards) * shard - lacking
    moved = place + np.where(place >= behind, lacking, 0)
    inside, offset = np.divmod(moved, window * shard)
    for w in np.unique(inside).tolist():
        here = inside == w
        full = min(window, shards - w * window) * shard
        size = full - lacking if w == short // window else full
        mixed = _permuted(offset[here], size, seed, epoch, _INSIDE, w)
        if w == short // window:
            mixed[mixed >= (short % window + 1) * shard - lacking] += lacking
        offset[here] = mixed
    slot = inside * window + offset // shard
    return _permuted(slot, shards, seed, epoch, _SHARDS) * shard + offset % shard


def window_shuffled(
    position: ArrayLike, count: int, *, shard: int, window: int, seed: int, epoch: int
) -> Indices:
    """Windows of `window` shards in ascending order, the samples permuted inside each."""
    place = _checked(position, count)
    size = window * shard
    for w in np.unique(place // size).tolist():
        here = place // size == w
        here_count = min(size, count - w * size)
        mixed = _permuted(place[here] - w * size, here_count, seed, epoch, _ASCENDING, w)
        place[here] = w * size + mixed
    return place


def slot_shuffled(slot: Indices, count: int, *, seed: int, block: int) -> Indices:
    """A permutation of the slots [0, count) of a block of a mix."""
    return _permuted(slot, count, seed, block, _SLOTS)


def derived_seed(seed: int, number: int) -> int:
    """A seed for part `number` of what has `seed`: those of two parts have nothing in common."""
    return int(_round_keys(seed, 0, _SEED, number)[0])


def _checked(position: ArrayLike, count: int) -> Indices:
    place = np.array(position, np.int64)
    if not 0 < count <= 2**62:
        raise ValueError(f"count {count} is not in 1..2**62")
    if place.size and (place.min() < 0 or place.max() >= count):
        raise ValueError(f"positions {place.min()}..{place.max()} are not all in [0, {count})")
    return place


def _permuted(
    place: Indices, count: int, seed: int, epoch: int, use: int, number: int = 0
) -> Indices:
    half, mask = _halves(count)
    keys = _round_keys(seed, epoch, use, number)
    out = place.astype(np.uint64)
    outside = np.ones(out.shape, bool)
    while outside.any():
        walked = out[outside]
        left, right = walked >> half, walked & mask
        for key in keys:
            left, right = right, left ^ (_mix(right + key) & mask)
        out[outside] = left << half | right
        outside = out >= np.uint64(count)
    return out.astype(np.int64)


@lru_cache(maxsize=64)
def _place_of(index: int, count: int, seed: int, epoch: int, use: int) -> int:
    """The position at which `_permuted` gives `index`: the network walked backwards."""
    half, mask = _halves(count)
    place = np.array([index], np.uint64)
    while True:
        left, right = place >> half, place & mask
        for key in _round_keys(seed, epoch, use, 0)[::-1]:
            left, right = right ^ (_mix(left + key) & mask), left
        place = left << half | right
        if place[0] < count:
            return int(place[0])


def _halves(count: int) -> tuple[np.uint64, np.uint64]:
    """Bits of each half of the network, and their mask."""
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    return half, (np.uint64(1) << half) - np.uint64(1)


@lru_cache(maxsize=256)
def _round_keys(seed: int, epoch: int, use: int, number: int) -> NDArray[np.uint64]:
    if not (0 <= seed < 2**64 and 0 <= epoch < 2**64):
        raise ValueError(f"seed {seed} and epoch {epoch} must be in [0, 2**64)")
    block = np.zeros((ROUNDS, 4), np.uint32)
    block[:, 0] = np.arange(ROUNDS) | use << 4 | (number >> 32) << 8
    block[:, 1] = number & 0xFFFFFFFF
    block[:, 2], block[:, 3] = epoch & 0xFFFFFFFF, epoch >> 32
    words = philox(block, (seed & 0xFFFFFFFF, seed >> 32)).astype(np.uint64)
    keys = words[:, 0] << np.uint64(32) | words[:, 1]
    keys.flags.writeable = False
    return keys


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele 2014)."""
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)
