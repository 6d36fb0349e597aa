"""How a run is divided into passes shows in no answer; and what can be told while the second one is at work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from commands.conftest import DOCUMENTS
from commands.run_folders import split_run
from curate.core.errors import CurateError
from curate.views.documents import Documents
from curate.views.explain import explain
from curate.views.inspection import Wanted, sample
from curate.views.report import build_report
from curate.views.run_state import read_run

_IDS = sorted({id for id, _ in DOCUMENTS} | {"broken", "cut", "mojibake", "line/0", "line/1", "exempt"})


@pytest.fixture(scope="module")
def one(workdir: Path) -> Path:
    return workdir / "runs" / "tiny"


@pytest.fixture(scope="module")
def two(one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return split_run(one, tmp_path_factory.mktemp("two") / "tiny")


@pytest.fixture(scope="module")
def half(one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second pass has not seen b.jsonl."""
    return split_run(one, tmp_path_factory.mktemp("half") / "tiny", second=(0,))


def test_reports_are_equal(one: Path, two: Path) -> None:
    first, second = build_report(one), build_report(two)
    assert [p["name"] for p in second["phases"]][:3] == ["ingest", "pass1", "pass2"]
    for report in (first, second):
        del report["phases"]
        report["quarantine"].pop("path")
    assert first == second


@pytest.mark.parametrize("id", _IDS)
def test_lives_are_equal(one: Path, two: Path, id: str) -> None:
    assert explain(one, id) == explain(two, id)


@pytest.mark.parametrize("step", [None, "read", "lid", "select", "gopher"])
@pytest.mark.parametrize("fate", [None, "kept", "dropped", "quarantined"])
def test_samples_are_equal(one: Path, two: Path, fate: str | None, step: str | None) -> None:
    wanted = Wanted(fate, step)  # type: ignore[arg-type]
    assert sample(Documents(read_run(one)), wanted, 4, 1) == sample(Documents(read_run(two)), wanted, 4, 1)


def test_a_rewritten_text_is_shown_as_it_left_the_run(one: Path, tmp_path: Path) -> None:
    root = split_run(one, tmp_path / "tiny", rewritten={3: "something else"})
    [life] = explain(root, "english/3")
    assert (life["text"], life["rewritten"]) == ("something else", True)
    assert not explain(root, "english/4")[0]["rewritten"]


def test_the_report_of_a_run_at_work_balances(half: Path) -> None:
    report = build_report(half)
    assert (report["state"], report["balanced"]) == ("pending", True)
    assert [s["rows_in"] for s in report["steps"]] == [25, 20, 20, 16]
    assert (report["rows_in"], report["rows_kept"]) == (25, 14)
    assert sum(v["rows_in"] for v in report["languages"].values()) == 25
    assert sum(v["bytes_in"] for v in report["languages"].values()) == report["bytes_in"]


def test_a_document_that_the_second_pass_has_not_seen(half: Path) -> None:
    [life] = explain(half, "line/0")
    assert (life["state"], life["published"]) == ("unfinished", [])
    assert [s["verdict"] for s in life["steps"]] == ["kept", "kept", "kept", "pending"]
    assert life["steps"][3]["values"] == {}
    assert explain(half, "english/0")[0]["state"] == "kept"


def test_samples_of_a_run_at_work(half: Path) -> None:
    documents = Documents(read_run(half))
    found = {
        fate: sample(documents, Wanted(fate), 99, 0).found
        for fate in (None, "kept", "dropped", "quarantined")
    }
    assert found == {None: 25, "kept": 14, "dropped": 5, "quarantined": 3}
    assert sample(documents, Wanted(step="gopher"), 99, 0).found == 16
    assert sample(documents, Wanted("kept", "select"), 99, 0).found == 19


def test_nothing_but_the_ingest_is_done(one: Path, tmp_path: Path) -> None:
    root = shutil.copytree(one, tmp_path / "tiny")
    shutil.rmtree(root / "done" / "pass1")
    [life] = explain(root, "line/0")
    assert [s["verdict"] for s in life["steps"]] == ["pending"] * 4
    assert life["text"]
    report = build_report(root)
    assert (report["balanced"], report["rows_in"], report["quarantine"]["rows"]) == (True, 2, 2)


def test_nothing_is_done(one: Path, tmp_path: Path) -> None:
    root = shutil.copytree(one, tmp_path / "tiny")
    shutil.rmtree(root / "done")
    assert [s["verdict"] for s in explain(root, "english/0")[0]["steps"]] == ["pending"] * 4
    with pytest.raises(CurateError) as caught:
        explain(root, "line/0")
    assert "1 shards have not been ingested yet" in caught.value.problems[0].help
    assert sample(Documents(read_run(root)), Wanted(), 9, 0).found == 0
    report = build_report(root)
    assert (report["balanced"], report["rows_in"]) == (True, 0)
