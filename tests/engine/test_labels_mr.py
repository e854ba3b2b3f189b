"""labels_mr: the contract of draws and pixels, geometry, contrast, acquisition, bad input."""

import pickle

import heads
import mills
import numpy as np
import pytest
import yaml
from heads import BACKGROUND, CSF, GREY, IDEAL, LEFT, PLAIN, RIGHT
from scipy.ndimage import binary_erosion

from voxelmill.engine.check import check as check_store
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import mr_random
from voxelmill.engine.recipes.labels_ranges import FAMILIES, MODES
from voxelmill.engine.recipes.mr_table import row_of
from voxelmill.engine.remake import remake
from voxelmill.engine.run_local import make
from voxelmill.engine.sample import Rows
from voxelmill.engine.tissues import SHIPPED

FEW = ("shape=[14, 18, 16]", "voxel_mm=[3.5, 3.2, 3.4]", "shares=true")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return heads.write(tmp_path_factory.mktemp("heads"))


def planned(folder, *sets):
    return heads.plan(folder, *[s if s.startswith("ranges.") else f"ranges.{s}" for s in sets])


def made(plan, indices=(0,)):
    """(draws, arrays) of some samples."""
    job = plan.job("")
    draws = draw_batch(job, indices)
    return draws, render_batch(job, draws)


def one(folder, *sets, index=0):
    """(params, arrays of one sample without the sample axis)."""
    draws, arrays = made(planned(folder, *sets), [index])
    return draws[0].params, {k: v[0] for k, v in arrays.items() if not isinstance(v, Rows)}


def eroded(label, value, times=2):
    return binary_erosion(label == value, iterations=times)


def message(folder, *sets, error=SpecError):
    with pytest.raises(error) as caught:
        planned(folder, *sets)
    return str(caught.value)


# ---- the contract


def test_a_sample_has_the_same_bits_alone_and_in_any_batch(folder):
    plan = planned(folder, *FEW)
    _, together = made(plan, range(8))
    for i in (5, 2, 7):
        _, alone = made(plan, [i])
        mills.assert_same_alone(together, alone, i)


def test_inputs_that_went_to_another_process_give_the_same_bits(folder):
    plan = planned(folder, *FEW)
    job = plan.job("")
    job.inputs = pickle.loads(pickle.dumps(job.inputs))
    again = render_batch(job, draw_batch(job, [3]))
    np.testing.assert_array_equal(again["image"], made(plan, [3])[1]["image"])


def test_seeds_and_indices_differ(folder):
    first, second = planned(folder, *FEW), heads.plan(folder, "seed=6", *_with_ranges(FEW))
    images = [made(p, [i])[1]["image"] for p in (first, second) for i in (0, 1, 2**33)]
    assert len({a.tobytes() for a in images}) == 6


def _with_ranges(sets):
    return [f"ranges.{s}" for s in sets]


def test_a_store_is_made_checked_and_made_again(folder, tmp_path):
    plan = open_plan(heads.spec(folder), ["count=3", *_with_ranges(FEW)])
    store = mills.made(tmp_path / "x", plan)
    assert not check_store(store)
    assert not remake(store, 2, folder).differences


def test_a_plan_counts_maps_and_what_rendering_holds(folder):
    small, large = planned(folder), planned(folder, "shape=[128, 128, 128]")
    assert 0 < small.input_bytes == large.input_bytes < 2**20
    assert small.working_bytes < large.working_bytes < large.memory_bytes()
    many = planned(folder, "acquisition.coils=16", "shape=[128, 128, 128]")
    assert many.working_bytes > large.working_bytes


# ---- geometry


def test_labels_are_the_map_where_nothing_moves(folder):
    for parts in (1, 2, 3):
        _, arrays = one(folder, *PLAIN, f"parts={parts}")
        np.testing.assert_array_equal(arrays["label"], heads.rows())


def test_a_flip_swaps_the_sides(folder):
    _, straight = one(folder, *PLAIN, *IDEAL, "mode=physics", "families=mprage")
    _, flipped = one(folder, *PLAIN, *IDEAL, "mode=physics", "families=mprage",
                     "pose.flip_chance=1")  # fmt: skip
    partners = np.array([BACKGROUND, RIGHT, LEFT, CSF, GREY])
    np.testing.assert_array_equal(flipped["label"], partners[straight["label"][..., ::-1]])
    # x grows to the patient's left, whichever hemisphere of the map lies there
    assert (flipped["label"][:, :, 14:][flipped["label"][:, :, 14:] < CSF] != RIGHT).all()
    away = abs(flipped["image"].astype(float) - straight["image"][..., ::-1])
    assert away.mean() < 0.005


