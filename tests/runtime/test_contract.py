"""A step that breaks its contract stops the run with an error that names the step and says what it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from tests.runtime.toys import STRINGS, Choose, Mark, Modulus, Word, documents, passing, step

TEXTS = ["one", "two", "three"]


class Returns(Mark):
    """Declares one column and returns whatever it is told to."""

    def __init__(
        self, returned: Mapping[str, Any], declared: Mapping[str, pa.DataType] | None = None
    ) -> None:
        super().__init__(Word())
        self.returned = dict(returned)
        self.declared = dict(declared) if declared is not None else {"n_count": pa.int64()}

    def writes(self) -> Mapping[str, pa.DataType]:
        return self.declared

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        return self.returned


class Keeps(Choose):
    def __init__(self, returned: Any) -> None:
        super().__init__(Modulus())
        self.returned = returned

    def keep(self, batch: DocBatch) -> Any:
        return self.returned


def message(made: Any) -> str:
    """The text of the error that the step causes."""
    with pytest.raises(CurateError) as caught:
        passing(step("mine", made)).run(documents(TEXTS))
    assert caught.value.exit_code == 1
    (problem,) = caught.value.problems
    assert problem.code == "R303"
    assert "'mine'" in problem.message
    assert f"toys.{type(made).__name__.lower()}" in problem.message
    assert problem.context["step"] == "mine"
    return problem.message


GOOD = pa.array([1, 2, 3], pa.int64())


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ({"n_count": pa.array([1, 2], pa.int64())}, "2 values of 'n_count' for 3 rows"),
        ({"n_count": pa.array([], pa.int64())}, "0 values of 'n_count' for 3 rows"),
        ({"n_count": pa.array([1, 2, 3, 4], pa.int64())}, "4 values of 'n_count' for 3 rows"),
        ({"n_count": pa.array([1, 2, 3], pa.int32())}, "'n_count' as int32, not int64"),
        ({"n_count": pa.nulls(3)}, "'n_count' as null, not int64"),
        ({"n_count": [1, 2, 3]}, "list for 'n_count'"),
        ({"n_count": None}, "NoneType for 'n_count'"),
        ({}, "declared the columns ['n_count'] and returned []"),
        ({"n_count": GOOD, "more": GOOD}, "returned ['more', 'n_count']"),
        ({"other": GOOD}, "returned ['other']"),
        ({"mine__n_count": GOOD}, "returned ['mine__n_count']"),
        ({"n_count": GOOD, "text": pa.array(["a", "b"])}, "2 values of 'text' for 3 rows"),
        ({"n_count": GOOD, "text": pa.array([1, 2, 3])}, "'text' as int64, not string"),
        (
            {"n_count": GOOD, "text": pa.array(["a"] * 3, pa.large_string())},
            "'text' as large_string, not string",
        ),
        ({"n_count": GOOD, "failed": pa.array([True, False, None])}, "'failed' as bool, not string"),
    ],
)
def test_an_annotator_returns_what_it_declared(returned: dict[str, Any], says: str) -> None:
    assert says in message(Returns(returned))


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (pa.array([True, False]), "2 values of 'keep' for 3 rows"),
        (pa.array([1, 0, 1]), "'keep' as int64, not bool"),
        (True, "bool for 'keep'"),
        (None, "NoneType for 'keep'"),
    ],
)
def test_a_selector_returns_a_verdict_for_every_row(returned: Any, says: str) -> None:
    assert says in message(Keeps(returned))


def test_a_chunked_column_is_taken_as_the_array_it_is() -> None:
    chunked = pa.chunked_array([pa.array([1], pa.int64()), pa.array([2, 3], pa.int64())])
    outcome = passing(step("mine", Returns({"n_count": chunked}))).run(documents(TEXTS))
    assert outcome.overlay.column("mine__n_count").to_pylist() == [1, 2, 3]


def test_reasons_of_null_rows_drop_nothing() -> None:
    reasons = pa.array([None, [], ["a"]], STRINGS)
    outcome = passing(step("mine", Returns({"reasons": reasons}, {"reasons": STRINGS}))).run(documents(TEXTS))
    assert outcome.overlay.column("drop").to_pylist() == [None, None, "mine"]


def test_a_column_is_checked_against_the_rows_inside_when() -> None:
    """Inside `when:` are two rows here, so two values are right and three are not."""
    two = step("mine", Returns({"n_count": pa.array([1, 2], pa.int64())}), when="doc > 0")
    assert passing(two).run(documents(TEXTS)).overlay.column("mine__n_count").to_pylist() == [None, 1, 2]
    three = step("mine", Returns({"n_count": GOOD}), when="doc > 0")
    with pytest.raises(CurateError, match="3 values of 'n_count' for 2 rows"):
        passing(three).run(documents(TEXTS))


def test_metadata_of_a_column_says_who_wrote_it() -> None:
    field = passing(step("mine", Returns({}))).schema.field("mine__n_count")
    assert field.metadata == {b"curate.step": b"toys.returns", b"curate.version": b"1"}


def test_what_a_step_raises_itself_is_not_hidden() -> None:
    class Raises(Mark):
        def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        passing(step("mine", Raises(Word()))).run(documents(TEXTS))


@pytest.mark.parametrize("reasons", [[[None], [], []], [["a", None], [], []]])
def test_a_reason_that_is_null_is_a_fault_of_the_step(reasons: list[list[str | None]]) -> None:
    returned = {"reasons": pa.array(reasons, STRINGS)}
    assert "reasons" in message(Returns(returned, {"reasons": STRINGS}))
