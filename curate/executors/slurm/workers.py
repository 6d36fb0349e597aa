"""A task with several workers: the processes of one array element, which share its units.

So an element can take a node as a whole. Slurm tells it in CUDA_VISIBLE_DEVICES which GPUs it has; each worker is shown only
its own. The processes are those of a local run (`executors.local`): one that dies is replaced and its unit tried again. Not
so one that is killed: where memory ran out Slurm calls the whole element OUT_OF_MEMORY, whatever its status is, and the next
phase would never begin. What the others have in hand is finished, and the element goes back to the queue.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.objects import Place
from curate.core.plan import Phase, Plan
from curate.executors.gpus import Gpus
from curate.executors.local import LocalExecutor
from curate.executors.slurm.state import read_settings
from curate.kernels import kernel_environment
from curate.planning.fingerprints import pending_units, unit_fingerprints
from curate.running.saved_run import load_run
from curate.running.task import ATTRIBUTES, unit_files

#: Seconds between two looks at what this node does not see yet.
_PAUSE: Final = 3.0


class _Log:
    """Tells the element's log what happens."""

    def progress(self, *told: object) -> None:
        pass

    def unit_done(self, unit: int) -> None:
        pass

    def retrying(self, unit: int, why: str) -> None:
        print(f"{why}: unit {unit} is tried again", file=sys.stderr, flush=True)


def work_together(
    root: Place,
    phase_name: str,
    units: Sequence[int],
    *,
    workers: int,
    threads: int,
    gpus: int,
    scratch: Path,
    stop: Callable[[], bool],
) -> int:
    """Do the units that are pending with several processes; returns how many there are still, 1 if a worker was killed.

    gpus: of each worker. stop: whether no unit is to be begun any more. E509 if Slurm gave the task fewer GPUs than that.
    """
    plan, manifest = load_run(root)
    folder, phase = RunFolder(root), plan.phase(phase_name)
    known = _fingerprints(plan, manifest, phase, folder)
    pending = pending_units(plan, manifest, phase, folder, units, known)
    here = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    with LocalExecutor(
        root,
        workers=workers,
        threads=threads,
        retries=read_settings(folder).retries,
        environment=kernel_environment(),
        scratch=scratch / f"curate-{here}",
        gpus=Gpus(_devices(workers * gpus), max(1, gpus)),
        stop=lambda: stop() or executor.killed,
        logs=folder.logs / "slurm",
        label=f"{phase_name}.{here}-worker",
        patience=ATTRIBUTES,
    ) as executor:
        executor.run(
            phase, [[unit] for unit in pending], _Log(), lambda unit: unit_files(manifest, phase, unit)
        )
    left = len(pending_units(plan, manifest, phase, folder, units, known))
    return max(left, int(executor.killed))


def _fingerprints(plan: Plan, manifest: Manifest, phase: Phase, folder: RunFolder) -> Mapping[int, str]:
    """Of all units of the phase. What the job before this one wrote may come late to this node: R303 if it does not come."""
    until = time.monotonic() + ATTRIBUTES
    while (found := unit_fingerprints(plan, manifest, phase, folder)) is None:
        if time.monotonic() > until:
            raise error("R303", f"phase {phase.name} cannot start: its rows have not been counted yet")
        time.sleep(_PAUSE)
    return found


def _devices(needed: int) -> tuple[str, ...]:
    """The GPUs that Slurm gave this task, as CUDA names them."""
    given = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if len(given) < needed:
        raise error(
            "E509",
            f"the task's workers need {needed} GPUs, and Slurm gave it {len(given)}",
            help=f"ask for them with `gres: gpu:{needed}` under execution.slurm.gpu, or lower `workers`",
        )
    return tuple(given[:needed])
