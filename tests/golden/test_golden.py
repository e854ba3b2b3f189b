"""A recipe's output changes only with its VERSION."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from golden.content import content, file_of, specs

from voxelmill.engine.recipes import RECIPES

CURE = (
    "if the change is meant, raise VERSION in the recipe and run `python tests/golden/content.py "
    "{recipe}`; if not, it is a fault"
)


def test_every_recipe_has_golden_samples():
    assert set(specs()) == set(RECIPES)
    assert all(file_of(name).stat().st_size < 200_000 for name in RECIPES)


def differences(was, now):
    """What changed, as sentences: draws to the bit, pixels and measures within rounding."""
    if was.keys() != now.keys():
        yield f"arrays are {sorted(now)}, were {sorted(was)}"
        return
    if was["draws"] != now["draws"]:
        yield "other numbers are drawn"
    for name in was.keys() - {"version", "draws"}:
        a, b = was[name], now[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            yield f"{name} is {b.dtype} {b.shape}, was {a.dtype} {a.shape}"
        elif a.dtype == np.float16:
            yield from _other_halves(name, a.astype(np.float32), b.astype(np.float32))
        elif a.dtype.kind == "f":
            if not np.allclose(a, b, rtol=1e-6, atol=1e-3, equal_nan=True):
                yield f"{name} has other numbers"
        else:
            away = np.abs(a.astype(np.int64) - b)
            others = np.count_nonzero(away > (name == "image"))  # a grey may round the other way
            if others > 1e-5 * a.size:
                yield f"{name} differs in {others} of {a.size} places, by up to {away.max()}"


def _other_halves(name, a, b):
    """Images whose voxels are further apart than the rounding of libraries and of float16."""
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        yield f"{name} has no number in other places"
        return
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    away = np.abs(a - b)
    near = 1e-5 * np.ptp(a) + np.spacing(np.abs(a).astype(np.float16)).astype(np.float32)
    others = np.count_nonzero(away > 1.01 * near)
    if others > 1e-4 * a.size:  # a part of a voxel may be looked up beyond an edge of the map
        yield f"{name} differs in {others} of {a.size} places, by up to {away.max():.3g}"


@pytest.mark.parametrize("recipe", RECIPES)
def test_output_is_that_of_this_version(recipe):
    with np.load(file_of(recipe)) as kept:
        was = dict(kept)
    now = content(recipe)
    version = int(now["version"])
    assert version == was["version"], (
        f"recipe {recipe} has version {version}, its golden samples are of {was['version']}: run "
        f"`python tests/golden/content.py {recipe}`"
    )
    changed = sorted(differences(was, now))
    assert not changed, "; ".join([*changed, CURE.format(recipe=recipe)])


def test_changes_are_noticed():
    with np.load(file_of("cxr_objects")) as kept:
        was = dict(kept)
    assert not list(differences(was, was))
    image, objects = was["image"].copy(), was["objects"].copy()
    image[0, :9, :9] += 2
    objects[0, np.flatnonzero(objects[0] > 5)[0]] += 0.01
    assert list(differences(was, was | {"image": image})) == [
        f"image differs in 81 of {image.size} places, by up to 2"
    ]
    assert list(differences(was, was | {"objects": objects})) == ["objects has other numbers"]
    assert list(differences(was, was | {"draws": np.array("x")})) == ["other numbers are drawn"]
    half = {"version": 1, "draws": "", "image": np.linspace(0, 2, 1000).astype(np.float16)}
    rounded = half | {"image": np.nextafter(half["image"], np.float16(9))}
    assert not list(differences(half, rounded))
    assert len(list(differences(half, half | {"image": half["image"] + np.float16(0.01)}))) == 1


THREADED = """
import sys
sys.path.insert(0, sys.argv[1])
from golden.test_golden import bits
print(bits(sys.argv[2]))
"""


def bits(recipe):
    """sha256 of all arrays, to the bit."""
    made = content(recipe)
    return sha256(b"".join(made[name].tobytes() for name in sorted(made))).hexdigest()


@pytest.mark.parametrize("recipe", RECIPES)
def test_output_is_the_same_on_one_thread(recipe):
    tests = str(Path(__file__).parents[1])
    alone = subprocess.run(
        [sys.executable, "-c", THREADED, tests, recipe],
        env={**os.environ, "NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert alone.stdout.strip() == bits(recipe)
