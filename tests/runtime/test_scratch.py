"""Scratch folders of processes: dead ones are swept, living ones left alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from curate.executors.scratch import _processes, enter_scratch, leave_scratch


def test_only_what_dead_processes_left_goes(tmp_path: Path) -> None:
    base = tmp_path / "curate-1"
    dead = subprocess.Popen(["true"])
    dead.wait()
    living, elsewhere = base / f"{_processes()}1", base / "another-node-1-1"
    gone, own = base / f"{_processes()}{dead.pid}", base / f"{_processes()}{os.getpid()}"
    for folder in (living, elsewhere, gone, own):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    assert enter_scratch(base) == own
    assert list(own.iterdir()) == []
    leave_scratch(own)
    assert sorted(base.iterdir()) == sorted([living, elsewhere])
    leave_scratch(own)


def test_the_last_one_removes_the_folder(tmp_path: Path) -> None:
    own = enter_scratch(tmp_path / "curate-1")
    (own / "file").touch()
    leave_scratch(own)
    assert list(tmp_path.iterdir()) == []
