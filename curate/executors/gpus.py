"""GPUs of this machine, for phases that need them: how many there are, and that a run does not begin without.

A worker's number is in `CURATE_WORKER`; a step takes the device of that number. Schedulers (Slurm, Ray) give each task
devices of its own, so there the number is 0.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Final

from curate.core.errors import error
from curate.core.plan import Phase, Plan

#: Environment variable: the number of a worker.
WORKER: Final = "CURATE_WORKER"


def visible_gpus() -> int:
    """GPUs that torch can use here; 0 without torch."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpus_for(plan: Plan, phases: Sequence[Phase]) -> int:
    """How many GPUs the workers share, 0 if none of these phases needs one. E509 if one does and this machine has too few."""
    needs = {phase.name: int(phase.resources.get("gpus", 0)) for phase in phases}
    most = max(needs.values(), default=0)
    if most == 0:
        return 0
    found = visible_gpus()
    if found < most:
        phase = next(name for name, need in needs.items() if need == most)
        steps = ", ".join(step.name for step in plan.phase(phase).steps)
        raise error(
            "E509",
            f"phase {phase} ({steps}) needs {most} GPU, and torch finds {found} on this machine",
            help="set `device: cpu` for the step, or run where there is one (`--on slurm`, `--on ray`)",
            phase=phase,
        )
    return found
