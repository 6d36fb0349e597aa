"""Environment variables in paths."""

from __future__ import annotations

import pytest

from curate.config.environment import expand, unset
from curate.core.errors import CurateError

ENVIRON = {"DATA": "/data", "EMPTY": "", "A1": "x"}


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("plain/*.parquet", "plain/*.parquet"),
        ("$DATA/x", "/data/x"),
        ("${DATA}x", "/datax"),
        ("$A1$DATA", "x/data"),
        ("${NONE:-out}/y", "out/y"),
        ("${EMPTY:-out}", "out"),
        ("${DATA:-out}", "/data"),
        ("${NONE:-$DATA}", "/data"),
        ("${NONE:-}", ""),
        ("$EMPTY", ""),
        ("$$DATA", "$DATA"),
        ("s3://b/$5", "s3://b/$5"),
        ("a$", "a$"),
    ],
)
def test_variables_are_put_in(value: str, expanded: str) -> None:
    assert expand(value, ENVIRON) == expanded
    assert list(unset(value, ENVIRON)) == []


@pytest.mark.parametrize("value", ["x/$NONE/y", "${NONE}", "${EMPTY:-$NONE}"])
def test_a_variable_that_is_not_set_is_named(value: str) -> None:
    with pytest.raises(CurateError) as caught:
        expand(value, ENVIRON)
    (problem,) = caught.value.problems
    assert problem.code == "C109"
    assert "the environment variable NONE is not set" in problem.message
    assert problem.help == "export NONE=…, or give a default: ${NONE:-…}"
    ((name, offset, _),) = unset(value, ENVIRON)
    assert (name, offset) == ("NONE", value.index("$"))
