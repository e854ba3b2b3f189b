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

`full_chain` is mode physics of labels_mr as a store would get it, for the same labels, which are
eight tissues, fat and fluid among them: affine and diffeomorphic warp (six squarings at half the
resolution), labels in 2 x 2 x 2 parts of a voxel, so that signals mix by their shares, signals of
water, fat and fluid by drawn protocols and tissue values under B1 and B0, thick slices, k-space
with chemical shift, echo trains, partial Fourier, movement, ghosts and noise, classes by their
shares; every effect as likely as by default. TorchIO does about as much as it can: it has no
physics and no k-space here. Samples differ, so the mean of all is what counts; `render_ms` has
the parts of it.
"""

import warnings

import nibabel
import numba
import numpy as np
import pytest
import yaml
from scipy.spatial import cKDTree
from stages import PARTS, milliseconds, timed

from voxelmill.engine import mill
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import mr_scan
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


ROUNDS = {ours: 20, torchio: 5, cornucopia: 1, cornucopia_lean: 10}


@pytest.fixture
def threads():
    """As many for Numba as the peers get."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    yield
    numba.set_num_threads(before)


@pytest.mark.parametrize("program", ROUNDS)
def test_peers_work(benchmark, labels, threads, program):
    """Seconds a sample; the images are looked at once, so that nobody wins by doing nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make = program(labels)
        warm = 0 if program is cornucopia else 1  # a minute each
        benchmark.pedantic(make, rounds=ROUNDS[program], warmup_rounds=warm)
        if program is ours:
            look_at(*make(), labels)
    if benchmark.stats:
        stats = benchmark.stats.stats
        print(f"\n{program.__name__}: least {stats.min:.4f} s, median {stats.median:.4f} s")


def look_at(image, warped, labels):
    """An image, and labels that have moved (one sample in two is also mirrored) and are there."""
    assert image.shape == warped.shape == (1, *SHAPE)
    assert np.isfinite(image).all()
    assert image.std() > 0.05
    assert (warped[0] != labels).mean() > 0.05
    assert len(np.unique(warped)) > LABELS // 2


TISSUES = ("air", "white matter", "grey matter", "csf", "deep grey matter", "subcutaneous fat",
           "skeletal muscle", "cortical bone", "blood")  # fmt: skip


@pytest.fixture
def job(labels, tmp_path):
    """labels_mr of these labels, opened: each is a class of its own."""
    nibabel.save(nibabel.Nifti1Image(labels.T, np.diag([-1, -1, 1, 1])), tmp_path / "map.nii.gz")
    rows = [{"value": 0, "name": "air", "tissue": "air"}]
    for value in range(1, LABELS):
        tissue = TISSUES[1 + value % (len(TISSUES) - 1)]
        rows.append({"value": value, "name": f"cell {value}", "tissue": tissue})
    table = {"name": "cells", "source": "none", "subject": "", "rows": rows}
    (tmp_path / "cells.yaml").write_text(yaml.safe_dump(table))
    ranges = {"shape": list(SHAPE), "voxel_mm": [1, 1, 1], "mode": "physics"}
    spec = {
        "recipe": "labels_mr", "count": 10**6, "seed": 7, "ranges": ranges,
        "inputs": {"maps": "map.nii.gz", "table": "cells.yaml"},
    }  # fmt: skip
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    return open_plan(tmp_path / "spec.yaml").job("", 1)


def test_full_chain(benchmark, labels, threads, job):
    """Seconds a sample of labels_mr by physics, drawn and rendered."""
    sample = iter(range(10**6))

    def make():
        return mill.render_batch(job, mill.draw_batch(job, [next(sample)]))

    rounds, warm = (48, 8) if benchmark.enabled else (1, 1)
    for _ in range(warm):
        made = make()
        look_at(made["image"].astype("f4"), made["label"], labels)
    with timed({**PARTS, "slices": [(mr_scan, "on_grid")]}) as spent:
        benchmark.pedantic(make, rounds=rounds)
    benchmark.extra_info["render_ms"] = milliseconds(spent, rounds)
    if benchmark.stats:
        benchmark.extra_info["mean_s"] = benchmark.stats.stats.mean
        print(f"\nfull chain: {benchmark.extra_info}")
