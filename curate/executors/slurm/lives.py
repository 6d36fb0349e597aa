"""The lives of a task: how often its element went back to the queue, by itself or with its node, without a unit done.

slurm/tries/<tasks>-<task>.json    {"left": units, "idle": ends, "lost": lives, "restarts": of the element}
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Final

from curate.core.commit import write_atomically
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.objects import Place
from curate.executors.slurm.state import note
from curate.planning.fingerprints import finished_units
from curate.running.saved_run import load_run

#: Lives of a task that may be lost, with a node or by pre-emption, without a unit done.
_LIVES: Final = 10


def count_lost_lives(folder: RunFolder, tasks: str, phase: str, task: int, units: list[int]) -> None:
    """R304 if nodes of a task were lost, or it was pre-empted, many times without a unit done: nobody could say so then."""
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    known = _tries(folder, tasks, task, len(units))
    if restarts <= known["restarts"]:
        return
    left = units_left(folder.root, phase, units)
    lost = 0 if left < known["left"] else known["lost"] + restarts - known["restarts"]
    _note(folder, tasks, task, {**known, "left": left, "lost": lost, "restarts": restarts})
    if lost > _LIVES:
        raise error(
            "R304",
            f"a task was lost with its node, or pre-empted, {lost} times on the same unit",
            help="look which nodes went down, or use a partition without pre-emption; finished units are kept, run again",
            phase=phase,
            unit=units[0],
            task=task,
        )


def idle_ends(folder: RunFolder, tasks: str, task: int, left: int, units: int) -> int:
    """How often a task has ended, this time included, since it last got a unit done; noted for the next time."""
    known = _tries(folder, tasks, task, units)
    idle = 0 if left < known["left"] else known["idle"] + 1
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0) + 1  # as it will be when the task begins again
    _note(folder, tasks, task, {**known, "left": left, "idle": idle, "restarts": restarts})
    return idle


def _tries(folder: RunFolder, tasks: str, task: int, units: int) -> dict[str, int]:
    """left: units that were to do when it was last looked; idle: ends since a unit was done; lost: lives without an end;
    restarts: of the element by Slurm's count, as far as they are in these.
    """
    path = note(folder, "tries", tasks, task)
    known = {"left": units, "idle": 0, "lost": 0, "restarts": 0}
    with suppress(FileNotFoundError, ValueError):
        known |= json.loads(path.read_text(encoding="utf-8"))
    return known


def _note(folder: RunFolder, tasks: str, task: int, known: dict[str, int]) -> None:
    write_atomically(note(folder, "tries", tasks, task), json.dumps(known))


def too_often(phase: str, task: int, unit: int, why: str, idle: int, late: bool) -> CurateError:
    """R304, or R320 if it was the time limit each time."""
    code, message = "R304", f"a task {why}, {idle} times on the same unit"
    help = "if memory ran out, raise `memory` under execution.slurm; finished units are kept, run again"
    if late:
        code = "R320"
        message = (
            f"the time limit is too short for one unit: a task met it {idle} times without finishing one"
        )
        help = "raise `time` under execution.slurm, or lower `warning`; finished units are kept, run again"
    return error(code, message, help=help, phase=phase, unit=unit, task=task)


def units_left(root: Place, phase: str, units: list[int]) -> int:
    """How many units of a task are not done, by the phase's merged done-files too: it may have ended meanwhile."""
    plan, manifest = load_run(root)
    done = finished_units(plan, manifest, plan.phase(phase), RunFolder(root))
    return sum(unit not in done for unit in units)
