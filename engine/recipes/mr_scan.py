"""One contrast of one sample: its slices and their fields, then the way through k-space."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols
from voxelmill.engine.draw import Stream, TruncatedNormal
from voxelmill.engine.recipes.mr_body import Grid, key_of, smooth_fields
from voxelmill.engine.recipes.mr_ranges import FIELDS_TESLA, ORDERS, WINDOWS, Acquisition, Scanner
from voxelmill.engine.tissues import FAT, POOLS

NAMES = (
    "tesla",
    "b1",
    "b1_rms",
    "b0_rms_hz",
    "bias_log_rms",
    "fields.b1",
    "fields.b0",
    "fields.bias",
    "motion.path",
)
MAJOR = (
    "skeletal muscle", "subcutaneous fat", "white matter", "grey matter", "liver", "spleen",
    "kidney cortex",
)  # fmt: skip
B1_BINS = 17
B1_LEAST, B1_MOST = 0.25, 1.75
GAP = 0.999  # of a voxel: thinner slices are the grid's own
MOST_PARTS = 24  # along z, of a thick slice
_HALF_HEIGHT = sqrt(8 * np.log(2))  # width of a Gaussian at half height, in sigmas
_PATH = 64 * 6  # numbers of one contrast's movement at the most
_WIDTH = {"none": 1.0, "hamming": 1.0, "tukey": 0.3, "fermi": 0.05}


@dataclass(frozen=True)
class Scene:
    """A sample before any contrast: its labels in slices, and the fields that these lie in.

    grid: the slices (or the volume) in which it is acquired. fine: (1, ...) rows of parts of its
    voxels. z_weights: of the slice profile, or None. b1, b0_hz, receive: (1, z, y, x) float32.
    """

    grid: Grid
    fine: NDArray[np.uint8]
    z_weights: NDArray[np.float32] | None
    tesla: float
    b1: NDArray[np.float32]
    b0_hz: NDArray[np.float32]
    receive: NDArray[np.float32]
    fat: NDArray[np.float32] | None = None  # a share of fat inside the labels that have a fat row
    fat_rows: NDArray[np.int16] | None = None


@dataclass(frozen=True)
class Magnet:
    """One draw of a scanner's fields: columns of a recipe's Params."""

    tesla: float = field(metadata={"unit": "T", "meaning": "field strength"})
    b1: float = field(metadata={"meaning": "mean share of the nominal flip angle"})
    b1_rms: float = field(metadata={"meaning": "its variation in space, relative to it"})
    b0_rms_hz: float = field(metadata={"unit": "Hz", "meaning": "variation of the static field"})
    bias_log_rms: float = field(metadata={"meaning": "of the receive gain's logarithm"})


def draw_magnet(ranges: Scanner, stream: Stream) -> dict[str, float]:
    """The fields of `Magnet`."""
    tesla = FIELDS_TESLA[ranges.tesla.draw(stream, "tesla")]
    numbers = {
        name: getattr(ranges, name).draw(stream, name)
        for name in ("b1", "b1_rms", "b0_rms_hz", "bias_log_rms")
    }
    numbers["b0_rms_hz"] *= tesla / 3
    return {"tesla": tesla, **numbers}


def magnet_fields(
    ranges: Scanner, magnet: Magnet, grid: Grid, stream: Stream
) -> tuple[NDArray[np.float32], ...]:
    """B1 (share of the nominal flip angle), B0 offset in Hz and receive gain, on a grid."""
    rms = {
        "fields.b1": magnet.b1_rms,
        "fields.b0": magnet.b0_rms_hz,
        "fields.bias": magnet.bias_log_rms,
    }
    b1, b0, bias = smooth_fields(grid, ranges.smooth_mm, rms, stream)
    shares = np.clip(np.float32(magnet.b1) * (1 + b1), B1_LEAST, B1_MOST)
    return shares.astype(np.float32), b0, np.exp(bias)


def slice_grid(grid: Grid, thickness_mm: float, spacing: float) -> Grid:
    """The slices that tile a grid, at most `spacing` thicknesses apart; itself if they are thin."""
    depth, height, width = grid.shape
    if thickness_mm * spacing <= grid.voxel_mm[0] * (2 - GAP) or depth == 1:
        return grid
    extent = depth * grid.voxel_mm[0]
    count = max(1, round(extent / (thickness_mm * spacing)))
    wide = max(1.0, 4 * thickness_mm * count / extent / _HALF_HEIGHT)  # profile, in slices
    most = min(MOST_PARTS, int((_most_taps(grid) - 2) / wide))
    parts = max(2, min(most, ceil(extent / count / grid.voxel_mm[0] * grid.fine[0])))
    return Grid(
        (count, height, width), (extent / count, *grid.voxel_mm[1:]), (parts, *grid.fine[1:])
    )


def _most_taps(grid: Grid) -> int:
    """Sub-slices of a slice that a look-up can take at the parts of its voxels in the plane."""
    from voxelmill.kernels.contrast import PARTS

    return PARTS // (grid.fine[1] * grid.fine[2])


def slice_profile(grid: Grid, thickness_mm: float) -> NDArray[np.float32] | None:
    """Weights of sub-slices: a Gaussian as wide at half height as the slice is thick, to 2 sigma.

    (Less far only where a slice thicker than the volume has parts that no look-up can take.) None,
    a box, where slices are as thick as a voxel of one part.
    """
    part_mm = grid.voxel_mm[0] / grid.fine[0]
    sigma = thickness_mm / part_mm / _HALF_HEIGHT
    reach = min(ceil(2 * sigma - grid.fine[0] / 2), (_most_taps(grid) - grid.fine[0]) // 2)
    taps = grid.fine[0] + 2 * max(reach, 0)
    if taps == 1:
        return None
    at = np.arange(taps) - (taps - 1) / 2
    return np.exp(-0.5 * (at / sigma) ** 2).astype(np.float32)


def brightest(shown: NDArray[np.float64], names: Sequence[str]) -> float:
    """The unit of an image: the most that a major tissue shows, of all labels if there is none.

    shown: magnitudes of labels; names: their tissues. Vessels, which are small, do not count, so
    that the signal-to-noise ratio is that of what fills the picture.
    """
    major = shown[[name in MAJOR for name in names]]
    return max(float((major if major.any() else shown).max()), 1e-6)


def look_up(
    scene: Scene, signals: NDArray[np.complex64], b1_bins: tuple[float, float]
) -> NDArray[np.complex64]:
    """Pools of one contrast, (1, pool, z, y, x), by signals (row, b1, pool)."""
    from voxelmill.kernels.contrast import paint

    table = np.stack([signals.real, signals.imag], -1)[None, :, :, None].astype(np.float32)
    b1 = scene.b1 if signals.shape[1] > 1 else None
    made = paint(
        scene.fine, table, scene.grid.shape, scene.z_weights, b1=b1, b1_bins=b1_bins,
        fat=scene.fat, fat_rows=scene.fat_rows,
    )  # fmt: skip
    return np.asarray(made[:, 0])


def b1_steps(scene: Scene) -> tuple[NDArray[Any], tuple[float, float]]:
    """The B1 values of a signal table, and (first, step) as kernels take them."""
    low, high = float(scene.b1.min()), float(scene.b1.max())
    step = max((high - low) / (B1_BINS - 1), 1e-3)
    return low + step * np.arange(B1_BINS), (low, step)


def acquired(
    scene: Scene,
    ranges: Acquisition,
    row: protocols.Row,
    pools: NDArray[np.complex64],
    noise_sd: float,
    stream: Stream,
    noise_name: str,
    slot: int,
    trains: NDArray[np.float64] | None = None,
    complex_image: bool = False,
) -> Any:
    """The image (1, z, y, x) of `pools`, in their unit; columns of `row` say how.

    trains: (pool, echo) weights of an echo train whose centre `row` names, or None. slot: which
    contrast of the sample it is. complex_image: with phase, for what is computed from several.
    """
    from voxelmill.engine import acquire
    from voxelmill.engine import acquisition as a

    grid = scene.grid
    three_d = protocols.SEQUENCES[int(row["sequence"])].three_d if row["sequence"] >= 0 else False
    plan = a.Acquisition(
        axes=(-3, -2, -1) if three_d and grid.shape[0] > 1 else (-2, -1),
        voxel_mm=np.array([grid.voxel_mm], np.float32),
        sampling=_sampling(grid, row),
        chemical_shift_px=_chemical_shift_px(scene, row, pools.shape[1]),
        receive=scene.receive,
        field=a.Inhomogeneity(
            scene.b0_hz, np.array([row["distortion"] / row["bandwidth_hz"]], np.float32)
        ),
        train=None if trains is None else a.Train(
            trains[None], np.array([trains.shape[1]]), np.array([int(row["centre"])])
        ),
        poses=_poses(row, stream, slot),
        coils=_coils(grid, ranges.coils),
        interference=_interference(grid, row, pools, three_d),
        noise=a.Noise(np.array([noise_sd], np.float32), key_of(stream, noise_name)),
    )  # fmt: skip
    return (acquire.acquire_complex if complex_image else acquire.acquire)(pools, plan)


def _sampling(grid: Grid, row: protocols.Row) -> Any:
    from voxelmill.engine.acquisition import Sampling

    depth, height, width = grid.shape
    lines = [max(1, round(row[f"matrix_{a}"] * n)) for a, n in (("y", height), ("x", width))]
    window = WINDOWS[int(row["window"])]
    return Sampling(
        matrix=np.array([[depth, *lines]]),
        order=(ORDERS[int(row["order"])],),
        partial=np.array([row["partial_fourier"]]),
        homodyne=np.array([bool(row["homodyne"])]),
        window=(window,),
        width=np.array([_WIDTH[window]]),
    )


def _chemical_shift_px(scene: Scene, row: protocols.Row, pools: int) -> NDArray[np.float64] | None:
    from voxelmill.kernels.spectrum import shift_hz

    if pools < len(POOLS):
        return None
    fat = float(shift_hz(protocols.MAIN_PPM, scene.tesla)) / row["bandwidth_hz"]
    return np.array([[fat if p == POOLS.index(FAT) else 0.0 for p in range(pools)]])


def _poses(row: protocols.Row, stream: Stream, slot: int) -> NDArray[np.float64] | None:
    """A random walk through the scan, of the drawn root mean squares."""
    if not (row["motion_mm"] or row["motion_deg"]) or row["motion_poses"] < 2:
        return None
    count = int(row["motion_poses"])
    steps = TruncatedNormal(-3, 3).draws(stream, "motion.path", 6 * count, _PATH * slot)
    path = np.cumsum(steps.reshape(count, 6), 0)
    path = (path - path.mean(0)) / np.maximum(path.std(0), 1e-9)
    return (path * ([row["motion_mm"]] * 3 + [row["motion_deg"]] * 3))[None]


def _coils(grid: Grid, count: int) -> Any:
    from voxelmill.engine.acquisition import Coils
    from voxelmill.kernels.coils import ring

    if count == 1:
        return None
    _, height, width = np.multiply(grid.shape, grid.voxel_mm)
    centres, axes = ring(count, (0.6 * height, 0.6 * width))
    radius = np.array([np.pi * 0.6 * (height + width) / 2 / count], np.float32)
    return Coils(centres[None], axes[None], radius)


def _interference(
    grid: Grid, row: protocols.Row, pools: NDArray[np.complex64], three_d: bool
) -> Any:
    from voxelmill.engine.acquisition import Interference
    from voxelmill.kernels.lines import uneven

    if not (row["ghost_depth"] or row["spike_height"]):
        return None
    depth, height, width = grid.shape
    period = np.array([int(row["ghost_period"]) if row["ghost_depth"] else 0])
    weights = uneven(height, period, np.array([1 - row["ghost_depth"]]), np.zeros(1))
    middle = 0 if three_d else depth // 2  # a frequency of a volume, the number of a slice
    place = [[middle, *(int((row[f"spike_{a}"] - 0.5) * n * row[f"matrix_{a}"])
                            for a, n in (("y", height), ("x", width)))]]  # fmt: skip
    mean = abs(pools.sum(1)).mean()
    return Interference(weights, np.array([place]), np.array([[row["spike_height"] * mean]]))


def noise_names(contrasts: Sequence[str]) -> tuple[str, ...]:
    """The name by which each contrast draws its noise; a recipe lists them in its NAMES."""
    return tuple(f"noise.{contrast}" for contrast in contrasts)


def on_grid(image: Any, grid: Grid) -> NDArray[np.float32]:
    """Slices brought to a grid that spans the same volume: (1, z, y, x), linear between them."""
    from voxelmill.kernels.slices import between

    count, depth = image.shape[1], grid.shape[0]
    if count == depth:
        return np.asarray(image)
    places = ((np.arange(count) + 0.5) * depth / count - 0.5).astype(np.float32)
    return np.asarray(between(image, places[None], depth))
