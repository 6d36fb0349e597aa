"""A config compiles to phases, everything wrong with it is said at once, and a fingerprint changes with what it covers.

A fingerprint that changed for nothing would cost a rerun; one that did not change would leave stale data.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import CurateError
from curate.core.plan import Plan
from curate.planning.session import Request, prepare
from tests.runtime.project import ROWS, Project, differing, write_jsonl


def test_phases_come_in_the_order_of_the_work(project: Project) -> None:
    write_jsonl(project.root / "in" / "b.jsonl", ROWS)
    project.config["input"].append({"path": str(project.root / "in" / "*.jsonl")})
    project.config["publish"].append({"name": "two", "path": str(project.root / "out2")})
    plan = project.compile().plan
    assert [(p.name, p.kind) for p in plan.phases] == [
        ("ingest", "ingest"),
        ("pass1", "pass"),
        ("all.count", "count"),
        ("all.exchange", "exchange"),
        ("all.write", "write"),
        ("two.count", "count"),
        ("two.write", "write"),
    ]
    assert [s.name for s in plan.phase("pass1").steps] == ["first", "gopher"]


def test_rows_are_exchanged_only_where_they_change_places(project: Project) -> None:
    def phases(*overrides: str) -> list[str]:
        return [p.name for p in project.compile(*overrides).plan.phases]

    del project.config["publish"][0]["partition_by"]
    assert "all.exchange" not in phases()
    assert "all.exchange" in phases("publish.all.shuffle=0")
    assert "all.exchange" in phases("publish.all.partition_by=source")


def test_without_steps_there_is_one_pass_that_reads(project: Project) -> None:
    project.config["steps"] = []
    plan = project.compile().plan
    assert [p.name for p in plan.phases][:2] == ["pass1", "all.count"]
    assert plan.steps == ()


def test_a_compiled_plan_survives_its_json(project: Project) -> None:
    plan = project.compile().plan
    assert Plan.from_json(plan.to_json()) == plan


def test_compiling_twice_gives_the_same_plan_and_makes_no_file(project: Project) -> None:
    before = project.compile()
    assert project.compile().plan == before.plan
    assert project.compile().manifest == before.manifest
    assert not (project.root / "run").exists()
    assert not (project.root / "out").exists()


def test_a_step_knows_what_it_reads_writes_and_drops(project: Project) -> None:
    project.config["steps"][1]["when"] = "source != 'wiki'"
    first, gopher = project.compile().plan.steps
    assert (first.kind, first.reads, first.writes, first.filters) == ("selector", ("n",), {}, False)
    assert gopher.reads == ("source", "text")
    assert gopher.writes["gopher__reasons"] == "list<item: string>"
    assert gopher.filters
    project.config["steps"][1]["mode"] = "annotate"
    assert not project.compile().plan.steps[1].filters


def test_the_schema_after_the_last_step_has_documents_and_steps(project: Project) -> None:
    schema = project.compile().schema
    assert schema.names[:3] == ["doc", "id", "text"]
    assert {"lang", "n", "source", "gopher__words_count", "gopher__reasons"} <= set(schema.names)
    assert schema.field("gopher__words_count").metadata[b"curate.step"] == b"filters.gopher_quality"


# What is wrong -------------------------------------------------------------------------------------------------------


def test_everything_wrong_is_said_at_once_in_the_order_of_the_lines(project: Project) -> None:
    project.config["language"] = "langue"
    project.config["input"].append({"path": str(project.root / "nothing" / "*.parquet")})
    project.config["steps"] = [
        {"use": "filters.select", "as": "a", "mode": "annotate", "expression": "n > 1"},
        {"use": "lid.fasttext", "as": "lid", "model": "no-such-model"},
    ]
    project.config["publish"][0]["columns"] = ["id", "texxt"]
    codes = project.codes()
    assert "C203" in codes
    assert "C208" in codes
    assert "C207" in codes
    with pytest.raises(CurateError) as caught:
        project.compile()
    lines = [p.position.line for p in caught.value.problems if p.position is not None]
    assert lines == sorted(lines)


def test_a_column_read_before_it_is_written_names_the_step_to_move(project: Project) -> None:
    project.config["steps"] = [
        {"use": "filters.select", "as": "early", "expression": "lid__prob > 0.5"},
        {"use": "lid.fasttext", "as": "lid"},
    ]
    with pytest.raises(CurateError) as caught:
        project.compile()
    (problem,) = caught.value.problems
    assert problem.code == "C201"
    assert "lid__prob" in problem.message
    assert "'lid'" in problem.help


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("m > 1", "C201"),
        ("n = 'one'", "C206"),
        ("len(n) > 1", "C206"),
        ("lang = 'de'", "C107"),
        ("n >", "C106"),
    ],
)
def test_a_condition_must_fit_the_columns(project: Project, expression: str, code: str) -> None:
    project.config["steps"] = [{"use": "filters.select", "as": "pick", "expression": expression}]
    assert project.codes() == [code]
    project.config["steps"] = [{"use": "filters.gopher_quality", "when": expression}]
    assert project.codes() == [code]
    project.config["steps"] = []
    project.config["publish"][0]["where"] = expression
    assert project.codes() == [code]


def test_two_steps_that_write_one_column_are_told_to_change_a_name(project: Project) -> None:
    project.config["steps"].append({"use": "filters.gopher_quality", "as": "gopher"})
    assert "C108" in project.codes()


def test_a_steps_column_must_not_hide_one_of_the_input(project: Project) -> None:
    pq.write_table(
        pa.Table.from_pylist([{"text": "a", "gopher__reasons": "x"}]), project.root / "in" / "a.parquet"
    )
    project.config |= {"steps": [{"use": "filters.gopher_quality", "as": "gopher"}], "publish": []}
    del project.config["language"]
    assert project.faults() == [("C108", "the column 'gopher__reasons' is there already")]


@pytest.mark.parametrize(("column", "code"), [("langue", "C201"), ("n", "C206")])
def test_the_language_is_a_column_of_texts(project: Project, column: str, code: str) -> None:
    project.config |= {"language": column, "publish": []}
    assert project.codes() == [code]


def test_keys_that_mean_nothing_for_a_step_are_refused(project: Project) -> None:
    project.config["steps"][0]["mode"] = "annotate"
    assert project.codes() == ["C208"]
    project.config["steps"][0] = {"use": "filters.select", "expression": "n > 1", "nonsense": 3}
    assert project.codes() == ["C103"]


def test_inputs_that_are_not_there_are_named(project: Project) -> None:
    project.config["input"] = [{"path": str(project.root / "in" / "*.jsonl")}]
    ((code, message),) = project.faults()
    assert code == "C203"
    assert "*.jsonl" in message


def test_inputs_whose_types_conflict_are_refused(project: Project) -> None:
    pq.write_table(pa.Table.from_pylist([{"text": "a", "n": "three"}]), project.root / "in" / "b.parquet")
    assert project.codes() == ["C204"]


# Fingerprints --------------------------------------------------------------------------------------------------------


def test_a_threshold_changes_its_pass_and_what_comes_after(project: Project) -> None:
    before = project.fingerprints()
    after = project.fingerprints("steps.gopher.min_words=3")
    assert differing(before, after) == ["pass1", "all.count", "all.exchange", "all.write"]


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("execution.workers=7", []),
        ("execution.retries=0", []),
        ("publish.all.shard=1MB", ["all.exchange", "all.write"]),
        ("publish.all.row_group=1MB", ["all.exchange", "all.write"]),
        ("publish.all.shuffle=3", ["all.exchange", "all.write"]),
        ("publish.all.columns=[id]", ["all.exchange", "all.write"]),
        ("publish.all.where=n > 2", ["all.count", "all.exchange", "all.write"]),
        ("publish.all.partition_by=source", ["all.count", "all.exchange", "all.write"]),
        ("publish.all.licence=CC0-1.0", ["all.write"]),
        ("publish.all.title=Documents", ["all.write"]),
        ("steps.first.when=n > 3", ["pass1", "all.count", "all.exchange", "all.write"]),
        ("steps.gopher.mode=annotate", ["pass1", "all.count", "all.exchange", "all.write"]),
        ("language=source", ["pass1", "all.count", "all.exchange", "all.write"]),
    ],
)
def test_a_change_touches_the_phases_it_decides_and_no_other(
    project: Project, override: str, changed: list[str]
) -> None:
    assert differing(project.fingerprints(), project.fingerprints(override)) == changed


def test_where_things_lie_changes_no_fingerprint(tmp_path: Path) -> None:
    here, there = Project(tmp_path / "here"), Project(tmp_path / "there" / "deeper")
    assert here.fingerprints() == there.fingerprints()


def test_another_output_leaves_the_first_ones_data_alone(project: Project) -> None:
    before = project.fingerprints()
    project.config["publish"].append({"name": "two", "path": str(project.root / "out2")})
    after = project.fingerprints()
    assert set(differing(before, after)) <= {"all.write"}
    assert "two.write" in after


def test_the_manifest_given_before_is_kept_and_a_changed_input_stops_the_run(project: Project) -> None:
    first = project.compile()
    run = project.root / "run"
    run.mkdir()
    (run / "manifest.json").write_text(first.manifest.to_json(), encoding="utf-8")
    assert project.compile().manifest == first.manifest
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), project.root / "in" / "b.parquet")
    with pytest.raises(CurateError, match="R301") as caught:
        project.compile()
    assert caught.value.exit_code == 1
    updated = prepare(Request(project.file, update=True)).compiled.manifest
    assert updated.files[0] == first.manifest.files[0]
    assert [dataclasses.replace(s) for s in updated.shards[:1]] == list(first.manifest.shards)
    assert len(updated.shards) == 2


def test_partitions_stay_as_they_were_while_the_input_grows(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were there more of them for a larger input, every record of the files before would have to be made anew."""
    for name in ("exact", "minhash"):
        project.config["steps"].append({"use": f"dedup.{name}", "as": name})
    run = project.root / "run"

    def planned() -> tuple[dict[str, str], set[int]]:
        compiled = prepare(Request(project.file, update=True)).compiled
        run.mkdir(exist_ok=True)
        (run / "manifest.json").write_text(compiled.manifest.to_json(), encoding="utf-8")
        (run / "plan.json").write_text(compiled.plan.to_json(), encoding="utf-8")
        passes = [p for p in compiled.plan.passes if p.job is not None]
        return {p.name: p.fingerprint for p in passes}, {p.partitions for p in passes}

    def records(times: float) -> None:
        """As many as fill so many partitions."""
        monkeypatch.setattr("dedup.exact._PARTITION_DOCS", 1)
        monkeypatch.setattr("dedup.exact.Exact._documents", lambda self, size: times)
        monkeypatch.setattr("dedup.minhash.Minhash._fullness", lambda self, size: times)

    records(1.5)
    before, partitions = planned()
    assert partitions == {2}
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), project.root / "in" / "b.parquet")
    records(3)
    assert planned() == (before, {2})
    records(9)
    after, partitions = planned()
    assert partitions == {16}
    assert not set(after.values()) & set(before.values())
    project.config["steps"][-1]["partitions"] = 4
    assert planned()[1] == {16, 4}


def test_reduce_phases_ask_for_what_the_input_makes_of_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.config["steps"].append({"use": "dedup.exact", "as": "exact", "partitions": 1})

    def memory(phase: str) -> float:
        return project.compile().plan.phase(phase).resources["memory_gb"]

    passed, reduced = memory("pass1"), memory("exact.group")
    monkeypatch.setattr("dedup.exact._DOCUMENT_BYTES", 1)
    monkeypatch.setattr("dedup.exact._PARTITION_DOCS", 2)
    assert memory("exact.group") > 2 * reduced
    assert memory("pass1") == passed
