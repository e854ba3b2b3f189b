"""Contrast without physics: a Gaussian for each label, or for each of several classes inside it.

The recipe of SynthSeg (Billot et al., Med. Image Anal. 2023), with partial volume: means and
deviations are mixed as signals are.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Range, Stream, TruncatedNormal, Uniform, ranged
from voxelmill.engine.label_table import LabelTable
from voxelmill.engine.recipes import mr_body, mr_scan
from voxelmill.engine.recipes.mr_body import Grid
from voxelmill.engine.recipes.mr_scan import Scene

NAMES = ("random.mean", "random.sd", "random.background", "random.dim", "random.bias",
         "random.gamma", "random.cluster", "random.texture")  # fmt: skip
MOST_CLUSTERS = 4
_MOST_DIM = np.array([15, 5]) / 255  # mean and deviation of a dim background
_SLOTS = 1024  # of the numbers of one contrast: 256 rows of four classes


@dataclass(frozen=True)
class Intensities:
    """Modes `random` and `subcluster`: a Gaussian a label, in units of the image.

    Means and deviations are those of SynthSeg (Billot et al. 2023, its training script), greys over
    255; its background is random in 0.7, dim in 0.25 and 0 in 0.05 of the images.
    """

    mean: Range = ranged(Uniform(25 / 255, 225 / 255), "mean of each label", low=0, high=10)
    sd: Range = ranged(Uniform(5 / 255, 25 / 255), "its standard deviation", low=0, high=10)
    background_chance: float = ranged(
        0.3, "that what is outside all labels is as random as they are", low=0, high=1
    )
    background_dim_chance: float = ranged(
        0.25, "that it is dim instead: up to 15 grey levels of 255; else it is 0", low=0, high=1
    )
    bias_log_rms: Range = ranged(
        Uniform(0, 0.35), "of the logarithm of the bias; SynthSeg's lattice values reach 0.7 rms, "
        "which its interpolation halves", low=0, high=2,
    )  # fmt: skip
    gamma_log_sd: float = ranged(
        0.5, "of the logarithm of the exponent that the image is raised to", low=0, high=2
    )
    clusters: int = ranged(
        3, "mode subcluster: classes inside each label", low=2, high=MOST_CLUSTERS
    )
    cluster_mm: float = ranged(
        12.0, "mode subcluster: size of their patches, from node to node of a lattice", low=2,
        high=500, unit="mm",
    )  # fmt: skip


def draw_gamma(ranges: Intensities, stream: Stream, slot: int = 0) -> float:
    """The exponent of contrast `slot`: log-normal, within three standard deviations."""
    z = TruncatedNormal(-3, 3).draws(stream, "random.gamma", 1, slot)[0]
    return float(np.exp(ranges.gamma_log_sd * z))


def to_gamma(image: NDArray[np.float32], gamma: float) -> NDArray[np.float32]:
    """An image over its brightest voxel, raised to a power, and back."""
    top = np.float32(max(float(image.max()), 1e-6))
    return top * (image / top) ** np.float32(gamma)


def random_labels(
    ranges: Intensities, stream: Stream, table: LabelTable, clusters: int, slot: int = 0
) -> NDArray[np.float64]:
    """(row x cluster, 4): row, cluster, mean, sd of contrast `slot`; both sides are alike."""
    rows = len(table)
    side = np.minimum(np.arange(rows), table.partners)
    at = (side[:, None] * clusters + np.arange(clusters)).ravel()
    first = slot * _SLOTS
    mean = ranges.mean.draws(stream, "random.mean", rows * clusters, first)[at]
    sd = ranges.sd.draws(stream, "random.sd", rows * clusters, first)[at]
    chance = stream.uniform("random.background", 1, slot)[0] - ranges.background_chance
    if chance >= 0:
        dim = stream.uniform("random.dim", 2, 2 * slot) * (chance < ranges.background_dim_chance)
        mean[:clusters], sd[:clusters] = _MOST_DIM * dim
    number = np.repeat(np.arange(rows), clusters)
    return np.column_stack([number, np.tile(np.arange(clusters), rows), mean, sd])


def brightest(labels: NDArray[np.float64]) -> float:
    """The unit of noise: the highest mean that `random_labels` drew, that of the background too."""
    return max(float(labels[:, 2].max()), 1e-6)


def random_pools(
    scene: Scene,
    labels: NDArray[np.float64],
    cluster_mm: float,
    stream: Stream,
    texture_name: str = "random.texture",
) -> NDArray[np.complex64]:
    """One pool, (1, 1, z, y, x), of what `random_labels` drew; voxels scatter by themselves."""
    from voxelmill.kernels.gaussian import white
    from voxelmill.kernels.label_gaussians import cuts_of, subclusters

    clusters = 1 + int(labels[:, 1].max())
    fine = scene.fine
    if clusters > 1:
        rows = len(labels) // clusters
        _, depth, height, width = fine.shape
        part_mm = np.divide(scene.grid.voxel_mm, scene.grid.fine)
        z_mm, y_mm, x_mm = part_mm.tolist()
        parts = Grid((depth, height, width), (z_mm, y_mm, x_mm), (1, 1, 1))
        patches = mr_body.smooth_field(parts, cluster_mm, 1.0, stream, "random.cluster")
        cuts = np.broadcast_to(cuts_of(np.ones(clusters)), (1, rows, clusters - 1))
        fine = subclusters(fine, patches, np.ascontiguousarray(cuts))
    table = labels[:, 2:][:, None].astype(np.complex64)  # (row, bin, mean and sd)
    plain = replace(scene, fine=fine, fat=None, fat_rows=None)
    both = mr_scan.look_up(plain, table, (1.0, 1.0))
    texture = white(mr_body.key_of(stream, texture_name), scene.grid.shape)
    return np.asarray(both[:, :1] + both[:, 1:] * texture[:, None])
