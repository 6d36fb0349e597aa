"""How far a run is, from its done-files alone: no counters are opened, so it answers at once on thousands of
units.

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
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

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

if TYPE_CHECKING:
    from rich.console import Console

State = Literal["done", "running", "failed", "pending"]
Result = TypeVar("Result")

#: Code of a run that was stopped from outside: nothing is wrong with it, it waits to be continued.
INTERRUPTED: Final = "R310"

#: Exit status of `curate status`.
EXIT: Final[Mapping[State, int]] = {"done": 0, "failed": 1, "running": 3, "pending": 3}

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
        return _phase_state(phase, fingerprints, self._records(phase) if fingerprints is not None else {})

    def _records(self, phase: Phase) -> dict[int, Done]:
        with without_collector():
            return finished_units(self.plan, self.manifest, phase, self._folder)


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


def build_status(root: Place) -> dict[str, Any]:
    """`name state holder phases jobs encoders outputs quarantine failure queue`; the keys it shares with a report mean
    the same there.
    """
    run = read_run(root)
    return {
        "name": run.plan.name,
        "state": run.state,
        "holder": run.holder,
        "phases": phase_entries(run),
        "jobs": job_counts(run),
        "encoders": encoder_entries(run),
        "outputs": [output_entry(run, o) for o in run.plan.outputs],
        "quarantine": {"rows": quarantined_rows(run), "path": quarantine_path(run)},
        "failure": run.failure,
        "queue": run.queue,
    }


def phase_entries(run: RunState) -> list[dict[str, Any]]:
    """`name kind units done rows bytes quarantined` of each phase; units is null until rows have been
    counted.
    """
    entries = []
    for phase in run.phases:
        units, found = phase.units, phase.summary
        entries.append(
            {
                "name": phase.phase.name,
                "kind": phase.phase.kind,
                "units": units,
                "done": units if run.complete(phase) else found.done,
                "rows": found.rows,
                "bytes": found.bytes,
                "quarantined": found.quarantined,
            }
        )
    for entry, phase in zip(entries, run.phases, strict=True):
        if phase.phase.kind == "exchange" and not phase.summary.done and run.complete(phase):
            entry["rows"] = run.phase(f"{phase.phase.output}.write").summary.rows
    return entries


def job_counts(run: RunState) -> dict[str, dict[str, int]]:
    """Job → what its reduce phases counted so far, in the order in which they did: edges, candidates, clusters, …; and
    step → what it counted beside the ledger: texts encoded, found in a cache, …
    """
    found: dict[str, dict[str, int]] = {}
    for phase in run.phases:
        if phase.phase.kind == "reduce" and phase.phase.job is not None:
            counts = found.setdefault(phase.phase.job.name, {})
            for name, number in phase.summary.counts.items():
                counts[name] = counts.get(name, 0) + number
        elif phase.phase.kind == "pass":
            for step, numbers in phase.summary.counts.items():
                counts = found.setdefault(step, {})
                for name, number in numbers.items():
                    counts[name] = counts.get(name, 0) + number
    return found


def encoder_entries(run: RunState) -> list[dict[str, Any]]:
    """Of each encoder in each pass, over the units that are done: `phase encoder tokens busy_seconds seconds
    tokens_per_second busy_share`. The seconds are those of units, so rates are of one worker; null if no time passed."""
    entries = []
    for phase in run.passes:
        for name, work in phase.summary.encoders.items():
            tokens, busy, seconds = work["tokens"], work["busy_seconds"], work["seconds"]
            entries.append(
                {
                    "phase": phase.phase.name,
                    "encoder": name,
                    "tokens": tokens,
                    "busy_seconds": round(busy, 3),
                    "seconds": round(seconds, 3),
                    "tokens_per_second": round(tokens / seconds, 1) if seconds > 0 else None,
                    "busy_share": round(busy / seconds, 4) if seconds > 0 else None,
                }
            )
    return entries


def count_warnings(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """What the counts of jobs and steps warn of, as entries of a report's `warnings`."""
    return [*_cut(counts), *_not_cached(counts)]


