"""Labels and images under warps: their twins, and what must hold of all warps."""

import numpy as np
import pytest
from reference import resample as image_twin
from reference import warp as twin
from scipy.spatial.transform import Rotation

from voxelmill.kernels import flow, places, resample, warp

MAP_SHAPES = ((11, 12, 13), (9, 20, 6), (1, 15, 14))
WHICH = np.array([2, 0, 1, 0], np.int32)
IDENTITY = np.eye(3, 4, dtype=np.float32)[None]
ALONE = np.zeros(1, np.int32)


def maps(seed=0, shapes=MAP_SHAPES):
    """Label maps, and what `pull_labels` takes for them."""
    random = np.random.default_rng(seed)
    made = [random.integers(1, 256, shape, np.uint8) for shape in shapes]
    starts = np.concatenate([[0], np.cumsum([m.size for m in made])])
    return made, (np.concatenate([m.ravel() for m in made]), starts, np.array(shapes, np.int32))


def warps(seed, shape, nodes=(4, 3, 5), samples=4):
    """Random affines near the identity and displacements."""
    random = np.random.default_rng(seed)
    affine = np.eye(3, 4) + random.normal(size=(samples, 3, 4)) * ([0.1] * 3 + [1.5])
    displacement = random.normal(size=(samples, 3, *nodes))
    return affine.astype(np.float32), displacement.astype(np.float32)


@pytest.mark.parametrize("nodes", [(4, 3, 5), (1, 1, 1), (10, 12, 9), (20, 1, 2)])
@pytest.mark.parametrize("fine", [(1, 1, 1), (2, 3, 1), (3, 2, 4)])
def test_labels_are_those_of_the_twin(nodes, fine):
    shape, (made, packed) = (10, 12, 9), maps()
    affine, displacement = warps(sum(nodes) + sum(fine), shape, nodes)
    ours = warp.pull_labels(*packed, WHICH, affine, displacement, shape, fine)
    theirs, off = twin.pull_labels(made, WHICH, affine, displacement, shape, fine)
    assert ours.dtype == np.uint8
    assert (ours[off > 1e-4] == theirs[off > 1e-4]).all()  # nearer, single precision may differ
    assert 0 < np.count_nonzero(ours) < ours.size


@pytest.mark.parametrize("fine", [(1, 1, 1), (2, 1, 3), (4, 4, 4), (5, 3, 7)])
def test_the_identity_gives_the_map_itself(fine):
    (made,), packed = maps(1, ((7, 18, 33),))
    for displacement in (None, np.zeros((1, 3, 4, 9, 17), np.float32)):
        ours = warp.pull_labels(*packed, ALONE, IDENTITY, displacement, made.shape, fine)
        np.testing.assert_array_equal(ours[0], np.kron(made, np.ones(fine, np.uint8)))


def test_whole_voxel_shifts_and_flips_are_exact():
    (made,), packed = maps(2, ((7, 18, 33),))
    shift = IDENTITY.copy()
    shift[0, :, 3] = 2, -3, 5
    ours = warp.pull_labels(*packed, ALONE, shift, None, made.shape)[0]
    np.testing.assert_array_equal(ours[:-2, 3:, :-5], made[2:, :-3, 5:])
    assert not ours[-2:].any()
    assert not ours[:, :3].any()
    assert not ours[:, :, -5:].any()
    flip = places.centred(made.shape, (1, 1, 1), made.shape, (1, 1, 1), np.diag([1, 1, -1]))[None]
    np.testing.assert_array_equal(
        warp.pull_labels(*packed, ALONE, flip, None, made.shape)[0], made[:, :, ::-1]
    )


def test_a_displacement_is_in_output_voxels_and_before_the_affine():
    (made,), packed = maps(3, ((12, 12, 12),))
    double = 2 * IDENTITY
    one = np.zeros((1, 3, 2, 2, 2), np.float32)
    one[:, 1] = 1
    moved = warp.pull_labels(*packed, ALONE, double, one, (5, 5, 5))[0]
    np.testing.assert_array_equal(moved, made[:10:2, 2:12:2, :10:2])


def test_nothing_but_background_outside_whatever_the_affine():
    _, packed = maps(4, ((3, 4, 5),))
    for value in (1e30, -1e30, 3e9, -3e9):
        far = IDENTITY.copy()
        far[0, :, 3] = value
        assert not warp.pull_labels(*packed, ALONE, far, None, (3, 4, 5)).any()
        image = np.ones((1, 3, 4, 5), np.float32)
        for cubic in (False, True):
            assert not resample.pull(image, ALONE, far, None, (3, 4, 5), cubic).any()
    lost = np.full((1, 3, 2, 2, 2), np.nan, np.float32)
    assert not warp.pull_labels(*packed, ALONE, IDENTITY, lost, (3, 4, 5)).any()


@pytest.mark.parametrize("kind", ["float32", "complex64"])
@pytest.mark.parametrize("cubic", [False, True])
def test_images_are_those_of_the_twin(cubic, kind):
    random = np.random.default_rng(5)
    images = random.normal(size=(3, 8, 9, 11)).astype(kind)
    if kind == "complex64":
        images += 1j * random.normal(size=images.shape).astype(np.float32)
    affine, displacement = warps(6, (10, 12, 7))
    ours = resample.pull(images, WHICH, affine, displacement, (10, 12, 7), cubic)
    theirs = image_twin.pull(images, WHICH, affine, displacement, (10, 12, 7), cubic)
    assert ours.dtype == kind
    np.testing.assert_allclose(ours, theirs, atol=3e-5)


