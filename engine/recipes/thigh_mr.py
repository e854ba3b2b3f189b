"""Thighs in several aligned MR contrasts: muscle, fat between and around, cortical bone, marrow.

The anatomy is made from nothing or about a muscle map, then simulated contrast by contrast on one
look-up of its labels, each with its own noise and motion. Fat inside muscles is a field, and its
share, R2*, B0 and B1 are maps that a network may learn.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols, tissues
from voxelmill.engine.draw import Draw
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.recipes import (
    mr_body,
    mr_random,
    mr_scan,
    mr_table,
    thigh_body,
    thigh_draw,
    thigh_images,
)
from voxelmill.engine.recipes.mr_ranges import strengths
from voxelmill.engine.recipes.thigh_draw import Params, draw
from voxelmill.engine.recipes.thigh_images import FIELD_BYTES, dense_arrays, grid_of
from voxelmill.engine.recipes.thigh_inputs import ThighInputs as Inputs
from voxelmill.engine.recipes.thigh_inputs import ThighSources
from voxelmill.engine.recipes.thigh_inputs import open_thigh_inputs as open_inputs
from voxelmill.engine.recipes.thigh_ranges import (
    CONTRASTS,
    DIXON,
    MAPS,
    PHYSICS,
    PROCEDURAL,
    Ranges,
    chosen,
)
from voxelmill.engine.sample import Column, Field, Ragged
from voxelmill.engine.thigh_params import NAMES as THIGH_NAMES
from voxelmill.engine.thigh_params import ThighParams
from voxelmill.engine.verify.rows import Row as VerifyRow

__all__ = [
    "NAMES", "VERSION", "Inputs", "Params", "Ranges", "check", "check_opened", "draw", "fields",
    "open_inputs", "render", "verify_rows", "working_bytes",
]  # fmt: skip

VERSION = 7
NAMES = (
    *thigh_draw.NAMES, *thigh_images.NAMES, *mr_random.NAMES, *mr_body.NAMES, *mr_scan.NAMES,
    *mr_table.NAMES, *protocols.NAMES, *tissues.NAMES, *THIGH_NAMES,
)  # fmt: skip
_NO_MAP = "; NaN in mode random, whose images it has no part in"
_MAPS = (
    ("pdff", "1", f"share of fat in the protons that are seen{_NO_MAP}"),
    ("r2s_hz", "Hz", f"R2*, of water and fat together{_NO_MAP}"),
    ("b0_hz", "Hz", "offset of the static field"),
    ("b1", "1", f"share of the nominal flip angle{_NO_MAP}"),
)


def fields(ranges: Ranges, inputs: ThighSources) -> tuple[Field | Ragged, ...]:
    """The contrasts, the class of each voxel, maps, and how all came to be."""
    zyx, table, names = ("z", "y", "x"), inputs.label_table, chosen(ranges)
    label, shares = mr_table.class_fields(table, ranges.shape)
    meaning = f"magnitude of {', '.join(names)}; the brightest major tissue of each near 1"
    made: list[Field | Ragged] = [
        Field("image", "float16", ("contrast", *zyx), (len(names), *ranges.shape), "1", meaning),
        label,
    ]
    if ranges.muscles:
        rows = dict(enumerate(table.names))
        made.append(
            Field("muscle", "uint8", zyx, ranges.shape, "row", "part with the largest share", rows,
                  True)
        )  # fmt: skip
    if ranges.shares:
        made.append(shares)
    if ranges.maps:
        made += [Field(name, "float16", zyx, ranges.shape, u, why) for name, u, why in _MAPS]
    contrast = Column("contrast", "1", "which contrast", CONTRASTS)
    most = len(table) * len(names)
    which = Column("label", "1", "which label", table.names)
    return (
        *made,
        Ragged("thigh", _thigh_columns(), 1, meaning="the anatomy"),
        Ragged("contrasts", (contrast, *mr_table.CONTRAST_COLUMNS[1:]), len(names),
               meaning="protocols and acquisitions"),
        mr_table.tissue_rows(inputs.tissues),
        Ragged("labels", (contrast, which, *mr_table.LABEL_COLUMNS), most,
               meaning="signal of each label in each contrast"),
    )  # fmt: skip


def _thigh_columns() -> tuple[Column, ...]:
    from dataclasses import fields as fields_of

    from voxelmill.engine.thigh_params import LEGS, ThighRanges

    meanings = {f.name: f.metadata for f in fields_of(ThighRanges)}
    return tuple(
        Column(f.name, meanings[f.name].get("unit", "1"), meanings[f.name].get("meaning", ""),
               LEGS if f.name == "legs" else ())
        for f in fields_of(ThighParams)
    )  # fmt: skip


def check(ranges: Ranges, inputs: Inputs) -> None:
    """Raise SpecError, with all mistakes, for what the bounds of single ranges cannot say."""
    from voxelmill.engine.nearest import did_you_mean

    grid = grid_of(ranges)
    problems = mr_body.check(ranges.bend, grid, "ranges.bend")
    names = chosen(ranges)
    problems += [
        f"ranges.contrasts: unknown contrast {name!r}{did_you_mean(name, CONTRASTS)}"
        for name in names
        if name not in CONTRASTS
    ]
    if not names or len(set(names)) < len(names):
        problems.append(
            f"ranges.contrasts: {list(names)} must name one or more contrasts, each once; or take "
            "a preset"
        )
    if ranges.preset != "none" and ranges.contrasts:
        problems.append(
            f"ranges.contrasts: they are those of preset {ranges.preset!r}; write preset: none"
        )
    for name in dict.fromkeys("dixon" if n in DIXON else n for n in names if n in CONTRASTS):
        key, fields_tesla = f"ranges.protocols.{name}", strengths(ranges.scanner)
        problems += protocols.check(getattr(ranges.protocols, name), key, fields_tesla)
    if ranges.acquisition.labels_follow_image:
        problems.append(
            "ranges.acquisition.labels_follow_image: contrasts are distorted each in its own way, "
            "and share their labels; leave it false"
        )
    if inputs.maps == "none" and not ranges.anatomy.weights.get(PROCEDURAL):
        problems.append("ranges.anatomy: only maps, but inputs.maps is none; give maps a folder")
    if not inputs.people and ranges.anatomy.weights.get(PROCEDURAL):
        problems.append("ranges.anatomy: procedural thighs need inputs.people above 0")
    if problems:
        raise SpecError("; ".join(problems))
    mr_body.fits(grid)


def check_opened(ranges: Ranges, inputs: ThighSources) -> None:
    """Raise SourceError for tissues that the file lacks, and for maps that show no thigh."""
    if ranges.mode.weights.get(PHYSICS):
        for tesla in strengths(ranges.scanner):
            inputs.tissues.require(inputs.label_table.tissues, tesla)
    if ranges.anatomy.weights.get(MAPS) and inputs.maps is not None:
        bad = []
        for i in range(len(inputs.maps)):
            try:
                inputs.maps.check(i)
            except SourceError as error:
                bad.append(str(error))
        if bad:
            raise SourceError("\n".join(bad))


def working_bytes(ranges: Ranges) -> int:
    """About what `render` holds at its most, beside its maps and arrays."""
    from voxelmill.engine.acquire import working_bytes as acquiring

    voxels, grid = prod(ranges.shape), grid_of(ranges)
    fine = voxels * (prod(grid.fine) + FIELD_BYTES + 8 * 3)
    made = 10 * thigh_body.most_made(ranges.pose, grid)
    images = 8 * len(DIXON) * voxels
    return fine + made + images + acquiring((1, 3, *ranges.shape), ranges.acquisition.coils)


def render(
    ranges: Ranges, draws: Sequence[Draw[Params]], inputs: ThighSources, xp: Any
) -> dict[str, Any]:
    """The arrays of a micro-batch, sample axis first; `xp` must be numpy so far."""
    made = [dense_arrays(ranges, one, inputs) for one in draws]
    arrays: dict[str, Any] = {name: np.concatenate([m[name] for m in made]) for name in made[0]}
    thighs = mr_table.ragged([_thigh_row(d.params.thigh)[None] for d in draws])
    return arrays | mr_table.drawn_rows(draws) | {"thigh": thighs}


def _thigh_row(params: ThighParams) -> NDArray[np.float64]:
    from voxelmill.engine.thigh_params import LEGS

    return np.array([LEGS.index(v) if isinstance(v, str) else v for v in vars(params).values()])


def verify_rows() -> list[VerifyRow]:
    """What whole samples must hold."""
    from voxelmill.engine.recipes.mr_verify import thigh_rows

    return thigh_rows()
