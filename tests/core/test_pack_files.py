"""Files of many units become few packs; not a byte is lost, whoever is killed, reads, or has no room left."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from curate.core import compaction, manifest, packs
from curate.core.commit import Done, finished, forget, outputs_present, write_done
from curate.core.compaction import compact
from curate.core.errors import CurateError
from curate.core.layout import RunFolder
from curate.core.packs import Stretch, StretchFile
from tests.core.committed import (
    PHASE,
    RIGHT,
    UNITS,
    all_units_done,
    attempt_at,
    every_kill,
    files_below,
    overlays_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


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


@pytest.mark.usefixtures("unsynced")
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
