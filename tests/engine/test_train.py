"""From stores to a scored network."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from voxelmill.engine.errors import SpecError
from voxelmill.engine.reader import open_store
from voxelmill.engine.run_local import make
from voxelmill.engine.train import check_contrasts, find_classes, read_train_spec, run, summary
from voxelmill.engine.training_batches import Change, TrainingBatches, grown, source

DISCS = "examples/discs.py"
CLASSES = {"rest": ["background"], "disc": ["disc", "coin"]}
SPEC = """
stores: [discs.zarr]
test: [test.zarr]
label: mask
classes: {rest: [background], disc: [disc]}
batch: 8
steps: 40
rate: 0.01
flip: [y, x]
network: {width: 8, levels: 2, fold: 2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from mills import ROOT

    place = tmp_path_factory.mktemp("train")
    for name, count, seed in (("discs", 48, 1), ("test", 5, 2)):
        text = f"recipe: discs\ncount: {count}\nseed: {seed}\nranges: {{size: 32}}\n"
        make(text, place / f"{name}.zarr", recipe_file=ROOT / DISCS)
    (place / "train.yaml").write_text(SPEC)
    return place


def test_run_scores_and_goes_on(folder):
    spec = read_train_spec(folder / "train.yaml")
    seen = []
    result = run(spec, folder / "out", folder, told=lambda step, loss: seen.append(loss))
    assert len(seen) == result["steps"] == 40
    assert np.mean(seen[-5:]) < 0.5 * np.mean(seen[:5])
    assert [row["sample"] for row in result["rows"]] == list(range(5))
    assert summary(result["rows"], ["disc"])["disc"]["dice"] > 0.7
    assert result["rows"][0]["disc"]["truth_ml"] > 0
    assert json.loads((folder / "out" / "result.json").read_text()) == result
    again = run(spec, folder / "out", folder, told=lambda step, loss: seen.append(loss))
    assert len(seen) == 40
    assert again["rows"] == result["rows"]


def test_a_package_that_lacks_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(SpecError, match=r"needs jax.*\.\[models\]"):
        run(read_train_spec(folder / "train.yaml"), tmp_path / "net", folder)


def test_batches_of_two_stores_go_on_anywhere(folder):
    def two():
        readers = [open_store(folder / name) for name in ("discs.zarr", "test.zarr")]
        sources = [source(r, CLASSES, label="mask") for r in readers]
        return TrainingBatches(sources, [3, 1], size=2, seed=4, crop={"y": 16}, change=CHANGE)

    first = two()
    batches = [next(first) for _ in range(12)]
    assert [int(b["store"][0]) for b in batches].count(1) == 3
    assert batches[0]["image"].shape == (2, 16, 32, 1)
    second, state = two(), None
    for _ in range(5):
        next(second)
    state = json.loads(json.dumps(second.state_dict()))
    third = two()
    third.load_state_dict(state)
    for expected in batches[5:]:
        got = next(third)
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value)


CHANGE = Change(flip=("x",), gamma_log_sd=0.2)


def test_what_is_kept_and_scaled(folder):
    reader = open_store(folder / "discs.zarr")
    near = source(reader, CLASSES, label="mask", near=["disc"], margin=2)
    batch = near.prepared(reader.start([3, 4], ["image", "mask"]).result())
    inside = np.stack([grown(one == 1, 2) for one in batch["label"]])
    assert not batch["image"][..., 0][~inside].any()
    means = [abs(i[m]).mean() for i, m in zip(batch["image"], inside, strict=True)]
    np.testing.assert_allclose(means, 1, rtol=1e-4)
    assert grown(np.eye(5) == 1, 0).sum() == 5


