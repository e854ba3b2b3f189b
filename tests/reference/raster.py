"""kernels/raster.py once more: count sample points, `samples` x `samples` a pixel."""

from itertools import pairwise

import numpy as np


def rings_of(s, vertices, ring_starts, shape_starts):
    """The rings of shape s, each (n, 2) in double precision."""
    bounds = ring_starts[shape_starts[s] : shape_starts[s + 1] + 1]
    return [vertices[a:b].astype(float) for a, b in pairwise(bounds)]


def inside(rings, even_odd, y, x):
    """Which of the points (y[i], x[j]) are inside: count the edges to their left, by direction."""
    winding = np.zeros((len(y), len(x)), int)
    for ring in rings:
        for (ya, xa), (yb, xb) in zip(ring, np.roll(ring, -1, 0), strict=True):
            rows = (y >= min(ya, yb)) & (y < max(ya, yb))
            if not rows.any():
                continue
            crossing = xa + (xb - xa) * (y[rows] - ya) / (yb - ya)
            winding[rows] += np.where(x >= crossing[:, None], 1 if yb > ya else -1, 0)
    return winding % 2 == 1 if even_odd else winding != 0


def patch(rings, even_odd, window, samples):
    """(height, width): the share of the sample points of each pixel that are inside."""
    y0, x0, height, width = (int(n) for n in window)
    x = x0 + (np.arange(width * samples) + 0.5) / samples
    out = np.empty((height, width))
    for row in range(height):
        y = y0 + row + (np.arange(samples) + 0.5) / samples
        out[row] = inside(rings, even_odd, y, x).reshape(samples, width, samples).mean((0, 2))
    return out


def windows(vertices, ring_starts, shape_starts, canvas_shape, margin_px):
    """y0, x0, height, width of each shape's pixels, by marking them."""
    out = np.zeros((len(margin_px), 4), np.int32)
    for s, margin in enumerate(margin_px):
        points = np.concatenate(rings_of(s, vertices, ring_starts, shape_starts))
        low = np.floor(points.min(0)).astype(int) - margin
        high = np.ceil(points.max(0)).astype(int) + margin
        pixels = [
            [i for i in range(-margin, n + margin) if a <= i < b]
            for a, b, n in zip(low, high, canvas_shape, strict=True)
        ]
        on_canvas = (any(0 <= i < n for i in p) for p, n in zip(pixels, canvas_shape, strict=True))
        if all(on_canvas):
            out[s] = pixels[0][0], pixels[1][0], len(pixels[0]), len(pixels[1])
    return out


def coverage(vertices, ring_starts, shape_starts, even_odd, windows, starts, samples=256):
    """Flat float32 of all patches."""
    shapes = range(len(even_odd))
    patches = [
        patch(rings_of(s, vertices, ring_starts, shape_starts), even_odd[s], windows[s], samples)
        for s in shapes
    ]
    assert [p.size for p in patches] == np.diff(starts).tolist()
    return np.concatenate([p.ravel() for p in patches]).astype(np.float32)


def draw(canvas, samples, vertices, ring_starts, shape_starts, even_odd, points=256):
    """In place: the greater of the canvas and each shape's coverage of it."""
    for s, sample in enumerate(samples):
        rings = rings_of(s, vertices, ring_starts, shape_starts)
        cover = patch(rings, even_odd[s], (0, 0, *canvas.shape[1:]), points)
        canvas[sample] = np.maximum(canvas[sample], cover)
