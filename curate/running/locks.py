"""Who works in a run folder or an output: one run at a time.

Locally `lock` is held with flock, so it is free again however the holder ends; in a store there is a lease
(`curate.core.lease`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from curate.core import lease
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.objects import ObjectPath, as_place
from curate.core.plan import Plan

#: Below an output's folder in a store: who is publishing to it.
OUTPUT_LEASE = ".curate.lock"


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Hold the run folder; R302 if another process does."""
    if isinstance(folder.root, ObjectPath):
        with lease.held(folder.root / "lock", lease.probe(folder.root, exclusive=True)):
            yield
        return
    lock = folder.root / "lock"
    folder.root.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            _hold(file)
        except BlockingIOError as cause:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise error(
                "R302",
                f"the run folder {folder.root} is in use by {holder}",
                help="wait for it, or give this run its own --run-dir",
            ) from cause
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


def _hold(file: TextIO) -> None:
    """Take the lock; a reader that asks who holds it (`holder`) has it for an instant, so try for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.02)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(folder: RunFolder) -> str | None:
    """Who works in the folder now; None if nobody does."""
    if isinstance(folder.root, ObjectPath):
        return lease.holder(folder.root / "lock")
    lock = folder.root / "lock"
    if not _is_locked(lock):
        return None
    return lock.read_text(encoding="utf-8", errors="replace").strip() or "another process"


def _is_locked(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextmanager
def locked_outputs(plan: Plan) -> Iterator[None]:
    """Hold every output folder: two runs that publish to one place would take each other's files for debris."""
    with ExitStack() as held:
        for output in plan.outputs:
            place = as_place(output.path)
            if isinstance(place, ObjectPath):
                held.enter_context(_leased(place))
                continue
            place.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_RDONLY)
            held.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                raise error(
                    "R302",
                    f"another run is publishing to {output.path}",
                    help="wait for it, or give this output another `path`",
                ) from cause
        yield


@contextmanager
def _leased(output: ObjectPath) -> Iterator[None]:
    """Hold an output in a store; one that cannot tell two runs apart (such as `hf://`) is left to the user's care."""
    try:
        now = lease.probe(output, exclusive=True)
    except CurateError as cause:
        if cause.problems[0].code != "E511":
            raise
        yield
        return
    with lease.held(output / OUTPUT_LEASE, now):
        yield
