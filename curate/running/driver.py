"""`curate run` from the command line's side: prepare, lock, execute with live progress, and report."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.config.execution import Execution as ExecutionConfig
from curate.core.errors import CurateError, error, system_error
from curate.core.layout import RunFolder
from curate.core.plan import Plan
from curate.executors.local import THREAD_BYTES, WORKER_BYTES, Share
from curate.kernels import compile_once, kernel_environment
from curate.planning.session import Request, Session, prepare
from curate.running.locks import locked
from curate.running.progress import Progress
from curate.running.run import Execution, execute, record_failure, start_anew


def run_config(
    request: Request,
    *,
    workers: int | None,
    threads: int | None = None,
    tasks: int | None,
    on: str = "local",
) -> None:
    """Run a config to its end from here and show the report. Whatever stops it is raised, and noted in the run folder."""
    with _interruptible():
        try:
            folder = _run(request, workers, threads, tasks, on)
        except KeyboardInterrupt as cause:
            help = f"continue with: curate run {request.config}"
            raise error("R310", "interrupted; finished units are kept", help=help, exit_code=3) from cause
    show_report(folder)


def submit_config(request: Request, *, tasks: int | None, wait: bool) -> None:
    """Put a run into Slurm's queue; with `wait`, follow it to its end and show the report."""
    from curate.executors.slurm.launch import run_on_slurm

    try:
        done = run_on_slurm(request, tasks=tasks, wait=wait)
    except KeyboardInterrupt as cause:
        help = f"its jobs go on; join them again with: curate run {request.config} --on slurm --wait"
        raise error("R310", "interrupted", help=help, exit_code=3) from cause
    if done:
        from curate.planning.session import folder_of

        show_report(folder_of(request))


def _run(request: Request, workers: int | None, threads: int | None, tasks: int | None, on: str) -> RunFolder:
    """Everything but the report; returns the run folder."""
    from curate.executors.slurm.follow import refuse_if_queued

    environment = kernel_environment()
    session = prepare(request)
    folder = session.folder
    with locked(folder):
        refuse_if_queued(folder)
        try:
            if request.force:
                start_anew(folder, session.compiled.plan)
            else:
                session = still_current(session, request)
            _execute(session, environment, workers, threads, tasks, on)
        except KeyboardInterrupt:
            record_failure(folder, error("R310", "interrupted"))
            raise
        except CurateError as cause:
            record_failure(folder, cause)
            raise
        except OSError as cause:
            raise CurateError(system_error(cause).problems, exit_code=1) from cause
    return folder


def still_current(session: Session, request: Request) -> Session:
    """The session, prepared again if another run finished in the folder between the checks and the lock."""
    from curate.planning.session import read_manifest

    return session if read_manifest(session.folder) == session.previous else prepare(request)


def _execute(
    session: Session,
    environment: dict[str, str],
    workers: int | None,
    threads: int | None,
    tasks: int | None,
    on: str,
) -> None:
    plan, manifest = session.compiled.plan, session.compiled.manifest
    needs = max((float(p.resources.get("memory_gb", 0)) for p in plan.phases), default=0.0)
    config = session.loaded.config.execution
    if threads is not None:
        config = config.model_copy(update={"threads": threads})
    how = execution(config, environment, workers, tasks, needs, on)
    with Progress() as progress:
        execute(
            plan,
            manifest,
            session.folder,
            how,
            progress,
            lambda: compile_kernels(session.folder, plan, environment),
        )


def compile_kernels(folder: RunFolder, plan: Plan, environment: dict[str, str]) -> None:
    """Compile what the steps of a plan need, once for this machine and version."""
    import subprocess

    try:
        passages = ["passages"] if plan.passages else []
        compile_once(folder.root, [plan.words, *(s.use for s in plan.steps), *passages], environment)
    except subprocess.CalledProcessError as cause:
        raise error(
            "R303",
            "the kernels of the run's steps cannot be compiled",
            help="the trace above says where",
            exit_code=1,
        ) from cause


def execution(
    config: ExecutionConfig,
    environment: dict[str, str],
    workers: int | None,
    tasks: int | None,
    needs: float = 0.0,
    on: str = "local",
) -> Execution:
    """Workers and threads: from the command line, else the config, else the machine. needs: GB of a worker's steps."""
    if on == "ray":
        if workers is None and config.workers != "auto":
            workers = config.workers
        return Execution(workers, config.threads or 1, config.retries, tasks, environment, config.ray)
    cores = len(os.sched_getaffinity(0))
    memory = config.memory if config.memory is not None else _available_memory()
    share = Share(cores, memory, WORKER_BYTES + int(needs * 1e9))
    if workers is None:
        # As many as cores have threads for, fewer where memory does not reach for them.
        own = config.threads or 1
        automatic = max(1, min(cores // own, memory // (share.worker + (own - 1) * THREAD_BYTES)))
        workers = automatic if config.workers == "auto" else config.workers
    threads = config.threads if config.threads is not None else share.threads(workers)
    return Execution(
        workers=workers,
        threads=threads,
        retries=config.retries,
        tasks=tasks,
        environment=environment,
        share=share if config.threads is None else None,
    )


def _available_memory() -> int:
    """Bytes that new processes can use: the kernel's estimate, or what the control group still allows if that is less."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit, used = _lines(Path("/sys/fs/cgroup/memory.max")), _lines(Path("/sys/fs/cgroup/memory.current"))
    if limit and used and limit[0].isdigit():
        available = min(available, int(limit[0]) - int(used[0]))
    return available


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: workers stop, the folder stays resumable."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_report(folder: RunFolder) -> None:
    """The report at the end of a run; R305 if it tells of anything but success."""
    from curate.views.report import build_report
    from curate.views.report_view import make_console, render

    usual = Path("runs", folder.root.name).absolute()
    called = str(folder.root)
    if isinstance(folder.root, Path):
        called = folder.root.name if folder.root == usual else os.path.relpath(folder.root)
    report = build_report(folder.root)
    render(report, make_console(), run=called)
    if report["state"] != "done" or not report["balanced"]:
        state = (
            "the books do not balance"
            if not report["balanced"]
            else f"the run is {report['state']}, not done"
        )
        raise error("R305", f"every phase ended, but {state}", help=f"look at: curate report {called} --json")
