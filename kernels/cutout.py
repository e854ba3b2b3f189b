"""Cut-outs of donor images: affine and elastic warp, grown or shrunk alpha, feathered edges.

A donor is a grey and an alpha image, float32; donors lie flat one after another.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, int64, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.distance import COVERED, squared_px
from voxelmill.kernels.elastic import below, lattices, shift_at
from voxelmill.kernels.tiles import (
    check_patches,
    check_rows,
    on_host,
    patch_of,
    place_of,
    row_starts,
)


@body
def _mixed(a, b, c, d, top, bottom, near, far):
    """Pixels (a, b) over (c, d) under the weights (top, bottom) x (near, far)."""
    return top * (near * a + far * b) + bottom * (near * c + far * d)


@body
def _sampled_at(grey, alpha, first, height, width, y, x):
    """Bilinear (alpha, grey) at (y, x) in units of pixel indices.

    Beyond the donor alpha is zero and the grey that of its nearest pixel.
    """
    iy, ix = below(y), below(x)
    upper = first + min(max(iy, 0), height - 1) * width
    lower = first + min(max(iy + 1, 0), height - 1) * width
    left, right = min(max(ix, 0), width - 1), min(max(ix + 1, 0), width - 1)
    a, b = uint64(upper + left), uint64(upper + right)
    c, d = uint64(lower + left), uint64(lower + right)
    zero, one = float32(0), float32(1)
    bottom, far = y - float32(iy), x - float32(ix)
    top, near = one - bottom, one - far
    shade = _mixed(grey[a], grey[b], grey[c], grey[d], top, bottom, near, far)
    if not (-1 <= iy < height and -1 <= ix < width):
        return zero, shade
    top, bottom = top if iy >= 0 else zero, bottom if iy + 1 < height else zero
    near, far = near if ix >= 0 else zero, far if ix + 1 < width else zero
    return _mixed(alpha[a], alpha[b], alpha[c], alpha[d], top, bottom, near, far), shade


@body
def _warp_at(
    s, y, x0, x1, out, grey, alpha, donor_starts, donor_sizes, which, inverse, spacing, border,
    nodes, node_starts, lattice, brightness, windows, starts,
):  # fmt: skip
    """Pixels x0..x1 of row y of patch s: alpha into out[0], texture into out[1]."""
    donor, half, light = which[s], float32(0.5), brightness[s]
    height, width, first = donor_sizes[donor, 0], donor_sizes[donor, 1], donor_starts[donor]
    rows, columns, node, edge = lattice[s, 0], lattice[s, 1], node_starts[s], border[s]
    place, nodes_a_px = uint64(starts[s] + y * windows[s, 3]), float32(1) / spacing[s]
    out_y, left = float32(windows[s, 0] + y) + half, windows[s, 1]
    row_y = inverse[s, 0, 0] * out_y + inverse[s, 0, 2]
    row_x = inverse[s, 1, 0] * out_y + inverse[s, 1, 2]
    along_y, along_x = inverse[s, 0, 1], inverse[s, 1, 1]
    for x in range(uint64(x0), uint64(x1)):
        out_x = float32(left + int64(x)) + half
        q_y, q_x = row_y + along_y * out_x, row_x + along_x * out_x
        if rows:
            at_y, at_x = (q_y + edge) * nodes_a_px, (q_x + edge) * nodes_a_px
            dy, dx = shift_at(at_y, at_x, nodes, node, rows, columns)
            q_y, q_x = q_y + dy, q_x + dx
        opaque, shade = _sampled_at(grey, alpha, first, height, width, q_y - half, q_x - half)
        out[0, place + x], out[1, place + x] = opaque, light * shade


@loop
def _warp_cpu(
    out, rows, grey, alpha, donor_starts, donor_sizes, which, inverse, spacing, border, nodes,
    node_starts, lattice, brightness, windows, starts,
):  # fmt: skip
    for r in prange(rows[rows.size - 1]):
        s = patch_of(rows, r)
        _warp_at(
            s, r - rows[s], 0, windows[s, 3], out, grey, alpha, donor_starts, donor_sizes, which,
            inverse, spacing, border, nodes, node_starts, lattice, brightness, windows, starts,
        )  # fmt: skip


@cuda.jit
def _warp_gpu(
    out, rows, grey, alpha, donor_starts, donor_sizes, which, inverse, spacing, border, nodes,
    node_starts, lattice, brightness, windows, starts,
):  # fmt: skip
    i = cuda.grid(1)
    if i < out.shape[1]:
        s, y, x = place_of(i, windows, starts)
        _warp_at(
            s, y, x, x + 1, out, grey, alpha, donor_starts, donor_sizes, which, inverse, spacing,
            border, nodes, node_starts, lattice, brightness, windows, starts,
        )  # fmt: skip


@body
def _grow_at(s, y, x0, x1, out, alpha, windows, starts, grow_px):
    """Pixels x0..x1 of row y: the greatest or the least alpha in a disc; zero beyond the patch."""
    height, width = windows[s, 2], windows[s, 3]
    row = starts[s] + y * width
    own = uint64(row + x0)
    for k in range(uint64(x1 - x0)):
        out[own + k] = alpha[own + k]
    radius, shrinks = abs(grow_px[s]), grow_px[s] < float32(0)
    reach = int(radius)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if float32(dy * dy + dx * dx) > radius * radius:
                continue
            first, last = max(x0, -dx), min(x1, width - dx)
            if not 0 <= y + dy < height or first >= last:
                first, last = x1, x1
            target, source = uint64(row + first), uint64(row + dy * width + dx + first)
            if shrinks:
                for k in range(uint64(last - first)):
                    out[target + k] = min(out[target + k], alpha[source + k])
                for k in range(uint64(first - x0)):
                    out[own + k] = float32(0)
                for k in range(uint64(last - x0), uint64(x1 - x0)):
                    out[own + k] = float32(0)
            else:
                for k in range(uint64(last - first)):
                    out[target + k] = max(out[target + k], alpha[source + k])


@loop
def _grow_cpu(out, alpha, windows, starts, rows, grow_px):
    for r in prange(rows[rows.size - 1]):
        s = patch_of(rows, r)
        _grow_at(s, r - rows[s], 0, windows[s, 3], out, alpha, windows, starts, grow_px)


@cuda.jit
def _grow_gpu(out, alpha, windows, starts, rows, grow_px):
    i = cuda.grid(1)
    if i < out.size:
        s, y, x = place_of(i, windows, starts)
        _grow_at(s, y, x, x + 1, out, alpha, windows, starts, grow_px)


def warp(
    donor_grey: Any, donor_alpha: Any, donor_starts: Any, donor_sizes: Any, which: Any,
    inverse: Any, elastic_amplitude_px: Any, elastic_sigma_px: Any, grow_px: Any,
    brightness: Any, keys: Any, windows: Any, starts: Any, slots: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Donors laid into patches: their alpha, and their grey as a texture of the same pixels.

    donor_grey, donor_alpha: flat float32; donor_starts (donor + 1,) int64; donor_sizes (donor, 2)
    int32 height, width; which (patch,) int32: the donor of each patch.
    inverse: (patch, 2, 3) float32, canvas (y, x, 1) to donor (y, x), both with pixel centres at
    + 0.5; scale, flip and turn are in it.
    elastic_amplitude_px, elastic_sigma_px: (patch,) float32 in canvas pixels: the rms of each
    component of the shift (0 = none), and its smoothness, that of white noise under a Gaussian of
    this sigma (the B-spline's nodes are sqrt(3) sigma apart). It ends 4 rms outside the donor.
    grow_px: (patch,) float32: alpha dilated (> 0) or eroded (< 0) by a disc of this radius in
    canvas pixels, with zero beyond the patch. brightness: (patch,) float32, times the grey.
    keys: (patch, 5) uint32, see `philox`; slots: (patch,) int64 in [0, 4096), which of a key's
    element ranges a patch takes, so that two cut-outs of a sample may share a name.

    Sampling is bilinear; beyond the donor alpha is zero and the grey that of the nearest pixel:
    see `extend_grey`. Returns (alpha, texture), flat float32, on the side of `donor_grey`.
    """
    xp, patches = xp_of(donor_grey), windows.shape[0]
    check_rows(
        patches, which=which, inverse=inverse, elastic_amplitude_px=elastic_amplitude_px,
        elastic_sigma_px=elastic_sigma_px, grow_px=grow_px, brightness=brightness, keys=keys,
    )  # fmt: skip
    _check_donors(donor_grey, donor_alpha, donor_starts, donor_sizes, which)
    spacing, border, nodes, node_starts, lattice = lattices(
        donor_sizes, which, inverse, elastic_amplitude_px, elastic_sigma_px, keys, slots
    )
    out, rows = xp.empty((2, int(starts[-1])), np.float32), row_starts(windows)
    check_patches(out[0], windows, starts)
    launch(
        _warp_cpu, _warp_gpu, out.shape[1], out, rows, donor_grey, donor_alpha, donor_starts,
        donor_sizes, which, inverse, spacing, border, nodes, node_starts, lattice, brightness,
        windows, starts,
    )  # fmt: skip
    alpha = out[0]
    if grow_px.any():
        alpha = xp.empty_like(out[0])
        launch(_grow_cpu, _grow_gpu, alpha.size, alpha, out[0], windows, starts, rows, grow_px)
    return alpha, out[1]


