"""What Slurm's jobs run on a node: a task of a phase (`work`), what follows when it was stopped (`ended`), the job between
two phases (`advance`). Called by the batch scripts alone.

`work` ends with 0 when every unit of the task is done, 1 with an error that is noted in the run folder, and 75 when Slurm's
warning came, or a worker of the task was killed: the unit in hand was finished and committed, the rest goes back to the
queue. A unit is committed whole or not at all, so being killed at any moment costs no more than that unit.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
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
#: Seconds for which a controller that does not answer is waited for, and between two tries.
_RESTART, _PAUSE = 600.0, 10.0


class _Warned:
    """Whether Slurm has sent the warning before the time limit."""

    def __init__(self) -> None:
        self.yes = False
        signal.signal(signal.SIGUSR1, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        self.yes = True
        _say("the time limit is near: the unit in hand is finished, the rest later")


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
    work.add_argument("--workers", type=int, default=1)
    work.add_argument("--gpus", type=int, default=0)
    stopped.add_argument("--status", type=int, required=True)
    stopped.add_argument("--late", action="store_true")
    advance.add_argument("phase")
    advance.add_argument("--again", action="store_true")
    given = parser.parse_args()
    if given.verb == "work":
        size = (given.workers, given.threads, given.gpus)
        sys.exit(_work(given.root, given.tasks, given.task, given.scratch, size, warned))
    if given.verb == "ended":
        sys.exit(ended(given.root, given.tasks, given.task, given.status, given.late))
    sys.exit(_advance(given.root, given.phase, given.again))


def _work(
    root: Place, tasks: str, task: int, scratch: Path, size: tuple[int, int, int], warned: _Warned
) -> int:
    """size: workers, threads of each, GPUs of each."""
    from curate.kernels import use_kernel_cache

    workers, threads, _ = size
    use_kernel_cache()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

    from curate.core.errors import CurateError, system_error
    from curate.core.layout import RunFolder
    from curate.executors.slurm.state import read_tasks

    folder = RunFolder(root)
    node = os.environ.get("SLURMD_NODENAME", os.uname().nodename)
    try:
        phase, listed = read_tasks(folder, tasks)
    except CurateError as cause:  # as when another submission has taken the place of this one
        _say(cause.problems[0].message)
        return 1
    units = listed[task]
    _say(f"{phase}, task {task} of {len(listed)} on {node}: units {_listed(units)}")
    try:
        from curate.executors.slurm.lives import count_lost_lives

        count_lost_lives(folder, tasks, phase, task, units)
        do = _alone if workers == 1 else _together
        left = do(root, phase, task, units, _scratch(root, scratch), size, warned)
    except CurateError as cause:
        failure = cause
    except OSError as cause:
        failure = system_error(cause)
    except Exception as cause:  # noqa: BLE001  # whatever a step raises is noted with its trace, never lost
        failure = _unforeseen(cause, phase, node)
    else:
        if left:
            return LATER
        _say(f"done, {_cpu_seconds():.2f} s of CPU")
        return 0
    return _fail(folder, tasks, phase, task, failure)


def _unforeseen(cause: Exception, phase: str, node: str) -> CurateError:
    """R303 for what nobody thought of; its trace goes to the log."""
    from curate.core.errors import error

    traceback.print_exception(cause)
    help = "`curate logs --failed` shows the trace; finished units are kept, run again to continue"
    return error("R303", f"{type(cause).__name__}: {cause}", help=help, phase=phase, node=node)


def _alone(
    root: Place,
    phase: str,
    task: int,
    units: list[int],
    scratch: Path,
    size: tuple[int, int, int],
    warned: _Warned,
) -> int:
    """Do the units in this process; returns how many are left for later."""
    import pyarrow as pa

    from curate.running.task import ATTRIBUTES, Worker

    _, threads, _ = size
    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)
    worker = Worker(root, threads=threads, scratch=scratch, patience=ATTRIBUTES)
    try:
        pending = worker.pending(phase, units)
        _say(f"{len(pending)} of {len(units)} units are pending")
        for number, unit in enumerate(pending):
            if warned.yes:
                return len(pending) - number
            worker.run(phase, [unit], task, lambda *_: None)
    finally:
        worker.close()
    return 0


def _together(
    root: Place,
    phase: str,
    task: int,
    units: list[int],
    scratch: Path,
    size: tuple[int, int, int],
    warned: _Warned,
) -> int:
    """Do the units with several processes; returns how many are left for later."""
    from curate.executors.slurm.workers import work_together

    workers, threads, gpus = size
    return work_together(
        root,
        phase,
        units,
        workers=workers,
        threads=threads,
        gpus=gpus,
        scratch=scratch,
        stop=lambda: warned.yes,
    )


def _cpu_seconds() -> float:
    """Of this process from its beginning, and of those it started."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _scratch(root: Place, given: Path) -> Path:
    """A folder in `local_tmp` of the plan if it has one, else the one that the batch script made; the script removes both.

    E506 if this node has no such folder.
    """
    from curate.core.errors import error
    from curate.running.saved_run import load_run
    from curate.running.task import scratch_base

    plan, _ = load_run(root)
    if plan.local_tmp is None:
        return given
    base = scratch_base(plan.local_tmp)
    try:
        made = Path(tempfile.mkdtemp(prefix="curate-", dir=base))
    except OSError as cause:
        raise error(
            "E506",
            f"{base} cannot be used for scratch files on {os.uname().nodename}: {cause.strerror}",
            help="correct execution.local_tmp: it must be there on every node",
            exit_code=1,
        ) from cause
    (given / "local_tmp").write_text(f"{made}\n", encoding="utf-8")
    return made


