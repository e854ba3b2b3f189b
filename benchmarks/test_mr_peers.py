"""The peers' work at 128^3 and 33 labels on two threads: labels to an image with warp, bias, noise.

Run: `pytest benchmarks/test_mr_peers.py --benchmark-enable -s`, with `torchio` and `cornucopia`
installed (a peer that is absent is skipped). Labels are a Voronoi partition into 33 cells.
Ours: a displacement of normals on 7 x 7 x 7 nodes under a cubic spline, at a quarter of the
resolution; nearest labels through it; one Gaussian a label; a bias field, the exponential of a
spline on 7 x 7 x 7 nodes; slices 2 to 4 voxels thick and lines 1 to 2; complex noise, so Rician.
TorchIO: RandomLabelsToImage, RandomElasticDeformation (7 control points), RandomBiasField and
RandomNoise, its defaults; it has no change of resolution here. Cornucopia: SynthFromLabelTransform
as it comes, which also blurs the values of each label and bends grey values; and lean: linear
instead of cubic warps, 7 nodes, and no blur of the labels' values, which is where its time goes.
All start from labels in memory and end with an image and the warped labels in memory. Parameters
are drawn anew for each sample; the time of cornucopia's samples depends on them.
"""

import warnings

import numba
import numpy as np
import pytest
from scipy.spatial import cKDTree

from voxelmill.kernels import fields, noise, resolution, warp
from voxelmill.kernels import label_gaussians as labels_of

SHAPE, LABELS, THREADS = (128, 128, 128), 33, 2
COARSE = (32, 32, 32)


@pytest.fixture(scope="module")
def labels():
    """(z, y, x) uint8 of 33 cells."""
    points = np.random.default_rng(0).uniform(0, 128, (LABELS, 3))
    places = np.indices(SHAPE).reshape(3, -1).T
    return cKDTree(points).query(places)[1].astype(np.uint8).reshape(SHAPE)


def ours(labels):
    """A function that makes sample after sample, their parameters and keys included."""
    flat, starts = labels.ravel(), np.array([0, labels.size])
    shapes, which = np.array([SHAPE], np.int32), np.zeros(1, np.int32)
    affine = np.eye(3, 4, dtype=np.float32)[None]
    rng, one = np.random.default_rng(1), np.ones((1, 1), np.float32)
    sample = iter(range(10**6))

    def key(index, name):
        return np.array([[7, 0, name, index, 0]], np.uint32)

    def make():
        index = next(sample)
        nodes = fields.lattice_normals(key(index, 1), (3, 7, 7, 7), 4 * np.repeat(one, 3, 1))
        shift = fields.spline(nodes, COARSE)
        warped = warp.pull_labels(flat, starts, shapes, which, affine, shift, SHAPE)
        bias = fields.spline(fields.lattice_normals(key(index, 2), (1, 7, 7, 7), 0.5 * one), SHAPE)
        mean = rng.uniform(0.1, 0.9, (1, LABELS)).astype(np.float32)
        sd = rng.uniform(0.01, 0.1, (1, LABELS)).astype(np.float32)
        gain = np.exp(bias, out=bias)[:, 0]
        image = labels_of.gaussian_labels(warped, mean, sd, key(index, 3), gain)
        spacing = rng.uniform((2, 1, 1), (4, 2, 2), (1, 3)).astype(np.float32)
        image = resolution.coarsened(image, spacing)
        return noise.rician(image, np.array([0.05], np.float32), key(index, 4)), warped

    return make


def torchio(labels):
    """TorchIO's four transforms, one after the other."""
    tio = pytest.importorskip("torchio")
    torch = pytest.importorskip("torch")
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    subject = tio.Subject(labels=tio.LabelMap(tensor=torch.from_numpy(labels[None].astype("i4"))))
    chain = tio.Compose(
        [
            tio.RandomLabelsToImage(label_key="labels", used_labels=range(LABELS)),
            tio.RandomElasticDeformation(num_control_points=7),
            tio.RandomBiasField(),
            tio.RandomNoise(),
        ]
    )
    return lambda: chain(subject)


def cornucopia(labels):
    """Cornucopia's SynthFromLabelTransform as it comes."""
    return _cornucopia(labels)


def cornucopia_lean(labels):
    """The same with little more than ours."""
    return _cornucopia(labels, order=1, elastic_nodes=7, gmm_fwhm=False)


def _cornucopia(labels, **how):
    peer = pytest.importorskip("cornucopia")
    torch = pytest.importorskip("torch")
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    chain = peer.SynthFromLabelTransform(**how)
    given = torch.from_numpy(labels[None].astype("i4"))
    return lambda: chain(given)


ROUNDS = {ours: 20, torchio: 5, cornucopia: 2, cornucopia_lean: 10}


@pytest.mark.parametrize("program", ROUNDS)
def test_peers_work(benchmark, labels, program):
    """Seconds a sample; the images are looked at once, so that nobody wins by doing nothing."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make = program(labels)
            warm = 0 if program is cornucopia else 1  # a minute each
            benchmark.pedantic(make, rounds=ROUNDS[program], warmup_rounds=warm)
            if program is ours:
                image, warped = make()
                assert image.shape == warped.shape == (1, *SHAPE)
                assert np.isfinite(image).all()
                assert image.std() > 0.05
                assert 0.05 < (warped[0] != labels).mean() < 0.9
    finally:
        numba.set_num_threads(before)
    if benchmark.stats:
        stats = benchmark.stats.stats
        print(f"\n{program.__name__}: least {stats.min:.4f} s, median {stats.median:.4f} s")