def _check_donors(grey: Any, alpha: Any, starts: Any, sizes: Any, which: Any) -> None:
    if grey.ndim != 1 or grey.shape != alpha.shape or not grey.dtype == alpha.dtype == np.float32:
        raise ValueError(f"donor grey {grey.shape} and alpha {alpha.shape} are flat float32 alike")
    pixels, ends, chosen = on_host(sizes).astype(np.int64), on_host(starts), on_host(which)
    if ends[0] != 0 or ends[-1] != grey.size or (np.diff(ends) != pixels.prod(1)).any():
        raise ValueError(f"donors of sizes {pixels.tolist()} do not fill {grey.size} pixels")
    if (pixels < 1).any():
        raise ValueError(f"donors must have pixels, sizes are {pixels.tolist()}")
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < len(pixels):
        raise ValueError(f"donors {chosen.min()}..{chosen.max()} are not in [0, {len(pixels)})")


@body
def _feather_at(s, first, last, out, alpha, squared, width_px):
    """alpha times a smoothstep of the distance to the edge, half a pixel off the last centre."""
    if width_px[s] > float32(0):
        for k in range(uint64(first), uint64(last)):
            t = (sqrt(float32(squared[k])) - float32(0.5)) / width_px[s]
            t = min(max(t, float32(0)), float32(1))
            out[k] = alpha[k] * t * t * (float32(3) - float32(2) * t)
    else:
        for k in range(uint64(first), uint64(last)):
            out[k] = alpha[k]


