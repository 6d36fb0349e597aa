"""`curate ner rejects`: a row for each mention without a span."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.core.errors import CurateError
from filters.ner.rejects import read_rejects
from filters.ner_merge import MergeConfig, NerMerge

TYPE = NerMerge(MergeConfig(teachers=["a"])).writes()["rejects"]


def reject(teacher: str, mention: str, reason: str, start: int | None = None) -> dict[str, Any]:
    end = None if start is None else start + 3
    return {
        "teacher": teacher,
        "mention": mention,
        "label": "x",
        "start": start,
        "end": end,
        "reason": reason,
    }


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["ner", "rejects", *map(str, arguments)], catch_exceptions=False)


def test_rejects_are_counted_and_written(tmp_path: Path) -> None:
    zoe, bob, eve = (
        reject("llm", "Zoe", "not_in_text"),
        reject("llm", "Bob", "not_in_text"),
        reject("b", "Eve", "empty", 4),
    )
    lists = pa.array([[zoe], [], None, [bob, eve]], TYPE)
    (tmp_path / "run" / "deu_Latn").mkdir(parents=True)
    one = pa.table({"id": ["a", "b", "c", "d"], "ner__rejects": lists})
    pq.write_table(one, tmp_path / "run" / "deu_Latn" / "a.parquet")
    pq.write_table(pa.table({"rejects": lists[:1], "language": ["eng_Latn"]}), tmp_path / "run" / "b.parquet")
    done = run(tmp_path / "run", "--output", tmp_path / "all.parquet")
    assert done.output.splitlines() == [
        "llm: 3 not_in_text, such as 'Bob'",
        "b: 1 empty, such as 'Eve'",
        "4 mentions without a span",
    ]
    assert pq.read_table(tmp_path / "all.parquet").to_pylist() == [
        {"id": None, "language": "eng_Latn", **zoe},
        {"id": "a", "language": None, **zoe},
        {"id": "d", "language": None, **bob},
        {"id": "d", "language": None, **eve},
    ]
    with pytest.raises(CurateError, match="C205"):
        run(tmp_path / "run", "--output", tmp_path / "all.parquet")
    assert run(tmp_path / "run", "--output", tmp_path / "all.parquet", "--force").exit_code == 0


def test_what_holds_none(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="D401"):
        read_rejects(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(CurateError, match="D402"):
        read_rejects(tmp_path)
