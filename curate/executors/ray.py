"""The Ray executor: the same units, done by actors of a Ray cluster, on one machine or many.

Each actor holds one `Worker` (`curate.running.task`) for the whole run and streams what `executors.worker` would write
to its standard output: progress a few times a second, then `done` or `failed`. The scheduler places actors by CPUs (the
threads of a worker), GPUs (what the phase's steps need) and memory. The run folder, the inputs and the outputs must be
on a file system that every node sees; nothing else is shared, and nothing is pickled to disk.

`$RAY_ADDRESS`, or `execution.ray.address`, names the cluster; without either, one that already runs on this machine is
used, else one is started for this run and ended with it.

An actor that dies (out of memory, a lost node, SIGKILL) is replaced and its unit tried again, `retries` times; a unit
that fails with an error is not, it would fail again. An actor that no node can ever hold is an error before work
starts, and one that no node could start within `start_timeout` seconds while nothing else works is one too, so
a run never waits for ever.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from curate.core.errors import error
from curate.core.objects import Place
from curate.core.plan import Phase
from curate.core.stage import Work
from curate.executors.failures import unit_failure, worker_lost
from curate.executors.local import ALLOCATOR, THREAD_BYTES, THREAD_LIMITS, WORKER_BYTES, Describe, Listener
from curate.executors.ray_worker import UnitWorker

#: Seconds after which a wait for events looks around, so that a lost connection cannot keep it for ever.
_LOOK_AROUND: Final = 30.0
#: Seconds to wait for an answer of the cluster's address.
_CONNECT: Final = 15.0
#: Stands for a unit where actors that could not start are counted, since the last one that could.
_STARTING: Final = -1
#: Seconds that an idle actor has for removing its scratch files.
_CLOSE: Final = 10.0
#: Seconds for which the number of actors that the cluster holds is remembered.
_COUNTED: Final = 5.0


@dataclass(frozen=True)
class Demand:
    """What one actor takes of a node. cpus, gpus: counts. memory: bytes."""

    cpus: int
    gpus: int
    memory: int

    def holds(self, other: Demand) -> bool:
        """Whether an actor of this size does for the other; a GPU is not held by those who need none."""
        return self.cpus == other.cpus and self.gpus == other.gpus and self.memory >= other.memory

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPUs" if self.gpus else ""
        return f"{self.cpus} CPUs{gpus}, {self.memory / 1e9:.1f} GB of memory"


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


class RayExecutor:
    """Runs phases on a Ray cluster with `workers` actors of `threads` CPUs. Use as a context manager."""

    def __init__(
        self,
        root: Place,
        *,
        workers: int | None,
        threads: int,
        retries: int,
        address: str | None = None,
        start_timeout: float = 600.0,
    ) -> None:
        self._root = root
        self._workers = workers
        self._threads = threads
        self._retries = retries
        self._address = address
        self._start_timeout = start_timeout
        self._actors: list[_Actor] = []
        self._demand: Demand | None = None
        self._ray: Any = None
        self._held = (0.0, 0)

    def __enter__(self) -> Self:
        self._ray = _connected(self._address)
        return self

    def __exit__(self, *exception: object) -> None:
        for actor in list(self._actors):
            self._end(actor)
        self._ray.shutdown()

    def run(
        self, phase: Phase, tasks: Sequence[Sequence[int]], listener: Listener, describe: Describe
    ) -> None:
        """Do every unit of these tasks, or raise the first failure. describe: what to say about a unit in an error."""
        self._need(phase.resources)
        waiting = deque((number, deque(units)) for number, units in enumerate(tasks))
        attempts: dict[int, int] = {}
        began = time.monotonic()
        while waiting or any(a.unit is not None or a.todo for a in self._actors):
            self._fill(waiting)
            for actor in self._actors:
                self._feed(phase.name, actor, waiting)
            pending = {id(a.event): a for a in self._actors if a.event is not None}
            events = [a.event for a in pending.values()]
            found, _ = self._ray.wait(events, num_returns=1, timeout=_LOOK_AROUND, fetch_local=True)
            for event in found:
                self._listen(phase.name, pending[id(event)], waiting, attempts, listener, describe)
            if any(a.ready for a in self._actors):
                began = time.monotonic()
            elif time.monotonic() - began > self._start_timeout:
                raise error(
                    "E520",
                    f"no node could start a worker ({self._demand}) within {self._start_timeout:.0f} s",
                    help="free resources of the cluster, or raise execution.ray.start_timeout",
                    exit_code=1,
                )

    def _need(self, resources: Mapping[str, Any]) -> None:
        """Actors for these resources: those of a phase with other needs are ended. E520 if no node has as much."""
        memory = WORKER_BYTES + int(float(resources.get("memory_gb", 0)) * 1e9)
        memory += (self._threads - 1) * THREAD_BYTES
        demand = Demand(self._threads, int(resources.get("gpus", 0)), memory)
        if self._demand is not None and self._demand.holds(demand):
            return
        for actor in list(self._actors):
            self._end(actor)
        self._demand, self._held = demand, (0.0, 0)
        nodes = [n["Resources"] for n in self._ray.nodes() if n["Alive"]]
        if not any(
            n.get("CPU", 0) >= demand.cpus
            and n.get("GPU", 0) >= demand.gpus
            and n.get("memory", 0) >= demand.memory
            for n in nodes
        ):
            have = "; ".join(
                f"{n.get('CPU', 0):.0f} CPUs, {n.get('GPU', 0):.0f} GPUs, {n.get('memory', 0) / 1e9:.1f} GB"
                for n in nodes
            )
            raise error(
                "E520",
                f"no node of the Ray cluster has {demand}, which one worker takes; its nodes: {have}",
                help="use fewer execution.threads, or add a node that is large enough",
            )

    def _most(self) -> int:
        """Actors at once: as configured, else as many as the cluster's CPUs, GPUs and memory hold now."""
        if self._workers is not None:
            return self._workers
        assert self._demand is not None
        until, most = self._held
        if time.monotonic() > until:
            total = self._ray.cluster_resources()
            most = min(
                total.get("CPU", 1) // self._demand.cpus, total.get("memory", 0) // self._demand.memory
            )
            if self._demand.gpus:
                most = min(most, total.get("GPU", 0) // self._demand.gpus)
            self._held = (time.monotonic() + _COUNTED, int(most))
        return max(1, int(most))

    def _fill(self, waiting: deque[tuple[int, deque[int]]]) -> None:
        busy = sum(a.unit is not None or bool(a.todo) for a in self._actors)
        while len(self._actors) < min(self._most(), busy + len(waiting)):
            self._start()

    def _start(self) -> None:
        assert self._demand is not None
        limits = {**dict.fromkeys(THREAD_LIMITS, str(self._threads)), **ALLOCATOR}
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

    def _feed(self, phase: str, actor: _Actor, waiting: deque[tuple[int, deque[int]]]) -> None:
        if not actor.ready or actor.unit is not None:
            return
        if not actor.todo and waiting:
            actor.task, actor.todo = waiting.popleft()
        if actor.todo:
            actor.unit = actor.todo.popleft()
            actor.event = actor.handle.run.remote(phase, actor.unit, actor.task)

    def _listen(
        self,
        phase: str,
        actor: _Actor,
        waiting: deque[tuple[int, deque[int]]],
        attempts: dict[int, int],
        listener: Listener,
        describe: Describe,
    ) -> None:
        """Take one message of an actor: the answer to `open`, or the next one of the unit in flight."""
        errors = self._ray.exceptions
        try:
            message = self._ray.get(next(actor.event) if actor.ready else actor.event)
        except StopIteration:
            self._died(phase, actor, "ended its answer early", waiting, attempts, listener, describe)
            return
        except (
            errors.RayActorError,
            errors.NodeDiedError,
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as cause:
            self._died(phase, actor, f"was lost: {_first_line(cause)}", waiting, attempts, listener, describe)
            return
        except errors.RayError as cause:
            raise error(
                "E520",
                f"Ray cannot start a worker ({self._demand}): {_first_line(cause)}",
                help="look whether the nodes have what a worker takes, and curate in Ray's Python",
                exit_code=1,
                phase=phase,
            ) from cause
        match message["event"]:
            case "ready":
                actor.ready, actor.log, actor.event = True, message["log"], None
                attempts.pop(_STARTING, None)
            case "progress":
                listener.progress(message["rows"], message["bytes"], Work(*message["work"]))
            case "done":
                listener.unit_done(message["unit"])
                actor.unit = actor.event = None
            case "failed":
                unit = message["unit"]
                context = {"phase": phase, "log": message.get("log", actor.log)}
                if unit is not None:
                    context = {"phase": phase, "unit": unit, **describe(unit), "log": actor.log}
                raise unit_failure(message, context)

    def _died(
        self,
        phase: str,
        actor: _Actor,
        why: str,
        waiting: deque[tuple[int, deque[int]]],
        attempts: dict[int, int],
        listener: Listener,
        describe: Describe,
    ) -> None:
        """An actor is gone: give its unit to another, unless that has been tried often enough."""
        unit, ready, log = actor.unit, actor.ready, actor.log
        todo, task = actor.todo, actor.task
        self._end(actor)
        key = _STARTING if unit is None else unit
        if unit is not None or not ready:  # one that waits for work has failed at nothing
            attempts[key] = attempts.get(key, 0) + 1
        if attempts.get(key, 0) > self._retries:
            if unit is None:
                raise worker_lost(f"a worker {why}, before it could start", {"phase": phase})
            context = {"phase": phase, "unit": unit, **describe(unit), "log": log}
            raise worker_lost(f"a worker {why}; {attempts[key]} times on the same unit", context)
        if unit is not None:
            listener.retrying(unit, f"a worker {why}")
            waiting.appendleft((task, deque([unit, *todo])))
        elif ready and todo:
            waiting.appendleft((task, todo))

    def _end(self, actor: _Actor) -> None:
        """Stop an actor and forget it; the commit protocol makes this safe at any moment."""
        self._actors.remove(actor)
        if actor.ready and actor.unit is None:
            self._ray.wait([actor.handle.close.remote()], timeout=_CLOSE)
        self._ray.kill(actor.handle)


def _connected(address: str | None) -> Any:
    """The ray module, connected: to the address, else to a cluster on this machine, else to one of its own."""
    try:
        import ray
    except ImportError as cause:
        raise error(
            "E502", "Ray is not installed, and this run is to work on it", help="pip install 'curate[ray]'"
        ) from cause
    address = address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None and ":" in address:
            _reach(address)
        if address is not None and address != "local":
            ray.init(address=address, **quiet)
        else:
            try:
                if address == "local":
                    raise ConnectionError
                ray.init(address="auto", **quiet)
            except ConnectionError:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                ray.init(
                    address="local",
                    include_dashboard=False,
                    _node_ip_address="127.0.0.1",
                    **quiet,
                )
    except Exception as cause:  # Ray raises bare ones too, such as when a node is too slow to start
        raise error(
            "E520",
            f"the Ray cluster at {address or 'this machine'} cannot be reached: {_first_line(cause)}",
            help="start it with `ray start --head`, or correct execution.ray.address",
        ) from cause
    finally:
        # Ray takes SIGTERM for itself; the run's own way to end keeps the folder resumable.
        signal.signal(signal.SIGTERM, terminate)
    return ray


def _reach(address: str) -> None:
    """ConnectionError unless something listens there; Ray itself tries for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not port.isdecimal():
        raise ValueError("the address is a host and a port, such as head:6379")
    with socket.create_connection((host, int(port)), timeout=_CONNECT):
        pass


def _first_line(cause: BaseException) -> str:
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
