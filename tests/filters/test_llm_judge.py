"""`filters.llm_judge`: answers become scores as the rubric says, what is none is counted, and nothing is asked twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import CurateError
from curate.core.models import models_folder
from curate.core.stage import Context
from filters.llm.rubric import Verdict, read_rubric, rubric_path
from filters.llm.votes import INVALID, scores
from filters.llm_judge import LlmJudge, LlmJudgeConfig
from tests.filters.rule_cases import batch_of
from tests.llm_server import LlmServer, Reply

EDU = read_rubric(rubric_path("edu"))


def judge(server: LlmServer, folder: Path, **options: Any) -> LlmJudge:
    where = {"base_url": server.url, "id": "toy", "backoff": 0.001, "retries": 1, **options.pop("how", {})}
    step = LlmJudge(LlmJudgeConfig.model_validate({"model": "m", "server": where, **options}))
    context = Context(models=models_folder(), scratch=folder, cache=folder)
    step.artifacts(context)
    step.open(context)
    return step


def lists(step: LlmJudge, texts: list[str]) -> dict[str, list[Any]]:
    return {name: column.to_pylist() for name, column in step.annotate(batch_of(texts)).items()}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("It teaches sums.\nScore: 3", Verdict(3, "It teaches sums.")),
        ("**Score: 4**", Verdict(4, "")),
        ("Educational score - 0.", Verdict(0, "Educational")),
        (
            "On the scale of Score: 0 to 5 I say\nscore: **2**\n",
            Verdict(2, "On the scale of Score: 0 to 5 I say"),
        ),
        ("First Score: 1, then again Score: 5", Verdict(5, "First Score: 1, then again")),
        ("Score: 3.0", Verdict(3, "")),
        ("Score: 3/5", Verdict(3, "")),
        ("Score: 3/10", None),
        ("Score: 3.5", None),
        ("Score: 6", None),
        ("Score: -1", None),
        ("Score: 2 or 3", None),
        ("Score: 2-3", None),
        ("Score: 12", None),
        ("Score: three", None),
        ("I give it a 3", None),
        ("", None),
    ],
)
def test_a_line_with_a_score(answer: str, verdict: Verdict | None) -> None:
    assert EDU.verdict(answer, "line") == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"reason": "sums", "score": 3}', Verdict(3, "sums")),
        ('```json\n{"score": 0, "reason": "two\nlines"}\n```', Verdict(0, "two\nlines")),
        ('{"score": "4"}', Verdict(4, "")),
        ('{"score": 4.0, "reason": 7}', Verdict(4, "")),
        ('{"score": 4.5}', None),
        ('{"score": true}', None),
        ('{"score": 1e999}', None),
        ('{"score": 9}', None),
        ('{"reason": "cut o', None),
        ("[" * 100_000, None),
        ("{" + "[" * 100_000 + "}", None),
        ('[{"score": 1}, {"score": 2}]', None),
        ("3", None),
    ],
)
def test_an_object_with_a_score(answer: str, verdict: Verdict | None) -> None:
    assert EDU.verdict(answer, "json") == verdict


@given(st.text() | st.from_regex(r"(?i)score.{0,5}[0-9./-]{1,5}.{0,5}"), st.sampled_from(["line", "json"]))
def test_whatever_is_answered_the_score_is_in_range_or_there_is_none(answer: str, form: Any) -> None:
    found = EDU.verdict(answer, form)
    assert found is None or (0 <= found.score <= 5 and re.search(rf"{found.score}", answer))


@given(st.lists(st.lists(st.sampled_from([None, 0, 1, 2, 3, 4, 5]), min_size=5, max_size=5), max_size=20))
def test_the_majority_of_valid_votes_decides_else_their_mean(rows: list[list[int | None]]) -> None:
    votes = np.array([[INVALID if v is None else v for v in row] for row in rows], np.int16).reshape(-1, 5)
    for row, found in zip(rows, scores(votes).tolist(), strict=True):
        valid = [v for v in row if v is not None]
        if not valid:
            assert np.isnan(found)
            continue
        value, times = Counter(valid).most_common(1)[0]
        wanted = value if times > len(valid) / 2 else sum(valid) / len(valid)
        assert found == pytest.approx(wanted, abs=1e-6)


def test_a_document_has_the_votes_of_its_samples_and_a_reason_for_its_score(tmp_path: Path) -> None:
    said = {1: "poor Score: 1", 2: "fair Score: 4", 3: "fine Score: 4", 4: "well, well"}

    def answer(request: dict[str, Any], number: int) -> str:
        return said[request["seed"]] if "lesson" in request["messages"][0]["content"] else "Score: 0"

    with LlmServer(answer) as server:
        found = lists(judge(server, tmp_path, samples=4), ["a lesson", " \n", "", "buy it"])
        assert len(server.requests) == 8
    assert found == {
        "score": [4.0, None, None, 0.0],
        "votes": [[1, 4, 4, None], [], [], [0] * 4],
        "invalid_count": [1, 0, 0, 0],
        "reason": ["fair", None, None, ""],
        "truncated": [False] * 4,
    }


def test_the_prompt_shows_the_rubric_the_text_and_the_form(tmp_path: Path) -> None:
    with LlmServer(['{"score": 2}']) as server:
        step = judge(server, tmp_path, answer="json", reason=False, max_characters=6, temperature=0)
        assert lists(step, ["äöü {text} und mehr"])["truncated"] == [True]
    (request,) = server.requests
    prompt = request["messages"][0]["content"]
    assert prompt.startswith(EDU.criteria.strip())
    assert "<text>\näöü {t\n</text>" in prompt
    assert prompt.rstrip().endswith('{"score": <whole number from 0 to 5>}')
    schema = request["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["score"]
    assert schema["properties"]["score"]["enum"] == [0, 1, 2, 3, 4, 5]


def test_a_rubric_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("about: toxicity\nminimum: -2\nmaximum: 2\ncriteria: |\n  How rude is it?\n")
    with LlmServer(["Score: -2"]) as server:
        assert lists(judge(server, tmp_path, rubric=str(file)), ["x"])["score"] == [-2.0]
    assert server.requests[0]["messages"][0]["content"].startswith("How rude is it?\n")


def test_rubrics_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=r"C207.*'edd'"):
        rubric_path("edd")
    with pytest.raises(CurateError, match=r"C207.*gone.yaml"):
        rubric_path(str(tmp_path / "gone.yaml"))
    file = tmp_path / "bad.yaml"
    for text, why in [
        ("a: [", "flow"),
        ("about: x\n", "minimum"),
        ("about: x\nminimum: 0\nmaximum: 0\ncriteria: y\n", "not above"),
        ("about: x\nminimum: 0\nmaximum: many\ncriteria: y\n", "maximum"),
        ("- 1\n", "the file"),
    ]:
        file.write_text(text)
        with pytest.raises(CurateError, match="E507") as caught:
            read_rubric(file)
        assert why in str(caught.value)


def test_too_many_invalid_answers_stop_the_run_and_show_one(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(40)]
    with LlmServer(lambda _, n: "Score: 1" if n % 4 else "who knows?") as server:
        step = judge(server, tmp_path, max_invalid_frac=0.3)
        assert lists(step, texts)["score"].count(None) == 10
        assert step.finish()["invalid"] == 10
        with pytest.raises(
            CurateError, match=r"R313: \d+ of \d+ answers of m .* 0.02; the last was: who knows\?"
        ):
            judge(server, tmp_path / "b", max_invalid_frac=0.02).annotate(batch_of(texts))
    with (
        LlmServer([Reply("endless", finish="length")]) as server,
        pytest.raises(CurateError, match="cut off"),
    ):
        judge(server, tmp_path / "c").annotate(batch_of(texts))
    refusing = LlmServer([Reply(status=400, body=b"no json_schema here")])
    with refusing as server, pytest.raises(CurateError, match="refused: 400: no json_schema here"):
        judge(server, tmp_path / "d").annotate(batch_of(texts))


def test_what_was_answered_before_the_server_died_is_not_asked_again(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(10)]
    dies = lambda _, n: "Score: 1" if n < 6 else Reply(status=500, body=b"gone")  # noqa: E731
    with LlmServer(dies) as server, pytest.raises(CurateError, match=r"E530.*500: gone"):
        judge(server, tmp_path, how={"concurrency": 1}).annotate(batch_of(texts))
    with LlmServer(["Score: 1"]) as server:
        step = judge(server, tmp_path)
        assert lists(step, texts)["score"] == [1.0] * 10
        assert len(server.requests) == 4
    counts = step.finish()
    assert (counts["answers"], counts["cached"], counts["requests"]) == (4, 6, 4)
    with LlmServer(["Score: 5"]) as server:
        other = judge(server, tmp_path, model="another")
        assert lists(other, texts)["score"] == [5.0] * 10


def test_one_bad_answer_counts_once_however_often_it_is_met(tmp_path: Path) -> None:
    """In a thousand copies of a text, and batch after batch from the cache; a rerun meets the limit where the run did."""
    said = lambda request, _: "no" if "bad" in request["messages"][0]["content"] else "Score: 1"  # noqa: E731
    with LlmServer(said) as server:
        step = judge(server, tmp_path, max_invalid_frac=0.3)
        for _ in range(20):
            assert lists(step, ["bad"] * 50 + ["a", "b", "c"])["score"] == [None] * 50 + [1.0] * 3
        assert (step._share.invalid, step._share.answered) == (1, 4)
        assert step.finish()["invalid"] == 1000
        for _ in range(2):
            many = judge(server, tmp_path, max_invalid_frac=0.3)
            for _ in range(2):  # a unit that is tried again in the process stops again
                with pytest.raises(CurateError, match="R313"):
                    many.annotate(batch_of([f"bad {n}" for n in range(40)]))


def test_a_key_is_not_in_the_error_of_too_many_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_FOR_TEST", "sesame")
    for reply in (Reply(status=400, body=b"no model for the key sesame"), "I am asked by sesame"):
        with LlmServer([reply]) as server:
            step = judge(server, tmp_path, max_invalid_frac=0, how={"api_key_env": "KEY_FOR_TEST"})
            with pytest.raises(CurateError, match=r"R313.*\*\*\*") as caught:
                step.annotate(batch_of(["x"]))
        assert "sesame" not in str(caught.value)


def test_half_a_character_in_an_answer_ends_nothing(tmp_path: Path) -> None:
    for form, answer in (("json", r'{"reason": "so \ud83d", "score": 3}'), ("line", "so \ud83d\nScore: 3")):
        with LlmServer([answer]) as server:
            found = lists(judge(server, tmp_path / form, answer=form), ["x"])
        assert (found["score"], found["reason"]) == ([3.0], ["so \ufffd"])
    with LlmServer(["what \ud83d"]) as server, pytest.raises(CurateError, match="was: what \ufffd"):
        judge(server, tmp_path / "none", max_invalid_frac=0).annotate(batch_of(["x"]))


def test_a_missing_key_is_found_before_work_starts(tmp_path: Path) -> None:
    options = {"model": "m", "server": {"base_url": "http://127.0.0.1:1", "api_key_env": "NOT_SET_AT_ALL"}}
    step = LlmJudge(LlmJudgeConfig.model_validate(json.loads(json.dumps(options))))
    with pytest.raises(CurateError, match="C109"):
        step.artifacts(Context(models=models_folder(), scratch=tmp_path))
