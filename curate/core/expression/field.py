"""`Condition`: a config field that holds an expression, whose syntax is checked when the config is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from curate.core.expression import ExpressionError, parse


def _syntax(text: str) -> str:
    try:
        parse(text)
    except ExpressionError as fault:
        problem = fault.problem
        raise PydanticCustomError(
            "expression",
            "{message}",
            {
                "message": problem.message,
                "code": problem.code,
                "help": problem.help,
                "offset": problem.offset,
                "length": problem.length,
            },
        ) from fault
    return text


Condition = Annotated[str, AfterValidator(_syntax)]
