"""`where="visible_fraction > 0.2 and class == 'clip'"`: which samples, by what was drawn for them.

A small language, parsed strictly and never run as Python: comparisons (also `a < b < c` and
`x in (1, 2)`), and, or, not, numbers, words of categories as strings, and columns. A column is one
of `params`, or of a ragged field, where `field.column` says which. What names a ragged field is
asked of each of its rows, and a sample is taken when any of its rows says yes.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from keyword import iskeyword
from tokenize import TokenError, generate_tokens, untokenize
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.description import Description
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.sample import Column, Ragged

Values = Mapping["Name", NDArray[Any]]  # column -> its values, one a sample or one a row
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_JOIN: dict[type, Callable[[Any, Any], Any]] = {ast.And: operator.and_, ast.Or: operator.or_}


@dataclass(frozen=True)
class Name:
    """A column: `number` in the ragged field `table`, or in params where that is None."""

    table: str | None
    number: int


@dataclass(frozen=True)
class Where:
    """A parsed condition. table: the ragged field of whose rows it is asked, if any."""

    text: str
    names: frozenset[Name]
    table: str | None
    _evaluate: Callable[[Values], NDArray[np.bool_]]

    def __call__(self, values: Values) -> NDArray[np.bool_]:
        """Where it holds, element by element; `values` has an array for each of `names`."""
        return self._evaluate(values)


def parse_where(text: str, description: Description) -> Where:
    """The condition `text` on the samples of a store.

    Raises ValueError, naming the nearest right word, for what is not in the language or the store.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"where= is a condition in a str, not {type(text).__name__}; {_HELP}, or take indices="
        )
    parser = _Parser(text, description)
    try:
        tree = ast.parse(parser.without_keywords().strip(), mode="eval").body
    except (SyntaxError, TokenError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", error)
        raise ValueError(f"where={text!r} is no condition ({reason}); {_HELP}") from None
    evaluate = parser.condition(tree)
    tables = {name.table for name in parser.names} - {None}
    if len(tables) > 1:
        raise ValueError(
            f"where={text!r} names rows of {' and '.join(sorted(map(str, tables)))}: ask of one of "
            "them, and join the indices of two conditions yourself"
        )
    return Where(text, frozenset(parser.names), next(iter(tables), None), evaluate)


_HELP = "write it like \"angle_deg > 5 and (class == 'clip' or not 0 < area <= 20)\""
_MARK = "column_"
_OWN_WORDS = {"and", "or", "not", "in"}
_Operand = Name | float | str


class _Parser:
    """From a syntax tree to a function of the columns."""

    def __init__(self, text: str, description: Description) -> None:
        self.text, self.names = text, set[Name]()
        ragged = [f for f in description.fields if isinstance(f, Ragged)]
        self.tables: dict[str | None, tuple[Column, ...]] = {None: description.columns}
        self.tables |= {f.name: f.columns for f in ragged}

    def without_keywords(self) -> str:
        """The text with columns that are keywords of Python, as `class` is, marked as names."""
        columns = {c.name for table in self.tables.values() for c in table} - _OWN_WORDS
        tokens = generate_tokens(StringIO(self.text).readline)
        return untokenize(
            (
                t.type,
                f"{_MARK}{t.string}" if iskeyword(t.string) and t.string in columns else t.string,
            )
            for t in tokens
        )

    def condition(self, node: ast.expr) -> Callable[[Values], NDArray[np.bool_]]:
        match node:
            case ast.BoolOp(op=op, values=parts):
                join, conditions = _JOIN[type(op)], [self.condition(part) for part in parts]

                def joined(values: Values) -> Any:
                    result = conditions[0](values)
                    for condition in conditions[1:]:
                        result = join(result, condition(values))
                    return result

                return joined
            case ast.UnaryOp(op=ast.Not(), operand=part):
                inner = self.condition(part)
                return lambda values: ~inner(values)
            case ast.Compare():
                return self.comparison(node)
        raise self.refused(node)

    def comparison(self, node: ast.Compare) -> Callable[[Values], NDArray[np.bool_]]:
        nodes = [node.left, *node.comparators]
        parts = [
            self.membership(left, right, isinstance(op, ast.NotIn))
            if isinstance(op, ast.In | ast.NotIn)
            else self.compared(op, left, right)
            for left, op, right in zip(nodes, node.ops, nodes[1:], strict=False)
        ]

        def all_hold(values: Values) -> Any:
            result = parts[0](values)
            for part in parts[1:]:
                result = result & part(values)
            return result

        return all_hold

    def compared(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Callable[[Values], Any]:
        if type(op) not in _COMPARE:
            raise self.refused(left)
        a, b = self.operand(left), self.operand(right)
        if not isinstance(a, Name) and not isinstance(b, Name):
            raise ValueError(f"where={self.text!r} compares no column; {_HELP}")
        words = [self.column(x) for x in (a, b) if isinstance(x, Name)]
        if any(isinstance(x, str) for x in (a, b)) and not isinstance(op, ast.Eq | ast.NotEq):
            raise ValueError(f"where={self.text!r}: a word has no order; compare it by == or !=")
        a, b = (self.code(x, words[0]) if isinstance(x, str) else x for x in (a, b))
        compare = _COMPARE[type(op)]
        return lambda values: compare(_value(a, values), _value(b, values))

    def membership(self, left: ast.expr, right: ast.expr, negative: bool) -> Callable[..., Any]:
        if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
            raise self.refused(right)
        parts = [self.compared(ast.Eq(), left, item) for item in right.elts]

        def within(values: Values) -> Any:
            result = parts[0](values)
            for part in parts[1:]:
                result = result | part(values)
            return ~result if negative else result

        return within

    def operand(self, node: ast.expr) -> _Operand:
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return float(number)
            case ast.Constant(value=str(word)):
                return word
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -float(number)
            case ast.Name(id=column):
                return self.found(None, column)
            case ast.Attribute(value=ast.Name(id=table), attr=column):
                return self.found(table, column)
        raise self.refused(node)

    def found(self, table: str | None, column: str) -> Name:
        """The column, in `table`, or else in params, or else in the one field that has it."""
        column = column.removeprefix(_MARK)
        if table not in self.tables:
            known = (str(t) for t in self.tables if t)
            raise ValueError(
                f"where={self.text!r}: no ragged field {table!r}{did_you_mean(str(table), known)}"
            )
        holders = [
            Name(t, [c.name for c in columns].index(column))
            for t, columns in self.tables.items()
            if column in (c.name for c in columns) and table in (None, t)
        ]
        if not holders:
            known = (c.name for t in self.tables for c in self.tables[t] if table in (None, t))
            raise ValueError(
                f"where={self.text!r}: no column {column!r}{did_you_mean(column, known)}"
            )
        if len(holders) > 1 and holders[0].table is not None:
            ways = " or ".join(f"{h.table}.{column}" for h in holders)
            raise ValueError(f"where={self.text!r}: {column!r} is in two fields; write {ways}")
        self.names.add(holders[0])
        return holders[0]

    def column(self, name: Name) -> Column:
        return self.tables[name.table][name.number]

    def code(self, word: str, column: Column) -> float:
        if word not in column.categories:
            cure = did_you_mean(word, column.categories)
            raise ValueError(f"where={self.text!r}: {column.name} is never {word!r}{cure}")
        return float(column.categories.index(word))

    def refused(self, node: ast.expr) -> ValueError:
        part = ast.unparse(node).replace(_MARK, "")
        return ValueError(f"where={self.text!r}: {part!r} is not in its language; {_HELP}")


def _value(operand: _Operand, values: Values) -> Any:
    return values[operand] if isinstance(operand, Name) else operand
