"""`curate explain`: fates, values, bounds and where a document was published."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from commands.conftest import ENGLISH
from curate.core.errors import CurateError
from curate.core.expression import parse
from curate.views.explain import conditions, missed_by

Invoke = Callable[..., Result]
Explain = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def explain(curate: Invoke) -> Explain:
    return lambda id: json.loads(curate("explain", "tiny", id, "--json").output)


def _verdicts(life: dict[str, Any]) -> list[str]:
    return [s["verdict"] for s in life["steps"]]


def test_a_kept_document(explain: Explain) -> None:
    [life] = explain("english/3")
    assert (life["state"], life["doc"], life["file"], life["row"], life["language"]) == (
        "kept", 3, "a.parquet", 3, "eng_Latn",
    )  # fmt: skip
    assert {k: v for k, v in life["columns"].items() if v} == {"source": "made", "licence": "CC0-1.0"}
    assert life["text"].startswith(ENGLISH)
    assert life["text_bytes"] == len(life["text"].encode())
    assert _verdicts(life) == ["kept", "kept", "kept", "kept"]
    assert life["steps"][1]["values"]["lid__lang"] == "eng_Latn"
    assert life["steps"][3]["values"]["gopher__words_count"] > 50


def test_the_published_files_named_hold_the_document(explain: Explain) -> None:
    for id in ("english/3", "german/1", "line/1", "exempt"):
        [life] = explain(id)
        assert [p["output"] for p in life["published"]] == ["all", "english"][
            : 1 + (life["language"] == "eng_Latn")
        ]
        for place in life["published"]:
            assert place["complete"]
            assert id in pq.read_table(place["path"], columns=["id"])["id"].to_pylist()


def test_all_documents_with_an_id_are_shown(explain: Explain, curate: Invoke) -> None:
    lives = explain("twin")
    assert [(life["doc"], life["language"]) for life in lives] == [(11, "eng_Latn"), (12, "deu_Latn")]
    assert "2 documents have this id" in curate("explain", "tiny", "twin").output


def test_a_number_finds_a_document(explain: Explain) -> None:
    assert explain("doc:12") == explain("twin")[1:]


def test_a_failed_rule_tells_value_bound_and_distance(explain: Explain, curate: Invoke) -> None:
    [life] = explain("short/1")
    gopher = life["steps"][3]
    assert gopher["verdict"] == "dropped"
    short = next(f for f in gopher["failed"] if f["reason"] == "gopher_short_doc")
    assert short == {
        "reason": "gopher_short_doc",
        "column": "gopher__words_count",
        "value": 8,
        "minimum": 50,
        "maximum": None,
        "missed_by": 42,
    }
    text = curate("explain", "tiny", "short/1").output
    assert "failed gopher_short_doc: gopher__words_count is 8, at least 50 needed, 42 too little" in text


def test_a_condition_tells_value_and_distance(explain: Explain) -> None:
    [life] = explain("numbers")
    assert _verdicts(life) == ["kept", "kept", "dropped", "not reached"]
    select = life["steps"][2]
    probability = life["steps"][1]["values"]["lid__prob"]
    assert select["expression"] == "lid__prob >= 0.5 and text is not null"
    first, second = select["conditions"]
    assert (first["condition"], first["holds"], first["values"]) == (
        "lid__prob >= 0.5",
        False,
        {"lid__prob": probability},
    )
    assert first["missed_by"] == pytest.approx(0.5 - probability)
    assert (second["holds"], "missed_by" in second) == (True, False)


def test_rows_outside_when_pass_untouched(explain: Explain) -> None:
    [life] = explain("exempt")
    assert (life["state"], life["file"], life["row"]) == ("kept", "b.jsonl", 3)
    assert _verdicts(life) == ["kept", "kept", "kept", "outside when"]
    assert life["steps"][3]["when"] == "source != 'exempt' or source is null"


def test_documents_without_text(explain: Explain) -> None:
    for id in ("empty", "null"):
        [life] = explain(id)
        assert (life["state"], life["language"], life["steps"][0]["reasons"]) == (
            "dropped",
            "und",
            ["no_text"],
        )
        assert _verdicts(life)[1:] == ["not reached"] * 3


@pytest.mark.parametrize(
    ("id", "doc", "position"),
    [
        ("broken", 19, "row 19"),
        ("cut", (1 << 32) + 1, "line 2, byte"),
        ("mojibake", (1 << 32) + 2, "line 3, byte"),
        ("b.jsonl#1", (1 << 32) + 1, "line 2, byte"),
        (f"doc:{(1 << 32) + 2}", (1 << 32) + 2, "line 3, byte"),
    ],
)
def test_bad_records_say_why_and_where(explain: Explain, id: str, doc: int, position: str) -> None:
    [life] = explain(id)
    assert (life["state"], life["doc"], life["published"]) == ("quarantined", doc, [])
    assert life["quarantine"]["position"].startswith(position)
    assert life["quarantine"]["file"] == life["file"]
    assert "UTF-8" in life["quarantine"]["reason"] or "JSON" in life["quarantine"]["reason"]
    assert _verdicts(life) == ["quarantined", *["not reached"] * 3]


def test_control_characters_never_reach_the_terminal(curate: Invoke, explain: Explain) -> None:
    text = curate("explain", "tiny", "hostile").output
    assert not set("\x1b\x07\u202e") & set(text)
    assert r"\x1b[31mThe committee" in text
    assert explain("hostile")[0]["text"].startswith("\x1b[31m")


def test_long_texts_are_cut_for_people_only(curate: Invoke, explain: Explain) -> None:
    text = curate("explain", "tiny", "english/0").output
    assert "for the year" not in text
    assert "…" in text
    assert explain("english/0")[0]["text"].endswith("Report number 0 of the year.")


@pytest.mark.parametrize(
    ("id", "help"),
    [
        ("englsh/3", "did you mean 'english/3'?"),
        ("nothing like it", "doc:<number>"),
        ("doc:20", "doc:<number>"),
        ("doc:-1", "doc:<number>"),
        (f"doc:{(1 << 32) + 5}", "doc:<number>"),
        (f"doc:{1 << 40}", "doc:<number>"),
        ("doc:99999999999999999999999", "doc:<number>"),
    ],
)
def test_an_unknown_id(curate: Invoke, id: str, help: str) -> None:
    with pytest.raises(CurateError) as caught:
        curate("explain", "tiny", id)
    [problem] = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("R308", 1)
    assert help in problem.help


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("a < 3", {"a": 5}, [("a < 3", False, 2)]),
        ("3 > a", {"a": 5}, [("3 > a", False, 2)]),
        ("a >= -1.5", {"a": -2.0}, [("a >= -1.5", False, 0.5)]),
        ("a between 1 and 4", {"a": 6}, [("a between 1 and 4", False, 2)]),
        ("not (a < 3 or a = 9)", {"a": 2}, [("a < 3", True, None), ("a = 9", False, 7)]),
        ("a > 3", {"a": None}, [("a > 3", None, None)]),
        ("a in (1, 2)", {"a": 3}, [("a in (1, 2)", False, None)]),
        ("len(t) > 9", {"t": "abc"}, [("len(t) > 9", False, None)]),
    ],
)
def test_conditions(text: str, row: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    kinds = {"a": pa.float64(), "t": pa.string()}
    record = pa.RecordBatch.from_pylist([row], pa.schema([(name, kinds[name]) for name in row]))
    found = conditions(parse(text).text, record)
    assert [(c["condition"], c["holds"], c.get("missed_by")) for c in found] == expected


def test_missed_by() -> None:
    assert [missed_by(3, 5, 9), missed_by(12, 5, 9), missed_by(5, 5, 9)] == [2, 3, None]
    assert [missed_by(None, 5, 9), missed_by("x", 5, 9), missed_by(True, 5, 9)] == [None, None, None]
