"""What every step does with a batch, whatever is in it: the declared columns, one value a row, and the row alone decides.

A document's verdict must not depend on which documents happen to stand beside it, or the output would depend on how a
corpus is cut into shards and batches.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.core.batch import DocBatch
from curate.core.columns import FAILED, REWRITE
from curate.running.contract import AnyStep
from tests.conformance.cases import (
    LANGUAGE,
    LONG,
    ROUNDED,
    SMALL,
    Case,
    batch,
    declared,
    many,
    opened,
    output,
    record,
)


def checked(step: AnyStep, documents: DocBatch) -> dict[str, pa.Array]:
    """The output, after it was held to the contract."""
    found = output(step, documents)
    free = {FAILED: pa.string(), REWRITE: pa.string()}
    expected = {**declared(step), **{name: kind for name, kind in free.items() if name in found}}
    assert set(found) == set(expected)
    for name, kind in expected.items():
        column = found[name]
        assert isinstance(column, pa.Array)
        assert column.type == kind, name
        assert len(column) == documents.num_rows, name
        column.validate(full=True)
        if pa.types.is_floating(kind):
            assert not np.isnan(column.drop_null().to_numpy()).any(), f"'{name}' is nan, which should be null"
        unit = f"_{name}"
        if len(column.drop_null()) and unit.endswith(("_prob", "_frac")):
            values = column.drop_null().to_numpy()
            assert values.min() >= 0, f"'{name}' is a fraction"
            if unit.endswith("_prob"):
                assert values.max() <= 1, f"'{name}' is a probability"
    return found


class Rounded(float):
    """A value of an encoder that computes in batches: equal to another up to rounding."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) < 1e-4

    __hash__ = float.__hash__


def take(columns: dict[str, pa.Array], rows: list[int]) -> dict[str, list[object]]:
    return lists({name: column.take(pa.array(rows, pa.int64())) for name, column in columns.items()})


def lists(columns: dict[str, pa.Array]) -> dict[str, list[object]]:
    found = {name: column.to_pylist() for name, column in columns.items()}
    for name in ROUNDED & found.keys():
        found[name] = [value if value is None else Rounded(value) for value in found[name]]
    return found


@pytest.mark.parametrize("rows", [0, 1, 2, 1000])
def test_any_number_of_rows(step: AnyStep, rows: int) -> None:
    checked(step, batch(many(rows)))


def test_every_hostile_text_alone_gives_what_it_gives_in_company(step: AnyStep) -> None:
    documents = many(3 * len(SMALL))
    together = lists(checked(step, batch(documents)))
    for row in range(documents.num_rows):
        alone = lists(checked(step, batch(documents.slice(row, 1))))
        assert alone == {name: values[row : row + 1] for name, values in together.items()}


def test_a_batch_of_nothing_but_empty_texts(step: AnyStep) -> None:
    checked(step, batch(record([""] * 5)))
    checked(step, batch(record([" ", "\n", "\0", "\u3000", "\u200b"])))


def test_one_very_long_text_among_short_ones(step: AnyStep) -> None:
    texts = [
        "The end of the line.",
        ("Das ist ein Satz mit Wörtern. " * (LONG // 30))[:LONG],
        "x" * LONG,
        "Short.",
    ]
    documents = record(texts)
    found = lists(checked(step, batch(documents)))
    for row in (0, 3):
        alone = lists(output(step, batch(documents.slice(row, 1))))
        assert alone == {name: values[row : row + 1] for name, values in found.items()}


def test_the_order_of_rows_does_not_matter(step: AnyStep) -> None:
    documents = many(300)
    order = np.random.default_rng(7).permutation(300)
    shuffled = checked(step, batch(documents.take(pa.array(order))))
    assert lists(shuffled) == take(checked(step, batch(documents)), order.tolist())


@pytest.mark.parametrize("cuts", [(1,), (299,), (13, 14, 150), (64, 128, 192, 256)])
def test_where_a_batch_is_cut_does_not_matter(step: AnyStep, cuts: tuple[int, ...]) -> None:
    """The parts are slices, so their buffers begin before their first row."""
    documents = many(300)
    whole = lists(checked(step, batch(documents)))
    bounds = [0, *cuts, 300]
    parts = [
        lists(checked(step, batch(documents.slice(start, end - start))))
        for start, end in itertools.pairwise(bounds)
    ]
    assert {name: [v for part in parts for v in part[name]] for name in whole} == whole


def test_rows_left_by_a_filter_give_what_they_gave(step: AnyStep) -> None:
    """Tokens and lines are carried along when rows are dropped, and must still be each row's own."""
    documents = batch(many(200))
    whole = checked(step, documents)
    _ = documents.tokens, documents.lines, documents.text_bytes
    mask = np.random.default_rng(3).random(200) < 0.4
    left = checked(step, documents.filter(mask))
    assert lists(left) == take(whole, np.flatnonzero(mask).tolist())


def test_columns_that_are_not_asked_for_are_ignored(step: AnyStep) -> None:
    documents = many(50)
    more = documents.append_column("surprise__top", pa.array([[{"a": row}] for row in range(50)]))
    more = more.append_column("other", pa.nulls(50))
    assert lists(checked(step, batch(more))) == lists(checked(step, batch(documents)))


def test_only_the_columns_that_are_read_are_needed(step: AnyStep) -> None:
    documents = many(50)
    needed = [name for name in documents.schema.names if name in {"doc", "text", LANGUAGE} | step.reads()]
    assert lists(checked(step, batch(documents.select(needed)))) == lists(checked(step, batch(documents)))


def test_languages_may_be_null_absent_or_unknown(step: AnyStep) -> None:
    documents = many(100)
    column = documents.schema.get_field_index(LANGUAGE)
    null = documents.set_column(column, LANGUAGE, pa.nulls(100, pa.string()))
    checked(step, batch(null))
    checked(step, batch(documents, None))
    if LANGUAGE not in step.reads():
        checked(step, batch(documents.drop_columns([LANGUAGE])))
    for odd in ("", "xx", "zxx_Zxxx", "deu-Latn", "🏴"):
        checked(step, batch(documents.set_column(column, LANGUAGE, pa.array([odd] * 100, pa.string()))))


def test_a_row_without_language_is_judged_like_a_row_in_a_batch_of_such(step: AnyStep) -> None:
    documents = many(60)
    rows = [row for row, code in enumerate(documents.column(LANGUAGE).to_pylist()) if code is None]
    alone = lists(checked(step, batch(documents.take(pa.array(rows)))))
    assert alone == take(checked(step, batch(documents)), rows)


def test_the_input_is_left_as_it_was(step: AnyStep) -> None:
    documents = many(100)
    before = _bytes(documents)
    checked(step, batch(documents))
    assert _bytes(documents) == before


def _bytes(documents: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, documents.schema) as writer:
        writer.write_batch(documents)
    return sink.getvalue().to_pybytes()


def test_the_same_batch_gives_the_same_result_again(step: AnyStep) -> None:
    documents = many(200)
    first = lists(checked(step, batch(documents)))
    checked(step, batch(record(["something else in between"] * 9)))
    assert lists(checked(step, batch(documents))) == first


def test_another_instance_gives_the_same_result(step: AnyStep, case: Case, tmp_path: Path) -> None:
    documents = many(200)
    assert lists(checked(opened(case, tmp_path), batch(documents))) == lists(checked(step, batch(documents)))
