"""The order of several stores, each taken as often as its weight says.

Without weights every sample of all stores comes once an epoch, in one order over all. With
weights the stream is cut into blocks of 65,536 positions; each store has its share of the slots
of a block, and the slots are permuted. So which store and which of its samples stands at a
position is a pure function, as in one store: ranks, ends and resuming are the same. Each store
runs through epochs of its own: when all its samples were taken, it is permuted anew.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.order import Order
from voxelmill.engine.permutation import Indices, slot_shuffled

BLOCK = 1 << 16  # positions in which the shares of the stores are exact


@dataclass(frozen=True)
class MixedOrder(Order):
    """An order over several stores; `indices` count through all of them, one behind the other.

    parts: the order of each store. slots: how many of each BLOCK positions are whose; empty
    without weights.
    """

    parts: tuple[Order, ...] = ()
    firsts: tuple[int, ...] = ()  # the number of each store's sample 0
    slots: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What position -> sample depends on besides seed, epoch, count and subsets."""
        return "+".join([*(p.name for p in self.parts), *map(str, self.slots)])

    def samples(self, positions: Indices) -> Indices:
        """The sample at each of the `positions` of the epoch, counted through all stores."""
        if self.slots:
            store, draw = self._drawn(positions)
        else:
            starts = np.cumsum([0, *(p.count for p in self.parts)])
            places = self._places(positions)
            store = np.searchsorted(starts, places, "right") - 1
            draw = places - starts[store]
        out = np.empty(len(positions), np.int64)
        for k, part in enumerate(self.parts):
            here = store == k
            if self.slots:
                out[here] = self.firsts[k] + _endless(part, draw[here])
            else:
                subset = part.subset
                out[here] = self.firsts[k] + (draw[here] if subset is None else subset[draw[here]])
        return out

    def _drawn(self, positions: Indices) -> tuple[Indices, Indices]:
        """Which store, and which draw of it since the first epoch, stands at each position."""
        block, place = np.divmod(positions + self.epoch * self.count, BLOCK)
        store, draw = np.empty_like(place), np.empty_like(place)
        for b in np.unique(block).tolist():
            here = block == b
            stores, draws = _block(self.slots, self.seed, b)
            store[here], draw[here] = stores[place[here]], draws[place[here]]
        return store, block * np.array(self.slots)[store] + draw


@lru_cache(maxsize=2)
def _block(slots: tuple[int, ...], seed: int, block: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which store stands at each position of a block, and how many of its are before it there.

    Counted, and not the number of the permuted slot: draws of a store are to be in their order
    along the stream, or a store far smaller than a block would be drawn with repeats. 0.5 MiB.
    """
    slot = slot_shuffled(np.arange(BLOCK), BLOCK, seed=seed, block=block)
    starts = np.cumsum([0, *slots])
    store = np.searchsorted(starts, slot, "right") - 1
    positions = np.argsort(store, kind="stable")
    draw = np.empty(BLOCK, np.int32)
    draw[positions] = np.arange(BLOCK) - np.repeat(starts[:-1], slots)
    return store.astype(np.int32), draw


def shares(weights: list[float], stores: int) -> tuple[int, ...]:
    """How many of BLOCK slots each store has: the largest remainders are rounded up."""
    total = sum(weights)
    if len(weights) != stores or not all(0 < w < float("inf") for w in weights):
        raise ValueError(f"weights {weights} must be {stores} positive numbers, one a store")
    exact = [w / total * BLOCK for w in weights]
    slots = [int(x) for x in exact]
    for k in sorted(range(stores), key=lambda k: slots[k] - exact[k])[: BLOCK - sum(slots)]:
        slots[k] += 1
    if 0 in slots:
        k = slots.index(0)
        raise ValueError(
            f"weight {weights[k]} of store {k} is below 1 in {BLOCK} of their sum {total}; leave "
            "the store out or raise it"
        )
    return tuple(slots)


def _endless(order: Order, draws: Indices) -> Indices:
    """The samples of a store at `draws` of it, over all its own epochs."""
    epochs, places = np.divmod(draws, order.count)
    out = np.empty(len(draws), np.int64)
    for e in np.unique(epochs).tolist():
        out[epochs == e] = replace(order, epoch=e).samples(places[epochs == e])
    return out
