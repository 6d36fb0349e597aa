"""Batch scripts: what an administrator reads. One for the elements of a phase, one for the small job after it.

The shell is the element's supervisor. Slurm's warning before the time limit goes to the shell alone (`--signal=B:`), which
passes it on, and kills what has not stopped shortly before the limit. However the work ends, but for success and an error of
its own, the interpreter is asked once more what is to be done (`element ended`): back to the queue, or a failure in words.
"""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from curate import __version__
from curate.config.execution import WARNING, SlurmJobs
from curate.executors.local import ALLOCATOR, THREAD_BYTES

#: Seconds between the last moment at which a unit may be finished and the time limit.
_MARGIN: Final = 15
#: Memory of a process beside its steps: the interpreter, a batch and its columns, a row group.
_PROCESS_BYTES: Final = 1_000_000_000
#: And for each shard of the run: its part of the manifest, and its records of the phases before.
_SHARD_BYTES: Final = 12_000

#: Memory asked for, for each byte that a process had at its peak when it was measured.
_ROOM: Final = 1.25


@dataclass(frozen=True)
class Place:
    """What a script has to know of its run. root: the run folder; job: the name all its jobs have; directory: the working
    directory, against which options of steps that are relative paths are resolved; files: where logs and what the queue
    needs to know stand, the run folder unless that is in a store. shards: how many the run has.
    """

    root: str
    directory: str
    name: str
    job: str
    files: str
    shards: int = 0


def array_script(
    place: Place,
    jobs: SlurmJobs,
    phase: str,
    needs: dict[str, float],
    tasks: str,
    first: int,
    count: int,
    after: str | None = None,
) -> str:
    """Elements `first` … `first + count - 1` of a phase. tasks: the file that says which units each has.

    after: the chunk before, if they may not all be at work at once: what `max_running` allows is allowed to one at a time.
    """
    throttle = f"%{jobs.max_running}" if jobs.max_running is not None else ""
    options = [
        *_common(place, phase, jobs, needs),
        f"--array=0-{count - 1}{throttle}",
        *((f"--dependency=afterany:{after}",) if after is not None else ()),
        f"--output={_log(place)}/{phase}.%A_%a.log",
        f"--signal=B:USR1@{jobs.warning or WARNING}",
    ]
    module = "-m curate.executors.slurm.element"
    work = shlex.join([*jobs.container, jobs.python or sys.executable]) + f" {module}"
    outside = f"{_python_outside(jobs)} {module}"
    seconds = max(5, (jobs.warning or WARNING) - _MARGIN)
    element = f"{shlex.quote(place.root)} {shlex.quote(tasks)} $(({first} + SLURM_ARRAY_TASK_ID))"
    size = f"--workers {workers_of(jobs, needs)} --gpus {_gpus(needs)} --threads {jobs.cpus or 1}"
    body = f"""\
for note in {shlex.quote(f"{place.files}/slurm/failed/{tasks.removesuffix('.json')}")}-*.json; do
    [ -e "$note" ] || continue
    echo "another task has failed: this one does not start"
    exit 1
done
[ -d "${{TMPDIR:-/tmp}}" ] || export TMPDIR=/tmp # the variable may come from the machine that submitted
scratch=$(mktemp -d "${{TMPDIR:-/tmp}}/curate-XXXXXX") || exit 1
trap 'rm -rf "$scratch" "$(cat "$scratch/local_tmp" 2>/dev/null || echo "$scratch")"' EXIT
child=
early=
late=
again=
warn() {{
    again=1
    if [ -z "$child" ]; then
        early=1
    elif [ -z "$late" ]; then
        late=--late
        kill -USR1 "$child" 2>/dev/null
        (sleep {seconds}; kill -KILL "$child") >/dev/null 2>&1 &
    fi
}}
trap warn USR1
export {" ".join(f"{name}=${{{name}:-{value}}}" for name, value in ALLOCATOR.items())}
{work} work {element} --scratch "$scratch" {size} &
child=$!
[ -z "$early" ] || warn
while :; do # a signal ends `wait`, not the work
    again=
    wait "$child"
    code=$?
    [ "$code" = 127 ] && [ -n "$status" ] || status=$code
    [ -n "$again" ] || break
done
if [ "$status" -le 1 ]; then exit "$status"; fi
{outside} ended {element} --status "$status" $late
exit $?
"""
    return _script(
        place, f"phase {phase}, tasks {first} to {first + count - 1}", options, jobs, "status=\n" + body
    )


