"""thigh_mr: the contract, whole bones, aligned contrasts, what each shows, maps, bad input."""

import pickle
import shutil
from dataclasses import replace

import heads
import mills
import nibabel
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from voxelmill.engine.check import check as check_store
from voxelmill.engine.errors import SourceError, SpecError
from voxelmill.engine.label_maps import SHIPPED
from voxelmill.engine.label_table import open_table
from voxelmill.engine.mill import draw_batch, render_batch
from voxelmill.engine.plan import open_plan
from voxelmill.engine.reader import open_store
from voxelmill.engine.recipes import thigh_body
from voxelmill.engine.recipes.mr_body import Grid
from voxelmill.engine.recipes.mr_table import row_of
from voxelmill.engine.recipes.thigh_ranges import CONTRASTS, DIXON, PRESETS
from voxelmill.engine.remake import remake
from voxelmill.engine.sample import Rows
from voxelmill.engine.thigh_check import open_slices, topology_problems
from voxelmill.engine.tissues import AT

TABLE = open_table("thigh")
CLASS = {name: i for i, name in enumerate(TABLE.classes)}
FAT, MUSCLE = CLASS["subcutaneous fat"], CLASS["muscle"]
CORTEX, MARROW = CLASS["cortical bone"], CLASS["marrow"]
SKELETAL = [i for i, tissue in enumerate(TABLE.tissues) if tissue == "skeletal muscle"]
RECTUS = TABLE.row("rectus femoris")
MAP = "T1__THIGH_049_0002"  # the smallest that ships
PLAIN = heads.PLAIN
IDEAL = (
    *(s for s in heads.IDEAL if "slices" not in s),
    "ranges.b1_dip=0",
    "ranges.thigh.muscle_fat=0",
    "ranges.thigh.infiltration=0",
)
NOTHING_ELSE = (*PLAIN, *IDEAL, "parts=1", "muscles=true")
SPEC = """
recipe: thigh_mr
count: 8
seed: 5
inputs: {maps: maps, people: 50}
ranges:
  shape: [2, 96, 144]
  voxel_mm: [8, 2.8, 2.8]
  anatomy: {choice: {procedural: 1, maps: 0}}
"""
FINE = ("shape=[1, 176, 264]", "voxel_mm=[6, 1.6, 1.6]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A spec beside two muscle maps."""
    where = tmp_path_factory.mktemp("thighs")
    (where / "maps").mkdir()
    for name in (MAP, "Water__HV003_3_0001"):
        shutil.copy(SHIPPED / "hirriririir" / f"{name}.nii.gz", where / "maps")
    (where / "spec.yaml").write_text(SPEC)
    return where


_opened = {}


def planned(folder, *sets):
    words = [s if s.split("=")[0].split(".")[0] in ("ranges", "inputs", "count", "split")
             else f"ranges.{s}" for s in sets]  # fmt: skip
    plan = open_plan(folder / "spec.yaml", words)
    kept = _opened.setdefault(plan.inputs.digest, plan.inputs)  # depths of maps take a second
    return replace(plan, inputs=kept)


def contrasts(*names):
    return ("preset=none", f"contrasts=[{', '.join(names)}]")


def made(plan, indices=(0,)):
    """(draws, arrays) of some samples."""
    job = plan.job("")
    draws = draw_batch(job, indices)
    return draws, render_batch(job, draws)


def one(folder, *sets, index=0):
    """(params, arrays of one sample without the sample axis; images in double precision)."""
    draws, arrays = made(planned(folder, *sets), [index])
    found = {k: v[0] for k, v in arrays.items() if not isinstance(v, Rows)}
    found["image"] = found["image"].astype(np.float64)
    return draws[0].params, found


def eroded(mask, times=2):
    """In each slice by itself."""
    return np.stack([binary_erosion(plane, iterations=times) for plane in mask])


def skeletal(arrays, times=2):
    return eroded(np.isin(arrays["muscle"], SKELETAL), times)


def drawn(p, tissue, column, inputs):
    return p.tissues[list(inputs.tissues.by_name).index(tissue), 1 + AT[column]]


def message(folder, *sets, error=SpecError):
    with pytest.raises(error) as caught:
        planned(folder, *sets)
    return str(caught.value)


# ---- the contract

BOTH = "anatomy={choice: {procedural: 1, maps: 1}}"
MIXED = (BOTH, "mode={choice: {physics: 2, random: 1}}", "shares=true", "muscles=true")


def test_a_sample_has_the_same_bits_alone_and_in_any_batch(folder):
    plan = planned(folder, *MIXED)
    draws, together = made(plan, range(8))
    assert {d.params.anatomy for d in draws} == {d.params.mode for d in draws} == {0, 1}
    for i in (5, 2, 7):
        _, alone = made(plan, [i])
        mills.assert_same_alone(together, alone, i)


def test_inputs_that_went_to_another_process_give_the_same_bits(folder):
    plan = planned(folder, "anatomy={choice: {maps: 1, procedural: 0}}", "preset=blsa")
    job = plan.job("")
    job.inputs = pickle.loads(pickle.dumps(job.inputs))
    again = render_batch(job, draw_batch(job, [3]))
    np.testing.assert_array_equal(again["image"], made(plan, [3])[1]["image"])


def test_seeds_and_indices_differ(folder):
    first, second = planned(folder, "preset=blsa"), open_plan(
        folder / "spec.yaml", ["seed=6", "ranges.preset=blsa"]
    )  # fmt: skip
    images = [made(p, [i])[1]["image"] for p in (first, second) for i in (0, 1, 2**33)]
    assert len({a.tobytes() for a in images}) == 6


def test_a_contrast_is_the_same_whichever_others_are_made(folder):
    """Each has its own numbers: images of different specs can be compared."""
    p, alone = one(folder, *contrasts("stir"), "acquisition.motion_chance=1")
    q, all_of_them = one(folder, "preset=all", "acquisition.motion_chance=1")
    i = CONTRASTS.index("stir")
    np.testing.assert_array_equal(p.contrasts[0], q.contrasts[i])
    np.testing.assert_array_equal(alone["image"][0], all_of_them["image"][i])


def test_a_store_is_made_checked_and_made_again(folder, tmp_path):
    plan = open_plan(folder / "spec.yaml", ["count=3", "ranges.preset=blsa", f"ranges.{BOTH}"])
    store = mills.made(tmp_path / "x", plan)
    assert not check_store(store)
    assert not remake(store, 2, folder).differences


def test_persons_are_those_of_the_maps_and_made_up_ones(folder):
    plan = planned(folder, BOTH)
    subjects = plan.inputs.subjects
    assert subjects[:2] == ("made00000", "made00001")
    assert subjects[50:] == ("THIGH_049", "HV003")
    draws, _ = made(planned(folder, BOTH, *contrasts("pd")), range(12))
    for d in draws:
        assert (d.params.input >= 50) == (d.params.anatomy == 1)
    assert len({d.params.input for d in draws}) > 4


def test_a_plan_counts_what_rendering_holds(folder):
    small, large = planned(folder), planned(folder, "shape=[32, 192, 192]", "preset=blsa")
    assert small.working_bytes < large.working_bytes < large.memory_bytes()
    many = planned(folder, "acquisition.coils=8", "shape=[32, 192, 192]", "preset=blsa")
    assert many.working_bytes > large.working_bytes


# ---- anatomy


@pytest.mark.parametrize("anatomy", ["procedural", "maps"])
def test_bones_are_whole_in_every_sample(folder, anatomy):
    """After pose and bend: in the labels at the map's resolution, and in the shares of a coarse
    grid."""
    plan = planned(folder, f"anatomy={{choice: {{{anatomy}: 1}}}}", "shape=[3, 320, 540]",
                   "voxel_mm=[6, 0.8, 0.8]", "parts=1", "preset=blsa")  # fmt: skip
    coarse = planned(folder, f"anatomy={{choice: {{{anatomy}: 1}}}}", "shares=true",
                     *contrasts("pd"), "shape=[3, 160, 270]", "voxel_mm=[6, 1.6, 1.6]")  # fmt: skip
    ranges = plan.spec.ranges
    for index in range(6):
        draws = draw_batch(plan.job(""), [index])
        grid = Grid(ranges.shape, ranges.voxel_mm, (1, 1, 1))
        rows, legs = thigh_body.fine_labels(ranges.bend, draws[0], plan.inputs, grid)
        assert legs == "both"
        assert not topology_problems(rows[0], ranges.voxel_mm), index
        _, arrays = made(coarse, [index])
        label, shares = arrays["label"][0], arrays["shares"][0]
        marrow = label == MARROW
        around = np.stack([binary_dilation(m) for m in marrow]) & ~marrow
        assert set(np.unique(label[around])) == {CORTEX}
        assert not open_slices(shares[CORTEX] > 0, marrow)
        np.testing.assert_allclose(shares.astype(np.float32).sum(0), 1, atol=3e-3)
        np.testing.assert_array_equal(shares.astype(np.float32).argmax(0), label)


def test_the_field_of_view_lies_along_the_map(folder):
    """Wherever it is drawn to, it is filled, and not always the middle of the map."""
    places, areas = [], []
    for index in range(8):
        p, arrays = one(folder, "anatomy={choice: {maps: 1}}", *PLAIN, *contrasts("pd"),
                        "shape=[2, 120, 180]", index=index)  # fmt: skip
        seen = (arrays["label"] == MUSCLE).sum((1, 2))
        assert (seen > 1000).all()
        places.append(p.place)
        areas.append(int(seen[0]))
    assert len(set(areas)) > 5
    assert np.ptp(places) > 0.3


@pytest.mark.parametrize("anatomy", ["procedural", "maps"])
def test_a_single_slice_is_that_of_a_volume_turned_and_moved_as_it(folder, anatomy):
    """It is never empty: what a turn or a shift brings into the field of view is made."""
    sets = (f"anatomy={{choice: {{{anatomy}: 1}}}}", "pose.rotation_deg={uniform: [-9, 9]}",
            "pose.move_mm={uniform: [-20, 20]}", "bend.rms_mm=0", "thigh.infiltration=0",
            *contrasts("pd"))  # fmt: skip
    away = []
    for index in range(5):
        p, one_slice = one(folder, *sets, "shape=[1, 96, 144]", index=index)
        _, volume = one(folder, *sets, "shape=[3, 96, 144]", index=index)
        _, level = one(folder, *sets, "pose.rotation_deg=0", "shape=[1, 96, 144]", index=index)
        found, same, flat = (a["label"] for a in (one_slice, volume, level))
        assert (found > 0).mean() > 0.1
        assert abs(p.rotation_y_deg) + abs(p.rotation_x_deg) > 0
        if anatomy == "procedural":  # a map's slice has more places to lie than its volume
            assert (found[0] == same[1]).mean() > 0.95  # borders wander differently
        away.append((found[0] != flat[0]).mean())
    assert max(away) > 0.05


def test_thick_slices_hold_what_thin_ones_do(folder):
    """Shares, image and PDFF of one slice of 24 mm are the means of eight of 3 mm."""
    sets = ("anatomy={choice: {maps: 1}}", *NOTHING_ELSE[:-2], "bend.rms_mm=0", "shares=true",
            "pose.rotation_deg=6", *contrasts("pd"))  # fmt: skip
    _, thick = one(folder, *sets, "shape=[1, 96, 144]", "voxel_mm=[24, 2.8, 2.8]")
    _, thin = one(folder, *sets, "shape=[8, 96, 144]", "voxel_mm=[3, 2.8, 2.8]")
    mean = thin["shares"].astype(float).mean(1)
    away = np.abs(thick["shares"][:, 0].astype(float) - mean).sum(0)
    middle = np.abs(thin["shares"][:, 4].astype(float) - mean).sum(0)
    assert away.mean() < 0.25 * middle.mean()
    np.testing.assert_array_equal(thick["shares"][:, 0].astype(float).argmax(0), thick["label"][0])
    assert np.abs(thick["image"][0, 0] - thin["image"][0].mean(0)).mean() < 0.02
    edge = (thick["shares"][FAT, 0] > 0.2) & (thick["shares"][MUSCLE, 0] > 0.2)
    assert edge.sum() > 30
    found = np.corrcoef(thick["pdff"][0][edge], thick["shares"][FAT, 0][edge])[0, 1]
    assert found > 0.7


def test_parts_of_slices_are_three_millimetres_at_most():
    for slice_mm, expected in ((1.5, 2), (6, 2), (8, 3), (24, 8), (50, 12)):
        assert thigh_body.parts_of(slice_mm, 2) == (expected, 2, 2)
    assert thigh_body.parts_of(50, 1) == (1, 1, 1)


def test_labels_are_those_of_the_whole_map_where_nothing_moves(folder):
    """Only the slices that are met are made; which, does not matter where streaks are off."""
    still = ("anatomy={choice: {maps: 1}}", *PLAIN, "thigh.infiltration=0", *contrasts("pd"),
             "voxel_mm=[24.00002, 4, 4]", "parts=1", "muscles=true")  # fmt: skip
    whole, few = "shape=[12, 100, 160]", "shape=[2, 100, 160]"
    plan = planned(folder, *still, few)
    index = next(i for i in range(9) if made(plan, [i])[0][0].params.input == 50)  # the map MAP
    _, all_of_it = one(folder, *still, whole, index=index)
    p, some = one(folder, *still, few, index=index)
    first = round(p.place * 10)
    same = [(some["muscle"][0] == plane).mean() for plane in all_of_it["muscle"]]
    assert abs(int(np.argmax(same)) - first) <= 1
    assert max(same) > 0.98


# ---- contrasts


@pytest.mark.parametrize("name", CONTRASTS)
def test_the_mean_inside_a_label_is_that_of_the_table(folder, name):
    p, arrays = one(folder, *NOTHING_ELSE, *FINE, *contrasts(name), "acquisition.snr=100")
    table = p.labels[:, 3]
    inside = {
        "sartorius": skeletal(arrays, 3),
        "subcutaneous fat": eroded(arrays["label"] == FAT, 3),
        "marrow": eroded(arrays["label"] == MARROW, 2),
    }
    train = name in ("t1w_fse", "t2w", "stir", "pd")
    for label, mask in inside.items():
        values = arrays["image"][0][mask]
        assert len(values) > 30
        mean = np.hypot(table[TABLE.row(label)], 0.01)  # that of a magnitude with noise
        error = 3 * values.std() / np.sqrt(len(values)) + 1e-3 * max(mean, 1)  # float16 rounds
        if train:
            error += 0.03 * max(mean, 1)  # tails of the echoes' decay
        if table[TABLE.row(label)] > 0.05:
            assert abs(values.mean() - mean) < error, (label, values.mean(), mean)


def test_all_contrasts_show_one_anatomy(folder):
    """Edges of each contrast lie where the label changes, in the same place."""
    _, arrays = one(folder, *NOTHING_ELSE, *FINE, "preset=all", "acquisition.snr=1000")
    label = arrays["label"][0]
    edge = np.zeros(label.shape, bool)
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    edge[:, :-1] |= label[:, 1:] != label[:, :-1]
    for name, image in zip(CONTRASTS, arrays["image"][:, 0], strict=True):
        steps = np.abs(np.gradient(image, axis=1))
        body = binary_dilation(label > 0, iterations=3)
        assert steps[edge & body].mean() > 4 * steps[~edge & body].mean(), name


def test_presets_choose_contrasts(folder):
    for preset, names in PRESETS.items():
        p, arrays = one(folder, f"preset={preset}")
        assert [CONTRASTS[int(row[0])] for row in p.contrasts] == list(names)
        assert arrays["image"].shape == (len(names), 2, 96, 144)
    p, arrays = one(folder, *contrasts("stir", "t1w"))
    assert [int(row[0]) for row in p.contrasts] == [3, 0]


def test_fat_suppression_fails_where_b0_is_off(folder):
    off = [s for s in (*NOTHING_ELSE, *FINE) if "b0_rms" not in s]
    _, arrays = one(folder, *off, *contrasts("fat_suppressed", "t1w"), "scanner.b0_rms_hz=150",
                    "scanner.tesla=3T")  # fmt: skip
    fat = eroded(arrays["label"] == FAT)
    off_hz = abs(arrays["b0_hz"].astype(float))
    left = arrays["image"][0] / np.maximum(arrays["image"][1], 1e-3)
    assert (fat & (off_hz > 280)).sum() > 100
    held, failed = left[fat & (off_hz < 80)].mean(), left[fat & (off_hz > 280)].mean()
    assert failed > 3 * held
    shown = arrays["image"][0]
    assert shown[skeletal(arrays) & (off_hz < 80)].mean() > 2 * shown[fat & (off_hz < 80)].mean()
    assert shown[fat & (off_hz > 280)].mean() > 1.5  # brighter than muscle, as without the pulse


def test_opposed_phase_is_dark_where_fat_meets_water(folder):
    sets = [s for s in (*NOTHING_ELSE, *FINE) if not s.startswith("parts")]
    _, arrays = one(folder, *sets, "parts=4", "shares=true",
                    *contrasts("in_phase", "opposed_phase"))  # fmt: skip
    shares = arrays["shares"].astype(float)
    fat = shares[FAT] + shares[CLASS["intermuscular fat"]]
    border = (abs(fat - 0.45) < 0.1) & (fat + shares[MUSCLE] > 0.97)
    together, opposed = arrays["image"]
    pure = [skeletal(arrays), eroded(arrays["label"] == FAT)]
    assert border.sum() > 100
    assert np.median(opposed[border]) < 0.5 * min(opposed[mask].mean() for mask in pure)
    assert np.median(together[border]) > 0.9 * min(together[mask].mean() for mask in pure)


def _null_ti_ms(t1_ms, tr_ms, train_ms):
    return t1_ms * (np.log(2) - np.log1p(np.exp(-(tr_ms - train_ms) / t1_ms)))


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_stir_nulls_the_fat_whose_t1_its_ti_is_made_for(folder, tesla):
    sets = (*NOTHING_ELSE, *FINE, *contrasts("stir", "pd"), f"scanner.tesla={tesla:g}T",
            "protocols.stir.efficiency=1", "protocols.stir.tr_ms=4000")  # fmt: skip
    p, usual = one(folder, *sets)
    inputs = planned(folder, *sets).inputs
    row = row_of(p.contrasts[0])
    t1_ms = drawn(p, "subcutaneous fat", "fat_t1_ms", inputs)
    ti_ms = _null_ti_ms(t1_ms, 4000, row["spacing_ms"] * row["echoes"])
    of_mean_fat = ti_ms * np.mean([371, 382]) / t1_ms
    _, nulled = one(folder, *sets, f"protocols.stir.ti_ms={of_mean_fat}")
    fat, muscle = eroded(nulled["label"] == FAT), skeletal(nulled)
    assert nulled["image"][0][fat].mean() < 0.17  # the water in it, and 0.01 of noise, stay
    assert nulled["image"][0][muscle].mean() > 0.9
    assert nulled["image"][1][fat].mean() > nulled["image"][1][muscle].mean()
    assert usual["image"][0][fat].mean() < 0.35


@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_stir_leaves_little_fat_whoever_measured_its_t1(folder, tesla):
    plan = planned(folder, *NOTHING_ELSE, *contrasts("stir"), f"scanner.tesla={tesla:g}T")
    left = []
    for d in draw_batch(plan.job(""), range(40)):
        shown = d.params.labels[:, 3]
        left.append(shown[TABLE.row("subcutaneous fat")] / shown[SKELETAL[0]])
    assert np.quantile(left, 0.9) < 0.5


def test_dixon_of_partial_fourier_is_never_homodyne(folder):
    plan = planned(folder, *NOTHING_ELSE, *contrasts(*DIXON), "acquisition.partial_fourier=0.75",
                   "acquisition.homodyne_chance=1")  # fmt: skip
    (made_of,) = draw_batch(plan.job(""), [0])
    assert all(row_of(row)["homodyne"] == 0 for row in made_of.params.contrasts)


def test_blood_has_a_train_of_its_own(folder):
    """A long T2 has sharp edges, but none that overshoot as a train of muscle's would make them."""
    sets = (*NOTHING_ELSE, *FINE, *contrasts("t2w"), "protocols.t2w.te_ms=80",
            "acquisition.order=linear")  # fmt: skip
    p, arrays = one(folder, *sets)
    vessel = arrays["muscle"][0] == TABLE.row("vein")
    assert vessel.sum() > 4
    shown = p.labels[TABLE.row("vein"), 3]
    assert arrays["image"][0, 0][vessel].max() < 1.25 * shown


def test_blood_is_not_a_second_fluid_where_nothing_has_a_train(folder):
    _, arrays = one(folder, *NOTHING_ELSE, *contrasts("t1w"))
    assert np.isfinite(arrays["image"]).all()


@pytest.mark.parametrize("name", ["t1w", "in_phase"])
def test_noise_has_the_drawn_sd_and_is_rician_in_air(folder, name):
    sets = [s for s in (*NOTHING_ELSE, *FINE) if "snr" not in s]
    for snr in (20, 60):
        _, arrays = one(folder, *sets, *contrasts(name), f"acquisition.snr={snr}")
        air = ~binary_dilation(arrays["label"][0] > 0, iterations=12)
        values = arrays["image"][0, 0][air] * snr
        count = len(values)
        assert count > 5000
        assert abs(values.mean() - 1.2533) < 4 * 0.6551 / np.sqrt(count) + 2e-3
        assert values.std() == pytest.approx(0.6551, rel=3 / np.sqrt(count) + 0.01)


def test_noise_of_random_contrast_goes_by_the_highest_mean(folder):
    sets = [s for s in (*NOTHING_ELSE, *FINE) if "snr" not in s]
    sets += ["mode=random", "intensities.mean={uniform: [0.1, 5]}", "intensities.sd=0",
             "intensities.gamma_log_sd=0", "intensities.background_chance=0",
             "intensities.background_dim_chance=0", "acquisition.snr=30"]  # fmt: skip
    p, arrays = one(folder, *sets, *contrasts("t1w", "stir"))
    air = ~binary_dilation(arrays["label"][0] > 0, iterations=12)
    for i, slot in enumerate((CONTRASTS.index("t1w"), CONTRASTS.index("stir"))):
        top = p.labels[p.labels[:, 0] == slot, 3].max()
        values = arrays["image"][i, 0][air] * 30 / top
        assert values.mean() == pytest.approx(1.2533, rel=0.02)


def test_noise_of_contrasts_and_echoes_is_independent(folder):
    sets = [s for s in (*NOTHING_ELSE, *FINE) if "snr" not in s]
    _, arrays = one(folder, *sets, "preset=all", "acquisition.snr=15")
    air = ~binary_dilation(arrays["label"][0] > 0, iterations=12)
    values = np.stack([image[0][air] for image in arrays["image"][: -len(DIXON)]])
    found = np.corrcoef(values) - np.eye(len(values))
    assert abs(found).max() < 5 / np.sqrt(air.sum())


def test_motion_is_of_each_contrast_by_itself(folder):
    moving = ("acquisition.motion_chance=1", "acquisition.motion_mm=3",
              "acquisition.motion_poses=4")  # fmt: skip
    sets = (*NOTHING_ELSE, *contrasts("t1w", "t1w_fse"))
    _, still = one(folder, *sets)
    rest = [s for s in sets if "motion" not in s]
    _, moved = one(folder, *rest, *moving)
    np.testing.assert_array_equal(still["label"], moved["label"])
    away = [a - b for a, b in zip(moved["image"], still["image"], strict=True)]
    assert all(np.abs(a).max() > 0.1 for a in away)
    assert abs(np.corrcoef(away[0].ravel(), away[1].ravel())[0, 1]) < 0.95


# ---- maps


def test_maps_say_what_the_tissues_are(folder):
    sets = (*NOTHING_ELSE, *FINE, *contrasts("pd"))
    inputs = planned(folder, *sets).inputs
    p, arrays = one(folder, *sets)
    for label, tissue in ((FAT, "subcutaneous fat"), (MARROW, "yellow marrow")):
        inside = eroded(arrays["label"] == label, 1)
        fat = drawn(p, tissue, "fat_fraction", inputs)
        np.testing.assert_allclose(arrays["pdff"][inside], fat, atol=1e-3)
        r2s_hz = 1000 / drawn(p, tissue, "t2s_ms", inputs)
        np.testing.assert_allclose(arrays["r2s_hz"][inside], r2s_hz, rtol=2e-3)
    air = arrays["label"] == 0
    outside = np.stack([binary_erosion(a, iterations=4) for a in air])
    assert not arrays["pdff"][outside].any()
    assert not arrays["b0_hz"].any()
    assert (arrays["b1"] == 1).all()


def test_maps_of_random_contrast_are_no_targets(folder, tmp_path):
    """They are not of the image: NaN, which a loss shows; the field is, by its distortion."""
    sets = ("mode={choice: {physics: 1, random: 1}}", *contrasts("pd"))
    plan = planned(folder, *sets)
    modes = set()
    for d, i in zip(*[draw_batch(plan.job(""), range(6)), range(6)], strict=True):
        _, arrays = one(folder, *sets, index=i)
        random = bool(d.params.mode)
        modes.add(random)
        assert np.isfinite(arrays["image"]).all()
        assert np.isfinite(arrays["b0_hz"]).all()
        for name in ("pdff", "r2s_hz", "b1"):
            assert np.isnan(arrays[name]).all() == random
            assert np.isfinite(arrays[name]).all() != random
    assert modes == {False, True}
    store = mills.made(tmp_path / "x", open_plan(
        folder / "spec.yaml", ["count=6", *(f"ranges.{s}" for s in sets)]))  # fmt: skip
    assert not check_store(store)
    of_physics = open_store(store).batches(1, where="mode == 'physics'")
    found = [np.isfinite(b["pdff"]).all() for b in of_physics]
    assert all(found)
    assert 0 < len(found) < 6


def test_fat_inside_muscle_is_in_pdff_and_has_its_mean(folder):
    sets = [s for s in (*NOTHING_ELSE, *FINE) if "muscle_fat" not in s]
    means = []
    for index in range(6):
        p, arrays = one(folder, *sets, *contrasts("pd"), "thigh.muscle_fat=0.12", index=index)
        inputs = planned(folder, *sets).inputs
        own, full = (drawn(p, t, "fat_fraction", inputs) for t in
                     ("skeletal muscle", "intermuscular fat"))  # fmt: skip
        values = arrays["pdff"][skeletal(arrays, 1)].astype(float)
        means.append(values.mean() - (0.12 * full + 0.88 * own))
        assert values.std() > 0.02
    assert abs(np.mean(means)) < 0.03


_GIVEN = ("b1", "b0_rms", "bias", "muscle_fat", "snr")
FIELDS = tuple(s for s in (*NOTHING_ELSE, *FINE) if not any(k in s for k in _GIVEN))


@pytest.mark.parametrize(("flip_deg", "most"), [(1, 0.03), (5, 0.12)])
def test_dixon_gives_the_fat_fraction_with_fields_on(folder, flip_deg, most):
    """Within `most`: T1 of fat is a quarter of muscle's, so that at 5 degrees and TR 10 ms fat
    shows up to 1.5 times as much (0.1 at a half); at 1 degree what is left is decay between the
    echoes, which the fit leaves out, and noise."""
    for index in range(3):
        _, arrays = one(folder, *FIELDS, *contrasts(*DIXON), "thigh.muscle_fat=0.15",
                        f"protocols.dixon.flip_deg={flip_deg}", "acquisition.snr=200",
                        "scanner.b0_rms_hz=40", index=index)  # fmt: skip
        water, fat = arrays["image"]
        found = fat / np.maximum(water + fat, 1e-3)
        away = found - arrays["pdff"].astype(float)
        for mask in (skeletal(arrays, 1), eroded(arrays["label"] == FAT, 2)):
            assert abs(away[mask].mean()) < most
            assert np.quantile(abs(away[mask]), 0.95) < most + 0.03
        assert arrays["b0_hz"].astype(float).std() > 2


def test_water_and_fat_add_up_to_the_in_phase_image(folder):
    _, arrays = one(folder, *NOTHING_ELSE, *FINE, *contrasts(*DIXON))
    water, fat = arrays["image"]
    assert water[skeletal(arrays)].mean() > 5 * fat[skeletal(arrays)].mean()
    inside = eroded(arrays["label"] == FAT)
    assert fat[inside].mean() > 5 * water[inside].mean()


DIPPED = tuple(s for s in (*PLAIN, *IDEAL, *FINE, "muscles=true") if "dip" not in s)


@pytest.mark.parametrize("anatomy", ["procedural", "maps"])
@pytest.mark.parametrize("flip", [0, 1])
def test_b1_falls_in_the_left_rectus_femoris_also_after_a_flip(folder, anatomy, flip):
    sets = [s for s in DIPPED if "flip" not in s]
    p, arrays = one(folder, *sets, f"anatomy={{choice: {{{anatomy}: 1}}}}", "scanner.tesla=3T",
                    f"pose.flip_chance={flip}", "b1_dip=0.4", *contrasts("t1w"))  # fmt: skip
    assert p.flip == bool(flip)
    b1, muscle = arrays["b1"][0].astype(float), arrays["muscle"][0]
    y, x = np.unravel_index(b1.argmin(), b1.shape)
    assert x > b1.shape[1] / 2  # the patient's left
    assert binary_dilation(muscle == RECTUS, iterations=4)[y, x]
    assert b1.min() == pytest.approx(0.6, abs=0.01)
    right = (muscle == RECTUS) & (np.arange(b1.shape[1]) < b1.shape[1] / 2)
    assert b1[right].mean() > 0.9
    _, weaker = one(folder, *sets, "scanner.tesla=1.5T", "b1_dip=0.4", *contrasts("t1w"))
    assert weaker["b1"].min() == pytest.approx(0.8, abs=0.01)


def test_a_right_leg_alone_has_no_dip_and_a_left_one_has(folder):
    for legs, least in (("right", 1.0), ("left", 0.7)):
        _, arrays = one(folder, *DIPPED, "scanner.tesla=3T", "b1_dip=0.3", *contrasts("t1w"),
                        f"thigh.legs={{choice: {{{legs}: 1}}}}")  # fmt: skip
        assert arrays["b1"].min() == pytest.approx(least, abs=0.01)


def test_b1_changes_contrast_and_not_only_gain(folder):
    sets = [s for s in (*NOTHING_ELSE, *FINE) if "scanner.b1=" not in s]
    ratios = []
    for b1 in (0.6, 1.0):
        _, arrays = one(folder, *sets, *contrasts("in_phase"), f"scanner.b1={b1}")
        image = arrays["image"][0]
        ratios.append(image[eroded(arrays["label"] == FAT)].mean() / image[skeletal(arrays)].mean())
    assert abs(ratios[0] / ratios[1] - 1) > 0.05


# ---- random contrast


def test_random_contrast_has_the_drawn_means_in_each_contrast(folder):
    p, arrays = one(folder, *NOTHING_ELSE, *FINE, *contrasts("t1w", "pd"), "mode=random",
                    "intensities.gamma_log_sd=0", "intensities.bias_log_rms=0")  # fmt: skip
    assert not len(p.tissues)
    fat = eroded(arrays["label"] == FAT)
    drawn_means = []
    for slot, image in zip((0, 4), arrays["image"], strict=True):
        rows = p.labels[p.labels[:, 0] == slot]
        _, _, _, mean, sd = rows[TABLE.row("subcutaneous fat")]
        values = image[fat]
        assert abs(values.mean() - mean) < 4 * sd / np.sqrt(len(values)) + 1e-3
        drawn_means.append(mean)
    assert drawn_means[0] != drawn_means[1]
    assert all(np.isnan(arrays[name]).all() for name in ("pdff", "r2s_hz", "b1"))
    assert np.isfinite(arrays["b0_hz"]).all()


# ---- bad input


def test_all_mistakes_are_told_at_once(folder):
    said = message(
        folder,
        "preset=none",
        "contrasts=[t1w, t1ww, dixon_fat, t1w]",
        "protocols.t1w.te_ms={uniform: [20, 900]}",
        "protocols.dixon.te_ms=15",
        "acquisition.labels_follow_image=true",
        "bend={rms_mm: 30, spacing_mm: 40}",
        "inputs.people=0",
    )
    assert "unknown contrast 't1ww'; did you mean 't1w'" in said
    assert "must name one or more contrasts, each once" in said
    assert "protocols.t1w: TE up to 900 ms is not below TR from 450 ms" in said
    assert "protocols.dixon: TE up to 15 ms is not below TR from 9 ms" in said
    assert "labels_follow_image: contrasts are distorted each in its own way" in said
    assert "a bend of 30 mm may fold" in said
    assert "procedural thighs need inputs.people above 0" in said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("preset=none",), "must name one or more contrasts"),
        (("contrasts=[t1w]",), "write preset: none"),
        (("preset=blas",), "blsa"),
        (("inputs.maps=none", "anatomy={choice: {maps: 1}}"), "give maps a folder"),
        (("protocols.stir.ti_ms=4900",), "TI up to 4900 ms and a train"),
        (("protocols.t2w.refocus_deg=0",), "refocus_deg"),
        (("protocols.dixon.echoes=2",), "echoes"),
        (("thigh.cortex_mm=0.5",), "cortex_mm"),
        (("b1_dip=0.9",), "b1_dip"),
    ],
)
def test_values_that_cannot_be(folder, setting, words):
    with pytest.raises(SpecError, match=words):
        planned(folder, *setting)


def test_maps_that_show_no_thigh_are_refused_before_work_starts(folder, tmp_path):
    values = np.zeros((40, 30, 6), np.uint8)
    values[10:20, 10:20, 1:5] = 1
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2, 8, 1])), tmp_path / "blob.nii.gz")
    sets = (f"inputs.maps={tmp_path}", "anatomy={choice: {maps: 1}}")
    assert "map blob: " in message(folder, *sets, error=SourceError)
    planned(folder, f"inputs.maps={tmp_path}")  # no weight on maps: they are not looked at
    said = message(folder, "inputs.maps=nowhere", error=SourceError)
    assert "neither a NIfTI file, a folder nor a CSV" in said
