"""`curate status`: states, exit codes, and that it stays cheap."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from commands.run_folders import Shard, make_run
from curate.cli import cli
from curate.core.commit import write_atomically
from curate.core.compaction import compact
from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.running.locks import locked
from curate.running.run import record_failure
from curate.views.run_state import read_run, unhurried
from curate.views.status import build_status, render

Invoke = Callable[..., Result]

_DONE = Shard({"deu_Latn": (5, 5)})


def _status(root: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["status", str(root), *options], catch_exceptions=False)


def test_a_finished_run(curate: Invoke) -> None:
    result = curate("status", "tiny")
    assert result.exit_code == 0
    assert "tiny: done" in result.output
    assert "2 / 2" in result.output
    assert "output all: complete, 17 rows in 2 files" in result.output
    assert "quarantine: 3 rows" in result.output
    assert "curate report tiny" in result.output


def test_json_holds_the_report_as_well(curate: Invoke) -> None:
    status = json.loads(curate("status", "tiny", "--json").output)
    assert (status["state"], status["balanced"], status["rows_in"], status["holder"]) == (
        "done",
        True,
        25,
        None,
    )
    assert [s["step"] for s in status["steps"]] == ["read", "lid", "select", "gopher"]
    assert [o["complete"] for o in status["outputs"]] == [True, True]
    assert status["quarantine"]["rows"] == 3
    phases = {p["name"]: (p["units"], p["done"], p["rows"]) for p in status["phases"]}
    assert phases["pass1"] == (2, 2, 23)
    assert phases["all.exchange"] == (2, 2, 17)  # its files are gone, and so is its record


def test_pending_units_give_3(tmp_path: Path) -> None:
    result = _status(make_run(tmp_path, [[_DONE, None]]))
    assert result.exit_code == 3
    assert "made: pending" in result.output
    assert "1 / 2" in result.output
    assert "continues" in result.output


def test_a_failure_gives_1_and_says_why(tmp_path: Path) -> None:
    root = make_run(tmp_path, [[_DONE, None]])
    record_failure(RunFolder(root), error("R304", "a worker was killed by SIGKILL, 3 times on the same unit"))
    result = _status(root)
    assert result.exit_code == 1
    assert "R304: a worker was killed by SIGKILL" in result.output


def test_an_interrupted_run_is_pending(tmp_path: Path) -> None:
    root = make_run(tmp_path, [[_DONE, None]])
    record_failure(RunFolder(root), error("R310", "interrupted; finished units are kept"))
    assert _status(root).exit_code == 3


def test_a_run_at_work_says_who_holds_it(tmp_path: Path) -> None:
    root = make_run(tmp_path, [[_DONE, None]])
    with locked(RunFolder(root)):
        result = _status(root)
    assert result.exit_code == 3
    assert "made: running" in result.output
    assert "in use by process" in result.output


def test_a_phase_whose_units_are_not_known_yet(workdir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workdir / "runs" / "tiny", tmp_path / "tiny")
    shutil.rmtree(copy / "layout")
    phases = {p["name"]: p for p in build_status(copy)["phases"]}
    assert phases["all.write"]["units"] is None
    assert "0 / ?" in _status(copy).output


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_any_terminal(workdir: Path, width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        render(build_status(workdir / "runs" / "tiny"), "tiny", console)
    assert all(len(line) <= width for line in capture.get().splitlines())
    assert "quarantine: 3 rows" in capture.get()


def test_no_counters_are_opened(tmp_path: Path) -> None:
    root = make_run(tmp_path, [[_DONE, _DONE]])
    for path in (root / "counters" / "pass1").iterdir():
        path.write_text("x" * path.stat().st_size, encoding="utf-8")
    assert _status(root).exit_code == 0


def test_files_may_go_while_they_are_read(tmp_path: Path) -> None:
    root = make_run(tmp_path, [[_DONE, _DONE]])
    folder = RunFolder(root)
    single = next(p for p in (root / "done" / "pass1").iterdir())
    tries = []

    def read() -> str:
        tries.append(1)
        if len(tries) == 1:
            compact(folder, "pass1", read_run(root).phase("pass1").done)
            return single.read_text(encoding="utf-8")
        return build_status(root)["state"]

    assert unhurried(read) == "done"
    assert len(tries) == 2


def test_a_file_that_stays_away_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        unhurried(lambda: Path("/nowhere/at/all").read_text(encoding="utf-8"))


def test_a_damaged_plan_is_told_as_such(tmp_path: Path) -> None:
    root = make_run(tmp_path, [[_DONE]])
    write_atomically(RunFolder(root).plan, '{"format": 1}')
    with pytest.raises(Exception, match="R309"):
        _status(root)


def test_cancel_names_a_run_that_works_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    make_run(tmp_path / "run", [[_DONE, None]])
    with locked(RunFolder(tmp_path / "run")):
        result = CliRunner().invoke(cli, ["cancel", str(tmp_path / "run")], catch_exceptions=False)
    assert (result.exit_code, f"process {os.getpid()} on " in result.output) == (0, True)
