"""The language of `select:`, `when:` and `where:`, such as `lid__prob >= 0.65 and source != 'wiki'`.

In: the text of a condition. Out: for a record batch, true, false or null for each row.

    logic        a and b · a or b · not a
    comparison   = != < <= > >= · in (…) · not in (…) · between a and b · is null · is not null
    arithmetic   + - * / % · -a
    values       12 · 0.5 · 'text' or "text" · true · false · null · column · `odd column name`
    functions    len lower abs starts_with ends_with contains matches (RE2, anywhere in the text)

`parser` makes a tree of it, `types` checks the tree against a schema before any work starts, `evaluate`
computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from curate.core.expression import tree
from curate.core.expression.evaluate import evaluate
from curate.core.expression.parser import parse_tree
from curate.core.expression.problem import ExpressionError, ExpressionProblem
from curate.core.expression.types import Checker, columns_of

__all__ = ["Expression", "ExpressionError", "ExpressionProblem", "parse"]


class Expression:
    """A condition. Two are equal if their normalised texts are."""

    def __init__(self, root: tree.Node) -> None:
        self.root = root

    @cached_property
    def text(self) -> str:
        """The normalised text; parsing it gives the same condition."""
        return str(self.root)

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns it reads."""
        return frozenset(columns_of(self.root))

    def check(
        self, schema: pa.Schema, language: str | None = None, later: Mapping[str, str] | None = None
    ) -> list[ExpressionProblem]:
        """What does not fit `schema`, in the order of the text; empty if it can be evaluated.

        language: the column that holds languages. later: column written further down → by which step.
        """
        checker = Checker(schema, language, later or {})
        checker.condition(self.root)
        return sorted(checker.problems, key=lambda problem: problem.offset)

    def evaluate(self, record: pa.RecordBatch) -> pa.BooleanArray:
        """true, false or null for each row of `record`, whose schema passed the check."""
        return evaluate(self.root, record)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"parse({self.text!r})"


def parse(text: str) -> Expression:
    """The condition that `text` states; ExpressionError (C106) with the fault's place if it states none."""
    try:
        root = parse_tree(text)
        for node in root.walk():
            if isinstance(node, tree.Call) and node.function == "matches":
                _check_pattern(node.arguments[1])
    except ExpressionError as fault:
        raise ExpressionError(fault.problem, text) from None
    return Expression(root)


def _check_pattern(node: tree.Node) -> None:
    pattern = str(node.value) if isinstance(node, tree.Literal) else ""
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except (pa.ArrowInvalid, UnicodeEncodeError) as cause:
        reason = str(cause).removeprefix("Invalid regular expression: ")
        help = "the syntax is RE2's: no look-around, no back-references"
        problem = ExpressionProblem(
            "C106", f"not a regular expression: {reason}", help, node.offset, node.length
        )
        raise ExpressionError(problem) from cause
