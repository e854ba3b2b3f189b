"""Thighs from muscle maps: the tissues that such maps lack, by a geometric model.

`thigh_depths` is done once a map: it finds the legs, the fascia lata around their muscles, the
femur (a label, or the hole that the vasti leave) and how deep each place lies in them.
`derive_tissues` is done once a sample: it paints skin, subcutaneous and intermuscular fat, fascia,
cortex, marrow, vessels and a nerve with the thicknesses drawn.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from voxelmill.engine.draw import Stream
from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_maps import LabelMap
from voxelmill.engine.label_table import LabelTable, Rows, open_table
from voxelmill.engine.thigh_noise import thigh_noise
from voxelmill.engine.thigh_params import ThighParams
from voxelmill.engine.thigh_shape import check_plane, fat_layers, shell_layers
from voxelmill.kernels import thigh as kernel

PLANE_MM = 0.8  # voxels of the depths in the plane: a cortex of 1.3 mm is a closed ring in them
SMOOTH_MM = 0.8  # by which the steps of a map are smoothed, each label apart
CLOSE_MM = 22.0  # gaps between muscles up to twice this are inside the fascia
SKIN_CLOSE_MM = 60.0  # hollows up to twice this are filled with fat under a smooth skin
LEAST_FILLED = 0.62  # of the fascia's inside that labels fill in a slice that is kept
OTHER_MM = 5.5  # a place inside the fascia that is farther from all labels is an unlabelled muscle
RIM_MM = 2.0  # the fat around that muscle
FEMUR_MM = (9.0, 32.0)  # radius of the largest disc in a femur
MARGIN_MM = 70.0  # kept around the fascia; fat is never thicker than leaves 2 mm of it
MOST_SHIFT_MM = 14.0  # of a femur between neighbouring slices
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
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


def derive_tissues(depths: ThighDepths, params: ThighParams, stream: Stream) -> Rows:
    """(z, y, x) rows of the table `thigh` on the grid of `depths`, with the thicknesses drawn.

    Of `params` those count that are marked (map) in ThighRanges.
    """
    legs = np.zeros((len(depths.levels), len(depths.sides), kernel.COLUMNS))
    vessels = np.zeros((*legs.shape[:2], kernel.VESSELS, 4))
    for k, side in enumerate(depths.sides):
        places, leg = depths.places[:, k], legs[:, k]
        leg[:, kernel.CENTRE_Y], leg[:, kernel.CENTRE_X] = places[:, 0].T
        leg[:, kernel.FEMUR_Y], leg[:, kernel.FEMUR_X] = places[:, 1].T
        thickest = _sample_mm(depths.femur, places[:, 1], depths.voxel_mm)
        shell_layers(leg, params, stream, side, depths.levels, thickest)
        fat_layers(leg, params, stream, side, np.ones(len(legs)))
        thickest_fat = np.abs(leg[:, kernel.THICKNESS :][:, : kernel.SERIES]).sum(1)
        leg[:, kernel.THICKNESS :][:, : kernel.SERIES] *= np.minimum(
            1, (MARGIN_MM - 2) / thickest_fat
        )[:, None]
        leg[:, kernel.REACH] = thickest_fat
        z = np.tanh(stream.normal("thigh.bundle", 128).astype(float)[64 * (side == "left") :][:8])
        for v, (r, sheath) in enumerate(((3.4, 1.6), (4.3, 1.6), (4.0, 1.8))):
            vessels[:, k, v, :2] = places[:, 2 + v]
            vessels[:, k, v, 2], vessels[:, k, v, 3] = r * (1 + 0.2 * z[v]), sheath
    noise = thigh_noise([stream], depths.shape, depths.voxel_mm, borders=False)
    arrays = depths.muscle, depths.depth, depths.hull, depths.femur
    tables = legs.astype(np.float32), vessels.astype(np.float32)
    return np.asarray(kernel.of_depths(*arrays, *tables, noise, depths.voxel_mm[1:]))


def _sample_mm(
    depth: Depth, places: NDArray[np.float64], voxel_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(z,) the depth in mm at a place of each slice."""
    y, x = np.round(places / voxel_mm[1:]).astype(int).T
    return depth[np.arange(len(depth)), y, x] * kernel.STEP_MM


