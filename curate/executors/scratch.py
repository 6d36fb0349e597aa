"""Scratch folders of processes: below a run's folder on a node, one for each process, named by it.

    <tmp>/curate-<digest of the run folder>/<node>-<process namespace>-<process>/

A killed process leaves its files there. Whoever comes next removes those of the dead, and of nobody else: a run that stalled
may still be at work when another has taken its place.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path


def enter_scratch(base: Path) -> Path:
    """This process's folder below `base`, new and empty; what dead ones left is removed."""
    own = base / f"{_processes()}{os.getpid()}"
    base.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # the last one left at this moment
        _remove_left(base)
    shutil.rmtree(
        own, ignore_errors=True
    )  # of a dead process with the same number, as the first in a container has
    own.mkdir(parents=True)
    return own


def leave_scratch(own: Path) -> None:
    """Remove the folder, and the run's with the last process of the node."""
    shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):  # the others' files are still there, or a cleaner of temporary files was first
        _remove_left(own.parent)
        own.parent.rmdir()


def _processes() -> str:
    """A prefix for what belongs to processes that are numbered together: those of one node, or of one container."""
    return f"{os.uname().nodename}-{os.stat('/proc/self/ns/pid').st_ino}-"


def _remove_left(base: Path) -> None:
    """Remove what dead processes left; those of other nodes and containers look after their own."""
    own = _processes()
    for left in base.iterdir():
        if left.name.startswith(own) and not Path("/proc", left.name.removeprefix(own)).exists():
            shutil.rmtree(left, ignore_errors=True)  # another process of the node may be at it too
