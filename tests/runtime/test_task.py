"""A worker does units: it commits each once, removes what lost, and says phase, unit and file when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.commit import Done, write_atomically
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.core.plan import Phase
from curate.planning.fingerprints import finished_units
from curate.running import run
from curate.running.saved_run import load_run
from curate.running.steps import build_step
from curate.running.task import Worker
from filters.gopher_quality import GopherQuality
from tests.runtime.project import ROWS, Project


@pytest.fixture
def planned(project: Project) -> RunFolder:
    """A run folder with plan and manifest, as it is when the first worker starts. Two shards."""
    pq.write_table(pa.Table.from_pylist(ROWS), project.root / "in" / "b.parquet")
    compiled = project.compile()
    folder = RunFolder(project.root / "run")
    write_atomically(folder.plan, compiled.plan.to_json())
    write_atomically(folder.manifest, compiled.manifest.to_json())
    return folder


def files_below(folder: RunFolder) -> set[str]:
    return {str(p.relative_to(folder.root)) for p in folder.root.rglob("*") if p.is_file()}


def quiet(rows: int, size: int, work: object = None) -> None: ...


def test_a_unit_that_was_committed_meanwhile_is_left_and_the_losers_files_go(planned: RunFolder) -> None:
    first, second = Worker(planned.root), Worker(planned.root)
    assert [d.unit for d in first.run("pass1", [0], 0, quiet)] == [0]
    before = files_below(planned)
    assert second.run("pass1", [0], 1, quiet) == []
    assert files_below(planned) == before
    first.close()
    second.close()


def test_a_record_tells_unit_rows_attempt_and_outputs(planned: RunFolder) -> None:
    worker = Worker(planned.root)
    done = {d.unit: d for d in worker.run("pass1", [0, 1], 3, quiet)}
    worker.close()
    assert set(done) == {0, 1}
    assert [d.rows for d in done.values()] == [6, 6]
    assert [d.task for d in done.values()] == [3, 3]
    for record in done.values():
        assert set(record.outputs) == {"overlay", "counters"}
        assert record.bytes == sum(o.bytes for o in record.outputs.values())
        assert record.facts["quarantined"] == 0
    assert finished_units(worker.plan, worker.manifest, worker.plan.phase("pass1"), planned) == done


def test_two_workers_write_the_same_overlay(planned: RunFolder) -> None:
    one, two = Worker(planned.root), Worker(planned.root)
    (first,) = one.run("pass1", [0], 0, quiet)
    data = planned.absolute(first.outputs["overlay"].path).read_bytes()
    planned.done("pass1", 0, first.fingerprint).unlink()
    (second,) = two.run("pass1", [0], 0, quiet)
    assert second.attempt != first.attempt
    assert second.outputs["overlay"].path != first.outputs["overlay"].path
    assert planned.absolute(second.outputs["overlay"].path).read_bytes() == data
    assert second.outputs["overlay"].checksum == first.outputs["overlay"].checksum
    one.close()
    two.close()


def test_a_failure_names_phase_unit_and_file_and_commits_nothing(
    planned: RunFolder, project: Project
) -> None:
    (project.root / "in" / "b.parquet").write_bytes(b"PAR1 nothing of value PAR1")
    worker = Worker(planned.root)
    with pytest.raises(CurateError) as caught:
        worker.run("pass1", [0, 1], 0, quiet)
    worker.close()
    (problem,) = caught.value.problems
    assert problem.context["phase"] == "pass1"
    assert problem.context["unit"] == 1
    assert problem.context["file"] == "b.parquet"
    assert caught.value.exit_code == 1
    assert set(finished_units(worker.plan, worker.manifest, worker.plan.phase("pass1"), planned)) == {0}


def test_a_phase_whose_rows_are_not_counted_cannot_start(planned: RunFolder) -> None:
    worker = Worker(planned.root)
    with pytest.raises(CurateError, match=r"R303|R306"):
        worker.run("all.write", [0], 0, quiet)
    worker.close()


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", "null", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_plan_or_manifest_is_an_error(planned: RunFolder, name: str, damage: str) -> None:
    (planned.root / name).write_text(damage, encoding="utf-8")
    with pytest.raises(CurateError, match="R309"):
        Worker(planned.root)


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="R307"):
        Worker(tmp_path)


def test_a_plans_step_is_built_from_its_name_and_options(planned: RunFolder) -> None:
    worker = Worker(planned.root)
    for plan in worker.plan.steps:
        step = build_step(plan.use, plan.options)
        assert plan.version == type(step).VERSION
    worker.close()


def test_a_plan_of_another_version_of_curate_is_not_worked_on(planned: RunFolder) -> None:
    plan = json.loads(planned.plan.read_text(encoding="utf-8"))
    write_atomically(planned.plan, json.dumps(plan | {"version": "0.0.1"}))
    with pytest.raises(CurateError, match=r"R309: .* was planned by curate 0\.0\.1, and this is") as caught:
        Worker(planned.root)
    assert "0.0.1" in caught.value.problems[0].help
    assert load_run(planned.root)[0].version == "0.0.1"  # whoever only looks may


def test_a_step_of_another_version_is_not_worked_with(
    planned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(planned.root)
    monkeypatch.setattr(GopherQuality, "VERSION", GopherQuality.VERSION + 1)
    with pytest.raises(CurateError, match=r"R309: the step gopher was planned with version"):
        worker.run("pass1", [0], 0, quiet)
    worker.close()


LEAST: Final = {"deu_Latn.yml": "min_words: 3\n", "eng_Latn.yml": "min_words: 4\n"}


@pytest.fixture
def thresholds(project: Project) -> Path:
    """Files of thresholds that the project's step reads."""
    folder = project.root / "thresholds"
    folder.mkdir()
    for name, text in LEAST.items():
        (folder / name).write_text(text, encoding="utf-8")
    project.config["steps"][1]["thresholds"] = str(folder)
    return folder


