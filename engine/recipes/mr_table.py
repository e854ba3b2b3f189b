"""What samples of the MR recipes hold beside images: classes, and tables of how they came to be."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols
from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.label_table import LabelTable
from voxelmill.engine.recipes.mr_ranges import ORDERS, WINDOWS, Acquisition
from voxelmill.engine.sample import Column, Field, Ragged, Rows
from voxelmill.engine.tissues import COLUMNS as TISSUE_COLUMNS
from voxelmill.engine.tissues import Tissues

Row = Mapping[str, float]

COLUMNS = (
    Column(
        "snr",
        "1",
        "brightest major tissue (with random contrast: highest mean of a label, before the "
        "exponent) over the noise of a voxel at full resolution",
    ),
    Column("matrix_y", "1", "acquired lines in voxels along y"),
    Column("matrix_x", "1", "acquired lines in voxels along x"),
    Column("partial_fourier", "1", "part of the lines along y that is acquired"),
    Column("homodyne", "1", "1: partial Fourier by homodyne, 0: by zero-fill"),
    Column("window", "1", "filter of k-space", WINDOWS),
    Column("bandwidth_hz", "Hz", "receiver bandwidth of a pixel"),
    Column("order", "1", "in which lines are acquired", ORDERS),
    Column("motion_mm", "mm", "rms of the body's shifts during the scan, 0 without"),
    Column("motion_deg", "deg", "rms of the body's turns during the scan, 0 without"),
    Column("motion_poses", "1", "poses of the scan"),
    Column("ghost_depth", "1", "modulation of the lines that makes ghosts, 0 without"),
    Column("ghost_period", "1", "lines from one to the next of the modulation"),
    Column("spike_height", "1", "of a spike in that of k-space's centre, 0 without"),
    Column("spike_y", "1", "where along y it is, of all lines from 0 to 1"),
    Column("spike_x", "1", "where along x"),
    Column("distortion", "1", "share of B0's distortion along x"),
    Column("scale", "1", "signal in units of water's M0 times this is the image"),
)
NAMES = (
    "snr", "matrix", "partial_fourier", "homodyne", "window", "bandwidth_hz", "order", "motion",
    "motion_mm", "motion_deg", "motion_poses", "ghost", "ghost_depth", "ghost_period", "spike",
    "spike_height", "spike_place", "distortion",
)  # fmt: skip
CONTRAST_COLUMNS = (
    Column("contrast", "1", "which contrast"),
    *protocols.COLUMNS,
    *COLUMNS,
)
AT = {column.name: i for i, column in enumerate(CONTRAST_COLUMNS)}
LABEL_COLUMNS = (
    Column("cluster", "1", "class inside the label"),
    Column("mean", "1", "of the image where the label is alone, before fields and k-space"),
    Column("sd", "1", "of the image inside the label, before fields and k-space"),
)


def class_fields(table: LabelTable, shape: tuple[int, int, int]) -> tuple[Field, Field]:
    """The class of each voxel, and the shares of all classes."""
    zyx, classes = ("z", "y", "x"), dict(enumerate(table.classes))
    whole = (len(classes), *shape)
    return (
        Field("label", "uint8", zyx, shape, "class", "class with the largest share", classes, True),
        Field("shares", "float16", ("class", *zyx), whole, "1", "share of each class"),
    )


def tissue_rows(tissues: Tissues) -> Ragged:
    """The table of what was drawn for each tissue."""
    names = tuple(tissues.by_name)
    source = replace(TISSUE_COLUMNS[-1], categories=tuple(tissues.sources))
    columns = (Column("tissue", "1", "which tissue", names), *TISSUE_COLUMNS[:-1], source)
    return Ragged("tissues", columns, len(names), meaning="mode physics: drawn values")


def label_rows(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(label, 4): row, cluster, mean, sd of labels that show one signal each, as by physics."""
    number = np.arange(len(means))
    return np.column_stack([number, 0 * number, means, 0 * number])


def ragged(tables: Sequence[NDArray[np.float64]]) -> Rows:
    """One table of each sample of a micro-batch."""
    starts = np.concatenate([[0], np.cumsum([len(t) for t in tables])]).astype(np.int64)
    return Rows(np.concatenate(tables), starts)


def drawn_rows(draws: Sequence[Draw[Any]]) -> dict[str, Rows]:
    """The tables that Params of both recipes hold."""
    names = ("contrasts", "tissues", "labels")
    return {name: ragged([getattr(d.params, name) for d in draws]) for name in names}


def draw_acquisition(ranges: Acquisition, stream: Stream, slot: int) -> dict[str, float]:
    """How contrast `slot` of a sample is acquired, by COLUMNS; its scale is not yet known."""

    def happens(name: str, chance: float) -> bool:
        return bool(stream.uniform(name, 1, slot)[0] < chance)

    def one(name: str) -> float:
        return float(getattr(ranges, name).draws(stream, name, 1, slot)[0])

    moves = happens("motion", ranges.motion_chance)
    ghosts = happens("ghost", ranges.ghost_chance)
    spikes = happens("spike", ranges.spike_chance)
    matrix = ranges.matrix.draws(stream, "matrix", 2, 2 * slot)
    place = stream.uniform("spike_place", 2, 2 * slot)
    words = {
        name: float(known.index(getattr(ranges, name).draws(stream, name, 1, slot)[0]))
        for name, known in (("window", WINDOWS), ("order", ORDERS))
    }
    return {
        **words,
        "snr": one("snr"),
        "matrix_y": float(matrix[0]),
        "matrix_x": float(matrix[1]),
        "partial_fourier": one("partial_fourier"),
        "homodyne": float(happens("homodyne", ranges.homodyne_chance)),
        "bandwidth_hz": one("bandwidth_hz"),
        "motion_mm": one("motion_mm") if moves else 0.0,
        "motion_deg": one("motion_deg") if moves else 0.0,
        "motion_poses": one("motion_poses") if moves else 1.0,
        "ghost_depth": one("ghost_depth") if ghosts else 0.0,
        "ghost_period": float(stream.integers("ghost_period", 2, 4, 1, slot)[0]),
        "spike_height": one("spike_height") if spikes else 0.0,
        "spike_y": float(place[0]),
        "spike_x": float(place[1]),
        "distortion": one("distortion"),
        "scale": float("nan"),
    }


def contrast_row(contrast: int, protocol: Row, acquisition: Row) -> NDArray[np.float64]:
    """One row of the table.

    A train whose effective echo comes early begins at the centre of k-space, as scanners do it: in
    a linear order its weights would jump near the centre, and blur.
    """
    values: dict[str, Any] = {"contrast": contrast, **protocol, **acquisition}
    if values["refocus_deg"] > 0 and 3 * values["centre"] < values["echoes"]:
        values["order"] = ORDERS.index("centric")
    return np.array([values[c.name] for c in CONTRAST_COLUMNS])


def row_of(values: NDArray[np.float64]) -> dict[str, float]:
    """A row of the table by column."""
    return dict(zip(AT, values.tolist(), strict=True))
