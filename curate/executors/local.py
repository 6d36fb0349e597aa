"""The local executor: worker processes on this machine, each taking the next unit when it is free.

Workers are started anew (`spawn`), live for the whole run, and speak JSON lines (see `worker.py`). A worker that dies (out
of memory, SIGKILL) is replaced and its unit tried again, `retries` times; then the run stops and says which unit of which
phase and file it was. A unit that fails with an error is not tried again: it would fail again.

Tasks are lists of units. With as many tasks as units (the default) a free worker takes any unit; with fewer, one worker
takes a whole task, as a cluster node would. Where fewer tasks are left than workers, each unit gets more threads (`Share`).
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

from curate.core.objects import Place
from curate.core.plan import Phase
from curate.core.stage import Work
from curate.executors.failures import unit_failure, worker_lost
from curate.executors.gpus import Gpus
from curate.executors.scratch import enter_scratch, leave_scratch

#: Environment variables by which libraries are told how many threads they may use.
THREAD_LIMITS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


#: Memory of one worker beside its steps: the interpreter, a batch and its columns, a row group or exchange run to write.
WORKER_BYTES: Final = 700_000_000
#: Memory of a thread of a worker beside the first: a batch, its words, and what steps hold of it while they work.
THREAD_BYTES: Final = 300_000_000

#: The system's allocator gives memory back at once: 850 MiB instead of 980 for a document of 60 MB, at the same speed. What
#: a batch leaves is kept for the next one, up to 128 MiB, instead of being mapped again page by page, where threads wait for
#: each other: 29,000 page faults instead of 106,000 for a shard of 256 MB through FineWeb's rules, 46,000 instead of 123,000
#: with two threads, for 30 and 60 MB more. Larger blocks than 32 MiB still go at once.
ALLOCATOR: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


class Share(NamedTuple):
    """What workers share. memory: bytes of all together; worker: bytes of one with its steps and a single thread."""

    cores: int
    memory: int
    worker: int

    def threads(self, workers: int, started: int = 0) -> int:
        """Threads of each of so many workers, so that all cores are at work and memory holds. started: those there are, the
        idle ones too, which keep their models.
        """
        room = (self.memory - max(workers, started) * self.worker) // workers // THREAD_BYTES
        return max(1, min(self.cores // workers, 1 + room))


class Listener(Protocol):
    """What the executor tells about a phase while it works."""

    def progress(self, rows: int, size: int, work: Work = ..., /) -> None: ...

    def unit_done(self, unit: int) -> None: ...

    def retrying(self, unit: int, why: str) -> None: ...


#: What to say about a unit in an error.
Describe = Callable[[int], Mapping[str, object]]


class Executor(Protocol):
    """Does the units of a run's phases; a context manager whose end leaves nothing running."""

    @property
    def delay(self) -> float:
        """Seconds for which this process may not see what workers have committed."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def run(
        self, phase: Phase, tasks: Sequence[Sequence[int]], listener: Listener, describe: Describe
    ) -> None:
        """Do every unit of these tasks, or raise the first failure."""
        ...


@dataclass
class _Process:
    """A worker process, its number, and the task it is on: `todo` are the units to be sent, `unit` the one in flight."""

    process: subprocess.Popen[bytes]
    log: Path
    number: int = 0
    task: int = -1
    todo: deque[int] = field(default_factory=deque)
    unit: int | None = None
    ready: bool = False
    pending: bytes = b""


class LocalExecutor:
    """Runs phases with `workers` processes of `threads` threads. Use as a context manager: leaving it ends them.

    gpus: that phases which need some may share, one worker for as many as it takes, which sees no other.
    stop: asked before a unit is begun; once it says yes, units in hand are finished and the rest is left.
    label: begins the names of the workers' logs.
    share: what units that are fewer than workers may use more of; None: every unit has just `threads`.
    scratch: a folder for scratch files of this run alone; the workers' are in one of this process (`executors.scratch`).
    patience: seconds for which workers wait for files of earlier phases, which another node wrote.
    """

    delay: Final = 0.0

    def __init__(
        self,
        root: Place,
        *,
        logs: Path,
        workers: int,
        threads: int,
        retries: int,
        environment: Mapping[str, str],
        scratch: Path,
        gpus: Gpus = Gpus(),  # noqa: B008  # a tuple: nobody changes it
        share: Share | None = None,
        stop: Callable[[], bool] = lambda: False,
        label: str = "worker",
        patience: float = 0.0,
    ) -> None:
        self._root = root
        self._logs = logs
        self._workers = workers
        self._threads = threads
        self._share = share
        self._retries = retries
        self._environment = dict(environment)
        self._base = self._scratch = scratch
        self._gpus = gpus
        self._stop = stop
        self._label = label
        self._patience = patience
        self._most = workers
        self._selector = selectors.DefaultSelector()
        self._processes: list[_Process] = []
        self._started = 0
        #: Whether a worker was killed (SIGKILL) by somebody else, as the system does where memory runs out.
        self.killed = False

    def __enter__(self) -> Self:
        self._scratch = enter_scratch(self._base)
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in list(self._processes):
            self._end(worker)
        self._selector.close()
        leave_scratch(self._scratch)

    def run(
        self, phase: Phase, tasks: Sequence[Sequence[int]], listener: Listener, describe: Describe
    ) -> None:
        """Do every unit of these tasks, or raise the first failure. describe: what to say about a unit in an error."""
        needed = int(phase.resources.get("gpus", 0)) > 0
        self._most = min(self._workers, max(1, self._gpus.workers)) if needed else self._workers
        waiting = deque((number, deque(units)) for number, units in enumerate(tasks))
        attempts: dict[int, int] = {}
        while waiting or any(p.unit is not None or p.todo for p in self._processes):
            if self._stop():
                waiting.clear()
                for worker in self._processes:
                    worker.todo.clear()
                if all(p.unit is None for p in self._processes):
                    return
            self._fill(waiting)
            for worker in list(self._processes):
                self._feed(phase.name, worker, waiting)
            for key, _ in self._selector.select():
                worker = key.data
                if worker in self._processes:
                    self._listen(phase.name, worker, waiting, attempts, listener, describe)

    def _fill(self, waiting: deque[tuple[int, deque[int]]]) -> None:
        """Start workers while there is work for more."""
        busy = sum(p.unit is not None or bool(p.todo) for p in self._processes)
        while True:
            free = sorted(set(range(self._most)) - {p.number for p in self._processes})
            if not free or self._most - len(free) >= busy + len(waiting):
                return
            self._start(free[0])

    def _start(self, number: int) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{self._label}-{os.getpid()}-{self._started}.log"
        self._started += 1
        threads = str(self._threads)
        limits = {**dict.fromkeys(THREAD_LIMITS, threads), **ALLOCATOR, **self._gpus.environment(number)}
        command = [sys.executable, "-m", "curate.executors.worker", str(self._root)]
        with log.open("ab") as file:
            process = subprocess.Popen(
                [
                    *command,
                    "--threads",
                    threads,
                    "--scratch",
                    str(self._scratch),
                    "--parent",
                    str(os.getpid()),
                    "--patience",
                    str(self._patience),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **limits, **self._environment},
            )
        worker = _Process(process, log, number)
        self._processes.append(worker)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)

    def _feed(self, phase: str, worker: _Process, waiting: deque[tuple[int, deque[int]]]) -> None:
        if not worker.ready or worker.unit is not None or worker.number >= self._most:
            return
        if not worker.todo and waiting:
            worker.task, worker.todo = waiting.popleft()
        if worker.todo:
            worker.unit = worker.todo.popleft()
            threads = self._threads_of(len(waiting))
            request = {"phase": phase, "unit": worker.unit, "task": worker.task, "threads": threads}
            assert worker.process.stdin is not None
            try:
                worker.process.stdin.write(json.dumps(request).encode() + b"\n")
                worker.process.stdin.flush()
            except BrokenPipeError:
                return  # it died: its end shows on standard output, where it is handled

    def _threads_of(self, waiting: int) -> int:
        """Threads for a unit that is about to begin; waiting: tasks that nobody has."""
        if self._share is None:
            return self._threads
        busy = sum(p.unit is not None or bool(p.todo) for p in self._processes)
        working = max(1, min(self._most, busy + waiting))
        return max(self._threads, self._share.threads(working, len(self._processes)))

    def _listen(
        self,
        phase: str,
        worker: _Process,
        waiting: deque[tuple[int, deque[int]]],
        attempts: dict[int, int],
        listener: Listener,
        describe: Describe,
    ) -> None:
        assert worker.process.stdout is not None
        chunk = worker.process.stdout.read(1 << 16)
        if chunk is None:
            return
        if not chunk:
            self._died(phase, worker, waiting, attempts, listener, describe)
            return
        *lines, worker.pending = (worker.pending + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            match message["event"]:
                case "ready":
                    worker.ready = True
                case "progress":
                    listener.progress(message["rows"], message["bytes"], Work(*message["work"]))
                case "done":
                    listener.unit_done(message["unit"])
                    worker.unit = None
                case "failed":
                    unit = message["unit"]
                    context = {"phase": phase, "unit": unit, **describe(unit), "log": str(worker.log)}
                    raise unit_failure(message, context)

    def _died(
        self,
        phase: str,
        worker: _Process,
        waiting: deque[tuple[int, deque[int]]],
        attempts: dict[int, int],
        listener: Listener,
        describe: Describe,
    ) -> None:
        """A worker is gone: give its unit to another, unless that has been tried often enough."""
        status = worker.process.wait()
        why = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self.killed |= status == -signal.SIGKILL
        unit, ready = worker.unit, worker.ready
        self._end(worker)
        if unit is None and not ready:
            attempts[-1] = attempts.get(-1, 0) + 1
            if attempts[-1] > self._retries:
                raise worker_lost(
                    f"a worker {why} before it could start", {"phase": phase, "log": str(worker.log)}
                )
        if unit is None:
            if worker.todo:
                waiting.appendleft((worker.task, worker.todo))
            return
        attempts[unit] = attempts.get(unit, 0) + 1
        if attempts[unit] > self._retries:
            context = {"phase": phase, "unit": unit, **describe(unit), "log": str(worker.log)}
            raise worker_lost(f"a worker {why}, {attempts[unit]} times on the same unit", context)
        listener.retrying(unit, f"a worker {why}")
        waiting.appendleft((worker.task, deque([unit, *worker.todo])))

    def _end(self, worker: _Process) -> None:
        """Stop a worker and forget it; the commit protocol makes this safe at any moment."""
        self._processes.remove(worker)
        assert worker.process.stdout is not None
        assert worker.process.stdin is not None
        self._selector.unregister(worker.process.stdout)
        idle = worker.unit is None and worker.ready
        try:
            worker.process.stdin.close()
        except BrokenPipeError:
            idle = False
        if not idle and worker.process.poll() is None:
            worker.process.kill()
        try:
            worker.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.process.stdout.close()
        if worker.log.exists() and worker.log.stat().st_size == 0:
            worker.log.unlink()
