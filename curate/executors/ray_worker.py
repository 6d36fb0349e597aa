"""What runs on a node of a Ray cluster: an actor with one `Worker`, which does one unit after the other.

The process is the actor's own. It works in the folder in which the run was started, so that relative paths mean the same;
scratch files and compiled kernels are the node's. Whatever a library prints goes to the worker's log in the run folder.
Whatever goes wrong is told as a message of `executors.worker`, with the node and the log: an exception that leaves an
actor has lost both.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import CurateError, error, system_error
from curate.core.layout import beside
from curate.core.objects import as_place
from curate.executors.scratch import enter_scratch, leave_scratch


class UnitWorker:
    """root: the run folder. cwd: where the run was started. threads: that the worker may use."""

    def __init__(self, root: str, cwd: str, threads: int) -> None:
        self._root = as_place(root)
        self._cwd = cwd
        self._threads = threads
        self._worker: Any = None
        self._pool: Any = None
        self._scratch: Path | None = None

    def open(self) -> dict[str, Any]:
        """Read plan and manifest; `{"event": "ready", "log": path}`, or `failed` with the problems."""
        node = os.uname().nodename
        log = beside(self._root, Path(self._cwd)) / "logs" / f"worker-ray-{node}-{os.getpid()}.log"
        told: dict[str, Any] = {"event": "failed", "unit": None, "problems": [], "log": str(log)}
        try:
            self._open(node, log)
        except CurateError as cause:
            return {**told, "problems": [dataclasses.asdict(p) for p in cause.problems]}
        except OSError as cause:
            problems = system_error(cause).problems
            return {**told, "problems": [dataclasses.asdict(p) for p in problems]}
        except Exception as cause:  # noqa: BLE001  # it is told, with node and log; leaving the actor it would be lost
            return {**told, "message": f"{type(cause).__name__} on node {node}: {cause}"}
        return {"event": "ready", "log": str(log)}

    def _open(self, node: str, log: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        for place in (self._root, Path(self._cwd)):
            if isinstance(place, Path) and not place.is_dir():
                raise error(
                    "E506",
                    f"the folder {place} is not there on node {node}",
                    help="put run folder, working directory, inputs and outputs where all nodes have them",
                )
        os.chdir(self._cwd)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        from curate.kernels import use_kernel_cache

        use_kernel_cache()  # the node's own, before a step imports numba
        import pyarrow as pa

        from curate.running.saved_run import load_run
        from curate.running.task import ATTRIBUTES, Worker, run_scratch

        pa.set_cpu_count(self._threads)
        pa.set_io_thread_count(max(1, self._threads))
        plan, _ = load_run(self._root)
        self._scratch = enter_scratch(run_scratch(plan.local_tmp, self._root))
        self._worker = Worker(self._root, threads=self._threads, scratch=self._scratch, patience=ATTRIBUTES)
        # One thread for all units: kernels keep caches by thread.
        self._pool = ThreadPoolExecutor(max_workers=1)

    def run(self, phase: str, unit: int, task: int) -> Iterator[dict[str, Any]]:
        """Do a unit, in a thread, so that its progress can be told while it works. The last message is its end."""
        from queue import SimpleQueue

        from curate.executors.worker import Progress, outcome

        told: SimpleQueue[dict[str, Any]] = SimpleQueue()

        def work() -> None:
            try:
                message = outcome(self._worker, phase, unit, task, Progress(told.put))
            except BaseException as cause:  # noqa: BLE001  # SystemExit of a library: nobody else would tell of it
                what = f"{type(cause).__name__}: {cause}"
                message = {"event": "failed", "unit": unit, "problems": [], "message": what}
            told.put(message)

        self._pool.submit(work)
        while True:
            message = told.get()
            yield message
            if message["event"] in ("done", "failed"):
                return

    def close(self) -> None:
        """Remove the scratch files, and the run's folder of them with the last worker of the node."""
        assert self._scratch is not None
        self._pool.shutdown()
        self._worker.close()
        leave_scratch(self._scratch)
