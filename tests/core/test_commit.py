"""A unit becomes done once, whoever tries. Kills are in `test_commit_kills.py`, packs in `test_pack_files.py`."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from curate.core.commit import (
    Done,
    Output,
    describe,
    finished,
    forget,
    remove_outputs,
    write_atomically,
    write_done,
)
from curate.core.compaction import compact
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from tests.core.committed import PHASE, RIGHT, UNITS, all_units_done, attempt_at, counters_of, files_below


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_the_first_attempt_wins_and_the_loser_leaves_nothing(folder: RunFolder) -> None:
    winner, loser = attempt_at(folder, 0, "winner"), attempt_at(folder, 0, "loser")
    assert write_done(folder, PHASE, winner) is True
    assert write_done(folder, PHASE, loser) is False
    remove_outputs(folder, loser)
    assert finished(folder, PHASE, RIGHT) == {0: winner}
    assert not [name for name in files_below(folder) if "loser" in name]


def test_of_many_attempts_at_once_exactly_one_wins(folder: RunFolder) -> None:
    attempts = [attempt_at(folder, 3, f"try{n}") for n in range(8)]
    barrier = threading.Barrier(len(attempts))
    won: list[str] = []

    def commit(done: Done) -> None:
        barrier.wait()
        if write_done(folder, PHASE, done):
            won.append(done.attempt)

    threads = [threading.Thread(target=commit, args=(done,)) for done in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert finished(folder, PHASE, RIGHT)[3].attempt == won[0]


def test_a_done_record_survives_its_json(folder: RunFolder) -> None:
    done = attempt_at(folder, 2, "x")
    assert Done.from_dict(json.loads(done.to_json())) == done


def test_outputs_outside_the_run_folder_are_named_by_their_whole_path(
    folder: RunFolder, tmp_path: Path
) -> None:
    outside = tmp_path / "published.parquet"
    outside.write_bytes(b"12345")
    output = describe(folder, outside)
    assert output == Output(str(outside), 5, output.checksum)
    assert folder.absolute(output.path) == outside


def test_a_finished_unit_is_found_after_the_folder_was_moved(folder: RunFolder, tmp_path: Path) -> None:
    done = all_units_done(folder)
    folder.root.rename(tmp_path / "moved")
    assert finished(RunFolder(tmp_path / "moved"), PHASE, RIGHT) == done


def test_units_whose_output_is_gone_or_of_another_size_are_not_finished(folder: RunFolder) -> None:
    done = all_units_done(folder)
    folder.absolute(done[1].outputs["overlay"].path).unlink()
    folder.absolute(done[3].outputs["counters"].path).write_bytes(b"")
    assert set(finished(folder, PHASE, RIGHT)) == {0, 2, 4}


def test_units_with_another_fingerprint_are_not_finished(folder: RunFolder) -> None:
    all_units_done(folder)
    assert set(finished(folder, PHASE, {**RIGHT, 2: "changed"})) == {0, 1, 3, 4}
    assert finished(folder, PHASE, {}) == {}


def test_where_outputs_are_can_be_told_otherwise(folder: RunFolder) -> None:
    done = all_units_done(folder)
    remove_outputs(folder, done[0])
    assert set(finished(folder, PHASE, RIGHT, lambda d: d.unit < 2)) == {0, 1}


def test_a_phase_that_never_ran_has_nothing_finished(folder: RunFolder) -> None:
    assert finished(folder, PHASE, RIGHT) == {}
    forget(folder, PHASE, {})
    assert compact(folder, PHASE, {}) == {}


@pytest.mark.parametrize(
    "damage", [b"", b'{"unit": 1, "finger', b"\xff\xfe\x00", b"null", b"{}", b"[]", b'{"unit": 1}']
)
@pytest.mark.parametrize("merged", [False, True], ids=["single", "merged"])
def test_a_damaged_done_file_is_an_error_that_names_it(
    folder: RunFolder, damage: bytes, merged: bool
) -> None:
    done = all_units_done(folder)
    path = folder.done(PHASE, 1, RIGHT[1])
    if merged:
        if damage == b"[]":
            return  # a merged file without records is what `forget` writes
        compact(folder, PHASE, done)
        path = folder.all_done(PHASE)
    path.write_bytes(damage)
    with pytest.raises(CurateError) as caught:
        finished(folder, PHASE, RIGHT)
    problem = caught.value.problems[0]
    assert problem.code == "R306"
    assert str(path) in problem.message
    assert caught.value.exit_code == 1


def test_forget_removes_what_does_not_count_and_keeps_the_rest(folder: RunFolder) -> None:
    done = all_units_done(folder)
    keep = {unit: done[unit] for unit in (0, 1, 4)}
    debris = folder.overlay(PHASE, 2, "killed")
    debris.write_bytes(b"half")
    forget(folder, PHASE, keep)
    assert finished(folder, PHASE, RIGHT) == keep
    kept = {o.path for d in keep.values() for o in d.outputs.values()}
    assert files_below(folder) == kept | {"done/pass1/all.json"}


def test_forget_leaves_other_phases_alone(folder: RunFolder) -> None:
    all_units_done(folder)
    other = folder.overlay("pass2", 0, "b")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"")
    forget(folder, PHASE, {})
    assert other.exists()
    assert finished(folder, PHASE, RIGHT) == {}


def test_a_unit_whose_output_was_lost_after_compaction_can_be_done_again(folder: RunFolder) -> None:
    done = compact(folder, PHASE, all_units_done(folder))
    folder.absolute(done[2].outputs["overlay"].path).unlink()
    left = finished(folder, PHASE, RIGHT)
    forget(folder, PHASE, left)
    again = attempt_at(folder, 2, "again")
    assert write_done(folder, PHASE, again)
    assert finished(folder, PHASE, RIGHT) == {**left, 2: again}


def test_compacting_keeps_every_record_and_counter_in_two_files(folder: RunFolder) -> None:
    before = all_units_done(folder)
    numbers = counters_of(folder, before)
    after = compact(folder, PHASE, before)
    assert finished(folder, PHASE, RIGHT) == after
    assert counters_of(folder, after) == numbers == {unit: unit for unit in range(UNITS)}
    assert {u: d.attempt for u, d in after.items()} == {u: d.attempt for u, d in before.items()}
    assert len(list((folder.root / "done").rglob("*.*"))) == 1
    assert len(list((folder.root / "counters").rglob("*.*"))) == 1
    assert compact(folder, PHASE, after) == after


def test_units_added_later_are_compacted_with_those_there(folder: RunFolder) -> None:
    for unit in (0, 1):
        write_done(folder, PHASE, attempt_at(folder, unit, "early"))
    early = compact(folder, PHASE, finished(folder, PHASE, RIGHT))
    for unit in (2, 3, 4):
        write_done(folder, PHASE, attempt_at(folder, unit, "late"))
    everything = finished(folder, PHASE, RIGHT)
    assert {**everything, **early} == everything
    after = compact(folder, PHASE, everything)
    assert counters_of(folder, after) == {unit: unit for unit in range(UNITS)}
    assert len(list((folder.root / "counters").rglob("*.*"))) == 1


def test_replacing_a_small_file_leaves_no_temporary_file(tmp_path: Path) -> None:
    for text in ("one", "two\n"):
        write_atomically(tmp_path / "deep" / "file.json", text)
        assert (tmp_path / "deep" / "file.json").read_text(encoding="utf-8") == text
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["file.json"]