def _not_cached(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """A warning for each step whose cache could not be written."""
    return [
        {
            "kind": "not_cached",
            "step": step,
            "reason": None,
            "option": "cache",
            "languages": {},
            "message": f"{step}: what was made of {numbers['not_cached']:,} texts could not be kept for other runs: the "
            "disk of the cache is full, or its folder may not be written",
            "help": "free some space, or name another folder with `cache:`",
        }
        for step, numbers in counts.items()
        if numbers.get("not_cached", 0)
    ]


def _cut(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """A warning for each job that did not compare all documents it should have, because a bucket was too large."""
    return [
        {
            "kind": "cut",
            "step": job,
            "reason": None,
            "option": "max_bucket",
            "languages": {},
            "message": f"{job}: {numbers['cut_buckets']:,} buckets were larger than `max_bucket` and were cut: "
            f"{numbers['cut_documents']:,} documents in them were not compared with the best, so duplicates may be left",
            "help": "raise `max_bucket`, or look for a text that stands in very many documents",
        }
        for job, numbers in counts.items()
        if numbers.get("cut_documents", 0)
    ]


def output_entry(run: RunState, output: OutputPlan) -> dict[str, Any]:
    """What stands in an output's folder. complete: it is all there, and what the plan asks for now."""
    files, complete = read_published(run.folder, output)
    partitions: dict[str, dict[str, int]] = {}
    for file in files if output.partition_by is not None else ():
        entry = partitions.setdefault(file.partition, {"rows": 0, "files": 0, "bytes": 0})
        entry["rows"] += file.rows
        entry["files"] += 1
        entry["bytes"] += file.bytes
    passages = passage_fates(run, output)
    return {
        "name": output.name,
        "unit": output.unit or "documents",
        "path": output.path,
        "rows": sum(f.rows for f in files),
        "files": len(files),
        "bytes": sum(f.bytes for f in files),
        "complete": complete and run.phase(f"{output.name}.write").complete,
        "partitions": dict(sorted(partitions.items())),
        "passages": passages,
    }


def passage_fates(run: RunState, output: OutputPlan) -> dict[str, Any] | None:
    """Of an output of passages, what became of those of the units that are counted: `documents cut dropped where published`,
    `dropped` by step; None for an output of documents."""
    if output.unit is None:
        return None
    total: dict[str, Any] = {"documents": 0, "cut": 0, "dropped": {}, "where": 0, "published": 0}
    for done in run.phase(f"{output.name}.count").done.values():
        found = done.facts["passages"]
        for key in ("documents", "cut", "where", "published"):
            total[key] += found[key]
        for step, count in found["dropped"].items():
            total["dropped"][step] = total["dropped"].get(step, 0) + count
    return total


def quarantined_rows(run: RunState) -> int:
    """Rows in the quarantine, over all phases."""
    return sum(p.summary.quarantined for p in run.phases)


def quarantine_path(run: RunState) -> str | None:
    """The folder with the bad records, if there are any."""
    return str(run.folder.root / "quarantine") if quarantined_rows(run) else None


def render(status: Mapping[str, Any], run: str, console: Console) -> None:
    """The state and a line for each phase, for people. run: how the user calls this run."""
    from rich.table import Table
    from rich.text import Text

    from curate.views.report_view import counts_text, encoder_text, plural

    console.print(Text(f"{status['name']}: {status['state']}", style="bold"))
    if status["holder"] is not None:
        console.print(Text(f"in use by {status['holder']}"))
    if (queue := status["queue"]) is not None:
        console.print(Text(_queue_line(queue)))
    table = Table(box=None, pad_edge=False)
    table.add_column("phase", overflow="fold")
    for heading in ("units", "rows", "quarantined"):
        table.add_column(heading, justify="right", overflow="fold")
    for phase in status["phases"]:
        units = "?" if phase["units"] is None else f"{phase['units']:,}"
        bad = f"{phase['quarantined']:,}" if phase["quarantined"] else ""
        table.add_row(Text(phase["name"]), f"{phase['done']:,} / {units}", f"{phase['rows']:,}", bad)
    console.print(table)
    for job, counts in status["jobs"].items():
        if counts:
            console.print(Text(f"{job}: {counts_text(counts)}"))
    for entry in status["encoders"]:
        console.print(Text(encoder_text(entry)))
    for warning in count_warnings(status["jobs"]):
        console.print(Text(f"warning: {warning['message']}", style="yellow"))
    for output in status["outputs"]:
        whole = "complete" if output["complete"] else "not complete"
        held = f"{plural(output['rows'], 'row')} in {plural(output['files'], 'file')}"
        console.print(Text(f"output {output['name']}: {whole}, {held}, {output['path']}"))
    if status["quarantine"]["rows"]:
        console.print(
            Text(f"quarantine: {status['quarantine']['rows']:,} rows, {status['quarantine']['path']}")
        )
    for problem in status["failure"] or ():
        console.print(Text(f"{problem['code']}: {problem['message']}", style="red"))
    console.print(Text(next_step(status, run)))


def _queue_line(queue: Mapping[str, Any]) -> str:
    """What Slurm's queue has of a run."""
    if queue["problem"] is not None:
        return f"Slurm's queue cannot be asked: {queue['problem']}"
    reasons = ", ".join(queue["reasons"])
    waiting = f"{queue['waiting']:,} waiting" + (f" ({reasons})" if reasons else "")
    phase = f", phase {queue['phase']}" if queue["phase"] is not None else ""
    return f"Slurm{phase}: {queue['working']:,} at work, {waiting}; jobs {', '.join(queue['jobs'])}"


def next_step(status: Mapping[str, Any], run: str) -> str:
    """What to type next."""
    if status["state"] == "done":
        return f"next: curate report {run}"
    if status["state"] == "running":
        return f"it is at work; ask again with: curate status {run}"
    return "next: curate run with its config continues, finished units are kept"
