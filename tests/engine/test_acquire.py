"""The chain of an acquisition: each step against a closed form, all of it against its twin."""

from dataclasses import replace

import numpy as np
import pytest
from reference import coils as coils_twin
from reference import distort as distort_twin
from reference import kspace as kspace_twin
from reference import motion as motion_twin

from voxelmill.engine import acquisition
from voxelmill.engine.acquire import acquire, acquire_complex, coil_images, working_bytes
from voxelmill.engine.acquisition import Acquisition, full_sampling
from voxelmill.engine.encoding import encoding
from voxelmill.kernels import coils, kspace, lines, motion

BOTH = pytest.mark.parametrize("axes", [kspace.SLICES, kspace.VOLUME])


def complexes(seed, *shape):
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)


def blobs(samples, pools, shape, seed=0):
    """Smooth bodies with a smooth phase, well inside the field of view."""
    random = np.random.default_rng(seed)
    grid = np.stack(
        np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 2 / n for n in shape), indexing="ij")
    )
    out = np.zeros((samples, pools, *shape), np.complex64)
    for n, p in np.ndindex(samples, pools):
        centre = random.uniform(-0.2, 0.2, 3)
        r2 = ((grid - centre[:, None, None, None]) ** 2 / 0.06).sum(0)
        out[n, p] = np.exp(-r2) * np.exp(0.5j * grid[2] * random.uniform(-1, 1))
    return out


def plain(samples, shape, axes=kspace.SLICES, grid=None, **given):
    sampling = full_sampling(samples, grid or shape)
    changed = {k: given.pop(k) for k in list(given) if hasattr(sampling, k)}
    voxel_mm = given.pop("voxel_mm", np.tile(np.array([[3, 2, 1.5]], "f4"), (samples, 1)))
    return Acquisition(axes, voxel_mm, replace(sampling, **changed), grid, **given)


def keys(samples):
    return np.array([[7, 0, 11, n, 0] for n in range(samples)], np.uint32)


def rich(axes, samples=3):
    """An acquisition with everything, and its pools."""
    shape, grid = (4, 20, 24), (4, 15, 16)
    random = np.random.default_rng(5)
    pairs = [coils.ring(3, (60, 50), 20 * n) for n in range(samples)]
    centres, axes_ = (np.stack(a) for a in zip(*pairs, strict=True))
    poses = np.zeros((samples, 4, 6))
    poses[1, :, :3], poses[2] = random.normal(0, 2, (4, 3)), random.normal(0, 3, (4, 6))
    matrix = np.array([[4, 15, 16], [3, 12, 13], [4, 14, 10]])[:samples]
    b0_hz = random.normal(0, 20, (samples, *shape)).astype("f4")
    weights = lines.uneven(15, np.array([0, 3, 2])[:samples], np.full(samples, 0.9),
                           np.full(samples, 0.2))  # fmt: skip
    plan = plain(
        samples, shape, axes, grid, matrix=matrix, partial=np.array([1, 0.7, 0.8])[:samples],
        order=("linear", "centric", "interleaved")[:samples],
        homodyne=np.array([True, False, True])[:samples],
        window=("none", "tukey", "hamming")[:samples], width=np.array([0, 0.4, 0])[:samples],
        chemical_shift_px=np.array([[0, 2.5], [0, -1], [0, 0]])[:samples],
        receive=random.uniform(0.8, 1.2, (samples, *shape)).astype("f4"),
        field=acquisition.Inhomogeneity(b0_hz, np.array([0.02, 0, -0.03], "f4")[:samples]),
        train=acquisition.Train(
            random.uniform(0.2, 1, (samples, 2, 4)), np.array([4, 3, 1])[:samples],
            np.array([1, 0, 0])[:samples],
        ),
        poses=poses,
        coils=acquisition.Coils(centres, axes_, np.array([30, 20, 25], "f4")[:samples]),
        interference=acquisition.Interference(
            weights, np.array([[[0, 2, -3]], [[1, 1, 1]], [[0, 0, 0]]])[:samples],
            np.array([[0.1], [0.2j], [0]])[:samples],
        ),
        noise=acquisition.Noise(
            np.array([0.02, 0, 0.05], "f4")[:samples], keys(samples),
            random.uniform(1, 2, (samples, *grid)).astype("f4"),
        ),
        correction=random.uniform(0.5, 2, (samples, *grid)).astype("f4"),
    )  # fmt: skip
    return blobs(samples, 2, shape), plan


