"""The Ray executor: the same units, done by actors of a Ray cluster, on one machine or many.

Each actor holds one `Worker` (`curate.running.task`) for the whole run and streams what `executors.worker` would write
to its standard output: progress a few times a second, then `done` or `failed`. The scheduler places actors by CPUs (the
threads of a worker), GPUs (what the phase's steps need) and memory. The run folder, the inputs and the outputs must be
on a file system that every node sees; nothing else is shared, and nothing is pickled to disk.

`$RAY_ADDRESS`, or `execution.ray.address`, names the cluster; without either, one that already runs on this machine is
used, else one is started for this run and ended with it.

An actor that dies (out of memory, a lost node, SIGKILL), or is at one unit for longer than `unit_timeout` seconds, is
replaced and its unit tried again, `retries` times; a unit that fails with an error is not, it would fail again. An actor
that no node can ever hold is an error before work starts (`ray_cluster`), and one that no node could start within
`start_timeout` seconds while nothing else works is one too, so a run never waits for ever.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from curate.config.execution import RayCluster
from curate.core.errors import CurateError, error
from curate.core.objects import Place
from curate.core.plan import Phase
from curate.core.stage import Work
from curate.executors.failures import unit_failure, worker_lost
from curate.executors.gpus import VISIBLE
from curate.executors.local import ALLOCATOR, THREAD_LIMITS, Describe, Listener
from curate.executors.ray_cluster import Cluster, Demand, connected, first_line
from curate.executors.ray_worker import UnitWorker
from curate.running.task import ATTRIBUTES

#: Seconds after which a wait for events looks around, so that a lost connection cannot keep it for ever.
_LOOK_AROUND: Final = 30.0
#: Stands for a unit where actors that could not start are counted, since the last one that could.
_STARTING: Final = -1
#: Seconds that an idle actor has for removing its scratch files.
_CLOSE: Final = 10.0


@dataclass
class _Actor:
    """An actor and the task it is on: `todo` are units still to be sent, `unit` the one in flight."""

    handle: Any
    event: Any
    log: str = ""
    ready: bool = False
    task: int = -1
    todo: deque[int] = field(default_factory=deque)
    unit: int | None = None
    since: float = 0.0


@dataclass
class _Job:
    """A phase at work. waiting: tasks that nobody has, as (number, units). attempts: unit → actors that were lost on it."""

    phase: str
    waiting: deque[tuple[int, deque[int]]]
    listener: Listener
    describe: Describe
    attempts: dict[int, int] = field(default_factory=dict)


class RayExecutor:
    """Runs phases on a Ray cluster with `workers` actors of `threads` CPUs. Use as a context manager."""

    delay: Final = ATTRIBUTES

    def __init__(
        self,
        root: Place,
        *,
        workers: int | None,
        threads: int,
        retries: int,
        config: RayCluster,
        phases: Sequence[Phase] = (),
        is_due: Callable[[Phase], bool] = lambda phase: True,
    ) -> None:
        """phases: that the run has. is_due: whether one has work to do."""
        self._root = root
        self._workers = workers
        self._threads = threads
        self._retries = retries
        self._config = config
        self._phases = phases
        self._is_due = is_due
        self._actors: list[_Actor] = []
        self._demand: Demand | None = None
        self._ray: Any = None
        self._cluster: Cluster
        self._lost = False

    def __enter__(self) -> Self:
        self._ray = connected(self._config.address)
        self._cluster = Cluster(self._ray, self._config.adds)
        try:
            self._cluster.check(self._phases, self._threads, self._is_due)
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lost:
            return  # Ray would ask a head that is not there, and end the process before it has said why
        self._end_all(self._actors)
        self._ray.shutdown()

    def run(
        self, phase: Phase, tasks: Sequence[Sequence[int]], listener: Listener, describe: Describe
    ) -> None:
        """Do every unit of these tasks, or raise the first failure. describe: what to say about a unit in an error."""
        self._need(Demand.of(phase.resources, self._threads))
        waiting = deque((number, deque(units)) for number, units in enumerate(tasks))
        job = _Job(phase.name, waiting, listener, describe)
        began = time.monotonic()
        while waiting or any(a.unit is not None or a.todo for a in self._actors):
            self._fill(waiting)
            for actor in self._actors:
                self._feed(job, actor)
            if self._config.adds is not None and not waiting:
                self._end_all([a for a in self._actors if not a.ready])  # the cluster adds no node for them
            pending = {id(a.event): a for a in self._actors if a.event is not None}
            events = [a.event for a in pending.values()]
            found, _ = self._ray.wait(events, num_returns=1, timeout=self._patience(), fetch_local=True)
            if not found:
                self._require(job)
            for event in found:
                self._listen(job, pending[id(event)])
            for actor in self._overdue(job):
                why = f"was ended, as the unit took over {self._config.unit_timeout:g} s"
                help = "raise execution.ray.unit_timeout; finished units are kept, run again to continue"
                self._died(job, actor, why, help)
            if any(a.ready for a in self._actors):
                began = time.monotonic()
            elif time.monotonic() - began > self._config.start_timeout:
                raise error(
                    "E520",
                    f"no node could start a worker ({self._demand}) within {self._config.start_timeout:g} s",
                    help="free resources of the cluster, or raise execution.ray.start_timeout",
                    exit_code=1,
                    phase=phase.name,
                )

    def _require(self, job: _Job) -> None:
        """Look whether the cluster is still there, as nothing has been heard of it or an actor has been lost."""
        try:
            self._cluster.require(job.phase)
        except CurateError:
            self._lost = True
            raise

    def _patience(self) -> float:
        """Seconds to wait for an event: until something may have taken too long."""
        ends = [_LOOK_AROUND]
        if not any(a.ready for a in self._actors):
            ends.append(self._config.start_timeout)
        if self._config.unit_timeout is not None:
            now = time.monotonic()
            since = [a.since for a in self._actors if a.unit is not None]
            ends += [max(0.0, begun + self._config.unit_timeout - now) for begun in since]
        return min(ends)

    def _overdue(self, job: _Job) -> list[_Actor]:
        """Actors that have been at one unit for too long, after all that they have told: it may be done."""
        if self._config.unit_timeout is None:
            return []
        begun = time.monotonic() - self._config.unit_timeout
        late = [a for a in self._actors if a.unit is not None and a.since <= begun]
        for actor in late:
            while actor.unit is not None and self._ray.wait([actor.event], timeout=0)[0]:
                self._listen(job, actor)
                if not any(a is actor for a in self._actors):  # it was lost
                    break
        return [a for a in self._actors if any(a is b for b in late) and a.unit is not None]

    def _need(self, demand: Demand) -> None:
        """Actors of this size: those of a phase with other needs are ended."""
        if self._demand is not None and self._demand.holds(demand):
            return
        self._end_all(self._actors)
        self._demand = demand

    def _most(self) -> int:
        """Actors at once: as configured, else as many as the cluster's CPUs, GPUs and memory hold."""
        if self._workers is not None:
            return self._workers
        assert self._demand is not None
        return max(1, self._cluster.room(self._demand))

    def _fill(self, waiting: deque[tuple[int, deque[int]]]) -> None:
        busy = sum(a.unit is not None or bool(a.todo) for a in self._actors)
        while len(self._actors) < min(self._most(), busy + len(waiting)):
            self._start()

    def _start(self) -> None:
        assert self._demand is not None
        limits = {**dict.fromkeys(THREAD_LIMITS, str(self._threads)), **ALLOCATOR}
        if not self._demand.gpus:
            limits[VISIBLE] = ""  # to an actor without GPUs Ray leaves those that its node sees
        if "CURATE_KERNELS" in os.environ:
            limits["CURATE_KERNELS"] = os.environ["CURATE_KERNELS"]
        options = {
            "num_cpus": self._demand.cpus,
            "num_gpus": self._demand.gpus,
            "memory": self._demand.memory,
            "max_restarts": 0,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": limits},
        }
        handle = (
            self._ray.remote(UnitWorker)
            .options(**options)
            .remote(str(self._root), str(Path.cwd()), self._threads)
        )
        self._actors.append(_Actor(handle, handle.open.remote()))

    def _feed(self, job: _Job, actor: _Actor) -> None:
        if not actor.ready or actor.unit is not None:
            return
        if not actor.todo and job.waiting:
            actor.task, actor.todo = job.waiting.popleft()
        if actor.todo:
            actor.unit, actor.since = actor.todo.popleft(), time.monotonic()
            actor.event = actor.handle.run.remote(job.phase, actor.unit, actor.task)

    def _listen(self, job: _Job, actor: _Actor) -> None:
        """Take one message of an actor: the answer to `open`, or the next one of the unit in flight."""
        errors = self._ray.exceptions
        try:
            message = self._ray.get(next(actor.event) if actor.ready else actor.event)
        except StopIteration:
            self._died(job, actor, "ended its answer early")
            return
        except (
            errors.RayActorError,
            errors.NodeDiedError,
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as cause:
            self._died(job, actor, f"was lost: {first_line(cause)}")
            return
        except errors.RayError as cause:
            raise error(
                "E520",
                f"Ray cannot {'go on with' if actor.ready else 'start'} a worker ({self._demand}): {first_line(cause)}",
                help="look whether the nodes have what a worker takes, and curate in Ray's Python",
                exit_code=1,
                phase=job.phase,
            ) from cause
        match message["event"]:
            case "ready":
                actor.ready, actor.log, actor.event = True, message["log"], None
                job.attempts.pop(_STARTING, None)
            case "progress":
                job.listener.progress(message["rows"], message["bytes"], Work(*message["work"]))
            case "done":
                job.listener.unit_done(message["unit"])
                actor.unit = actor.event = None
            case "failed":
                unit = message["unit"]
                context = {"phase": job.phase, "log": message.get("log", actor.log)}
                if unit is not None:
                    context = {"phase": job.phase, "unit": unit, **job.describe(unit), "log": actor.log}
                raise unit_failure(message, context)

    def _died(self, job: _Job, actor: _Actor, why: str, help: str | None = None) -> None:
        """An actor is gone: give its unit to another, unless that has been tried often enough."""
        unit, ready, log = actor.unit, actor.ready, actor.log
        todo, task = actor.todo, actor.task
        self._require(job)
        self._end(actor)
        key = _STARTING if unit is None else unit
        if unit is not None or not ready:  # one that waits for work has failed at nothing
            job.attempts[key] = job.attempts.get(key, 0) + 1
        if job.attempts.get(key, 0) > self._retries:
            if unit is None:
                raise worker_lost(f"a worker {why}, before it could start", {"phase": job.phase})
            context = {"phase": job.phase, "unit": unit, **job.describe(unit), "log": log}
            raise worker_lost(f"a worker {why}; {job.attempts[key]} times on the same unit", context, help)
        if unit is not None:
            job.listener.retrying(unit, f"a worker {why}")
            job.waiting.appendleft((task, deque([unit, *todo])))
        elif ready and todo:
            job.waiting.appendleft((task, todo))

    def _end_all(self, actors: Sequence[_Actor]) -> None:
        for actor in list(actors):
            self._end(actor)

    def _end(self, actor: _Actor) -> None:
        """Stop an actor and forget it; the commit protocol makes this safe at any moment."""
        self._actors.remove(actor)
        if actor.ready and actor.unit is None:
            self._ray.wait([actor.handle.close.remote()], timeout=_CLOSE)
        self._ray.kill(actor.handle)
