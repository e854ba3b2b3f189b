"""The contact sheet: what it shows, and what it refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
import stores
from PIL import Image

from voxelmill.engine import preview
from voxelmill.engine.errors import StoreError
from voxelmill.engine.run_local import make
from voxelmill.engine.sample import Column, Field, Ragged

SPEC = """
recipe: cxr_objects
count: 7
seed: 5
samples_per_shard: 4
inputs: {films: shipped}
ranges: {size: 96, negative_share: 0, count: 2, classes: {choice: {rectangular: 1, line: 1}}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "x.zarr"
    make(SPEC, path)
    return path


def colours(path):
    with Image.open(path) as picture:
        return {tuple(c) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}


def test_sheet_has_a_tile_a_sample_and_outlines_in_their_colours(store, tmp_path):
    assert preview.sheet(store, tmp_path / "a.png", range(99)) == 7
    with Image.open(tmp_path / "a.png") as picture:
        tile = preview.TILE_PX + preview.GAP_PX
        assert picture.width == 6 * tile + preview.GAP_PX
        assert picture.height > 2 * tile
    found = colours(tmp_path / "a.png")
    rectangular, line = 4, 7
    assert {preview.colour_of(rectangular), preview.colour_of(line)} <= found
    assert preview.sheet(store, tmp_path / "b.png", [3]) == 1


def test_outlines_leave_thin_objects_in_sight():
    mask = np.zeros((40, 50), bool)
    mask[20, 5:45] = True
    edge = preview._edge(mask)
    assert edge.any()
    assert not edge[19:22, 5:45].any()
    assert edge[18, 10:40].all()
    assert edge[22, 10:40].all()
    assert not preview._edge(np.zeros((9, 7), bool)).any()
    assert not preview._edge(np.ones((9, 7), bool)).any()


def test_outlines_do_not_fill_small_gaps():
    mesh = np.zeros((40, 40), bool)
    mesh[10:31:5, 10:31] = mesh[10:31, 10:31:5] = True
    assert not preview._edge(mesh)[11:30, 11:30].any()


def test_samples_that_are_not_there(store, tmp_path):
    with pytest.raises(StoreError, match=r"none of the samples asked for is there; 7 of 7"):
        preview.sheet(store, tmp_path / "a.png", range(90, 99))


def test_any_store_with_an_image(tmp_path):
    path = stores.make(tmp_path / "made_up.zarr")
    assert preview.sheet(path, tmp_path / "a.png", range(5)) == 5
    assert preview.colour_of(10) in colours(tmp_path / "a.png")


def test_panels_are_named_by_the_contrasts_of_the_sample():
    def reader(rows):
        column = Column("contrast", categories=("t1w", "stir", "water"))
        table = Ragged("contrasts", (Column("te_ms"), column), 2)
        image = Field("image", "float16", ("contrast", "z", "y", "x"), (2, 1, 4, 5))
        depth = Field("depth", "float16", ("z", "y", "x"), (1, 4, 5))
        fields = {f.name: f for f in (image, depth, *[table] * rows)}
        return SimpleNamespace(fields=fields)

    sample = {"contrasts": np.array([[9.0, 2], [1, 0]])}
    assert preview._names(sample, "image", reader(True)) == ["water", "t1w"]
    assert preview._names(sample, "depth", reader(True)) == ["depth"]
    assert preview._names({}, "image", reader(False)) == ["image, contrast 0", "image, contrast 1"]
