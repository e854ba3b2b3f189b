"""mr_scan and mr_body: slices with every number of parts, and one field for slices and labels."""

import heads
import numpy as np
import pytest
from heads import BACKGROUND, CSF, IDEAL, LEFT, PLAIN
from scipy.ndimage import binary_erosion, gaussian_filter

from voxelmill.engine import protocols
from voxelmill.engine.acquire import coil_images
from voxelmill.engine.acquisition import Acquisition, Train, full_sampling
from voxelmill.engine.draw import Stream
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.recipes import mr_physics, mr_scan
from voxelmill.engine.recipes.mr_body import Grid, lattice_shape
from voxelmill.engine.tissues import AT, COLUMNS
from voxelmill.kernels import kspace, signals
from voxelmill.kernels.spectrum import shift_hz


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return heads.write(tmp_path_factory.mktemp("heads"))


def one(folder, *sets):
    """(params, arrays) of the first sample."""
    job = heads.plan(folder, *PLAIN, *IDEAL, *(f"ranges.{s}" for s in sets)).job("")
    draws = draw_batch(job, [0])
    return draws[0].params, render_batch(job, draws)


@pytest.mark.parametrize("count", [64, 80, 160, 192])
@pytest.mark.parametrize("voxel_mm", [1.0, 1.25, 1.5, 1.6])
def test_slices_see_the_field_of_the_grid_that_they_tile(count, voxel_mm):
    grid = Grid((count, 8, 8), (voxel_mm,) * 3, (2, 2, 2))
    for thickness_mm in np.arange(1.7, 8, 0.17):
        slices = mr_scan.slice_grid(grid, thickness_mm, 1.0)
        assert lattice_shape(slices, 80.0) == lattice_shape(grid, 80.0), thickness_mm


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize("thickness_mm", [5, 13, 50])
def test_slices_of_any_thickness_are_made_with_any_number_of_parts(folder, parts, thickness_mm):
    p, arrays = one(folder, "mode=random", f"parts={parts}", "intensities.gamma_log_sd=0",
                    "intensities.bias_log_rms=0", "intensities.sd=0", "shares=true",
                    f"slices.thickness_mm={thickness_mm}")  # fmt: skip
    held = arrays["shares"][0].astype(np.float64)
    expected = np.tensordot(p.labels[:, 2], held, 1)
    if thickness_mm < 50:
        assert arrays["image"][0].mean() == pytest.approx(expected.mean(), rel=0.05)


def test_a_slice_is_as_wide_at_half_height_as_it_is_thick():
    grid = Grid((96, 4, 4), (1.0, 1.0, 1.0), (4, 4, 4))
    for thickness_mm in (4.0, 7.0, 12.0):
        slices = mr_scan.slice_grid(grid, thickness_mm, 1.0)
        weights = mr_scan.slice_profile(slices, thickness_mm)
        assert weights.size * 16 <= 256
        part_mm = slices.voxel_mm[0] / slices.fine[0]
        at = (np.arange(weights.size) - (weights.size - 1) / 2) * part_mm
        assert np.interp(thickness_mm / 2, at, weights) == pytest.approx(0.5, abs=0.02)


def _misfit_mm(image, expected):
    """The shift of an image against `expected`, by least squares of its gradients."""
    image, expected = (gaussian_filter(a.astype(np.float64), 1) for a in (image, expected))
    slopes = [-np.gradient(expected, axis=a)[3:-3, 3:-3, 3:-3].ravel() for a in range(3)]
    flat = expected[3:-3, 3:-3, 3:-3].ravel()
    system = np.stack([np.ones(flat.size), flat, *slopes], 1)
    found = np.linalg.lstsq(system, image[3:-3, 3:-3, 3:-3].ravel(), rcond=None)[0]
    return abs(found[2:] / found[1]).max() * heads.VOXEL_MM


@pytest.mark.parametrize("poses", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["linear", "centric", "interleaved"])
def test_labels_fit_the_image_of_a_body_that_moved(folder, order, poses):
    p, arrays = one(folder, "mode=random", "intensities.gamma_log_sd=0", "shares=true",
                    "intensities.bias_log_rms=0", "intensities.sd=0",
                    "acquisition.motion_chance=1", "acquisition.motion_mm=1",
                    "acquisition.motion_deg=0", f"acquisition.motion_poses={poses}",
                    f"acquisition.order={order}")  # fmt: skip
    expected = np.tensordot(p.labels[:, 2], arrays["shares"][0].astype(np.float64), 1)
    assert _misfit_mm(arrays["image"][0], expected) < heads.VOXEL_MM / 4


