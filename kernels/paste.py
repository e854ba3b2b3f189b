"""Composition of layers on backgrounds: soft edges, Beer-Lambert attenuation, z-order, opacity.

A later way of blending (Poisson, optical depths of an X-ray spectrum) belongs here as another
function from patches to patches, or as another update of `v` beside the one in `_compose_at`.
"""

from math import exp
from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint64

from voxelmill.kernels.device import body, launch, loop, xp_of
from voxelmill.kernels.tiles import (
    check_patches,
    check_rows,
    on_host,
    patch_of,
    place_of,
    row_starts,
    strip,
    touched,
)

REACH = 4  # a Gaussian is cut off at this many sigma: 6e-5 of it lies beyond


@body
def _blur_at(s, y, x0, x1, out, values, windows, starts, weights, weight_starts, down):
    """Pixels x0..x1 of row y: a weighted sum along the row, or along the column if `down`."""
    height, width = windows[s, 2], windows[s, 3]
    row = starts[s] + y * width
    target = uint64(row + x0)
    for k in range(uint64(x1 - x0)):
        out[target + k] = float32(0)
    radius = (weight_starts[s + 1] - weight_starts[s]) // 2
    for tap in range(-radius, radius + 1):
        weight = weights[weight_starts[s] + radius + tap]
        if down:
            first, last, there = x0, x1, row + tap * width
            if not 0 <= y + tap < height:
                continue
        else:
            first, last, there = max(x0, -tap), min(x1, width - tap), row + tap
        if first < last:
            target, source = uint64(row + first), uint64(there + first)
            for k in range(uint64(last - first)):
                out[target + k] += weight * values[source + k]


@loop
def _blur_cpu(out, values, windows, starts, rows, weights, weight_starts, down):
    for r in prange(rows[rows.size - 1]):
        s = patch_of(rows, r)
        y, width = r - rows[s], windows[s, 3]
        _blur_at(s, y, 0, width, out, values, windows, starts, weights, weight_starts, down)


@cuda.jit
def _blur_gpu(out, values, windows, starts, rows, weights, weight_starts, down):
    i = cuda.grid(1)
    if i < out.size:
        s, y, x = place_of(i, windows, starts)
        _blur_at(s, y, x, x + 1, out, values, windows, starts, weights, weight_starts, down)


def gaussian_weights(sigma_px: Any) -> tuple[Any, Any]:
    """Weights of a Gaussian for each sigma, cut off at ceil(4 sigma) pixels, with sum 1.

    Returns flat float32 weights and their starts (patch + 1,) int64, on the host.
    """
    radius = np.ceil(REACH * sigma_px.astype(np.float64)).astype(np.int64)
    starts = np.zeros(radius.size + 1, np.int64)
    np.cumsum(2 * radius + 1, out=starts[1:])
    x = np.arange(starts[-1]) - np.repeat(starts[:-1] + radius, 2 * radius + 1)
    sigma = np.repeat(np.where(sigma_px > 0, sigma_px, 1).astype(np.float64), 2 * radius + 1)
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    if radius.size:
        weights /= np.repeat(np.add.reduceat(weights, starts[:-1]), 2 * radius + 1)
    return weights.astype(np.float32), starts


def soften(coverage: Any, windows: Any, starts: Any, sigma_px: Any) -> Any:
    """Patches blurred by a Gaussian of sigma_px (patch,) float32; sigma 0 copies.

    Beyond a patch is zero: give windows a margin of ceil(4 sigma). Flat float32 on the side of
    `coverage`.
    """
    check_patches(coverage, windows, starts)
    check_rows(windows.shape[0], sigma_px=sigma_px)
    sigma = on_host(sigma_px)
    if not (np.isfinite(sigma) & (sigma >= 0)).all():
        raise ValueError(f"sigma_px must be finite and at least 0, not {sigma}")
    xp, rows = xp_of(coverage), row_starts(windows)
    weights, weight_starts = (xp.asarray(array) for array in gaussian_weights(sigma))
    half, out = xp.empty_like(coverage), xp.empty_like(coverage)
    shared = (windows, starts, rows, weights, weight_starts)
    launch(_blur_cpu, _blur_gpu, out.size, half, coverage, *shared, False)
    launch(_blur_cpu, _blur_gpu, out.size, out, half, *shared, True)
    return out


