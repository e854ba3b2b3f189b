"""From drawn objects to pixels: rasterise, shade, paste and label a micro-batch of chest films."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, cos, radians, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.recipes.cxr_shapes import Floats

CUTOUT_ALPHA = 10 / 255  # a cut-out's mask is where its alpha is above this; as published
SOFT_RADIUS = 4  # of the soft edge, in sigmas
DARK_GREY = 128  # below it an object darkens, and attenuates twice as fast; as published


@dataclass
class Patches:
    """Shapes of a batch as pixel windows: see `voxelmill.kernels.raster.windows`."""

    windows: NDArray[np.int32]
    starts: NDArray[np.int64]
    flat: Floats

    def take(self, which: NDArray[np.int64]) -> "Patches":
        """The patches `which`, in that order."""
        from voxelmill.kernels.patches import take

        flat, starts = take(self.flat, self.starts, which)
        return Patches(self.windows[which], starts, flat)


@dataclass
class Scene:
    """What a batch is made of, collected object by object, then painted in one go.

    Shapes are polygons or cut-outs; an object is a shape that is its silhouette; a layer is a shape
    that is painted. Both are in z-order, sample by sample.
    """

    size: int
    vertices: list[Floats] = field(default_factory=list)
    ring_lengths: list[int] = field(default_factory=list)
    rings_a_shape: list[int] = field(default_factory=list)
    margins: list[int] = field(default_factory=list)
    cutouts: list[tuple[Mapping[str, float], tuple[int, ...], int]] = field(default_factory=list)
    objects: list[tuple[int, int, int, int]] = field(default_factory=list)
    layers: list[tuple[int, int, float, float, float, float]] = field(default_factory=list)

    def add_shape(self, rings: Sequence[Floats], sigma_px: float) -> int:
        """A polygon shape of several rings, non-zero fill; returns its number."""
        self.vertices.extend(rings)
        self.ring_lengths.extend(len(ring) for ring in rings)
        self.rings_a_shape.append(len(rings))
        self.margins.append(ceil(SOFT_RADIUS * sigma_px))
        return len(self.margins) - 1

    def add_quads(self, quads: Floats, sigma_px: float) -> int:
        """A shape for each of `quads` (n, 4, 2), then one of all together; returns its number."""
        n = len(quads)
        self.vertices.extend([quads.reshape(-1, 2), quads.reshape(-1, 2)])
        self.ring_lengths.extend([4] * (2 * n))
        self.rings_a_shape.extend([1] * n + [n])
        self.margins.extend([ceil(SOFT_RADIUS * sigma_px)] * (n + 1))
        return len(self.margins) - 1

    def add_cutout(self, row: Mapping[str, float], key: tuple[int, ...], slot: int) -> int:
        """A cut-out by its drawn row and the address of its warp; returns ~ its number."""
        self.cutouts.append((row, key, slot))
        return ~(len(self.cutouts) - 1)

    def add_object(self, shape: int, sample: int, number: int, kind: int) -> None:
        """`shape` is the silhouette of object `number` (from 1) of class `kind`."""
        self.objects.append((shape, sample, number, kind))

    def add_layer(
        self, shape: int, sample: int, grey: float, opacity: float, sigma_px: float, mu: float
    ) -> None:
        """Paint `shape` with `grey`; sigma_px > 0 softens it, mu > 0 attenuates (Beer-Lambert)."""
        self.layers.append((shape, sample, grey, opacity, sigma_px, mu))

    def raster(self) -> Patches:
        """The coverage of all polygon shapes."""
        from voxelmill.kernels import raster

        vertices = np.concatenate([*self.vertices, np.empty((0, 2), np.float32)])
        rings = np.concatenate([[0], np.cumsum(self.ring_lengths, dtype=np.int64)]).astype(np.int64)
        shapes = np.concatenate([[0], np.cumsum(self.rings_a_shape, dtype=np.int64)])
        shapes = shapes.astype(np.int64)
        canvas, margins = (self.size, self.size), np.asarray(self.margins, np.int32)
        windows, starts = raster.windows(vertices, rings, shapes, canvas, margins)
        even_odd = np.zeros(len(margins), np.bool_)
        flat = raster.coverage(vertices, rings, shapes, even_odd, windows, starts)
        return Patches(windows, starts, flat)

    def warp(self, donors: Sequence[tuple[Floats, Floats]]) -> tuple[Patches, Floats]:
        """The alpha of all cut-outs, and their grey on the same patches."""
        from voxelmill.kernels import cutout

        rows = [row for row, _, _ in self.cutouts]
        which = np.array([int(row["donor"]) for row in rows], np.int32)
        sizes = np.array([grey.shape for grey, _ in donors], np.int32)
        donor_starts = np.concatenate([[0], np.cumsum(sizes.prod(1, dtype=np.int64))])
        inverse = np.stack([_inverse(row, sizes[d]) for row, d in zip(rows, which, strict=True)])
        windows, starts = _cutout_windows(rows, sizes[which], self.size)
        alpha, texture = cutout.warp(
            np.concatenate([grey.ravel() for grey, _ in donors]),
            np.concatenate([alpha.ravel() for _, alpha in donors]),
            donor_starts.astype(np.int64),
            sizes,
            which,
            inverse.astype(np.float32),
            _column(rows, "elastic_px"),
            _column(rows, "elastic_sigma_px"),
            _column(rows, "grow_px"),
            _column(rows, "brightness"),
            np.array([key for _, key, _ in self.cutouts], np.uint32),
            windows,
            starts,
            np.array([slot for _, _, slot in self.cutouts], np.int64),
        )
        return Patches(windows, starts, alpha), texture


def _column(rows: Sequence[Mapping[str, float]], name: str) -> Floats:
    return np.array([row[name] for row in rows], np.float32)


def _inverse(row: Mapping[str, float], donor: NDArray[np.int32]) -> NDArray[np.float64]:
    """(2, 3): from a film pixel (y, x, 1) to the donor's: unscale, unturn, unflip about centres."""
    angle = radians(row["angle_deg"])
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    turn[1] *= -1.0 if row["flip"] else 1.0
    linear = turn / row["scale"]
    centre = np.array([row["centre_y_px"], row["centre_x_px"]])
    return np.concatenate([linear, (donor / 2 - linear @ centre)[:, None]], 1)


