"""The recipes by name; a module is imported when it is asked for.

Foreign recipes come from installed packages (entry points of the group `voxelmill.recipes`) or
from a file that the command line names; a spec alone never imports a file.
"""

import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Protocol, cast

from voxelmill.engine.draw import Draw, Stream, name_code
from voxelmill.engine.errors import SpecError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.sample import Field, Ragged

RECIPES = {
    "cxr_objects": "voxelmill.engine.recipes.cxr_objects",
    "labels_mr": "voxelmill.engine.recipes.labels_mr",
    "thigh_mr": "voxelmill.engine.recipes.thigh_mr",
}
GROUP = "voxelmill.recipes"


class Recipe(Protocol):
    """What a recipe module holds.

    VERSION goes up whenever a draw or a pixel changes; NAMES are all names by which it draws.
    It may also have `Inputs`, a dataclass of what the key `inputs:` holds, and with it
    `open_inputs(inputs, folder, skip_bad)`; `check(ranges, inputs)`, which raises SpecError for
    what bounds cannot say; and `check_opened(ranges, opened)`, which may raise SourceError.
    """

    VERSION: int
    NAMES: tuple[str, ...]
    Ranges: type
    Params: type

    def fields(self, ranges: Any, inputs: Any) -> tuple[Field | Ragged, ...]:
        """What a sample holds under these ranges, with these inputs opened."""

    def draw(self, ranges: Any, stream: Stream, inputs: Any) -> Any:
        """The Params of one sample; cheap, on the host."""

    def render(
        self, ranges: Any, draws: Sequence[Draw[Any]], inputs: Any, xp: Any
    ) -> dict[str, Any]:
        """The arrays (sample axis first) and rows of a micro-batch."""


def known() -> dict[str, str]:
    """Every recipe that a spec may name, built in or installed: name -> module."""
    foreign = {point.name: point.value for point in entry_points(group=GROUP)}
    return {**foreign, **RECIPES}


def load(name_or_path: str | Path) -> Recipe:
    """The recipe of this name, or of this file: a Path, or a text that ends in `.py`."""
    if isinstance(name_or_path, Path) or name_or_path.endswith(".py"):
        return _from_file(Path(name_or_path).resolve())
    return named(name_or_path)


@cache
def named(name: str) -> Recipe:
    """The recipe of this name; raises SpecError with the nearest one where there is none."""
    if name in RECIPES:
        return _whole(import_module(RECIPES[name]), name)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _whole(point.load(), name)
    hint = did_you_mean(name, known())
    if not hint.endswith("?"):
        hint += "; a recipe of your own is named by its file: --recipe FILE.py (in Python, "
        hint += "recipe_file=)"
    raise SpecError(f"unknown recipe {name!r}{hint}")


@cache
def _from_file(path: Path) -> Recipe:
    if not path.is_file():
        raise SpecError(f"{path}: no such recipe file")
    if path.stem in RECIPES:
        raise SpecError(f"{path}: {path.stem!r} is a built-in recipe; rename the file")
    # two files of one name are two modules; dataclasses look themselves up in sys.modules
    name = f"voxelmill_recipe_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path}: a recipe file must be Python and end in .py")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return _whole(module, str(path))
    except BaseException:
        del sys.modules[name]
        raise


def _whole(module: Any, name: str) -> Recipe:
    """`module`, if it has all that a recipe must have; else SpecError says what it lacks."""
    wanted = [n for n in Recipe.__dict__ if n in ("fields", "draw", "render")]
    wanted = ["VERSION", "NAMES", "Ranges", "Params", *wanted]
    lacking = [n for n in wanted if not hasattr(module, n)]
    if hasattr(module, "Inputs") and not hasattr(module, "open_inputs"):
        lacking.append("open_inputs (it has Inputs)")
    if lacking:
        raise SpecError(f"recipe {name} lacks {', '.join(lacking)}; see CONTRIBUTING.md")
    codes: dict[int, str] = {}
    for consumer in module.NAMES:
        other = codes.setdefault(name_code(consumer), consumer)
        if other != consumer or module.NAMES.count(consumer) > 1:
            raise SpecError(
                f"recipe {name}: {consumer!r} and {other!r} of NAMES draw the same numbers; "
                "rename one"
            )
    return cast(Recipe, module)
