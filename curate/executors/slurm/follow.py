"""A run that is in Slurm's queue, looked at from outside: how far it is, its logs, its end.

Done-files say what is done, the queue who is at work. A task has failed if its element has ended while units of it are
pending; why stands in its log, and in `slurm/failed/` if it could say so itself.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from curate.core.commit import read_done
from curate.core.errors import CurateError, Problem, error
from curate.core.layout import RunFolder
from curate.core.plan import Plan
from curate.executors.slurm import client
from curate.executors.slurm.notice import (
    as_submitted,
    job_name,
    mark,
    place,
    read_notice,
    was_submitted,
)
from curate.executors.slurm.state import (
    Submission,
    read_failures,
    read_submission,
    read_tasks,
)
from curate.planning.fingerprints import finished_units
from curate.running.ledger import all_encoders
from curate.running.saved_run import load_run

if TYPE_CHECKING:
    from curate.running.progress import Progress

#: Seconds between two looks at the queue: at first, and at most.
_FIRST, _LAST = 1.0, 15.0
#: Seconds for which a controller that does not answer is waited for.
_RESTART: Final = 600.0
#: Seconds within which cancelled jobs have to end.
_CLEARING: Final = 300.0


def jobs_of(folder: RunFolder) -> list[client.Element]:
    """Jobs and array elements of a run that wait or work. R302 if the run was submitted to another cluster than this one."""
    notice = read_notice(folder)
    if notice is not None and notice.cluster and notice.cluster != client.cluster():
        raise error(
            "R302",
            f"{folder.root} was submitted to the cluster {notice.cluster}, on {notice.host} in {notice.directory}, and this "
            f"is the cluster {client.cluster()}",
            help=f"go there; once no job of it is left, remove {mark(folder)}",
        )
    return client.queue(job_name(folder))


def refuse_if_not_here(folder: RunFolder) -> None:
    """R302 if the jobs of a run that is not done work with files that this machine does not see."""
    notice = read_notice(folder)
    if notice is not None and not os.path.isdir(place(as_submitted(folder))):
        raise error(
            "R302",
            f"the jobs of {folder.root} work with files in {notice.directory} of {notice.host}, which are not here",
            help=f"go there, or cancel them with: curate cancel {folder.root}",
        )


def clear_queue(folder: RunFolder, but: str | None = None) -> None:
    """Cancel the jobs of a run and wait until they are gone. but: a job that is left alone; E522 after five minutes."""
    until = time.monotonic() + _CLEARING
    while left := {e.job for e in jobs_of(folder) if e.job != but}:
        if time.monotonic() > until:
            raise error(
                "E522",
                f"jobs {', '.join(sorted(left, key=int)[:5])} were cancelled and do not end",
                help="look at them with `squeue`, and run again",
            )
        client.cancel(left)
        time.sleep(1)


def queue_state(folder: RunFolder) -> dict[str, Any] | None:
    """`phase waiting working jobs reasons problem` of a run that was submitted; None if nothing of it is in the queue.

    phase: None where its files are not seen, as on a machine without the folder in which it was submitted.
    problem: why the queue cannot be asked; the numbers are then 0.
    """
    if not was_submitted(folder):
        return None
    folder = as_submitted(folder)
    submission = read_submission(folder)
    state: dict[str, Any] = {
        "phase": submission.phase if submission is not None else None,
        "waiting": 0,
        "working": 0,
        "jobs": [],
        "reasons": {},
        "problem": None,
    }
    try:
        elements = jobs_of(folder)
    except CurateError as cause:
        return {**state, "problem": cause.problems[0].message}
    waiting = [e for e in elements if e.state == "PENDING"]
    if not elements:
        return None
    return {
        **state,
        "waiting": len(waiting),
        "working": len(elements) - len(waiting),
        "jobs": sorted({e.job for e in elements}, key=int),
        "reasons": dict(sorted(Counter(e.reason for e in waiting).items())),
    }


def refuse_if_queued(folder: RunFolder) -> None:
    """R302 if Slurm's queue has jobs that work in the folder; they hold no lock."""
    if not was_submitted(folder):
        return
    try:
        queued = jobs_of(folder)
    except CurateError as cause:
        if cause.problems[0].code == "R302":
            raise
        raise error(
            "R302",
            f"{folder.root} was submitted to Slurm, whose queue cannot be asked: {cause.problems[0].message}",
            help=f"run it where Slurm is; once no job of it is left, remove {mark(folder)}",
        ) from cause
    if queued:
        raise error(
            "R302",
            f"the run folder {folder.root} is in use by {len(queued)} jobs in Slurm's queue",
            help=f"wait for them, or cancel them with: curate cancel {folder.root}",
        )


