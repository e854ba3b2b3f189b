"""kernels/label.py once more in obvious NumPy: one whole canvas a shape."""

import numpy as np
from reference.tiles import on_canvas, patches


def masks(coverage, windows, starts, canvas_shape):
    """(shape, y, x) bool: the whole mask of each shape on its canvas."""
    made = [
        on_canvas(patch, window, canvas_shape) >= 0.5
        for patch, window in zip(patches(coverage, windows, starts), windows, strict=True)
    ]
    return np.array(made, bool).reshape(-1, *canvas_shape)


def maps(coverage, windows, starts, samples, ids, classes, batch, canvas_shape):
    modal = np.zeros((batch, *canvas_shape), ids.dtype)
    amodal = np.zeros((batch, *canvas_shape), np.uint16)
    semantic = np.zeros((batch, *canvas_shape), np.uint8)
    for s, mask in enumerate(masks(coverage, windows, starts, canvas_shape)):
        modal[samples[s]][mask] = ids[s]
        semantic[samples[s]][mask] = classes[s]
        if ids[s] <= 16:
            amodal[samples[s]][mask] |= np.uint16(1 << (int(ids[s]) - 1))
    return modal, amodal, semantic


def box(mask):
    """y0, x0, y1, x1, half-open."""
    if not mask.any():
        return 0, 0, 0, 0
    ys, xs = np.nonzero(mask)
    return ys.min(), xs.min(), ys.max() + 1, xs.max() + 1


def measure(coverage, windows, starts, samples, ids, modal):
    whole = masks(coverage, windows, starts, modal.shape[1:])
    seen = whole & (modal[samples] == ids[:, None, None])
    return (
        np.array([box(mask) for mask in whole], np.int32).reshape(-1, 4),
        np.array([box(mask) for mask in seen], np.int32).reshape(-1, 4),
        whole.sum((1, 2), dtype=np.int64),
        seen.sum((1, 2), dtype=np.int64),
    )


def runs(coverage, windows, starts, canvas_shape):
    """COCO's way: down the columns, background first."""
    counts, run_starts = [], [0]
    for mask in masks(coverage, windows, starts, canvas_shape):
        value, length = False, 0
        for pixel in mask.T.ravel():
            if pixel != value:
                counts.append(length)
                value, length = pixel, 0
            length += 1
        counts.append(length)
        run_starts.append(len(counts))
    return np.array(counts, np.uint32), np.array(run_starts, np.int64)