def cut(thing, n, samples):
    """The plan of one sample."""
    if isinstance(thing, np.ndarray | tuple) and thing is not None:
        is_axes = isinstance(thing, tuple) and all(isinstance(v, int) for v in thing)
        return thing if is_axes else thing[n : n + 1]
    if hasattr(thing, "__dataclass_fields__"):
        return replace(
            thing, **{f: cut(getattr(thing, f), n, samples) for f in thing.__dataclass_fields__}
        )
    return thing


@BOTH
def test_a_batch_has_the_bits_of_its_samples(axes):
    pools, plan = rich(axes)
    made = acquire(pools, plan)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    alone = [acquire(pools[n : n + 1], cut(plan, n, 3)) for n in range(3)]
    assert made.tobytes() == np.concatenate(alone).tobytes()


@BOTH
def test_with_all_off_the_image_is_the_sum_of_the_pools(axes):
    pools = complexes(0, 2, 2, 3, 6, 9)
    plan = plain(2, (3, 6, 9), axes)
    np.testing.assert_allclose(acquire_complex(pools, plan), pools.sum(1), atol=3e-6)
    np.testing.assert_allclose(acquire(pools, plan), abs(pools.sum(1)), atol=3e-6)


@BOTH
def test_it_is_that_of_the_twin(axes):
    """Distortion, receive field, coils, movement, chemical shift, train, ghosts and matrix."""
    pools, plan = rich(axes)
    n, shape, grid = 2, (4, 20, 24), (4, 15, 16)
    plan = replace(plan, noise=None, sampling=replace(
        plan.sampling, homodyne=np.zeros(3, bool), window=("none",) * 3))  # fmt: skip
    made = coil_images(pools, plan)[n]
    s, mm = plan.sampling, np.array([3, 2, 1.5])
    scale = plan.field.px_per_hz[n : n + 1] * 24 / s.matrix[n, 2]
    body = distort_twin.distort(pools[n : n + 1], plan.field.b0_hz[n : n + 1], scale, -1, False)[0]
    body = body * plan.receive[n]
    loops = plan.coils.centres, plan.coils.axes, plan.coils.loop_mm
    maps = coils_twin.sensitivities(*loops, plan.voxel_mm, shape)[n]
    taken = lines.acquired(15, s.matrix[:, 1], s.partial)
    row = lines.parts(taken, s.order, np.full(3, 4))
    mean = lines.frame_shares(taken, s.order, row, np.full(3, 4))
    turned, shift = (a[n] for a in motion.relative(plan.poses, mean))
    f = [kspace.frequencies(m) for m in grid]
    total = np.zeros((3, *grid), complex)
    for t in range(4):
        through = shift[t] * ([1, 0, 0] if axes == kspace.SLICES else [0, 0, 0])
        matrix = motion.pull_matrix(turned[t], through, mm, shape)
        seen = motion_twin.turn(body[None], matrix[None])[0]
        k = kspace_twin.to_kspace(maps[:, None] * seen, axes)
        k = kspace.crop(k, grid)
        size = np.array(shape) / grid  # pools' voxels in one of the image
        for axis in [a + 3 for a in axes]:
            places = shift[t, axis] / mm[axis] - (size[axis] - 1) / 2  # in voxels of the pools
            wave = np.exp(-2j * np.pi * f[axis] * places / shape[axis])
            k = k * wave.reshape([-1 if a == axis else 1 for a in range(3)])
            k = k / np.sqrt(size[axis])
        total += k.sum(1) * (row[n] == t)[:, None]
    kept = (f[2] >= -5) & (f[2] < 5)  # matrix 10 along x
    total *= plan.interference.weights[n][:, None] * kept  # one echo: its train has weight 1
    assert s.matrix[n, 2] == 10
    assert plan.train.echoes[n] == 1
    assert s.matrix[n, 0] == 4
    expected = kspace_twin.to_kspace(total.conj(), axes).conj()  # the inverse
    np.testing.assert_allclose(made, expected, atol=2e-4)
    assert abs(expected).max() > 0.15


