"""Apodisation: what a scanner's filter makes of the edges of k-space, so that edges ring less."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from voxelmill.kernels.kspace import frequencies

WINDOWS = ("none", "tukey", "hamming", "fermi")


def window(n: int, matrix: Any, kind: Sequence[str], width: Any) -> Any:
    """Weights along an axis: (sample, n) float32, 1 at frequency 0.

    With u = |frequency| / (matrix / 2), of each sample its kind: "tukey" is 1 up to u = 1 - width,
    then falls as a cosine to 0 at u = 1; "hamming" 0.54 + 0.46 cos(pi u), width unused; "fermi"
    1 / (1 + exp((u - 1 + 4 width) / width)) over its value at 0.
    """
    u = np.abs(frequencies(n)) / (np.asarray(matrix)[:, None] / 2)
    rows = [_window(*of_sample) for of_sample in zip(u, kind, np.asarray(width), strict=True)]
    return np.stack(rows).astype(np.float32)


def _window(u: Any, kind: str, width: float) -> Any:
    if kind not in WINDOWS:
        raise ValueError(f"a window is one of {', '.join(WINDOWS)}, not {kind!r}")
    if kind == "none":
        return np.ones(u.shape)
    if kind == "hamming":
        return 0.54 + 0.46 * np.cos(np.pi * np.minimum(u, 1))
    if not 0 < width <= 1:
        raise ValueError(f"a {kind} window of width {width}: it must be above 0 and at most 1")
    if kind == "tukey":
        return (1 + np.cos(np.pi * np.clip((u - 1 + width) / width, 0, 1))) / 2
    return (1 + np.exp((4 * width - 1) / width)) / (1 + np.exp((u - 1 + 4 * width) / width))