def test_a_shift_and_a_turn_go_where_they_say(folder):
    _, still = one(folder, *PLAIN)
    plan = planned(folder, *PLAIN, "pose.move_mm=4")
    _, arrays = made(plan)
    expected = np.zeros_like(still["label"])
    expected[2:, 2:, 2:] = still["label"][:-2, :-2, :-2]
    np.testing.assert_array_equal(arrays["label"][0], expected)
    _, scaled = one(folder, *PLAIN, "pose.scaling=0.8")
    volume = (scaled["label"] > 0).sum() / (still["label"] > 0).sum()
    assert volume == pytest.approx(0.8**3, rel=0.05)


def test_shares_sum_to_one_and_the_largest_is_the_label(folder):
    for index in range(3):
        _, arrays = one(folder, "shares=true", "parts=3", index=index)
        shares = arrays["shares"].astype(np.float32)
        assert shares.shape == (5, *heads.SHAPE)
        np.testing.assert_allclose(shares.sum(0), 1, atol=2e-3)
        np.testing.assert_array_equal(shares.argmax(0), arrays["label"])  # ties: the lower class
        assert ((shares > 0.02) & (shares < 0.98)).any()


# ---- contrast


TRAINS = ("t2_fse", "pd_fse", "flair", "double_inversion")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mean_inside_a_label_is_that_of_the_table(folder, family):
    """After a bend, turns and partial volume; with noise, and fields off."""
    p, arrays = one(folder, PLAIN[4], *IDEAL, "mode=physics", f"families={family}",
                    "acquisition.snr=100", "pose.scaling=1.1", index=1)  # fmt: skip
    assert FAMILIES[p.family - 1] == family
    assert p.bend_rms_mm > 1
    for value in (LEFT, RIGHT, CSF):
        inside = arrays["image"][eroded(arrays["label"], value)].astype(np.float64)
        assert len(inside) > 50
        mean = np.hypot(p.labels[value, 2], 0.01)  # that of a magnitude with noise
        error = 3 * inside.std() / np.sqrt(len(inside)) + 5e-4 * mean  # float16 rounds
        blur = 0.03 * max(mean, 1) if family in TRAINS else 0  # tails of the echoes' decay
        if p.labels[value, 2] > 0.05:  # below, noise adds more than that
            assert abs(inside.mean() - mean) < error + blur, value


def test_a_lower_resolution_keeps_the_means(folder):
    p, arrays = one(folder, *PLAIN, *IDEAL, "mode=physics", "families=t2_fse",
                    "acquisition.matrix=0.75", "acquisition.window=hamming",
                    "slices.thickness_mm=4")  # fmt: skip
    for value in (LEFT, RIGHT):
        inside = arrays["image"][eroded(arrays["label"], value, 3)].astype(np.float64)
        assert inside.mean() == pytest.approx(p.labels[value, 2], rel=0.02)


def test_modes_say_where_contrast_comes_from(folder):
    seen = set()
    for draws, _ in (made(planned(folder, *FEW, f"mode={mode}"), range(3)) for mode in MODES):
        for d in draws:
            p = d.params
            seen.add(p.mode)
            physics = MODES[p.mode] == "physics"
            assert (p.family > 0) is physics
            assert (len(p.tissues) > 0) is physics
            assert len(p.labels) == 5 * (3 if MODES[p.mode] == "subcluster" else 1)
            assert np.isnan(row_of(p.contrasts[0])["tr_ms"]) == (not physics)
    assert seen == {0, 1, 2}


def test_random_contrast_has_the_drawn_mean_and_spread(folder):
    p, arrays = one(folder, *PLAIN, *IDEAL, "mode=random", "intensities.gamma_log_sd=0",
                    "intensities.bias_log_rms=0")  # fmt: skip
    np.testing.assert_array_equal(p.labels[LEFT, 2:], p.labels[RIGHT, 2:])
    for value in (LEFT, RIGHT):
        inside = arrays["image"][eroded(arrays["label"], value)].astype(np.float64)
        _, _, mean, sd = p.labels[value]
        assert abs(inside.mean() - mean) < 3 * sd / np.sqrt(len(inside))
        assert inside.std() == pytest.approx(sd, rel=3 / np.sqrt(2 * len(inside)) + 0.01)


