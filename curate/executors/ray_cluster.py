"""The Ray cluster of a run: how it is reached, how many workers its nodes hold, and which nodes it may still add.

Ray knows the nodes that are there. Which ones its autoscaler may add is known to that alone: with a cluster of fixed size it
is silent in the same way as with one that is about to grow. So `execution.ray.adds` says it, and a worker that fits on no
node, there or to come, is refused before work starts, while one that fits on a node to come is waited for.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from curate.config.execution import RayNodes
from curate.core.errors import CurateError, error
from curate.core.plan import Phase
from curate.executors.local import THREAD_BYTES, WORKER_BYTES

#: Seconds to wait for an answer of the cluster's address.
_CONNECT: Final = 15.0
#: Seconds for which a head that answered before is asked again, and between two tries. Ray itself ends the process a minute
#: after the head has gone, half of which may be over before anybody asks.
_AGAIN, _PAUSE = 15.0, 1.0
#: Seconds for which the number of actors that the cluster holds is remembered.
_COUNTED: Final = 5.0


@dataclass(frozen=True)
class Demand:
    """What one actor takes of a node. cpus, gpus: counts. memory: bytes."""

    cpus: int
    gpus: int
    memory: int

    @classmethod
    def of(cls, resources: Mapping[str, Any], threads: int) -> Demand:
        """For the steps of a phase."""
        memory = WORKER_BYTES + int(float(resources.get("memory_gb", 0)) * 1e9)
        return cls(threads, int(resources.get("gpus", 0)), memory + (threads - 1) * THREAD_BYTES)

    def holds(self, other: Demand) -> bool:
        """Whether an actor of this size does for the other; a GPU is not held by those who need none."""
        return self.cpus == other.cpus and self.gpus == other.gpus and self.memory >= other.memory

    def room(self, cpus: float, gpus: float, memory: float) -> int:
        """How many actors of this size go into a node."""
        held = min(cpus // self.cpus, memory // self.memory)
        return int(min(held, gpus // self.gpus) if self.gpus else held)

    def __str__(self) -> str:
        return _described(self.cpus, self.gpus, self.memory)


class Cluster:
    """The nodes of a connected Ray. adds: those that it may add."""

    def __init__(self, ray: Any, adds: RayNodes | None) -> None:
        self._ray = ray
        self._adds = adds
        self._held: tuple[float, Demand | None, int] = (0.0, None, 0)
        self._head: str = ray.get_runtime_context().gcs_address

    def room(self, demand: Demand) -> int:
        """Actors of this size that the cluster holds, with the nodes it may add; looked up every few seconds."""
        until, counted, room = self._held
        if counted != demand or time.monotonic() > until:
            room = sum(demand.room(*node) for node in self._nodes())
            if self._adds is not None:
                room = max(room, self._adds.nodes * self._room_added(demand))
            self._held = (time.monotonic() + _COUNTED, demand, room)
        return room

    def require(self, phase: str) -> None:
        """E520 if the cluster is gone. Ray itself asks a head that is not there for a minute and then ends the process."""
        until = time.monotonic() + _AGAIN
        while (cause := _refusal_of(self._head)) is not None:
            if time.monotonic() > until:
                raise _gone(
                    f"Ray's head at {self._head} does not answer: {first_line(cause)}", phase
                ) from cause
            time.sleep(_PAUSE)
        if self._adds is None and not self._nodes():
            raise _gone("no node of the Ray cluster is left", phase)

    def check(self, phases: Sequence[Phase], threads: int, is_due: Callable[[Phase], bool]) -> None:
        """E520 for a phase that has work to do, and no node to do it on, now or later."""
        for phase in phases:
            demand = Demand.of(phase.resources, threads)
            if not self.room(demand) and is_due(phase):
                raise self._refusal(demand, phase)

    def _refusal(self, demand: Demand, phase: Phase) -> CurateError:
        have = "; ".join(_described(*node) for node in self._nodes())
        added = ""
        help = "use fewer execution.threads, or add a node that is large enough; where the cluster adds nodes by itself, "
        help += "say which in execution.ray.adds"
        if self._adds is not None:
            added = f", and it adds {_described(self._adds.cpus, self._adds.gpus, self._adds.memory)}"
            help = "use fewer execution.threads, or correct execution.ray.adds"
        return error(
            "E520",
            f"no node of the Ray cluster has {demand}, which one worker takes; its nodes: {have}{added}",
            help=help,
            phase=phase.name,
        )

    def _nodes(self) -> list[tuple[float, float, float]]:
        """CPUs, GPUs and bytes of memory of each node that lives."""
        nodes = [n["Resources"] for n in self._ray.nodes() if n["Alive"]]
        return [(n.get("CPU", 0), n.get("GPU", 0), n.get("memory", 0)) for n in nodes]

    def _room_added(self, demand: Demand) -> int:
        added = self._adds
        return demand.room(added.cpus, added.gpus, added.memory) if added is not None else 0


def _gone(what: str, phase: str) -> CurateError:
    help = "finished units are kept: start the cluster, and run again to continue"
    return error("E520", what, help=help, exit_code=1, phase=phase)


def _described(cpus: float, gpus: float, memory: float) -> str:
    some = f", {gpus:.0f} GPUs" if gpus else ""
    return f"{cpus:.0f} CPUs{some}, {memory / 1e9:.1f} GB of memory"


def connected(address: str | None) -> Any:
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
            f"the Ray cluster at {address or 'this machine'} cannot be reached: {first_line(cause)}",
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


def _refusal_of(address: str) -> OSError | None:
    """Why nothing can be reached there; None if it can."""
    try:
        _reach(address)
    except OSError as cause:
        return cause
    return None


def first_line(cause: BaseException) -> str:
    """What Ray says, without its trace."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
