"""What an executor raises when a unit fails or a worker is lost, whichever executor it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.core.errors import CurateError, Position, Problem


def unit_failure(message: Mapping[str, Any], context: Mapping[str, object]) -> CurateError:
    """A unit's own error, as its worker told it (`executors.worker`). context: phase, unit, file, log."""
    if message["problems"]:
        problems = [
            Problem(**{**p, "position": Position(**p["position"]) if p["position"] else None})
            for p in message["problems"]
        ]
        return CurateError(problems, exit_code=1)
    help = "the trace is in the log; finished units are kept, run again to continue"
    return CurateError([Problem("R303", message["message"], help, None, context)], exit_code=1)


def worker_lost(message: str, context: Mapping[str, object], help: str | None = None) -> CurateError:
    """A worker that went away more often than `retries` allows."""
    help = help or (
        "if the system ran out of memory, use fewer --workers; finished units are kept, run again to continue"
    )
    return CurateError([Problem("R304", message, help, None, context)], exit_code=1)
