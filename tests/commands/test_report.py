"""`curate report`: numbers against an independent reading of the inputs, overlays and outputs; unfinished runs."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from rich.console import Console

from commands.conftest import DOCUMENTS
from commands.run_folders import Shard, make_run
from curate.core.errors import CurateError
from curate.views.report import build_report
from curate.views.report_view import render, share, size
from curate.views.status import count_warnings

Invoke = Callable[..., Result]

_KEYS = {
    "name", "state", "balanced", "rows_in", "rows_kept", "bytes_in", "bytes_kept", "steps", "languages", "outputs",
    "quarantine", "phases", "jobs", "encoders", "failure", "warnings",
}  # fmt: skip
_TALLY = {
    "rows_in",
    "rows_kept",
    "rows_dropped",
    "rows_quarantined",
    "bytes_in",
    "bytes_kept",
    "dropped",
    "reasons",
}


@pytest.fixture
def report(workdir: Path) -> dict:
    return build_report(workdir / "runs" / "tiny")


def test_says_exactly_what_it_promises(report: dict) -> None:
    assert report.keys() == _KEYS
    for step in report["steps"]:
        assert step.keys() == {"step", "use", "title", "when", "by_language", *_TALLY}
        assert all(tally.keys() == _TALLY for tally in step["by_language"].values())
    shape = {"name", "path", "rows", "files", "bytes", "complete", "partitions", "unit", "passages"}
    assert report["outputs"][0].keys() == shape
    assert report["phases"][0].keys() == {"name", "kind", "units", "done", "rows", "bytes"}


def test_counts_every_record_of_the_inputs(report: dict) -> None:
    assert (report["state"], report["balanced"], report["failure"]) == ("done", True, None)
    assert report["rows_in"] == len(DOCUMENTS) + 1 + 5  # the text that is not UTF-8, and b.jsonl
    read = report["steps"][0]
    assert (read["step"], read["rows_quarantined"], read["dropped"]) == ("read", 3, {"no_text": 2})
    assert read["by_language"]["und"]["rows_quarantined"] == 3
    assert report["quarantine"]["rows"] == 3
    assert report["quarantine"]["files"] == {"b.jsonl": 2, "a.parquet": 1}
    assert Path(report["quarantine"]["path"]).is_dir()


def test_steps_chain_and_balance(report: dict) -> None:
    steps = report["steps"]
    assert [s["step"] for s in steps] == ["read", "lid", "select", "gopher"]
    assert steps[0]["rows_in"] == report["rows_in"]
    assert steps[-1]["rows_kept"] == report["rows_kept"]
    for before, after in itertools.pairwise(steps):
        assert after["rows_in"] == before["rows_kept"]
    for step in steps:
        for tally in (step, *step["by_language"].values()):
            assert tally["rows_in"] == tally["rows_kept"] + tally["rows_dropped"] + tally["rows_quarantined"]
            assert tally["rows_dropped"] == sum(tally["dropped"].values())
        assert step["rows_in"] == sum(t["rows_in"] for t in step["by_language"].values())
    assert steps[2]["dropped"] == {"false": 1}
    assert steps[3]["reasons"]["gopher_short_doc"] == 2


def test_outputs_and_languages_match_the_files_themselves(report: dict) -> None:
    both, english = report["outputs"]
    frame = pl.read_parquet(f"{both['path']}/*/*.parquet", columns=["lid__lang", "text"])
    counted = dict(frame["lid__lang"].value_counts().iter_rows())
    assert {value: p["rows"] for value, p in both["partitions"].items()} == counted
    assert {k: v["rows_kept"] for k, v in report["languages"].items() if v["rows_kept"]} == counted
    assert report["bytes_kept"] == frame["text"].str.len_bytes().sum()
    assert both["rows"] == report["rows_kept"] == frame.height
    on_disk = [p.stat().st_size for p in Path(both["path"]).rglob("*.parquet")]
    assert (both["files"], both["bytes"], both["complete"]) == (len(on_disk), sum(on_disk), True)
    assert (english["rows"], english["partitions"]) == (counted["eng_Latn"], {})


def test_languages_of_the_run_add_up_to_the_whole(report: dict) -> None:
    for key in ("rows_in", "rows_kept", "bytes_in", "bytes_kept"):
        assert sum(numbers[key] for numbers in report["languages"].values()) == report[key]


def test_an_output_that_lost_a_file_is_not_complete(workdir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workdir / "runs" / "tiny", tmp_path / "tiny")
    moved = shutil.copytree(workdir / "out", tmp_path / "out")
    for record in (copy / "plan.json", *(copy / "published").iterdir()):
        text = record.read_text(encoding="utf-8")
        record.write_text(text.replace(str(workdir / "out"), str(moved)), encoding="utf-8")
    assert build_report(copy)["outputs"][1]["complete"]
    next((moved / "english").glob("*.parquet")).unlink()
    report = build_report(copy)
    assert [o["complete"] for o in report["outputs"]] == [True, False]
    assert report["state"] == "pending"


def test_json_is_the_report(curate: Invoke, report: dict) -> None:
    assert json.loads(curate("report", "tiny", "--json").output) == report


def test_table_shows_steps_reasons_languages_and_what_to_type_next(curate: Invoke) -> None:
    text = curate("report", "tiny").output
    assert "25 documents in, 17 kept (68.0 %)" in text
    for part in (
        "gopher_short_doc",
        "no_text",
        "deu_Latn",
        "quarantine: 3 records",
        "2 of b.jsonl",
        "out/english",
    ):
        assert part in text
    assert "curate inspect tiny --dropped" in text
    assert "curate explain tiny ID" in text
    assert "\x1b" not in text


def test_the_end_of_a_run_shows_the_same_table(workdir: Path, curate: Invoke) -> None:
    shown = (workdir / "run.stdout").read_text(encoding="utf-8")
    for line in ("25 documents in, 17 kept (68.0 %)", "the books balance", "curate inspect"):
        assert line in shown


def test_long_lists_are_cut_unless_all_is_asked_for(tmp_path: Path) -> None:
    languages = {f"l{n:02d}": (1, 1) for n in range(30)}
    reasons = {f"rule_{n}": 9 - n for n in range(9)}
    root = make_run(tmp_path, [[Shard(languages, dropped=reasons)]])
    short, long = _rendered(root, 100), _rendered(root, 100, everything=True)
    assert "10 more with --all" in short
    assert "4 more reasons with --all" in short
    assert "rule_0" in short
    assert "rule_8" not in short
    assert "rule_8" in long
    assert "l29" in long
    assert "--all" not in long


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_numbers_are_whole_in_any_terminal(tmp_path: Path, width: int) -> None:
    root = make_run(
        tmp_path, [[Shard({"deu_Latn": (1_234_567, 1_234_000)}, dropped={"a_rule_with_a_name": 567})]]
    )
    text = _rendered(root, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "1,234,567" in text
    assert "1,234,000" in text
    assert "…" not in text


def _rendered(root: Path, width: int, *, everything: bool = False) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        render(build_report(root), console, run="r", everything=everything)
    return capture.get()


def test_two_passes_of_which_the_second_is_half_done(tmp_path: Path) -> None:
    root = make_run(
        tmp_path,
        [
            [Shard({"und": (10, 9)}, dropped={"rule": 1}), Shard({"und": (20, 20)})],
            [Shard({"deu_Latn": (5, 4), "fra_Latn": (4, 4)}, dropped={"bad": 1}), None],
        ],
    )
    report = build_report(root)
    assert (report["state"], report["balanced"]) == ("pending", True)
    assert (report["rows_in"], report["rows_kept"]) == (30, 8)
    assert [(p["units"], p["done"]) for p in report["phases"]] == [(2, 2), (2, 1)]
    # Of 30 rows one was dropped before its language was known, and 20 have not been identified yet.
    assert {k: v["rows_in"] for k, v in report["languages"].items()} == {
        "und": 21,
        "deu_Latn": 5,
        "fra_Latn": 4,
    }
    assert {k: v["rows_kept"] for k, v in report["languages"].items()} == {
        "und": 0,
        "deu_Latn": 4,
        "fra_Latn": 4,
    }


@pytest.mark.parametrize("compacted", [False, True])
def test_merged_counters_give_the_same_numbers(tmp_path: Path, compacted: bool) -> None:
    shards: list[Shard | None] = [
        Shard({"deu_Latn": (5, 4)}, dropped={"rule": 1}),
        Shard({"deu_Latn": (7, 7)}),
    ]
    report = build_report(make_run(tmp_path, [shards], compacted=compacted))
    assert report["state"] == "done"
    assert report["steps"][1]["by_language"]["deu_Latn"]["rows_in"] == 12
    assert report["steps"][1]["dropped"] == {"rule": 1}


def test_lost_rows_unbalance_the_books(tmp_path: Path) -> None:
    within = make_run(tmp_path / "within", [[Shard({"deu_Latn": (5, 4)})]])
    between = make_run(tmp_path / "between", [[Shard({"deu_Latn": (5, 5)})], [Shard({"deu_Latn": (4, 4)})]])
    reading = make_run(tmp_path / "reading", [[Shard({"deu_Latn": (5, 5)}, held=6)]])
    for root in (within, between, reading):
        assert not build_report(root)["balanced"]
        assert "DO NOT BALANCE" in _rendered(root, 80)


def test_a_run_without_a_single_finished_unit(tmp_path: Path) -> None:
    report = build_report(make_run(tmp_path, [[None, None]]))
    assert (report["state"], report["balanced"], report["rows_in"], report["rows_kept"]) == (
        "pending",
        True,
        0,
        0,
    )
    assert report["languages"] == {}
    assert "0 documents in" in _rendered(tmp_path, 80)


def test_config_file_and_folder_mean_the_run_too(curate: Invoke, workdir: Path) -> None:
    shown = [curate("report", run, "--json").output for run in ("tiny", "tiny.yaml", "runs/tiny")]
    assert len(set(shown)) == 1


@pytest.mark.parametrize(
    ("run", "help"),
    [("tinny", "did you mean 'tiny'?"), ("docs", "runs here are tiny"), ("zzz", "runs here are tiny")],
)
def test_a_run_that_is_not_there(curate: Invoke, run: str, help: str) -> None:
    with pytest.raises(CurateError) as caught:
        curate("report", run)
    assert caught.value.problems[0].code == "R307"
    assert help in caught.value.problems[0].help


def test_a_config_that_was_not_run(curate: Invoke, tmp_path: Path, workdir: Path) -> None:
    config = tmp_path / "other.yaml"
    config.write_text(
        (workdir / "tiny.yaml").read_text(encoding="utf-8").replace("tiny", "other"), encoding="utf-8"
    )
    with pytest.raises(CurateError, match="has not been run"):
        curate("report", str(config))


def test_shares_and_sizes() -> None:
    assert [share(0, 0), share(0, 9), share(1, 9_999), share(1, 3)] == ["-", "0.0 %", "<0.1 %", "33.3 %"]
    assert [size(0), size(999), size(1_000), size(45_200_000), size(3e15)] == [
        "0 B", "999 B", "1.0 KB", "45.2 MB", "3000.0 TB",
    ]  # fmt: skip


def test_embeddings_that_could_not_be_kept_are_warned_of() -> None:
    counts = {"edu": {"encoded": 5, "not_cached": 5}, "again": {"reused": 5}}
    (warning,) = count_warnings(counts)
    assert (warning["kind"], warning["step"]) == ("not_cached", "edu")
    assert "5 texts" in warning["message"]
