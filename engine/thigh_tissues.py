"""Thighs from muscle maps: the tissues that such maps lack, by a geometric model.

`thigh_depths` finds the legs of a map, the fascia lata around their muscles and the femur, once a
map; `derive_tissues` paints skin, subcutaneous and intermuscular fat, fascia, cortex, marrow,
vessels and a nerve with the thicknesses drawn, once a sample.
"""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.kept import Kept
from voxelmill.engine.label_maps import SHIPPED, LabelMaps
from voxelmill.engine.label_table import Rows
from voxelmill.engine.thigh_depths import Depth, ThighDepths, check_thigh, thigh_depths
from voxelmill.engine.thigh_noise import thigh_noise
from voxelmill.engine.thigh_outline import MARGIN_MM
from voxelmill.engine.thigh_params import ThighParams
from voxelmill.engine.thigh_shape import fat_layers, shell_layers
from voxelmill.kernels import thigh as kernel

__all__ = ["ThighDepths", "ThighMaps", "derive_tissues", "thigh_depths"]
BUNDLE = ((3.4, 1.6), (4.3, 1.6), (4.0, 1.8))  # radius and sheath of artery, vein, nerve in mm
CACHE_BYTES = 320 * 2**20  # six maps of both thighs, as many as ship


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
        for v, (r, sheath) in enumerate(BUNDLE):
            vessels[:, k, v, :2] = places[:, 2 + v]
            vessels[:, k, v, 2], vessels[:, k, v, 3] = r * (1 + 0.2 * z[v]), sheath
    legs[..., kernel.REACH] = legs[..., kernel.REACH].max(1, keepdims=True)  # one fat meets another
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


class ThighMaps:
    """The depths of muscle maps by number, made when asked for and kept; pickles without them."""

    def __init__(self, maps: LabelMaps, cache_bytes: int = CACHE_BYTES) -> None:
        self.maps, self.cache_bytes = maps, cache_bytes
        self._kept: Kept[ThighDepths] = Kept(cache_bytes)
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """As its list of maps."""
        return ThighMaps, (self.maps, self.cache_bytes)

    def __len__(self) -> int:
        """How many maps there are."""
        return len(self.maps)

    def check(self, i: int) -> None:
        """Raise SourceError where map `i` shows no thigh; those that ship are known to."""
        if SHIPPED not in self.maps.sources[i].path.parents:
            check_thigh(self.maps.map(i), self.maps.label_table)

    def depths(self, i: int) -> ThighDepths:
        """Of map `i`; the first call takes a second or two.

        Raises SourceError where it shows no thigh.
        """
        with self._lock:  # one at a time: the work of a map is not done twice
            found = self._kept.get(i)
            if found is None:
                made = thigh_depths(self.maps.map(i), self.maps.label_table)
                found = self._kept.put(i, made)
            return found