def _fail(folder: RunFolder, tasks: str, phase: str, task: int, failure: CurateError) -> int:
    """Note why a task failed, in the run folder and in the log, and cancel what has not begun.

    A twin of a node that was given up fails too, when others have done its work and tidied up: that stops nobody. Nor does
    a fault after the last unit: 0, so that the next phase begins.
    """
    from curate.core.errors import CurateError
    from curate.diagnostics import render
    from curate.executors.slurm import client
    from curate.executors.slurm.lives import units_left
    from curate.executors.slurm.notice import job_name
    from curate.executors.slurm.state import is_current, read_tasks, write_failure

    print(render(failure.problems), file=sys.stderr, flush=True)
    if not is_current(folder, tasks):
        _say("others have done the work of this task")
        return 1
    try:
        left = units_left(folder.root, phase, read_tasks(folder, tasks)[1][task])
    except (CurateError, OSError):  # what cannot be looked at, as on a disk that fails, counts as not done
        left = 1
    if not left:
        _say("every unit of this task is done")
        return 0
    with suppress(OSError):  # on a full disk there is no note, and the task has failed all the same
        write_failure(folder, tasks, task, failure)
    with suppress(CurateError):  # without scancel, as in a container: tasks see the note when they begin
        client.cancel_waiting(job_name(folder))
    return 1


def ended(root: Place, tasks: str, task: int, status: int, late: bool) -> int:
    """Back to the queue, or a failure in words. A task goes back as long as it gets units done, else `retries` times."""
    from curate.core.errors import CurateError, system_error
    from curate.core.layout import RunFolder
    from curate.executors.slurm.lives import idle_ends, too_often, units_left
    from curate.executors.slurm.state import read_settings, read_tasks

    folder = RunFolder(root)
    why = "the time limit was near" if late else _killed(status)
    try:
        phase, listed = read_tasks(folder, tasks)
    except CurateError as cause:
        _say(cause.problems[0].message)
        return 1
    try:
        left = units_left(root, phase, listed[task])
        if not left and (late or status != LATER):
            return 0
        idle = idle_ends(folder, tasks, task, left, len(listed[task]))
        if idle > read_settings(folder).retries:
            return _fail(folder, tasks, phase, task, too_often(phase, task, listed[task][0], why, idle, late))
        if not _requeue(f"{why}: {left} units go back to the queue"):
            _say(f"{why}; Slurm has started its twin already")
            return 1
    except CurateError as cause:
        _say(f"{why}, and it cannot go back to the queue")
        return _fail(folder, tasks, phase, task, cause)
    except OSError as cause:
        _say(f"{why}, and it cannot go back to the queue")
        return _fail(folder, tasks, phase, task, system_error(cause))
    # Slurm ends this process now; to go on would end the element, and what depends on it begin.
    time.sleep(_REQUEUED)
    return 1


