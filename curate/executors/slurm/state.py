"""What a run on Slurm keeps in `slurm/` of its folder; the package's docstring lists the files.

`settings.json` and `submission.json` are written by the holder of the run's lock. A task writes only files of its own.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curate.config.execution import Slurm
from curate.core.commit import write_atomically
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.objects import Place
from curate.executors.slurm.notice import as_json, as_submitted, mark, notice_of, place, was_submitted


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


def write_settings(folder: RunFolder, settings: Settings, cluster: str = "") -> None:
    """Note the settings, and which jobs the run has from now on; what is noted of them already stays."""
    place(folder).mkdir(parents=True, exist_ok=True)
    notice = as_json(notice_of(folder, cluster))
    if not isinstance(folder.root, Path):
        write_atomically(mark(folder), json.dumps(notice) + "\n")
    raw = {
        "job": notice,
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
    """Note what is in the queue now; tasks of earlier submissions, and what these had to say, are forgotten."""
    write_atomically(place(folder) / "submission.json", json.dumps(asdict(submission), indent=1) + "\n")
    own = submission.tasks.removesuffix(".json")
    for pattern in ("*-*.json", "failed/*.json", "tries/*.json"):
        for old in place(folder).glob(pattern):
            if not old.name.startswith(own):
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
    paths: tuple[Place, ...] = (
        *place(folder).glob("*-*.json"),
        place(folder) / "submission.json",
        place(folder) / "settings.json",
        mark(folder),
    )
    for path in paths:
        path.unlink(missing_ok=True)


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


def note(folder: RunFolder, kind: str, tasks: str, task: int) -> Path:
    """Where a task notes something: `failed` or `tries`. By its submission, so that one of an earlier one stops nobody.

    tasks: the name of the submission's tasks' file.
    """
    return place(folder) / kind / f"{tasks.removesuffix('.json')}-{task}.json"


def write_failure(folder: RunFolder, tasks: str, task: int, cause: CurateError) -> None:
    """Note why a task failed; the first task that fails ends the run."""
    problems = [
        {"code": p.code, "message": p.message, "help": p.help, "context": dict(p.context)}
        for p in cause.problems
    ]
    path = note(folder, "failed", tasks, task)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(json.dumps({"problems": problems}, default=str) + "\n", encoding="utf-8")
    draft.replace(path)


def read_failures(folder: RunFolder) -> list[dict[str, Any]]:
    """The problems of the task that failed first of those submitted last; empty if none has."""
    if not was_submitted(folder):
        return []
    folder = as_submitted(folder)
    submission = read_submission(folder)
    own = f"{submission.tasks.removesuffix('.json')}-" if submission is not None else "[!.]"
    paths = list((place(folder) / "failed").glob(f"{own}*.json"))
    if not paths:
        return []
    first = min(paths, key=lambda path: (path.stat().st_mtime, path.name))
    problems: list[dict[str, Any]] = _read(first)["problems"]
    return problems