def test_a_coarser_image_keeps_places_and_brightness():
    shape = (1, 48, 60)
    y, x = np.indices(shape[1:])
    body = np.exp(-((y - 20.3) ** 2 + (x - 33.1) ** 2) / (2 * 6**2)).astype(np.complex64)
    made = acquire(body[None, None, None], plain(1, shape, grid=(1, 24, 20)))[0, 0]
    y, x = np.indices(made.shape)
    centre = (made * y).sum() / made.sum(), (made * x).sum() / made.sum()
    assert centre[0] == pytest.approx((20.3 + 0.5) / 2 - 0.5, abs=0.01)
    assert centre[1] == pytest.approx((33.1 + 0.5) / 3 - 0.5, abs=0.01)
    assert made.max() == pytest.approx(1, abs=0.02)


def test_a_small_matrix_rings_by_9_percent_and_a_filter_calms_it():
    body = np.zeros((1, 1, 1, 4, 4096), np.complex64)
    body[..., 1024:3072] = 1
    plan = plain(1, (1, 4, 4096), matrix=np.array([[1, 4, 257]]))
    assert acquire(body, plan).max() - 1 == pytest.approx(0.0894, abs=1e-3)
    calm = replace(plan, sampling=replace(plan.sampling, window=("hamming",)))
    assert acquire(body, calm).max() - 1 < 0.01


@BOTH
def test_fat_is_displaced_along_x_by_acquired_pixels(axes):
    shape = (3, 8, 24)
    pools = np.zeros((1, 2, *shape), np.complex64)
    pools[0, 0, 1, 3, 5] = pools[0, 1, 1, 5, 9] = 1
    plan = plain(1, shape, axes, chemical_shift_px=np.array([[0, -3.0]]))
    made = acquire(pools, plan)[0]
    assert made[1, 3, 5] == pytest.approx(1, abs=1e-5)
    assert made[1, 5, 6] == pytest.approx(1, abs=1e-5)
    half = replace(plan, sampling=replace(plan.sampling, matrix=np.array([[3, 8, 12]])))
    assert np.argmax(acquire(pools, half)[0, 1, 5]) == 3  # an acquired pixel is two wide


def test_water_stays_where_labels_are_under_chemical_shift_and_labels_may_follow_the_field():
    shape = (1, 8, 24)
    pools = np.zeros((1, 2, *shape), np.complex64)
    pools[0, 0, 0, 2:6, 8:14] = 1
    shifted = plain(1, shape, chemical_shift_px=np.array([[0, 2.0]]))
    np.testing.assert_allclose(acquire(pools, shifted)[0], abs(pools[0, 0]), atol=1e-5)
    b0_hz = np.full((1, *shape), 100, np.float32)
    moved = plain(1, shape, field=acquisition.Inhomogeneity(b0_hz, np.array([0.03], np.float32)))
    np.testing.assert_allclose(
        acquire(pools, moved)[0], np.roll(abs(pools[0, 0]), 3, -1), atol=1e-4
    )


@BOTH
def test_equal_poses_are_no_movement_to_the_bit(axes):
    pools, plan = rich(axes)
    poses = np.tile(np.array([1.5, -2, 3, 10, 4, -5]), (3, 4, 1))
    still = acquire(pools, replace(plan, poses=poses))
    assert still.tobytes() == acquire(pools, replace(plan, poses=None)).tobytes()


def test_movement_depends_on_the_order_of_lines_and_keeps_energy_of_translations():
    shape = (1, 32, 40)
    pools = blobs(1, 1, shape)
    poses = np.zeros((1, 8, 6))
    poses[0, 5:, 1] = 6  # mm along y in the last three eighths of the scan
    made = {
        order: acquire(pools, plain(1, shape, order=(order,), poses=poses))
        for order in ("linear", "centric", "interleaved")
    }
    energy = (abs(pools) ** 2).sum()
    for image in made.values():
        assert (image**2).sum() == pytest.approx(energy, rel=1e-4)
    error = {order: abs(image - abs(pools[:, 0])).max() for order, image in made.items()}
    assert error["centric"] < 0.2 * error["linear"]  # late lines are those of edges
    assert error["interleaved"] > 0.05


