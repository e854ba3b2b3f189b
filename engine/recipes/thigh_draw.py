"""What is drawn of a thigh: whose it is, how it lies, and the protocol of each contrast."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols, tissues
from voxelmill.engine.draw import Stream
from voxelmill.engine.protocols import SpoiledEcho
from voxelmill.engine.recipes import mr_body, mr_physics, mr_random, mr_scan, mr_table
from voxelmill.engine.recipes.mr_body import Lie
from voxelmill.engine.recipes.mr_scan import Magnet
from voxelmill.engine.recipes.thigh_dixon import dixon_signals
from voxelmill.engine.recipes.thigh_inputs import ThighSources
from voxelmill.engine.recipes.thigh_ranges import (
    ANATOMIES,
    CONTRASTS,
    DIXON,
    MODES,
    PHYSICS,
    PROCEDURAL,
    Ranges,
    chosen,
)
from voxelmill.engine.thigh_params import ThighParams, draw_thigh

NAMES = ("input.anatomy", "input.person", "input.map", "input.place", "mode", "b1_dip")


@dataclass(frozen=True)
class Params(Magnet, Lie):
    """One draw; the thigh's numbers, `contrasts`, `tissues` and `labels` are ragged tables."""

    anatomy: int = field(
        metadata={"meaning": "where the anatomy comes from", "categories": ANATOMIES}
    )
    mode: int = field(metadata={"meaning": "where contrast comes from", "categories": MODES})
    place: float = field(
        metadata={"meaning": "of the field of view along a map: 0 its lower end, 1 its upper"}
    )
    b1_dip: float = field(metadata={"meaning": "fall of B1 in the left rectus femoris"})
    thigh: ThighParams
    contrasts: NDArray[np.float64]
    tissues: NDArray[np.float64]
    labels: NDArray[np.float64]


def draw(ranges: Ranges, stream: Stream, inputs: ThighSources) -> Params:
    """One person, how they lie, and all contrasts."""
    anatomy, person = _draw_input(ranges, stream, inputs)
    mode = ranges.mode.draw(stream, "mode")
    magnet: dict[str, Any] = mr_scan.draw_magnet(ranges.scanner, stream)
    drawn = np.zeros((0, 1 + len(tissues.COLUMNS)))
    if mode == PHYSICS:
        values = inputs.tissues.draw(stream, magnet["tesla"])
        drawn = np.column_stack([np.arange(len(values)), values])
    rows, labels = [], []
    for name in chosen(ranges):
        slot = CONTRASTS.index(name)
        row, of_labels = _draw_contrast(ranges, stream, inputs, name, mode, magnet["tesla"], drawn)
        rows.append(row)
        labels.append(np.column_stack([np.full(len(of_labels), slot), of_labels]))
    return Params(
        input=person,
        **mr_body.draw_lie(ranges.pose, ranges.bend, stream),
        **magnet,
        anatomy=ANATOMIES.index(anatomy),
        mode=MODES.index(mode),
        place=float(stream.uniform("input.place")[0]),
        b1_dip=ranges.b1_dip.draw(stream, "b1_dip") * (1 if magnet["tesla"] > 2 else 0.5),
        thigh=draw_thigh(ranges.thigh, stream),
        contrasts=np.stack(rows),
        tissues=drawn,
        labels=np.concatenate(labels),
    )


def _draw_input(ranges: Ranges, stream: Stream, inputs: ThighSources) -> tuple[str, int]:
    anatomy = ranges.anatomy.draw(stream, "input.anatomy")
    if inputs.maps is None:
        anatomy = PROCEDURAL
    if anatomy == PROCEDURAL:
        return anatomy, int(stream.integers("input.person", 0, inputs.people - 1)[0])
    assert inputs.maps is not None
    return anatomy, inputs.people + int(stream.integers("input.map", 0, len(inputs.maps) - 1)[0])


def _draw_contrast(
    ranges: Ranges,
    stream: Stream,
    inputs: ThighSources,
    name: str,
    mode: str,
    tesla: float,
    drawn: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A row of `contrasts`, and its rows of `labels` but for the first column."""
    slot = CONTRASTS.index(name)
    shared = CONTRASTS.index(DIXON[0]) if name in DIXON else slot  # one acquisition gives both
    acquisition = mr_table.draw_acquisition(ranges.acquisition, stream, shared)
    if mode != PHYSICS:
        acquisition["scale"] = 1.0
        nothing = dict.fromkeys((c.name for c in protocols.COLUMNS), float("nan"))
        labels = mr_random.random_labels(ranges.intensities, stream, inputs.label_table, 1, slot)
        return mr_table.contrast_row(slot, nothing, acquisition), labels
    kind = getattr(ranges.protocols, "dixon" if name in DIXON else name)
    protocol = protocols.draw_protocol(kind, stream, shared, tesla)
    if name in DIXON:
        protocol["echoes"] = kind.echoes
        acquisition["homodyne"] = 0.0  # it would remove the phase that tells fat from water
    if name == "stir":
        protocol["ti_ms"] *= _fat_t1_ms(inputs, drawn) / _mean_fat_t1_ms(inputs)
    if kind.sequence == SpoiledEcho.sequence:  # what is read must end before the next echo
        room_ms = protocol["spacing_ms"] if name in DIXON else 2 * protocol["te_ms"]
        acquisition["bandwidth_hz"] = max(acquisition["bandwidth_hz"], 1000 / room_ms)
    spectra = [t.spectrum for t in inputs.tissues]
    of_row = mr_physics.tissue_of_row(inputs.tissues, inputs.label_table)
    if name in DIXON:
        both = dixon_signals(protocol, drawn[:, 1:], spectra, tesla)[of_row]
        mean, whole = both[:, DIXON.index(name)], both.max(1)  # one unit, so their ratio is left
    else:
        shown = protocols.signals(protocol, drawn[:, 1:], spectra, np.ones(1), tesla)[:, 0]
        left = [protocols.suppression(protocol, pool, np.zeros(1), np.ones(1), tesla)
                for pool in tissues.POOLS]  # fmt: skip
        mean = abs(sum(shown[:, p] * left[p] for p in range(2)))[of_row]
        whole = mean
    acquisition["scale"] = 1 / mr_scan.brightest(whole, inputs.label_table.tissues)
    labels = mr_table.label_rows(mean * acquisition["scale"])
    return mr_table.contrast_row(slot, protocol, acquisition), labels


def _fat_t1_ms(inputs: ThighSources, drawn: NDArray[np.float64]) -> float:
    """The T1 of this sample's fat, which an operator sees vanish."""
    fat = list(inputs.tissues.by_name).index(tissues.FAT_LIKE)
    return float(drawn[fat, 1 + tissues.AT["fat_t1_ms"]])


def _mean_fat_t1_ms(inputs: ThighSources) -> float:
    """The mean T1 of fat at 3 T of all sources, for which the ranges of TI are given."""
    return float(np.mean([r.t1_ms for r in inputs.tissues.by_name[tissues.FAT_LIKE].at(3.0)]))
