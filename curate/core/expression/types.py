"""Kinds of values, and the static check of an expression against a schema.

An Arrow type counts as one of: number, text, bool, time, list, other. A column of nulls only (`unknown`)
fits everywhere. The check finds columns that are not there (C201), kinds that do not fit (C206), and
languages that do not exist (C107).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import pyarrow as pa
import pyarrow.types as pat

from curate.core.expression import tree
from curate.core.expression.problem import ExpressionProblem
from curate.core.suggest import did_you_mean

Kind = Literal["number", "text", "bool", "time", "list", "other", "unknown"]

_SHOWN: dict[Kind, str] = {
    "number": "a number",
    "text": "text",
    "bool": "true or false",
    "time": "a time",
    "list": "a list",
    "other": "a nested value",
    "unknown": "null",
}


def kind_of(data_type: pa.DataType) -> Kind:
    if pat.is_dictionary(data_type) or pat.is_run_end_encoded(data_type):
        return kind_of(data_type.value_type)
    if pat.is_integer(data_type) or pat.is_floating(data_type) or pat.is_decimal(data_type):
        return "number"
    if pat.is_string(data_type) or pat.is_large_string(data_type) or pat.is_string_view(data_type):
        return "text"
    if pat.is_boolean(data_type):
        return "bool"
    if pat.is_timestamp(data_type) or pat.is_date(data_type):
        return "time"
    if pat.is_list(data_type) or pat.is_large_list(data_type) or pat.is_fixed_size_list(data_type):
        return "list"
    return "unknown" if pat.is_null(data_type) else "other"


class Checker:
    """Collects the problems of a tree. later: column → the step further down that writes it."""

    def __init__(self, schema: pa.Schema, language: str | None, later: Mapping[str, str]) -> None:
        self.schema, self.language, self.later = schema, language, later
        self.problems: list[ExpressionProblem] = []

    def condition(self, node: tree.Node) -> None:
        """`node` must be true or false."""
        kind = self.kind(node)
        if kind in ("bool", "unknown"):
            return
        help = (
            f"compare it, such as {node} > 0" if kind == "number" else "write a comparison, or `is not null`"
        )
        if kind == "text":
            help = f"compare it, such as {node} = '…'"
        self.fault("C206", f"{self.shown(node, kind)} stands where true or false is needed", help, node)

    def fault(self, code: str, message: str, help: str, node: tree.Node) -> None:
        self.problems.append(ExpressionProblem(code, message, help, node.offset, node.length))

    def shown(self, node: tree.Node, kind: Kind) -> str:
        if isinstance(node, tree.Column):
            return f"column {node.name} ({self.schema.field(node.name).type})"
        return f"{str(node)[:60]} ({_SHOWN[kind]})"

    def kind(self, node: tree.Node) -> Kind:
        """The kind of `node`'s value; problems below it are collected, and then it is unknown."""
        match node:
            case tree.Literal():
                return self.literal(node)
            case tree.Column():
                return self.column(node)
            case tree.Logic(parts=parts):
                for part in parts:
                    self.condition(part)
            case tree.Not(part=part):
                self.condition(part)
            case tree.Compare():
                self.compare(node, node.operator, node.left, node.right)
            case tree.In():
                for option in node.options:
                    self.compare(node, "=", node.value, option, again=option is not node.options[0])
            case tree.Between():
                self.compare(node, "<", node.value, node.low)
                self.compare(node, "<", node.value, node.high, again=True)
            case tree.IsNull():
                self.kind(node.value)
            case tree.Arithmetic():
                self.needs(node.left, "number", f"`{node.operator}` takes numbers")
                self.needs(node.right, "number", f"`{node.operator}` takes numbers")
                return "number"
            case tree.Negate():
                self.needs(node.part, "number", "`-` takes a number")
                return "number"
            case tree.Call():
                return self.call(node)
        return "bool"

    def literal(self, node: tree.Literal) -> Kind:
        if isinstance(node.value, bool):
            return "bool"
        if isinstance(node.value, str):
            return "text"
        return "unknown" if node.value is None else "number"

    def column(self, node: tree.Column) -> Kind:
        if node.name in self.schema.names:
            return kind_of(self.schema.field(node.name).type)
        if node.name in self.later:
            help = f"the step '{self.later[node.name]}' below writes it; move this step behind it"
        else:
            near = did_you_mean(node.name, self.schema.names)
            help = (
                f"did you mean '{near}'?"
                if near
                else "there are " + ", ".join(sorted(self.schema.names)[:20])
            )
        self.fault("C201", f"there is no column '{node.name[:80]}' here", help, node)
        return "unknown"

    def needs(self, node: tree.Node, wanted: Kind, message: str) -> None:
        kind = self.kind(node)
        if kind not in (wanted, "unknown"):
            help = f"give it a {_SHOWN[wanted]}, or a column of that type"
            self.fault("C206", f"{message}, and {self.shown(node, kind)} is none", help, node)

    def call(self, node: tree.Call) -> Kind:
        argument = node.arguments[0]
        if node.function == "len":
            kind = self.kind(argument)
            if kind not in ("text", "list", "unknown"):
                self.fault(
                    "C206",
                    f"len takes text or a list, and {self.shown(argument, kind)} is neither",
                    "compare the value itself",
                    argument,
                )
            return "number"
        if node.function == "abs":
            self.needs(argument, "number", "abs takes a number")
            return "number"
        self.needs(argument, "text", f"{node.function} takes text")
        return "text" if node.function == "lower" else "bool"

    def compare(
        self, whole: tree.Node, operator: str, left: tree.Node, right: tree.Node, *, again: bool = False
    ) -> None:
        """again: `left` was checked before."""
        seen = len(self.problems)
        kinds = (self.kind(left), self.kind(right))
        if again:
            del self.problems[seen:]
        if "unknown" in kinds:
            return
        for column, literal in ((left, right), (right, left)):
            self.language_named(column, literal)
        if kinds[0] == kinds[1]:
            if kinds[0] in ("list", "other"):
                self.fault(
                    "C206",
                    f"{self.shown(left, kinds[0])} cannot be compared",
                    "use `len(…)` or `is null`",
                    whole,
                )
            elif kinds[0] == "bool" and operator not in ("=", "!="):
                self.fault("C206", f"`{operator}` cannot compare true and false", "use `=` or `!=`", whole)
            return
        if self.time(left, right, kinds):
            return
        help = "compare values of one type"
        for side, other in ((left, right), (right, left)):
            if isinstance(side, tree.Literal) and isinstance(side.value, str) and kind_is_number(other, self):
                help = (
                    f"write {side.value} without quotes"
                    if _is_number(side.value)
                    else "compare it with a number"
                )
            elif isinstance(side, tree.Literal) and not isinstance(side.value, str) and "text" in kinds:
                help = f"put it in quotes: '{side}'"
        self.fault(
            "C206",
            f"{self.shown(left, kinds[0])} cannot be compared with {self.shown(right, kinds[1])}",
            help,
            whole,
        )

    def time(self, left: tree.Node, right: tree.Node, kinds: tuple[Kind, Kind]) -> bool:
        """Whether one is a column of times and the other a text that reads as one."""
        for column, literal in ((left, right), (right, left)):
            if "time" in kinds and isinstance(column, tree.Column) and isinstance(literal, tree.Literal):
                try:
                    pa.scalar(literal.value).cast(self.schema.field(column.name).type)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                    return False
                return True
        return False

    def language_named(self, column: tree.Node, literal: tree.Node) -> None:
        if not (isinstance(column, tree.Column) and column.name == self.language):
            return
        if not (isinstance(literal, tree.Literal) and isinstance(literal.value, str)):
            return
        from curate.core.languages import is_language, suggest

        if not is_language(literal.value):
            near = suggest(literal.value)
            help = (
                f"did you mean '{near}'?"
                if near
                else "languages are written like deu_Latn (ISO 639-3 and script)"
            )
            self.fault("C107", f"there is no language '{literal.value[:60]}'", help, literal)


def kind_is_number(node: tree.Node, checker: Checker) -> bool:
    return isinstance(node, tree.Column) and kind_of(checker.schema.field(node.name).type) == "number"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def columns_of(node: tree.Node) -> Iterator[str]:
    return (part.name for part in node.walk() if isinstance(part, tree.Column))
