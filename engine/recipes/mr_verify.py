"""Rows of `voxelmill verify`: what whole samples of the MR recipes hold."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.verify.rows import Measured, Row

SNR = 40.0
_LEAST = 40  # voxels that a label's inside must have
_RAYLEIGH = 1.2533  # mean of the magnitude of noise of one, where there is nothing else
_COMMON = """
  scanner: {tesla: 3T, b1: 1, b1_rms: 0, b0_rms_hz: 0, bias_log_rms: 0}
  acquisition: {matrix: 0.8, partial_fourier: 1, window: hamming, bandwidth_hz: 100000,
    order: linear, motion_chance: 0, ghost_chance: 0, spike_chance: 0, snr: %g}
"""
_HEAD = """
recipe: labels_mr
count: 1
seed: 61
inputs: {maps: shipped, table: brain}
ranges:
  shape: [72, 96, 84]
  voxel_mm: [2.2, 2.2, 2.2]
  slices: {thickness_mm: 1, spacing: 1}
  intensities: {gamma_log_sd: 0, bias_log_rms: 0, background_chance: 0, background_dim_chance: 0}
"""
_SMALL = ("shape=[40, 54, 46]", "voxel_mm=[4, 4, 4]", "bend.spacing_mm=40", "mode=physics")
_T1W = ("shares=true", "mode=physics", "families=t1_spin_echo")
_THIGH = """
recipe: thigh_mr
count: 1
seed: 62
inputs: {maps: none, people: 10}
ranges:
  shape: [3, 132, 204]
  voxel_mm: [6, 2, 2]
  anatomy: {choice: {procedural: 1, maps: 0}}
  shares: true
  muscles: true
  b1_dip: 0
  thigh: {legs: both, fat_mm: 18, muscle_fat: 0, infiltration: 0}
