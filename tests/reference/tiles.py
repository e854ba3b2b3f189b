"""kernels/tiles.py once more in obvious NumPy, and patches to try kernels with."""

import numpy as np


def touched(windows, samples, canvas_shape, batch, tile=(32, 32)):
    """A tile is touched by the patches whose pixels lie in it."""
    height, width = canvas_shape
    tiles, item_starts, items = [], [0], []
    for n in range(batch):
        for ty in range(0, height, tile[0]):
            for tx in range(0, width, tile[1]):
                here = []
                for s, (y0, x0, h, w) in enumerate(windows):
                    ys = [y for y in range(y0, y0 + h) if ty <= y < min(ty + tile[0], height)]
                    xs = [x for x in range(x0, x0 + w) if tx <= x < min(tx + tile[1], width)]
                    if samples[s] == n and ys and xs:
                        here.append(s)
                if here:
                    tiles.append((n, ty, tx))
                    items.extend(here)
                    item_starts.append(len(items))
    return (
        np.array(tiles, np.int32).reshape(-1, 3),
        np.array(item_starts, np.int64),
        np.array(items, np.int32),
    )


def patches(flat, windows, starts):
    """Each patch as a (height, width) view of `flat`."""
    return [
        flat[starts[s] : starts[s + 1]].reshape(windows[s, 2], windows[s, 3])
        for s in range(len(windows))
    ]


def on_canvas(patch, window, canvas_shape, nothing=0):
    """A patch laid on a canvas of `nothing`; what sticks out is cut off."""
    canvas = np.full(canvas_shape, nothing, patch.dtype)
    for y in range(patch.shape[0]):
        for x in range(patch.shape[1]):
            if 0 <= window[0] + y < canvas_shape[0] and 0 <= window[1] + x < canvas_shape[1]:
                canvas[window[0] + y, window[1] + x] = patch[y, x]
    return canvas


def random_patches(seed, samples, canvas_shape, largest=(9, 12)):
    """Windows, starts and coverage for `samples` (ascending): discs and noise, some with no pixel,
    some that stick out of the canvas.
    """
    random = np.random.default_rng(seed)
    windows = np.zeros((len(samples), 4), np.int32)
    covers = [np.empty(0, np.float32)]
    for s in range(len(samples)):
        h, w = random.integers(0 if s % 4 == 3 else 1, np.array(largest) + 1)
        y0 = random.integers(-h, canvas_shape[0] + 1)
        x0 = random.integers(-w, canvas_shape[1] + 1)
        windows[s] = y0, x0, h, w
        y, x = np.mgrid[:h, :w]
        inside = np.hypot((y + 0.5) / h - 0.5, (x + 0.5) / w - 0.5) if h and w else np.zeros((h, w))
        cover = np.clip((0.5 - inside) * random.uniform(2, 9), 0, 1)
        if s % 3 == 1:
            cover = np.where(random.random((h, w)) < 0.3, random.random((h, w)), cover)
        covers.append(cover.astype(np.float32).ravel())
    starts = np.concatenate([[0], np.cumsum(windows[:, 2].astype(np.int64) * windows[:, 3])])
    return windows, starts.astype(np.int64), np.concatenate(covers)
