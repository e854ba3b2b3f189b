"""Patches copied one by one."""

from itertools import pairwise

import numpy as np


def split(flat, starts):
    """The patches of a flat buffer as a list."""
    return [flat[a:b] for a, b in pairwise(starts)]


def take(flat, starts, which):
    parts = split(flat, starts)
    taken = [parts[s] for s in which]
    lengths = [len(part) for part in taken]
    whole = np.concatenate([*taken, np.empty(0, flat.dtype)])
    return whole, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def put(out, starts, which, flat):
    for s in which:
        size = int(starts[s + 1] - starts[s])
        out[starts[s] : starts[s + 1]], flat = flat[:size], flat[size:]
