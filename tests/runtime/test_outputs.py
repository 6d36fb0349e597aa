"""`publish:` is checked before work starts: columns, partitions, and a folder that is free to be written."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.runtime.project import ROWS, Project


def publish(project: Project, **entry: object) -> None:
    """One output with these keys; its path lies in the project's folder."""
    project.config["publish"] = [{"name": "all", "path": str(project.root / "out"), **entry}]


def test_columns_may_be_all_a_list_a_map_or_a_preset(project: Project) -> None:
    publish(project)
    (everything,) = project.compile().plan.outputs
    assert [name for name, _ in everything.columns][:3] == ["doc", "id", "text"]
    publish(project, columns=["text", "n"])
    assert project.compile().plan.outputs[0].columns == (("text", "text"), ("n", "n"))
    publish(project, columns={"text": "content", "n": "number"})
    assert project.compile().plan.outputs[0].columns == (("content", "text"), ("number", "n"))
    publish(project, columns="fineweb2")
    fineweb = project.compile().plan.outputs[0]
    assert fineweb.preset == "fineweb2"
    assert fineweb.columns[0] == ("text", "text")


@pytest.mark.parametrize("columns", [["id", "texxt"], {"texxt": "body"}])
def test_a_column_that_is_not_there_is_a_fault_with_a_suggestion(project: Project, columns: object) -> None:
    publish(project, columns=columns)
    assert project.faults() == [("C201", "there is no column 'texxt' to publish")]


def test_a_partition_is_a_column_of_values(project: Project) -> None:
    publish(project, partition_by="sauce")
    assert project.codes() == ["C201"]
    publish(project, partition_by="gopher__reasons")
    assert project.codes() == ["C206"]
    publish(project, partition_by="n")
    assert project.compile().plan.outputs[0].partition_by == "n"


def test_language_is_the_language_column_and_must_be_known(project: Project) -> None:
    publish(project, partition_by="language")
    assert project.compile().plan.outputs[0].partition_by == "lang"
    del project.config["language"]
    assert project.codes() == ["C201"]


@pytest.mark.parametrize("path", ["run", "run/out", "."])
def test_an_output_does_not_lie_in_the_run_folder_nor_around_it(project: Project, path: str) -> None:
    publish(project, path=str(project.root / path))
    assert "C202" in project.codes()


@pytest.mark.parametrize("path", ["in", "in/out", "in/../in/deeper"])
def test_an_output_does_not_lie_in_an_input(project: Project, path: str) -> None:
    publish(project, path=str(project.root / path))
    project.config["input"] = [{"path": str(project.root / "in")}]
    assert "C202" in project.codes()


def test_an_output_is_not_written_where_an_inputs_pattern_would_find_it(project: Project) -> None:
    publish(project, path=str(project.root / "in" / "out"))
    project.config["input"] = [{"path": str(project.root / "in" / "**" / "*.parquet")}]
    assert "C202" in project.codes()


def test_outputs_do_not_lie_in_each_other(project: Project) -> None:
    project.config["publish"] = [
        {"name": "one", "path": str(project.root / "out")},
        {"name": "two", "path": str(project.root / "out" / "two")},
        {"name": "three", "path": str(project.root / "other")},
    ]
    assert project.faults() == [("C202", "outputs 'one' and 'two' lie in each other")]


def test_folders_whose_names_begin_alike_are_no_conflict(project: Project) -> None:
    project.config["publish"] = [
        {"name": "one", "path": str(project.root / "out")},
        {"name": "two", "path": str(project.root / "out-2")},
    ]
    assert len(project.compile().plan.outputs) == 2


def test_a_file_in_the_way_is_a_fault(project: Project) -> None:
    (project.root / "out").write_text("I am a file", encoding="utf-8")
    publish(project)
    assert project.codes() == ["C205"]
    publish(project, path=str(project.root / "out" / "below"))
    assert project.codes() == ["C205"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_fault(project: Project) -> None:
    (project.root / "locked").mkdir(mode=0o500)
    publish(project, path=str(project.root / "locked" / "out"))
    assert project.codes() == ["C205"]


def test_a_store_that_cannot_be_reached_is_a_fault(project: Project) -> None:
    publish(project, path="nostore://bucket/out")
    assert project.codes() == ["E506"]


def test_parquet_files_of_somebody_else_are_never_mixed_with_ours(project: Project) -> None:
    foreign = project.root / "out" / "deu_Latn" / "old.parquet"
    foreign.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS), foreign)
    publish(project)
    ((code, message),) = project.faults()
    assert code == "C205"
    assert str(foreign) in message
    assert foreign.exists()


def test_other_files_in_the_folder_are_no_fault(project: Project) -> None:
    (project.root / "out").mkdir()
    (project.root / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    publish(project)
    assert project.compile().plan.outputs[0].path == str(project.root / "out")


def test_a_relative_path_is_absolute_in_the_plan(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    publish(project, path="some/where")
    assert Path(project.compile().plan.outputs[0].path) == project.root / "some" / "where"


def test_variables_in_a_path_are_put_in(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", str(project.root / "there"))
    publish(project, path="$PLACE/out")
    assert project.compile().plan.outputs[0].path == str(project.root / "there" / "out")
    monkeypatch.delenv("PLACE")
    assert project.codes() == ["C109"]
