"""Any label map, first the head's, as MR images: by physics, or with random contrast.

A map lies and bends at random, its labels are looked up once on a finer grid, and each is given a
signal: by a drawn protocol and tissue table (`physics`), by a Gaussian of its own (`random`, as in
SynthSeg, Billot et al., Med. Image Anal. 2023), or by several inside each label (`subcluster`).
Then the image goes through k-space.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols
from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.recipes import mr_body, mr_physics, mr_random, mr_scan, mr_table
from voxelmill.engine.recipes.labels_ranges import FAMILIES, MODES, PHYSICS, SUBCLUSTER, Ranges
from voxelmill.engine.recipes.mr_body import Grid, Lie
from voxelmill.engine.recipes.mr_inputs import MrInputs as Inputs
from voxelmill.engine.recipes.mr_inputs import MrSources
from voxelmill.engine.recipes.mr_inputs import open_mr_inputs as open_inputs
from voxelmill.engine.recipes.mr_ranges import strengths
from voxelmill.engine.recipes.mr_scan import Magnet, Scene
from voxelmill.engine.sample import Column, Field, Ragged
from voxelmill.engine.tissues import COLUMNS as TISSUE_COLUMNS
from voxelmill.engine.tissues import NAMES as TISSUE_NAMES
from voxelmill.engine.tissues import POOLS
from voxelmill.engine.verify.rows import Row as VerifyRow

__all__ = [
    "NAMES", "VERSION", "Inputs", "Params", "Ranges", "check", "check_opened", "draw", "fields",
    "open_inputs", "render", "verify_rows", "working_bytes",
]  # fmt: skip

VERSION = 7
_SLICE_AXES = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
_NOISE = "noise.image"
_NOTHING = 1e-3  # of a voxel's tissue: less than that has left the picture
_FIELD_BYTES = 24  # a voxel, of B1, B0, the receive gain and the bend
NAMES = (
    "map", "mode", "family", "thickness_mm", "spacing", "axis", _NOISE, *mr_random.NAMES,
    *mr_body.NAMES, *mr_scan.NAMES, *mr_table.NAMES, *protocols.NAMES, *TISSUE_NAMES,
)  # fmt: skip


@dataclass(frozen=True)
class Params(Magnet, Lie):
    """One draw; `contrasts`, `tissues` and `labels` are stored as ragged tables."""

    mode: int = field(metadata={"meaning": "where contrast comes from", "categories": MODES})
    family: int = field(metadata={"meaning": "protocol family", "categories": ("none", *FAMILIES)})
    thickness_mm: float = field(
        metadata={
            "unit": "mm",
            "meaning": "of a slice; not of 3-D protocols, nor of a single slice",
        }
    )
    spacing: float = field(metadata={"meaning": "from slice to slice, in thicknesses"})
    axis: int = field(
        metadata={"meaning": "across which slices lie", "categories": tuple(_SLICE_AXES)}
    )
    gamma: float = field(metadata={"meaning": "exponent that the image was raised to"})
    contrasts: NDArray[np.float64]
    tissues: NDArray[np.float64]
    labels: NDArray[np.float64]


def fields(ranges: Ranges, inputs: MrSources) -> tuple[Field | Ragged, ...]:
    """The image, the class of each voxel, and how both came to be."""
    zyx, table = ("z", "y", "x"), inputs.maps.label_table
    label, shares = mr_table.class_fields(table, ranges.shape)
    which = Column("label", "1", "which label", table.names)
    most = len(table) * ranges.intensities.clusters
    return (
        Field("image", "float16", zyx, ranges.shape, "1", "magnitude; major tissues up to 1"),
        label,
        *([shares] if ranges.shares else []),
        Ragged("contrasts", mr_table.CONTRAST_COLUMNS, 1, meaning="protocol and acquisition"),
        mr_table.tissue_rows(inputs.tissues),
        Ragged("labels", (which, *mr_table.LABEL_COLUMNS), most, meaning="signal of each label"),
    )


def check(ranges: Ranges, inputs: Inputs) -> None:
    """Raise SpecError, with all mistakes, for what the bounds of single ranges cannot say."""
    grid = _grid(ranges)
    problems = mr_body.check(ranges.bend, grid, "ranges.bend")
    for name in FAMILIES:
        if ranges.families.weights.get(name):
            key, fields_tesla = f"ranges.protocols.{name}", strengths(ranges.scanner)
            problems += protocols.check(getattr(ranges.protocols, name), key, fields_tesla)
    turned = [a for a, w in ranges.slices.axis.weights.items() if w and a != "axial"]
    if turned and (len(set(ranges.shape)) > 1 or len(set(ranges.voxel_mm)) > 1):
        problems.append(
            f"ranges.slices.axis: {turned[0]} slices need a cubic shape and voxel, not "
            f"{ranges.shape} of {ranges.voxel_mm} mm; make them cubic, or leave it axial"
        )
    if problems:
        raise SpecError("; ".join(problems))
    mr_body.fits(grid)


def check_opened(ranges: Ranges, inputs: MrSources) -> None:
    """Raise SourceError for tissues that the label table names and the file lacks."""
    if ranges.mode.weights.get(PHYSICS):
        for tesla in strengths(ranges.scanner):
            inputs.tissues.require(inputs.maps.label_table.tissues, tesla)
    rows = len(inputs.maps.label_table) * ranges.intensities.clusters
    if ranges.mode.weights.get(SUBCLUSTER) and rows > 256:
        raise SourceError(
            f"mode subcluster: {len(inputs.maps.label_table)} labels of "
            f"{ranges.intensities.clusters} classes make {rows} rows, above 256: lower "
            "intensities.clusters"
        )


def working_bytes(ranges: Ranges) -> int:
    """About what `render` holds at its most, beside its maps and arrays."""
    from voxelmill.engine.acquire import working_bytes as acquiring

    voxels, parts = prod(ranges.shape), ranges.parts**3
    thick = 2 if ranges.slices.thickness_mm.bounds()[1] > ranges.voxel_mm[0] else 1
    patches = 9 * parts if ranges.mode.weights.get(SUBCLUSTER) else 0
    physics = ranges.mode.weights.get(PHYSICS)
    pools = (4 if ranges.families.weights.get("mprage") else 3) if physics else 1
    later = 8 * pools * voxels + acquiring((1, pools, *ranges.shape), ranges.acquisition.coils)
    return voxels * (thick * parts + _FIELD_BYTES) + max(voxels * (patches + 16), later)


def draw(ranges: Ranges, stream: Stream, inputs: MrSources) -> Params:
    """One map, how it lies, and its contrast."""
    mode = ranges.mode.draw(stream, "mode")
    magnet: dict[str, Any] = mr_scan.draw_magnet(ranges.scanner, stream)
    acquisition = mr_table.draw_acquisition(ranges.acquisition, stream, 0)
    family, protocol, gamma = "none", dict.fromkeys(_PROTOCOL, float("nan")), 1.0
    tissues = np.zeros((0, 1 + len(TISSUE_COLUMNS)))
    if mode == PHYSICS:
        family = ranges.families.draw(stream, "family")
        kind = getattr(ranges.protocols, family)
        protocol = protocols.draw_protocol(kind, stream, 0, magnet["tesla"])
        drawn = inputs.tissues.draw(stream, magnet["tesla"])
        tissues = np.column_stack([np.arange(len(drawn)), drawn])
        labels, scale = _physics_labels(inputs, protocol, drawn, magnet["tesla"])
        acquisition["scale"] = scale
    else:
        gamma = mr_random.draw_gamma(ranges.intensities, stream)
        magnet["bias_log_rms"] = ranges.intensities.bias_log_rms.draw(stream, "random.bias")
        clusters = ranges.intensities.clusters if mode == SUBCLUSTER else 1
        labels = mr_random.random_labels(
            ranges.intensities, stream, inputs.maps.label_table, clusters
        )
        acquisition["scale"] = 1.0
    return Params(
        input=int(stream.integers("map", 0, len(inputs) - 1)[0]),
        **mr_body.draw_lie(ranges.pose, ranges.bend, stream),
        **magnet,
        mode=MODES.index(mode),
        family=1 + FAMILIES.index(family) if family != "none" else 0,
        thickness_mm=ranges.slices.thickness_mm.draw(stream, "thickness_mm"),
        spacing=ranges.slices.spacing.draw(stream, "spacing"),
        axis=tuple(_SLICE_AXES).index(ranges.slices.axis.draw(stream, "axis")),
        gamma=gamma,
        contrasts=mr_table.contrast_row(0, protocol, acquisition)[None],
        tissues=tissues,
        labels=labels,
    )


_PROTOCOL = tuple(column.name for column in protocols.COLUMNS)


def _signals(
    inputs: MrSources, row: protocols.Row, tissues: NDArray[np.float64], tesla: float
) -> NDArray[np.complex64]:
    """(label, pool) signals at the nominal flip angle, where B0 is not off."""
    spectra = [t.spectrum for t in inputs.tissues]
    one = protocols.signals(row, tissues, spectra, np.ones(1), tesla)[:, 0]
    nothing, nominal = np.zeros(1, np.float32), np.ones(1, np.float32)
    left = [protocols.suppression(row, pool, nothing, nominal, tesla) for pool in POOLS]
    of_row = mr_physics.tissue_of_row(inputs.tissues, inputs.maps.label_table)
    return one[of_row] * np.stack([np.broadcast_to(a, 1) for a in left], 1)


def _physics_labels(
    inputs: MrSources, row: protocols.Row, tissues: NDArray[np.float64], tesla: float
) -> tuple[NDArray[np.float64], float]:
    """The table `labels`, and what makes the brightest major tissue 1."""
    shown = abs(_signals(inputs, row, tissues, tesla).sum(1))
    scale = 1 / mr_scan.brightest(shown, inputs.maps.label_table.tissues)
    return mr_table.label_rows(shown * scale), scale


def render(
    ranges: Ranges, draws: Sequence[Draw[Params]], inputs: MrSources, xp: Any
) -> dict[str, Any]:
    """The arrays of a micro-batch, sample axis first; `xp` must be numpy so far."""
    made = [_sample(ranges, one, inputs) for one in draws]
    arrays: dict[str, Any] = {name: np.concatenate([m[name] for m in made]) for name in made[0]}
    return arrays | mr_table.drawn_rows(draws)


def _grid(ranges: Ranges) -> Grid:
    return Grid(ranges.shape, ranges.voxel_mm, (ranges.parts,) * 3)


def _sample(ranges: Ranges, one: Draw[Params], inputs: MrSources) -> dict[str, NDArray[Any]]:
    """The dense arrays of one sample, a sample axis of one first."""
    from voxelmill.kernels import shares

    p, stream, grid = one.params, one.stream, _grid(ranges)
    axes = tuple(_SLICE_AXES.values())[p.axis]
    row = mr_table.row_of(p.contrasts[0])
    three_d = row["sequence"] >= 0 and protocols.SEQUENCES[int(row["sequence"])].three_d
    acquired = grid if three_d else mr_scan.slice_grid(grid, p.thickness_mm, p.spacing)
    bend = mr_body.bend_displacement(ranges.bend, grid, p, stream)
    body = inputs.maps.map(p.input)

    def looked_up(on: Grid) -> NDArray[np.uint8]:
        moved = None if bend is None else bend * flow_ratio(on, grid)
        return mr_body.fine_labels(on, p, body.rows, body.voxel_mm, moved, axes)

    fine = looked_up(grid)
    image = _image(ranges, one, inputs, acquired, fine if acquired == grid else looked_up(acquired))
    image = mr_scan.on_grid(image, grid)
    label_table = inputs.maps.label_table
    classes = label_table.class_of_row
    if p.flip:
        classes = classes[label_table.partners]
    if ranges.acquisition.labels_follow_image and row["distortion"]:
        held = shares.shares(fine, classes, len(label_table.classes), grid.fine)
        held = _followed(ranges, one, grid, held)
        label = shares.hard(held)
    else:
        held = None
        label = shares.largest(fine, classes, len(label_table.classes), grid.fine)
    made = {"image": image.astype(np.float16), "label": label}
    if ranges.shares:
        if held is None:
            held = shares.shares(fine, classes, len(label_table.classes), grid.fine)
        made["shares"] = held.astype(np.float16)
    back = tuple(int(i) for i in np.argsort(axes))
    return {
        name: np.ascontiguousarray(a.transpose(*range(a.ndim - 3), *(a.ndim - 3 + i for i in back)))
        for name, a in made.items()
    }


def flow_ratio(on: Grid, grid: Grid) -> NDArray[np.float32]:
    """What brings a displacement in voxels of `grid` to voxels of `on`, which spans the same."""
    ratio = np.divide(on.shape, grid.shape).astype(np.float32)
    return ratio[None, :, None, None, None]


def _image(
    ranges: Ranges,
    one: Draw[Params],
    inputs: MrSources,
    grid: Grid,
    fine: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """The image on the grid in which it is acquired: (1, z, y, x)."""
    p, stream = one.params, one.stream
    row = mr_table.row_of(p.contrasts[0])
    profile = mr_scan.slice_profile(grid, p.thickness_mm)
    if grid.shape == ranges.shape:
        profile = None
    seen = p if MODES[p.mode] == PHYSICS else replace(p, b1_rms=0.0)  # where nobody looks
    if MODES[p.mode] != PHYSICS and not row["distortion"]:
        seen = replace(seen, b0_rms_hz=0.0)
    b1, b0, receive = mr_scan.magnet_fields(ranges.scanner, seen, grid, stream)
    scene = Scene(grid, fine, profile, p.tesla, b1, b0, receive)
    trains, brightest = None, 1 / row["scale"]
    if MODES[p.mode] == PHYSICS:
        pools, trains = mr_physics.pools_of(
            scene, row, p.tissues[:, 1:], inputs.tissues, inputs.maps.label_table
        )
    else:
        pools = mr_random.random_pools(scene, p.labels, ranges.intensities.cluster_mm, stream)
        brightest = mr_random.brightest(p.labels)
    image = mr_scan.acquired(
        scene, ranges.acquisition, row, pools, brightest / row["snr"], stream, _NOISE, 0, trains
    )
    image = np.asarray(image) * np.float32(row["scale"])
    if p.gamma != 1:
        return mr_random.to_gamma(image, p.gamma)
    return image


def _followed(
    ranges: Ranges, one: Draw[Params], grid: Grid, held: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Shares where B0's distortion shows them, of what arrives there; background where nothing."""
    from voxelmill.kernels.distort import distort

    row = mr_table.row_of(one.params.contrasts[0])
    _, b0, _ = mr_scan.magnet_fields(ranges.scanner, one.params, grid, one.stream)
    acquired_x = max(1, round(row["matrix_x"] * grid.shape[2]))
    scale = np.array([row["distortion"] / row["bandwidth_hz"] * grid.shape[2] / acquired_x], "f4")
    moved = np.asarray(distort(held, b0, scale))
    moved[:, 0] += moved.sum(1) < _NOTHING
    moved /= moved.sum(1, keepdims=True)
    return moved


def verify_rows() -> list[VerifyRow]:
    """What whole samples must hold."""
    from voxelmill.engine.recipes.mr_verify import head_rows

    return head_rows()
