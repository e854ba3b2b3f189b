"""Rigid movement: its twin, the shift theorem, identity, order of lines."""

import numpy as np
import pytest
from reference import motion as twin

from voxelmill.kernels import kspace, motion


def noise(seed, *shape):
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)


def test_rotations_are_those_of_the_twin_and_turn_as_said():
    angles = np.random.default_rng(0).uniform(-90, 90, (4, 2, 3))
    made = motion.rotations(angles)
    for at in np.ndindex(4, 2):
        np.testing.assert_allclose(made[at], twin.rotation(angles[at]), atol=1e-12)
    z, y, x = np.eye(3)
    np.testing.assert_allclose(motion.rotations([90, 0, 0]) @ y, x, atol=1e-12)
    np.testing.assert_allclose(motion.rotations([0, 90, 0]) @ x, z, atol=1e-12)
    np.testing.assert_allclose(motion.rotations([0, 0, 90]) @ z, y, atol=1e-12)


def test_relative_poses_compose_with_the_central_one():
    poses = np.random.default_rng(1).normal(0, 5, (3, 4, 6))
    centre = np.array([2, 0, 3])
    turned, shift = motion.relative(poses, np.eye(4)[centre])
    place = np.array([10.0, -20, 30])
    for n, c in enumerate(centre):
        at_centre = motion.rotations(poses[n, c, 3:]) @ place + poses[n, c, :3]
        for t in range(4):
            expected = motion.rotations(poses[n, t, 3:]) @ place + poses[n, t, :3]
            np.testing.assert_allclose(turned[n, t] @ at_centre + shift[n, t], expected, atol=1e-9)
        assert (turned[n, c] == np.eye(3)).all()
        assert (shift[n, c] == 0).all()


def test_equal_poses_are_exactly_no_movement():
    poses = np.broadcast_to(np.array([3.0, -1, 2, 7, 8, 9]), (1, 5, 6))
    for shares in (np.eye(5)[[2]], np.full((1, 5), 0.2), np.array([[0.3, 0, 0.6, 0, 0.1]])):
        turned, shift = motion.relative(poses, shares)
        assert (turned == np.eye(3)).all()
        assert (shift == 0).all()


def test_the_frame_is_the_mean_of_the_poses_that_count():
    random = np.random.default_rng(4)
    poses = random.normal(0, [2, 2, 2, 0.5, 0.5, 0.5], (2, 5, 6))
    shares = random.uniform(0.1, 1, (2, 5))
    shares[1, 3] = 0
    poses[1, 3] = 500, -300, 200, 90, 45, 170
    turned, shift = motion.relative(poses, shares)
    share = shares / shares.sum(1, keepdims=True)
    angles = np.einsum("nt,nta->na", share, poses[..., 3:])
    for n in range(2):
        own = share[n] > 0
        middle = np.einsum("t,tij->ij", share[n], turned[n])
        np.testing.assert_allclose(middle, middle.T, atol=1e-9)  # no turn is left in the mean
        found = turned[n, own].swapaxes(-1, -2) @ motion.rotations(poses[n, own, 3:])
        np.testing.assert_allclose(found, found[:1].repeat(own.sum(), 0), atol=1e-9)
        np.testing.assert_allclose(found[0], motion.rotations(angles[n]), atol=2e-4)
        lost = share[n] @ poses[n, :, :3] - share[n] @ (
            shift[n] + np.einsum("tij,j->ti", turned[n], share[n] @ poses[n, :, :3])
        )
        np.testing.assert_allclose(lost, 0, atol=1e-9)


def test_translations_alone_turn_nothing():
    poses = np.random.default_rng(5).normal(0, 3, (1, 4, 6))
    poses[..., 3:] = 10, -7, 3
    turned, shift = motion.relative(poses, np.array([[0.1, 0.2, 0.3, 0.4]]))
    assert (turned == np.eye(3)).all()
    np.testing.assert_allclose(np.array([0.1, 0.2, 0.3, 0.4]) @ shift[0], 0, atol=1e-12)