def thigh_depths(muscles: LabelMap, table: LabelTable, plane_mm: float = PLANE_MM) -> ThighDepths:
    """The depths of a muscle map whose rows mean what `table` says, at voxels of `plane_mm`.

    Slices in which labels fill too little of the fascia's inside, or no femur is found, are left
    out at both ends. Raises SourceError where fewer than three slices remain.
    """
    check_plane((muscles.voxel_mm[0], plane_mm, plane_mm))
    rows = thigh_rows(muscles.rows, table)
    bone = rows == kernel.CORTEX
    fine = _finer(rows, muscles.voxel_mm, plane_mm)
    voxel_mm = (muscles.voxel_mm[0], plane_mm, plane_mm)
    labelled = fine > 0
    legs = _legs(labelled, voxel_mm)
    hulls = [_hull(labelled & leg, CLOSE_MM, plane_mm) for leg in legs]
    femurs = [_femurs(fine, hull, plane_mm, bool(bone.any())) for hull in hulls]
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
    if keep.stop - keep.start < 3:
        shares = ", ".join(f"{s:.2f}" for s in np.min(filled, 0))
        raise SourceError(
            f"map {muscles.id}: only {keep.stop - keep.start} slices in a row have a femur and "
            f"labels in {LEAST_FILLED:g} of the fascia's inside ({shares}); 3 are needed"
        )
    return _measured(
        muscles,
        fine[keep],
        [h[keep] for h in hulls],
        [f[keep] for f in femurs],
        voxel_mm,
        keep.start,
    )


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


def _finer(rows: Rows, voxel_mm: tuple[float, float, float], plane_mm: float) -> Rows:
    """The map at `plane_mm` with MARGIN_MM around it; labels are smoothed apart, the most wins."""
    sigma = [0.0, *(SMOOTH_MM / mm for mm in voxel_mm[1:])]
    sizes = [
        int(np.ceil((n * mm + 2 * MARGIN_MM) / plane_mm))
        for n, mm in zip(rows.shape[1:], voxel_mm[1:], strict=True)
    ]
    axes = [
        ((np.arange(size) - (size - 1) / 2) * plane_mm / mm + (n - 1) / 2)
        for size, n, mm in zip(sizes, rows.shape[1:], voxel_mm[1:], strict=True)
    ]
    out = np.zeros((len(rows), *sizes), np.uint8)
    most = np.full(out.shape, 0.5, np.float32)  # of any label against background
    for row in np.flatnonzero(np.bincount(rows.ravel(), minlength=256)[1:]) + 1:
        soft = ndimage.gaussian_filter((rows == row).astype(np.float32), sigma)
        for z, plane in enumerate(soft):
            if plane.any():
                value = _bilinear(plane, *axes)
                more = value > np.where(out[z] > 0, most[z], 0.4)
                most[z][more], out[z][more] = value[more], row
    return out


def _bilinear(plane: Floats, y: NDArray[np.float64], x: NDArray[np.float64]) -> Floats:
    """A plane at all places y by x; zero outside."""
    padded = np.pad(plane, 1)
    low_y, low_x = (
        np.clip(np.floor(v).astype(int) + 1, 0, n)
        for v, n in ((y, len(plane)), (x, plane.shape[1]))
    )
    wy = np.clip(y + 1 - low_y, 0, 1).astype(np.float32)[:, None]
    wx = np.clip(x + 1 - low_x, 0, 1).astype(np.float32)
    along = padded[low_y] * (1 - wy) + padded[low_y + 1] * wy
    return np.asarray(along[:, low_x] * (1 - wx) + along[:, low_x + 1] * wx, np.float32)


