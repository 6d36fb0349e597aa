"""GPUs of this machine, for phases that need them: which there are, who gets which, and that a run does not begin without.

Each worker of the local executor sees its own devices and no other (`CUDA_VISIBLE_DEVICES`), so a step takes the first that
it sees, as it does under Slurm and Ray, which give each task devices of its own. Workers beyond the GPUs see none; they wait
while a phase needs one.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from curate.core.errors import error
from curate.core.plan import Phase, Plan

#: By which CUDA is told what a process may see: numbers, or names such as `GPU-8f6e` and `MIG-…`.
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> int:
    """GPUs that torch can use here; 0 without torch."""
    if importlib.util.find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def device_names(count: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What to call the first `count` of the devices that this process sees, so that a child sees the same ones."""
    listed = [name.strip() for name in environment.get(VISIBLE, "").split(",") if name.strip()]
    return tuple(listed[:count]) if len(listed) >= count else tuple(map(str, range(count)))


class Gpus(NamedTuple):
    """devices: that the workers of a run share. each: what one takes."""

    devices: tuple[str, ...] = ()
    each: int = 1

    @property
    def workers(self) -> int:
        """That can have some at the same time."""
        return len(self.devices) // self.each

    def environment(self, worker: int) -> dict[str, str]:
        """What a worker sees; nothing is said where no phase needs a GPU."""
        own = self.devices[worker * self.each : (worker + 1) * self.each]
        return {VISIBLE: ",".join(own) if len(own) == self.each else ""} if self.devices else {}


def gpus_for(plan: Plan, phases: Sequence[Phase]) -> Gpus:
    """The GPUs that the workers share, none if none of these phases needs one. E509 if this machine has too few."""
    needs = {phase.name: int(phase.resources.get("gpus", 0)) for phase in phases}
    most = max(needs.values(), default=0)
    if most == 0:
        return Gpus()
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
    return Gpus(device_names(found, os.environ), most)
