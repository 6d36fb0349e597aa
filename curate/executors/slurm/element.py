"""What Slurm's jobs run on a node: a task of a phase (`work`), what follows when it was stopped (`ended`), the job between
two phases (`advance`). Called by the batch scripts alone.

`work` ends with 0 when every unit of the task is done, 1 with an error that is noted in the run folder, and 75 when Slurm's
warning came: the unit in hand was finished and committed, the rest goes back to the queue. A unit is committed whole or not
at all, so being killed at any moment costs no more than that unit.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from curate.core.objects import Place, as_place

if TYPE_CHECKING:
    from curate.core.errors import CurateError
    from curate.core.layout import RunFolder

#: Exit status of a task that has stopped early to go back to the queue (EX_TEMPFAIL).
LATER: Final = 75
#: Seconds to wait for the end after asking to be requeued.
_REQUEUED: Final = 600
#: Seconds for which the job between phases waits for the run's lock, which `curate run` holds while it submits.
_LOCK: Final = 120


class _Warned:
    """Whether Slurm has sent the warning before the time limit."""

    def __init__(self) -> None:
        self.yes = False
        signal.signal(signal.SIGUSR1, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        self.yes = True
        print(
            "the time limit is near: the unit in hand is finished, the rest later",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    warned = _Warned()
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    work, stopped, advance = (verbs.add_parser(name) for name in ("work", "ended", "advance"))
    for verb in (work, stopped, advance):
        verb.add_argument("root", type=as_place)
    for verb in (work, stopped):
        verb.add_argument("tasks")
        verb.add_argument("task", type=int)
    work.add_argument("--scratch", type=Path, required=True)
    work.add_argument("--threads", type=int, required=True)
    stopped.add_argument("--status", type=int, required=True)
    stopped.add_argument("--late", action="store_true")
    advance.add_argument("phase")
    given = parser.parse_args()
    if given.verb == "work":
        sys.exit(_work(given.root, given.tasks, given.task, given.scratch, given.threads, warned))
    if given.verb == "ended":
        sys.exit(ended(given.root, given.tasks, given.task, given.status, given.late))
    sys.exit(_advance(given.root, given.phase))


def _work(root: Place, tasks: str, task: int, scratch: Path, threads: int, warned: _Warned) -> int:
    from curate.kernels import use_kernel_cache

    use_kernel_cache()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    import pyarrow as pa

    from curate.core.errors import CurateError, error
    from curate.core.layout import RunFolder
    from curate.executors.slurm.state import read_tasks
    from curate.running.task import Worker

    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)
    folder = RunFolder(root)
    node = os.environ.get("SLURMD_NODENAME", os.uname().nodename)
    phase, units = read_tasks(folder, tasks)
    print(
        f"{phase}, task {task} of {len(units)} on {node}: units {_listed(units[task])}",
        file=sys.stderr,
        flush=True,
    )
    try:
        worker = Worker(root, threads=threads, scratch=_scratch(root, scratch))
        try:
            pending = worker.pending(phase, units[task])
            for unit in pending:
                if warned.yes:
                    return LATER
                worker.run(phase, [unit], task, lambda *_: None)
        finally:
            worker.close()
    except CurateError as cause:
        failure = cause
    except Exception as cause:  # noqa: BLE001  # whatever a step raises is noted with its trace, never lost
        traceback.print_exc()
        help = "`curate logs --failed` shows the trace; finished units are kept, run again to continue"
        failure = error("R303", f"{type(cause).__name__}: {cause}", help=help, phase=phase, node=node)
    else:
        print(f"done, {len(pending)} of {len(units[task])} units here", file=sys.stderr)
        return 0
    return _fail(folder, phase, task, failure)


def _scratch(root: Place, given: Path) -> Path:
    """`local_tmp` of the plan if it has one, else the folder that the batch script made and will remove."""
    from curate.running.saved_run import load_run
    from curate.running.task import scratch_base

    plan, _ = load_run(root)
    return scratch_base(plan.local_tmp) if plan.local_tmp is not None else given


def _fail(folder: RunFolder, phase: str, task: int, failure: CurateError) -> int:
    """Note why a task failed, in the run folder and in the log, and cancel what has not begun."""
    from curate.core.errors import CurateError
    from curate.diagnostics import render
    from curate.executors.slurm import client
    from curate.executors.slurm.state import job_name, write_failure

    print(render(failure.problems), file=sys.stderr, flush=True)
    with suppress(OSError):  # on a full disk there is no note, and the task has failed all the same
        write_failure(folder, phase, task, failure)
    with suppress(CurateError):  # without scancel, as in a container: tasks see the note when they begin
        client.cancel_waiting(job_name(folder))
    return 1


def ended(root: Place, tasks: str, task: int, status: int, late: bool) -> int:
    """Back to the queue, or a failure in words. A task goes back as long as it gets units done, else `retries` times."""
    from curate.core.errors import error
    from curate.core.layout import RunFolder
    from curate.executors.slurm import client
    from curate.executors.slurm.state import place, read_settings, read_tasks

    folder = RunFolder(root)
    phase, units = read_tasks(folder, tasks)
    settings = read_settings(folder)
    left = _left(root, phase, units[task])
    if not left:
        return 0
    path = place(folder) / "tries" / f"{phase}-{task}.json"
    tries = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {"left": len(units[task]), "idle": 0}
    )
    idle = 0 if left < tries["left"] else tries["idle"] + 1
    why = "the time limit was near" if late else _killed(status)
    if idle > settings.retries:
        code, message = "R304", f"a task {why}, {idle} times on the same unit"
        help = "if memory ran out, raise `memory` under execution.slurm; finished units are kept, run again"
        if late:
            code = "R320"
            message = (
                f"the time limit is too short for one unit: a task met it {idle} times without finishing one"
            )
            help = (
                "raise `time` under execution.slurm, or lower `warning`; finished units are kept, run again"
            )
        failure = error(code, message, help=help, phase=phase, unit=units[task][0], task=task)
        return _fail(folder, phase, task, failure)
    path.write_text(json.dumps({"left": left, "idle": idle}), encoding="utf-8")
    job, index = os.environ["SLURM_ARRAY_JOB_ID"], os.environ["SLURM_ARRAY_TASK_ID"]
    print(f"{why}: {left} units go back to the queue", file=sys.stderr, flush=True)
    client.requeue(f"{job}_{index}")
    time.sleep(
        _REQUEUED
    )  # Slurm ends this process now; to go on would end the element, and what depends on it begin
    return 1


def _killed(status: int) -> str:
    if status > 128:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


def _left(root: Place, phase: str, units: list[int]) -> int:
    """How many units of a task are not done."""
    from curate.core.layout import RunFolder
    from curate.planning.fingerprints import pending_units
    from curate.running.saved_run import load_run

    plan, manifest = load_run(root)
    return len(pending_units(plan, manifest, plan.phase(phase), RunFolder(root), units))


def _went_on(folder: RunFolder, phase: str) -> bool:
    """Whether this job has submitted the next phase already, in a life before its node failed.

    What that life submitted and did not note is taken out of the queue: it is submitted anew.
    """
    from curate.executors.slurm import client
    from curate.executors.slurm.follow import jobs_of
    from curate.executors.slurm.state import read_submission

    submission = read_submission(folder)
    if submission is not None and submission.phase != phase:
        return True
    here = os.environ["SLURM_JOB_ID"]
    while left := {e.job for e in jobs_of(folder) if e.job != here and e.state != "COMPLETING"}:
        client.cancel(left)
        time.sleep(1)
    return False


def _advance(root: Place, phase: str) -> int:
    """End a phase and submit the next."""
    from curate.core.errors import CurateError, system_error
    from curate.core.layout import RunFolder
    from curate.diagnostics import render
    from curate.executors.slurm.advance import advance
    from curate.executors.slurm.state import read_settings
    from curate.running.locks import locked
    from curate.running.run import record_failure
    from curate.running.saved_run import load_run

    folder = RunFolder(root)
    until = time.monotonic() + _LOCK
    while True:
        try:
            with locked(folder):
                try:
                    if _went_on(folder, phase):
                        return 0
                    plan, manifest = load_run(root)
                    submitted = advance(plan, manifest, folder, read_settings(folder), after=phase)
                except (CurateError, OSError) as cause:
                    failure = cause if isinstance(cause, CurateError) else system_error(cause)
                    print(render(failure.problems), file=sys.stderr, flush=True)
                    record_failure(folder, failure)
                    return 1
        except CurateError as cause:  # in use by a `curate run` that submits or joins
            if time.monotonic() > until:
                print(render(cause.problems), file=sys.stderr, flush=True)
                return 1
            time.sleep(1)
            continue
        print(f"next: {submitted.phase}" if submitted is not None else "the run is done", file=sys.stderr)
        return 0


def _listed(units: list[int]) -> str:
    shown = ", ".join(map(str, units[:8]))
    return shown if len(units) <= 8 else f"{shown} and {len(units) - 8} more"


if __name__ == "__main__":
    main()