def _legs(labelled: Mask, voxel_mm: tuple[float, float, float]) -> list[Mask]:
    """Masks that part the plane between the legs, the right one (lesser x) first; or one."""
    profile = np.flatnonzero(labelled.any((0, 1)))
    low, high = int(profile[0]), int(profile[-1])
    if (high - low) * voxel_mm[2] < 1.35 * float(
        np.ptp(np.flatnonzero(labelled.any((0, 2))))
    ) * voxel_mm[1]:
        return [np.ones_like(labelled)]
    parts = [np.zeros_like(labelled), np.zeros_like(labelled)]
    columns = labelled.sum(1).astype(float)  # (z, x)
    x = np.arange(labelled.shape[2])
    middle = 0.5 * (low + high)
    right = [float((c * x)[x < middle].sum() / max(c[x < middle].sum(), 1)) for c in columns]
    left = [float((c * x)[x >= middle].sum() / max(c[x >= middle].sum(), 1)) for c in columns]
    for z, c in enumerate(ndimage.gaussian_filter1d(columns, 2, 1)):
        a, b = int(right[z] or low), int(left[z] or high)
        a, b = (a, b) if b > a + 2 else (low, high)
        inner = slice(a + (b - a) // 4, b - (b - a) // 4)  # the emptiest column between
        cut = inner.start + int(np.mean(np.flatnonzero(c[inner] == c[inner].min())))
        parts[0][z, :, :cut], parts[1][z, :, cut:] = True, True
    return parts


def _signed(mask: Mask, plane_mm: float) -> Floats:
    """Depth in mm inside a mask of a plane, negative outside; to the edges of voxels."""
    if not mask.any():
        return np.full(mask.shape, -1e3, np.float32)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    depth = np.where(mask, inside - 0.5, 0.5 - outside)
    return np.asarray(depth * plane_mm, np.float32)


def _closed(mask: Mask, by_mm: float, plane_mm: float) -> Mask:
    """A plane's mask with its hollows filled, then smoothed; its largest part."""
    margin = round(by_mm / plane_mm) + 2
    wide = _signed(np.pad(mask, margin), plane_mm) > -by_mm
    closed = ndimage.binary_fill_holes(_signed(wide, plane_mm) > by_mm)
    smooth = ndimage.gaussian_filter(np.asarray(closed, np.float32), 3.0 / plane_mm) > 0.5
    label, count = ndimage.label(smooth[margin:-margin, margin:-margin])
    return np.asarray(
        label == 1 + int(np.argmax(np.bincount(label.ravel())[1:])) if count else label > 0
    )


def _hull(mask: Mask, close_mm: float, plane_mm: float) -> Mask:
    """Slice by slice, the smooth outline around a mask; found at half the resolution."""
    out = np.zeros_like(mask)
    there = np.flatnonzero(mask.any((0, 1)))
    if not there.size:
        return out
    box = slice(max(int(there[0]) - 8, 0) // 2 * 2, int(there[-1]) + 8)
    size = mask.shape[1:]
    for z in np.flatnonzero(mask.any((1, 2))):
        coarse = _closed(mask[z, ::2, box][:, ::2], close_mm, 2 * plane_mm).astype(np.float32)
        fine = _bilinear(coarse, np.arange(size[0]) / 2, np.arange(mask[z, :, box].shape[1]) / 2)
        out[z, :, box] = fine > 0.5
    return out


def _femurs(rows: Rows, hull: Mask, plane_mm: float, labelled: bool) -> Mask:
    """The femur in each slice: its label, or the hole that the vasti leave; none where unsure."""
    found = [_femur_label, _femur_hole][not labelled]
    planes, centres = [], []
    for plane, inside in zip(rows, hull, strict=True):
        mask, centre = found(plane, inside, plane_mm)
        planes.append(mask)
        centres.append(centre)
    good = [c for c in centres if c is not None]
    if good:  # a femur is where it is in the slices around, or it is not one
        for z, centre in enumerate(centres):
            near = [c for c in centres[max(0, z - 2) : z + 3] if c is not None]
            if (
                centre is None
                or np.linalg.norm(centre - np.median(near, 0)) * plane_mm > MOST_SHIFT_MM
            ):
                planes[z] = np.zeros_like(planes[z])
    return np.stack(planes)


_Found = tuple[Mask, NDArray[np.float64] | None]


def _femur_label(rows: Rows, hull: Mask, plane_mm: float) -> _Found:
    mask = ndimage.binary_fill_holes((rows == kernel.CORTEX) & hull)
    return _whole_bone(np.asarray(mask), plane_mm)


def _femur_hole(rows: Rows, hull: Mask, plane_mm: float) -> _Found:
    """The roundest room amid the vasti, opened by most of its inner radius: without its necks."""
    names = open_table("thigh")
    vasti = np.isin(
        rows, [names.row(f"vastus {n}") for n in ("lateralis", "intermedius", "medialis")]
    )
    if not vasti.any():
        return np.zeros_like(hull), None
    room = hull & (rows == 0)
    depth = ndimage.distance_transform_edt(room) * plane_mm
    around = ndimage.distance_transform_edt(~vasti) * plane_mm
    embraced = _embraced(vasti, plane_mm)
    score = np.where(embraced, depth - 0.25 * np.maximum(around - depth, 0), 0)
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    radius = float(depth[y, x])
    if not embraced[y, x] or radius < FEMUR_MM[0]:
        return np.zeros_like(hull), None
    core = depth > 0.72 * radius
    label, _ = ndimage.label(core)
    core = label == label[y, x]
    opened = ndimage.distance_transform_edt(~core) * plane_mm < 0.72 * radius
    return _whole_bone(np.asarray(opened & room), plane_mm)


def _embraced(mask: Mask, plane_mm: float) -> Mask:
    """Places with the mask on at least three of four sides within 40 mm: in its crook."""
    reach = round(40 / plane_mm)
    count = np.zeros(mask.shape, np.uint8)
    for axis in (0, 1):
        for flip in (False, True):
            seen = np.cumsum(np.flip(mask, axis) if flip else mask, axis, dtype=np.int32)
            before = np.roll(seen, reach, axis)
            before[(slice(None),) * axis + (slice(0, reach),)] = 0
            ahead = seen > before
            count += np.flip(ahead, axis) if flip else ahead
    return np.asarray(count >= 3)


def _whole_bone(mask: Mask, plane_mm: float) -> _Found:
    """The largest part, smoothed, and its centre; nothing where it is too small or too large."""
    label, count = ndimage.label(mask)
    if not count:
        return np.zeros_like(mask), None
    largest = label == 1 + int(np.argmax(np.bincount(label.ravel())[1:]))
    smooth = _rounded(largest)
    radius = float(ndimage.distance_transform_edt(smooth).max()) * plane_mm
    if not FEMUR_MM[0] <= radius <= FEMUR_MM[1] or smooth.sum() * plane_mm**2 > 5 * radius**2:
        return np.zeros_like(mask), None
    return smooth, np.array(ndimage.center_of_mass(smooth))


def _rounded(mask: Mask) -> Mask:
    """The mask with a radius of three waves about its centre; spurs longer than 1.3 are cut."""
    cy, cx = ndimage.center_of_mass(mask)
    y, x = np.nonzero(mask)
    bins = 48
    angle = np.arctan2(y - cy, x - cx)
    sector = np.floor((angle + np.pi) / (2 * np.pi) * bins).astype(int) % bins
    radius = np.sqrt(2 * np.bincount(sector, minlength=bins) / (2 * np.pi / bins))
    waves = np.fft.rfft(np.minimum(radius, 1.3 * np.median(radius)))[:4] / bins
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    t = np.arctan2(rows - cy, columns - cx) + np.pi - np.pi / bins
    edge = waves[0].real + sum(
        2 * (w * np.exp(1j * k * t)).real for k, w in enumerate(waves[1:], 1)
    )
    return np.asarray(np.hypot(rows - cy, columns - cx) < edge)


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
        femur_mm[z] = _signed(femur[z], plane_mm)
        muscle[z], depth[z] = _compartments(fine[z], hull_mm[z].max(0), femur_mm[z], plane_mm)
    sides = ("right", "left") if len(hulls) == 2 else (_side(fine, femur),)
    places = np.stack([_places(muscle, depth, hull, femur & hull, plane_mm) for hull in hulls], 1)
    levels = _levels(np.mean([h.sum((1, 2)) for h in hulls], 0), voxel_mm[0])
    fixed = partial(_fixed, 1 / kernel.STEP_MM)
    return ThighDepths(
        muscles.id, muscles.subject, muscle, fixed(depth), fixed(hull_mm), fixed(femur_mm),
        places, sides, levels, voxel_mm, first,
    )  # fmt: skip


def _outward(hull: Mask, plane_mm: float) -> Floats:
    """Depth inside a fascia; outside, negative, how far from the smooth body fat makes of it."""
    body = _hull(hull, SKIN_CLOSE_MM, plane_mm)
    made = np.zeros(hull.shape, np.float32)
    for z in range(len(hull)):
        inside, outside = _signed(hull[z], plane_mm), _signed(body[z] | hull[z], plane_mm)
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
        rows = np.where(grown & room, np.uint8(kernel.MUSCLE), rows)
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
    y, x = np.round(at)
    rows, columns = np.ogrid[: depth.shape[0], : depth.shape[1]]
    away = np.hypot(rows - at[0], columns - at[1])
    score = np.where(hull & (away <= reach), -depth - 0.1 * away, -1e3)
    best = np.unravel_index(int(np.argmax(score)), score.shape)
    return np.array(best, float) if score[best] > -1e3 else np.array([y, x])


def _levels(area: NDArray[np.float64], slice_mm: float) -> NDArray[np.float64]:
    """(z,) levels of slices whose fascia has these areas: thighs are widest near 0.25, 410 mm long.

    The widest slice anchors the stack if the area falls on both sides of it; else its upper end
    is put at 0.25, or the middle at 0.5 where that leaves the thigh.
    """
    z = np.arange(len(area))
    step = slice_mm / 410
    levels = 0.25 + (z[-1] - z) * step
    if levels[0] > 0.92:
        levels = 0.55 + (z[-1] / 2 - z) * min(step, 0.7 / max(len(z) - 1, 1))
    return np.asarray(levels)
