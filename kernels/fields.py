"""Smooth random fields: normals on a lattice, by address, under a cubic B-spline.

A lattice of g nodes along an axis has g - 3 intervals, and they span the volume from the outer
face of its first voxel to that of its last: node j stands j - 1 intervals behind the first face.
So a field does not depend on the voxels that it is seen at, and a coarse grid and a fine one of
the same volume see the same field.
"""

from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.elastic import spline as weights_of
from voxelmill.kernels.philox import normals

RMS = (151 / 315) ** 1.5  # of a field over unit normals, by place: 151/315 is the 1-D integral of
#                           squares of a cubic B-spline, and each axis has it once
SIGMA = 3**-0.5  # a cubic B-spline is nearly a Gaussian of this many intervals


@body
def _blend_at(a, i, j0, j1, out, nodes):
    """Values j0..j1 of out[a, i]: a weighted sum of four rows of nodes[a]."""
    intervals = nodes.shape[1] - 3
    t = (float32(i) + float32(0.5)) * (float32(intervals) / float32(out.shape[1]))
    k = min(int64(t), int64(intervals - 1))
    w0, w1, w2, w3 = weights_of(t - float32(k))
    first, one = uint64(k), uint64(1)
    second, third, fourth = first + one, first + one + one, first + one + one + one
    for n in range(uint64(j1 - j0)):
        j = uint64(j0) + n
        out[a, i, j] = (
            w0 * nodes[a, first, j]
            + w1 * nodes[a, second, j]
            + w2 * nodes[a, third, j]
            + w3 * nodes[a, fourth, j]
        )


@loop
def _blend_cpu(out, nodes):
    for r in prange(out.shape[0] * out.shape[1]):
        _blend_at(r // out.shape[1], r % out.shape[1], 0, out.shape[2], out, nodes)


@cuda.jit
def _blend_gpu(out, nodes):
    i = cuda.grid(1)
    if i < out.size:
        r, j = i // out.shape[2], i % out.shape[2]
        _blend_at(r // out.shape[1], r % out.shape[1], j, j + 1, out, nodes)


def lattice_normals(keys: Any, shape: tuple[int, int, int, int], sd: Any) -> Any:
    """Normals of mean 0 on the nodes of lattices: (sample, component, gz, gy, gx) float32.

    keys:  (sample, 5) uint32; shape: (component, gz, gy, gx), each lattice axis at least 4.
    sd:    (sample, component) float32; for a field of root mean square r, give r / RMS.
    Node i of the flattened `shape` is number i of `philox.normals` of its key, so it does not
    depend on the rest of the batch. Returned on the side of `keys`.
    """
    components, *lattice = shape
    if len(lattice) != 3 or components < 1 or min(lattice) < 4:
        raise ValueError(f"lattices are (component, gz, gy, gx) of 4 nodes or more, not {shape}")
    if sd.shape != (keys.shape[0], components) or sd.dtype != np.float32:
        raise ValueError(
            f"sd is ({keys.shape[0]}, {components}) float32, one for each sample and component, "
            f"not {sd.shape} {sd.dtype}"
        )
    nodes = normals(keys, int(np.prod(shape))).reshape(-1, *shape)
    nodes *= sd[:, :, None, None, None]
    return nodes


def spline(nodes: Any, shape: tuple[int, int, int]) -> Any:
    """The cubic B-spline over lattices, at the voxels of a volume that these span.

    nodes: (sample, component, gz, gy, gx) float32, at least 4 along each lattice axis.
    shape: (z, y, x) of the volume.
    Returns (sample, component, z, y, x) float32 on the side of `nodes`: between the least and the
    greatest of the nodes near by; over unit normals it has the root mean square `RMS` and the
    smoothness of white noise under a Gaussian of `SIGMA` intervals.
    """
    if nodes.ndim != 5 or nodes.dtype != np.float32 or min(nodes.shape[2:]) < 4:
        raise ValueError(
            "nodes are (sample, component, gz, gy, gx) float32 with 4 or more along each lattice "
            f"axis, not {nodes.shape} {nodes.dtype}"
        )
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a volume has a shape (z, y, x) of 1 or more each, not {shape}")
    xp, (batch, components, gz, gy, gx) = xp_of(nodes), nodes.shape
    depth, height, width = shape
    for outer, g, n, inner in (  # x first: the last pass, the largest, goes along whole planes
        (batch * components * gz * gy, gx, width, 1),
        (batch * components * gz, gy, height, width),
        (batch * components, gz, depth, height * width),
    ):
        out = xp.empty((outer, n, inner), np.float32)
        nodes = xp.ascontiguousarray(nodes).reshape(outer, g, inner)
        launch(_blend_cpu, _blend_gpu, out.size, out, nodes)
        nodes = out
    return out.reshape(batch, components, *shape)