def advance_script(
    place: Place, jobs: SlurmJobs, phase: str, after: Sequence[str], *, again: bool = False
) -> str:
    """The job that ends a phase and submits the next one, when every chunk of the phase's array has ended well.

    again: when they have ended in whatever way; what is then missing is submitted anew.
    """
    condition = "afterany" if again else "afterok"
    options = [
        *_common(place, f"after {phase}", jobs, {}, small=True),
        f"--output={_log(place)}/after-{phase}.%j.log",
        *((f"--dependency={condition}:{':'.join(after)}", "--kill-on-invalid-dep=yes") if after else ()),
    ]
    what = f"advance {shlex.quote(place.root)} {shlex.quote(phase)}{' --again' if again else ''}"
    body = f"exec {_python_outside(jobs)} -m curate.executors.slurm.element {what}\n"
    return _script(place, f"what comes after phase {phase}", options, jobs, body)


def _log(place: Place) -> str:
    """The folder of the logs, as a pattern of sbatch's."""
    return f"{place.files.replace('%', '%%')}/logs/slurm"


def _python_outside(jobs: SlurmJobs) -> str:
    """The interpreter that talks to Slurm: on the node itself, where its commands are, not in a container."""
    return shlex.quote(sys.executable if jobs.container or jobs.python is None else jobs.python)


def _common(
    place: Place, comment: str, jobs: SlurmJobs, needs: dict[str, float], *, small: bool = False
) -> list[str]:
    """small: one CPU, its part of a task's memory and no GPU, whatever the tasks of the phase have. needs: what a process
    of its steps asks for (`memory_gb`, `gpus`), and by measured rates `peak_bytes` of one and `minutes` of the longest task.
    """
    workers = 1 if small else workers_of(jobs, needs)
    memory = max(
        _PROCESS_BYTES + int(needs.get("memory_gb", 0) * 1e9), int(_ROOM * needs.get("peak_bytes", 0))
    )
    memory += place.shards * _SHARD_BYTES
    if not small:  # what was measured had one thread
        memory += ((jobs.cpus or 1) - 1) * THREAD_BYTES
    memory *= workers
    if jobs.memory is not None:
        memory = (
            max(memory, jobs.memory // (workers_of(jobs, {}) * (jobs.cpus or 1))) if small else jobs.memory
        )
    gpus = workers * _gpus(needs)
    gres = None if small else jobs.gres or (f"gpu:{gpus}" if gpus else None)
    asked = {
        "account": jobs.account,
        "qos": jobs.qos,
        "partition": jobs.partition,
        "constraint": jobs.constraint,
        "gres": gres,
        "time": jobs.time or (None if small or "minutes" not in needs else f"{needs['minutes']:.0f}"),
    }
    return [
        f"--job-name={place.job}",
        f"--comment={comment}",
        f"--chdir={place.directory}",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={1 if small else workers * (jobs.cpus or 1)}",
        f"--mem={-(-memory // 2**20)}M",
        *(f"--{name}={value}" for name, value in asked.items() if value is not None),
        *jobs.args,
    ]


def workers_of(jobs: SlurmJobs, needs: Mapping[str, float]) -> int:
    """Processes of a task: as the config says, else as many as its `gres` has GPUs for, else one."""
    gpus = _gpus(needs)
    if jobs.workers is not None or not gpus or jobs.gres is None:
        return jobs.workers or 1
    found = [
        re.fullmatch(r"(?:gres[:/])?gpu(?::[^:()]*[^:()0-9][^:()]*)?(?::(\d+))?(?:\(.*\))?", part)
        for part in jobs.gres.split(",")
    ]
    return max(1, sum(int(f[1] or 1) for f in found if f is not None) // gpus)


def _gpus(needs: Mapping[str, float]) -> int:
    """GPUs of one process."""
    return math.ceil(needs.get("gpus", 0))


def _script(place: Place, what: str, options: Sequence[str], jobs: SlurmJobs, body: str) -> str:
    lines = [f"#SBATCH {_quoted(option)}" for option in options]
    setup = "".join(f"{line}\n" for line in jobs.setup) + ("set +eu\n" if jobs.setup else "")
    return (
        f"#!/bin/bash\n# curate {__version__}, run {place.name}: {what}\n"
        + "\n".join(lines)
        + "\n"
        + setup
        + body
    )


def _quoted(option: str) -> str:
    name, equals, value = option.partition("=")
    return f"{name}={shlex.quote(value)}" if equals else name
