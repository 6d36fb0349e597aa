"""From the phase that has ended to the next one in the queue. It runs where a run is submitted, and in the job between two
phases; either way under the run's lock, while no task of the run is at work.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from curate.config.model import SlurmJobs
from curate.core.commit import write_atomically
from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Phase, Plan, even_tasks, pack
from curate.executors.slurm import client
from curate.executors.slurm.script import Place, advance_script, array_script
from curate.executors.slurm.state import (
    Array,
    Estimate,
    Settings,
    Submission,
    job_name,
    place,
    write_submission,
    write_tasks,
)
from curate.planning.fingerprints import finished_units, unit_fingerprints
from curate.running.locks import locked_outputs
from curate.running.run import PhaseWork, close_phase, is_needless, open_phase, publish
from curate.running.task import Worker

#: Units of a task where one takes milliseconds. As many are done at once, without a wait in the queue.
_SMALL: Final[Mapping[str, int]] = {"count": 64}

#: Seconds for which NFS may show another node's folder as it was (acdirmax), and between two looks.
_ATTRIBUTES, _PAUSE = 65.0, 3.0


def advance(
    plan: Plan, manifest: Manifest, folder: RunFolder, settings: Settings, after: str | None = None
) -> Submission | None:
    """End what is done and submit the next phase with units pending; None if the run is done.

    after: the phase whose tasks have all ended well; R306 if a unit of it is pending all the same. E523 if Slurm refuses.
    """
    if after is not None:
        _await_units(plan, manifest, folder, plan.phase(after))
    with locked_outputs(plan):
        for phase in plan.phases:
            if is_needless(plan, manifest, folder, phase):
                continue
            work = open_phase(plan, manifest, folder, phase)
            pending = work.pending
            if pending:
                if len(pending) > _SMALL.get(phase.kind, 0):
                    return _submit(plan, folder, phase, settings, work)
                _do_here(folder, phase, pending)
            close_phase(plan, manifest, folder, phase, worked=bool(pending) or phase.name == after)
            if phase.kind == "write":
                publish(plan, manifest, folder, phase)
    return None


def _await_units(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> None:
    """Wait until this node sees every done-file of a phase whose tasks have ended well; R306 if it does not.

    It must be waited for before anything is tidied: files of a unit whose done-file is not seen would be taken for debris.
    """
    until = time.monotonic() + _ATTRIBUTES
    while True:
        fingerprints = unit_fingerprints(plan, manifest, phase, folder) or {}
        missing = sorted(set(fingerprints) - set(finished_units(plan, manifest, phase, folder)))
        if not missing:
            return
        if time.monotonic() > until:
            raise error(
                "R306",
                f"phase {phase.name} ended without unit {missing[0]}: its outputs are missing or have another size",
                help="run again: missing units are computed anew",
                phase=phase.name,
                unit=missing[0],
            )
        time.sleep(_PAUSE)


def _do_here(folder: RunFolder, phase: Phase, pending: Mapping[int, int]) -> None:
    """Do units that take milliseconds in this process."""
    worker = Worker(folder.root)
    try:
        worker.run(phase.name, sorted(pending), 0, lambda *_: None)
    finally:
        worker.close()


def section_of(phase: Phase) -> Literal["cpu", "gpu"]:
    """Which section of the config holds for a phase."""
    return "gpu" if phase.resources.get("gpus", 0) > 0 else "cpu"


def _submit(plan: Plan, folder: RunFolder, phase: Phase, settings: Settings, work: PhaseWork) -> Submission:
    """One array over exactly the pending units, in chunks where the cluster's limit asks for it, and the job after it."""
    jobs = settings.slurm.section(section_of(phase))
    tasks = pack(work.pending, _number_of_tasks(phase, jobs, settings, work.pending))
    name = write_tasks(folder, phase.name, tasks)
    at = Place(str(folder.root), os.getcwd(), plan.name, job_name(folder), str(folder.beside))
    longest = max(sum(work.pending[unit] for unit in task) for task in tasks)
    needs = needs_of(phase, jobs, settings.estimates.get(phase.name), longest / max(1, work.size))
    (folder.logs / "slurm").mkdir(parents=True, exist_ok=True)
    arrays: list[Array] = []
    try:
        for first, count in chunks(len(tasks), client.max_array_size()):
            script = array_script(at, jobs, phase.name, needs, name, first, count)
            if first == 0:
                write_atomically(place(folder) / f"{phase.name}.sh", script)
            arrays.append(Array(client.submit(script), first, count))
        after = advance_script(at, settings.slurm.section("cpu"), phase.name, [a.job for a in arrays])
        job = client.submit(after)
    except BaseException:
        client.cancel(a.job for a in arrays)
        raise
    submission = Submission(phase.name, name, tuple(arrays), job)
    write_submission(folder, submission)
    return submission


def needs_of(phase: Phase, jobs: SlurmJobs, estimate: Estimate | None, share: float) -> dict[str, float]:
    """What a task asks for beside what the config says. share: of the phase's bytes that its longest task has.

    Time is three times what the task should take on one CPU less well fed than the one measured, and ten minutes.
    """
    needs = dict(phase.resources)
    if estimate is not None:
        seconds = estimate.start + share * estimate.seconds / max(1, jobs.cpus or 1)
        needs["minutes"] = 10 + math.ceil(3 * seconds / 60)
        needs["peak_bytes"] = estimate.memory
    return needs


def _number_of_tasks(
    phase: Phase, jobs: SlurmJobs, settings: Settings, pending: Mapping[int, int]
) -> int:
    """`--tasks`, else `max_tasks`, else one for each unit, or for as many units as are worth a process: by their time, or
    because one unit takes as long as they together.
    """
    if settings.tasks is not None:
        return settings.tasks
    number = min(-(-len(pending) // _SMALL.get(phase.kind, 1)), even_tasks(pending))
    return min(number, jobs.max_tasks) if jobs.max_tasks is not None else number


def chunks(tasks: int, limit: int) -> Sequence[tuple[int, int]]:
    """First task and number of tasks of each array. limit: MaxArraySize, which no index may reach."""
    return [(first, min(limit, tasks - first)) for first in range(0, tasks, limit)]
