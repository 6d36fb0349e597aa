"""A worker process: takes units from its parent on standard input, tells what happens on standard output.

Both are JSON lines, so nothing is pickled and any executor can drive it:

    in    {"phase": "pass1", "unit": 3, "task": 0, "threads": 2}
    out   {"event": "ready"} · {"event": "progress", "rows": n, "bytes": n, "work": [tokens, busy, seconds]}
          {"event": "done", "unit": 3, "won": true} · {"event": "failed", "unit": 3, "problems": […]}

Standard output is kept for these lines alone: whatever a library prints goes to the worker's log. The process dies with its
parent, and ignores Ctrl-C, which the parent handles.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from curate.core.objects import Place, as_place

if TYPE_CHECKING:
    from curate.running.task import Worker

_PR_SET_PDEATHSIG = 1
_PROGRESS_SECONDS = 0.2


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("root", type=as_place)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--scratch", type=Path)
    arguments.add_argument("--parent", type=int, required=True)
    arguments.add_argument("--patience", type=float, default=0.0)
    given = arguments.parse_args()
    die_with_parent(given.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    serve(given.root, given.threads, given.scratch, given.patience, sys.stdin, events)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when the parent goes, however it goes (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def serve(
    root: Place, threads: int, scratch: Path | None, patience: float, requests: TextIO, events: TextIO
) -> None:
    """Do units until standard input ends. A unit that fails is reported, and the worker goes on."""
    import pyarrow as pa

    from curate.running.task import Worker

    pa.set_cpu_count(threads)
    pa.set_io_thread_count(max(1, threads))
    worker = Worker(root, threads=threads, scratch=scratch, patience=patience)
    _send(events, event="ready")
    try:
        for line in requests:
            _serve_one(worker, json.loads(line), events)
    finally:
        worker.close()


def _serve_one(worker: Worker, request: dict[str, Any], events: TextIO) -> None:
    progress = Progress(lambda message: _send(events, **message))
    _send(events, **outcome(worker, progress=progress, **request))


def outcome(
    worker: Worker, phase: str, unit: int, task: int, progress: Progress, threads: int | None = None
) -> dict[str, Any]:
    """Do one unit and say how it ended: the `done` or `failed` message of the module's story."""
    from curate.core.errors import CurateError

    try:
        done = worker.run(phase, [unit], task, progress.add, threads)
    except CurateError as cause:
        _log(traceback.format_exc())
        return {"event": "failed", "unit": unit, "problems": [dataclasses.asdict(p) for p in cause.problems]}
    except Exception as cause:  # noqa: BLE001  # whatever a step raises is reported with its trace, never lost
        _log(traceback.format_exc())
        message = f"{type(cause).__name__}: {cause}"
        return {"event": "failed", "unit": unit, "problems": [], "message": message}
    progress.flush()
    return {"event": "done", "unit": unit, "won": bool(done)}


def _log(trace: str) -> None:
    """Write a trace to the worker's log; on a full disk there is none, and the parent knows the error all the same."""
    with suppress(OSError):
        sys.stderr.write(trace)
        sys.stderr.flush()


class Progress:
    """Adds up what a unit reports, from its beginning, and tells of it a few times a second; with the seconds that passed,
    so that the parent knows of what share encoders were busy."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._rows = self._bytes = self._tokens = 0
        self._busy = 0.0
        self._last = time.monotonic()

    def add(self, rows: int, size: int, work: tuple[int, float, float] = (0, 0.0, 0.0)) -> None:
        self._rows += rows
        self._bytes += size
        self._tokens += work[0]
        self._busy += work[1]
        if time.monotonic() - self._last >= _PROGRESS_SECONDS:
            self.flush()

    def flush(self) -> None:
        now = time.monotonic()
        if self._rows or self._bytes:
            work = (self._tokens, round(self._busy, 6), round(now - self._last, 6))
            self._tell({"event": "progress", "rows": self._rows, "bytes": self._bytes, "work": work})
            self._rows = self._bytes = self._tokens = 0
            self._busy = 0.0
            self._last = now


def _send(events: TextIO, **message: object) -> None:
    try:
        events.write(json.dumps(message, default=str) + "\n")
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