@body
def _attenuate_at(s, first, last, out, coverage, thickness, mu):
    for k in range(first, last):  # uint64 here makes vectors, and an exp for every empty pixel
        out[k] = float32(0)
        if coverage[k] > float32(0):
            out[k] = coverage[k] * (float32(1) - exp(-mu[s] * thickness[k]))


@loop
def _attenuate_cpu(out, coverage, thickness, starts, mu):
    for s in prange(mu.size):
        _attenuate_at(s, starts[s], starts[s + 1], out, coverage, thickness, mu)


@cuda.jit
def _attenuate_gpu(out, coverage, thickness, starts, mu):
    i = cuda.grid(1)
    if i < out.size:
        _attenuate_at(patch_of(starts, i), i, i + 1, out, coverage, thickness, mu)


def attenuate(coverage: Any, thickness: Any, starts: Any, mu: Any) -> Any:
    """The alpha of an absorbing body: coverage * (1 - exp(-mu * thickness)) (Beer-Lambert).

    coverage, thickness: flat float32, thickness 0..1; mu: (patch,) float32, the attenuation
    through the thickest place. Pasting it with grey g gives out = g - (g - b) exp(-mu t) where
    coverage is 1; for g = 255 that is I = I0 exp(-mu t) in a display of 255 minus transmission.
    """
    check_rows(starts.shape[0] - 1, mu=mu)
    if thickness.shape != coverage.shape or thickness.dtype != coverage.dtype:
        raise ValueError(
            f"thickness {thickness.shape} {thickness.dtype} does not fit coverage "
            f"{coverage.shape} {coverage.dtype}"
        )
    out = xp_of(coverage).empty_like(coverage)
    launch(_attenuate_cpu, _attenuate_gpu, out.size, out, coverage, thickness, starts, mu)
    return out


@body
def _compose_at(
    n, y, x0, x1, first, last, v, out, alpha, windows, starts, opacity, grey,
    textures, texture_starts, items, top,
):  # fmt: skip
    """Pixels x0..x1 of row y of sample n under layers items[first:last]; v is their scratch."""
    start, stop = x1, x0  # what any layer reaches
    for item in range(first, last):
        s = items[item]
        if 0 <= y - windows[s, 0] < windows[s, 2]:
            start = min(start, max(x0, windows[s, 1]))
            stop = max(stop, min(x1, windows[s, 1] + windows[s, 3]))
    if start >= stop:
        return
    begin, count = uint64(start), uint64(stop - start)
    for k in range(count):
        v[k] = float32(out[n, y, begin + k])
    for item in range(first, last):
        s = items[item]
        left = max(start, windows[s, 1])
        size = min(stop, windows[s, 1] + windows[s, 3]) - left
        if 0 <= y - windows[s, 0] < windows[s, 2] and size > 0:
            there = (y - windows[s, 0]) * windows[s, 3] + left - windows[s, 1]
            u, a = uint64(left - start), uint64(starts[s] + there)
            strength, g = opacity[s], grey[s]
            if texture_starts[s + 1] > texture_starts[s]:
                b = uint64(texture_starts[s] + there)
                for k in range(uint64(size)):
                    v[u + k] += alpha[a + k] * strength * (textures[b + k] - v[u + k])
            else:
                for k in range(uint64(size)):
                    v[u + k] += alpha[a + k] * strength * (g - v[u + k])
    if top > float32(0):
        for k in range(count):
            out[n, y, begin + k] = int32(min(max(v[k], float32(0)), top) + float32(0.5))
    else:
        for k in range(count):
            out[n, y, begin + k] = v[k]


@loop
def _compose_cpu(
    out, alpha, windows, starts, opacity, grey, textures, texture_starts,
    tiles, item_starts, items, tall, wide, top,
):  # fmt: skip
    for t in prange(tiles.shape[0]):
        v = np.empty(wide, np.float32)
        n, y0, x0 = tiles[t]
        x1 = min(x0 + wide, out.shape[2])
        for y in range(y0, min(y0 + tall, out.shape[1])):
            _compose_at(
                n, y, x0, x1, item_starts[t], item_starts[t + 1], v, out, alpha, windows, starts,
                opacity, grey, textures, texture_starts, items, top,
            )  # fmt: skip


