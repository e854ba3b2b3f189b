"""A drawn thigh as images: all contrasts on one look-up of its labels, and maps beside them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import tissues
from voxelmill.engine.draw import Draw
from voxelmill.engine.recipes import mr_physics, mr_random, mr_scan, mr_table, thigh_body
from voxelmill.engine.recipes.mr_body import Grid
from voxelmill.engine.recipes.mr_scan import Scene
from voxelmill.engine.recipes.mr_table import Row
from voxelmill.engine.recipes.thigh_dixon import dixon_images
from voxelmill.engine.recipes.thigh_draw import Params
from voxelmill.engine.recipes.thigh_inputs import ThighSources
from voxelmill.engine.recipes.thigh_ranges import (
    CONTRASTS,
    DIXON,
    MODES,
    MOST_DIXON,
    PHYSICS,
    Ranges,
    chosen,
)

FIELD_BYTES = 28  # a voxel, of B1, B0, the receive gain, the bend and the fat in muscle
_FAT, _MUSCLE = "intermuscular fat", "skeletal muscle"
_NOISE = mr_scan.noise_names(CONTRASTS)
_ECHO_NOISE = tuple(f"noise.dixon_echo{i}" for i in range(MOST_DIXON))
_TEXTURE = tuple(f"random.texture.{name}" for name in CONTRASTS)
NAMES = (*_NOISE, *_ECHO_NOISE, *_TEXTURE)


def grid_of(ranges: Ranges) -> Grid:
    """The voxels of a sample."""
    fine = thigh_body.parts_of(ranges.voxel_mm[0], ranges.parts)
    return Grid(ranges.shape, ranges.voxel_mm, fine)


def dense_arrays(
    ranges: Ranges, one: Draw[Params], inputs: ThighSources
) -> dict[str, NDArray[Any]]:
    """The dense arrays of one sample, a sample axis of one first."""
    from voxelmill.kernels import shares

    p, grid, table = one.params, grid_of(ranges), inputs.label_table
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