@pytest.mark.parametrize("suppress", ["none", "fat", "water"])
def test_labels_and_the_unit_of_an_image_know_of_spectral_pulses(folder, suppress):
    p, arrays = one(folder, "mode=physics", "families=t2_fse",
                    f"protocols.t2_fse.suppress={suppress}",
                    "protocols.t2_fse.suppress_deg=80")  # fmt: skip
    assert p.labels[[LEFT, heads.GREY], 2].max() == pytest.approx(1)
    for value in (LEFT, CSF):
        inside = arrays["image"][0][binary_erosion(arrays["label"][0] == value, iterations=2)]
        assert inside.mean() == pytest.approx(p.labels[value, 2], rel=0.04)
    assert p.labels[BACKGROUND, 2] == 0


def _scene(fine, b1, b0_hz, voxel_mm=(1.0, 1.0, 1.0)):
    b1, b0_hz = (np.broadcast_to(np.float32(a), fine.shape).copy() for a in (b1, b0_hz))
    grid = Grid(fine.shape[1:], voxel_mm, (1, 1, 1))
    return mr_scan.Scene(grid, fine, None, 3.0, b1, b0_hz, np.ones_like(b1))


def _tissues(**values):
    count = max(len(v) for v in values.values())
    made = np.zeros((count, len(COLUMNS)))
    made[:, [AT["fat_t1_ms"], AT["fat_t2_ms"]]] = 371, 133
    for name, numbers in values.items():
        made[:, AT[name]] = numbers
    return made


BRAIN = _tissues(
    pd=(0.77, 0.86, 1, 0.9), fat_fraction=(0, 0.3, 0, 0), t1_ms=(1084, 1820, 4163, 850),
    t2_ms=(69, 99, 1650, 60), t2s_ms=(53, 66, 500, 40),
)  # fmt: skip


def _row(kind, **numbers):
    drawn = protocols.draw_protocol(kind, Stream(1, 2), 0, 3.0)
    return {**drawn, **numbers}


@pytest.mark.parametrize(
    ("tr_ms", "flip_deg", "b1", "most"),
    [(3.5, 30, (0.9, 1.05), 3e-4), (5, 45, (0.7, 1.2), 2e-3), (6, 10, (1, 1), 2e-3)],
)
def test_balanced_echoes_have_bands_where_b0_is_off(tr_ms, flip_deg, b1, most):
    random = np.random.default_rng(0)
    fine = random.integers(0, 4, (1, 3, 10, 12)).astype(np.uint8)
    scene = _scene(fine, random.uniform(*b1, fine.shape), random.normal(0, 150, fine.shape))
    row = _row(protocols.BalancedEcho(), tr_ms=tr_ms, te_ms=tr_ms / 2, flip_deg=flip_deg)
    made = mr_physics.physics_pools(scene, row, BRAIN, np.arange(4), ["single"] * 4)[0]
    own = BRAIN[fine[0]]
    fat, fat_hz = own[..., AT["fat_fraction"]], float(shift_hz(1.3, 3.0))
    for pool, (share, t1, off) in enumerate(
        ((1 - fat, AT["t1_ms"], 0), (fat, AT["fat_t1_ms"], fat_hz))
    ):
        wanted = own[..., AT["pd"]] * signals.balanced_echo(
            share, own[..., t1], own[..., t1 + 1], tr_ms, tr_ms / 2, flip_deg,
            scene.b1[0].astype(np.float64), scene.b0_hz[0] + off,
        )  # fmt: skip
        np.testing.assert_allclose(made[pool], wanted, atol=most * abs(wanted).max())


def _pulses(row, own, b1):
    """Closed form of each pulse, (pulse, water or fat, ...)."""
    at, fat = AT, own[..., AT["fat_fraction"]]
    pools = ((1 - fat, at["t1_ms"]), (fat, at["fat_t1_ms"]))
    return np.array([[
        own[..., at["pd"]] * signals.mprage(
            share, own[..., t1], own[..., at["t2s_ms"]], row["tr_ms"], row["ti_ms"], row["te_ms"],
            row["flip_deg"], row["spacing_ms"], int(row["echoes"]), int(row["centre"]), n,
            row["efficiency"], b1,
        ) for share, t1 in pools] for n in range(int(row["echoes"]))
    ])  # fmt: skip


