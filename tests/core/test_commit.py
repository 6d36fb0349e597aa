"""A unit becomes done once, whoever tries and whenever a process is killed.

Kills are simulated at every call that changes the folder (`link`, `replace`, `unlink`), just before and just after it: what
a killed process leaves is what the calls before had done.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.core import compaction, manifest, packs
from curate.core.commit import (
    Done,
    Output,
    consume,
    describe,
    finished,
    forget,
    is_consumed,
    outputs_present,
    read_done,
    remove_outputs,
    write_atomically,
    write_done,
)
from curate.core.compaction import compact, read_counters
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.core.packs import Stretch, StretchFile

PHASE = "pass1"
UNITS = 5
RIGHT = {unit: f"{unit}" * 20 for unit in range(UNITS)}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the product catches it."""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def attempt_at(folder: RunFolder, unit: int, attempt: str, fingerprint: str | None = None) -> Done:
    """What a worker does before it commits: outputs under the attempt's own names."""
    overlay = folder.overlay(PHASE, unit, attempt)
    counters = folder.counters(PHASE, unit, attempt)
    for path in (overlay, counters):
        path.parent.mkdir(parents=True, exist_ok=True)
    overlay.write_bytes(f"overlay of {unit} by {attempt}".encode())
    counters.write_text(json.dumps({"steps": [], "unit": unit, "by": attempt}), encoding="utf-8")
    outputs = {"overlay": describe(folder, overlay), "counters": describe(folder, counters)}
    return Done(unit, fingerprint or RIGHT[unit], 0, attempt, 7, 100, outputs, {"quarantined": 0})


def all_units_done(folder: RunFolder) -> dict[int, Done]:
    for unit in range(UNITS):
        assert write_done(folder, PHASE, attempt_at(folder, unit, f"a{unit}"))
    return finished(folder, PHASE, RIGHT)


def files_below(folder: RunFolder) -> set[str]:
    return {str(p.relative_to(folder.root)) for p in folder.root.rglob("*") if p.is_file()}


def counters_of(folder: RunFolder, records: dict[int, Done]) -> dict[int, object]:
    return {unit: counters["unit"] for unit, counters in read_counters(folder, PHASE, records)}


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


# Kills ---------------------------------------------------------------------------------------------------------------


