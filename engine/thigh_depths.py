"""How deep each place of a muscle map lies in its muscle, under the fascia lata and in the femur.

Done once a map; `thigh_tissues.derive_tissues` paints samples from it.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_maps import LabelMap
from voxelmill.engine.label_table import LabelTable, Rows, open_table
from voxelmill.engine.thigh_femur import find_femurs
from voxelmill.engine.thigh_outline import (
    MARGIN_MM,
    Floats,
    Mask,
    convex,
    finer,
    outline,
    part_legs,
    signed_mm,
)
from voxelmill.engine.thigh_shape import check_plane
from voxelmill.kernels import thigh as kernel

PLANE_MM = 0.8  # voxels of the depths in the plane: the thinnest cortex is a closed ring in them
CHECK_MM = 1.2  # voxels in which `check_thigh` looks
CLOSE_MM = 22.0  # gaps between muscles up to twice this are inside the fascia
LEAST_FILLED = 0.62  # of the fascia's inside that labels fill in a slice that is kept
LEAST_SLICES = 3
OTHER_MM = 5.5  # a place inside the fascia that is farther from all labels is an unlabelled muscle
OTHER_MM2 = 250.0  # the least that is taken for such a muscle; smaller room is fat
RIM_MM = 2.0  # the fat around that muscle
LENGTH_MM = 410.0  # of a thigh, for guessing levels
Depth = NDArray[np.int16]


@dataclass(frozen=True)
class ThighDepths:
    """What a muscle map says of two thighs or one: arrays over (z, y, x), depths in 1/64 mm.

    muscle, depth, hull, femur: as in `kernels.thigh.of_depths`. places: (z, leg, 5, 2) y, x in mm
    of the centre, the femur, artery, vein and nerve. sides: of each leg, "right" or "left".
    levels: (z,) 0 hip, 1 knee, guessed. first: the slice of the map that is slice 0 here.
    """

    id: str
    subject: str
    muscle: Rows
    depth: Depth
    hull: Depth
    femur: Depth
    places: NDArray[np.float64]
    sides: tuple[str, ...]
    levels: NDArray[np.float64]
    voxel_mm: tuple[float, float, float]
    first: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the rows that are made of it."""
        z, y, x = self.muscle.shape
        return z, y, x

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.muscle.nbytes + self.depth.nbytes + self.hull.nbytes + self.femur.nbytes

    def between(self, first: int, last: int) -> "ThighDepths":
        """Its slices `first` to `last`, without that one."""
        some = slice(first, last)
        names = ("muscle", "depth", "hull", "femur", "places", "levels")
        return replace(self, first=self.first + first, **{n: getattr(self, n)[some] for n in names})


def thigh_depths(muscles: LabelMap, table: LabelTable, plane_mm: float = PLANE_MM) -> ThighDepths:
    """The depths of a muscle map whose rows mean what `table` says, at voxels of `plane_mm`.

    Slices in which labels fill too little of the fascia's inside, or no femur is found, are left
    out at both ends. Raises SourceError where fewer than LEAST_SLICES remain.
    """
    check_plane((muscles.voxel_mm[0], plane_mm, plane_mm))
    fine, hulls, femurs, keep = _legs(muscles, table, plane_mm)
    voxel_mm = (muscles.voxel_mm[0], plane_mm, plane_mm)
    hulls, femurs = [h[keep] for h in hulls], [f[keep] for f in femurs]
    return _measured(muscles, fine[keep], hulls, femurs, voxel_mm, keep.start)


def check_thigh(muscles: LabelMap, table: LabelTable) -> None:
    """Raise SourceError for a map of which `thigh_depths` can make nothing, before work starts.

    It looks at wider voxels first, which takes a third of a second, and may miss a border case.
    """
    try:
        _legs(muscles, table, CHECK_MM)
    except SourceError:
        _legs(muscles, table, PLANE_MM)


def _legs(
    muscles: LabelMap, table: LabelTable, plane_mm: float
) -> tuple[Rows, list[Mask], list[Mask], slice]:
    """The map at voxels of `plane_mm`, fascia and femur of each leg, and the slices to keep."""
    rows = thigh_rows(muscles.rows, table)
    bone = rows == kernel.CORTEX
    fine = finer(rows, muscles.voxel_mm, plane_mm)
    labelled = fine > 0
    if not labelled.any():
        raise SourceError(f"map {muscles.id}: no muscle of a thigh in it; is the table right?")
    legs = part_legs(labelled, (muscles.voxel_mm[0], plane_mm, plane_mm))
    hulls = [outline(labelled & leg, CLOSE_MM, plane_mm) for leg in legs]
    femurs = [find_femurs(fine, hull, plane_mm, bool(bone.any())) for hull in hulls]
    area = [hull.sum((1, 2)) for hull in hulls]
    filled = [
        (labelled & hull).sum((1, 2)) / np.maximum(a, 1)
        for hull, a in zip(hulls, area, strict=True)
    ]
    good = np.all(
        [(f >= LEAST_FILLED) & femur.any((1, 2)) for f, femur in zip(filled, femurs, strict=True)],
        0,
    )
    keep = _longest_run(good)
    if keep.stop - keep.start < LEAST_SLICES:
        most = np.min(filled, 0).max(initial=0)
        raise SourceError(
            f"map {muscles.id}: {keep.stop - keep.start} slices in a row have a femur and labels "
            f"in {LEAST_FILLED:g} of the fascia's inside (the best slice in {most:.2f}), "
            f"{LEAST_SLICES} are needed; is it a muscle map of thighs?"
        )
    return fine, hulls, femurs, keep


