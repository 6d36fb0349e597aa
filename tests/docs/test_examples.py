"""What the documentation shows is what happens."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.snippets import PAGES, ROOT, Snippet, snippets, the

RUNNABLE = [s for page in PAGES for s in snippets(page) if s.info.endswith(" run")]


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with configs and sample, where the main job has run; one for all workers of a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "docs-work"
    with (folder.parent / "docs-work.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.copytree(ROOT / "configs", folder / "configs")
            shutil.copytree(ROOT / "data" / "sample", folder / "data" / "sample")
            call(folder, sys.executable, "-m", "curate", "run", "configs/web.yaml")
    return folder


def call(folder: Path, *command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment's programs first on the path; it must end with `status`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def words(text: str) -> Iterator[str]:
    """Lines with single spaces, without blank ones."""
    return (line for line in (" ".join(line.split()) for line in text.splitlines()) if line)


@pytest.mark.parametrize("snippet", RUNNABLE, ids=str)
def test_a_runnable_example_runs(snippet: Snippet, work: Path) -> None:
    program = ["bash", "-euo", "pipefail", "-c"] if snippet.info == "sh run" else [sys.executable, "-c"]
    assert call(work, *program, snippet.text).stdout


def test_there_are_runnable_examples_where_a_user_looks_first() -> None:
    assert {s.page.name for s in RUNNABLE} >= {"README.md", "publish.md", "run-folder.md", "ledger.md"}


def test_the_readme_shows_the_report_of_the_main_job(work: Path) -> None:
    shown = list(words(call(work, "curate", "report", "web", "--all").stdout))
    wanted = [line for line in words(the("text report", "README.md").text) if line != "…"]
    missing = [line for line in wanted if not any(alike(line, other) for other in shown)]
    assert not missing, "paste the lines from `curate report web` into README.md"


def alike(line: str, other: str) -> bool:
    """Equal words; numbers may differ a little, as a score at a threshold does from CPU to CPU."""
    pairs = list(zip(line.split(), other.split(), strict=False))
    return len(line.split()) == len(other.split()) and all(a == b or close(a, b) for a, b in pairs)


def close(a: str, b: str) -> bool:
    try:
        first, second = (float(word.strip("(,;").replace(",", "")) for word in (a, b))
    except ValueError:
        return False
    return math.isclose(first, second, rel_tol=0.02, abs_tol=2)


def test_the_readme_shows_the_config_of_the_main_job(tmp_path: Path) -> None:
    from curate.config.load import load

    file = tmp_path / "web.yaml"
    file.write_text(the("yaml config", "README.md").text, encoding="utf-8")
    assert load(file).config == load(ROOT / "configs" / "web.yaml").config


def test_the_readme_shows_a_mistake_as_curate_does(work: Path) -> None:
    text = the("yaml config", "README.md").text
    (work / "web.yaml").write_text(text.replace("min_words: 50", "min_word: 50"), encoding="utf-8")
    said = call(work, "curate", "check", "web.yaml", status=2).stderr
    assert said.rstrip() == the("text error", "README.md").text.rstrip()


def test_the_readme_and_ci_run_the_same_tests() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in readme.splitlines() if line.endswith("pytest -n 2")]
    *_, install, test = line.split(" && ")
    assert install.replace("pip install", "pip install -q") in ci
    assert test in ci


@pytest.mark.slow
def test_the_example_filter_passes_the_conformance_suite_and_runs(tmp_path: Path) -> None:
    for name in ("curate", "filters", "lid", "dedup", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    example = the("python filters/few_lines.py", "CONTRIBUTING.md")
    (tmp_path / "filters" / "few_lines.py").write_text(example.text, encoding="utf-8")
    suite = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "tests/conformance",
        "-k",
        "few_lines",
    )
    assert " passed" in call(tmp_path, sys.executable, *suite).stdout

    (tmp_path / "in.jsonl").write_text('{"text": "one line"}\n{"text": "1\\n2\\n3"}\n', encoding="utf-8")
    (tmp_path / "few.yaml").write_text(
        "input: {path: in.jsonl}\nsteps: [{use: filters.few_lines}]\npublish: [{name: all, path: out}]\n",
        encoding="utf-8",
    )
    table = list(words(call(tmp_path, sys.executable, "-m", "curate", "run", "few.yaml").stdout))
    assert "few_lines 2 1 1 50.0 %" in table
