"""Language models as teachers, against a server that answers as a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from filters.ner_llm import NerLlm, NerLlmConfig
from tests.llm_server import LlmServer, Reply

Behaviour = Callable[[dict[str, Any], int], str | Reply] | Sequence[str | Reply]


def ask(
    tmp_path: Path, behave: Behaviour, texts: Sequence[str], language: str | None = None, **options: Any
) -> tuple[list[dict[str, Any]], LlmServer, NerLlm]:
    record = pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(len(texts)), pa.int64()),
            "text": pa.array(texts, pa.string()),
            "language": pa.array([language] * len(texts), pa.string()),
        }
    )
    with LlmServer(behave) as server:
        place = {"base_url": server.url, "id": "toy", "concurrency": 1, "retries": 0}
        step = NerLlm(
            NerLlmConfig.model_validate({"model": "toy", "server": place, "max_invalid_frac": 1, **options})
        )
        step.open(Context(models=tmp_path, scratch=tmp_path, cache=tmp_path / "cache"))
        found = step.annotate(DocBatch(record, language="language"))
    return pa.RecordBatch.from_pydict(dict(found)).to_pylist(), server, step


def strings(row: dict[str, Any]) -> list[tuple[str, str]] | None:
    said = row["mentions"]
    return None if said is None else [(m["text"], m["label"]) for m in said]


def test_each_passage_gets_its_answer_and_blank_ones_are_not_asked_about(tmp_path: Path) -> None:
    def behave(request: dict[str, Any], number: int) -> str | Reply:
        said = request["messages"][0]["content"]
        return next(
            answer
            for word, answer in {
                "Ada": '("Ada", "person")',
                "Bob": Reply('("Bob", "person")\n("Bo', finish="length"),
                "Eve": "Eve is nice.",
                "Zoe": Reply(status=400),
            }.items()
            if f"\n{word}\n" in said
        )

    rows, server, step = ask(
        tmp_path, behave, ["Ada", " \n", "Bob", "Eve", "Zoe", "x" * 21], max_characters=20
    )
    assert [row["outcome"] for row in rows] == ["ok", "ok", "cut_off", "malformed", "refused", "too_long"]
    assert [strings(row) for row in rows] == [[("Ada", "person")], [], [("Bob", "person")], None, None, None]
    assert len(server.requests) == 4
    counts = step.finish()
    assert [counts[name] for name in ("ok", "cut_off", "malformed", "refused")] == [1, 1, 1, 1]
    again, server, _ = ask(tmp_path, ["[]"], ["Ada", "Bob"], max_characters=20)
    assert ([strings(row) for row in again], len(server.requests)) == (
        [[("Ada", "person")], [("Bob", "person")]],
        0,
    )


def test_the_request_names_language_and_types(tmp_path: Path) -> None:
    answer = '{"entities": [{"text": "Köln", "type": "CITY"}, {"text": "Ö", "type": "ship"}]}'
    rows, server, step = ask(
        tmp_path, [answer], ["Köln Ö"], "deu_Latn", types=["city", "person"], answer="schema"
    )
    (request,) = server.requests
    assert "in German" in request["messages"][0]["content"]
    assert "city, person" in request["messages"][0]["content"]
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["entities"]
    assert (request["temperature"], request["max_tokens"]) == (0, 2048)
    assert strings(rows[0]) == [("Köln", "city"), ("Ö", "ship")]
    assert step.finish()["other_type"] == 1


def test_a_run_stops_if_too_many_answers_are_none(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(40)]
    with pytest.raises(CurateError, match=r"R313: 6 of 6 answers of toy .* the last was: I cannot"):
        ask(tmp_path, ["I cannot"], texts, max_invalid_frac=0.2)


def test_half_a_character_in_an_answer_ends_nothing(tmp_path: Path) -> None:
    answer = (
        r'{"entities": [{"text": "Ada \ud83d", "type": "\ud83d\ude00"}, {"text": "\udc00B", "type": "x"}]}'
    )
    wanted = [("Ada \ufffd", "\U0001f600"), ("\ufffdB", "x")]
    for _ in range(2):  # the second is from the cache
        rows, _, _ = ask(tmp_path, [answer], ["Ada"], answer="json")
        assert strings(rows[0]) == wanted


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    for options, message in (
        ({"types": ["Person", "person"]}, "are the same type"),
        ({"types": ["-"]}, "has no letters"),
        ({"samples": 2}, "less than or equal to 1"),
    ):
        with pytest.raises(ValidationError, match=message):
            NerLlmConfig.model_validate({"model": "x", "server": {"base_url": "http://x"}, **options})
