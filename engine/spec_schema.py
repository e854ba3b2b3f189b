"""The JSON Schema of a recipe's specs: an editor then completes keys and shows their meaning."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from voxelmill.engine import recipes
from voxelmill.engine.draw import Choice
from voxelmill.engine.spec import Spec, hints_of
from voxelmill.engine.spec_build import adapter, default_of, field_hints, is_group, to_plain
from voxelmill.engine.spec_ranges import NORMAL, kinds_of, whole, words_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(recipe: str | Path) -> dict[str, Any]:
    """The JSON Schema of the specs of a recipe: meanings and units, bounds, defaults."""
    module = recipes.load(recipe)
    name = Path(recipe).stem
    made = _group(Spec, hints_of(module), None)
    made["properties"]["recipe"]["const"] = name
    return {"$schema": DIALECT, "title": f"voxelmill spec of {name}", **made}


def _group(cls: Any, hints: Mapping[str, Any], base: Any) -> dict[str, Any]:
    """The schema of a dataclass whose defaults are those of its instance `base`, if any."""
    by_name = {f.name: f for f in fields(cls)}
    properties, required = {}, []
    for name, hint in hints.items():
        f = by_name[name]
        default = default_of(f) if base is None else getattr(base, name)
        properties[name] = _value(hint, f, default)
        if default is MISSING and not is_group(hint):
            required.append(name)
    made = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _value(hint: Any, f: "Field[Any]", default: Any) -> dict[str, Any]:
    meaning = f.metadata.get("meaning", "")
    if is_group(hint):
        base = None if default is MISSING else default
        made = _group(hint, field_hints(hint), base)
        lines = (hint.__doc__ or "").splitlines()  # a dataclass without words has its signature
        first = lines[0] if lines and not lines[0].startswith(f"{hint.__name__}(") else ""
        description = meaning or first
        return {**made, "description": description} if description else made
    unit = f.metadata.get("unit", "1")
    description = f"{meaning} [{unit}]" if unit != "1" else meaning
    made = {"description": description} if description else {}
    if default is not MISSING:
        made["default"] = to_plain(default)
    kinds = kinds_of(hint, default, f.metadata)
    if hint is Choice:
        return {**made, **_choice(words_of(default, f.metadata))}
    if kinds:
        return {**made, "anyOf": _forms(kinds, _bounds(f.metadata))}
    leaf = adapter(hint).json_schema()
    for part in (leaf, *leaf.get("prefixItems", ()), leaf.get("items", {})):
        if isinstance(part, dict):
            part.update(_bounds(f.metadata))
    return {**made, **leaf}


def _bounds(metadata: Mapping[str, Any]) -> dict[str, Any]:
    words = {"minimum": metadata.get("low"), "maximum": metadata.get("high")}
    return {word: bound for word, bound in words.items() if bound is not None}


def _forms(kinds: list[str], bounds: dict[str, Any]) -> list[dict[str, Any]]:
    """What a range may be written as."""
    number = {"type": "integer" if whole(kinds) else "number", **bounds}
    pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    free = {"type": "number"}
    normal = _only({n: free if n in ("mean", "sd") else number for n in NORMAL})
    shapes = {"fixed": number, "normal": normal}
    return [number, *(_only({kind: shapes.get(kind, pair)}) for kind in kinds)]


def _only(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these keys."""
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": list(properties)}


def _choice(words: tuple[str, ...]) -> dict[str, Any]:
    weight = {"type": "number", "minimum": 0}
    weights: dict[str, Any] = {"type": "object", "minProperties": 1}
    if words:
        weights |= {"properties": dict.fromkeys(words, weight), "additionalProperties": False}
        word: dict[str, Any] = {"enum": list(words)}
    else:
        weights |= {"additionalProperties": weight}
        word = {"type": "string"}
    return {"anyOf": [word, _only({"choice": weights})]}
