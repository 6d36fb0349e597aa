"""Slurm's commands: submit, ask the queue, cancel, requeue. Whatever a command complains of is shown in its own words.

E521  a command is not here      E522  the scheduler does not answer      E523  it refuses a job
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from curate.core.errors import CurateError, Position, error

#: Seconds a command may take; Slurm's own give up on a dead controller before that.
_PATIENCE: Final = 120
#: Elements that have ended, or whose processes are just being cleared away.
_ENDED: Final = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)
_DOWN: Final = re.compile(
    r"unable to contact|connection refused|socket timed out|connect failure|timed out", re.I
)
#: QOSMaxSubmitJobPerUserLimit, AssocGrpSubmitJobsLimit and their kin; older versions name no limit.
_LIMIT: Final = re.compile(r"(Max|Grp)SubmitJob|\(job submit limit", re.I)


@dataclass(frozen=True)
class Element:
    """An array element, or a job without an array (index None), as the queue shows it.

    end: when it ended, in seconds since 1970; None if that is not known, or was not asked for.
    """

    job: str
    index: int | None
    state: str
    reason: str
    node: str
    end: float | None = None

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def name(self) -> str:
        return self.job if self.index is None else f"{self.job}_{self.index}"


def submit(script: str) -> str:
    """Submit a batch script; returns the job's id. E523 if it is refused."""
    answer = _call(["sbatch", "--parsable"], text=script)
    return answer.strip().splitlines()[-1].partition(";")[0]


def would_accept(script: str, position: Position | None) -> None:
    """E523 unless the cluster would take such a job now. Nothing is submitted."""
    _call(["sbatch", "--test-only"], text=script, position=position)


def is_submit_limit(cause: CurateError) -> bool:
    """Whether a refusal says that this many jobs may not be submitted (limits of a QOS or an account)."""
    return any(p.code == "E523" and _LIMIT.search(p.message) for p in cause.problems)


def _config() -> str:
    """How the cluster is set up, asked for once; these two say which cluster it is."""
    return _config_of(os.environ.get("SLURM_CONF"), os.environ.get("PATH"))


@functools.cache
def _config_of(conf: str | None, path: str | None) -> str:
    return _call(["scontrol", "show", "config"])


def cluster() -> str:
    """What the cluster is called; empty if it does not say."""
    found = re.search(r"^ClusterName\s*=\s*(\S+)", _config(), re.MULTILINE)
    return found[1] if found is not None else ""


def max_array_size() -> int:
    """The cluster's MaxArraySize, which no index may reach, or fewer where arrays may not have so many tasks."""
    shown = _config()
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown, re.MULTILINE)
    size = int(found[1]) if found is not None else 0
    if most := re.search(r"^SchedulerParameters\s*=.*\bmax_array_tasks=(\d+)", shown, re.MULTILINE):
        size = min(size, max(2, int(most[1])))
    if size < 2:
        raise error(
            "E523", "the cluster allows no job arrays (MaxArraySize is 0)", help="ask its administrators"
        )
    return size


def queue(name: str, *, ended: bool = False) -> list[Element]:
    """Jobs of that name, whoever's, that are queued or at work; with `ended`, also those that Slurm remembers, with their
    end."""
    states = ["--states=all"] if ended else []
    form = "%F|%K|%T|%r|%N" + ("|%e" if ended else "")
    text = _call(["squeue", "--noheader", "--array", f"--name={name}", f"--format={form}", *states])
    found = []
    for line in text.splitlines():
        job, index, state, reason, node, *end = line.strip().split("|")
        number = int(index) if index.isdigit() else None
        found.append(Element(job, number, state, reason, node, _moment(end[0]) if end else None))
    return found if ended else [e for e in found if e.state not in _ENDED - {"COMPLETING"}]


def _moment(shown: str) -> float | None:
    """Seconds since 1970 of a time as squeue shows it, in this machine's zone; None for N/A and the like."""
    try:
        return datetime.fromisoformat(shown).timestamp()
    except ValueError:
        return None


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs by id; what is gone already is no fault."""
    given = sorted(set(jobs))
    if given:
        _call(["scancel", "--quiet", *given])


def cancel_waiting(name: str) -> None:
    """Cancel the user's jobs of that name that have not begun."""
    user = pwd.getpwuid(os.getuid()).pw_name
    _call(["scancel", "--quiet", f"--user={user}", f"--name={name}", "--state=PENDING"])


def restarts(element: str) -> int:
    """How often an element was sent back to the queue so far."""
    found = re.search(r"\bRestarts=(\d+)", _call(["scontrol", "show", "job", element]))
    return int(found[1]) if found is not None else 0


def requeue(element: str) -> None:
    """Send a running element back to the queue: `12_3`, never the raw id, which may mean the whole array."""
    _call(["scontrol", "requeue", element])


def _call(command: Sequence[str], *, text: str | None = None, position: Position | None = None) -> str:
    program = command[0]
    if shutil.which(program) is None:
        raise error(
            "E521",
            f"Slurm is not here: the command {program} is not found",
            help="run this on a machine from which jobs are submitted, or leave out `--on slurm`",
            exit_code=2,
        )
    try:
        done = subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            env=_environment(os.environ),
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise error(
            "E522",
            f"the scheduler does not answer: {program} took more than {_PATIENCE} s",
            help="look whether `sinfo` works, and try again",
        ) from cause
    if done.returncode == 0:
        return done.stdout
    raise _refusal(program, done.stderr or done.stdout, done.returncode, position)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Without SBATCH_…, SQUEUE_… and the like, which would override what the config asks for or change the form of
    answers."""
    ours = ("SBATCH_", "SQUEUE_", "SCANCEL_")
    return {name: value for name, value in environ.items() if not name.startswith(ours)} | {
        "LC_ALL": "C",
        "SLURM_TIME_FORMAT": "standard",
    }


def _refusal(program: str, said: str, status: int, position: Position | None) -> CurateError:
    lines = [re.sub(r"^(s\w+: )?(error: )?", "", line).strip() for line in said.splitlines()]
    words = (
        "; ".join(dict.fromkeys(line for line in lines if line)) or f"{program} ended with status {status}"
    )
    if _DOWN.search(words):
        return error(
            "E522",
            f"the scheduler does not answer: {words}",
            help="look whether `sinfo` works, and try again; jobs in the queue go on by themselves",
        )
    return error(
        "E523",
        f"the scheduler refuses: {words}",
        help="correct execution.slurm; `sinfo` shows partitions and what their nodes have",
        position=position,
    )