def thigh_rows(rows: Rows, table: LabelTable) -> Rows:
    """Rows of the table `thigh` for rows of another table, by their names without the side.

    Muscles that `thigh` does not name become "other muscle", a femur CORTEX, other parts nothing.
    """
    target = open_table("thigh")
    look_up = np.zeros(len(table), np.uint8)
    for i, row in enumerate(table.rows):
        name = row.name.removeprefix("left ").removeprefix("right ")
        if name in target.names[kernel.MUSCLE :]:
            look_up[i] = target.row(name)
        elif row.tissue == "skeletal muscle":
            look_up[i] = kernel.MUSCLE
        elif name == "femur":
            look_up[i] = kernel.CORTEX
    return look_up[rows]


def _longest_run(good: Mask) -> slice:
    """The longest run of True."""
    label, count = ndimage.label(good)
    if not count:
        return slice(0, 0)
    run = np.flatnonzero(label == 1 + int(np.argmax(np.bincount(label)[1:])))
    return slice(int(run[0]), int(run[-1]) + 1)


def _measured(
    muscles: LabelMap,
    fine: Rows,
    hulls: list[Mask],
    femurs: list[Mask],
    voxel_mm: tuple[float, float, float],
    first: int,
) -> ThighDepths:
    """The depths of the slices that are kept."""
    plane_mm = voxel_mm[1]
    box = _box(np.any(hulls, 0), plane_mm)
    fine, hulls = fine[box].copy(), [hull[box] for hull in hulls]
    femur = np.any([f[box] for f in femurs], 0)
    fine[femur | (fine == kernel.CORTEX)] = 0
    fine[~np.any(hulls, 0)] = 0
    hull_mm = np.stack([_outward(hull, plane_mm) for hull in hulls], 1)
    muscle, depth = np.zeros_like(fine), np.zeros(fine.shape, np.float32)
    femur_mm = np.zeros(fine.shape, np.float32)
    for z in range(len(fine)):
        femur_mm[z] = signed_mm(femur[z], plane_mm, 2 * RIM_MM)
        muscle[z], depth[z] = _compartments(fine[z], hull_mm[z].max(0), femur_mm[z], plane_mm)
    sides = ("right", "left") if len(hulls) == 2 else (_side(fine, femur),)
    places = np.stack([_places(muscle, depth, hull, femur & hull, plane_mm) for hull in hulls], 1)
    levels = _levels(len(fine), voxel_mm[0])
    fixed = partial(_fixed, 1 / kernel.STEP_MM)
    return ThighDepths(
        muscles.id, muscles.subject, muscle, fixed(depth), fixed(hull_mm), fixed(femur_mm),
        places, sides, levels, voxel_mm, first,
    )  # fmt: skip


def _outward(hull: Mask, plane_mm: float) -> Floats:
    """Depth inside a fascia; outside, negative, how far from its convex hull, which fat fills."""
    made = np.zeros(hull.shape, np.float32)
    for z in range(len(hull)):
        inside = signed_mm(hull[z], plane_mm, 5.0)
        outside = signed_mm(convex(hull[z]), plane_mm, MARGIN_MM)
        smooth = ndimage.gaussian_filter(inside, 1.2 / plane_mm)
        made[z] = np.where(smooth > 0, smooth, np.minimum(outside, -kernel.STEP_MM))
    return made


def _fixed(scale: float, mm: Floats) -> Depth:
    return np.clip(np.round(mm * scale), -32000, 32000).astype(np.int16)


def _box(mask: Mask, plane_mm: float) -> tuple[slice, slice, slice]:
    """The box of a mask in the plane with MARGIN_MM around it, as far as there is room."""
    margin = round(MARGIN_MM / plane_mm)
    slices = [slice(None)]
    for axis, n in ((1, mask.shape[1]), (2, mask.shape[2])):
        there = np.flatnonzero(mask.any((0, 3 - axis)))
        slices.append(slice(max(0, int(there[0]) - margin), min(n, int(there[-1]) + margin + 1)))
    return slices[0], slices[1], slices[2]