def test_turn_is_that_of_the_twin_and_of_each_sample():
    image = noise(0, 3, 2, 4, 5, 6)
    random = np.random.default_rng(2)
    matrix = motion.pull_matrix(
        motion.rotations(random.uniform(-40, 40, (3, 3))),
        random.normal(0, 2, (3, 3)), [2, 1, 1.5], image.shape,
    )  # fmt: skip
    made = motion.turn(image, matrix)
    np.testing.assert_allclose(made, twin.turn(image, matrix), atol=2e-5)
    alone = [motion.turn(image[n : n + 1], matrix[n : n + 1]) for n in range(3)]
    assert made.tobytes() == np.concatenate(alone).tobytes()


def test_turn_by_a_quarter_and_by_whole_voxels_is_exact():
    image = noise(3, 1, 1, 3, 6, 6)
    still = np.zeros((1, 3))
    quarter = motion.pull_matrix(motion.rotations([[90, 0, 0]]), still, [1, 2, 2], image.shape)
    turned = motion.turn(image, quarter)
    expected = np.swapaxes(image[..., ::-1, :], -1, -2)[..., ::1]
    # y turns towards x: what was at +y is at +x
    np.testing.assert_allclose(turned[0, 0, :, 2, 5], image[0, 0, :, 5, 3], atol=1e-4)
    assert turned.shape == expected.shape
    moved = motion.turn(
        image, motion.pull_matrix(np.eye(3)[None], [[0, 2.0, -4.0]], [1, 2, 2], image.shape)
    )
    np.testing.assert_allclose(moved[..., 1:, :-2], image[..., :-1, 2:], atol=1e-6)


def test_turning_moves_places_as_the_pose_says():
    """A blob goes to R p + t."""
    shape, voxel = (20, 24, 28), np.array([2.0, 1.5, 1.0])
    grid = (np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2) * voxel
    place = np.array([4.0, -3, 5])
    blob = np.exp(-((grid - place) ** 2).sum(-1) / (2 * 3.0**2))
    rotation, shift = motion.rotations([[20, -15, 10]]), np.array([[1.0, 2, -3]])
    matrix = motion.pull_matrix(rotation, shift, voxel, shape)
    moved = motion.turn(blob[None, None].astype(np.complex64), matrix)[0, 0].real
    centre = (moved[..., None] * grid).sum((0, 1, 2)) / moved.sum()
    np.testing.assert_allclose(centre, rotation[0] @ place + shift[0], atol=0.02)


def test_a_constant_displacement_of_all_lines_is_a_shift_and_never_negative():
    """As magnitudes after k-space: whole pixels exactly, fractions with the same energy."""
    image = np.zeros((1, 1, 1, 16, 18), np.complex64)
    image[..., 5:9, 6:11] = np.random.default_rng(0).uniform(0.5, 1, (4, 5))
    k = kspace.to_kspace(image)[:, :, None]
    for shift in (3.0, 2.4):
        gain = kspace.ramp(16, -shift)[None, None, None]
        along = kspace.ramp(18, shift)[None, None, None]
        moved = kspace.to_image(kspace.encode(k, gain, along))
        if shift == 3:
            np.testing.assert_allclose(moved, np.roll(image, (-3, 3), (-2, -1)), atol=1e-6)
        assert (abs(moved) >= 0).all()
        assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(image), rel=1e-6)


def test_bad_poses_and_images_are_refused():
    with pytest.raises(ValueError, match="mm and degrees"):
        motion.relative(np.zeros((2, 3, 5)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="not all 0"):
        motion.relative(np.zeros((2, 3, 6)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="complex64"):
        motion.turn(np.zeros((1, 1, 2, 3, 4)), np.zeros((1, 3, 4), np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        motion.turn(noise(0, 2, 1, 2, 3, 4), np.zeros((1, 3, 4), np.float32))
