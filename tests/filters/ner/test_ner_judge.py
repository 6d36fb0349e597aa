"""The judge of annotations: what it says is believed where it can be, and its means stand in the dataset card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from curate.cli import cli
from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from filters.ner.teachers.judging import read_judgement
from filters.ner_judge import NerJudge, NerJudgeConfig
from tests.llm_server import LlmServer, Reply

TEXTS = ["Ada met Bob in Bonn.", "Eve is here.", "Nobody.", "Zoe", " "]
SPANS = [
    [{"start": 0, "end": 3, "label": "person"}, {"start": 4, "end": 7, "label": "city"}],
    [],
    None,
    [{"start": 0, "end": 3, "label": "person"}],
    [],
]
SPAN = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())]))


def behave(request: dict[str, Any], number: int) -> str | Reply:
    said = request["messages"][0]["content"]
    if "Ada" in said:
        assert '1. "Ada": person\n2. "met": city\n' in said
        found = {"faithfulness": 3, "completeness": 2, "missing": ["Bob", "Ada", "Zoe"], "wrong": [2, 7, 2]}
        return f"```json\n{json.dumps(found)}\n```"
    if "Eve" in said:
        return "{'faithfulness': 5, 'completeness': 4, 'missing': ['Eve'],}"
    return Reply('{"faithfulness": 9, "completeness": 1}', finish="length")


def judged(tmp_path: Path, **options: Any) -> pa.RecordBatch:
    record = pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(len(TEXTS)), pa.int64()),
            "text": pa.array(TEXTS, pa.string()),
            "language": pa.array(["eng_Latn"] * len(TEXTS)),
            "ner__spans": pa.array(SPANS, SPAN),
        }
    )
    with LlmServer(behave) as server:
        place = {"base_url": server.url, "id": "toy", "concurrency": 1, "retries": 0}
        step = NerJudge(
            NerJudgeConfig.model_validate({"model": "toy", "server": place, "max_invalid_frac": 1, **options})
        )
        step.open(Context(models=tmp_path, scratch=tmp_path))
        found = step.annotate(DocBatch(record, language="language"))
        assert len(server.requests) == 3
    assert step.finish()["cut_off"] == 1
    return pa.RecordBatch.from_pydict(dict(found), pa.schema(list(step.writes().items())))


def test_what_a_judge_says_is_believed_where_it_can_be(tmp_path: Path) -> None:
    rows = judged(tmp_path).to_pylist()
    assert rows[0] == {
        "faithfulness": 3,
        "completeness": 2,
        "missing": ["Bob"],
        "wrong": [1],
        "unfounded_count": 3,
        "outcome": "ok",
    }
    assert rows[1]["missing"] == ["Eve"]
    assert rows[1]["wrong"] == []
    assert [row["outcome"] for row in rows] == ["ok", "ok", None, "cut_off", None]
    assert rows[3]["faithfulness"] is None


def test_a_missing_entity_may_stand_beside_a_marked_one() -> None:
    text, spans = "Ada and Ada met Ada.", [{"start": 0, "end": 3, "label": "person"}]

    def missing(*strings: str) -> tuple[tuple[str, ...], int]:
        answer = {"faithfulness": 5, "completeness": 3, "missing": [*strings], "wrong": []}
        found = read_judgement(json.dumps(answer), text, spans)
        assert found is not None
        return found.missing, found.unfounded

    assert missing("Ada") == (("Ada",), 0)
    assert missing("Ada", "Ada", "Ada") == (("Ada", "Ada"), 1)
    assert missing("", "Eve") == ((), 2)


def test_a_run_stops_if_too_many_answers_are_none(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="R313: 1 of 3 answers of toy are no judgement"):
        judged(tmp_path, max_invalid_frac=0)


@pytest.mark.parametrize("sentences", [False, True])
def test_the_card_has_the_means_and_a_sentence_is_not_judged(tmp_path: Path, sentences: bool) -> None:
    found = judged(tmp_path)
    spans = [s or [] for s in SPANS]
    table = pa.table({"text": TEXTS, "tokens": pa.array([[]] * 5, SPAN), "spans": pa.array(spans, SPAN)})
    table = table.append_column("language", pa.array(["eng_Latn"] * 5))
    for name in found.schema.names:
        field = pa.field(f"judge__{name}", found.schema.field(name).type, metadata={"curate.model": "toy"})
        table = table.append_column(field, found.column(name))
    pq.write_table(table, tmp_path / "judged.parquet")
    done = CliRunner().invoke(
        cli,
        ["ner", "export", str(tmp_path / "judged.parquet"), str(tmp_path / "set"), "--format", "datasets"]
        + ["--sentences"] * sentences,
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    card = (tmp_path / "set" / "README.md").read_text()
    assert "By the language model toy, on a sample" in card
    assert "| eng_Latn | 2 | 4.00 | 3.00 | 2 | 1 | 2 |" in card
    written = pq.read_table(tmp_path / "set" / "data" / "eng_Latn" / "train.parquet")
    if sentences:
        assert (
            written["judge__faithfulness"].null_count == written["judge__outcome"].null_count == len(written)
        )
    else:
        assert written["judge__faithfulness"].to_pylist() == found["faithfulness"].to_pylist()