def counting(monkeypatch: pytest.MonkeyPatch, kill_at: int | None, *, after: bool) -> list[str]:
    """Count the calls that change the folder, and stop at call number `kill_at`."""
    calls: list[str] = []

    def watch(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            calls.append(name)
            if kill_at is not None and len(calls) > kill_at:
                raise Killed(name)
            if kill_at == len(calls) and not after:
                raise Killed(name)
            result = real(*args, **options)
            if kill_at == len(calls):
                raise Killed(name)
            return result

        return call

    monkeypatch.setattr(os, "link", watch("link", os.link))
    monkeypatch.setattr(Path, "replace", watch("replace", Path.replace))
    monkeypatch.setattr(Path, "unlink", watch("unlink", Path.unlink))
    return calls


def every_kill(
    tmp_path: Path, before: Callable[[RunFolder], object], work: Callable[[RunFolder], object]
) -> Iterator[RunFolder]:
    """The folder after `before`, and after `work` was killed at each of its calls in turn."""
    with pytest.MonkeyPatch.context() as patch:
        whole = RunFolder(tmp_path / "whole")
        before(whole)
        calls = counting(patch, None, after=False)
        work(whole)
        total = len(calls)
    assert total > 0
    for at in range(1, total + 1):
        for after in (False, True):
            folder = RunFolder(tmp_path / f"killed-{at}-{after}")
            before(folder)
            with pytest.MonkeyPatch.context() as patch:
                counting(patch, at, after=after)
                with pytest.raises(Killed):
                    work(folder)
            yield folder


def test_a_kill_while_committing_leaves_the_unit_pending_or_done(tmp_path: Path) -> None:
    def commit(folder: RunFolder) -> None:
        write_done(folder, PHASE, attempt_at(folder, 0, "first"))

    for folder in every_kill(tmp_path, lambda f: None, commit):
        done = finished(folder, PHASE, RIGHT)
        second = attempt_at(folder, 0, "second")
        assert write_done(folder, PHASE, second) is (not done)
        if done:
            remove_outputs(folder, second)
        now = finished(folder, PHASE, RIGHT)
        assert now[0].attempt == ("first" if done else "second")
        forget(folder, PHASE, now)
        expected = {o.path for o in now[0].outputs.values()} | {
            str(folder.done(PHASE, 0, RIGHT[0]).relative_to(folder.root))
        }
        assert files_below(folder) == expected


def test_a_kill_while_compacting_loses_no_unit_and_no_counter(tmp_path: Path) -> None:
    def work(folder: RunFolder) -> None:
        compact(folder, PHASE, finished(folder, PHASE, RIGHT))

    kills = 0
    for folder in every_kill(tmp_path, all_units_done, work):
        kills += 1
        there = finished(folder, PHASE, RIGHT)
        assert set(there) == set(RIGHT)
        assert set(counters_of(folder, there)) == set(RIGHT)
        forget(folder, PHASE, there)
        after = compact(folder, PHASE, finished(folder, PHASE, RIGHT))
        assert finished(folder, PHASE, RIGHT) == after
        assert counters_of(folder, after) == {unit: unit for unit in RIGHT}
    assert kills >= 2 * (2 + 2 * UNITS)


def test_a_kill_while_compacting_again_loses_nothing_either(tmp_path: Path) -> None:
    def before(folder: RunFolder) -> None:
        for unit in (0, 1):
            write_done(folder, PHASE, attempt_at(folder, unit, "early"))
        compact(folder, PHASE, finished(folder, PHASE, RIGHT))
        for unit in (2, 3, 4):
            write_done(folder, PHASE, attempt_at(folder, unit, "late"))

    def work(folder: RunFolder) -> None:
        compact(folder, PHASE, finished(folder, PHASE, RIGHT))

    for folder in every_kill(tmp_path, before, work):
        there = finished(folder, PHASE, RIGHT)
        assert set(there) == set(RIGHT)
        assert counters_of(folder, there) == {unit: unit for unit in RIGHT}
        forget(folder, PHASE, there)
        assert set(finished(folder, PHASE, RIGHT)) == set(RIGHT)


@pytest.mark.parametrize("compacted", [False, True], ids=["single", "merged"])
def test_a_kill_while_forgetting_keeps_what_counts(tmp_path: Path, compacted: bool) -> None:
    def before(folder: RunFolder) -> None:
        done = all_units_done(folder)
        if compacted:
            compact(folder, PHASE, done)
        folder.overlay(PHASE, 1, "debris").write_bytes(b"half")

    wanted = {unit: RIGHT[unit] for unit in (1, 2)}

    def work(folder: RunFolder) -> None:
        forget(folder, PHASE, finished(folder, PHASE, wanted))

    for folder in every_kill(tmp_path, before, work):
        there = finished(folder, PHASE, wanted)
        assert set(there) == {1, 2}
        assert counters_of(folder, there) == {1: 1, 2: 2}
        forget(folder, PHASE, there)
        assert finished(folder, PHASE, wanted) == there
        assert {d.unit for found in read_done(folder, PHASE).values() for d in found} == {1, 2}
        kept = {o.path for d in there.values() for o in d.outputs.values()}
        assert {name for name in files_below(folder) if not name.startswith("done/")} == kept


def test_a_kill_while_exchange_files_are_removed_leaves_records_that_know_it(tmp_path: Path) -> None:
    def before(folder: RunFolder) -> None:
        for unit in range(UNITS):
            done = attempt_at(folder, unit, f"a{unit}")
            path = folder.exchange(PHASE, unit, f"a{unit}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"rows")
            outputs = {**done.outputs, "rows": describe(folder, path, "seal")}
            assert write_done(folder, PHASE, dataclasses.replace(done, outputs=outputs))

    def work(folder: RunFolder) -> None:
        consume(folder, PHASE, finished(folder, PHASE, RIGHT))

    for folder in every_kill(tmp_path, before, work):
        there = finished(folder, PHASE, RIGHT)
        assert set(there) == set(RIGHT)
        forget(folder, PHASE, there)
        work(folder)
        after = finished(folder, PHASE, RIGHT)
        assert all(
            is_consumed(done) and set(done.outputs) == {"overlay", "counters"} for done in after.values()
        )
        assert {unit: done.facts["quarantined"] for unit, done in after.items()} == dict.fromkeys(RIGHT, 0)
        assert not (folder.root / "exchange" / PHASE).exists()
        work(folder)
        assert finished(folder, PHASE, RIGHT) == after


def test_a_kill_while_replacing_a_small_file_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    def before(folder: RunFolder) -> None:
        write_atomically(folder.plan, "old")

    for folder in every_kill(tmp_path, before, lambda f: write_atomically(f.plan, "new")):
        assert folder.plan.read_text(encoding="utf-8") in ("old", "new")


# Packs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs are made of more than two files, and are at most two."""
    monkeypatch.setattr(packs, "ROLE_FILES", 2)
    monkeypatch.setattr(packs, "PACKS", 2)
    monkeypatch.setattr(packs, "PACK_BYTES", 20)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch, few: None) -> None:
    """Each pack is a round of its own."""
    monkeypatch.setattr(packs, "WRITERS", 1)
    monkeypatch.setattr(packs, "ROUND_BYTES", 1)


def overlays_of(folder: RunFolder, records: dict[int, Done]) -> dict[int, bytes]:
    """What the records say the overlays hold."""
    found = {}
    for unit, done in records.items():
        place = done.outputs["overlay"].place(folder)
        with StretchFile(place) if isinstance(place, Stretch) else place.open("rb") as file:
            found[unit] = file.read()
    return found


@pytest.mark.usefixtures("few")
def test_files_of_many_units_become_few_and_keep_their_bytes(folder: RunFolder) -> None:
    before = all_units_done(folder)
    held = overlays_of(folder, before)
    after = compact(folder, PHASE, before)
    assert len(list((folder.root / "overlays" / PHASE).iterdir())) == 2
    assert finished(folder, PHASE, RIGHT) == after
    assert overlays_of(folder, after) == held
    checksums = {u: d.outputs["overlay"].checksum for u, d in before.items()}
    assert checksums == {u: d.outputs["overlay"].checksum for u, d in after.items()}
    inodes = {path: path.stat().st_ino for path in folder.root.rglob("*.*")}
    assert compact(folder, PHASE, after) == after
    assert {path: path.stat().st_ino for path in folder.root.rglob("*.*")} == inodes


@pytest.mark.usefixtures("few")
def test_packs_take_in_units_of_a_later_update_and_a_lost_pack_costs_its_own_units(folder: RunFolder) -> None:
    for unit in (0, 1, 2):
        write_done(folder, PHASE, attempt_at(folder, unit, "early"))
    compact(folder, PHASE, finished(folder, PHASE, RIGHT))
    for unit in (3, 4):
        write_done(folder, PHASE, attempt_at(folder, unit, "late"))
    everything = finished(folder, PHASE, RIGHT)
    held = overlays_of(folder, everything)
    after = compact(folder, PHASE, everything)
    assert overlays_of(folder, after) == held
    assert len(list((folder.root / "overlays" / PHASE).iterdir())) == 2
    (lost, *_), (kept, *_) = sorted({d.outputs["overlay"].path for d in after.values()}), [after]
    folder.absolute(lost).unlink()
    there = finished(folder, PHASE, RIGHT)
    assert set(there) == {u for u, d in kept.items() if d.outputs["overlay"].path != lost}
    forget(folder, PHASE, there)
    assert overlays_of(folder, there) == {u: held[u] for u in there}


def test_an_update_leaves_packs_as_they_are_while_there_is_room_for_more(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    for unit in (0, 1, 2):
        write_done(folder, PHASE, attempt_at(folder, unit, "early"))
    compact(folder, PHASE, finished(folder, PHASE, RIGHT))
    before = {path: path.stat().st_ino for path in folder.root.rglob("*.pack")}
    assert len(before) == 2
    for unit in (3, 4):
        write_done(folder, PHASE, attempt_at(folder, unit, "late"))
    monkeypatch.setattr(packs, "ROLE_FILES", 3)
    after = compact(folder, PHASE, finished(folder, PHASE, RIGHT))
    assert overlays_of(folder, after)[4] == b"overlay of 4 by late"
    packed = {path: path.stat().st_ino for path in (folder.root / "overlays" / PHASE).iterdir()}
    assert len(packed) == 3
    assert before.items() <= packed.items()


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("step", ["write_packs", "write_merged"])
def test_without_room_for_another_pack_files_stay_as_they_are(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int, step: str
) -> None:
    done = all_units_done(folder)
    held = overlays_of(folder, done)
    owner: Any = packs if step == "write_packs" else compaction
    real, calls = getattr(owner, step), []

    def full(*arguments: Any) -> None:
        calls.append(step)
        if len(calls) > (1 if step == "write_packs" else 2):  # the records are written once before
            raise OSError(number, os.strerror(number))
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, full)
        some = compact(folder, PHASE, done)
    kinds = sorted(path.suffix for path in (folder.root / "overlays" / PHASE).iterdir())
    assert kinds.count(".pack") == 1
    assert kinds.count(".parquet") >= 2
    assert finished(folder, PHASE, RIGHT) == some
    assert overlays_of(folder, some) == held
    monkeypatch.setattr(packs, "ROLE_FILES", 1)
    assert overlays_of(folder, compact(folder, PHASE, some)) == held
    assert not list(folder.root.rglob("*.parquet"))


@pytest.mark.usefixtures("few")
def test_a_disk_that_fails_otherwise_is_no_full_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError(errno.EIO, "broken")

    done = all_units_done(folder)
    monkeypatch.setattr(packs, "_write", broken)
    with pytest.raises(OSError, match="broken"):
        compact(folder, PHASE, done)


def test_rounds_are_large_enough_to_be_worth_recording() -> None:
    small, large = packs.ROUND_BYTES // 100, packs.ROUND_BYTES
    assert list(packs.rounds([])) == []
    assert list(packs.rounds([small] * 30)) == [range(30)]
    assert list(packs.rounds([large] * 20)) == [range(8), range(8, 16), range(16, 20)]


@pytest.mark.parametrize("rounds", ["few", "one_by_one"])
def test_a_kill_while_packing_loses_no_byte(
    tmp_path: Path, request: pytest.FixtureRequest, rounds: str
) -> None:
    request.getfixturevalue(rounds)

    def work(folder: RunFolder) -> None:
        compact(folder, PHASE, finished(folder, PHASE, RIGHT))

    kills = 0
    for folder in every_kill(tmp_path, all_units_done, work):
        kills += 1
        there = finished(folder, PHASE, RIGHT)
        texts = {u: f"overlay of {u} by a{u}".encode() for u in RIGHT}
        assert overlays_of(folder, there) == texts
        forget(folder, PHASE, there)
        after = compact(folder, PHASE, finished(folder, PHASE, RIGHT))
        assert overlays_of(folder, after) == texts
        assert len(files_below(folder)) == 4  # two packs, records, counters
    assert kills >= 2 * (2 + 3 * UNITS)


@pytest.mark.usefixtures("few")
def test_a_file_that_is_too_short_is_not_packed(folder: RunFolder) -> None:
    done = all_units_done(folder)
    folder.absolute(done[3].outputs["overlay"].path).write_bytes(b"x")
    with pytest.raises(CurateError, match="fewer than the 18 bytes"):
        compact(folder, PHASE, done)
    assert not list(folder.root.rglob("*.pack"))
    assert set(finished(folder, PHASE, RIGHT)) == set(RIGHT) - {3}


def test_a_reader_that_looks_while_a_phase_is_packed_finds_every_unit(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    done = all_units_done(folder)
    looks: list[int] = []

    def present(record: Done) -> bool:
        if not looks:  # between reading the records and looking for the first file
            looks.append(record.unit)
            compact(folder, PHASE, done)
        return outputs_present(folder, record)

    assert set(finished(folder, PHASE, RIGHT, present)) == set(RIGHT)


@pytest.mark.parametrize("buffer", [1, 3, 100])
def test_a_stretch_reads_like_a_file_of_its_own(tmp_path: Path, buffer: int) -> None:
    (tmp_path / "pack").write_bytes(bytes(range(100)))
    (tmp_path / "own").write_bytes(bytes(range(40, 65)))
    with StretchFile(Stretch(tmp_path / "pack", 40, 25)) as stretch, (tmp_path / "own").open("rb") as own:
        for where in ((0, 0), (-4, 2), (30, 0), (7, 0), (2, 1)):
            assert stretch.seek(*where) == own.seek(*where)
            assert stretch.read(buffer) == own.read(buffer)
            assert stretch.tell() == own.tell()
        with pytest.raises(ValueError, match="before the beginning"):
            stretch.seek(-1)


@pytest.mark.parametrize("sizes", [[0], [0, 0, 0], [1] * 1000, [10**9, 1, 1], [1, 1, 10**12], [5] * 7])
def test_every_file_goes_into_one_pack_and_no_pack_is_needless(sizes: list[int]) -> None:
    shares = packs.shares(sizes)
    assert [i for share in shares for i in share] == list(range(len(sizes)))
    assert all(shares)
    assert len(shares) <= packs.PACKS


def test_a_finished_phase_keeps_at_most_a_thousand_files() -> None:
    """Overlay, records, evidence and quarantine; merged records, counters, summary. The exchange has one file a unit."""
    assert 4 * max(packs.ROLE_FILES, packs.PACKS) + 3 <= packs.PHASE_FILES
    assert manifest.GROUPS + 3 <= packs.PHASE_FILES
