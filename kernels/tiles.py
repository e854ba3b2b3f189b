"""Ragged work: which tiles of the canvases are touched by which patches, and who owns an element.

A patch is the pixel window of one shape: `windows` (patch, 4) int32 y0, x0, height, width, which
may stick out of the canvas, and `starts` (patch + 1,) int64 into a flat buffer of its pixels.

Inner loops of kernels along pixels count in uint64: a signed index is tested for wrap-around,
which keeps loops from vectors, and a slice counts a reference, over which threads then fight.
"""

from typing import Any

import numpy as np

from voxelmill.kernels.device import body, serial, xp_of

TILE = 32, 32  # height, width in pixels
STRIP_HEIGHT, STRIP_WIDTH = 16, 1024  # rows long enough for vectors, strips enough for threads


@body
def patch_of(starts, i):
    """The patch s with starts[s] <= i < starts[s + 1]; empty patches own nothing."""
    low, high = 0, starts.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if starts[middle] <= i:
            low = middle
        else:
            high = middle
    return low


@body
def place_of(i, windows, starts):
    """The patch, row and column of element `i` of a flat buffer."""
    s = patch_of(starts, i)
    k = i - starts[s]
    return s, k // windows[s, 3], k % windows[s, 3]


@serial
def _bin(windows, samples, height, width, batch, tall, wide):
    rows, columns = (height + tall - 1) // tall, (width + wide - 1) // wide
    spans = np.zeros((windows.shape[0], 4), np.int64)  # first and past-last tile row and column
    held = np.zeros(batch * rows * columns, np.int64)
    for s in range(windows.shape[0]):
        y0, x0 = max(windows[s, 0], 0), max(windows[s, 1], 0)
        y1 = min(windows[s, 0] + windows[s, 2], height)
        x1 = min(windows[s, 1] + windows[s, 3], width)
        if y0 < y1 and x0 < x1:
            spans[s] = y0 // tall, (y1 - 1) // tall + 1, x0 // wide, (x1 - 1) // wide + 1
        for ty in range(spans[s, 0], spans[s, 1]):
            for tx in range(spans[s, 2], spans[s, 3]):
                held[(samples[s] * rows + ty) * columns + tx] += 1
    count, total = np.count_nonzero(held), held.sum()
    tiles = np.empty((count, 3), np.int32)
    item_starts = np.zeros(count + 1, np.int64)
    items = np.empty(total, np.int32)
    t = 0
    for k in range(held.size):
        if held[k]:
            tiles[t, 0] = k // (rows * columns)
            tiles[t, 1], tiles[t, 2] = k // columns % rows * tall, k % columns * wide
            item_starts[t + 1] = item_starts[t] + held[k]
            held[k] = item_starts[t]  # from here on: where the tile's next item goes
            t += 1
    for s in range(windows.shape[0]):
        for ty in range(spans[s, 0], spans[s, 1]):
            for tx in range(spans[s, 2], spans[s, 3]):
                k = (samples[s] * rows + ty) * columns + tx
                items[held[k]] = s
                held[k] += 1
    return tiles, item_starts, items


def touched(
    windows: Any,
    samples: Any,
    canvas_shape: tuple[int, int],
    batch: int,
    tile: tuple[int, int] = TILE,
) -> tuple[Any, Any, Any]:
    """The tiles of `batch` canvases that patches touch, and the patches of each.

    windows: (patch, 4) int32; samples: (patch,) int32, the canvas of each patch, in [0, batch);
    canvas_shape, tile: height and width in pixels.
    Returns tiles (tile, 3) int32 (sample, y0, x0) in ascending order, item_starts (tile + 1,)
    int64 and items int32: tile t holds patches items[item_starts[t]:item_starts[t + 1]], in
    ascending order, which is their z-order. Made on the host, returned on the side of `windows`.
    """
    xp = xp_of(windows)
    windows, samples = on_host(windows), on_host(samples)
    if samples.shape != windows.shape[:1]:
        raise ValueError(f"{samples.shape} samples do not fit {windows.shape} windows")
    if samples.size and not 0 <= samples.min() <= samples.max() < batch:
        raise ValueError(
            f"samples {samples.min()}..{samples.max()} of patches are not in [0, {batch})"
        )
    made = _bin(windows, samples, *canvas_shape, batch, *tile)
    return made if xp is np else tuple(xp.asarray(array) for array in made)


def strip(canvas_shape: tuple[int, int]) -> tuple[int, int]:
    """The tile for kernels that go along rows: as wide as the canvas, up to `STRIP_WIDTH`."""
    return STRIP_HEIGHT, max(1, min(canvas_shape[1], STRIP_WIDTH))


def on_host(array: Any) -> Any:
    """`array` itself if it is NumPy's, else a copy of it: for small tables only."""
    return array if isinstance(array, np.ndarray) else array.get()


def row_starts(windows: Any) -> Any:
    """(patch + 1,) int64: rows of all patches before each patch; CPU loops go by rows."""
    xp = xp_of(windows)
    rows = xp.zeros(windows.shape[0] + 1, np.int64)
    xp.cumsum(windows[:, 2], out=rows[1:])
    return rows


def check_patches(flat: Any, windows: Any, starts: Any) -> None:
    """Raise ValueError unless `flat` is float32 and holds exactly the patches of `windows`."""
    patches = windows.shape[0]
    if windows.shape != (patches, 4) or windows.dtype != np.int32:
        raise ValueError(f"windows are (patch, 4) int32, not {windows.shape} {windows.dtype}")
    if starts.shape != (patches + 1,) or starts.dtype != np.int64:
        raise ValueError(f"starts are ({patches + 1},) int64, not {starts.shape} {starts.dtype}")
    if flat.ndim != 1 or flat.dtype != np.float32:
        raise ValueError(f"patches are one flat float32 buffer, not {flat.shape} {flat.dtype}")
    sizes, ends = on_host(windows), on_host(starts)
    pixels = sizes[:, 2].astype(np.int64) * sizes[:, 3]
    if ends[0] != 0 or ends[-1] != flat.size or (np.diff(ends) != pixels).any():
        raise ValueError(
            f"{patches} windows hold {pixels.sum()} pixels, starts end at {ends[-1]} and the "
            f"buffer has {flat.size}: they must agree patch by patch"
        )


def check_rows(patches: int, **columns: Any) -> None:
    """Raise ValueError, with its name, for a column that has not one row a patch."""
    for name, column in columns.items():
        if column.shape[:1] != (patches,):
            raise ValueError(f"{name} {column.shape} must have one row for each of {patches}")