def test_subclusters_make_patches_inside_a_label(folder):
    p, arrays = one(folder, *PLAIN, *IDEAL, "mode=subcluster", "intensities.gamma_log_sd=0",
                    "intensities.bias_log_rms=0", "intensities.sd=0", "intensities.cluster_mm=8",
                    "parts=1")  # fmt: skip
    inside = arrays["image"][eroded(arrays["label"], LEFT, 1)].astype(np.float64)
    means = np.sort(p.labels[p.labels[:, 0] == LEFT, 2])
    near = abs(inside[:, None] - means).min(1)
    assert np.median(near) < 0.005
    found = [np.mean(abs(inside - m) < 0.01) for m in means]
    assert min(found) > 0.1


def test_gamma_keeps_the_brightest_and_moves_the_rest():
    image = np.array([[[[0, 0.25, 1.0]]]], np.float32)
    np.testing.assert_allclose(mr_random.to_gamma(image, 2.0).ravel(), [0, 0.0625, 1])
    np.testing.assert_allclose(mr_random.to_gamma(4 * image, 0.5).ravel(), [0, 2, 4])


def test_fluid_does_not_decay_along_a_train(folder):
    """White matter blurs, or is sharpened, by its T2; CSF of 2 s keeps its edges."""
    decay = ("mode=physics", "families=t2_fse", "protocols.t2_fse.te_ms=100",
             "protocols.t2_fse.refocus_deg=180", "protocols.t2_fse.spacing_ms=10",
             "acquisition.order=linear", "protocols.t2_fse.echoes=20", "parts=1")  # fmt: skip
    p, arrays = one(folder, *PLAIN, *IDEAL, *decay)
    image, label = arrays["image"].astype(np.float64), arrays["label"]
    ringing = [image[eroded(label, v, 1)].std() / p.labels[v, 2] for v in (LEFT, CSF)]
    assert ringing[1] < 0.02 < ringing[0]


# ---- acquisition


MOVING = ("acquisition.motion_chance=1", "acquisition.motion_mm=3", "acquisition.motion_deg=0",
          "acquisition.motion_poses=2")  # fmt: skip