@pytest.mark.parametrize("numbers", [{}, {"ti_ms": 700, "echoes": 160, "centre": 80}])
def test_every_pulse_of_mprage_has_its_signals(numbers):
    random = np.random.default_rng(0)
    fine = random.integers(0, 4, (1, 3, 8, 9)).astype(np.uint8)
    scene = _scene(fine, random.uniform(0.9, 1.1, fine.shape), 0)
    row = _row(protocols.Mprage(), **numbers)
    pools = mr_physics.physics_pools(scene, row, BRAIN, np.arange(4), ["single"] * 4)[0]
    weights = mr_physics.trains_of(scene, row, BRAIN, np.arange(4), [0, 1])
    assert weights.shape == (len(pools), row["echoes"])
    wanted, centre = _pulses(row, BRAIN[fine[0]], scene.b1[0]), int(row["centre"])
    top = abs(wanted[centre, 0]).max()
    np.testing.assert_allclose(weights[:, centre], 1, atol=1e-12)
    made = np.einsum("pn,pzyx->nzyx", np.delete(weights, 1, 0), np.delete(pools, 1, 0))
    np.testing.assert_allclose(made[centre], wanted[centre, 0], atol=2e-4 * top)
    np.testing.assert_allclose(made, wanted[:, 0], atol=0.025 * top)
    assert np.sqrt((abs(made - wanted[:, 0]) ** 2).mean()) < 3e-3 * top
    fat = weights[1][:, None, None, None] * abs(pools[1])
    np.testing.assert_allclose(fat, wanted[:, 1], atol=0.04 * top)
    assert abs(wanted[:, 0] - wanted[centre, 0]).max() > top  # what it would be without


@pytest.mark.parametrize("t1_ms", [850.0, 1084.0, 4163.0])
def test_lines_of_mprage_are_weighted_as_the_closed_form_says(t1_ms):
    """A body of one tissue: each line of its k-space, over that of the body, is that of a pulse."""
    fine = np.zeros((1, 12, 32, 20), np.uint8)
    fine[:, 2:9, 5:24, 4:15] = 1
    values = _tissues(pd=(0, 0.8), fat_fraction=(0, 0), t1_ms=(t1_ms, t1_ms), t2_ms=(70, 70),
                      t2s_ms=(50, 50))  # fmt: skip
    scene, row = _scene(fine, 1, 0), _row(protocols.Mprage())
    job = (row, values, np.arange(2))
    pools = mr_physics.physics_pools(scene, *job, ["single"] * 2)
    weights = mr_physics.trains_of(scene, *job, [1, 1])
    centre = int(row["centre"])
    plan = Acquisition(
        kspace.VOLUME, np.ones((1, 3), np.float32), full_sampling(1, fine.shape[1:]),
        train=Train(weights[None], np.array([weights.shape[1]]), np.array([centre])),
    )  # fmt: skip
    k = kspace.to_kspace(coil_images(pools, plan), plan.axes)[0, 0]
    pulse = _pulses(row, values[1], 1.0)[:, 0].real
    body = kspace.to_kspace((fine[:, None] == 1).astype(np.complex64), plan.axes)[0, 0]
    wanted = body * pulse[centre + kspace.frequencies(32)][:, None]
    np.testing.assert_allclose(k, wanted, atol=1e-5 * abs(wanted).max())


def test_fat_that_is_nulled_at_the_centre_of_mprage_keeps_its_lines_even():
    scene, numbers = _scene(np.zeros((1, 1, 1, 4), np.uint8), 1, 0), {"echoes": 41, "centre": 20}
    null = _row(protocols.Mprage(), ti_ms=250, efficiency=1.0, **numbers)
    made = {ti: mr_physics.trains_of(scene, {**null, "ti_ms": ti}, BRAIN, np.arange(4), [0, 1])[1]
            for ti in (250, 900)}  # fmt: skip
    assert (made[250] == 1).all()
    assert np.ptp(made[900]) > 0.1


def test_a_balanced_band_is_dark_and_where_it_should_be():
    """The bands of water are 1 / TR apart, half that from resonance."""
    b0 = np.linspace(-300, 300, 601)
    fine = np.zeros((1, 1, 1, 601), np.uint8)
    row = _row(protocols.BalancedEcho(), tr_ms=5.0, te_ms=2.5, flip_deg=40)
    shown = mr_physics.physics_pools(
        _scene(fine, 1, b0), row, BRAIN[:1], np.zeros(1, int), ["single"]
    )
    water = abs(shown[0, 0, 0, 0])
    dark = b0[1:-1][(water[1:-1] < water[2:]) & (water[1:-1] < water[:-2])]
    near = [-300, -100, 100, 300]
    assert all(min(abs(d - n) for n in near) <= 1 or abs(d) % 200 < 1 for d in dark)
    assert water[[200, 400]].max() < 0.2 * water[300]
    assert water[300] == pytest.approx(
        signals.balanced_echo(0.77, 1084, 69, 5, 2.5, 40).real, rel=1e-5
    )
