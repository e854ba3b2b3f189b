"""YAML with places: a tree of values each of which knows where it was written.

Built from PyYAML's events and not from its objects, because a message needs the line and column of
each key, and because plain words are read as YAML 1.2 reads them: `no` is a word, 1e-3 a number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import yaml

from voxelmill.engine.errors import SpecError

DEPTH = 20  # of nesting; a spec needs five
_INT = re.compile(r"[-+]?[0-9]{1,30}(_[0-9]{1,30}){0,30}")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Place:
    """Where something was written; line and column count from 1, and 0 is no line at all."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """As compilers and editors write it: file:line:column."""
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass
class Node:
    """A value (None, bool, int, float, str, list of Node or dict of Node), its place, its key's."""

    value: Any
    place: Place
    key_place: Place


class Problems:
    """The mistakes found so far, so that all of them can be told at once."""

    def __init__(self) -> None:
        self.found: list[tuple[Place, str]] = []

    def add(self, place: Place, key: str, message: str) -> None:
        """Note a mistake in the value of the dotted `key`; "" is the whole."""
        self.found.append((place, f"{key}: {message}" if key else message))

    def raise_any(self) -> None:
        """Raise one SpecError with all mistakes in the order of their places."""
        if not self.found:
            return
        order = sorted(self.found, key=lambda f: (f[0].line == 0, f[0].line, f[0].column))
        lines = list(dict.fromkeys(f"{place}: {message}" for place, message in order))
        if len(lines) == 1:
            raise SpecError(lines[0])
        raise SpecError(f"{len(lines)} mistakes:\n" + "\n".join(f"  {line}" for line in lines))


def parse(text: str, source: str, problems: Problems, *, lines: bool = True) -> Node | None:
    """The tree of a YAML text, or None where it cannot be read at all.

    `lines=False` is for texts (of options) that need no line numbers.
    """

    def place(mark: Any) -> Place:
        return Place(source, mark.line + 1, mark.column + 1) if lines and mark else Place(source)

    empty = Node(None, Place(source, int(lines), int(lines)), Place(source))
    try:
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        problems.add(place(error.problem_mark), "", f"this is not YAML: {error.problem}")
        return None
    except yaml.YAMLError as error:
        problems.add(Place(source), "", f"this is not YAML: {error}")
        return None
    deep = 0
    for event in events:
        deep += isinstance(event, yaml.CollectionStartEvent)
        deep -= isinstance(event, yaml.CollectionEndEvent)
        if deep > DEPTH:
            problems.add(place(event.start_mark), "", f"nested more than {DEPTH} deep")
            return None
    documents = [e for e in events if isinstance(e, yaml.DocumentStartEvent)]
    if len(documents) > 1:
        problems.add(place(documents[1].start_mark), "", "a second document; one is enough")
    body = iter(events[2:])  # after the starts of stream and document
    return _node(next(body), body, place, problems) if documents else empty


def _node(event: Any, rest: Iterator[Any], place: Any, problems: Problems) -> Node:
    """The value that begins with `event`; takes its events from `rest`."""
    here = place(event.start_mark)
    node = Node(None, here, here)
    if isinstance(event, yaml.AliasEvent):
        problems.add(here, "", f"*{event.anchor}: aliases are not taken; write the value out")
        return node
    if event.tag not in (None, "!"):
        problems.add(here, "", f"the tag {event.tag!r} is not taken; write the value alone")
    if isinstance(event, yaml.ScalarEvent):
        node.value = event.value if event.style in ("'", '"', "|", ">") else _scalar(event.value)
        return node
    if isinstance(event, yaml.SequenceStartEvent):
        node.value = []
        while not isinstance(event := next(rest), yaml.SequenceEndEvent):
            node.value.append(_node(event, rest, place, problems))
        return node
    node.value = {}
    while not isinstance(event := next(rest), yaml.MappingEndEvent):
        _pair(node, event, rest, place, problems)
    return node


def _pair(parent: Node, event: Any, rest: Iterator[Any], place: Any, problems: Problems) -> None:
    """One key and its value, put into `parent`."""
    here = place(event.start_mark)
    if not isinstance(event, yaml.ScalarEvent):
        problems.add(here, "", "a key must be a plain word")
        _node(event, rest, place, problems)
    child = _node(next(rest), rest, place, problems)
    key = getattr(event, "value", "")
    child.key_place = here
    if key in parent.value:
        first = parent.value[key].key_place
        problems.add(here, key, f"given twice, first in line {first.line}; keep one of them")
    elif isinstance(event, yaml.ScalarEvent):
        parent.value[key] = child


def _scalar(text: str) -> Any:
    """A plain word by the core schema of YAML 1.2, and 1_000_000 as Python reads it."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    number = float(text) if _FLOAT.fullmatch(text) else inf
    return number if isfinite(number) else text


def override(root: Node, item: str, problems: Problems) -> None:
    """Set `key.of.dots=value` (the text after --set) in the tree; the value is YAML."""
    place = Place(f"--set {item}")
    path, sign, text = item.partition("=")
    keys = path.strip().split(".")
    if not sign or not all(keys):
        problems.add(place, "", "must be key=value, as in --set ranges.count=3")
        return
    value = parse(text, place.source, problems, lines=False)
    if value is None:
        return
    value.key_place = value.place = place
    here = root
    for depth, key in enumerate(keys):
        if here.value is None:
            here.value = {}
        if not isinstance(here.value, dict):
            problems.add(place, ".".join(keys[:depth]), "holds one value, not keys")
            return
        if depth < len(keys) - 1:
            here = here.value.setdefault(key, Node(None, place, place))
    here.value[keys[-1]] = value


def tree(data: Any, place: Place) -> Node:
    """The tree of plain data (as from JSON), all of it at `place`."""
    if isinstance(data, dict):
        return Node({str(k): tree(v, place) for k, v in data.items()}, place, place)
    if isinstance(data, list | tuple):
        return Node([tree(v, place) for v in data], place, place)
    return Node(data, place, place)


def plain(node: Node) -> Any:
    """The data of a tree, without places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value