@pytest.mark.parametrize("shift", [3.0, -3.0, 2.25, -0.5])
def test_fat_that_leaves_the_readout_is_gone_as_what_b0_moves_there_is(shift):
    """A body over all of the field of view; along x both ways cut alike, and neither wraps."""
    shape, ones = (1, 6, 24), np.ones((1, 2, 1, 6, 24), np.complex64)
    ones[:, 0] = 0
    given = ones.copy()
    fat = acquire(ones, plain(1, shape, chemical_shift_px=np.array([[0.0, shift]])))[0, 0]
    np.testing.assert_array_equal(ones, given)
    field = acquisition.Inhomogeneity(
        np.full((1, *shape), 100, "f4"), np.array([shift / 100], "f4")
    )
    b0 = acquire(ones, plain(1, shape, field=field))[0, 0]
    assert fat.sum(1) == pytest.approx(24 - abs(shift), rel=0.03)
    np.testing.assert_allclose((fat**2).sum(), (b0**2).sum(), rtol=0.04)
    if shift == int(shift):
        np.testing.assert_allclose(fat, b0, atol=2e-6)
        gone = slice(0, 3) if shift > 0 else slice(-3, None)
        assert fat[:, gone].max() < 1e-5


def test_the_cut_is_of_acquired_pixels_and_of_each_sample():
    shape, shift = (1, 4, 24), np.array([[0, 2.0], [0, 0.0], [1.0, 0]])
    pools = np.ones((3, 2, *shape), np.complex64)
    matrix = np.array([[1, 4, 12], [1, 4, 24], [1, 4, 24]])
    plan = plain(3, shape, matrix=matrix, chemical_shift_px=shift)
    energy = (abs(kspace.to_kspace(coil_images(pools, plan))[:, 0, 0, 0, 0]) / 24**0.5) / 4**0.5
    lost = np.array([4, 0, 1.0])  # of 48 columns of both pools
    np.testing.assert_allclose(energy, (48 - lost) / 24, rtol=1e-5)


def _best_shift(image, body):
    """(y, x) by which `image` lies away from `body`, by least squares."""
    slopes = [-np.gradient(body, axis=a).ravel() for a in (0, 1)]
    found = np.linalg.lstsq(np.stack([body.ravel(), *slopes], 1), image.ravel(), rcond=None)[0]
    return found[1:] / found[0]


@pytest.mark.parametrize("shots", [2, 3, 4, 6, 9])
def test_interleaved_shots_show_the_body_in_their_mean_pose(shots):
    """Where the labels are, and not in the pose of line 0, as one shot of several would have it."""
    shape, off, old = (1, 64, 72), [], []
    body = abs(blobs(1, 1, shape, seed=1))[0, 0, 0].astype(np.float64)
    body[20:31, 25:48], body[35:44, 30:36] = 1.2, 0.6
    for seed in range(5):
        poses = np.zeros((1, shots, 6))
        poses[0, :, 1:3] = np.random.default_rng(seed).normal(0, 2, (shots, 2))
        plan = plain(1, shape, order=("interleaved",), poses=poses)
        mm = np.asarray(plan.voxel_mm)[0, 1:]
        made = acquire(body[None, None, None].astype(np.complex64), plan)[0, 0]
        table = encoding(plan, shape, (1, 1, *shape))
        off.append(_best_shift(made, body) * mm)
        old.append(off[-1] - table.shift_vox[0, table.row[0, 0], 1:] * mm)
    assert np.median(np.linalg.norm(off, axis=1)) < 0.75
    assert np.median(np.linalg.norm(off, axis=1)) < 0.5 * np.median(np.linalg.norm(old, axis=1))


def test_a_turn_in_all_but_the_centre_turns_the_rest():
    """All lines but the central one in another pose: nearly the turned image."""
    shape, mm = (1, 48, 48), np.ones((1, 3), np.float32)
    pools = blobs(1, 1, shape, seed=3)
    poses = np.zeros((1, 48, 6))
    poses[0, :24, 3] = poses[0, 25:, 3] = 30
    made = acquire_complex(pools, plain(1, shape, poses=poses, voxel_mm=mm))[0, 0]
    middle = lines.parts(np.ones((1, 48), bool), ("linear",), np.array([48]))[0, 0]
    assert middle == 24
    matrix = motion.pull_matrix(motion.rotations([[30, 0, 0]]), np.zeros((1, 3)), [1, 1, 1], shape)
    turned = motion.turn(pools, matrix)[0, 0, 0]
    k, other = kspace.to_kspace(made[None, None]), kspace.to_kspace(turned[None, None])
    np.testing.assert_allclose(k[..., 1:, :], other[..., 1:, :], atol=1e-4)
    own = kspace.to_kspace(pools[:, 0])
    np.testing.assert_allclose(k[..., 0, :][0], own[..., 0, :][0], atol=1e-4)