"""
# a family, and tissues from bright to dark as radiologists see them
HEAD_ORDERS = {
    "mprage": ("white matter", "grey matter", "csf"),
    "t1_spin_echo": ("white matter", "grey matter", "csf"),
    "t1_spoiled_echo": ("white matter", "grey matter", "csf"),
    "t2_fse": ("csf", "grey matter", "white matter"),
    "pd_fse": ("grey matter", "white matter"),
    "flair": ("grey matter", "csf"),
    "double_inversion": ("grey matter", "white matter"),
    "balanced": ("csf", "grey matter"),
}
_FAT, _MUSCLE, _BONE = "subcutaneous fat", "skeletal muscle", "cortical bone"
THIGH_ORDERS = {
    "t1w": (_FAT, _MUSCLE, _BONE),
    "t1w_fse": (_FAT, _MUSCLE, _BONE),
    "t2w": (_FAT, _MUSCLE, _BONE),
    "pd": (_FAT, _MUSCLE, _BONE),
    "stir": (_MUSCLE, _BONE),
    "fat_suppressed": (_MUSCLE, _FAT),
    "water_suppressed": (_FAT, _MUSCLE),
    "in_phase": (_FAT, _MUSCLE, _BONE),
    "dixon_water": (_MUSCLE, _FAT),
    "dixon_fat": (_FAT, _MUSCLE),
}


@lru_cache(maxsize=1)  # rows that look at one sample come after each other
def _sample(spec: str, *settings: str) -> tuple[Any, Any, dict[str, Any]]:
    """Inputs, draw and arrays (without the sample axis) of the one sample of a spec."""
    from voxelmill.engine.mill import draw_batch, render_batch
    from voxelmill.engine.plan import open_plan

    plan = open_plan(spec + _COMMON.lstrip("\n") % SNR, [f"ranges.{s}" for s in settings])
    job = plan.job("")
    drawn = draw_batch(job, [0])
    made = render_batch(job, drawn)
    arrays = {name: array[0] for name, array in made.items() if not hasattr(array, "starts")}
    return plan, drawn[0], arrays


def _head(*settings: str) -> tuple[Any, Any, NDArray[Any], NDArray[np.float64]]:
    """Label table, drawn numbers, the row of each voxel and the image of a head."""
    from voxelmill.engine.recipes import mr_body
    from voxelmill.kernels import shares

    plan, one, arrays = _sample(_HEAD, *settings)
    ranges, inputs = plan.spec.ranges, plan.inputs
    grid = mr_body.Grid(ranges.shape, ranges.voxel_mm, (ranges.parts,) * 3)
    bend = mr_body.bend_displacement(ranges.bend, grid, one.params, one.stream)
    body = inputs.maps.map(one.params.input)
    fine = mr_body.fine_labels(grid, one.params, body.rows, body.voxel_mm, bend)
    count = len(inputs.maps.label_table)
    rows = shares.largest(fine, np.arange(count, dtype=np.uint8), count, grid.fine)[0]
    return inputs.maps.label_table, one.params, rows, arrays["image"].astype(np.float64)


def _inside(rows: NDArray[Any], group: Sequence[int], block: tuple[int, int, int]) -> Any:
    from scipy.ndimage import binary_erosion

    return binary_erosion(np.isin(rows, group), np.ones(block, bool))


def _worst(
    image: NDArray[np.float64],
    rows: NDArray[Any],
    labels: NDArray[np.float64],
    unit: float,
    block: tuple[int, int, int],
) -> Measured:
    """The largest deviation of a mean inside labels of one mean and sd, in standard errors.

    labels: (row, 2). unit: signal over noise is SNR of it. Magnitudes of noisy signals are a little
    too high (Rice), by what the noise of the air outside says.
    """
    air = _inside(rows, [0], block)
    noise = image[air].mean() / _RAYLEIGH if air.any() else 0.0
    worst, groups = 0.0, 0
    for mean, sd in np.unique(labels, axis=0):
        alike = np.flatnonzero((labels == [mean, sd]).all(1))
        inside = _inside(rows, alike.tolist(), block)
        if inside.sum() < _LEAST or mean < 6 * noise:
            continue
        expected = mean + noise**2 / (2 * mean)
        error = np.hypot(unit / SNR, sd) / np.sqrt(inside.sum())
        worst, groups = max(worst, abs(image[inside].mean() - expected) / error), groups + 1
    if not groups:
        raise ValueError("no label has an inside")
    return Measured(worst, 0, 3, f"largest deviation of {groups} means, in standard errors")


def _head_means(*settings: str) -> Measured:
    _, params, rows, image = _head(*settings)
    labels = params.labels[:, 2:]
    unit = 1.0 if params.mode == 0 else labels[:, 0].max()
    return _worst(image, rows, labels, unit, (5, 7, 7))


def _thigh_means(name: str) -> Measured:
    from voxelmill.engine.recipes.thigh_ranges import CONTRASTS

    _, one, arrays = _sample(_THIGH)
    labels = one.params.labels
    image = arrays["image"][CONTRASTS.index(name)].astype(np.float64)
    of_contrast = labels[labels[:, 0] == CONTRASTS.index(name)][:, 3:]
    return _worst(image, arrays["muscle"], of_contrast, 1.0, (1, 7, 7))


def _shown(image: Any, rows: Any, tissues: Sequence[str], name: str, block: Any) -> float:
    """The mean inside a tissue."""
    group = [i for i, tissue in enumerate(tissues) if tissue == name]
    inside = _inside(rows, group, block)
    return float(image[inside].mean())


def _order(means: Sequence[float], names: Sequence[str]) -> Measured:
    shown = " > ".join(f"{n} {m:.3f}" for n, m in zip(names, means, strict=True))
    return Measured(int((np.diff(means) >= 0).sum()), 0, 0, f"pairs in another order: {shown}")


def _head_order(family: str) -> Measured:
    names = HEAD_ORDERS[family]
    table, _, rows, image = _head(*_SMALL, f"families={family}")
    return _order([_shown(image, rows, table.tissues, n, (1, 1, 1)) for n in names], names)


def _thigh_order(name: str) -> Measured:
    from voxelmill.engine.recipes.thigh_ranges import CONTRASTS

    names, (plan, _, arrays) = THIGH_ORDERS[name], _sample(_THIGH)
    image, tissues = arrays["image"][CONTRASTS.index(name)], plan.inputs.label_table.tissues
    means = [
        _shown(image.astype(np.float64), arrays["muscle"], tissues, n, (1, 1, 1)) for n in names
    ]
    return _order(means, names)


def _hard(spec: str, *settings: str) -> Measured:
    _, _, arrays = _sample(spec, *settings)
    shares = arrays["shares"].astype(np.float64)
    wrong = int((shares.argmax(0) != arrays["label"]).sum())
    off = float(np.abs(shares.sum(0) - 1).max())
    return Measured(wrong + (off > 3e-3), 0, 0, "voxels of another class than the largest share")


def head_rows() -> list[Row]:
    """Of `labels_mr`."""
    proves = "inside labels the image has the mean of the table, within 3 standard errors"
    return [
        Row("labels_mr.mean_physics", "a head that is bent, of T1-weighted spin echoes", proves,
            partial(_head_means, *_T1W)),
        _hard_row("labels_mr", _HEAD, *_T1W),
        Row("labels_mr.mean_random", "a head that is bent, of random contrast", proves,
            partial(_head_means, "mode=random")),
        *(Row(f"labels_mr.order_{name}", f"a head by {name}: {' > '.join(names)}",
              "its image is as radiologists see it", partial(_head_order, name))
          for name, names in HEAD_ORDERS.items()),
    ]  # fmt: skip


def thigh_rows() -> list[Row]:
    """Of `thigh_mr`."""
    means = [
        Row(f"thigh_mr.mean_{name}", f"a thigh that is bent, {name}",
            "inside labels the image has the mean of the table, within 3 standard errors",
            partial(_thigh_means, name))
        for name in ("t1w", "in_phase", "dixon_water")
    ]  # fmt: skip
    orders = [
        Row(f"thigh_mr.order_{name}", f"a thigh, {name}: {' > '.join(names)}",
            "its image is as radiologists see it", partial(_thigh_order, name))
        for name, names in THIGH_ORDERS.items()
    ]  # fmt: skip
    return [*means, *orders, _hard_row("thigh_mr", _THIGH)]


def _hard_row(recipe: str, spec: str, *settings: str) -> Row:
    return Row(
        f"{recipe}.hard_labels", "the labels and shares of a sample",
        "a voxel's label is the class with the largest share, and shares sum to 1",
        partial(_hard, spec, *settings),
    )  # fmt: skip