SLICES = """
from dataclasses import dataclass
import numpy as np
from voxelmill.engine.sample import Field
VERSION, NAMES = 1, ("place",)

@dataclass(frozen=True)
class Ranges:
    size: int = 16

@dataclass(frozen=True)
class Params:
    place: int

def fields(ranges, inputs):
    z, n = (1, ranges.size, ranges.size + 4), ("z", "y", "x")
    return (Field("image", "float16", ("contrast", *n), (3, *z)),
            Field("label", "uint8", n, z, "class", "", {0: "background", 1: "disc"}, True),
            Field("swapped", "float16", (*n, "contrast"), (*z, 3)))

def draw(ranges, stream, inputs):
    return Params(int(stream.integers("place", 2, ranges.size - 6)[0]))

def render(ranges, draws, inputs, xp):
    label = np.zeros((len(draws), 1, ranges.size, ranges.size + 4), np.uint8)
    for one, d in zip(label, draws, strict=True):
        one[0, d.params.place :][:4, 3:9] = 1
    image = np.stack([label + 1, 3 - label, 1 + 2 * label], 1).astype(np.float16)
    return {"image": image, "label": label, "swapped": np.moveaxis(image, 1, -1)}
"""


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    place = tmp_path_factory.mktemp("slices")
    (place / "slices.py").write_text(SLICES)
    for name, seed in (("slices", 1), ("held", 2)):
        text = f"recipe: slices\ncount: 6\nseed: {seed}\n"
        make(text, place / f"{name}.zarr", recipe_file=place / "slices.py")
    return place


def test_contrasts_are_channels_or_one_is_drawn(slices):
    reader = open_store(slices / "slices.zarr")
    on = source(reader, CLASSES)
    assert (on.axes, on.contrasts) == (("y", "x"), 3)
    batch = reader.start([0, 1], ["image", "label"]).result()
    whole = on.prepared(batch)
    assert whole["image"].shape == (2, 16, 20, 3)
    assert whole["label"].shape == (2, 16, 20)
    np.testing.assert_allclose(whole["image"].mean((1, 2)), 1, rtol=1e-4)
    some = on.prepared(batch, [2, 0])
    for k, c in enumerate((2, 0)):
        np.testing.assert_array_equal(some["image"][k, ..., 0], whole["image"][k, ..., c])
    near = source(reader, CLASSES, near=["disc"], margin=1).prepared(batch)
    inside = np.stack([grown(one == 1, 1) for one in near["label"]])
    assert not near["image"][~inside].any()
    np.testing.assert_allclose([i[m].mean() for i, m in zip(near["image"], inside, strict=True)],
                               1, rtol=1e-4)  # fmt: skip
    drawn = TrainingBatches([on], size=6, seed=1, change=Change(one_contrast=True))
    seen = set()
    for _ in range(4):
        made = next(drawn)
        assert made["image"].shape == (6, 16, 20, 1)
        inside = made["label"][..., None] == 1
        ratios = [i[m].mean() / i[~m].mean() for i, m in zip(made["image"], inside, strict=True)]
        seen |= set(np.round(ratios, 2).tolist())
    drawn.close()
    assert seen == {2.0, 0.67, 3.0}
    with pytest.raises(SpecError, match="nor one for the contrasts"):
        source(reader, CLASSES, image="swapped")


def test_networks_of_all_contrasts_and_of_one(slices, folder):
    text = "stores: [slices.zarr]\ntest: [held.zarr]\nsteps: 3\nbatch: 2\n"
    text += "classes: {rest: [background], disc: [disc]}\n"
    text += "network: {width: 8, levels: 2, fold: 2}\n"
    for name, more, rows in (("all", "", 6), ("one", "contrasts: one\n", 18)):
        (slices / f"{name}.yaml").write_text(text + more)
        result = run(read_train_spec(slices / f"{name}.yaml"), slices / name, slices)
        assert len(result["rows"]) == rows
        assert [r.get("contrast") for r in result["rows"]][:3] == (
            [0, 1, 2] if name == "one" else [None] * 3
        )


THIGHS = """
recipe: thigh_mr
count: 1
inputs: {{maps: none, people: 3}}
ranges:
  shape: [1, 16, 24]
  voxel_mm: [15, 16, 16]
  bend: {{spacing_mm: 80}}
  preset: none
  contrasts: [{}]
"""


def test_stores_of_other_contrasts_are_told_apart(tmp_path):
    def on(names):
        place = tmp_path / f"{names.replace(', ', '_')}.zarr"
        make(THIGHS.format(names), place)
        reader = open_store(place)
        return source(reader, {"rest": list(reader.labels["label"].values())})

    first, turned, other = on("t1w, stir"), on("stir, t1w"), on("t1w, pd")
    assert first.contrast_names == ("t1w", "stir")
    check_contrasts([first, first, replace(turned, contrast_names=())])
    for wrong in (turned, other):
        names = ", ".join(wrong.contrast_names)
        with pytest.raises(SpecError, match=rf"t1w_stir.zarr \(t1w, stir\) and .*\({names}\)"):
            check_contrasts([replace(first, contrast_names=()), first, wrong])
    with pytest.raises(SpecError, match=r"\(t1w, stir\) and .*\(3\); make them alike"):
        check_contrasts([first, replace(turned, contrasts=3, contrast_names=())])


