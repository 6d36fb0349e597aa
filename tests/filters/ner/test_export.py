"""What is exported is what was imported; what a format cannot hold is counted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.cli import cli
from curate.core.errors import CurateError
from filters.ner.export import export, read_tokens
from filters.ner.gold import SCHEMA
from filters.ner.types import type_map
from tests.filters.ner.tagged import GOLD, imported, mentions, tokens_of, write_tagged

words = st.sampled_from(["Bonn", "北京", "und", "#", "# x", "ไทย", "e\u0301", ",", "-DOC"])
tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.tuples(words, tags), min_size=1, max_size=6), min_size=1, max_size=4))
def test_bio_and_back(tmp_path: Path, sentences: list[list[tuple[str, str]]]) -> None:
    pairs = [tuple(zip(*sentence, strict=True)) for sentence in sentences]
    file = write_tagged(tmp_path / "a.tsv", pairs)  # type: ignore[arg-type]
    before, _ = imported(tmp_path / "one", file, scheme="bio")
    with (tmp_path / "b.tsv").open("wb") as out:
        export(read_tokens(tmp_path / "one"), out, "bio", "label", type_map())
    after, repairs = imported(tmp_path / "two", tmp_path / "b.tsv", scheme="bio")
    assert repairs == []
    for name in ("text", "tokens", "spans"):
        assert [row[name] for row in after] == [row[name] for row in before]


def table(*rows: tuple[str, list[tuple[int, int]], list[tuple[int, int, str]]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "text": text,
                "tokens": [{"start": s, "end": e} for s, e in tokens],
                "spans": [{"start": s, "end": e, "label": label} for s, e, label in spans],
            }
            for text, tokens, spans in rows
        ],
        SCHEMA,
    )


def test_what_cannot_be_written_is_counted() -> None:
    rows = table(
        ("ab cd", [(0, 2), (3, 5)], [(0, 5, "ORG"), (3, 5, "LOC"), (0, 1, "PER"), (3, 5, "zork")]),
        ("a\tb", [(0, 3)], []),
    )
    out = io.BytesIO()
    counts = export(rows, out, "bio", "core", type_map())
    assert out.getvalue() == b"# text = ab cd\nab\tB-ORG\ncd\tI-ORG\n\n"
    assert counts == {
        "sentences": 1,
        "spans": 1,
        "spans_overlapping": 1,
        "spans_within_tokens": 1,
        "spans_without_type": 1,
        "sentences_with_a_tab_or_line_end_in_a_token": 1,
    }


def test_gliner_keeps_nested_spans_and_includes_the_last_word() -> None:
    out = io.BytesIO()
    rows = table(("ab cd", [(0, 2), (3, 5)], [(0, 5, "ORG"), (3, 5, "LOC")]))
    export(rows, out, "gliner", "label", type_map())
    assert json.loads(out.getvalue()) == {
        "tokenized_text": ["ab", "cd"],
        "ner": [[0, 1, "ORG"], [1, 1, "LOC"]],
    }


def test_the_command(tmp_path: Path) -> None:
    imported(tmp_path / "gold", write_tagged(tmp_path / "a.tsv", [(["Bonn", "x"], ["B-GPE", "B-zork"])]))
    arguments = ["ner", "export", str(tmp_path / "gold"), str(tmp_path / "out.jsonl"), "--format", "gliner"]
    done = CliRunner().invoke(cli, [*arguments, "--by", "standard"])
    assert done.exit_code == 0, done.output
    assert "1 sentences and 1 spans" in done.output
    assert "left out: 1 spans without type" in done.output
    row: dict[str, Any] = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["ner"] == [[0, 0, "country"]]
    with pytest.raises(CurateError, match="C205"):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert CliRunner().invoke(cli, [*arguments, "--force"]).exit_code == 0


def test_a_table_without_tokens(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "spans": [1]}), tmp_path / "a.parquet")
    with pytest.raises(CurateError, match="no column 'tokens'"):
        read_tokens(tmp_path / "a.parquet")


@pytest.mark.skipif(not GOLD.is_dir(), reason=f"the gold corpora are not in {GOLD}")
def test_a_gold_corpus_and_back(tmp_path: Path) -> None:
    before, _ = imported(tmp_path / "one", GOLD / "uner-zho-test.tsv.xz", language="cmn_Hani")
    with (tmp_path / "b.tsv").open("wb") as out:
        counts = export(read_tokens(tmp_path / "one"), out, "bio", "label", type_map())
    after, _ = imported(tmp_path / "two", tmp_path / "b.tsv", language="cmn_Hani")
    assert [(tokens_of(row), mentions(row)) for row in after] == [
        (tokens_of(row), mentions(row)) for row in before
    ]
    assert counts == {"sentences": len(before), "spans": sum(len(row["spans"]) for row in before)}
