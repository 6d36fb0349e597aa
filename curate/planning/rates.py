"""What a phase costs for each byte of input, as measured on some machine, and what a run will cost by that.

`curate calibrate` measures (curate/running/calibrate.py); `curate plan` and the batch scripts of a cluster multiply. Rates
are per byte of the run's input, also in phases that see only what earlier ones kept: what a phase drops is part of what
was measured. So an estimate is as good as the sample is like the whole: within a factor of two is what is promised.

Rates are kept in `$XDG_CACHE_HOME/curate/rates.json`, else `~/.cache/curate/rates.json`, by phase fingerprint, which is
everything that decides the phase's output and no path. A phase that was not measured itself takes the rate of one of the
same name and steps, and is marked so.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curate.core.commit import write_atomically
from curate.core.errors import error
from curate.core.plan import Phase, Plan

#: The form of the file.
_FORMAT: Final = 1
#: Measured phases that a file holds; the oldest go.
_MOST: Final = 2000


@dataclass(frozen=True)
class Rate:
    """Of one phase. input_bytes: of the sample; cpu_seconds, gpu_seconds: it took for these; start_seconds: of CPU, once
    for each worker (models, kernels); peak_bytes: resident memory of the worker; disk_bytes: written for the sample.
    """

    input_bytes: int
    cpu_seconds: float
    gpu_seconds: float
    start_seconds: float
    peak_bytes: int
    disk_bytes: int

    def cpu(self, size: int) -> float:
        """CPU seconds for that many bytes of input, without the start."""
        return self.cpu_seconds * size / self.input_bytes

    def gpu(self, size: int) -> float:
        return self.gpu_seconds * size / self.input_bytes

    def disk(self, size: int) -> int:
        return int(self.disk_bytes * size / self.input_bytes)


@dataclass(frozen=True)
class Found:
    """A phase's rate. exact: whether this very phase was measured, not one like it."""

    rate: Rate
    exact: bool


@dataclass(frozen=True)
class Rates:
    """What was measured. machine: the CPU's name; phases: fingerprint → rate; alike: name and steps → fingerprint."""

    machine: str
    phases: Mapping[str, Rate]
    alike: Mapping[str, str]

    def of(self, phase: Phase) -> Found | None:
        if phase.fingerprint in self.phases:
            return Found(self.phases[phase.fingerprint], True)
        like = self.alike.get(_likeness(phase))
        return Found(self.phases[like], False) if like is not None else None


def peak_bytes(rate: Rate, phase: Phase) -> int:
    """Resident memory of a worker. The index of an exchange grows with the input and was hardly there in the sample."""
    index = phase.resources.get("memory_gb", 0) if phase.kind in ("exchange", "write") else 0
    return rate.peak_bytes + int(index * 1e9)


def machine() -> str:
    """The CPU's name, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def rates_file() -> Path:
    """Where rates are kept unless another file is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "rates.json"


def read_rates(path: Path) -> Rates | None:
    """Rates of this machine, else of the one measured last; None if there is no such file. E506 if it is damaged."""
    raw = _read(path)
    if raw is None or not raw["machines"]:
        return None
    name = machine() if machine() in raw["machines"] else list(raw["machines"])[-1]
    known = raw["machines"][name]
    return Rates(
        name, {k: Rate(**v["rate"]) for k, v in known.items()}, {v["like"]: k for k, v in known.items()}
    )


def add_rates(path: Path, plan: Plan, measured: Mapping[str, Rate]) -> None:
    """Put a plan's rates into a file, made if need be. measured: phase name → rate."""
    raw = _read(path) or {"format": _FORMAT, "machines": {}}
    known: dict[str, Any] = raw["machines"].pop(machine(), {})
    for name, rate in measured.items():
        phase = plan.phase(name)
        known.pop(phase.fingerprint, None)
        known[phase.fingerprint] = {"like": _likeness(phase), "rate": dataclasses.asdict(rate)}
    raw["machines"][machine()] = dict(list(known.items())[-_MOST:])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(raw, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != _FORMAT:
            return None
        for known in raw["machines"].values():
            for entry in known.values():
                Rate(**entry["rate"]), str(entry["like"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise error(
            "E506", f"the rates in {path} cannot be read: {cause}", help="remove the file and calibrate again"
        ) from cause
    return raw


def _likeness(phase: Phase) -> str:
    """Name, kind and steps of a phase: what phases of much the same cost have in common."""
    return " ".join([phase.kind, phase.name, *_uses(phase)])


def _uses(phase: Phase) -> Iterable[str]:
    yield from (step.use for step in phase.steps)
    if phase.job is not None:
        yield phase.job.use
