"""A worker does units: it commits each once, removes what lost, and says phase, unit and file when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.commit import write_atomically
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.fingerprints import finished_units
from curate.task import Worker, build_step
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


def quiet(rows: int, size: int) -> None: ...


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
