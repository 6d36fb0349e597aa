"""`curate annotate`: what is drawn is judged once, the labels are shown and published, and the loop to a head closes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from curate.cli import cli
from curate.core.errors import CurateError
from curate.core.llm.answers import request_key
from curate.kernels import fill
from tests.llm_server import LlmServer, Reply

CONFIG = """
name: labels
language: lang
input: {{path: {folder}/in/*.parquet}}
steps:
  - {{use: filters.draw, n: 20, seed: 3}}
  - use: filters.llm_judge
    as: one
    model: first
    server: {{base_url: $JUDGE_FOR_TEST, retries: 0, prompt_price: 1, completion_price: 2}}
    samples: 3
  - {{use: filters.llm_judge, as: two, model: second, server: {{base_url: $JUDGE_FOR_TEST, retries: 0}}, samples: 2}}
publish: [{{name: labels, path: {folder}/out, columns: [id, text, lang, one__score, one__votes, two__score]}}]
run_dir: {folder}/run
execution: {{workers: 1}}
"""


def opinion(request: dict[str, Any], number: int) -> str:
    """Longer texts are better; the second model likes everything a little more, and its seeds do not agree."""
    length = int(re.search(r"number (\d+)", request["messages"][0]["content"])[1]) % 5  # type: ignore[index]
    return f"because\nScore: {length if request['model'] == 'first' else length + request['seed'] % 2}"


def config(folder: Path) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    rows = [
        {
            "id": f"d{n}",
            "text": f"text number {n} " + "word " * (n % 5),
            "lang": "deu_Latn" if n % 4 else "eng_Latn",
        }
        for n in range(100)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in" / "a.parquet")
    path = folder / "annotate.yaml"
    path.write_text(CONFIG.format(folder=folder))
    return path


def annotate(path: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["annotate", str(path), *more], catch_exceptions=False)


def test_a_run_that_died_goes_on_and_its_labels_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[dict[str, Any]] = []

    def dies(request: dict[str, Any], number: int) -> str | Reply:
        if number >= 50:
            return Reply(status=503, body=b"bye")
        answered.append(request)
        return opinion(request, number)

    with LlmServer(dies) as server:
        monkeypatch.setenv("JUDGE_FOR_TEST", server.url)
        died = CliRunner().invoke(cli, ["annotate", str(config(tmp_path))])
    assert isinstance(died.exception, CurateError)
    assert re.search("E530.*503: bye", str(died.exception))
    kept = {
        json.loads(line)["key"]
        for path in (tmp_path / "run/cache/answers").iterdir()
        for line in path.read_bytes().split(b"\n")[:-1]
    }
    assert len(answered) == 50
    assert kept == {request_key(request, "$JUDGE_FOR_TEST") for request in answered}, (
        "each answer is kept as it comes, those too that were on their way when another request failed"
    )
    with LlmServer(opinion) as server:
        monkeypatch.setenv("JUDGE_FOR_TEST", server.url)
        done = annotate(config(tmp_path))
        assert done.exit_code == 0
        again = [request_key(request, "$JUDGE_FOR_TEST") for request in server.requests]
    assert not set(again) & kept, "what was kept is not asked again"
    assert len(again) == len(set(again)) == 40 * 5 - len(kept), "and the rest once"
    shown = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "labels of one documents 0 1 2 3 4 between none mean" in shown
    assert any(re.fullmatch(r"eng_Latn 20( \d+){5} 0 0 \d.\d\d", line) for line in shown)
    assert any(line.startswith("one and two say the same of 0.0% of 40 documents") for line in shown)
    table = pq.read_table(next((tmp_path / "out").glob("*.parquet")))
    assert table.num_rows == 40
    for row in table.to_pylist():
        length = int(row["id"][1:]) % 5
        assert (row["one__score"], row["one__votes"]) == (length, [length] * 3)
        assert row["two__score"] == length + 0.5
    with LlmServer(
        opinion
    ) as server:  # nor is anything asked to compile kernels, which a fresh machine does first
        monkeypatch.setenv("JUDGE_FOR_TEST", server.url)
        fill(tmp_path / "run")
        assert not server.requests
    report = CliRunner().invoke(cli, ["report", str(tmp_path / "run"), "--json"], catch_exceptions=False)
    counts = json.loads(report.output)["jobs"]["one"]
    assert counts["cached"] + counts["answers"] == 120
    assert counts["cost_millionths"] == counts["prompt_tokens"] + 2 * counts["completion_tokens"]

    compared = CliRunner().invoke(
        cli, ["evaluate", str(tmp_path / "out"), "--language", "lang", "--json"], catch_exceptions=False
    )
    raters = json.loads(compared.output)["raters"]
    assert raters["two__score"]["spearman"] == 1.0
    assert raters["two__score"]["calibration"]["error"] == pytest.approx(0.5)


def test_addresses_and_ceilings_change_no_fingerprint(tmp_path: Path) -> None:
    from tests.runtime.project import Project

    project = Project(tmp_path / "p")
    judge = {"use": "filters.llm_judge", "as": "judge", "model": "m", "server": {"base_url": "http://a/v1"}}
    project.config["steps"].append(judge)
    before = project.fingerprints()
    given = [
        "steps.judge.server.base_url=http://b",
        "steps.judge.server.concurrency=3",
        "steps.judge.cache=x",
    ]
    assert project.fingerprints(*given, "steps.judge.max_invalid_frac=0.5") == before
    assert project.fingerprints("steps.judge.temperature=0") != before


def test_a_config_without_a_judge_or_output_is_no_annotation(tmp_path: Path) -> None:
    path = config(tmp_path)
    text = path.read_text()
    path.write_text(
        text.replace("filters.llm_judge", "filters.length").split("steps:")[0]
        + "publish: [{name: a, path: b}]\n"
    )
    assert "has no step filters.llm_judge" in annotate(path).output
    path.write_text(text.split("publish:")[0])
    assert "has no `publish:`" in annotate(path).output
