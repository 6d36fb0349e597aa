"""A filter's rules and its reasons say the same: a row has a reason exactly when the rule's column is out of bounds.

`curate explain` tells by how much a document missed from the rules, so they must not drift from the verdicts.
"""

from __future__ import annotations

from typing import Any

from curate.core.columns import REASONS
from curate.core.stage import Annotator, Rule
from curate.running.contract import AnyStep
from tests.conformance.cases import LANGUAGE, batch, many


def failed(rules: tuple[Rule, ...], values: dict[str, Any]) -> set[str]:
    """Reasons of the rules whose column is there and out of bounds; a null fails nothing."""
    found = set()
    for rule in rules:
        value = values[rule.column]
        low = rule.minimum is not None and value is not None and value < rule.minimum
        high = rule.maximum is not None and value is not None and value > rule.maximum
        if low or high:
            found.add(rule.reason)
    return found


def verdicts(step: AnyStep, language: str | None) -> list[tuple[tuple[Rule, ...], dict[str, Any]]]:
    """For each row its rules and its values."""
    assert isinstance(step, Annotator)
    documents = many(200)
    columns = {name: column.to_pylist() for name, column in step.annotate(batch(documents, language)).items()}
    languages = documents.column(LANGUAGE).to_pylist() if language is not None else [None] * 200
    return [
        (step.rules(code), {name: values[row] for name, values in columns.items()})
        for row, code in enumerate(languages)
    ]


def is_filter(step: AnyStep) -> bool:
    return isinstance(step, Annotator) and REASONS in step.writes()


def test_a_row_has_a_reason_exactly_when_its_column_is_out_of_bounds(step: AnyStep) -> None:
    if not is_filter(step):
        return
    for rules, values in verdicts(step, LANGUAGE):
        assert set(values[REASONS] or ()) == failed(rules, values)


def test_rules_hold_where_no_language_is_known(step: AnyStep) -> None:
    if not is_filter(step):
        return
    for rules, values in verdicts(step, None):
        assert set(values[REASONS] or ()) == failed(rules, values)


def test_no_reason_is_given_twice_and_none_is_empty(step: AnyStep) -> None:
    if not is_filter(step):
        return
    for _, values in verdicts(step, LANGUAGE):
        reasons = values[REASONS] or []
        assert len(reasons) == len(set(reasons))
        assert all(reason and reason.strip() == reason for reason in reasons)


def test_the_suite_makes_every_filter_drop_and_keep_something(step: AnyStep) -> None:
    """Otherwise the tests above would compare nothing with nothing."""
    if not is_filter(step):
        return
    found = [bool(values[REASONS]) for _, values in verdicts(step, LANGUAGE)]
    assert any(found)
    assert not all(found)
