"""What a run on Slurm keeps in `slurm/` of its folder; the package's docstring lists the files.

`settings.json` and `submission.json` are written by the holder of the run's lock. A task writes only files of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.config.execution import Slurm
from curate.core.commit import write_atomically
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder


@dataclass(frozen=True)
class Estimate:
    """Of a phase over the whole input. cpu: seconds of one CPU; gpu: of one GPU; start: seconds of each task before it
    works; memory: bytes.
    """

    cpu: float
    gpu: float
    start: float
    memory: int


@dataclass(frozen=True)
class Settings:
    """What the advance jobs need of the config. tasks: into how many a phase is divided; None: one for each unit.

    estimates: phase → what it will cost by measured rates, for what the config leaves open.
    """

    slurm: Slurm
    retries: int
    tasks: int | None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Array:
    """One chunk of a phase's array: the job's elements 0 … count - 1 are the tasks from `first` on."""

    job: str
    first: int
    count: int


@dataclass(frozen=True)
class Submission:
    """A phase in the queue. tasks: the name of the tasks' file in `slurm/`; advance: the job after the array."""

    phase: str
    tasks: str
    arrays: tuple[Array, ...]
    advance: str

    def task(self, job: str, index: int | None) -> int | None:
        """The task that an array element does; None if it is no element of this phase."""
        for array in self.arrays:
            if array.job == job and index is not None:
                return array.first + index
        return None


def place(folder: RunFolder) -> Path:
    """`slurm/` of a run folder."""
    return folder.beside / "slurm"


def job_name(folder: RunFolder) -> str:
    """The name of all jobs of a run: like its folder's, and unlike any other folder's. `squeue` divides names at commas.

    Once the run was submitted it is what the settings say: a path may be another one on each node (/home, /export/home). In
    a copy of the folder they say nothing, or it would share its jobs with the original.
    """
    with suppress(
        FileNotFoundError, ValueError, KeyError
    ):  # a damaged file is written anew when it is submitted
        noted = json.loads((place(folder) / "settings.json").read_text(encoding="utf-8"))["job"]
        if noted["inode"] == place(folder).stat().st_ino:
            return str(noted["name"])
    local = isinstance(folder.root, Path)
    root = (
        os.path.realpath(str(folder.root)) if local else str(folder.root)
    )  # one run, by whichever link one comes to it
    label = re.sub(r"[^A-Za-z0-9._-]", "_", folder.root.name[:40])
    return f"{label}.{hashlib.sha256(root.encode()).hexdigest()[:10]}"


def write_settings(folder: RunFolder, settings: Settings) -> None:
    """Note the settings, and the name that the run's jobs have from now on; one that they have already stays."""
    place(folder).mkdir(parents=True, exist_ok=True)
    raw = {
        "job": {"name": job_name(folder), "inode": place(folder).stat().st_ino},
        "slurm": settings.slurm.model_dump(mode="json", exclude_none=True),
        "retries": settings.retries,
        "tasks": settings.tasks,
        "estimates": {name: asdict(estimate) for name, estimate in settings.estimates.items()},
    }
    write_atomically(place(folder) / "settings.json", json.dumps(raw, indent=1) + "\n")


def read_settings(folder: RunFolder) -> Settings:
    raw = _read(place(folder) / "settings.json")
    estimates = {name: Estimate(**estimate) for name, estimate in raw["estimates"].items()}
    return Settings(Slurm.model_validate(raw["slurm"]), raw["retries"], raw["tasks"], estimates)


def write_submission(folder: RunFolder, submission: Submission) -> None:
    """Note what is in the queue now; tasks of earlier submissions are forgotten."""
    write_atomically(place(folder) / "submission.json", json.dumps(asdict(submission), indent=1) + "\n")
    for old in place(folder).glob("*-*.json"):
        if old.name != submission.tasks:
            old.unlink(missing_ok=True)


def read_submission(folder: RunFolder) -> Submission | None:
    """The last phase that was submitted, if any was."""
    try:
        raw = _read(place(folder) / "submission.json", missing_ok=True)
    except FileNotFoundError:  # or the run has just ended: another job removes it when it is done
        return None
    return Submission(raw["phase"], raw["tasks"], tuple(Array(**a) for a in raw["arrays"]), raw["advance"])


def forget_submission(folder: RunFolder) -> None:
    """The run is done: nothing of it is, or will be, in the queue."""
    for path in (
        *place(folder).glob("*-*.json"),
        place(folder) / "submission.json",
        place(folder) / "settings.json",
    ):
        path.unlink(missing_ok=True)


def was_submitted(folder: RunFolder) -> bool:
    """Whether jobs of the run may be in the queue: from before the first is submitted until the run is done."""
    return (place(folder) / "settings.json").exists()


def write_tasks(folder: RunFolder, phase: str, tasks: Sequence[Sequence[int]]) -> str:
    """Write which units each task has, under a new name; returns the name."""
    name = f"{phase}-{secrets.token_hex(4)}.json"
    write_atomically(
        place(folder) / name, json.dumps({"phase": phase, "tasks": [list(t) for t in tasks]}) + "\n"
    )
    return name


def is_current(folder: RunFolder, name: str) -> bool:
    """Whether a tasks' file is that of the last submission."""
    return (place(folder) / name).exists()


def read_tasks(folder: RunFolder, name: str) -> tuple[str, list[list[int]]]:
    """The phase and the units of each task."""
    raw = _read(place(folder) / name)
    return raw["phase"], raw["tasks"]


def _read(path: Path, *, missing_ok: bool = False) -> Any:
    """R306 for a file that is damaged, or missing where one must be; with `missing_ok` FileNotFoundError goes on."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, FileNotFoundError) as cause:
        if missing_ok and isinstance(cause, FileNotFoundError):
            raise
        raise error(
            "R306",
            f"{path} is missing or damaged: {cause}",
            help="run again with `--on slurm`: what is pending is submitted anew",
        ) from cause


def forget_failures(folder: RunFolder) -> None:
    """Before a new try: no task has failed yet, none has gone back to the queue."""
    for name in ("failed", "tries"):
        shutil.rmtree(place(folder) / name, ignore_errors=True)
        (place(folder) / name).mkdir(parents=True)


def write_failure(folder: RunFolder, phase: str, task: int, cause: CurateError) -> None:
    """Note why a task failed; the first task that fails ends the run."""
    problems = [
        {"code": p.code, "message": p.message, "help": p.help, "context": dict(p.context)}
        for p in cause.problems
    ]
    path = place(folder) / "failed" / f"{phase}-{task}.json"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(json.dumps({"problems": problems}, default=str) + "\n", encoding="utf-8")
    draft.replace(path)


def read_failures(folder: RunFolder) -> list[dict[str, Any]]:
    """The problems of the task that failed first; empty if none has."""
    failed = place(folder) / "failed"
    paths = list(failed.glob("[!.]*.json")) if failed.exists() else []
    if not paths:
        return []
    first = min(paths, key=lambda path: (path.stat().st_mtime, path.name))
    problems: list[dict[str, Any]] = _read(first)["problems"]
    return problems