@pytest.fixture
def planned_with_files(thresholds: Path, planned: RunFolder) -> RunFolder:
    return planned


@pytest.mark.parametrize("change", ["content", "gone", "more"])
def test_a_steps_files_that_changed_after_the_plan_stop_its_workers(
    planned_with_files: RunFolder, thresholds: Path, change: str
) -> None:
    before = Worker(planned_with_files.root)
    assert len(before.run("pass1", [0], 0, quiet)) == 1
    file = thresholds / "eng_Latn.yml"
    if change == "content":
        file.write_text(file.read_text(encoding="utf-8").replace("4", "5"), encoding="utf-8")
    elif change == "gone":
        file.unlink()
    else:
        shutil.copy(file, thresholds / "fra_Latn.yml")
    later = Worker(planned_with_files.root)
    with pytest.raises(CurateError, match="R301") as caught:
        later.run("pass1", [1], 0, quiet)
    [problem] = caught.value.problems
    assert "of the step gopher" in problem.message
    assert ("fra_Latn" if change == "more" else "eng_Latn") in problem.message
    assert caught.value.exit_code == 1
    plan, manifest = load_run(planned_with_files.root)
    assert set(finished_units(plan, manifest, plan.phase("pass1"), planned_with_files)) == {0}
    before.close()
    later.close()


def test_a_copy_of_a_steps_files_with_other_times_is_no_change(
    planned_with_files: RunFolder, thresholds: Path
) -> None:
    for file in thresholds.iterdir():
        os.utime(file, (1, 1))
    worker = Worker(planned_with_files.root)
    assert len(worker.run("pass1", [0], 0, quiet)) == 1
    worker.close()


def test_what_other_nodes_committed_is_waited_for(
    planned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where the folder of done-files may be seen as it was a minute ago."""
    plan, manifest = load_run(planned.root)
    late = [1, 2]  # units not seen yet: both at the first look, one at the second

    def seen(*given: Any) -> dict[int, Done]:
        done = sorted(finished_units(*given).items())
        return dict(done[late.pop() if late else 0 :])

    class Elsewhere:
        delay = 60.0

        def run(self, phase: Phase, tasks: Sequence[Sequence[int]], *told: object) -> None:
            worker = Worker(planned.root)
            for units in tasks:
                worker.run(phase.name, units, 0, quiet)
            worker.close()
            monkeypatch.setattr(run, "finished_units", seen)

    listener = SimpleNamespace(phase_started=lambda *_: None, phase_finished=lambda _: None)
    monkeypatch.setattr(run, "_PAUSE", 0.0)
    run.run_phase(plan, manifest, planned, plan.phase("pass1"), Elsewhere(), None, listener)
    assert late == []
    assert len(finished_units(plan, manifest, plan.phase("pass1"), planned)) == 2
