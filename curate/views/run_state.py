"""The state of a run: its plan, its phases with the records of what is done, and who works on it.

Read are done-files and their summaries alone, no counters, so it is there at once on thousands of units.

    state    done      every phase is finished and every output stands complete
             running   a process holds the folder's lock, or jobs of the run are in Slurm's queue
             failed    the last try stopped with an error, and nobody has taken it up since
             pending   anything else, an interrupted run too: run it again to continue

A run may go on while its folder is read: done-files are merged, and counters with them, when a phase ends.
`unhurried` reads again when a file it was about to open has just gone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from curate.core.commit import Done, finished
from curate.core.errors import CurateError, is_gone
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.objects import Place
from curate.core.packs import Stretch
from curate.core.plan import OutputPlan, Phase, Plan
from curate.executors.slurm.follow import queue_state
from curate.executors.slurm.state import read_failures
from curate.planning.fingerprints import file_fingerprints, finished_units, unit_fingerprints
from curate.running.finish import in_place, read_published
from curate.running.locks import holder
from curate.running.saved_run import load_plan, load_run, without_collector
from curate.running.summaries import Summaries, Summary

State = Literal["done", "running", "failed", "pending"]
Result = TypeVar("Result")

#: Code of a run that was stopped from outside: nothing is wrong with it, it waits to be continued.
INTERRUPTED: Final = "R310"

_TRIES = 5
_PAUSE = 0.1


@dataclass(frozen=True)
class PhaseState:
    """A phase, its number of units (None while that is not known) and the records of those that are done."""

    phase: Phase
    summary: Summary
    load: Callable[[], dict[int, Done]]

    @cached_property
    def done(self) -> dict[int, Done]:
        return self.load()

    @property
    def units(self) -> int | None:
        return self.summary.units

    @property
    def complete(self) -> bool:
        return self.summary.done == self.units


@dataclass(frozen=True)
class RunState:
    """Everything a run folder says about how far the run is. holder: who works in it, if anyone does."""

    plan: Plan
    folder: RunFolder
    phases: tuple[PhaseState, ...]
    failure: list[dict[str, Any]] | None
    holder: str | None
    queue: Mapping[str, Any] | None
    load: Callable[[], Manifest]

    @cached_property
    def manifest(self) -> Manifest:
        return self.load()

    def phase(self, name: str) -> PhaseState:
        return next(p for p in self.phases if p.phase.name == name)

    @property
    def passes(self) -> tuple[PhaseState, ...]:
        return tuple(p for p in self.phases if p.phase.kind == "pass")

    def place(self, phase: PhaseState, unit: int, role: str) -> Path | Stretch:
        """Where a file of a finished unit is now. If it has moved since the records were read, because the phase was
        compacted, they are read again.
        """
        if not self.folder.absolute(phase.done[unit].outputs[role].path).exists():
            phase.done.update(finished_units(self.plan, self.manifest, phase.phase, self.folder))
        return phase.done[unit].outputs[role].place(self.folder)

    def complete(self, phase: PhaseState) -> bool:
        """Whether nothing of a phase is left to do. The rows of an exchange go once they are written."""
        if phase.phase.kind == "exchange":
            return phase.complete or self.phase(f"{phase.phase.output}.write").complete
        return phase.complete

    @property
    def state(self) -> State:
        if self.holder is not None:
            return "running"
        failed = self.failure is not None and any(p["code"] != INTERRUPTED for p in self.failure)
        if self.finished and not failed:  # the last job may still be in the queue
            return "done"
        if self.queue is not None and self.queue["problem"] is None:
            return "running"
        return "failed" if failed else "pending"

    @property
    def finished(self) -> bool:
        """Whether every phase is finished and every output stands complete."""
        return all(self.complete(p) for p in self.phases) and all(
            self._is_published(o) for o in self.plan.outputs
        )

    def _is_published(self, output: OutputPlan) -> bool:
        """Whether the output's folder holds the very files that the done-files name."""
        files, complete = read_published(self.folder, output)
        written = self.phase(f"{output.name}.write").done
        return complete and {(f.unit, f.attempt) for f in files} == {
            (u, d.attempt) for u, d in written.items()
        }


def read_run(root: Place) -> RunState:
    """The state of the run in this folder; R307 if it is none."""
    return unhurried(lambda: _read_run(root))


def _read_run(root: Place) -> RunState:
    folder = RunFolder(root)
    reading = _Reading(folder)
    phases = tuple(reading.phase(phase) for phase in reading.plan.phases)
    failure, queue = _failure(folder), queue_state(folder)
    return RunState(reading.plan, folder, phases, failure, holder(folder), queue, lambda: reading.manifest)


class _Reading:
    """Phases by their summaries, and what these cannot tell by the records, for which the manifest is needed."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.plan = load_plan(folder.root)
        self._summaries = Summaries(folder) if folder.manifest.exists() else None
        # Summaries of phases before tell what the last ones need.
        self._known = {p.name: self._summaries.of(p) if self._summaries else None for p in self.plan.phases}

    @cached_property
    def manifest(self) -> Manifest:
        return load_run(self._folder.root)[1]

    def phase(self, phase: Phase) -> PhaseState:
        summary = self._known[phase.name]
        corpus = self._summaries.corpus if self._summaries is not None else None
        if summary is not None:
            return PhaseState(phase, summary, lambda: self._records(phase))
        if corpus is not None and phase.kind == "write":
            prints = file_fingerprints(self.plan, phase, self._folder, corpus)
            there = in_place(self._folder, self.plan.output(phase.output or ""))
            return _phase_state(phase, prints, finished(self._folder, phase.name, prints or {}, there))
        if corpus is not None and not self._folder.done_folder(phase.name).exists():
            assert self._summaries is not None
            units = {"exchange": self._summaries.groups, "reduce": phase.partitions}
            if phase.kind != "ingest":
                return PhaseState(phase, Summary.of(units.get(phase.kind, self._summaries.shards), ()), dict)
        fingerprints = unit_fingerprints(self.plan, self.manifest, phase, self._folder)
        done = self._records(phase, fingerprints) if fingerprints is not None else {}
        return _phase_state(phase, fingerprints, done)

    def _records(self, phase: Phase, fingerprints: Mapping[int, str] | None = None) -> dict[int, Done]:
        with without_collector():
            return finished_units(self.plan, self.manifest, phase, self._folder, fingerprints)


def _phase_state(phase: Phase, fingerprints: Mapping[int, str] | None, done: dict[int, Done]) -> PhaseState:
    units = None if fingerprints is None else len(fingerprints)
    return PhaseState(phase, Summary.of(units, done.values()), lambda: done)


def unhurried(read: Callable[[], Result]) -> Result:
    """What `read` gives, tried again a few times if a file goes while it reads."""
    for _ in range(_TRIES - 1):
        try:
            return read()
        except (FileNotFoundError, CurateError) as cause:
            if not is_gone(cause):
                raise
            time.sleep(_PAUSE)
    return read()


def _failure(folder: RunFolder) -> list[dict[str, Any]] | None:
    if not folder.failure.exists():
        return read_failures(folder) or None
    problems: list[dict[str, Any]] = json.loads(folder.failure.read_text(encoding="utf-8"))["problems"]
    return problems