def test_slices_move_through_each_other():
    pools = np.zeros((1, 1, 6, 8, 10), np.complex64)
    pools[0, 0, 2] = complexes(1, 8, 10)
    poses = np.zeros((1, 2, 6))
    poses[0, 0, 0] = 3  # one slice upwards, in the first part: lines of low frequency
    k = kspace.to_kspace(coil_images(pools, plain(1, (6, 8, 10), poses=poses)))[0, 0]
    parts = lines.parts(np.ones((1, 8), bool), ("linear",), np.array([2]))[0]
    own, first = kspace.to_kspace(pools[0])[0, 2], parts == 0
    assert sorted(kspace.frequencies(8)[first]) == [-4, -3]
    np.testing.assert_allclose(k[2, ~first], own[~first], atol=1e-5)
    np.testing.assert_allclose(k[3, first], own[first], atol=1e-5)
    assert abs(k[2, first]).max() < 1e-5 > abs(k[3, ~first]).max()


@pytest.mark.parametrize("fraction", [0.6, 0.75])
def test_homodyne_recovers_a_body_without_phase(fraction):
    pools = abs(blobs(1, 1, (1, 32, 20))).astype(np.complex64) + np.float32(0.1)
    pools[..., 10:14, 5:9] += 1
    plan = plain(1, (1, 32, 20), partial=np.array([fraction]), homodyne=np.array([True]))
    np.testing.assert_allclose(acquire(pools, plan), abs(pools[:, 0]), atol=2e-5)
    filled = replace(plan, sampling=replace(plan.sampling, homodyne=np.array([False])))
    assert abs(acquire(pools, filled) - abs(pools[:, 0])).max() > 0.02


def test_the_pool_with_the_shorter_t2_is_blurred():
    n = 64
    pools = np.zeros((1, 2, 1, n, 8), np.complex64)
    pools[0, 0, 0, 32, 2] = pools[0, 1, 0, 32, 5] = 1
    echoes = np.exp(-8.0 * np.arange(1, 17) / np.array([[[2000.0], [25.0]]]))
    train = acquisition.Train(echoes, np.array([16]), np.array([0]))
    made = acquire(pools, plain(1, (1, n, 8), order=("centric",), train=train))[0, 0]
    assert made[32, 2] > 0.95  # sharp
    assert made[32, 5] < 0.6
    assert made[31, 5] > 0.1 > made[31, 2]


@BOTH
def test_noise_has_its_standard_deviation_and_zero_filling_half_of_it(axes):
    shape = (4, 64, 64)
    pools = np.zeros((2, 1, *shape), np.complex64)
    noise = acquisition.Noise(np.ones(2, np.float32), keys(2))
    plan = plain(2, shape, axes, noise=noise)
    whole = acquire_complex(pools, plan)
    half = replace(plan, sampling=replace(plan.sampling, matrix=np.tile([4, 32, 32], (2, 1))))
    quarter = acquire_complex(pools, half)
    for part in (whole.real, whole.imag):
        assert part.std() == pytest.approx(1, abs=0.01)
    assert quarter.real.std() == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(whole[0].real.ravel(), whole[1].real.ravel())[0, 1]) < 0.03


def test_bias_leaves_noise_flat_and_correction_amplifies_it():
    shape = (1, 96, 96)
    fall = np.broadcast_to(np.linspace(2, 0.5, 96, dtype=np.float32), (1, *shape)).copy()
    pools = np.full((1, 1, *shape), 50, np.complex64)
    noise = acquisition.Noise(np.ones(1, np.float32), keys(1))
    plan = plain(1, shape, noise=noise, receive=fall)
    left, right = np.s_[0, 0, :, :24], np.s_[0, 0, :, -24:]
    clean = acquire(pools, replace(plan, noise=None))
    np.testing.assert_allclose(clean, 50 * fall, rtol=1e-4)
    rest = acquire(pools, plan) - clean
    assert rest[left].std() == pytest.approx(1, abs=0.06)
    assert rest[right].std() == pytest.approx(1, abs=0.06)
    even = acquire(pools, replace(plan, correction=1 / fall))
    assert even[left].mean() == pytest.approx(50, abs=0.1)
    assert even[right].std() > 2 * even[left].std()


