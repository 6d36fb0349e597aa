"""Measuring what a run's phases cost: the run itself on a small part of its input, twice, in this process.

The first time a worker loads libraries and kernels; the second time only the work is left. The difference, and opening
models, which is measured apart, is what each worker pays once. Nothing of it is kept but the rates: run folder, outputs
and indexes are made in a scratch folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.plan import Phase, Plan, StepPlan
from curate.core.stage import NO_WORK, Work
from curate.executors.local import Describe, Listener
from curate.planning.rates import Rate
from curate.planning.sample import sample
from curate.running.locks import locked_outputs
from curate.running.run import is_needless, lay_out, run_phase
from curate.running.task import Worker

_MEGABYTE: Final = 1_000_000


@dataclass
class _Cost:
    """CPU and wall seconds of the work, and CPU seconds of opening what the phase's steps need."""

    cpu: float = 0.0
    opening: float = 0.0
    wall: float = 0.0
    peak: int = 0
    disk: int = 0


class _Measuring:
    """An executor that does units here, one after the other, and notes what each phase cost."""

    delay: Final = 0.0

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self.costs: dict[str, _Cost] = {}
        self._worker: Worker | None = None

    def __enter__(self) -> _Measuring:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._worker is not None:
            self._worker.close()

    def run(
        self, phase: Phase, tasks: Sequence[Sequence[int]], listener: Listener, describe: Describe
    ) -> None:
        cost = self.costs.setdefault(phase.name, _Cost())
        _forget_peak()
        began = time.process_time()
        if self._worker is None:
            self._worker = Worker(self._root, scratch=self._scratch)
        self._worker.open(phase.name)  # models: a worker's, once, however much there is to do
        cpu, wall = time.process_time(), time.monotonic()
        cost.opening += cpu - began
        for number, units in enumerate(tasks):
            done = self._worker.run(phase.name, units, number, listener.progress)
            cost.disk += sum(d.bytes for d in done)
        cost.cpu += time.process_time() - cpu
        cost.wall += time.monotonic() - wall
        cost.peak = max(cost.peak, _peak())


class _Silent:
    """Nobody looks at the progress of a measurement."""

    def progress(self, rows: int, size: int, work: Work = NO_WORK, /) -> None: ...

    def unit_done(self, unit: int) -> None: ...

    def retrying(self, unit: int, why: str) -> None: ...

    def phase_started(self, phase: Phase, units: int, done: int, size: int) -> None: ...

    def phase_finished(self, phase: Phase) -> None: ...


def calibrate(plan: Plan, manifest: Manifest, megabytes: int, scratch: Path) -> dict[str, Rate]:
    """Phase name → rate, from about that much of the input. scratch: an empty folder for everything the runs write.

    A phase that had nothing to do is left out. Raises what a run raises.
    """
    (scratch / "input").mkdir()
    part = sample(manifest, megabytes * _MEGABYTE, scratch / "input")
    size = max(1, sum(s.bytes for s in part.shards))
    first = _measure(elsewhere(plan, scratch / "first"), part, scratch / "first")
    again = _measure(elsewhere(plan, scratch / "again"), part, scratch / "again")
    return {
        name: Rate(
            input_bytes=size,
            cpu_seconds=cost.cpu,
            gpu_seconds=cost.wall if plan.phase(name).resources.get("gpus") else 0.0,
            start_seconds=first[name].opening + max(0.0, first[name].cpu - cost.cpu),
            peak_bytes=max(cost.peak, first[name].peak),
            disk_bytes=cost.disk,
        )
        for name, cost in again.items()
    }


def _measure(plan: Plan, manifest: Manifest, place: Path) -> dict[str, _Cost]:
    folder = RunFolder(place / "run")
    folder.work.mkdir(parents=True)
    lay_out(plan, manifest, folder)
    with locked_outputs(plan), _Measuring(folder.work, place) as executor:
        for phase in plan.phases:
            if not is_needless(plan, manifest, folder, phase):
                run_phase(plan, manifest, folder, phase, executor, 1, _Silent())
    return executor.costs


def elsewhere(plan: Plan, place: Path) -> Plan:
    """The plan with everything it makes outside its run folder put below `place`."""
    made = {p.makes: str(place / f"made{i}") for i, p in enumerate(plan.phases) if p.makes is not None}

    def moved(step: StepPlan) -> StepPlan:
        options = {k: made.get(v, v) if isinstance(v, str) else v for k, v in step.options.items()}
        return replace(step, options=options)

    phases = tuple(
        replace(
            p,
            steps=tuple(moved(s) for s in p.steps),
            job=moved(p.job) if p.job is not None else None,
            makes=made[p.makes] if p.makes is not None else None,
        )
        for p in plan.phases
    )
    outputs = tuple(replace(o, path=str(place / "out" / str(i))) for i, o in enumerate(plan.outputs))
    return replace(plan, phases=phases, outputs=outputs)


def _forget_peak() -> None:
    """Let the system count this process's largest resident set anew, where it can (Linux)."""
    with suppress(
        OSError
    ):  # the peak of the whole process is then what every phase shows: too much, never too little
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """Bytes of this process's largest resident set."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024
