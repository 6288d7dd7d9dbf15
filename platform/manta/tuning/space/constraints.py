"""Constraints between values of a configuration: `views.local_size < data.image_size`.

A comparison of dotted paths, numbers and strings, with `+ - * /`. The grammar has nothing else, so
that a file that was found somewhere cannot run code.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from manta.errors import ConfigError
from manta.tuning.space.edit import ABSENT, lookup

_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMPUTED: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_GRAMMAR = "compare dotted paths, numbers and strings by < <= > >= == !=, with + - * /"


class _NoValue(Exception):
    """A path has no value in this configuration."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A comparison that every trial's configuration must satisfy.

    Raises:
        ConfigError: the text is no comparison.
    """

    text: str
    line: int = 0

    def __post_init__(self) -> None:
        _check(self._tree(), self.text)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return every dotted path in it, in order."""
        comparison = self._tree()
        inner = {id(node.value) for node in ast.walk(comparison) if isinstance(node, ast.Attribute)}
        names = [
            node for node in ast.walk(comparison) if isinstance(node, (ast.Name, ast.Attribute))
        ]
        return tuple(dict.fromkeys(ast.unparse(node) for node in names if id(node) not in inner))

    def holds(self, tree: Mapping[str, Any]) -> bool:
        """Return whether a dumped experiment satisfies it.

        True also where a path does not exist or is left to a preset (None): then the constraint
        does not concern this experiment. False where it divides by zero.

        Raises:
            ConfigError: it compares values without an order, or computes with no number.
        """
        comparison = self._tree()
        try:
            operands = [
                self._value(node, tree) for node in (comparison.left, *comparison.comparators)
            ]
            pairs = zip(comparison.ops, operands, operands[1:], strict=False)
            return all(self._compare(op, left, right) for op, left, right in pairs)
        except _NoValue:
            return True
        except ZeroDivisionError:
            return False

    def _tree(self) -> ast.Compare:
        try:
            body = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            raise ConfigError(f"{self.text}: is no constraint; {_GRAMMAR}") from None
        if not isinstance(body, ast.Compare):
            raise ConfigError(f"{self.text}: compares nothing; {_GRAMMAR}")
        return body

    def _value(self, node: ast.expr, tree: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp):
            return -self._number(node.operand, tree)
        if isinstance(node, ast.BinOp):
            return _COMPUTED[type(node.op)](
                self._number(node.left, tree), self._number(node.right, tree)
            )
        value = lookup(tree, ast.unparse(node))
        if value is ABSENT:
            raise _NoValue
        return value

    def _number(self, node: ast.expr, tree: Mapping[str, Any]) -> float:
        value: float | None = self._value(node, tree)
        if value is None:
            raise _NoValue
        if not _is_number(value):
            raise ConfigError(f"{self.text}: computes with {value!r}, which is no number")
        return value

    def _compare(self, op: ast.cmpop, left: Any, right: Any) -> bool:
        if not isinstance(op, (ast.Eq, ast.NotEq)):
            if left is None or right is None:
                raise _NoValue
            if not (_is_number(left) and _is_number(right)) and not (
                isinstance(left, str) and isinstance(right, str)
            ):
                raise ConfigError(f"{self.text}: {left!r} and {right!r} have no order")
        return _COMPARED[type(op)](left, right)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(node: ast.AST, text: str) -> None:
    """Check that a node of the syntax tree, and all below it, is in the grammar.

    Raises:
        ConfigError: it is not, with the part that is to blame.
    """
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(
            type(op) in _COMPARED for op in ops
        ):
            inner: list[ast.AST] = [left, *comparators]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED:
            inner = [left, right]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = [operand]
        case ast.Attribute(value=ast.Name() | ast.Attribute() as value):
            inner = [value]
        case ast.Name() | ast.Constant(value=bool() | int() | float() | str() | None):
            inner = []
        case _:
            raise ConfigError(
                f"{text}: {ast.unparse(node)!r} cannot be part of a constraint; {_GRAMMAR}"
            )
    for child in inner:
        if isinstance(child, ast.Compare):
            raise ConfigError(
                f"{text}: {ast.unparse(child)!r} cannot be part of a constraint; {_GRAMMAR}"
            )
        _check(child, text)