@loop
def _feather_cpu(out, alpha, squared, starts, width_px):
    for s in prange(width_px.size):
        _feather_at(s, starts[s], starts[s + 1], out, alpha, squared, width_px)


@cuda.jit
def _feather_gpu(out, alpha, squared, starts, width_px):
    i = cuda.grid(1)
    if i < out.size:
        _feather_at(patch_of(starts, i), i, i + 1, out, alpha, squared, width_px)


def feather(alpha: Any, windows: Any, starts: Any, width_px: Any) -> Any:
    """Patches whose edge is softened inwards over width_px (patch,) float32; 0 leaves them.

    alpha is multiplied by a smooth ramp, 0 where alpha < 0.5, 1 from width_px inside the edge on.
    Flat float32 on the side of `alpha`. Labels are made from the alpha before.
    """
    check_rows(windows.shape[0], width_px=width_px)
    squared = squared_px(alpha, windows, starts)
    out = xp_of(alpha).empty_like(alpha)
    launch(_feather_cpu, _feather_gpu, out.size, out, alpha, squared, starts, width_px)
    return out


def extend_grey(grey: Any, alpha: Any) -> Any:
    """A donor's `grey` (y, x) with each pixel of alpha < 0.5 replaced by the nearest opaque one's.

    On the host, once a donor: without it, edges of warped and grown cut-outs would mix in what lay
    around the object. Raises ValueError for a donor with no opaque pixel.
    """
    from scipy.ndimage import distance_transform_edt

    if grey.shape != alpha.shape or grey.ndim != 2:
        raise ValueError(f"grey {grey.shape} and alpha {alpha.shape} are (y, x) alike")
    clear = alpha < COVERED
    if clear.all():
        raise ValueError(f"a donor {alpha.shape} has no pixel with alpha of at least {COVERED}")
    nearest = distance_transform_edt(clear, return_distances=False, return_indices=True)
    return grey[tuple(nearest)]
