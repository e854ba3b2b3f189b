"""A tree with places -> a recipe's frozen dataclass, and back to plain data.

Structure and distributions are walked here, because each mistake must name its key, its place in
the file and the nearest right word, and because a range has short forms; the type of every other
value (`int`, `tuple[int, int]`, `Literal[...]`, ...) is pydantic's business.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from voxelmill.engine.draw import (
    Choice,
    Distribution,
    Fixed,
    Integer,
    LogUniform,
    TruncatedNormal,
    Uniform,
)
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.spec_ranges import (
    FORMS,
    NORMAL,
    check_bounds,
    is_number,
    kinds_of,
    read_choice,
    read_range,
    show,
)
from voxelmill.engine.spec_yaml import Node, Problems, plain

_WANTED = {  # by pydantic's type of error
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "tuple_type": "a list",
}
_NAMES = {form: name for name, form in FORMS.items()}


def is_group(hint: Any) -> bool:
    """Whether a field of type `hint` holds further keys: a dataclass that is no distribution."""
    return is_dataclass(hint) and not issubclass(hint, Distribution | Choice)  # type: ignore[arg-type]


def default_of(f: "Field[Any]") -> Any:
    """The default of a dataclass field, or MISSING."""
    return f.default_factory() if f.default_factory is not MISSING else f.default


def field_hints(cls: Any) -> dict[str, Any]:
    """Field of a dataclass -> its type; no class variables."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def build(
    cls: Any,
    base: Any,
    node: Node,
    key: str,
    problems: Problems,
    hints: Mapping[str, Any] | None = None,
) -> Any:
    """`base` (or the defaults of `cls`) with what `node` sets; None after noting its mistakes.

    key:   dotted name of the whole, for messages.
    hints: types of the keys, where they are not all fields of `cls` with their declared types.
    """
    hints = field_hints(cls) if hints is None else hints
    given = {} if node.value is None else node.value
    if not isinstance(given, dict):
        problems.add(node.place, key, f"must hold keys ({', '.join(hints)}), not {show(node)}")
        return None
    before = len(problems.found)
    for name, child in given.items():
        if name not in hints:
            hint = did_you_mean(name, hints)
            problems.add(child.key_place, key, f"unknown key {name!r}{hint}")
    values = {}
    for f in fields(cls):
        if f.name in hints:
            default = default_of(f) if base is None else getattr(base, f.name)
            child = given.get(f.name)
            dotted = f"{key}.{f.name}" if key else f.name
            if child is None and default is MISSING and is_group(hints[f.name]):
                child = Node(None, node.place, node.place)
            if child is not None:
                values[f.name] = _value(hints[f.name], f, default, child, dotted, problems)
            elif default is MISSING:
                values[f.name] = None
                if hints[f.name] is not Any:  # Any: the recipe that would judge it is unknown
                    problems.add(node.place, dotted, "is missing, and it has no default; write it")
            else:
                values[f.name] = default
    if len(problems.found) > before:
        return None
    try:
        return cls(**values)
    except ValueError as error:
        problems.add(node.place, key, str(error))
        return None


def _value(
    hint: Any, f: "Field[Any]", default: Any, node: Node, key: str, problems: Problems
) -> Any:
    """The value of one field."""
    if is_group(hint):
        return build(hint, None if default is MISSING else default, node, key, problems)
    if hint is Choice:
        return read_choice(default, f.metadata, node, key, problems)
    kinds = kinds_of(hint, default, f.metadata)
    if not kinds:
        return _leaf(hint, f.metadata, node, key, problems)
    return read_range(kinds, f.metadata, node, key, problems)


@cache
def adapter(hint: Any) -> "TypeAdapter[Any]":
    """pydantic's reader of one type."""
    return TypeAdapter(hint)


def _leaf(hint: Any, metadata: Mapping[str, Any], node: Node, key: str, problems: Problems) -> Any:
    """A value whose type pydantic checks; as JSON and strict: "3" is no number, 3.0 no integer."""
    before = len(problems.found)
    if get_origin(hint) is Literal and isinstance(node.value, str):
        words = [str(word) for word in get_args(hint)]
        if node.value not in words:
            problems.add(
                node.place, key, f"unknown word {node.value!r}{did_you_mean(node.value, words)}"
            )
            return None
    try:
        value = adapter(hint).validate_json(json.dumps(plain(node)), strict=True)
    except ValidationError as error:
        for found in error.errors():
            where = node
            for step in found["loc"]:
                inside = where.value if isinstance(where.value, list | dict) else ()
                if isinstance(step, int) and isinstance(inside, list) and step < len(inside):
                    where = inside[step]
                elif isinstance(inside, dict) and step in inside:
                    where = inside[str(step)]
            wanted = _WANTED.get(found["type"]) or found["msg"].removeprefix("Input should be ")
            if found["type"] in ("missing", "too_long"):
                where, wanted = node, f"a list of {len(get_args(hint))} values"
            problems.add(where.place, key, f"must be {wanted}, not {show(where)}")
        return None
    for number in value if isinstance(value, tuple) else (value,):
        if is_number(number):
            check_bounds(number, metadata, node, key, problems)
    return None if len(problems.found) > before else value


def to_plain(value: Any) -> Any:
    """A built value as the data that a spec may hold: JSON types, ranges in their forms."""
    if isinstance(value, Fixed):
        return float(value.value)
    if isinstance(value, Integer):
        return {"integer": [int(value.low), int(value.high)]}
    if isinstance(value, TruncatedNormal):
        return {"normal": {name: float(getattr(value, name)) for name in NORMAL}}
    if isinstance(value, Uniform | LogUniform):
        return {_NAMES[type(value)]: [float(value.low), float(value.high)]}
    if isinstance(value, Choice):
        return {"choice": {word: float(weight) for word, weight in value.weights.items()}}
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(child) for key, child in value.items()}
    return [to_plain(child) for child in value] if isinstance(value, list | tuple) else value
