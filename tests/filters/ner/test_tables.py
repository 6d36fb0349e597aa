"""Tables of annotated texts: a place outside its text is an error that names file and row, in exports and scores alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.errors import CurateError
from filters.ner.export import read_tokens
from filters.ner.score import read_annotated
from filters.ner.tables import check

PLACE = pa.struct([("start", pa.int32()), ("end", pa.int32())])
SPAN = pa.struct([*PLACE, ("label", pa.string())])
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("tokens", pa.list_(PLACE)),
        ("spans", pa.list_(SPAN)),
        ("nested", pa.list_(SPAN)),
    ]
)
WHOLE: dict[str, Any] = {
    "text": "né 北",
    "tokens": [(0, 2), (3, 4)],
    "spans": [(3, 4, "LOC")],
    "nested": None,
}


def table(*rows: dict[str, Any]) -> pa.Table:
    def structs(found: list[Any] | None) -> list[Any] | None:
        keys = ("start", "end", "label")
        return found and [place and dict(zip(keys, place, strict=False)) for place in found]

    made = [{key: structs(v) if isinstance(v, list) else v for key, v in row.items()} for row in rows]
    return pa.Table.from_pylist(made, SCHEMA)


@pytest.mark.parametrize(
    ("broken", "said", "scored"),
    [
        ({"text": None, "tokens": [], "spans": []}, "'text' is null", True),
        ({"tokens": None}, "'tokens' is null", False),
        ({"tokens": [(0, 2), (3, 5)]}, "3 … 5 in 'tokens' is not within its text", False),
        ({"tokens": [(0, 2), None]}, "None … None in 'tokens'", False),
        ({"spans": [(3, 4, "LOC"), (-1, 2, "LOC")]}, "-1 … 2 in 'spans'", True),
        ({"spans": [(2, 2, "LOC")]}, "2 … 2 in 'spans'", True),
        ({"spans": [(2, None, "LOC")]}, "2 … None in 'spans'", True),
        ({"nested": [(0, 9, "LOC")]}, "0 … 9 in 'nested'", False),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, broken: dict[str, Any], said: str, scored: bool) -> None:
    (tmp_path / "deu_Latn").mkdir()
    file = tmp_path / "deu_Latn" / "ner-0.parquet"
    pq.write_table(table(WHOLE, WHOLE, WHOLE | broken, WHOLE), file, row_group_size=2)
    pq.write_table(table(WHOLE), tmp_path / "whole.parquet")
    expected = rf"D410.*{re.escape(f'{file}, row 2: {said}')}"
    with pytest.raises(CurateError, match=expected):
        read_tokens(tmp_path)
    if scored:
        with pytest.raises(CurateError, match=expected):
            read_annotated(tmp_path)
    else:
        assert len(read_annotated(tmp_path)) == 5


def test_a_row_without_spans_is_whole(tmp_path: Path) -> None:
    rows = table(WHOLE | {"spans": None}, WHOLE | {"text": "", "tokens": [], "spans": []})
    pq.write_table(rows, tmp_path / "a.parquet")
    assert read_tokens(tmp_path / "a.parquet")["spans"].to_pylist() == [None, []]


@pytest.mark.parametrize(
    ("columns", "code", "said"),
    [
        ({"text": [1], "tokens": [[]], "spans": [[]]}, "D403", "'text' of .* is int64"),
        ({"text": ["a"], "tokens": [["a"]], "spans": [[]]}, "D403", "'tokens' of .* no list of structs"),
        ({"text": ["a"], "tokens": [[{"start": 0}]], "spans": [[]]}, "D402", "no field 'end'"),
        ({"text": ["a"], "tokens": [[{"start": 0.0, "end": 1}]], "spans": [[]]}, "D403", "is double"),
    ],
)
def test_columns_of_another_kind(tmp_path: Path, columns: dict[str, Any], code: str, said: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(CurateError, match=f"{code}.*{said}"):
        read_tokens(tmp_path / "a.parquet")


places = st.none() | st.tuples(st.integers(-1, 3), st.none() | st.integers(0, 4))
lists = st.none() | st.lists(places, max_size=3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "é", "a北c"]), lists), max_size=5), st.integers(0, 3))
def test_every_place_outside_its_text_is_found(rows: list[tuple[str, Any]], cut: int) -> None:
    def outside(place: Any, text: str) -> bool:
        start, end = place or (None, None)
        return start is None or end is None or not 0 <= start < end <= len(text)

    wrong = [row for row, (text, found) in enumerate(rows) if any(outside(p, text) for p in found or ())]
    made = table(*({"text": text, "tokens": found} for text, found in rows))
    made = pa.concat_tables([made.slice(0, cut), made.slice(cut)])
    if not wrong:
        check(made, Path("a"), {"tokens": ()})
        return
    with pytest.raises(CurateError, match=f"D410.*a, row {wrong[0]}: "):
        check(made, Path("a"), {"tokens": ()})
