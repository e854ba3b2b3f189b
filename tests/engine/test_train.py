"""From stores to a scored network."""

import json

import numpy as np
import pytest

from voxelmill.engine.errors import SpecError
from voxelmill.engine.reader import open_store
from voxelmill.engine.run_local import make
from voxelmill.engine.train import find_classes, read_train_spec, run, summary
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


def test_mistakes_are_told(folder, tmp_path):
    reader = open_store(folder / "discs.zarr")
    with pytest.raises(SpecError, match="'disc' belongs to no class"):
        source(reader, {"rest": ["background"], "other": ["coin"]}, label="mask")
    with pytest.raises(SpecError, match="'disc' belongs to 'rest' and to 'disc'"):
        source(reader, {"rest": ["background", "disc"], "disc": ["disc"]}, label="mask")
    with pytest.raises(SpecError, match="no dense field 'masks'; did you mean 'mask'"):
        source(reader, CLASSES, label="masks")
    with pytest.raises(SpecError, match="weights"):
        TrainingBatches([source(reader, CLASSES, label="mask")], [1, 2])
    file = tmp_path / "bad.yaml"
    file.write_text(SPEC.replace("batch: 8", "bach: 8").replace("width: 8", "width: 1"))
    with pytest.raises(SpecError, match="did you mean 'batch'") as told:
        read_train_spec(file)
    assert "network.width" in str(told.value)


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