def follow(folder: RunFolder, is_done: Callable[[], bool]) -> bool:
    """Show progress until no job of the run is left. True if the run is done; else its failure is raised, or R321.

    is_done: whether the run is done, by its done-files.
    """
    from curate.running.progress import Progress  # which shows reports, and they show this

    began = time.monotonic()
    silent_since: float | None = None
    plan, _ = load_run(folder.root)

    with Progress() as progress:
        shown = _Shown(folder, plan, progress)
        while True:
            try:
                live = jobs_of(folder)
                silent_since = None
            except CurateError as cause:
                silent_since = silent_since if silent_since is not None else time.monotonic()
                if cause.problems[0].code != "E522" or time.monotonic() - silent_since > _RESTART:
                    raise
                live = None
            shown.look()
            if live == [] or (live is not None and all(e.state == "COMPLETING" for e in live) and is_done()):
                break
            time.sleep(min(_LAST, _FIRST + (time.monotonic() - began) / 30))
        if _settled(folder, is_done):
            shown.end()
            return True
    raise why_ended(folder)


def _settled(folder: RunFolder, is_done: Callable[[], bool]) -> bool:
    """Whether the run is done, looked at a few times: NFS may be late to show what the last job wrote."""
    for pause in (0.0, 1.0, 2.0, 4.0):
        time.sleep(pause)
        if is_done():
            return True
        if folder.failure.exists() or read_failures(folder):
            break
    return False


class _Shown:
    """What the progress display has been told."""

    def __init__(self, folder: RunFolder, plan: Plan, progress: Progress) -> None:
        self._folder, self._plan, self._progress = folder, plan, progress
        self._submission: Submission | None = None
        self._units = self._done = 0

    def look(self) -> None:
        """Tell of units done since the last look, and of phases that have ended."""
        submission = read_submission(self._folder)
        if submission is not None and submission != self._submission:
            try:
                units = sum(map(len, read_tasks(self._folder, submission.tasks)[1]))
            except CurateError:  # the next phase has just been submitted: it is seen at the next look
                return
            self.end()
            self._submission, self._done, self._units = submission, 0, units
            self._progress.phase_started(self._plan.phase(submission.phase), self._units, 0, 0)
        if self._submission is not None:
            phase = self._submission.phase
            now = sum(1 for _ in self._folder.done_folder(phase).glob("[0-9]*.json"))
            self._tell(min(now, self._units))

    def _tell(self, done: int) -> None:
        for unit in range(self._done, done):
            self._progress.unit_done(unit)
        self._done = max(done, self._done)

    def end(self) -> None:
        if self._submission is not None:
            self._tell(self._units)
            records = read_done(self._folder, self._submission.phase).values()
            counted = [unit[0] for unit in records if unit]
            work = all_encoders(r.facts for r in counted)
            self._progress.progress(sum(r.rows for r in counted), 0, work)
            self._progress.phase_finished(self._plan.phase(self._submission.phase))


def why_ended(folder: RunFolder) -> CurateError:
    """Why the jobs of a run ended before it was done: what a task said, else R321 with what the queue remembers."""
    said = read_failures(folder)
    if folder.failure.exists():  # the job between two phases had something to say
        said = json.loads(folder.failure.read_text(encoding="utf-8"))["problems"]
    problems = [Problem(p["code"], p["message"], p.get("help", ""), None, p.get("context", {})) for p in said]
    if problems:
        return CurateError(problems, exit_code=1)
    failed = list(failed_tasks(folder))
    states = Counter(f.state for f in failed)
    words = ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
    number = "1 task is" if len(failed) == 1 else f"{len(failed):,} tasks are"
    submission = read_submission(folder)
    return error(
        "R321",
        f"the jobs of phase {submission.phase if submission else '?'} have ended and {number} not done"
        + (f" ({words})" if words else ""),
        help="run again with `--on slurm`: only what is missing is submitted; look at: curate logs --failed",
        exit_code=3,
    )


@dataclass(frozen=True)
class FailedTask:
    """A task that ended with units pending. state: as Slurm remembers it; log: None if it never started."""

    phase: str
    task: int
    units: tuple[int, ...]
    job: str
    state: str
    log: Path | None


def failed_tasks(folder: RunFolder) -> Iterator[FailedTask]:
    """Tasks of the phase submitted last that have ended while units of them are pending; R302 where the jobs' files are not
    seen.
    """
    refuse_if_not_here(folder)
    folder = as_submitted(folder)
    submission = read_submission(folder)
    if submission is None:
        return
    plan, manifest = load_run(folder.root)
    phase, tasks = read_tasks(folder, submission.tasks)
    done = finished_units(plan, manifest, plan.phase(phase), folder)
    try:
        known = {(e.job, e.index): e for e in client.queue(job_name(folder), ended=True)}
    except CurateError:  # without the queue, what is not done may be at work: it is shown all the same
        known = {}
    for array in submission.arrays:
        for index in range(array.count):
            task = array.first + index
            element = known.get((array.job, index))
            if all(u in done for u in tasks[task]) or (element is not None and not element.ended):
                continue
            log = folder.logs / "slurm" / f"{phase}.{array.job}_{index}.log"
            name = f"{array.job}_{index}"
            state = element.state if element is not None else "gone from the queue"
            yield FailedTask(phase, task, tuple(tasks[task]), name, state, log if log.exists() else None)
