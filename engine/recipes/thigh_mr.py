"""Thighs in several aligned MR contrasts: muscle, fat between and around, cortical bone, marrow.

The anatomy is made from nothing or about a muscle map, then simulated contrast by contrast on one
look-up of its labels, each with its own noise and motion. Fat inside muscles is a field, and its
share, R2*, B0 and B1 are maps that a network may learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols, tissues
from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.protocols import SpoiledEcho
from voxelmill.engine.recipes import (
    mr_body,
    mr_physics,
    mr_random,
    mr_scan,
    mr_table,
    thigh_body,
)
from voxelmill.engine.recipes.mr_body import Grid, Lie
from voxelmill.engine.recipes.mr_ranges import strengths
from voxelmill.engine.recipes.mr_scan import Magnet, Scene
from voxelmill.engine.recipes.mr_table import Row
from voxelmill.engine.recipes.thigh_dixon import dixon_images, dixon_signals
from voxelmill.engine.recipes.thigh_inputs import ThighInputs as Inputs
from voxelmill.engine.recipes.thigh_inputs import ThighSources
from voxelmill.engine.recipes.thigh_inputs import open_thigh_inputs as open_inputs
from voxelmill.engine.recipes.thigh_ranges import (
    ANATOMIES,
    CONTRASTS,
    DIXON,
    MAPS,
    MODES,
    MOST_DIXON,
    PHYSICS,
    PROCEDURAL,
    Ranges,
    chosen,
)
from voxelmill.engine.sample import Column, Field, Ragged
from voxelmill.engine.thigh_params import NAMES as THIGH_NAMES
from voxelmill.engine.thigh_params import ThighParams, draw_thigh
from voxelmill.engine.verify.rows import Row as VerifyRow

__all__ = [
    "NAMES", "VERSION", "Inputs", "Params", "Ranges", "check", "check_opened", "draw", "fields",
    "open_inputs", "render", "verify_rows", "working_bytes",
]  # fmt: skip

VERSION = 7
_FAT, _MUSCLE = "intermuscular fat", "skeletal muscle"
_NOISE = mr_scan.noise_names(CONTRASTS)
_ECHO_NOISE = tuple(f"noise.dixon_echo{i}" for i in range(MOST_DIXON))
_TEXTURE = tuple(f"random.texture.{name}" for name in CONTRASTS)
NAMES = (
    "input.anatomy", "input.person", "input.map", "input.place", "mode", "b1_dip",
    *_NOISE, *_ECHO_NOISE, *_TEXTURE, *mr_random.NAMES, *mr_body.NAMES, *mr_scan.NAMES,
    *mr_table.NAMES, *protocols.NAMES, *tissues.NAMES, *THIGH_NAMES,
)  # fmt: skip
_FIELD_BYTES = 28  # a voxel, of B1, B0, the receive gain, the bend and the fat in muscle
_NO_MAP = "; NaN in mode random, whose images it has no part in"
_MAPS = (
    ("pdff", "1", f"share of fat in the protons that are seen{_NO_MAP}"),
    ("r2s_hz", "Hz", f"R2*, of water and fat together{_NO_MAP}"),
    ("b0_hz", "Hz", "offset of the static field"),
    ("b1", "1", f"share of the nominal flip angle{_NO_MAP}"),
)


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

    grid = _grid(ranges)
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

    voxels, grid = prod(ranges.shape), _grid(ranges)
    fine = voxels * (prod(grid.fine) + _FIELD_BYTES + 8 * 3)
    made = 10 * thigh_body.most_made(ranges.pose, grid)
    images = 8 * len(DIXON) * voxels
    return fine + made + images + acquiring((1, 3, *ranges.shape), ranges.acquisition.coils)


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


def render(
    ranges: Ranges, draws: Sequence[Draw[Params]], inputs: ThighSources, xp: Any
) -> dict[str, Any]:
    """The arrays of a micro-batch, sample axis first; `xp` must be numpy so far."""
    made = [_sample(ranges, one, inputs) for one in draws]
    arrays: dict[str, Any] = {name: np.concatenate([m[name] for m in made]) for name in made[0]}
    thighs = mr_table.ragged([_thigh_row(d.params.thigh)[None] for d in draws])
    return arrays | mr_table.drawn_rows(draws) | {"thigh": thighs}


def _thigh_row(params: ThighParams) -> NDArray[np.float64]:
    from voxelmill.engine.thigh_params import LEGS

    return np.array([LEGS.index(v) if isinstance(v, str) else v for v in vars(params).values()])


def _grid(ranges: Ranges) -> Grid:
    fine = thigh_body.parts_of(ranges.voxel_mm[0], ranges.parts)
    return Grid(ranges.shape, ranges.voxel_mm, fine)


def _sample(ranges: Ranges, one: Draw[Params], inputs: ThighSources) -> dict[str, NDArray[Any]]:
    """The dense arrays of one sample, a sample axis of one first."""
    from voxelmill.kernels import shares

    p, grid, table = one.params, _grid(ranges), inputs.label_table
    fine, legs = thigh_body.fine_labels(ranges.bend, one, inputs, grid)
    scene = _scene(ranges, one, inputs, grid, fine, legs)
    made: dict[str, NDArray[Any]] = {"image": _images(ranges, one, inputs, scene)}
    count = len(table.classes)
    made["label"] = shares.largest(fine, table.class_of_row, count, grid.fine)
    if ranges.muscles:
        every = np.arange(len(table), dtype=np.uint8)
        made["muscle"] = shares.largest(fine, every, len(table), grid.fine)
    if ranges.shares:
        held = shares.shares(fine, table.class_of_row, count, grid.fine)
        made["shares"] = held.astype(np.float16)
    if ranges.maps:
        made |= {name: a.astype(np.float16) for name, a in _maps(p, inputs, scene).items()}
    return made


def _scene(
    ranges: Ranges,
    one: Draw[Params],
    inputs: ThighSources,
    grid: Grid,
    fine: NDArray[np.uint8],
    legs: str,
) -> Scene:
    from voxelmill.engine.thigh_noise import fat_fraction

    p, stream, table = one.params, one.stream, inputs.label_table
    b1, b0, receive = mr_scan.magnet_fields(ranges.scanner, p, grid, stream)
    if legs != "right":
        b1 = b1 * thigh_body.b1_dip(p.b1_dip, fine, grid, table.row("rectus femoris"), legs)
    fat = fat_fraction([p.thigh], [stream], grid.shape, grid.voxel_mm)
    fat_rows = np.full(len(table), -1, np.int16)
    muscles = [i for i, tissue in enumerate(table.tissues) if tissue == _MUSCLE]
    fat_rows[muscles] = table.row(_FAT)
    alone = grid.fine[0] == 1 or grid.shape[0] == 1  # no parts, or no neighbours: a box
    profile = None if alone else mr_scan.slice_profile(grid, grid.voxel_mm[0])
    return Scene(grid, fine, profile, p.tesla, b1, b0, receive, fat, fat_rows)


def _images(
    ranges: Ranges, one: Draw[Params], inputs: ThighSources, scene: Scene
) -> NDArray[np.float16]:
    """All contrasts of a sample: (1, contrast, z, y, x)."""
    p, names = one.params, chosen(ranges)
    rows = [mr_table.row_of(values) for values in p.contrasts]
    made = np.empty((1, len(names), *scene.grid.shape), np.float16)
    echoes: NDArray[np.float32] | None = None
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        if MODES[p.mode] != PHYSICS:
            made[:, i] = _random_image(ranges, one, scene, row)
        elif name in DIXON:
            if echoes is None:  # water and fat are of the same echoes
                echoes = dixon_images(
                    ranges.acquisition, p.tissues[:, 1:], inputs, scene, row, one.stream,
                    _ECHO_NOISE, CONTRASTS.index(DIXON[0]),
                )  # fmt: skip
            made[:, i] = echoes[DIXON.index(name)] * np.float32(row["scale"])
        else:
            made[:, i] = _physics_image(ranges, one, inputs, scene, row)
    return made


def _physics_image(
    ranges: Ranges, one: Draw[Params], inputs: ThighSources, scene: Scene, row: Row
) -> NDArray[np.float32]:
    """One contrast, (1, z, y, x), from the tissues' values."""
    pools, trains = mr_physics.pools_of(
        scene, row, one.params.tissues[:, 1:], inputs.tissues, inputs.label_table
    )
    slot = int(row["contrast"])
    image = mr_scan.acquired(
        scene, ranges.acquisition, row, pools, 1 / row["scale"] / row["snr"], one.stream,
        _NOISE[slot], slot, trains,
    )  # fmt: skip
    return np.asarray(image) * np.float32(row["scale"])


