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
    server: {{base_url: {url}, retries: 0, concurrency: 1, prompt_price: 1, completion_price: 2}}
    samples: 3
  - {{use: filters.llm_judge, as: two, model: second, server: {{base_url: {url}, retries: 0, concurrency: 1}}, samples: 2}}
publish: [{{name: labels, path: {folder}/out, columns: [id, text, lang, one__score, one__votes, two__score]}}]
run_dir: {folder}/run
execution: {{workers: 1}}
"""


def opinion(request: dict[str, Any], number: int) -> str:
    """Longer texts are better; the second model likes everything a little more, and its seeds do not agree."""
    length = int(re.search(r"number (\d+)", request["messages"][0]["content"])[1]) % 5  # type: ignore[index]
    return f"because\nScore: {length if request['model'] == 'first' else length + request['seed'] % 2}"


def config(folder: Path, url: str) -> Path:
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
    path.write_text(CONFIG.format(folder=folder, url=url))
    return path


def annotate(path: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["annotate", str(path), *more], catch_exceptions=False)


def test_a_run_that_died_goes_on_and_its_labels_are_shown(tmp_path: Path) -> None:
    dies = lambda request, n: opinion(request, n) if n < 50 else Reply(status=503, body=b"bye")  # noqa: E731
    with LlmServer(dies) as server, pytest.raises(CurateError, match=r"E530.*503: bye"):
        annotate(config(tmp_path, server.url))
    with LlmServer(opinion) as server:
        done = annotate(config(tmp_path, server.url))
        assert done.exit_code == 0
        asked = len(server.requests)
        # What was answered is not asked again; a worker that the system kills loses the answer it waits for.
        assert 0 <= asked - (40 * 5 - 50) <= 2
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
    path = config(tmp_path, "http://127.0.0.1:1")
    text = path.read_text()
    path.write_text(
        text.replace("filters.llm_judge", "filters.length").split("steps:")[0]
        + "publish: [{name: a, path: b}]\n"
    )
    assert "has no step filters.llm_judge" in annotate(path).output
    path.write_text(text.split("publish:")[0])
    assert "has no `publish:`" in annotate(path).output
