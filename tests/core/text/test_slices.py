"""Pieces cut out by code points are what Python's slices are, for every script and for spans that mean nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.core.text.slices import pieces
from tests.core.text.hostile import TEXTS

texts = st.text(st.characters(codec="utf-8"), max_size=300) | st.sampled_from(
    [t[:700] for t in TEXTS.values()]
)
spans = st.lists(st.tuples(st.integers(-3, 800), st.integers(-3, 800)), max_size=6)


@given(st.lists(st.tuples(texts, spans), max_size=5))
@example([("é" * 64 + "x" * 70 + "😀" * 65, [(0, 64), (63, 130), (130, 199), (0, 1), (198, 500)])])
def test_a_piece_is_the_slice_of_its_text(cases: list[tuple[str, list[tuple[int, int]]]]) -> None:
    column = pa.array(["before", *(text for text, _ in cases)], pa.string()).slice(1)
    rows = np.cumsum([0, *(len(found) for _, found in cases)]).astype(np.int64)
    flat = [span for _, found in cases for span in found]
    starts, ends = (np.array([s[i] for s in flat], np.int32) for i in (0, 1))
    wanted = [text[max(a, 0) : max(b, a, 0)] for text, found in cases for a, b in found]
    assert pieces(column, rows, starts, ends).to_pylist() == wanted


def test_pieces_that_are_too_many_for_one_column_are_an_error() -> None:
    text = pa.array(["x" * 1_000_000], pa.string())
    starts = np.zeros(2200, np.int32)
    with pytest.raises(Exception, match="R303"):
        pieces(text, np.array([0, 2200], np.int64), starts, starts + 1_000_000)
