"""From the phase that has ended to the next one in the queue. It runs where a run is submitted, and in the job between two
phases; either way under the run's lock, while no task of the run is at work.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from curate.config.execution import WARNING, SlurmJobs
from curate.core.commit import write_atomically
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Phase, Plan, even_tasks, pack
from curate.executors.slurm import client
from curate.executors.slurm.mounts import shows_late
from curate.executors.slurm.notice import job_name, place
from curate.executors.slurm.script import Place, advance_script, array_script, workers_of
from curate.executors.slurm.state import (
    Array,
    Estimate,
    Settings,
    Submission,
    forget_submission,
    read_submission,
    read_tasks,
    write_submission,
    write_tasks,
)
from curate.planning.fingerprints import finished_units, unit_fingerprints
from curate.running.locks import locked_outputs
from curate.running.run import PhaseWork, close_phase, is_needless, open_phase, publish
from curate.running.saved_run import load_run
from curate.running.task import ATTRIBUTES, Worker

#: Units of a task where one takes milliseconds. As many are done at once, without a wait in the queue.
_SMALL: Final[Mapping[str, int]] = {"count": 64}

#: Seconds between two looks at what this node does not see yet.
_PAUSE: Final = 3.0


def advance(
    plan: Plan,
    manifest: Manifest,
    folder: RunFolder,
    settings: Settings,
    after: str | None = None,
    *,
    again: bool = False,
) -> Submission | None:
    """End what is done and submit the next phase with units pending; None if the run is done.

    after: the phase whose tasks have all ended well; R306 if a unit of it is pending all the same. E523 if Slurm refuses.
    again: they have ended in whatever way, and what is pending is submitted anew.
    """
    if after is not None:
        await_phases(plan, manifest, folder, after, all_done=not again)
        after = None if again else after
    with locked_outputs(plan):
        for phase in plan.phases:
            if is_needless(plan, manifest, folder, phase):
                continue
            work = open_phase(plan, manifest, folder, phase)
            pending = work.pending
            if pending:
                if len(pending) > _SMALL.get(phase.kind, 0):
                    return _submit(plan, manifest, folder, phase, settings, work)
                _do_here(folder, phase, pending)
            close_phase(plan, manifest, folder, phase, worked=bool(pending) or phase.name == after)
            if phase.kind == "write":
                publish(plan, manifest, folder, phase)
    forget_submission(folder)
    return None


def await_phases(
    plan: Plan, manifest: Manifest, folder: RunFolder, last: str, *, all_done: bool = True
) -> None:
    """Wait until this node sees every done-file of the phases up to one whose tasks have ended, as long as NFS may be late.

    all_done: whether they have ended well: R306 if a unit is not seen then. Else units may be missing in truth.

    It must be waited for before anything is tidied: files of a unit whose done-file is not seen would be taken for debris.
    """
    until = time.monotonic() + ATTRIBUTES
    for phase in plan.phases[: plan.phases.index(plan.phase(last)) + 1]:
        while (unit := _missing(plan, manifest, folder, phase)) is not None:
            if time.monotonic() > until:
                if not all_done:
                    return
                raise error(
                    "R306",
                    f"phase {phase.name} ended without unit {unit}: its outputs are missing or have another size",
                    help="run again: missing units are computed anew",
                    phase=phase.name,
                    unit=unit,
                )
            time.sleep(_PAUSE)


def await_ended(folder: RunFolder) -> None:
    """Before a run is submitted anew: wait until this node sees the units of tasks that have ended, as long as NFS may be
    late.

    Those of a task that ended well must come. Of one that failed or was cancelled some may, and they are waited for only
    where the file system shows files late, and only until what was there at its end must be seen. What Slurm has forgotten
    ended minutes ago.
    """
    if (submission := read_submission(folder)) is None:
        return
    known = {(e.job, e.index): e for e in client.queue(job_name(folder), ended=True) if e.ended}
    if not any(array.job == job for array in submission.arrays for job, _ in known):
        return
    try:
        plan, manifest = load_run(folder.root)
        phase, tasks = read_tasks(folder, submission.tasks)
    except CurateError:  # nothing is known of what they did: all is looked at anew
        return
    if phase not in {
        p.name for p in plan.phases
    }:  # one was killed before it had forgotten an earlier plan's jobs
        return
    late = isinstance(folder.root, Path) and shows_late(folder.root)
    patience: dict[int, float] = {}  # unit → seconds
    for array in submission.arrays:
        for index in range(array.count):
            if (task := known.get((array.job, index))) is None:
                continue
            if task.state == "COMPLETED":
                seconds = ATTRIBUTES
            elif late:
                since = time.time() - task.end if task.end is not None else 0.0
                seconds = ATTRIBUTES - max(0.0, since)
            else:
                continue
            patience.update(dict.fromkeys(tasks[array.first + index], seconds))
    began, told = time.monotonic(), False
    while unseen := patience.keys() - finished_units(plan, manifest, plan.phase(phase), folder).keys():
        left = max(patience[unit] for unit in unseen) - (time.monotonic() - began)
        if left <= 0:
            return
        if not told:
            print(f"waiting for what nodes wrote last, up to {left:.0f} s", file=sys.stderr, flush=True)
            told = True
        time.sleep(min(_PAUSE, left))


def _missing(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> int | None:
    """The first unit of a phase that is not done as this node sees it."""
    if is_needless(plan, manifest, folder, phase):
        return None
    fingerprints = unit_fingerprints(plan, manifest, phase, folder)
    if fingerprints is None:
        return 0
    return min(fingerprints.keys() - finished_units(plan, manifest, phase, folder).keys(), default=None)


def _do_here(folder: RunFolder, phase: Phase, pending: Mapping[int, int]) -> None:
    """Do units that take milliseconds in this process; where a run is submitted there may be no `local_tmp`."""
    worker = Worker(folder.root, scratch=Path(tempfile.gettempdir()))
    try:
        worker.run(phase.name, sorted(pending), 0, lambda *_: None)
    finally:
        worker.close()


def section_of(phase: Phase) -> Literal["cpu", "gpu"]:
    """Which section of the config holds for a phase."""
    return "gpu" if phase.resources.get("gpus", 0) > 0 else "cpu"


def _submit(
    plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase, settings: Settings, work: PhaseWork
) -> Submission:
    """One array over exactly the pending units, in chunks where the cluster's limit asks for it, and the job after it.

    Where fewer jobs may be submitted than there are tasks, tasks have more units.
    """
    jobs = settings.slurm.section(section_of(phase))
    number = min(len(work.pending), _number_of_tasks(phase, jobs, settings, work.pending))
    while True:
        try:
            submission = _submit_tasks(plan, manifest, folder, phase, settings, work, number)
        except CurateError as cause:
            if number == 1 or not client.is_submit_limit(cause):
                raise
            print(f"{cause.problems[0].message}: {number} tasks are too many", file=sys.stderr, flush=True)
            number //= 2
        else:
            write_submission(folder, submission)
            return submission


def _submit_tasks(
    plan: Plan,
    manifest: Manifest,
    folder: RunFolder,
    phase: Phase,
    settings: Settings,
    work: PhaseWork,
    number: int,
) -> Submission:
    """Divide the pending units into so many tasks and submit them; all or nothing."""
    jobs = settings.slurm.section(section_of(phase))
    tasks = pack(work.pending, number)
    name = write_tasks(folder, phase.name, tasks)
    shards = len(manifest.shards)
    at = Place(str(folder.root), os.getcwd(), plan.name, job_name(folder), str(folder.beside), shards)
    workers = workers_of(jobs, phase.resources)
    longest = max(span([work.pending[unit] for unit in task], workers) for task in tasks)
    needs = needs_of(phase, jobs, settings.estimates.get(phase.name), longest / max(1, work.size))
    (folder.logs / "slurm").mkdir(parents=True, exist_ok=True)
    arrays: list[Array] = []
    try:
        for first, count in chunks(len(tasks), client.max_array_size()):
            before = arrays[-1].job if arrays and jobs.max_running is not None else None
            script = array_script(at, jobs, phase.name, needs, name, first, count, before)
            if first == 0:
                write_atomically(place(folder) / f"{phase.name}.sh", script)
            arrays.append(Array(client.submit(script), first, count))
        after = advance_script(at, settings.slurm.section("cpu"), phase.name, [a.job for a in arrays])
        job = client.submit(after)
    except BaseException:
        client.cancel(a.job for a in arrays)
        raise
    return Submission(phase.name, name, tuple(arrays), job)


def span(sizes: Sequence[int], workers: int) -> float:
    """How long a task takes, in bytes that one process works through, if its workers share its units."""
    return max(*sizes, sum(sizes) / workers)


def needs_of(phase: Phase, jobs: SlurmJobs, estimate: Estimate | None, share: float) -> dict[str, float]:
    """What a task asks for beside what the config says. share: of the phase's bytes that a worker of its longest task has.

    Time is three times what the task should take, on CPUs less well fed than the one measured, ten minutes, and as long as a
    task is warned before the limit. Only passes have several threads, and GPUs do not get faster by them.
    """
    needs = dict(phase.resources)
    if estimate is not None:
        threads = (jobs.cpus or 1) if phase.kind == "pass" else 1
        seconds = estimate.start + share * (estimate.gpu + estimate.cpu / threads)
        needs["minutes"] = 10 + math.ceil((3 * seconds + (jobs.warning or WARNING)) / 60)
        needs["peak_bytes"] = estimate.memory
    return needs


def _number_of_tasks(phase: Phase, jobs: SlurmJobs, settings: Settings, pending: Mapping[int, int]) -> int:
    """`--tasks`, else by `units_per_task`; else one for each unit, fewer where units are worth no process, by their time or
    because one unit takes as long as they together. At most `max_tasks`.
    """
    if settings.tasks is not None:
        return settings.tasks
    each = jobs.units_per_task or max(workers_of(jobs, phase.resources), _SMALL.get(phase.kind, 1))
    number = -(-len(pending) // each)
    if jobs.units_per_task is None:
        number = min(number, even_tasks(pending))
    return min(number, jobs.max_tasks) if jobs.max_tasks is not None else number


def chunks(tasks: int, limit: int) -> Sequence[tuple[int, int]]:
    """First task and number of tasks of each array. limit: MaxArraySize, which no index may reach."""
    return [(first, min(limit, tasks - first)) for first in range(0, tasks, limit)]
