"""Tissues of the real image thigh/qmritools, by rules on its signal and its muscle labels.

Arrays are (z, y, x) in our frame; the labels' odd numbers are of the left leg, even ones of the
right. docs/proof_thigh.md states the rules.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Floats = NDArray[Any]

FEMURS = {"right": 104, "left": 103}
LAST_MUSCLE = 100  # numbers above are bones
FILLED = 0.6  # of the body, that labels fill in a slice that is scored
AIR = 0.1  # of the 99th percentile: below is air
FASCIA_MM = 21.0  # gaps up to twice this between a leg's labels are inside its fascia
SKIN_MM = 2.0
INSIDE_MM = 3.0  # marrow lies this deep in the femur's label
AROUND_MM = 15.0  # standard deviation of the muscle signal's average
FAT_SIGNAL = 0.4  # of the muscle around


def otsu(values: Floats) -> float:
    """The threshold that parts values into two groups that differ most (Otsu 1979).

    Midway between the two values that it lies between. Raises ValueError for fewer than two.
    """
    ordered = np.sort(np.asarray(values, float).ravel())
    if ordered.size < 2 or ordered[0] == ordered[-1]:
        raise ValueError(f"{ordered.size} values, which no threshold parts")
    low = np.arange(1, ordered.size)
    high = ordered.size - low
    sums = np.cumsum(ordered)[:-1]
    apart = sums / low - (ordered.sum() - sums) / high
    best = int(np.argmax(low * high * apart**2))
    return float(ordered[best] + ordered[best + 1]) / 2


def body_mask(image: Floats) -> Mask:
    """Each slice's body, holes filled."""
    level = AIR * np.percentile(image, 99)
    return np.stack([ndimage.binary_fill_holes(plane > level) for plane in image])


def slices_kept(labels: Floats, body: Mask) -> NDArray[np.int64]:
    """The longest run of slices whose labels fill enough of the body."""
    share = ((labels > 0) & body).sum((1, 2)) / np.maximum(body.sum((1, 2)), 1)
    runs, count = ndimage.label(share >= FILLED)
    if not count:
        raise ValueError(f"no slice has labels in {FILLED} of the body")
    longest = np.argmax(np.bincount(runs)[1:]) + 1
    return np.flatnonzero(runs == longest)


def leg_of(labels: Floats) -> dict[str, Mask]:
    """Where each leg's labels are nearer than the other's, in each slice."""
    far = []
    for rest in (0, 1):  # even is right
        own = (labels > 0) & (labels % 2 == rest)
        far.append(np.stack([ndimage.distance_transform_edt(~plane) for plane in own]))
    return {"right": far[0] <= far[1], "left": far[0] > far[1]}


def fascia(labels: Floats, plane_mm: float) -> Mask:
    """Inside of the fascia lata: each leg's labels, closed."""
    reach = int(np.ceil(FASCIA_MM / plane_mm))
    disc = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) <= FASCIA_MM / plane_mm
    inside = np.zeros(labels.shape, bool)
    for rest in (0, 1):
        own = (labels > 0) & (labels % 2 == rest)
        for z, plane in enumerate(own):
            closed = ndimage.binary_closing(np.pad(plane, reach), disc)
            inside[z] |= closed[reach:-reach, reach:-reach]
    return inside


def muscle_signal(image: Floats, muscle: Mask, plane_mm: float) -> Floats:
    """What muscle shows around each place of a slice, by which shading is divided out."""
    sd = (0, AROUND_MM / plane_mm, AROUND_MM / plane_mm)
    weight = ndimage.gaussian_filter(muscle.astype(np.float32), sd)
    total = ndimage.gaussian_filter(np.where(muscle, image, 0).astype(np.float32), sd)
    nowhere = weight < 1e-3
    far = float(np.median(image[muscle])) if muscle.any() else 1.0
    return np.where(nowhere, far, total / np.where(nowhere, 1, weight))


def bone(signal: Floats, femur: Mask, plane_mm: float) -> tuple[Mask, Mask]:
    """(cortex, marrow) of one femur in one slice, by a threshold inside its label.

    The threshold is Otsu's of what lies INSIDE_MM deep. Marrow is the largest piece above it
    there, holes filled; cortex is what is below it anywhere in the label. What is above it at the
    label's edge is neither: it holds muscle. Where nothing can be parted all is cortex.
    """
    deep = ndimage.distance_transform_edt(femur) * plane_mm > INSIDE_MM
    nothing = np.zeros_like(femur)
    try:
        level = otsu(signal[deep])
    except ValueError:
        return femur.copy(), nothing
    pieces, count = ndimage.label(deep & (signal > level))
    if not count:
        return femur.copy(), nothing
    largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    marrow = ndimage.binary_fill_holes(pieces == largest)
    return femur & (signal <= level) & ~marrow, marrow


def fat_mask(signal: Floats, inside: Mask, body: Mask, plane_mm: float) -> Mask:
    """Subcutaneous fat: outside the fascia, below the skin, and not dark."""
    deep = [ndimage.distance_transform_edt(plane) * plane_mm > SKIN_MM for plane in body]
    return np.stack(deep) & ~inside & (signal > FAT_SIGNAL)


def truth(image: Floats, labels: Floats, plane_mm: float) -> dict[str, Mask]:
    """muscle, femur, cortex, marrow and fat, by the rules above; voxels may be in none."""
    muscle = (labels > 0) & (labels <= LAST_MUSCLE)
    signal = image / muscle_signal(image, muscle, plane_mm)
    femur = np.isin(labels, list(FEMURS.values()))
    cortex, marrow = np.zeros_like(femur), np.zeros_like(femur)
    for value in FEMURS.values():
        for z, plane in enumerate(labels == value):
            if plane.any():
                found = bone(signal[z], plane, plane_mm)
                cortex[z] |= found[0]
                marrow[z] |= found[1]
    fat = fat_mask(signal, fascia(labels, plane_mm), body_mask(image), plane_mm)
    return {"muscle": muscle, "femur": femur, "cortex": cortex, "marrow": marrow, "fat": fat}
