"""YAML -> Spec: what to make, checked whole before anything runs; its digests and differences.

A spec holds a recipe, its ranges, a count, a seed, inputs, a split and how the store is laid out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from voxelmill.engine import recipes
from voxelmill.engine.description import digest_of, digest_of_content
from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SpecError
from voxelmill.engine.sample import Field, Ragged
from voxelmill.engine.spec_build import build, to_plain
from voxelmill.engine.spec_yaml import Node, Place, Problems, override, parse, tree
from voxelmill.engine.split import Split
from voxelmill.engine.version import FORMAT

__all__ = ["Spec", "Split", "Store", "content_digest", "differences", "from_dict", "hints_of"]
__all__ += ["layout_digest", "read_spec", "spec_dict"]


@dataclass(frozen=True)
class Store:
    """What the key `store:` of a spec may set: how arrays are packed."""

    images: Literal["raw", "zstd"] = ranged("raw", "codec of images; raw is read at memory speed")
    labels: Literal["raw", "zstd"] = ranged("zstd", "codec of label maps and tables")
    zstd_level: int = ranged(1, "effort of zstd", low=1, high=19)


@dataclass(frozen=True)
class NoInputs:
    """What the key `inputs:` may hold for a recipe that takes none."""


@dataclass(frozen=True)
class Spec:
    """A checked spec. `ranges` and `inputs` are instances of the recipe's Ranges and Inputs.

    Inputs with relative paths are taken from `folder`. `recipe_file` is the file of a recipe from
    outside. It pickles as plain data, so that another process loads that file itself.
    """

    recipe: str = field(metadata={"meaning": "name of the recipe"})
    count: int = field(metadata={"meaning": "how many samples", "low": 1, "high": 10**12})
    ranges: Any = field(metadata={"meaning": "what is drawn, and from which ranges"})
    inputs: Any = field(metadata={"meaning": "real data that samples are made from"})
    seed: int = ranged(0, "of all random numbers", low=0, high=2**64 - 1)
    samples_per_shard: int | None = ranged(
        None, "samples in a shard file; null lets the store choose", low=1, high=2**20
    )
    split: Split = field(
        default_factory=Split, metadata={"meaning": "shares of the subjects held out of training"}
    )
    store: Store = field(default_factory=Store, metadata={"meaning": "how arrays are packed"})
    folder: str = field(default=".", compare=False)
    recipe_file: str | None = field(default=None, compare=False)

    @property
    def module(self) -> recipes.Recipe:
        """The recipe."""
        return recipes.load(Path(self.recipe_file) if self.recipe_file else self.recipe)

    def __reduce__(self) -> tuple[Any, ...]:
        """As plain data: the classes of a recipe file have no module that another could import."""
        return from_dict, (spec_dict(self), self.folder, self.recipe_file)


def hints_of(module: Any) -> dict[str, Any]:
    """The keys of a spec of this recipe, in their order, with the type of each."""
    return {
        "recipe": str,
        "count": int,
        "seed": int,
        "samples_per_shard": int | None,
        "inputs": getattr(module, "Inputs", NoInputs) if module else Any,
        "split": Split,
        "ranges": module.Ranges if module else Any,
        "store": Store,
    }


def read_spec(
    path_or_text: str | Path,
    overrides: Sequence[str] = (),
    recipe_file: str | Path | None = None,
) -> Spec:
    """The spec of a YAML file or text, with `overrides` (`key.of.dots=value`) set in it.

    A str with a line break or `: ` is the text itself. Raises SpecError with all mistakes, each
    with its place. `recipe_file` is a recipe from outside, whose name is that of the file.
    """
    if isinstance(overrides, str):
        raise TypeError(f"overrides is a list of key=value, not {overrides!r}: [{overrides!r}]")
    text, source, folder = _text(path_or_text)
    problems = Problems()
    root = parse(text, source, problems)
    if root is None:
        problems.raise_any()
        raise SpecError(f"{source}: nothing to read")
    for item in overrides:
        override(root, item, problems)
    return _checked(root, problems, folder, recipe_file)


def from_dict(
    data: dict[str, Any], folder: str = ".", recipe_file: str | Path | None = None
) -> Spec:
    """The spec that `spec_dict` wrote; as strict as `read_spec`."""
    return _checked(tree(data, Place("the stored spec")), Problems(), folder, recipe_file)


def _text(path_or_text: str | Path) -> tuple[str, str, str]:
    """(text, name for messages, folder) of a spec."""
    if isinstance(path_or_text, str) and ("\n" in path_or_text or ": " in path_or_text):
        return path_or_text, "spec", "."
    path = Path(path_or_text)
    try:
        return path.read_bytes().decode("utf-8-sig"), str(path), str(path.parent)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, IsADirectoryError) and (path / "zarr.json").exists():
            raise SpecError(f"{path} is a store and no spec; open_store opens it") from None
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{path}: cannot read this spec: {reason}") from error


def _checked(root: Node, problems: Problems, folder: str, recipe_file: str | Path | None) -> Spec:
    """The Spec of a tree, or SpecError with all that is wrong in it."""
    module = _module(root, recipe_file, problems)
    hints = hints_of(module)
    spec = build(Spec, None, root, "", problems, hints)
    problems.raise_any()
    file = str(Path(recipe_file).resolve()) if recipe_file else None
    spec = replace(spec, folder=folder, recipe_file=file)
    check = getattr(module, "check", None)
    if check is not None:
        try:
            check(spec.ranges, spec.inputs)
        except SpecError as error:
            ranges = root.value.get("ranges", root)
            problems.add(ranges.place, "", str(error))
            problems.raise_any()
    return spec


def _module(root: Node, recipe_file: str | Path | None, problems: Problems) -> Any:
    """The recipe that the spec names, or None after noting why not."""
    node = root.value.get("recipe") if isinstance(root.value, dict) else None
    try:
        module = recipes.load(Path(recipe_file)) if recipe_file else None
        if node is None or not isinstance(node.value, str):
            return module
        if module is None:
            return recipes.named(node.value)
        stem = Path(recipe_file or "").stem
        if node.value != stem:
            problems.add(
                node.place, "recipe", f"{node.value!r} is not {stem!r}, the recipe of {recipe_file}"
            )
    except SpecError as error:
        problems.add(node.place if node else root.place, "recipe", str(error))
        return None
    return module


def spec_dict(spec: Spec) -> dict[str, Any]:
    """The spec with all defaults filled in, in JSON types and in one order of keys."""
    keys = hints_of(None)
    return {key: to_plain(getattr(spec, key)) for key in keys}


def content_digest(spec: Spec, inputs_digest: str, version: int) -> str:
    """What decides the content of sample i: not the count, the paths, the workers or the shards.

    inputs_digest: digest of the contents of the opened inputs. version: VERSION of the recipe.
    """
    ranges = to_plain(spec.ranges)
    return digest_of_content(spec.recipe, version, spec.seed, ranges, inputs_digest)


def layout_digest(
    samples_per_shard: int, sample_fields: Sequence[Field | Ragged], store: Store
) -> str:
    """What decides which bytes go into which file, given the contents."""
    return digest_of(
        {
            "format": FORMAT,
            "samples_per_shard": samples_per_shard,
            "store": to_plain(store),
            "fields": [{type(f).__name__: _without_prose(f)} for f in sample_fields],
        }
    )


def _without_prose(value: Any) -> Any:
    """A declared field as plain data, less `meaning`: better words make no other store."""
    if is_dataclass(value):
        names = (f.name for f in fields(value) if f.name != "meaning")
        return {name: _without_prose(getattr(value, name)) for name in names}
    return [_without_prose(v) for v in value] if isinstance(value, tuple) else to_plain(value)


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Where the spec of a store, `a`, and another, `b`, differ: one line a key."""
    return list(_differences(a, b, ""))


def _differences(a: Any, b: Any, key: str) -> Any:
    both = isinstance(a, dict) and isinstance(b, dict)
    if both and (not key or set(a) & set(b)):
        for name in dict.fromkeys([*a, *b]):
            dotted = f"{key}.{name}" if key else name
            yield from _differences(a.get(name, _ABSENT), b.get(name, _ABSENT), dotted)
    elif a != b:
        yield f"{key}: {_brief(a)} in the store, {_brief(b)} in the spec"


_ABSENT = object()


def _brief(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value)


def schema(recipe: str | Path) -> dict[str, Any]:
    """The JSON Schema of the specs of a recipe (a name, or the path of a file), for editors."""
    from voxelmill.engine.spec_schema import schema_of

    return schema_of(recipe)
