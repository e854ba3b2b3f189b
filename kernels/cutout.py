"""Cut-outs of donor images: affine and elastic warp, grown or shrunk alpha, feathered edges.

A donor is a grey and an alpha image, float32; donors lie flat one after another.
"""

from math import floor, sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, prange

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.distance import COVERED, squared_px
from voxelmill.kernels.elastic import lattices, shift_at
from voxelmill.kernels.tiles import (
    check_patches,
    check_rows,
    on_host,
    patch_of,
    place_of,
    row_starts,
)


@body
def _bilinear(image, first, height, width, y, x, zero_outside):
    """`image` at pixel centres' coordinates (y, x); beyond it zero, or else its nearest pixel."""
    iy, ix = int(floor(y)), int(floor(x))
    ty, tx = y - float32(iy), x - float32(ix)
    total = float32(0)
    for corner in range(4):
        cy, cx = iy + corner // 2, ix + corner % 2
        weight_y = ty if corner // 2 else float32(1) - ty
        weight_x = tx if corner % 2 else float32(1) - tx
        inside = 0 <= cy < height and 0 <= cx < width
        if inside or not zero_outside:
            cy, cx = min(max(cy, 0), height - 1), min(max(cx, 0), width - 1)
            total += weight_y * weight_x * image[first + cy * width + cx]
    return total


@body
def _warp_at(
    s, y, x0, x1, out, grey, alpha, donor_starts, donor_sizes, which, inverse, spacing, border,
    nodes, node_starts, lattice, brightness, windows, starts,
):  # fmt: skip
    """Pixels x0..x1 of row y of patch s: alpha into out[0], texture into out[1]."""
    donor, half = which[s], float32(0.5)
    height, width = donor_sizes[donor, 0], donor_sizes[donor, 1]
    rows, columns = lattice[s, 0], lattice[s, 1]
    place = starts[s] + y * windows[s, 3]
    out_y = float32(windows[s, 0] + y) + half
    for x in range(x0, x1):
        out_x = float32(windows[s, 1] + x) + half
        q_y = inverse[s, 0, 0] * out_y + inverse[s, 0, 1] * out_x + inverse[s, 0, 2]
        q_x = inverse[s, 1, 0] * out_y + inverse[s, 1, 1] * out_x + inverse[s, 1, 2]
        if rows:
            at_y, at_x = (q_y + border[s]) / spacing[s], (q_x + border[s]) / spacing[s]
            dy, dx = shift_at(at_y, at_x, nodes, node_starts[s], rows, columns)
            q_y, q_x = q_y + dy, q_x + dx
        q_y, q_x, first = q_y - half, q_x - half, donor_starts[donor]
        out[0, place + x] = _bilinear(alpha, first, height, width, q_y, q_x, True)
        shade = _bilinear(grey, first, height, width, q_y, q_x, False)
        out[1, place + x] = brightness[s] * shade


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
    line, own = out[row + x0 : row + x1], alpha[row + x0 : row + x1]
    for k in range(x1 - x0):
        line[k] = own[k]
    radius, shrinks = abs(grow_px[s]), grow_px[s] < float32(0)
    reach = int(radius)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if float32(dy * dy + dx * dx) > radius * radius:
                continue
            first, last = max(x0, -dx), min(x1, width - dx)
            if not 0 <= y + dy < height or first >= last:
                first, last = x1, x1
            there = row + dy * width + dx
            if shrinks:
                for k in range(first - x0):
                    line[k] = float32(0)
                for k in range(last - x0, x1 - x0):
                    line[k] = float32(0)
            if first < last:
                source, target = alpha[there + first : there + last], line[first - x0 : last - x0]
                if shrinks:
                    for k in range(last - first):
                        target[k] = min(target[k], source[k])
                else:
                    for k in range(last - first):
                        target[k] = max(target[k], source[k])


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
        for k in range(first, last):
            t = (sqrt(float32(squared[k])) - float32(0.5)) / width_px[s]
            t = min(max(t, float32(0)), float32(1))
            out[k] = alpha[k] * t * t * (float32(3) - float32(2) * t)
    else:
        for k in range(first, last):
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