def _cutout_windows(
    rows: Sequence[Mapping[str, float]], sizes: NDArray[np.int32], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Pixel windows that hold the turned, scaled and warped donors, clipped to the film."""
    windows = np.zeros((len(rows), 4), np.int32)
    for i, row in enumerate(rows):
        angle = radians(row["angle_deg"])
        c, s = abs(cos(angle)), abs(sin(angle))
        half_y, half_x = sizes[i] * row["scale"] / 2
        reach = 4 * row["elastic_px"] + max(row["grow_px"], 0) + 1  # 4 rms: beyond it warps are cut
        y, x = row["centre_y_px"], row["centre_x_px"]
        dy, dx = half_y * c + half_x * s + reach, half_y * s + half_x * c + reach
        low = np.clip(np.floor([y - dy, x - dx]), 0, size).astype(int)
        high = np.clip(np.ceil([y + dy, x + dx]), 0, size).astype(int)
        windows[i] = *low, *(high - low)
    areas = windows[:, 2].astype(np.int64) * windows[:, 3]
    return windows, np.concatenate([[0], np.cumsum(areas)]).astype(np.int64)


@dataclass(frozen=True)
class Painted:
    """The arrays of a batch; boxes and areas have a row an object."""

    image: NDArray[Any]
    modal: NDArray[Any]
    amodal: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    silhouettes: Patches
    boxes: NDArray[np.int32]
    visible_boxes: NDArray[np.int32]
    area: NDArray[np.int64]
    visible: NDArray[np.int64]


def paint(
    scene: Scene, films: NDArray[Any], choice: NDArray[np.int32], donors: Any, id_dtype: str
) -> Painted:
    """Render the scene on `films` (film, y, x); sample b stands on film `choice[b]`."""
    from voxelmill.kernels import label, paste

    polygons = scene.raster()
    alpha, silhouette, texture = polygons, polygons, None
    if scene.cutouts:
        cut, texture = scene.warp(donors)
        alpha = _joined(polygons, _feathered(cut, scene))
        hard = Patches(cut.windows, cut.starts, (cut.flat > CUTOUT_ALPHA).astype(np.float32))
        silhouette = _joined(polygons, hard)
    first_cutout = len(polygons.windows)

    layers = np.array(scene.layers, np.float64).reshape(-1, 6)
    shapes = _shape_numbers(layers[:, 0], first_cutout)
    paints = alpha.take(shapes)
    sigma, mu = layers[:, 4].astype(np.float32), layers[:, 5].astype(np.float32)
    flat = _shaded(paints, sigma, mu)
    textures, texture_starts = _textures(shapes, first_cutout, paints, alpha, texture)
    batch = len(choice)
    image = paste.compose(
        films,
        choice,
        flat,
        paints.windows,
        paints.starts,
        layers[:, 1].astype(np.int32),
        layers[:, 3].astype(np.float32),
        layers[:, 2].astype(np.float32),
        textures,
        texture_starts,
        batch,
    )

    objects = np.array(scene.objects, np.int64).reshape(-1, 4)
    masks = silhouette.take(_shape_numbers(objects[:, 0], first_cutout))
    samples, ids = objects[:, 1].astype(np.int32), objects[:, 2].astype(id_dtype)
    kinds = objects[:, 3].astype(np.uint8)
    canvas = (scene.size, scene.size)
    where = masks.flat, masks.windows, masks.starts
    modal, amodal, semantic = label.maps(*where, samples, ids, kinds, batch, canvas)
    measures = label.measure(*where, samples, ids, modal)
    return Painted(image, modal, amodal, semantic, masks, *measures)


def _shape_numbers(numbers: NDArray[Any], first_cutout: int) -> NDArray[np.int64]:
    """Numbers into the joined patches: ~i stands for cut-out i, which come after the polygons."""
    n = numbers.astype(np.int64)
    return np.where(n < 0, first_cutout + ~n, n)


def _joined(a: Patches, b: Patches) -> Patches:
    return Patches(
        np.concatenate([a.windows, b.windows]),
        np.concatenate([a.starts, a.starts[-1] + b.starts[1:]]),
        np.concatenate([a.flat, b.flat]),
    )


def _feathered(cut: Patches, scene: Scene) -> Patches:
    from voxelmill.kernels import cutout

    widths = _column([row for row, _, _ in scene.cutouts], "feather_px")
    return Patches(
        cut.windows, cut.starts, cutout.feather(cut.flat, cut.windows, cut.starts, widths)
    )


def _shaded(paints: Patches, sigma_px: Floats, mu: Floats) -> Floats:
    """Alpha of each layer by its mode: as it is, softened, or by the thickness it stands for."""
    from voxelmill.kernels import distance, paste, patches

    flat = paints.flat
    if sigma_px.any():
        flat = paste.soften(flat, paints.windows, paints.starts, sigma_px)
    thick = np.flatnonzero(mu)
    if len(thick):
        part = paints.take(thick)
        depth = distance.thickness(part.flat, part.windows, part.starts)
        part_alpha = paste.attenuate(part.flat, depth, part.starts, mu[thick])
        patches.put(flat, paints.starts, thick, part_alpha)
    return flat


def _textures(
    shapes: NDArray[np.int64],
    first_cutout: int,
    paints: Patches,
    alpha: Patches,
    texture: Floats | None,
) -> tuple[Floats, NDArray[np.int64]]:
    """The grey of textured layers one after the other, and where each begins; others are empty."""
    is_cutout = shapes >= first_cutout
    lengths = np.where(is_cutout, np.diff(paints.starts), 0)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if texture is None:
        return np.empty(0, np.float32), starts
    offset = alpha.starts[first_cutout]
    greys = Patches(alpha.windows[first_cutout:], alpha.starts[first_cutout:] - offset, texture)
    return greys.take(shapes[is_cutout] - first_cutout).flat, starts