def test_mistakes_are_told(folder, tmp_path):
    reader = open_store(folder / "discs.zarr")
    with pytest.raises(SpecError, match="'disc' belongs to no class; 'coin' of class 'other'"):
        source(reader, {"rest": ["background"], "other": ["coin"]}, label="mask")
    with pytest.raises(SpecError, match="'disc' belongs to 'rest' and to 'disc'"):
        source(reader, {"rest": ["background", "disc"], "disc": ["disc"]}, label="mask")
    with pytest.raises(SpecError, match="no dense field 'masks'; did you mean 'mask'"):
        source(reader, CLASSES, label="masks")
    with pytest.raises(SpecError, match="near: 'dics' belongs to no class; did you mean 'disc'"):
        source(reader, CLASSES, label="mask", near=["dics"])
    with pytest.raises(SpecError, match=r"near: none of \['coin'\] is a label here"):
        source(reader, CLASSES, label="mask", near=["coin"])
    with pytest.raises(SpecError, match="weights"):
        TrainingBatches([source(reader, CLASSES, label="mask")], [1, 2])
    file = tmp_path / "bad.yaml"
    file.write_text(SPEC.replace("batch: 8", "bach: 8").replace("width: 8", "width: 1"))
    with pytest.raises(SpecError, match="did you mean 'batch'") as told:
        read_train_spec(file)
    assert "network.width" in str(told.value)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("crop: {q: 4}", "no axis 'q' to crop"),
        ("crop: {y: 400}", "a crop of 400"),
        ("split: trian", "no split 'trian'; did you mean 'train'"),
        ("flip: [y, xx]", "has no axis 'xx'"),
        ("stores: [test.zarr]", "5 samples are no batch of 8"),
    ],
)
def test_what_no_batch_can_be_made_of_is_told(folder, tmp_path, more, expected):
    file, key = tmp_path / "bad.yaml", more.split(":")[0]
    lines = [line for line in SPEC.splitlines() if not line.startswith(f"{key}:")]
    file.write_text("\n".join([*lines, more]))
    with pytest.raises(SpecError, match=expected):
        run(read_train_spec(file), tmp_path / "out", folder)


def test_training_goes_on_with_its_own_spec_alone(folder, tmp_path):
    file = tmp_path / "spec.yaml"

    def going_on(text):
        file.write_text(text.replace("steps: 40", "steps: 3"))
        return run(read_train_spec(file), tmp_path / "out", folder)

    begun = going_on(SPEC)
    swapped = "classes: {disc: [disc], rest: [background]}"
    for text, key in (
        (SPEC.replace("classes: {rest: [background], disc: [disc]}", swapped), "classes"),
        (SPEC + "gamma_log_sd: 0.1\n", "gamma_log_sd"),
        (SPEC + "keep: {near: [disc]}\n", "keep"),
    ):
        with pytest.raises(SpecError, match=f"begun with other {key}; go on with what spec.json"):
            going_on(text)
    again = going_on(SPEC.replace("test: [test.zarr]", "minutes: 7"))
    assert again["loss"] == begun["loss"]
    assert again["rows"] == []


def test_a_flip_does_not_part_sides(folder):
    reader = open_store(folder / "discs.zarr")
    reader.labels["mask"] = {0: "left disc", 1: "right disc"}
    apart = source(reader, {"a": ["left disc"], "b": ["right disc"]}, label="mask")
    with pytest.raises(SpecError, match="'left disc' and 'right disc' are two classes"):
        TrainingBatches([apart], change=Change(("x",)))
    TrainingBatches([apart], change=Change(("y",))).close()
    joined = source(reader, {"a": ["left disc", "right disc"], "b": []}, label="mask")
    TrainingBatches([joined], change=Change(("x",))).close()


def test_any_size_is_classified():
    seen = []

    def find(image):
        seen.append(image.shape)
        return image[..., 0].astype("uint8")

    image = np.ones((1, 5, 7, 1), "float32")
    found = find_classes(find, image, 4)
    assert seen == [(1, 8, 8, 1)]
    assert found.shape == (1, 5, 7)
    assert found.all()