def _requeue(why: str) -> bool:
    """Ask for this element to be sent back to the queue; False if Slurm has done so itself. A controller that is started
    anew is waited for.
    """
    from curate.core.errors import CurateError
    from curate.executors.slurm import client

    element = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    until = time.monotonic() + _RESTART
    while True:
        try:
            if client.restarts(element) > int(os.environ.get("SLURM_RESTART_COUNT") or 0):
                return False
            _say(why)
            client.requeue(element)
            return True
        except CurateError as cause:
            if cause.problems[0].code != "E522" or time.monotonic() > until:
                raise
            _say(cause.problems[0].message)
        time.sleep(_PAUSE)


def _killed(status: int) -> str:
    if status == LATER:  # without a warning
        return "had a worker killed by SIGKILL"
    if status > 128:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


def _went_on(folder: RunFolder, phase: str) -> bool:
    """Whether this job has submitted the next phase already, in a life before its node failed, or another has its place.

    What that life submitted and did not note is taken out of the queue: it is submitted anew.
    """
    from curate.executors.slurm.follow import clear_queue
    from curate.executors.slurm.state import read_submission

    submission = read_submission(folder)
    here = os.environ["SLURM_JOB_ID"]
    if submission is None or submission.phase != phase or submission.advance != here:
        return True
    clear_queue(folder, but=here)
    return False


def _advance(root: Place, phase: str, again: bool) -> int:
    """End a phase and submit the next; with `again`, also what is missing of this one."""
    from curate.core.errors import CurateError, system_error
    from curate.core.layout import RunFolder
    from curate.diagnostics import render
    from curate.running.locks import locked
    from curate.running.run import record_failure

    folder = RunFolder(root)
    until, patience = time.monotonic() + _LOCK, time.monotonic() + _RESTART
    while True:
        try:
            with locked(folder):
                try:
                    _say(_go_on(folder, phase, again))
                    return 0
                except CurateError as cause:
                    failure = cause
                except OSError as cause:
                    failure = system_error(cause)
                except Exception as cause:  # noqa: BLE001  # noted with its trace: nobody looks at this job
                    failure = _unforeseen(cause, phase, os.uname().nodename)
                _say(render(failure.problems))
                if failure.problems[0].code != "E522" or time.monotonic() > patience:
                    record_failure(folder, failure)
                    return 1
            time.sleep(_PAUSE)  # a controller that is started anew
        except CurateError as cause:  # in use by a `curate run` that submits or joins
            if time.monotonic() > until:
                _say(render(cause.problems))
                return 1
            time.sleep(1)


def _go_on(folder: RunFolder, phase: str, again: bool) -> str:
    """End a phase and submit the next, under the run's lock; says what comes next."""
    from curate.executors.slurm.advance import advance
    from curate.executors.slurm.state import read_settings
    from curate.running.saved_run import load_run

    if _went_on(folder, phase):
        return "the run went on without this job"
    plan, manifest = load_run(folder.root)
    submitted = advance(plan, manifest, folder, read_settings(folder), phase, again=again)
    return f"next: {submitted.phase}" if submitted is not None else "the run is done"


def _listed(units: list[int]) -> str:
    shown = ", ".join(map(str, units[:8]))
    return shown if len(units) <= 8 else f"{shown} and {len(units) - 8} more"


if __name__ == "__main__":
    main()
