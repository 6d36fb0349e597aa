"""Whenever a process is killed, a unit is pending or done, and nothing that counts is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from curate.core.commit import (
    consume,
    describe,
    finished,
    forget,
    is_consumed,
    read_done,
    remove_outputs,
    write_atomically,
    write_done,
)
from curate.core.compaction import compact
from curate.core.layout import RunFolder
from tests.core.committed import (
    PHASE,
    RIGHT,
    UNITS,
    all_units_done,
    attempt_at,
    counters_of,
    every_kill,
    files_below,
)

pytestmark = pytest.mark.usefixtures("unsynced")


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
