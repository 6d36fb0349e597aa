"""`filters.llm_judge` against a real llama.cpp server and a real model: form, cache, resume. What the model thinks is not
looked at: it has 135 million parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.core.errors import CurateError
from curate.core.models import models_folder
from curate.core.stage import Context
from filters.llm_judge import LlmJudge, LlmJudgeConfig
from tests.filters.rule_cases import batch_of
from tests.llama import llama_server

TEXTS = [
    "Plants make sugar from light, air and water.",
    "Buy shoes now!",
    "دو دو تا چهار تا",
    "Drei mal drei ist neun.",
]


def judge(url: str, folder: Path, **options: Any) -> LlmJudge:
    rubric = folder / "short.yaml"
    rubric.write_text("about: use\nminimum: 0\nmaximum: 5\ncriteria: How useful is the text at school?\n")
    server = {"base_url": url, "id": "llama", "retries": 1, "backoff": 0.01, "concurrency": 2}
    given = {"model": "smollm2", "rubric": str(rubric), "max_tokens": 32, "reason": False, "server": server}
    step = LlmJudge(LlmJudgeConfig.model_validate({**given, **options}))
    step.open(Context(models=models_folder(), scratch=folder, cache=folder / "cache"))
    return step


def annotate(step: LlmJudge, texts: list[str]) -> dict[str, pa.Array]:
    return dict(step.annotate(batch_of(texts)))


@pytest.mark.slow
def test_a_real_server_judges_and_is_asked_nothing_twice(tmp_path: Path) -> None:
    held = {"answer": "json", "samples": 2}
    with llama_server() as url:
        step = judge(url, tmp_path, **held)
        found = annotate(step, TEXTS[:2])
        counts = step.finish()
        assert (counts["requests"], counts["answers"]) == (4, 4)
        assert counts["prompt_tokens"] > 200
        assert 4 * 3 < counts["completion_tokens"] <= 4 * 32
        free = judge(url, tmp_path, max_invalid_frac=1)
        votes = annotate(free, TEXTS[:1])["votes"].to_pylist()
        assert free.finish()["answers"] == 1
    # The server is gone: what it has answered is there, the rest is not.
    again = annotate(judge(url, tmp_path, **held), TEXTS[:2])
    assert all(again[name].equals(column) for name, column in found.items())
    with pytest.raises(CurateError, match=rf"E530: the server {url} gave no answer in 2 tries: ConnectError"):
        annotate(judge(url, tmp_path, **held), TEXTS)
    with llama_server() as url:
        step = judge(url, tmp_path, **held)
        whole = annotate(step, TEXTS)
        counts = step.finish()
        assert (counts["cached"], counts["answers"]) == (4, 4)
    assert whole["votes"].to_pylist()[:2] == found["votes"].to_pylist()
    # The server holds the model to the form: what is no score was cut off, amid blanks that JSON allows.
    assert sum(whole["invalid_count"].to_pylist()) == counts.get("cut_off", 0) <= 2
    every = [vote for row in whole["votes"].to_pylist() + votes for vote in row if vote is not None]
    assert set(every) <= set(range(6))
    assert len(every) >= 6
