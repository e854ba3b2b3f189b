"""kernels/cutout.py once more in obvious NumPy, in double precision, a pixel at a time."""

from math import floor

import numpy as np
from reference import distance, elastic
from reference.tiles import patches


def bilinear(image, y, x, zero_outside):
    """At pixel indices (y, x)."""
    height, width = image.shape
    total = 0.0
    for cy in (floor(y), floor(y) + 1):
        for cx in (floor(x), floor(x) + 1):
            inside = 0 <= cy < height and 0 <= cx < width
            value = image[min(max(cy, 0), height - 1), min(max(cx, 0), width - 1)]
            if inside or not zero_outside:
                total += (1 - abs(y - cy)) * (1 - abs(x - cx)) * float(value)
    return total


def sampled(
    donors, which, inverse, amplitude_px, sigma_px, brightness, keys, slots, windows, starts
):
    """(2, pixels): alpha and texture before the alpha grows; donors are (grey, alpha) pairs."""
    out = np.zeros((2, starts[-1]), np.float32)
    for s, (y0, x0, height, width) in enumerate(windows):
        grey, alpha = donors[which[s]]
        spacing, border, lattice = elastic.tables(
            grey.shape, inverse[s], amplitude_px[s], sigma_px[s]
        )
        nodes = elastic.nodes(lattice, inverse[s], amplitude_px[s], keys[s], slots[s])
        for y in range(height):
            for x in range(width):
                q = inverse[s].astype(float) @ (y0 + y + 0.5, x0 + x + 0.5, 1.0)
                q = q + elastic.shift(*((q + border) / spacing), nodes) - 0.5
                place = starts[s] + y * width + x
                out[0, place] = bilinear(alpha, *q, True)
                out[1, place] = brightness[s] * bilinear(grey, *q, False)
    return out


def grow(alpha, windows, starts, grow_px):
    """The greatest (or least) value within a disc, zero outside the patch."""
    out = np.zeros_like(alpha)
    for s, (patch, made) in enumerate(
        zip(patches(alpha, windows, starts), patches(out, windows, starts), strict=True)
    ):
        radius = abs(float(grow_px[s]))
        reach = floor(radius)
        wide = np.pad(patch, reach)
        for y in range(patch.shape[0]):
            for x in range(patch.shape[1]):
                disc = [
                    wide[y + reach + dy, x + reach + dx]
                    for dy in range(-reach, reach + 1)
                    for dx in range(-reach, reach + 1)
                    if dy * dy + dx * dx <= radius * radius
                ]
                made[y, x] = min(disc) if grow_px[s] < 0 else max(disc)
    return out


def feather(alpha, windows, starts, width_px):
    """alpha times a smoothstep of the distance to the edge over width_px."""
    edge = np.sqrt(distance.squared_px(alpha, windows, starts).astype(float)) - 0.5
    width = np.repeat(width_px.astype(float), np.diff(starts))
    t = np.clip(edge / np.where(width > 0, width, 1), 0, 1)
    return np.where(width > 0, alpha * t**2 * (3 - 2 * t), alpha).astype(np.float32)