def _compartments(
    rows: Rows, hull_mm: Floats, femur_mm: Floats, plane_mm: float
) -> tuple[Rows, Floats]:
    """(muscle that is there or nearest, depth in mm inside it) for a plane.

    Wide room inside the fascia is taken for a muscle that the map lacks.
    """
    gap, nearest = ndimage.distance_transform_edt(rows == 0, return_indices=True)
    taken = np.maximum(femur_mm, 0) > 0
    room = (hull_mm > RIM_MM) & ~taken & (rows == 0)
    core = room & (np.minimum(gap * plane_mm, np.maximum(hull_mm, 0)) > OTHER_MM)
    core &= femur_mm < -RIM_MM
    if core.any():
        grown = ndimage.distance_transform_edt(~core) * plane_mm < OTHER_MM - RIM_MM
        rows = np.where(
            _large(grown & room, OTHER_MM2 / plane_mm**2), np.uint8(kernel.MUSCLE), rows
        )
        gap, nearest = ndimage.distance_transform_edt(rows == 0, return_indices=True)
    owner = rows[tuple(nearest)]
    edge = np.zeros(rows.shape, bool)
    for axis in (0, 1):
        steps = np.diff(owner.astype(np.int16), axis=axis) != 0
        low, high = ([slice(None)] * 2 for _ in range(2))
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        edge[tuple(low)] |= steps
        edge[tuple(high)] |= steps
    border = np.asarray(ndimage.distance_transform_edt(~edge), np.float32) * plane_mm
    inside = np.minimum(border, hull_mm)
    depth = np.where(rows > 0, inside, 0.5 * plane_mm - gap * plane_mm)
    return owner, np.asarray(depth, np.float32)


def _large(mask: Mask, voxels: float) -> Mask:
    """The parts of a mask of at least so many voxels."""
    label, _ = ndimage.label(mask)
    return np.asarray((np.bincount(label.ravel()) >= voxels)[label] & mask)


def _side(fine: Rows, femur: Mask) -> str:
    """Of one leg: a vastus lateralis is on the outer side of the femur."""
    lateral = fine == open_table("thigh").row("vastus lateralis")
    x = np.arange(fine.shape[2])
    out, bone = (m.sum((0, 1)) for m in (lateral, femur))
    return (
        "left"
        if (out * x).sum() / max(out.sum(), 1) > (bone * x).sum() / max(bone.sum(), 1)
        else "right"
    )


def _places(
    muscle: Rows, depth: Floats, hull: Mask, femur: Mask, plane_mm: float
) -> NDArray[np.float64]:
    """(z, 5, 2) mm: centre, femur, artery, vein and nerve of one leg, smooth along z."""
    names = open_table("thigh")
    table = np.zeros((len(hull), 5, 2))
    for z in range(len(hull)):
        centre, bone = (np.array(ndimage.center_of_mass(m[z])) for m in (hull, femur))
        where = partial(_centre, muscle[z], depth[z], hull[z])
        inner = where(names.row("sartorius"), centre)
        canal = inner + (bone - inner) * 0.35
        parts = ("biceps femoris long", "semitendinosus", "adductor magnus")
        deep = np.mean([where(names.row(part), centre) for part in parts], 0)
        artery = _roomiest(depth[z], hull[z], canal, round(9 / plane_mm))
        nerve = _roomiest(depth[z], hull[z], 0.75 * deep + 0.25 * bone, round(9 / plane_mm))
        away = (centre - bone) / max(float(np.linalg.norm(centre - bone)), 1e-3)
        table[z] = centre, bone, artery, artery + away * 7.5 / plane_mm, nerve
    smooth = table.copy()
    smooth[:, 2:] = ndimage.gaussian_filter1d(table[:, 2:], 1.0, 0, mode="nearest")
    return smooth * plane_mm


def _centre(
    muscle: Rows, depth: Floats, hull: Mask, row: int, otherwise: NDArray[np.float64]
) -> NDArray[np.float64]:
    there = (muscle == row) & hull & (depth > 0)
    return np.array(ndimage.center_of_mass(there)) if there.any() else otherwise


def _roomiest(
    depth: Floats, hull: Mask, at: NDArray[np.float64], reach: int
) -> NDArray[np.float64]:
    """The place within `reach` voxels of `at` that is farthest from all muscles, or least deep."""
    low = np.clip(np.floor(at).astype(int) - reach, 0, np.array(depth.shape) - 1)
    near = tuple(slice(int(a), int(a) + 2 * reach + 2) for a in low)
    rows, columns = np.ogrid[near]
    away = np.hypot(rows - at[0], columns - at[1])
    score = np.where(hull[near] & (away <= reach), -depth[near] - 0.1 * away, -1e3)
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    return low + np.array(best, float) if score[best] > -1e3 else np.round(at)


def _levels(slices: int, slice_mm: float) -> NDArray[np.float64]:
    """(z,) guessed levels of a stack of slices.

    A thigh is widest near level 0.25, so the upper end of the stack is put there; a stack that
    would then reach beyond the knee is put about the middle, and pressed together if it is longer.
    """
    z = np.arange(slices)
    step = slice_mm / LENGTH_MM
    levels = 0.25 + (z[-1] - z) * step
    if levels[0] > 0.92:
        levels = 0.55 + (z[-1] / 2 - z) * min(step, 0.7 / max(len(z) - 1, 1))
    return np.asarray(levels)
