"""The output folder: a new set replaces the old one whole, strangers' files are refused or left alone, and a kill while
files are moved is made good by the next run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import CurateError
from curate.running.finish import MARKER, foreign_files, read_published
from curate.running.saved_run import load_run
from tests.publish.publishing import Publisher, documents


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_nothing_but_data_card_and_marker_is_left(publisher: Publisher) -> None:
    publisher.input(documents(20))
    publisher.publish(partition_by="language")
    assert sorted(p.name for p in publisher.out.iterdir()) == [
        MARKER,
        "README.md",
        "deu_Latn",
        "eng_Latn",
        "und",
    ]
    assert not (publisher.folder.root / "exchange" / "data.exchange").exists()


def test_another_arrangement_replaces_the_old_files_and_leaves_none_behind(publisher: Publisher) -> None:
    publisher.input(documents(60))
    publisher.publish(partition_by="language", shard=500)
    many = publisher.files()
    publisher.publish(partition_by="language")
    few = publisher.files()
    assert len(few) == 3 < len(many)
    publisher.publish()
    assert publisher.files() == ["data-00000-of-00001.parquet"]
    assert sorted(p.name for p in publisher.out.iterdir()) == [
        MARKER,
        "README.md",
        "data-00000-of-00001.parquet",
    ]
    assert len(publisher.rows()) == 60


def test_a_changed_step_replaces_the_rows(publisher: Publisher) -> None:
    publisher.input(documents(40))
    publisher.publish(partition_by="language", columns=["id"])
    publisher.steps = [{"use": "filters.select", "as": "pick", "expression": "lang = 'eng_Latn'"}]
    publisher.publish(partition_by="language", columns=["id"])
    assert publisher.files() == ["eng_Latn/data-00000-of-00001.parquet"]
    assert len(publisher.rows()) == 10
    assert "deu_Latn" not in (publisher.out / "README.md").read_text(encoding="utf-8")


def test_other_files_in_the_folder_are_left_as_they_are(publisher: Publisher) -> None:
    publisher.input(documents(20))
    notes = publisher.out / "deu_Latn" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine", encoding="utf-8")
    (publisher.out / "LICENSE").write_text("CC0", encoding="utf-8")
    publisher.publish(partition_by="language")
    publisher.publish()
    publisher.publish(force=True)
    assert notes.read_text(encoding="utf-8") == "mine"
    assert (publisher.out / "LICENSE").read_text(encoding="utf-8") == "CC0"
    assert publisher.files() == ["data-00000-of-00001.parquet"]


def test_strangers_parquet_files_stop_the_run_before_it_starts(publisher: Publisher) -> None:
    publisher.input(documents(5))
    publisher.out.mkdir()
    pq.write_table(pa.table({"a": [1]}), publisher.out / "theirs.parquet")
    before = publisher.bytes()
    with pytest.raises(CurateError, match=r"C205.*theirs\.parquet"):
        publisher.publish()
    assert publisher.bytes() == before
    assert not publisher.folder.plan.exists()


def test_a_strangers_file_that_appears_later_stops_the_next_run(publisher: Publisher) -> None:
    publisher.input(documents(5))
    publisher.publish()
    ours = publisher.files()
    pq.write_table(pa.table({"a": [1]}), publisher.out / "theirs.parquet")
    with pytest.raises(CurateError, match="C205"):
        publisher.publish(shuffle=1)
    assert set(publisher.files()) == {*ours, "theirs.parquet"}


def test_the_marker_lets_a_new_run_folder_replace_what_the_old_one_wrote(publisher: Publisher) -> None:
    publisher.input(documents(60))
    publisher.publish(partition_by="language", shard=500)
    publisher.folder.root.rename(publisher.root / "old-run")
    publisher.publish(columns=["id"])
    assert publisher.files() == ["data-00000-of-00001.parquet"]


def test_another_runs_output_is_not_replaced(publisher: Publisher) -> None:
    publisher.input(documents(5))
    publisher.publish()
    marker = publisher.out / MARKER
    raw = json.loads(marker.read_text(encoding="utf-8"))
    marker.write_text(json.dumps({**raw, "run": "somebody-elses"}), encoding="utf-8")
    publisher.folder.root.rename(publisher.root / "old-run")
    with pytest.raises(CurateError, match="C205"):
        publisher.publish()


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"run": "tiny"}', '{"run": "tiny", "output": "data", "files": 3}']
)
def test_a_damaged_marker_is_nobodys(publisher: Publisher, damage: str) -> None:
    publisher.input(documents(5))
    plan = publisher.publish()
    (publisher.out / MARKER).write_text(damage, encoding="utf-8")
    assert foreign_files(publisher.folder, plan.outputs[0], "tiny") is None
    publisher.folder.published("data").unlink()
    found = foreign_files(publisher.folder, plan.outputs[0], "tiny")
    assert found is not None
    assert found.code == "C205"


def test_the_marker_cannot_name_files_outside_the_folder(publisher: Publisher) -> None:
    """Somebody may have edited it; what it names is removed when a new set is published."""
    publisher.input(documents(5))
    publisher.publish()
    victim = publisher.root / "victim.parquet"
    victim.write_bytes(b"precious")
    marker = publisher.out / MARKER
    raw = json.loads(marker.read_text(encoding="utf-8"))
    raw["files"] += [["../victim.parquet", 8], [str(victim), 8]]
    marker.write_text(json.dumps(raw), encoding="utf-8")
    publisher.publish(shuffle=1)
    assert victim.read_bytes() == b"precious"


def test_a_published_file_that_was_removed_is_written_again(publisher: Publisher) -> None:
    publisher.input(documents(20))
    publisher.publish(partition_by="language", shuffle=1)
    before = publisher.bytes()
    (publisher.out / "deu_Latn" / "data-00000-of-00001.parquet").unlink()
    publisher.publish(partition_by="language", shuffle=1)
    assert publisher.bytes() == before


def kill(monkeypatch: pytest.MonkeyPatch, at: int | None) -> list[str]:
    """Count the calls that change the folder while a set is put in place; stop before number `at`."""
    calls: list[str] = []

    def watch(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            calls.append(name)
            if len(calls) == at:
                raise Killed
            return real(*args, **options)

        return call

    for name in ("replace", "unlink", "rmdir"):
        monkeypatch.setattr(Path, name, watch(name, getattr(Path, name)))
    return calls


def test_a_kill_while_a_set_is_replaced_is_made_good_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old set has more files and other folders than the new one; afterwards only the new one is there."""
    from curate.running import run

    def first(place: Path) -> Publisher:
        publisher = Publisher(place, monkeypatch)
        publisher.input(documents(24))
        publisher.publish(partition_by="language", shard=400, columns=["id"])
        return publisher

    whole = first(tmp_path / "whole")
    real = run.finish
    counted: list[int] = []

    def counting(*args: object) -> object:
        with pytest.MonkeyPatch.context() as patch:
            calls = kill(patch, None)
            result = real(*args)  # type: ignore[arg-type]
            counted.append(len(calls))
        return result

    monkeypatch.setattr(run, "finish", counting)
    whole.publish(shuffle=1, columns=["id"])
    expected = whole.bytes()
    assert counted[0] > 8
    for at in range(1, counted[0] + 1):
        publisher = first(tmp_path / f"killed-{at}")

        def killed(*args: object, at: int = at) -> object:
            with pytest.MonkeyPatch.context() as patch:
                kill(patch, at)
                return real(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(run, "finish", killed)
        with pytest.raises(Killed):
            publisher.publish(shuffle=1, columns=["id"])
        monkeypatch.setattr(run, "finish", real)
        publisher.publish(shuffle=1, columns=["id"])
        assert publisher.bytes() == expected, f"killed before call {at}"
        assert read_published(publisher.folder, load_run(publisher.folder.root)[0].output("data"))[1] is True
        assert not os.path.exists(publisher.out / ".data.staging")


def test_a_kill_and_then_another_config_leaves_only_the_last_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.running import run

    real = run.finish
    for at in range(1, 12):
        publisher = Publisher(tmp_path / str(at), monkeypatch)
        publisher.input(documents(24))
        publisher.publish(partition_by="language", shard=400, columns=["id"])

        def killed(*args: object, at: int = at) -> object:
            with pytest.MonkeyPatch.context() as patch:
                kill(patch, at)
                return real(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(run, "finish", killed)
        with pytest.raises(Killed):
            publisher.publish(shard=300, shuffle=1, columns=["id"])
        monkeypatch.setattr(run, "finish", real)
        publisher.publish(columns=["id"])
        assert publisher.files() == ["data-00000-of-00001.parquet"], f"killed before call {at}"
        assert sorted(row["id"] for row in publisher.rows()) == sorted(f"id-{n}" for n in range(24))
