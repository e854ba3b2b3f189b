"""Contrast by physics: what tissues show under a protocol, as pools that are acquired apart."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import inner_loop, protocols
from voxelmill.engine.label_table import LabelTable
from voxelmill.engine.recipes.mr_scan import Scene, b1_steps, look_up
from voxelmill.engine.tissues import AT, FAT, FAT_LIKE, POOLS, WATER, WATER_LIKE, Tissues

B0_BINS = 1024  # of balanced echoes, over 2 / TR


def tissue_of_row(tissues: Tissues, table: LabelTable) -> NDArray[np.int64]:
    """(label,) the number of each label's tissue."""
    names = list(tissues.by_name)
    return np.array([names.index(t) for t in table.tissues])


def pools_of(
    scene: Scene,
    row: protocols.Row,
    drawn: NDArray[np.float64],
    tissues: Tissues,
    table: LabelTable,
) -> tuple[NDArray[np.complex64], NDArray[np.float64] | None]:
    """`physics_pools` and `trains_of` one contrast; fluids are a pool of their own in trains.

    drawn: the values of `tissues` in this sample.
    """
    of_row = tissue_of_row(tissues, table)
    fluids = drawn[of_row, AT["t2_ms"]] > protocols.FLUID_T2_MS
    like = _train_tissues(tissues, table, drawn, of_row[fluids])
    trains = trains_of(scene, row, drawn, of_row, like)
    apart = fluids if trains is not None and len(trains) > 2 else None
    spectra = [t.spectrum for t in tissues]
    return physics_pools(scene, row, drawn, of_row, spectra, apart), trains


def _train_tissues(
    tissues: Tissues, table: LabelTable, drawn: NDArray[np.float64], fluids: NDArray[np.int64]
) -> list[int]:
    """After which tissue each pool's echo train is modelled: the brain's, or the body's; of fluids
    that of the longest T2, if there are any."""
    names = list(tissues.by_name)
    water = "white matter" if "white matter" in table.tissues else WATER_LIKE
    longest = fluids[np.argsort(drawn[fluids, AT["t2_ms"]])][-1:].tolist()
    return [names.index(water), names.index(FAT_LIKE), *longest]


def physics_pools(
    scene: Scene,
    row: protocols.Row,
    tissues: NDArray[np.float64],
    tissue_of_row: NDArray[np.int64],
    spectra: Sequence[str],
    fluid_rows: NDArray[np.bool_] | None = None,
) -> NDArray[np.complex64]:
    """Pools of one contrast by physics: signals of tissues, saturated where B0 allows it.

    fluid_rows: rows whose water is a third pool, which has an echo train of its own. Not of MPRAGE,
    which has pools of all water instead; `trains_of` weighs the lines of all.
    """
    from voxelmill.kernels import phase

    sequence = protocols.SEQUENCES[int(row["sequence"])]
    if sequence is protocols.BalancedEcho:
        return balanced_pools(scene, row, tissues, tissue_of_row, spectra)
    b1, bins = b1_steps(scene)
    signals = protocols.signals(row, tissues, spectra, b1, scene.tesla)[tissue_of_row]
    if sequence is protocols.Mprage:
        used = np.unique(tissue_of_row)
        parts = inner_loop.water_parts(row, tissues[used], b1)[0]
        parts = parts[np.searchsorted(used, tissue_of_row)]
        signals[..., 0] -= parts.sum(-1)
        signals = np.concatenate([signals, parts.astype(signals.dtype)], -1)
    elif fluid_rows is not None:
        apart = np.zeros_like(signals[..., :1])
        apart[fluid_rows] = signals[fluid_rows, :, :1]
        signals[fluid_rows, :, 0] = 0
        signals = np.concatenate([signals, apart], -1)
    pools = look_up(scene, signals, bins)
    for p in range(pools.shape[1]):
        pool = FAT if p == POOLS.index(FAT) else WATER
        left = protocols.suppression(row, pool, scene.b0_hz, scene.b1, scene.tesla)
        if left.ndim:
            pools[:, p] *= left
    if sequence in (protocols.SpoiledEcho, protocols.Mprage):
        phase.turn(pools, scene.b0_hz, np.array([row["te_ms"] / 1000], np.float32))
    return pools


def trains_of(
    scene: Scene,
    row: protocols.Row,
    tissues: NDArray[np.float64],
    tissue_of_row: NDArray[np.int64],
    like: Sequence[int],
) -> NDArray[np.float64] | None:
    """Weights (pool, echo) of the lines of `physics_pools`, 1 at the centre; None if all are.

    like: after which tissue water, fat (and fluid, if it has a pool) are modelled.
    """
    if protocols.SEQUENCES[int(row["sequence"])] is not protocols.Mprage:
        return protocols.t2_weights(row, tissues, like)
    used = tissues[np.unique(tissue_of_row)]
    return inner_loop.pulse_weights(row, used, b1_steps(scene)[0], tissues[like[1]])


def balanced_pools(
    scene: Scene,
    row: protocols.Row,
    tissues: NDArray[np.float64],
    tissue_of_row: NDArray[np.int64],
    spectra: Sequence[str],
) -> NDArray[np.complex64]:
    """Pools of balanced echoes, with the bands where B0 is off by odd multiples of 1 / (2 TR).

    With the phase at TE = TR / 2 a signal repeats every 2 / TR of B0, and across a band it passes
    through zero in a straight line: a table over B0 is read linearly between its bins, one for each
    of a few values of B1, and between these goes their polynomial.
    """
    period_hz = 2000 / row["tr_ms"]
    step = period_hz / B0_BINS
    around = replace(scene, b1=np.mod(scene.b0_hz, np.float32(period_hz)))
    off_hz = step * np.arange(B0_BINS + 1, dtype=np.float64)
    low, high = float(scene.b1.min()), float(scene.b1.max())
    nodes = np.linspace(low, high, 3 + ceil(2 * (high - low)) if high - low > 1e-4 else 1)
    pools: Any = 0
    for k, node in enumerate(nodes):
        b1 = np.full(off_hz.shape, node)
        signals = protocols.signals(row, tissues, spectra, b1, scene.tesla, off_hz)[tissue_of_row]
        made, weight = look_up(around, signals, (0.0, step)), np.ones((1, 1, 1, 1), np.float32)
        for other in np.delete(nodes, k).tolist():
            weight = weight * ((scene.b1 - np.float32(other)) / np.float32(node - other))
        made *= weight[:, None]
        pools = made + pools
    return np.asarray(pools)
