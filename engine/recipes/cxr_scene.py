"""The shapes of a micro-batch of `cxr_objects`: collected object by object, made pixels in one go.

A shape is a set of polygons or a cut-out. An object is a shape that is its silhouette; a layer is a
shape that is painted. Both are kept in z-order, sample by sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, cos, radians, sin
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.recipes.cxr_shapes import Floats
from voxelmill.engine.recipes.cxr_table import Numbers

SOFT_REACH = 4  # of the soft edge, in sigmas


class Owner(NamedTuple):
    """Whose silhouette: object `id` (from 1) of class `kind` on sample `sample` of the batch."""

    sample: int
    id: int
    kind: int


@dataclass
class Patches:
    """Shapes as pixel windows, which may stick out of the film: see `kernels.raster.windows`."""

    windows: NDArray[np.int32]
    starts: NDArray[np.int64]
    flat: Floats

    def take(self, which: NDArray[np.int64]) -> "Patches":
        """The patches `which`, in that order."""
        from voxelmill.kernels.patches import take

        flat, starts = take(self.flat, self.starts, which)
        return Patches(self.windows[which], starts, flat)

    def then(self, other: "Patches") -> "Patches":
        """These patches, and after them those of `other`."""
        return Patches(
            np.concatenate([self.windows, other.windows]),
            np.concatenate([self.starts, self.starts[-1] + other.starts[1:]]),
            np.concatenate([self.flat, other.flat]),
        )


@dataclass
class Scene:
    """What a micro-batch of films of `size` is made of. A cut-out's number is ~ its place."""

    size: int
    rings: list[Floats] = field(default_factory=list)
    ring_lengths: list[int] = field(default_factory=list)
    rings_a_shape: list[int] = field(default_factory=list)
    margins: list[int] = field(default_factory=list)
    cutouts: list[Numbers] = field(default_factory=list)
    warp_keys: list[tuple[int, ...]] = field(default_factory=list)
    objects: list[tuple[int, Owner]] = field(default_factory=list)
    layers: list[NDArray[np.float64]] = field(default_factory=list)

    def add_shape(self, rings: Sequence[Floats], margin_px: int) -> int:
        """Polygons under the non-zero rule, known up to a margin outside; returns its number."""
        self.rings.extend(rings)
        self.ring_lengths.extend(len(ring) for ring in rings)
        self.rings_a_shape.append(len(rings))
        self.margins.append(margin_px)
        return len(self.margins) - 1

    def add_quads(self, quads: Floats, margin_px: int) -> int:
        """A shape for each of `quads` (n, 4, 2), then one of all together; returns its number."""
        n = len(quads)
        self.rings.extend([quads.reshape(-1, 2)] * 2)
        self.ring_lengths.extend([4] * (2 * n))
        self.rings_a_shape.extend([1] * n + [n])
        self.margins.extend([margin_px] * (n + 1))
        return len(self.margins) - 1

    def add_cutout(self, row: Numbers, warp_key: tuple[int, ...]) -> int:
        """A cut-out by its drawn row and the address of its warp; returns its number, below 0."""
        self.cutouts.append(row)
        self.warp_keys.append(warp_key)
        return ~(len(self.cutouts) - 1)

    def add_object(self, shape: int, owner: Owner) -> None:
        """`shape` is the silhouette of `owner`."""
        self.objects.append((shape, owner))

    def add_layers(
        self, first: int, sample: int, grey: NDArray[np.float64], opacity: float, sigma_px: float,
        mu: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """The shapes from `first` on are painted on `sample`, one for each of `grey` and `mu`.

        sigma_px > 0 softens them, mu > 0 attenuates (Beer-Lambert).
        """
        block = np.empty((len(grey), 6))
        block[:, 0] = np.arange(first, first + len(grey))
        block[:, 1], block[:, 2], block[:, 3] = sample, grey, opacity
        block[:, 4], block[:, 5] = sigma_px, mu
        self.layers.append(block)

    def layer_table(self) -> NDArray[np.float64]:
        """(layer, 6): shape, sample, grey, opacity, sigma_px, mu, in the order of painting."""
        return np.concatenate([*self.layers, np.empty((0, 6))])

    def numbers(self, shapes: ArrayLike) -> NDArray[np.int64]:
        """Places among all patches, where cut-outs come after polygons."""
        n = np.asarray(shapes).astype(np.int64)
        return np.where(n < 0, len(self.margins) + ~n, n)

    def polygons(self) -> Patches:
        """The exact-area coverage of all polygon shapes."""
        from voxelmill.kernels import raster

        vertices = np.concatenate([*self.rings, np.empty((0, 2), np.float32)])
        rings, shapes = _starts(self.ring_lengths), _starts(self.rings_a_shape)
        margins = np.asarray(self.margins, np.int32)
        windows, starts = raster.windows(vertices, rings, shapes, (self.size,) * 2, margins)
        even_odd = np.zeros(len(margins), np.bool_)
        flat = raster.coverage(vertices, rings, shapes, even_odd, windows, starts)
        return Patches(windows, starts, flat)

    def warped(self, donors: Sequence[tuple[Floats, Floats]]) -> tuple[Patches, Floats]:
        """The alpha of all cut-outs, and their grey on the same patches."""
        from voxelmill.kernels import cutout

        rows = self.cutouts
        which = np.array([int(row["donor"]) for row in rows], np.int32)
        sizes = np.array([grey.shape for grey, _ in donors], np.int32)
        inverse = np.stack([_inverse(row, sizes[d]) for row, d in zip(rows, which, strict=True)])
        windows = np.stack(
            [_window(row, sizes[d], self.size) for row, d in zip(rows, which, strict=True)]
        )
        starts = _starts(windows[:, 2].astype(np.int64) * windows[:, 3])
        alpha, texture = cutout.warp(
            np.concatenate([grey.ravel() for grey, _ in donors]),
            np.concatenate([alpha.ravel() for _, alpha in donors]),
            _starts(sizes.prod(1, dtype=np.int64)),
            sizes,
            which,
            inverse.astype(np.float32),
            self.cutout_column("elastic_px"),
            self.cutout_column("elastic_sigma_px"),
            self.cutout_column("grow_px"),
            self.cutout_column("brightness"),
            np.array(self.warp_keys, np.uint32),
            windows,
            starts,
            self.cutout_column("z").astype(np.int64),
        )
        return Patches(windows, starts, alpha), texture

    def cutout_column(self, name: str) -> Floats:
        """A column of the cut-outs' rows."""
        return np.array([row[name] for row in self.cutouts], np.float32)


def _starts(lengths: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _inverse(row: Numbers, donor: NDArray[np.int32]) -> NDArray[np.float64]:
    """(2, 3): from a film pixel (y, x, 1) to the donor's: unscale, unturn, unflip about centres."""
    angle = radians(row["angle_deg"])
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    turn[1] *= -1.0 if row["flip"] else 1.0
    linear = turn / row["scale"]
    y, x = row["centre_y_px"], row["centre_x_px"]
    offset = donor / 2 - linear[:, 0] * y - linear[:, 1] * x
    return np.concatenate([linear, offset[:, None]], 1)


def _window(row: Numbers, donor: NDArray[np.int32], size: int) -> NDArray[np.int32]:
    """The window that holds the turned, scaled and warped donor.

    It sticks out of the film as far as the edge may grow, shrink or soften, so that an object that
    the film cuts off keeps its width there.
    """
    angle = radians(row["angle_deg"])
    c, s = abs(cos(angle)), abs(sin(angle))
    half_y, half_x = donor * row["scale"] / 2
    reach = 4 * row["elastic_px"] + max(row["grow_px"], 0) + 1  # 4 rms: beyond it warps are cut
    half = np.array([half_y * c + half_x * s, half_y * s + half_x * c]) + reach
    centre = np.array([row["centre_y_px"], row["centre_x_px"]])
    margin = ceil(abs(row["grow_px"]) + row["feather_px"]) + 2
    low = np.clip(np.floor(centre - half), -margin, size + margin)
    high = np.clip(np.ceil(centre + half), -margin, size + margin)
    return np.concatenate([low, high - low]).astype(np.int32)
