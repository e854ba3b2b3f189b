"""Ranges and choices of a spec: their short forms in YAML, read with places and bounds."""

from collections.abc import Mapping
from json import dumps
from types import MappingProxyType
from typing import Any, get_args

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
from voxelmill.engine.spec_yaml import Node, Problems, plain

FORMS: dict[str, type[Distribution]] = {
    "fixed": Fixed,
    "uniform": Uniform,
    "loguniform": LogUniform,
    "integer": Integer,
    "normal": TruncatedNormal,
}
NORMAL = ("mean", "sd", "low", "high")
SHAPES = {
    "fixed": "{fixed: 3}",
    "uniform": "{uniform: [low, high]}",
    "loguniform": "{loguniform: [low, high]}",
    "integer": "{integer: [low, high]}",
    "normal": "{normal: {mean: , sd: , low: , high: }}",
}
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def kinds_of(hint: Any, default: Any = None, metadata: Mapping[str, Any] = _NOTHING) -> list[str]:
    """The forms (names in FORMS) that a field of type `hint` takes; none if it is no range.

    A field whose default is an Integer takes whole numbers only, unless its metadata has
    `whole=False`.
    """
    kinds = [n for n, form in FORMS.items() if form in (get_args(hint) or (hint,))]
    if kinds and metadata.get("whole", isinstance(default, Integer)):
        kinds = [n for n in kinds if n in ("fixed", "integer")]
    return kinds


def words_of(default: Any, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The words that a choice may hold; () is any word, and the recipe's `check` judges it.

    They are the metadata `words`, or else the words of the default.
    """
    if "words" in metadata:
        return tuple(metadata["words"])
    return tuple(default.weights) if isinstance(default, Choice) else ()


def whole(kinds: list[str]) -> bool:
    """Whether a range of these kinds holds whole numbers only."""
    return set(kinds) <= {"fixed", "integer"}


def read_range(
    kinds: list[str], metadata: Mapping[str, Any], node: Node, key: str, problems: Problems
) -> Any:
    """A distribution of one of `kinds`, from a bare number or one of SHAPES; else None."""
    form, inner = "", node
    if is_number(node.value):
        form = "fixed"
    elif isinstance(node.value, dict) and len(node.value) == 1:
        form, inner = next(iter(node.value.items()))
    if form not in (*kinds, "fixed"):
        wanted = "a whole number" if whole(kinds) else "a number"
        shapes = ", ".join(SHAPES[k] for k in kinds)
        problems.add(node.place, key, f"must be {wanted} or one of {shapes}, not {show(node)}")
        return None
    read = {"fixed": _one, "normal": _normal}.get(form, _pair)
    arguments = read(form, inner, key, problems)
    if arguments is None:
        return None
    if form == "fixed" and "fixed" not in kinds:  # a field that takes, say, Integer alone
        form, arguments = kinds[0], dict.fromkeys(("low", "high"), arguments["value"])
    try:
        made = FORMS[form](**arguments)
        if whole(kinds) and any(bound % 1 for bound in made.bounds()):
            raise ValueError(f"must be a whole number, not {made.bounds()[0]:.15g}")
    except ValueError as error:
        problems.add(inner.place, key, str(error))
        return None
    for bound in dict.fromkeys(made.bounds()):
        check_bounds(bound, metadata, inner, key, problems)
    number = int if form == "integer" else float
    return FORMS[form](**{name: number(value) for name, value in arguments.items()})


def _one(form: str, node: Node, key: str, problems: Problems) -> dict[str, Any] | None:
    if is_number(node.value):
        return {"value": node.value}
    problems.add(node.place, key, f"{form} takes a number, not {show(node)}")
    return None


def _pair(form: str, node: Node, key: str, problems: Problems) -> dict[str, float] | None:
    values = [n.value for n in node.value] if isinstance(node.value, list) else []
    if len(values) != 2 or not all(map(is_number, values)):
        problems.add(node.place, key, f"{form} takes [low, high], two numbers, not {show(node)}")
        return None
    return {"low": values[0], "high": values[1]}


def _normal(form: str, node: Node, key: str, problems: Problems) -> dict[str, float] | None:
    given = node.value if isinstance(node.value, dict) else {}
    values = {name: child.value for name, child in given.items()}
    if set(values) != set(NORMAL) or not all(map(is_number, values.values())):
        message = f"must be {SHAPES[form]} with a number each, not {show(node)}"
        problems.add(node.place, key, message)
        return None
    return values


def read_choice(
    default: Any, metadata: Mapping[str, Any], node: Node, key: str, problems: Problems
) -> Choice | None:
    """A choice from a bare word or {choice: {word: weight}}.

    Its words are put in the order of the default, others after them by the alphabet, so that
    neither draws nor digests depend on the order in which a file lists them.
    """
    words = words_of(default, metadata)
    given = {node.value: Node(1.0, node.place, node.place)} if isinstance(node.value, str) else None
    if isinstance(node.value, dict) and list(node.value) == ["choice"]:
        given = node.value["choice"].value
    if not isinstance(given, dict) or not given:
        example = words[0] if words else "word"
        shapes = f"{example} or {{choice: {{{example}: 1.0, ...}}}}"
        problems.add(
            node.place, key, f"must be a word or weights, as in {shapes}, not {show(node)}"
        )
        return None
    before = len(problems.found)
    for word, child in given.items():
        if words and word not in words:
            problems.add(child.key_place, key, f"unknown word {word!r}{did_you_mean(word, words)}")
        if not is_number(child.value):
            message = f"the weight of {word!r} must be a number, not {show(child)}"
            problems.add(child.place, key, message)
    if len(problems.found) > before:
        return None
    weights = {word: float(child.value) for word, child in given.items()}
    first = words or tuple(default.weights if isinstance(default, Choice) else ())
    rest = sorted(set(weights) - set(first))
    weights = {w: weights.get(w, 0.0) for w in (*first, *rest) if words or w in weights}
    try:
        return Choice(weights)
    except ValueError as error:
        problems.add(node.place, key, str(error))
        return None


def check_bounds(
    number: float, metadata: Mapping[str, Any], node: Node, key: str, problems: Problems
) -> None:
    """Note `number` if it is outside the bounds that the field declares."""
    unit = metadata.get("unit", "1")
    unit = "" if unit == "1" else f" {unit}"
    low, high = metadata.get("low"), metadata.get("high")
    if low is not None and number < low:
        problems.add(node.place, key, f"{number:.15g} is below {low:.15g}{unit}, the least allowed")
    if high is not None and number > high:
        problems.add(node.place, key, f"{number:.15g} is above {high:.15g}{unit}, the most allowed")


def is_number(value: Any) -> bool:
    """Whether a plain value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def show(node: Node) -> str:
    """A value as a message shows it: as JSON, cut short."""
    text = "nothing" if node.value is None else dumps(plain(node), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