@cuda.jit
def _compose_gpu(
    out, alpha, windows, starts, opacity, grey, textures, texture_starts,
    tiles, item_starts, items, tall, wide, top,
):  # fmt: skip
    i = cuda.grid(1)
    t = i // (tall * wide)
    if t < tiles.shape[0]:
        y, x = tiles[t, 1] + i // wide % tall, tiles[t, 2] + i % wide
        if y < out.shape[1] and x < out.shape[2]:
            v = cuda.local.array(1, float32)
            _compose_at(
                tiles[t, 0], y, x, x + 1, item_starts[t], item_starts[t + 1], v, out, alpha,
                windows, starts, opacity, grey, textures, texture_starts, items, top,
            )  # fmt: skip


_TOP = {"uint8": 255.0, "uint16": 65535.0, "float32": 0.0}  # 0: stored as it is


def compose(
    backgrounds: Any, choice: Any, alpha: Any, windows: Any, starts: Any, samples: Any,
    opacity: Any, grey: Any, textures: Any, texture_starts: Any, batch: int,
) -> Any:  # fmt: skip
    """Paste layers, in the order of their rows, on the background of each sample.

    backgrounds: (film, y, x) uint8, uint16 or float32; choice: (batch,) int32, each sample's film.
    alpha, windows, starts, samples: the layers as patches, `samples` (layer,) int32.
    opacity, grey: (layer,) float32, opacity 0..1, grey in the unit of the backgrounds.
    textures, texture_starts: flat float32 and (layer + 1,) int64: grey by pixel for the layers
    whose range is not empty, which then is as long as the patch; both None if there is none.

    Each layer makes v + alpha * opacity * (g - v) of v, in single precision; integers are rounded
    half up and clamped once, at the end. Returns (batch, y, x) of the backgrounds' dtype, on their
    side; pixels outside all patches are copied bit for bit.
    """
    xp, layers = xp_of(backgrounds), windows.shape[0]
    check_patches(alpha, windows, starts)
    check_rows(layers, samples=samples, opacity=opacity, grey=grey)
    if texture_starts is None:
        textures, texture_starts = xp.empty(0, np.float32), xp.zeros(layers + 1, np.int64)
    _check_films(backgrounds, choice, batch)
    _check_textures(textures, texture_starts, starts)
    out = xp.take(backgrounds, choice, axis=0)
    tile = strip(out.shape[1:])
    tiles, item_starts, items = touched(windows, samples, out.shape[1:], batch, tile)
    count = tiles.shape[0] * tile[0] * tile[1]
    launch(
        _compose_cpu, _compose_gpu, count, out, alpha, windows, starts,
        opacity, grey, textures, texture_starts, tiles, item_starts, items, *tile,
        np.float32(_TOP[backgrounds.dtype.name]),
    )  # fmt: skip
    return out


def _check_films(backgrounds: Any, choice: Any, batch: int) -> None:
    if backgrounds.ndim != 3 or backgrounds.dtype.name not in _TOP:
        raise ValueError(
            f"backgrounds are (film, y, x) in one of {', '.join(_TOP)}, not {backgrounds.shape} "
            f"{backgrounds.dtype}"
        )
    if choice.shape != (batch,):
        raise ValueError(f"choice {choice.shape} must name a film for each of {batch} samples")
    films, chosen = backgrounds.shape[0], on_host(choice)
    if batch and not 0 <= chosen.min() <= chosen.max() < films:
        raise ValueError(f"films {chosen.min()}..{chosen.max()} are not in [0, {films})")


def _check_textures(textures: Any, texture_starts: Any, starts: Any) -> None:
    ends, patches = on_host(texture_starts), np.diff(on_host(starts))
    sizes = np.diff(ends)
    if ends.shape != starts.shape or ((sizes != 0) & (sizes != patches)).any():
        raise ValueError("a layer's range in texture_starts is empty or as long as its patch")
    if textures.ndim != 1 or textures.dtype != np.float32 or ends[-1] > textures.size:
        raise ValueError(
            f"textures are flat float32 up to {ends[-1]}, not {textures.shape} {textures.dtype}"
        )
