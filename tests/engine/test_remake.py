"""One sample made again alone: the same bytes, or the reason why not."""

import json

import mills
import numpy as np
import pytest

from voxelmill.engine.errors import SampleError, SourceError, SpecError, StoreError, VersionError
from voxelmill.engine.plan import open_plan
from voxelmill.engine.reader import open_store
from voxelmill.engine.remake import remake
from voxelmill.engine.store import check


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return mills.made(tmp_path_factory.mktemp("films") / "x", mills.films(20, 8))


@pytest.fixture
def dots(tmp_path):
    return mills.made(tmp_path / "x", mills.dots(40, 8), batch=3)


def _edit(path, **changes):
    group = json.loads((path / "zarr.json").read_text())
    group["attributes"]["voxelmill"] |= changes
    (path / "zarr.json").write_text(json.dumps(group))


def test_samples_are_made_again_byte_for_byte(films, dots):
    for i in (0, 7, 8, 19):
        again = remake(films, i)
        assert (again.index, again.differences) == (i, ())
        assert again.arrays["image"].shape == (64, 64)
        np.testing.assert_array_equal(again.arrays["params"], open_store(films).params_of(i))
    for i in range(0, 40, 9):
        assert remake(dots, i, recipe_file=mills.DOTS).differences == ()


@pytest.mark.parametrize("index", [-1, 40, 10**12])
def test_an_index_that_is_not_there(dots, index):
    with pytest.raises(SampleError, match=rf"sample {index} is not in 0\.\.39 of"):
        remake(dots, index, recipe_file=mills.DOTS)


def test_a_recipe_from_outside_must_be_named(dots):
    with pytest.raises(SpecError, match=r"unknown recipe 'dots'.*--recipe FILE\.py"):
        remake(dots, 3)


def test_another_version_of_the_recipe_is_named(films):
    group = (films / "zarr.json").read_text()
    try:
        _edit(films, recipe_version=0, versions={"voxelmill": "0.0.7"})
        with pytest.raises(
            VersionError,
            match=r"made by version 0 of recipe cxr_objects \(voxelmill 0.0.7\); this program has",
        ):
            remake(films, 0)
    finally:
        (films / "zarr.json").write_text(group)


def test_other_inputs_are_told(tmp_path):
    """A film that changed after the store was made."""
    folder, data = tmp_path / "films", mills.ROOT / "engine" / "data" / "films"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        for file in sorted((data / part).iterdir())[:2]:
            (folder / part / file.name).write_bytes(file.read_bytes())
    text = (
        "recipe: cxr_objects\ncount: 3\ninputs: {films: films, donors: shipped}\n"
        "ranges: {size: 64}\n"
    )
    spec = tmp_path / "spec.yaml"
    spec.write_text(text)
    path = mills.made(tmp_path / "x", open_plan(spec))
    assert remake(path, 2, str(tmp_path)).differences == ()
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(SourceError, match=r"were taken from .*elsewhere.* with --folder"):
        remake(path, 2, str(tmp_path / "elsewhere"))
    one, two = sorted((folder / "images").iterdir())
    one.write_bytes(two.read_bytes())
    with pytest.raises(
        StoreError, match=r"the inputs under .* are not those that it was made from"
    ):
        remake(path, 2, str(tmp_path))


def test_a_flipped_bit_is_an_error_that_names_the_file(dots):
    file = dots / "image" / "c" / "1" / "0" / "0"
    data = bytearray(file.read_bytes())
    data[50] ^= 4
    file.write_bytes(data)
    (problem,) = check(dots)
    assert (problem.shard, problem.file) == (1, "image/c/1/0/0")
    for read in (lambda: remake(dots, 8, recipe_file=mills.DOTS), lambda: open_store(dots)[8]):
        with pytest.raises(StoreError, match=r"image/c/1/0/0 is damaged"):
            read()
    assert remake(dots, 7, recipe_file=mills.DOTS).differences == ()


def test_what_differs_is_told(films, monkeypatch):
    recipe = open_plan(mills.films().spec).spec.module
    real = recipe.render

    def render(ranges, draws, inputs, xp):
        arrays = real(ranges, draws, inputs, xp)
        arrays["image"][0, 3, 5] ^= 7
        return arrays

    monkeypatch.setattr(recipe, "render", render)
    (line,) = remake(films, 4).differences
    assert line.startswith("image: 1 values differ, by at most ")
    monkeypatch.setattr("voxelmill.engine.remake.device_class", lambda: "another cpu")
    assert "this is 'another cpu': rounding may differ" in remake(films, 4).differences[1]


def test_a_sample_that_is_not_made_yet(tmp_path):
    path = mills.made(tmp_path / "x", mills.dots(), shards=range(2))
    assert remake(path, 15, recipe_file=mills.DOTS).differences == ()
    with pytest.raises(StoreError, match="sample 16 is in shard 2, which is not made yet"):
        remake(path, 16, recipe_file=mills.DOTS)
