"""Smooth random shifts of a donor image: normals on a lattice, by address, under a cubic B-spline.

The field lives in the donor's frame, so that it moves and turns with the object and does not
depend on the window in which the object is seen.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.philox import normal_pair, philox
from voxelmill.kernels.tiles import check_rows, on_host, patch_of

NODES = 1024  # of a lattice along y and along x, at most: 20 bits of a Philox element
SLOTS = 4096  # the other 12 bits
REACH = 4  # the elastic field ends this many rms outside the donor's frame
_RMS = 151 / 315  # of a 2-D cubic B-spline over unit normals, by place: its integral of squares


@body
def _nodes_at(i, out, node_starts, lattice, keys, slots, strength):
    """The shift of node i, (y, x) in donor pixels."""
    s = patch_of(node_starts, i)
    k = i - node_starts[s]
    element = slots[s] * NODES * NODES + k // lattice[s, 1] * NODES + k % lattice[s, 1]
    w = philox(element, keys[s, 2], keys[s, 3], keys[s, 4], keys[s, 0], keys[s, 1])
    a, b = normal_pair(w[0], w[1])
    out[i, 0], out[i, 1] = strength[s] * a, strength[s] * b


@loop
def _nodes_cpu(out, node_starts, lattice, keys, slots, strength):
    for i in prange(out.shape[0]):
        _nodes_at(i, out, node_starts, lattice, keys, slots, strength)


@cuda.jit
def _nodes_gpu(out, node_starts, lattice, keys, slots, strength):
    i = cuda.grid(1)
    if i < out.shape[0]:
        _nodes_at(i, out, node_starts, lattice, keys, slots, strength)


@body
def below(x):
    """The floor of a single as an int64; `math.floor` would be a call into the C library."""
    whole = int64(x)
    return whole - 1 if x < float32(whole) else whole


@body
def spline(t):
    """The four weights of a cubic B-spline at t in [0, 1) between the middle two nodes."""
    one, three, sixth = float32(1), float32(3), float32(1 / 6)
    u, t2 = one - t, t * t
    return (
        u * u * u * sixth,
        (three * t2 * t - float32(6) * t2 + float32(4)) * sixth,
        (three * (t + t2 - t2 * t) + one) * sixth,
        t2 * t * sixth,
    )


@body
def _weighed(w, a, b, c, d):
    return w[0] * a + w[1] * b + w[2] * c + w[3] * d


@body
def _along(nodes, at, component, w):
    """One component of four neighbours from node `at` on, under weights w."""
    one, two, three = uint64(1), uint64(2), uint64(3)
    return _weighed(
        w,
        nodes[at, component],
        nodes[at + one, component],
        nodes[at + two, component],
        nodes[at + three, component],
    )


@body
def shift_at(y, x, nodes, first, rows, columns):
    """The elastic shift at lattice coordinates (y, x); zero outside the lattice."""
    iy, ix = below(y), below(x)
    dy, dx = float32(0), float32(0)
    if 0 <= iy < rows - 3 and 0 <= ix < columns - 3:
        wy, wx = spline(y - float32(iy)), spline(x - float32(ix))
        a, step = uint64(first + iy * columns + ix), uint64(columns)
        b, c, d = a + step, a + step + step, a + step + step + step
        dy = _weighed(
            wy,
            _along(nodes, a, 0, wx),
            _along(nodes, b, 0, wx),
            _along(nodes, c, 0, wx),
            _along(nodes, d, 0, wx),
        )
        dx = _weighed(
            wy,
            _along(nodes, a, 1, wx),
            _along(nodes, b, 1, wx),
            _along(nodes, c, 1, wx),
            _along(nodes, d, 1, wx),
        )
    return dy, dx


def lattices(
    donor_sizes: Any, which: Any, inverse: Any, amplitude_px: Any, sigma_px: Any,
    keys: Any, slots: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """The lattices of the patches' shifts; arguments as in `cutout.warp`.

    Returns spacing and border (patch,) float32 in donor pixels, nodes (node, 2) float32 y, x in
    donor pixels, their starts (patch + 1,) int64 and lattice (patch, 2) int64 rows, columns, 0 for
    a patch with no shift. Node (0, 0) stands one spacing before (-border, -border).
    """
    xp = xp_of(keys)
    slots = _checked_slots(slots, keys)
    spacing, border, strength, lattice, node_starts = (
        xp.asarray(table)
        for table in _tables(
            on_host(donor_sizes)[on_host(which)], on_host(inverse), on_host(amplitude_px),
            on_host(sigma_px),
        )
    )  # fmt: skip
    nodes = xp.empty((int(node_starts[-1]), 2), np.float32)
    table = (node_starts, lattice, keys, xp.asarray(slots), strength)
    launch(_nodes_cpu, _nodes_gpu, nodes.shape[0], nodes, *table)
    return spacing, border, nodes, node_starts, lattice


def _tables(sizes: Any, inverse: Any, amplitude_px: Any, sigma_px: Any) -> tuple[Any, ...]:
    """Of each patch in donor pixels: node spacing, border, rms of a node; lattice, node starts."""
    moves = amplitude_px != 0
    if (moves & ~(sigma_px > 0)).any():
        raise ValueError(f"elastic_sigma_px must be above 0 where there is a warp, not {sigma_px}")
    linear = inverse[:, :, :2].astype(np.float64)
    shrink = np.sqrt(np.abs(linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]))
    if (moves & (shrink == 0)).any():
        raise ValueError("an inverse affine with a warp has determinant 0: it has no scale")
    spacing = np.where(moves, np.sqrt(3) * sigma_px * shrink, 1.0)
    border = REACH * amplitude_px * shrink
    lattice = np.floor((sizes + 2 * border[:, None]) / spacing[:, None]).astype(np.int64) + 4
    lattice[~moves] = 0
    if lattice.size and lattice.max() > NODES:
        raise ValueError(
            f"an elastic warp needs {lattice.max()} nodes, above {NODES}: raise elastic_sigma_px"
        )
    node_starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(lattice.prod(1), out=node_starts[1:])
    singles = (a.astype(np.float32) for a in (spacing, border, amplitude_px * shrink / _RMS))
    return *singles, lattice, node_starts


def _checked_slots(slots: Any, keys: Any) -> Any:
    if keys.ndim != 2 or keys.shape[1] != 5 or keys.dtype != np.uint32:
        raise ValueError(f"keys are (patch, 5) uint32, not {keys.shape} {keys.dtype}")
    rows = on_host(keys).astype(np.int64)
    taken = np.zeros(len(rows), np.int64) if slots is None else on_host(slots).astype(np.int64)
    check_rows(len(rows), slots=taken)
    if ((taken < 0) | (taken >= SLOTS)).any():
        raise ValueError(f"slots {taken} must be in [0, {SLOTS})")
    if len(np.unique(np.column_stack([rows, taken]), axis=0)) < len(rows):
        raise ValueError("two cut-outs share a key and a slot: give each a slot of its own")
    return taken
