"""A recipe from outside the package: by its file, and as an installed entry point."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from voxelmill.engine import recipes
from voxelmill.engine.errors import SpecError
from voxelmill.engine.reader import open_store
from voxelmill.engine.run_local import make
from voxelmill.engine.spec import read_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*words, **options):
    """The command `voxelmill`, in a process of its own."""
    command = "from voxelmill.engine.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def check_discs(path, count):
    """That the store holds discs where its parameters say."""
    reader = open_store(path)
    assert len(reader) == count
    names = [c.name for c in reader.description.columns]
    y, x = np.indices((64, 64)) + 0.5
    for i in range(count):
        sample = reader[i]
        p = dict(zip(names, sample["params"].tolist(), strict=True))
        assert p["sample"] == i
        assert 3 <= p["radius_px"] <= 20
        disc = np.hypot(y - p["centre_y_px"], x - p["centre_x_px"]) < p["radius_px"]
        np.testing.assert_array_equal(sample["mask"], disc)
        noise = sample["image"] - disc
        assert abs(noise.std() - 0.1) < 0.01
    assert reader.labels["mask"][1] == "disc"


def test_the_example_is_short():
    assert len((EXAMPLES / "discs.py").read_text().splitlines()) < 60


def test_recipe_by_its_file(tmp_path):
    store = tmp_path / "discs.zarr"
    spec = (EXAMPLES / "discs.yaml", "--recipe", EXAMPLES / "discs.py")
    made = run("make", *spec, "-o", store, "--count", 9)
    assert made.returncode == 0, made.stderr
    check_discs(store, 9)


def test_workers_know_the_recipe_file(tmp_path):
    store = tmp_path / "discs.zarr"
    sets = ["count=12", "samples_per_shard=4"]
    recipe = EXAMPLES / "discs.py"
    make(EXAMPLES / "discs.yaml", store, overrides=sets, recipe_file=recipe, workers=2)
    check_discs(store, 12)


def test_a_spec_alone_imports_no_file(tmp_path):
    shutil.copy(EXAMPLES / "discs.py", tmp_path)
    shutil.copy(EXAMPLES / "discs.yaml", tmp_path)
    with pytest.raises(SpecError, match="unknown recipe 'discs'"):
        read_spec(tmp_path / "discs.yaml")
    made = run("plan", "discs.yaml", cwd=tmp_path)
    assert made.returncode == 1
    there = ", ".join(sorted(recipes.RECIPES))
    assert f"unknown recipe 'discs'; there is {there}; a recipe of your own" in made.stderr
    assert "--recipe FILE.py (in Python, recipe_file=)" in made.stderr


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with an entry point, as pip would leave it in site-packages."""
    site = tmp_path / "site"
    info = site / "their_recipes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-recipes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[voxelmill.recipes]\ntheir_discs = their_discs\n")
    shutil.copy(EXAMPLES / "discs.py", site / "their_discs.py")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    yield
    sys.modules.pop("their_discs", None)
    recipes.named.cache_clear()


@pytest.mark.usefixtures("installed")
def test_recipe_by_its_entry_point(tmp_path):
    assert recipes.known()["their_discs"] == "their_discs"
    spec = tmp_path / "spec.yaml"
    text = (EXAMPLES / "discs.yaml").read_text()
    spec.write_text(text.replace("recipe: discs", "recipe: their_discs"))
    store = tmp_path / "theirs.zarr"
    make(spec, store, overrides=["count=5"])
    check_discs(store, 5)
    listed = run("recipes")
    assert "their_discs" in listed.stdout, listed.stderr
    made = run("make", spec, "-o", store, "--count", 7)
    assert made.returncode == 0, made.stderr
    check_discs(store, 7)


@pytest.mark.usefixtures("installed")
def test_a_built_in_recipe_cannot_be_replaced(tmp_path):
    info = next((tmp_path / "site").glob("*.dist-info"))
    (info / "entry_points.txt").write_text("[voxelmill.recipes]\ncxr_objects = their_discs\n")
    assert recipes.known()["cxr_objects"] == recipes.RECIPES["cxr_objects"]
    assert recipes.named("cxr_objects").__name__ == recipes.RECIPES["cxr_objects"]
