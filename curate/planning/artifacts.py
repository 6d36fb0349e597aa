"""Files that decide a step's output (models, word lists, thresholds, test sets) and their checksums.

In: a step and its context. Out: role → XXH3-128 of the file's bytes, in hexadecimal. A plan records them, since they are
in the fingerprints, and every worker looks again before it opens a step: between plan and work a queue may lie, or another
node with its own copy, and a unit's record must not claim a model that it was not made with.

A process reads each file once (by path, size and mtime). 1.6 GB, the largest model there is a name for, take half a second
from memory, which the model's own loading needs them in anyway; a size and an mtime alone say nothing about a copy on
another node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from curate.core.commit import checksum_of
from curate.core.errors import error
from curate.core.plan import StepPlan
from curate.core.stage import Context, Job, Selector
from curate.running.contract import AnyStep

_HELP: Final = "put it back, or run again: what depends on it is computed anew"


def checksums(step: AnyStep | Job[Any], context: Context) -> dict[str, str]:
    """Checksums of the files that decide a step's output. `CurateError` or OSError if one cannot be read."""
    return {role: checksum(path) for role, path in _files(step, context).items()}


def checksum(path: Path) -> str:
    """XXH3-128 of a file's bytes."""
    found = path.stat()
    return _checksum(path, found.st_size, found.st_mtime_ns)


def check_unchanged(plan: StepPlan, step: AnyStep | Job[Any], context: Context) -> None:
    """Raises R301 if a step's files are not those that the plan was made with, R309 if the step is of another version."""
    if plan.version != type(step).VERSION:
        raise error(
            "R309",
            f"the step {plan.name} was planned with version {plan.version} of {plan.use}, and here is {type(step).VERSION}",
            help="use the package that planned the run, or run again",
        )
    files = _files(step, replace(context, artifacts=plan.artifacts))
    for role, path in files.items():
        if role not in plan.artifacts:
            raise error(
                "R301", f"{path} of the step {plan.name} was not there when the run was planned",
                help="take it away, or run again: what depends on it is computed anew", file=str(path),
            )  # fmt: skip
        if checksum(path) != plan.artifacts[role]:
            raise error(
                "R301", f"{path} of the step {plan.name} has other content than when the run was planned",
                help=_HELP, file=str(path),
            )  # fmt: skip
    for role in plan.artifacts:
        if role not in files:
            raise error(
                "R301", f"'{role}' of the step {plan.name} was planned and is not there now", help=_HELP
            )


def _files(step: AnyStep | Job[Any], context: Context) -> Mapping[str, Path]:
    return {} if isinstance(step, Selector) else step.artifacts(context)


@lru_cache(maxsize=4096)
def _checksum(path: Path, size: int, mtime_ns: int) -> str:
    return checksum_of(path)