def _random_image(ranges: Ranges, one: Draw[Params], scene: Scene, row: Row) -> NDArray[np.float32]:
    """One contrast, (1, z, y, x), of a Gaussian for each label."""
    p, stream, slot = one.params, one.stream, int(row["contrast"])
    labels = p.labels[p.labels[:, 0] == slot][:, 1:]
    pools = mr_random.random_pools(
        scene, labels, ranges.intensities.cluster_mm, stream, _TEXTURE[slot]
    )
    noise_sd = mr_random.brightest(labels) / row["snr"]
    image = mr_scan.acquired(
        scene, ranges.acquisition, row, pools, noise_sd, stream, _NOISE[slot], slot
    )
    gamma = mr_random.draw_gamma(ranges.intensities, stream, slot)
    return mr_random.to_gamma(np.asarray(image), gamma)


def _maps(p: Params, inputs: ThighSources, scene: Scene) -> dict[str, NDArray[np.float32]]:
    """PDFF, R2*, B0 and B1, (1, z, y, x) each; 0 where nothing is seen.

    Random contrast is made of no tissue and no flip angle. What is typical would be a wrong target,
    of which a loss says nothing; NaN cannot be missed.
    """
    if MODES[p.mode] != PHYSICS:
        none = np.full_like(scene.b1, np.nan)
        return {"pdff": none, "r2s_hz": none, "b0_hz": scene.b0_hz, "b1": none}
    values = p.tissues[:, 1:]
    at = tissues.AT
    pd, fat = values[:, at["pd"]], values[:, at["fat_fraction"]]
    rate = 1000 / values[:, at["t2s_ms"]]
    of_row = mr_physics.tissue_of_row(inputs.tissues, inputs.label_table)
    table = np.stack([pd * (1 - fat), pd * fat, pd * rate], 1)[of_row]
    water, fats, rates = mr_scan.look_up(scene, table[:, None].astype(np.complex64), (1.0, 1.0))[
        0
    ].real
    seen = water + fats
    some = seen > 1e-3
    safe = np.where(some, seen, 1)
    pdff, r2s = (np.where(some, a / safe, 0)[None] for a in (fats, rates))
    return {"pdff": pdff, "r2s_hz": r2s, "b0_hz": scene.b0_hz, "b1": scene.b1}


def verify_rows() -> list[VerifyRow]:
    """What whole samples must hold."""
    from voxelmill.engine.recipes.mr_verify import thigh_rows

    return thigh_rows()
