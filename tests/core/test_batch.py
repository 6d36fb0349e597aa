"""A batch computes tokens and lines once and carries them: what it carries is what it would compute."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.batch import DocBatch, text_buffers


def batch_of(texts: list[str]) -> DocBatch:
    doc = pa.array(range(len(texts)), pa.int64())
    return DocBatch(pa.RecordBatch.from_pydict({"doc": doc, "text": pa.array(texts, pa.string())}))


def assert_shared_work_is_right(batch: DocBatch) -> None:
    fresh = DocBatch(batch.record)
    assert np.array_equal(batch.text_bytes, fresh.text_bytes)
    for name in ("starts", "ends", "classes", "docs", "hashes"):
        assert np.array_equal(getattr(batch.tokens, name), getattr(fresh.tokens, name)), name
    for name in ("starts", "ends", "docs"):
        assert np.array_equal(getattr(batch.lines, name), getattr(fresh.lines, name)), name
    for row, text in enumerate(batch.text.to_pylist()):
        assert batch.lines.of(row) == [line.encode() for line in text.splitlines()]


def compute(batch: DocBatch) -> DocBatch:
    _ = batch.text_bytes, batch.tokens.hashes, batch.lines
    return batch


rows = st.lists(st.tuples(st.text(max_size=30), st.booleans(), st.booleans()), max_size=12)


@settings(deadline=None)  # the first example may compile
@given(rows, st.integers(0, 3), st.integers(0, 3))
def test_filter_carries_what_it_would_compute(
    rows: list[tuple[str, bool, bool]], head: int, tail: int
) -> None:
    """Also on slices: their offsets do not start at 0, and their buffers are larger than their rows."""
    record = batch_of([text for text, _, _ in rows]).record
    kept = rows[head : max(head, len(rows) - tail)]
    batch = compute(DocBatch(record.slice(head, len(kept))))
    assert_shared_work_is_right(batch)
    first = np.array([keep for _, keep, _ in kept], np.bool_)
    once = batch.filter(first)
    assert once.text.to_pylist() == [text for text, keep, _ in kept if keep]
    assert_shared_work_is_right(once)
    twice = once.filter(np.array([again for _, keep, again in kept if keep], np.bool_))
    assert_shared_work_is_right(twice)


def test_filtering_does_not_tokenise_again() -> None:
    batch = compute(batch_of(["one two", "three", "four five six"]))
    smaller = batch.filter(np.array([True, False, True]))
    assert {"tokens", "lines", "text_bytes"} <= smaller.__dict__.keys()
    assert "hashes" in smaller.tokens.__dict__


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    batch = batch_of(["one two", "three"]).filter(np.array([True, False]))
    assert not {"tokens", "lines", "text_bytes"} & batch.__dict__.keys()


def test_filter_keeps_the_language_column() -> None:
    batch = DocBatch(batch_of(["a", "b"]).append({"l": pa.array(["deu_Latn", None])}).record, language="l")
    languages = batch.filter(np.array([False, True])).languages
    assert languages is not None
    assert languages.to_pylist() == [None]


def test_append_shares_and_a_rewritten_text_does_not() -> None:
    batch = compute(batch_of(["one two", "three"]))
    more = batch.append({"n": pa.array([1, 2])})
    assert more.tokens is batch.tokens
    assert more.lines is batch.lines
    rewritten = more.append({"text": pa.array(["one", "three four"])})
    assert [rewritten.tokens.of(row) for row in (0, 1)] == [[b"one"], [b"three", b"four"]]
    assert rewritten.column("n").to_pylist() == [1, 2]


def test_buffers_of_empty_and_sliced_arrays() -> None:
    offsets, data = text_buffers(pa.array([], pa.string()))
    assert offsets.tolist() == [0]
    assert data.size == 0
    offsets, data = text_buffers(pa.array(["ab", "c", "def"])[1:])
    assert [data[a:b].tobytes() for a, b in pairwise(offsets)] == [b"c", b"def"]
