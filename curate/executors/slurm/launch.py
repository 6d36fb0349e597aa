"""`curate run --on slurm` from the command line's side: ask Slurm first, then submit what is missing, or join."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import click

from curate.core.errors import CurateError, Position, error, system_error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Plan
from curate.executors.slurm import client
from curate.executors.slurm.advance import advance, await_ended, needs_of, section_of
from curate.executors.slurm.follow import clear_queue, follow, jobs_of, refuse_if_not_here
from curate.executors.slurm.notice import as_submitted, job_name, read_notice
from curate.executors.slurm.script import Place, advance_script, array_script, workers_of
from curate.executors.slurm.state import (
    Estimate,
    Settings,
    Submission,
    forget_failures,
    read_settings,
    read_submission,
    write_settings,
    write_submission,
)
from curate.kernels import kernel_environment
from curate.planning.rates import peak_bytes, rates_file, read_rates
from curate.planning.session import Request, Session, prepare
from curate.running.driver import compile_kernels, still_current
from curate.running.locks import locked
from curate.running.run import lay_out, passes_pending, record_failure, start_anew

#: Why a job waits for ever: what it depends on has failed.
_NEVER: Final = "DependencyNeverSatisfied"


def run_on_slurm(request: Request, *, tasks: int | None, wait: bool) -> bool:
    """Submit a run, or join it if it is in the queue; with `wait`, follow it to its end. True if it is done.

    E521, E522, E523 before anything is written or submitted; R302 if the queue has jobs of this folder for another plan.
    """
    session = prepare(request)
    folder = as_submitted(session.folder)
    _ask_slurm(session)
    queued = jobs_of(folder)
    if not queued or read_submission(folder) is None:
        _submit(session, request, tasks)
        folder = as_submitted(session.folder)
        queued = jobs_of(folder)
    else:
        _join(session, folder, request, queued, tasks)
    if not queued and _is_done(folder):
        return True
    _tell(folder, queued)
    return follow(folder, lambda: _is_done(folder)) if wait else False


def _is_done(folder: RunFolder) -> bool:
    from curate.views.run_state import read_run

    return read_run(folder.root).finished


def _tell(folder: RunFolder, queued: Sequence[client.Element]) -> None:
    """What is in the queue now, and what to type next."""
    submission = read_submission(folder)
    if submission is None:
        return
    tasks = sum(a.count for a in submission.arrays)
    jobs = ", ".join(sorted({e.job for e in queued}, key=int))
    click.echo(
        f"phase {submission.phase}: {tasks:,} {'task' if tasks == 1 else 'tasks'} in Slurm's queue, jobs {jobs}; "
        f"the phases after it follow by themselves",
        err=True,
    )
    click.echo(f"look at it with: curate status {folder.root}", err=True)


def _ask_slurm(session: Session) -> None:
    """E523 with the scheduler's words unless it would take the jobs of every kind of phase that the plan has."""
    plan = session.compiled.plan
    slurm = session.loaded.config.execution.slurm
    estimates = _estimates(plan, session.compiled.manifest)
    client.max_array_size()
    shards = len(session.compiled.manifest.shards)
    at = Place("/", "/", plan.name, job_name(session.folder), "/", shards)
    seen = set()
    for phase in plan.phases:
        section = section_of(phase)
        jobs = slurm.section(section)
        workers = workers_of(jobs, phase.resources)
        share = _largest(session.compiled.manifest) * -(-(jobs.units_per_task or workers) // workers)
        needs = needs_of(phase, jobs, estimates.get(phase.name), min(1.0, share))
        script = array_script(at, jobs, phase.name, needs, "none.json", 0, 1)
        options = tuple(
            line
            for line in script.splitlines()
            if line.startswith(("#SBATCH --mem", "#SBATCH --gres", "#SBATCH --time"))
        )
        if (section, options) not in seen:
            seen.add((section, options))
            client.would_accept(script, _position(session, section))
    client.would_accept(advance_script(at, slurm.section("cpu"), "x", ()), _position(session, "cpu"))


def _largest(manifest: Manifest) -> float:
    """The share of the input that its largest shard has."""
    sizes = [s.bytes for s in manifest.shards]
    return max(sizes, default=0) / max(1, sum(sizes))


def _estimates(plan: Plan, manifest: Manifest) -> dict[str, Estimate]:
    """What phases will cost, where this machine or another one measured them (`curate calibrate`)."""
    rates = read_rates(rates_file())
    size = sum(s.bytes for s in manifest.shards)
    found = (
        {}
        if rates is None
        else {p.name: f.rate for p in plan.phases if (f := rates.of(p)) is not None and f.exact}
    )
    return {
        name: Estimate(rate.cpu(size), rate.gpu(size), rate.start_seconds, peak_bytes(rate, plan.phase(name)))
        for name, rate in found.items()
    }


def _position(session: Session, section: str) -> Position | None:
    """Where the config says what these jobs ask for."""
    source = session.loaded.source
    for path in (("execution", "slurm", section), ("execution", "slurm", "common")):
        if source.at(path):
            return source.key(path)
    return None


def _submit(session: Session, request: Request, tasks: int | None) -> None:
    """Under the run's lock: end what is done, put the next phase into the queue."""
    folder = session.folder
    environment = kernel_environment()
    with locked(folder):
        if jobs_of(folder):
            if read_submission(as_submitted(folder)) is not None:  # another `curate run` was faster
                return
            refuse_if_not_here(folder)
            clear_queue(folder)  # one was killed before it could note what it had submitted
        try:
            await_ended(as_submitted(folder))
            if request.force:
                start_anew(folder, session.compiled.plan)
            else:
                session = still_current(session, request)
            plan, manifest = session.compiled.plan, session.compiled.manifest
            lay_out(plan, manifest, folder)
            execution = session.loaded.config.execution
            settings = Settings(execution.slurm, execution.retries, tasks, _estimates(plan, manifest))
            forget_failures(folder)
            write_settings(folder, settings, client.cluster())
            if passes_pending(plan, manifest, folder):
                compile_kernels(folder, plan, environment)
            advance(plan, manifest, folder, settings)
        except CurateError as cause:
            record_failure(folder, cause)
            raise
        except OSError as cause:
            raise CurateError(system_error(cause).problems, exit_code=1) from cause


def _join(
    session: Session,
    folder: RunFolder,
    request: Request,
    queued: Sequence[client.Element],
    tasks: int | None,
) -> None:
    """R302 unless what is queued is this very plan. What jobs ask for may be other than before: the next ones do."""
    plan, manifest = session.compiled.plan, session.compiled.manifest
    same = folder.plan.exists() and (
        Plan.from_json(folder.plan.read_text(encoding="utf-8")) == Plan.from_json(plan.to_json())
        and Manifest.from_json(folder.manifest.read_text(encoding="utf-8")) == manifest
    )
    if request.force or not same:
        raise error(
            "R302",
            f"the queue has {len(queued)} jobs of this run folder, "
            + ("and --force would take their work away" if same else "for another version of the config"),
            help=f"wait for them, or cancel them with: curate cancel {folder.root}",
        )
    try:
        with locked(folder):
            if read_submission(folder) is None:  # the run has ended meanwhile
                return
            execution = session.loaded.config.execution
            parts = tasks if tasks is not None else read_settings(folder).tasks
            estimates = _estimates(plan, manifest)
            write_settings(folder, Settings(execution.slurm, execution.retries, parts, estimates))
            _mend(session, folder)
    except CurateError as cause:
        if cause.problems[0].code != "R302":  # else the job between two phases is at work: nothing is to mend
            raise


def _mend(session: Session, folder: RunFolder) -> None:
    """Submit the job that follows the array if there is none: cancelled, or waiting for what has failed.

    It begins when the tasks at work have ended and submits what is then missing.
    """
    submission = read_submission(folder)
    if submission is None:
        return
    live = {e.job: e for e in jobs_of(folder)}
    arrays = [a.job for a in submission.arrays if a.job in live]
    after = live.get(submission.advance)
    if not arrays or (after is not None and after.reason != _NEVER):
        return
    client.cancel([submission.advance] if after is not None else [])
    forget_failures(folder)
    folder.failure.unlink(missing_ok=True)
    notice = read_notice(folder)
    at = Place(
        str(folder.root),
        notice.directory if notice is not None else os.getcwd(),
        session.compiled.plan.name,
        job_name(folder),
        str(folder.beside),
        len(session.compiled.manifest.shards),
    )
    slurm = session.loaded.config.execution.slurm
    job = client.submit(advance_script(at, slurm.section("cpu"), submission.phase, arrays, again=True))
    write_submission(folder, Submission(submission.phase, submission.tasks, submission.arrays, job))
