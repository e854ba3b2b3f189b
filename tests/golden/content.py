"""What a recipe makes, in a form small enough to keep beside the tests.

After a change that is meant: raise VERSION of the recipe, then write its file anew with
    python tests/golden/content.py RECIPE
"""

import sys
from dataclasses import is_dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from voxelmill.engine.draw import Draw, Stream
from voxelmill.engine.plan import open_plan
from voxelmill.engine.recipes import load
from voxelmill.engine.sample import Rows, columns_of

FOLDER = Path(__file__).parent
HIGH = 2**32 + 3  # an index beyond 32 bits


def specs():
    """Recipe -> spec of its golden samples."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def file_of(recipe):
    """Where a recipe's golden content is kept."""
    return FOLDER / f"{recipe}.npz"


def content(recipe):
    """Name -> array: version, digest of the draws, and all arrays of the golden samples.

    Films stand as what differs from the input, which is mostly zero.
    """
    module, plan = load(recipe), open_plan(specs()[recipe])
    streams = [Stream(plan.spec.seed, i) for i in (*range(plan.spec.count - 1), HIGH)]
    draws = [Draw(module.draw(plan.spec.ranges, s, plan.inputs), s) for s in streams]
    made = module.render(plan.spec.ranges, draws, plan.inputs, np)
    found = {"version": np.array(module.VERSION), "draws": np.array(digest(module, draws))}
    for name, array in made.items():
        if isinstance(array, Rows):
            found[name], found[f"{name}_starts"] = array
        else:
            found[name] = array
    if hasattr(plan.inputs, "film"):
        films = [plan.inputs.film(d.params.input, plan.spec.ranges.size).image for d in draws]
        found["image"] = made["image"].astype(np.int16) - np.stack(films)
    return found


def digest(module, draws):
    """sha256 of all drawn numbers: the same on every machine."""
    whole = sha256()
    for one in draws:
        numbers = [getattr(one.params, c.name) for c in columns_of(module.Params)]
        held = vars(one.params).values()
        tables = [v for v in held if isinstance(v, np.ndarray)]
        tables += [_numbers(v) for v in held if is_dataclass(v)]
        for values in (numbers, *tables):
            numbers = np.ascontiguousarray(values, "<f8")
            whole.update(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
    return whole.hexdigest()


def _numbers(params):
    """The numbers of a record in a draw; its words are told by others."""
    return [v for v in vars(params).values() if not isinstance(v, str)]


if __name__ == "__main__":
    for name in sys.argv[1:] or specs():
        np.savez_compressed(file_of(name), **content(name))
        print(f"{file_of(name)}: {file_of(name).stat().st_size} bytes")  # noqa: T201