@pytest.mark.parametrize("cubic", [False, True])
def test_images_under_the_identity_stay_and_polynomials_follow(cubic):
    z, y, x = np.indices((9, 10, 12)) / 10
    image = (1 + z - 2 * y + 3 * x + (z * y - x * x if cubic else 0)).astype(np.float32)[None]
    same = resample.pull(image, ALONE, IDENTITY, None, image.shape[1:], cubic)
    np.testing.assert_allclose(same, image, atol=1e-6)
    moved = IDENTITY.copy()
    moved[0, :, 3] = 0.3, -0.4, 0.25
    z, y, x = z + 0.03, y - 0.04, x + 0.025
    expected = 1 + z - 2 * y + 3 * x + (z * y - x * x if cubic else 0)
    inner = np.s_[2:-3, 2:-3, 2:-3]
    ours = resample.pull(image, ALONE, moved, None, image.shape[1:], cubic)[0]
    np.testing.assert_allclose(ours[inner], expected[inner], atol=3e-6)


def test_a_warp_and_its_inverse_give_the_labels_back():
    """Blocks of 8 voxels, there and back: what lies off their faces is what it was."""
    shape = (48, 40, 56)
    blocks = np.random.default_rng(7).integers(1, 30, (6, 5, 7), np.uint8)
    whole = np.kron(blocks, np.ones((8, 8, 8), np.uint8))
    v = np.zeros((1, 3, 24, 20, 28), np.float32)
    v[:] = np.random.default_rng(8).normal(size=(1, 3, 1, 1, 1))
    v *= np.sin(np.indices(v.shape[2:]) / 9).prod(0)
    there, back = (flow.rescaled(d, shape) for d in (flow.exponentiate(v), flow.inverse(v)))
    starts, shapes = np.array([0, whole.size]), np.array([shape], np.int32)
    moved = warp.pull_labels(whole.ravel(), starts, shapes, ALONE, IDENTITY, there, shape)
    assert (moved[0] != whole).mean() > 0.05
    again = warp.pull_labels(moved.ravel(), starts, shapes, ALONE, IDENTITY, back, shape)[0]
    off = np.indices(shape) % 8
    inside = ((off > 1) & (off < 6)).all(0)
    assert (again == whole)[inside].mean() > 0.999


def test_centred_keeps_millimetres():
    turn = Rotation.from_rotvec([0.2, -0.4, 0.3]).as_matrix()
    affine = places.centred((10, 20, 30), (2, 1, 0.5), (40, 50, 60), (0.5, 1.5, 1), turn, (1, 2, 3))
    middle, map_middle = np.array([4.5, 9.5, 14.5]), np.array([19.5, 24.5, 29.5])
    off_mm = (affine @ [*middle, 1] - map_middle) * (0.5, 1.5, 1)
    np.testing.assert_allclose(off_mm, (1, 2, 3), atol=1e-5)
    step_mm = affine[:, :3] @ (3, -4, 8) * (0.5, 1.5, 1)
    np.testing.assert_allclose(step_mm, turn @ [6, -4, 4], atol=1e-4)


def test_a_batch_holds_the_bits_of_its_samples_alone():
    (_, packed), shape, fine = maps(), (10, 12, 9), (2, 1, 2)
    affine, displacement = warps(9, shape)
    images = np.random.default_rng(9).normal(size=(3, 8, 9, 11)).astype(np.float32)
    labels = warp.pull_labels(*packed, WHICH, affine, displacement, shape, fine)
    pulled = [resample.pull(images, WHICH, affine, displacement, shape, c) for c in (False, True)]
    for n in range(len(WHICH)):
        of = WHICH[n : n + 1], affine[n : n + 1], displacement[n : n + 1], shape
        assert warp.pull_labels(*packed, *of, fine).tobytes() == labels[n].tobytes()
        for cubic in (False, True):
            assert resample.pull(images, *of, cubic).tobytes() == pulled[cubic][n].tobytes()


def test_bad_warps_are_refused():
    _, (flat, starts, shapes) = maps()
    affine, displacement = warps(0, (4, 5, 6))
    good = WHICH, affine, displacement, (4, 5, 6)
    with pytest.raises(ValueError, match="flat uint8"):
        warp.pull_labels(flat.astype(int), starts, shapes, *good)
    with pytest.raises(ValueError, match="agree map by map"):
        warp.pull_labels(flat[:-1], starts, shapes, *good)
    with pytest.raises(ValueError, match=r"not in \[0, 3\)"):
        warp.pull_labels(flat, starts, shapes, WHICH + 1, *good[1:])
    with pytest.raises(ValueError, match="3, 4"):
        warp.pull_labels(flat, starts, shapes, WHICH, affine[:, :, :3], *good[2:])
    with pytest.raises(ValueError, match="finite"):
        warp.pull_labels(flat, starts, shapes, WHICH, affine * np.float32(np.inf), *good[2:])
    with pytest.raises(ValueError, match="displacement"):
        warp.pull_labels(flat, starts, shapes, WHICH, affine, displacement[:1], good[3])
    with pytest.raises(ValueError, match="1 or more"):
        warp.pull_labels(flat, starts, shapes, *good, (0, 1, 1))
    with pytest.raises(ValueError, match="complex64"):
        resample.pull(np.zeros((3, 4, 5, 6)), *good)
