"""A run of curate under any executor of datatrove, for those whose cluster is set up for one.

    from datatrove.executor import LocalPipelineExecutor      # or SlurmPipelineExecutor, RayPipelineExecutor
    from curate.datatrove_step import stages

    if __name__ == "__main__":      # datatrove's processes import this script again, and are not to plan a run each
        executor = None
        for step in stages("web.yaml", tasks=64):
            executor = LocalPipelineExecutor(
                [step], tasks=step.tasks, depends=executor, logging_dir=f"logs/{step.phase}-{step.does}"
            )
        executor.run()

A run has phases, and a phase begins when the one before it is whole. So each phase is two executors: `work`, whose ranks
do its units (rank r does what `curate task --task r` would), and `end`, one task that merges done-files, checks the
books and publishes. Plan, run folder and bytes are those of `curate run`, which may finish what an executor began, but
not at the same time.

datatrove remembers which ranks have ended in `logging_dir` and does not start them again; after a change of the config
give another folder, and call `stages` anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.objects import as_place
from curate.kernels import kernel_environment, use_kernel_cache

use_kernel_cache()  # before a step imports numba

#: Tasks of a phase where none are given.
TASKS: Final = 64


def stages(
    config: str | Path,
    *,
    tasks: int = TASKS,
    overrides: Sequence[str] = (),
    run_dir: str | Path | None = None,
    update: bool = False,
) -> list[Curate]:
    """Plan a run, write it into its run folder, and return its steps in order, one for each executor.

    tasks: ranks of a phase at most. overrides: `key.path=value`, as `--set` takes them. update: take in changed inputs.
    Raises `CurateError` for every fault of the config at once, and R302 if the folder is in use.
    """
    from curate.executors.slurm.follow import refuse_if_queued
    from curate.planning.session import Request, prepare
    from curate.running.driver import compile_kernels
    from curate.running.locks import locked
    from curate.running.run import lay_out, passes_pending

    request = Request(
        Path(config), tuple(overrides), as_place(str(run_dir)) if run_dir is not None else None, update, False
    )
    folder = prepare(request).folder
    with locked(folder):
        refuse_if_queued(folder)
        session = prepare(request)
        plan, manifest = session.compiled.plan, session.compiled.manifest
        lay_out(plan, manifest, folder)
        if passes_pending(plan, manifest, folder):
            compile_kernels(folder, plan, kernel_environment())
        _go_on(folder, None)
    root = str(folder.root)
    return [
        Curate(root, phase.name, does, tasks if does == "work" else 1)
        for phase in plan.phases
        for does in ("work", "end")
    ]


class Curate(PipelineStep):  # type: ignore[misc]  # datatrove is untyped
    """One step of a run: `work` on the units of a phase by rank, or its `end`. tasks: how many ranks it wants.

    Documents that come in go out again untouched.
    """

    name = "run of curate"
    type = "curate"

    def __init__(self, root: str, phase: str, does: Literal["work", "end"], tasks: int) -> None:
        super().__init__()
        self.root, self.phase, self.does, self.tasks = root, phase, does, tasks

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Raises the `CurateError` of a unit that fails; what is done stays done."""
        if self.does == "end":
            _end(RunFolder(as_place(self.root)), self.phase)
        else:
            self._work(rank, world_size)
        if data is not None:
            yield from data

    def _work(self, rank: int, world_size: int) -> None:
        from curate.running.run import is_needless
        from curate.running.task import ATTRIBUTES, Worker

        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        worker = Worker(as_place(self.root), threads=threads, patience=ATTRIBUTES)
        try:
            if is_needless(worker.plan, worker.manifest, worker.folder, worker.plan.phase(self.phase)):
                return
            units = worker.task_units(self.phase, rank, world_size)
            with self.track_time():
                done = worker.run(self.phase, units, rank, lambda *_: None)
        finally:
            worker.close()
        self.stat_update("units", value=len(done), unit="task")
        self.stat_update("rows", value=sum(d.rows for d in done), unit="task")


def _end(folder: RunFolder, phase: str) -> None:
    """Bring a phase to its end and make the next ones ready, once this node sees what the ranks wrote on others."""
    from curate.executors.slurm.advance import await_phases
    from curate.running.locks import locked
    from curate.running.run import record_failure
    from curate.running.saved_run import load_run

    with locked(folder):
        try:
            await_phases(*load_run(folder.root), folder, phase, all_done=False)
            _go_on(folder, phase)
        except CurateError as cause:
            record_failure(folder, cause)
            raise


def _go_on(folder: RunFolder, ended: str | None) -> None:
    """End the phases that are whole, up to the first with units pending, which is made ready. R306 if `ended` has any."""
    from curate.running.locks import locked_outputs
    from curate.running.run import close_phase, is_needless, open_phase, publish
    from curate.running.saved_run import load_run

    plan, manifest = load_run(folder.root)
    before = ended is not None
    with locked_outputs(plan):
        for phase in plan.phases:
            if is_needless(plan, manifest, folder, phase):
                before = before and phase.name != ended
                continue
            pending = open_phase(plan, manifest, folder, phase).pending
            if pending and before:
                raise error(
                    "R306",
                    f"phase {phase.name} has {len(pending)} units pending, though {ended} follows it and was begun",
                    help="an output of it was lost: call `stages` anew, with another logging_dir",
                    phase=phase.name,
                )
            if pending and phase.name != ended:
                return
            before = before and phase.name != ended
            close_phase(plan, manifest, folder, phase, worked=phase.name == ended)
            if phase.kind == "write":
                publish(plan, manifest, folder, phase)
