"""kernels/paste.py once more in obvious NumPy, in double precision until the end."""

from math import ceil

import numpy as np
from reference.tiles import on_canvas, patches


def gaussian(sigma_px):
    """Weights at -r..r, r = ceil(4 sigma)."""
    if sigma_px == 0:
        return np.ones(1)
    radius = ceil(4 * float(sigma_px))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / float(sigma_px)) ** 2)
    return weights / weights.sum()


def blur(values, windows, starts, sigma_px, axis):
    """Each patch convolved along one axis, zero outside."""
    out = np.zeros_like(values)
    for s, (patch, made) in enumerate(
        zip(patches(values, windows, starts), patches(out, windows, starts), strict=True)
    ):
        weights = gaussian(sigma_px[s])
        if patch.size:
            made[:] = np.apply_along_axis(
                lambda line, w=weights: np.convolve(line, w)[len(w) // 2 :][: len(line)],
                axis,
                patch.astype(float),
            )
    return out


def soften(coverage, windows, starts, sigma_px):
    return blur(blur(coverage, windows, starts, sigma_px, 1), windows, starts, sigma_px, 0)


def attenuate(coverage, thickness, starts, mu):
    mu_here = np.repeat(mu.astype(float), np.diff(starts))
    return (coverage * (1 - np.exp(-mu_here * thickness))).astype(np.float32)


def compose(
    backgrounds, choice, alpha, windows, starts, samples, opacity, grey, textures, texture_starts,
    batch,
):  # fmt: skip
    """Whole canvases, a layer at a time."""
    out = backgrounds[choice].astype(float)
    for s, patch in enumerate(patches(alpha, windows, starts)):
        canvas = out[samples[s]]
        a = on_canvas(patch, windows[s], canvas.shape).astype(float) * opacity[s]
        g = np.full(canvas.shape, grey[s], float)
        if texture_starts is not None and texture_starts[s + 1] > texture_starts[s]:
            texture = textures[texture_starts[s] : texture_starts[s + 1]].reshape(patch.shape)
            g = on_canvas(texture, windows[s], canvas.shape).astype(float)
        canvas += a * (g - canvas)
    if backgrounds.dtype == np.float32:
        return out.astype(np.float32)
    return np.clip(np.floor(out + 0.5), 0, np.iinfo(backgrounds.dtype).max).astype(
        backgrounds.dtype
    )