def _best_shift(a, b):
    """The whole voxels by which b must go to lie on a."""
    product = np.fft.ifftn(np.fft.fftn(a) * np.conj(np.fft.fftn(b))).real
    at = np.array(np.unravel_index(product.argmax(), a.shape))
    return tuple((at + np.array(a.shape) // 2) % a.shape - np.array(a.shape) // 2)


@pytest.mark.parametrize("family", ["mprage", "t2_fse"])
def test_labels_stay_in_the_pose_at_the_centre_of_k_space(folder, family):
    ideal = (*PLAIN, *IDEAL, "mode=physics", f"families={family}", "acquisition.order=linear")
    for index in range(3):
        _, still = one(folder, *ideal, index=index)
        p, moved = one(folder, *ideal, *MOVING, index=index)
        assert row_of(p.contrasts[0])["motion_mm"] == 3
        np.testing.assert_array_equal(moved["label"], still["label"])
        images = [a["image"].astype(np.float64) for a in (still, moved)]
        assert abs(images[0] - images[1]).max() > 0.05
        assert _best_shift(*images) == (0, 0, 0)


DISTORTED = (*PLAIN, *IDEAL, "mode=physics", "families=t2_fse", "acquisition.distortion=1",
             "acquisition.bandwidth_hz=30", "scanner.b0_rms_hz=120",
             "scanner.tesla=3T")  # fmt: skip


def _overlap(label, image):
    a, b = label == CSF, image > 0.5 * np.median(image[binary_erosion(label == CSF)])
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_labels_follow_the_image_only_when_asked(folder):
    gains = []
    for index in range(4):
        _, straight = one(folder, *PLAIN, *IDEAL, "mode=physics", "families=t2_fse", index=index)
        _, stays = one(folder, *DISTORTED, "shares=true", index=index)
        _, follows = one(folder, *DISTORTED, "shares=true",
                         "acquisition.labels_follow_image=true", index=index)  # fmt: skip
        np.testing.assert_array_equal(stays["image"], follows["image"])
        np.testing.assert_array_equal(stays["label"], straight["label"])
        np.testing.assert_allclose(follows["shares"].astype(float).sum(0), 1, atol=2e-3)
        moved = (stays["label"] != follows["label"]).mean()
        overlaps = [_overlap(a["label"], a["image"].astype(float)) for a in (stays, follows)]
        gains.append((moved, overlaps[1] - overlaps[0]))
    moved, gained = np.array(gains).T
    assert moved.max() > 0.02
    assert gained[moved > 0.02].mean() > 0.02


@pytest.mark.parametrize(("axis", "across"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_thick_slices_blur_across_themselves(folder, axis, across):
    cube = ("shape=[26, 26, 26]", "mode=random", "intensities.gamma_log_sd=0",
            "intensities.bias_log_rms=0", "intensities.sd=0.3")  # fmt: skip
    _, thin = one(folder, *PLAIN, *IDEAL, *cube)
    _, thick = one(folder, *PLAIN, *IDEAL, *cube, f"slices.axis={axis}", "slices.thickness_mm=8")
    np.testing.assert_array_equal(thin["label"], thick["label"])

    def rough(array):
        image = array["image"].astype(np.float64)
        return np.array([np.abs(np.diff(image, axis=a)).mean() for a in range(3)])

    ratio = rough(thick) / rough(thin)
    assert ratio.argmin() == across
    assert ratio[across] < 0.5 * np.delete(ratio, across).min()


def test_noise_goes_by_the_signal_to_noise_ratio(folder):
    plain = (*PLAIN, *IDEAL, "mode=physics", "families=mprage")
    _, clean = one(folder, *plain, "acquisition.snr=1000000")
    for snr in (20, 50):
        _, noisy = one(folder, *plain, f"acquisition.snr={snr}")
        inside = eroded(clean["label"], LEFT)
        away = noisy["image"].astype(float) - clean["image"]
        assert away[inside].std() == pytest.approx(1 / snr, rel=0.15)


@pytest.mark.parametrize("mode", ["random", "subcluster"])
@pytest.mark.parametrize("mean", ["0.2", "{uniform: [0.1, 6]}"])
def test_noise_of_random_contrast_goes_by_the_highest_mean(folder, mode, mean):
    plain = (*PLAIN, *IDEAL, f"mode={mode}", f"intensities.mean={mean}", "intensities.sd=0",
             "intensities.gamma_log_sd=0", "intensities.bias_log_rms=0",
             "intensities.background_chance=0.5", "shape=[16, 26, 24]")  # fmt: skip
    _, clean = one(folder, *plain, "acquisition.snr=1000000")
    p, noisy = one(folder, *plain, "acquisition.snr=25")
    sd = p.labels[:, 2].max() / 25
    bright = clean["image"] > 4 * sd  # where noise is not Rician yet
    assert bright.sum() > 500
    away = noisy["image"].astype(float) - clean["image"]
    assert away[bright].std() == pytest.approx(sd, rel=0.1)


def test_coils_that_are_combined_shade_the_image(folder):
    _, alone = one(folder, *PLAIN, *IDEAL, "mode=physics", "families=mprage")
    _, many = one(folder, *PLAIN, *IDEAL, "mode=physics", "families=mprage",
                  "acquisition.coils=4")  # fmt: skip
    inside = eroded(alone["label"], LEFT)
    ratio = (many["image"][inside] / alone["image"][inside]).astype(float)
    assert ratio.std() > 0.01


# ---- bad input


def test_all_mistakes_of_a_protocol_are_told_at_once(folder):
    said = message(
        folder,
        "protocols.t1_spin_echo.te_ms={uniform: [20, 900]}",
        "protocols.flair.ti_ms=9900",
        "protocols.pd_fse.te_ms=200",
        "protocols.mprage.ti_ms=2400",
        "bend={rms_mm: 30, spacing_mm: 32}",
        "slices.axis=coronal",
    )
    assert "t1_spin_echo: TE up to 900 ms is not below TR from 450 ms" in said
    assert "flair: TI up to 9900 ms and a train" in said
    assert "pd_fse: TE up to 200 ms is beyond a train" in said
    assert "mprage: half a train" in said
    assert "ranges.bend: a bend of 30 mm may fold" in said
    assert "coronal slices need a cubic shape and voxel" in said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("protocols.t2_fse.refocus_deg=0", "refocus_deg"),
        ("protocols.t2_fse.echoes=0", "echoes"),
        ("acquisition.matrix=0", "matrix"),
        ("acquisition.coils=0", "coils"),
        ("families={choice: {t3_fse: 1}}", "t3_fse"),
        ("mode={choice: {physic: 1}}", "did you mean 'physics'"),
        ("bend.spacing_mm=5", "at least four voxels"),
        ("shape=[1000, 1024, 1024]", "passes 2\\*\\*31|GiB"),
    ],
)
def test_values_out_of_bounds(folder, setting, words):
    with pytest.raises(SpecError, match=words):
        planned(folder, setting)


def test_more_coils_than_memory_allows(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("voxelmill.engine.plan.memory_here", lambda: 4 << 30)
    planned(folder, "shape=[128, 160, 160]", "acquisition.coils=8")
    said = message(folder, "shape=[128, 160, 160]", "acquisition.coils=64")
    assert "rendering a sample of these fields would need about" in said
    assert "this machine has 4.0 GiB" in said
    assert "coils" in said
    monkeypatch.setattr("voxelmill.engine.plan.memory_here", lambda: 2 << 30)
    plan = planned(folder, "shape=[96, 96, 96]")
    with pytest.raises(SpecError, match=r"in 3 processes would need about .* run fewer workers"):
        make(plan, tmp_path / "x", workers=3)
    assert not (tmp_path / "x").exists()


def _tissues(folder, change):
    whole = yaml.safe_load(SHIPPED.read_text("utf-8"))
    change(whole["tissues"])
    (folder / "tissues.yaml").write_text(yaml.safe_dump(whole), "utf-8")
    return folder / "tissues.yaml"


def test_tissues_that_cannot_be(folder, tmp_path):
    def change(tissues):
        tissues["csf"]["relaxation"][0]["t1"] = -5
        tissues["grey matter"]["pd"]["range"] = [2, 1]

    _tissues(folder, change)
    with pytest.raises(SourceError, match=r"csf at .* must be above 0(?s:.)*|grey matter\.pd") as e:
        open_plan(heads.spec(folder), ["inputs.tissues=tissues.yaml", "inputs.maps=nowhere"])
    said = str(e.value)
    assert "grey matter.pd: [2, 1] must be ascending" in said
    assert "nowhere is neither a NIfTI file" in said


def test_tissues_that_are_not_there(folder):
    _tissues(folder, lambda tissues: tissues.pop("grey matter"))
    with pytest.raises(SourceError, match="no tissue 'grey matter'"):
        open_plan(heads.spec(folder), ["inputs.tissues=tissues.yaml"])
    open_plan(heads.spec(folder), ["inputs.tissues=tissues.yaml", "ranges.mode=random"])


def test_maps_that_cannot_be_used(tmp_path):
    heads.write(tmp_path, np.full(heads.SHAPE, 9, np.uint8))
    with pytest.raises(SourceError, match="9"):
        heads.plan(tmp_path)
    heads.write(tmp_path, np.zeros(heads.SHAPE, np.uint8))
    with pytest.raises(SourceError, match="no foreground"):
        heads.plan(tmp_path)


def test_more_subclusters_than_rows(tmp_path):
    heads.write(tmp_path)
    table = yaml.safe_load(heads.TABLE)
    table["rows"] += [
        {"value": 100 + i, "name": f"more {i}", "tissue": "csf", "class": "csf"} for i in range(70)
    ]
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(SourceError, match="75 labels of 4 classes make 300 rows, above 256"):
        heads.plan(tmp_path, "ranges.intensities.clusters=4")


def test_the_background_is_random_dim_or_nothing(folder):
    ranges = ("mode=random", "intensities.background_chance=0.7", *FEW)
    job = planned(folder, *ranges).job("")
    outside = np.array([d.params.labels[0, 2:] for d in draw_batch(job, range(300))])
    dark, dim = (outside == 0).all(1), (outside[:, 0] < 15 / 255) & (outside[:, 1] < 5 / 255)
    assert 0.01 < dark.mean() < 0.1
    assert 0.18 < dim.mean() - dark.mean() < 0.32
    assert outside[~dim, 0].min() >= 25 / 255


@pytest.mark.parametrize("name", ["brain_mr", "brain_synthseg"])
def test_the_examples_are_made(name):
    small = ["ranges.shape=[24, 24, 24]", "ranges.voxel_mm=[8, 8, 8]", "ranges.bend.spacing_mm=40"]
    plan = open_plan(mills.ROOT / "examples" / f"{name}.yaml", small)
    draws, arrays = made(plan, range(4))
    assert {d.params.mode for d in draws} == ({1} if name == "brain_synthseg" else {0, 1, 2})
    assert np.isfinite(arrays["image"]).all()
    for image, label in zip(arrays["image"].astype(float), arrays["label"], strict=True):
        assert image[label > 0].std() > 0.02
        assert len(np.unique(label)) > 8
