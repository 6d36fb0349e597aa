"""What is wrong with an expression, and where in its text."""

from __future__ import annotations

from dataclasses import dataclass

from curate.core.errors import CurateError, Position, Problem


@dataclass(frozen=True)
class ExpressionProblem:
    """A fault. `offset` and `length` count characters of the expression's text."""

    code: str
    message: str
    help: str
    offset: int
    length: int


class ExpressionError(CurateError):
    """The text is not an expression (C106). Its position counts from the expression's first character."""

    def __init__(self, problem: ExpressionProblem, text: str = "") -> None:
        self.problem = problem
        place = Position("expression", 1, problem.offset + 1, problem.length, text) if text else None
        super().__init__([Problem(problem.code, problem.message, problem.help, place)])
