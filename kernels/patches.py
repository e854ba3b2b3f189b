"""Copy whole patches of a flat buffer: the glue between shapes, objects and layers.

Patch s of a flat buffer is `flat[starts[s]:starts[s + 1]]`.
"""

from typing import Any

import numpy as np
from numba import cuda, prange

from voxelmill.kernels.device import body, launch, loop, xp_of


@body
def _copy_at(s, out, out_starts, flat, starts, which):
    first, from_ = out_starts[s], starts[which[s]]
    for i in range(out_starts[s + 1] - first):
        out[first + i] = flat[from_ + i]


@loop
def _copy_cpu(out, out_starts, flat, starts, which):
    for s in prange(which.size):
        _copy_at(s, out, out_starts, flat, starts, which)


@cuda.jit
def _copy_gpu(out, out_starts, flat, starts, which):
    s = cuda.grid(1)
    if s < which.size:
        _copy_at(s, out, out_starts, flat, starts, which)


@body
def _paste_at(s, out, starts, which, flat, flat_starts):
    first, from_ = starts[which[s]], flat_starts[s]
    for i in range(flat_starts[s + 1] - from_):
        out[first + i] = flat[from_ + i]


@loop
def _paste_cpu(out, starts, which, flat, flat_starts):
    for s in prange(which.size):
        _paste_at(s, out, starts, which, flat, flat_starts)


@cuda.jit
def _paste_gpu(out, starts, which, flat, flat_starts):
    s = cuda.grid(1)
    if s < which.size:
        _paste_at(s, out, starts, which, flat, flat_starts)


def _starts_of(starts: Any, which: Any) -> Any:
    xp = xp_of(starts)
    lengths = starts[1:][which] - starts[:-1][which]
    return xp.concatenate([xp.zeros(1, np.int64), xp.cumsum(lengths)]).astype(np.int64)


def take(flat: Any, starts: Any, which: Any) -> tuple[Any, Any]:
    """The patches `which` (int64) of `flat`, in that order: (flat, starts). Repeats are allowed."""
    out_starts = _starts_of(starts, which)
    out = xp_of(flat).empty(int(out_starts[-1]), flat.dtype)
    launch(_copy_cpu, _copy_gpu, len(which), out, out_starts, flat, starts, which)
    return out, out_starts


def put(out: Any, starts: Any, which: Any, flat: Any) -> None:
    """Write the patches of `flat`, which `take(out, starts, which)` gave the shape of, back."""
    flat_starts = _starts_of(starts, which)
    if len(flat) != int(flat_starts[-1]):
        raise ValueError(f"{len(flat)} values do not fill patches of {int(flat_starts[-1])}")
    launch(_paste_cpu, _paste_gpu, len(which), out, starts, which, flat, flat_starts)