def test_a_g_factor_scales_the_noise_of_the_image_voxel_by_voxel():
    shape = (1, 64, 96)
    g = np.ones((1, *shape), np.float32)
    g[..., 48:] = 3
    noise = acquisition.Noise(np.ones(1, np.float32), keys(1), g)
    made = acquire_complex(np.zeros((1, 1, *shape), np.complex64), plain(1, shape, noise=noise))
    assert made.real[..., :40].std() == pytest.approx(1, abs=0.05)
    assert made.real[..., 56:].std() == pytest.approx(3, abs=0.15)
    half = np.array([[1, 32, 48]])
    made = acquire_complex(
        np.zeros((1, 1, *shape), np.complex64), plain(1, shape, noise=noise, matrix=half)
    )
    assert made.real[..., 56:].std() == pytest.approx(1.5, abs=0.1)


def test_coils_shade_the_sum_of_squares_and_known_maps_take_it_out():
    shape = (2, 20, 24)
    centres, axes = (a[None] for a in coils.ring(4, 60))
    given = acquisition.Coils(centres, axes, np.array([30], np.float32))
    pools = np.ones((1, 1, *shape), np.complex64)
    plan = plain(1, shape, coils=given)
    maps = coils_twin.sensitivities(centres, axes, [30], plan.voxel_mm, shape)
    power = np.sqrt((abs(maps) ** 2).sum(1))
    np.testing.assert_allclose(acquire(pools, plan), power, rtol=1e-4)
    np.testing.assert_allclose(acquire_complex(pools, plan), pools[:, 0], atol=1e-4)
    noisy = replace(plan, noise=acquisition.Noise(np.ones(1, np.float32), keys(1)))
    images = coil_images(np.zeros_like(pools), noisy)[0].reshape(4, -1)
    assert abs(np.corrcoef(images.real) - np.eye(4)).max() < 0.1  # each coil its own
    assert working_bytes(pools.shape, 32) > 32 * 8 * pools.size


def test_spikes_and_ghosts_reach_the_image():
    shape = (1, 32, 24)
    pools = np.zeros((1, 1, *shape), np.complex64)
    pools[0, 0, 0, 4:8, 10:14] = 1
    ghosts = lines.uneven(32, np.array([2]), np.array([1.0]), np.array([0.6]))
    none = np.zeros((1, 1, 3), int), np.zeros((1, 1))
    plan = plain(1, shape, interference=acquisition.Interference(ghosts, *none))
    made = acquire(pools, plan)[0, 0]
    ghost = abs(np.exp(0.6j) - 1) / 2
    np.testing.assert_allclose(made[20:24, 10:14], ghost, atol=1e-4)  # half the field of view off
    spike = acquisition.Interference(
        np.ones((1, 32), np.complex64), np.array([[[0, 3, 5]]]), np.array([[0.25]])
    )
    striped = acquire_complex(np.zeros_like(pools), plain(1, shape, interference=spike))[0, 0]
    y, x = np.indices(striped.shape)
    wave = 0.25 * np.exp(2j * np.pi * (3 * y / 32 + 5 * x / 24))
    np.testing.assert_allclose(striped, wave, atol=1e-5)
    phases = np.random.default_rng(0).uniform(0, 6, (1, 1, 32))
    tone = replace(spike, stripes=np.zeros((1, 1)), tones=(np.array([9]), np.array([0.1]), phases))
    zipper = acquire(np.zeros_like(pools), plain(1, shape, interference=tone))[0, 0]
    assert np.sqrt((zipper[:, 9] ** 2).mean()) == pytest.approx(0.1, rel=1e-3)
    assert abs(np.delete(zipper, 9, 1)).max() < 1e-6


def test_what_cannot_be_acquired_is_refused():
    pools = complexes(0, 2, 1, 3, 6, 8)
    plan = plain(2, (3, 6, 8))
    with pytest.raises(ValueError, match="complex64"):
        acquire(pools.real, plan)
    with pytest.raises(ValueError, match="finer than its pools"):
        acquire(pools, replace(plan, grid=(3, 7, 8)))
    with pytest.raises(ValueError, match="keep their number"):
        acquire(pools, replace(plan, grid=(2, 6, 8)))
    with pytest.raises(ValueError, match="each of 2 samples"):
        acquire(pools, replace(plan, voxel_mm=np.ones((1, 3), np.float32)))
    with pytest.raises(ValueError, match=r"1\.\.6"):
        acquire(pools, replace(plan, sampling=full_sampling(2, (3, 7, 8))))
