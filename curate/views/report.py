"""What a run kept and dropped: by step, reason and language, in rows and bytes of text.

The numbers are the ledger's, added up over the units that are done, so a report can be asked for at any
moment; what is not done yet is not in it. Steps chain: a step's `rows_in` is the `rows_kept` of the step
before, as soon as both have seen the same shards. The first step is always `read`: bad records go to the
quarantine there, those of ingested files included, and documents without text are dropped as `no_text`. A
dropped row counts once in `dropped`, under the first of its reasons, and in `reasons` under each rule it
failed.

A row counts for the language that was known when it left the run, so for every language what came in is what
was kept, dropped and quarantined, even where the language was found out by a later pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from curate.core.columns import UNDETERMINED
from curate.core.compaction import read_counters
from curate.core.objects import Place
from curate.core.packs import Stretch, parquet_source
from curate.planning.lint import lint_report
from curate.running.ledger import READ, StepLedger, Tally, add_up, imbalances
from curate.views.run_state import PhaseState, RunState, read_run, unhurried
from curate.views.status import (
    count_warnings,
    encoder_entries,
    job_counts,
    output_entry,
    phase_entries,
    quarantine_path,
    quarantined_rows,
)

_READ_TITLE: Final = "bad records go to the quarantine, documents without text are dropped"

Counters = Mapping[int, Mapping[str, Any]]


@dataclass
class _Books:
    """Everything added up. languages: language → rows in, rows kept, bytes in, bytes kept."""

    ledgers: list[StepLedger] = field(default_factory=list)
    languages: dict[str, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def move(
        self, language: str, *, rows_in: int = 0, rows_kept: int = 0, bytes_in: int = 0, bytes_kept: int = 0
    ) -> None:
        numbers = self.languages.setdefault(language, [0, 0, 0, 0])
        for index, value in enumerate((rows_in, rows_kept, bytes_in, bytes_kept)):
            numbers[index] += value


def build_report(root: Place) -> dict[str, Any]:
    """The report of the run in this folder, done or not; R307 if there is none."""
    return unhurried(lambda: _report(read_run(root)))


def _report(run: RunState) -> dict[str, Any]:
    books = _books(run)
    counts = job_counts(run)
    steps = [_step_entry(run, ledger) for ledger in books.ledgers]
    outputs = [output_entry(run, o) for o in run.plan.outputs]
    faults = books.faults + _output_faults(run, steps, outputs)
    return {
        "name": run.plan.name,
        "state": run.state,
        "balanced": not faults,
        "rows_in": steps[0]["rows_in"] if steps else 0,
        "rows_kept": steps[-1]["rows_kept"] if steps else 0,
        "bytes_in": steps[0]["bytes_in"] if steps else 0,
        "bytes_kept": steps[-1]["bytes_kept"] if steps else 0,
        "steps": steps,
        "languages": {
            language: dict(zip(("rows_in", "rows_kept", "bytes_in", "bytes_kept"), numbers, strict=True))
            for language, numbers in sorted(books.languages.items())
        },
        "outputs": outputs,
        "quarantine": {
            "rows": quarantined_rows(run),
            "path": quarantine_path(run),
            "files": _bad_by_file(run),
        },
        "phases": [
            {k: e[k] for k in ("name", "kind", "units", "done", "rows", "bytes")} for e in phase_entries(run)
        ],
        "jobs": counts,
        "encoders": encoder_entries(run),
        "failure": run.failure,
        "warnings": [*count_warnings(counts), *lint_report(run.plan, steps)],
    }


def _books(run: RunState) -> _Books:
    """Ledgers of all passes in order, with the reader's own lines first."""
    books = _Books()
    for index, phase in enumerate(run.passes):
        counters = dict(read_counters(run.folder, phase.phase.name, phase.done))
        names = ([READ] if index == 0 else []) + [s.name for s in phase.phase.steps]
        ledgers = add_up(names, counters.values())
        books.faults += imbalances(ledgers)
        following = run.passes[index + 1] if index + 1 < len(run.passes) else None
        if following is not None:
            books.faults += _between(run, counters, following)
        if index == 0:
            books.faults += _reading_faults(run, phase, ledgers)
            _add_ingest(run, ledgers)
        _add_languages(books, ledgers, counters, following)
        books.ledgers += ledgers
    return books


def _add_languages(
    books: _Books, ledgers: list[StepLedger], counters: Counters, following: PhaseState | None
) -> None:
    """What left in this pass came in; so did what it kept, counted where no later pass has seen it yet."""
    for ledger in ledgers:
        for language, tally in ledger.by_language.items():
            books.move(
                language,
                rows_in=tally.rows_in - tally.rows_kept,
                bytes_in=tally.bytes_in - tally.bytes_kept,
            )
    for unit, numbers in counters.items():
        if following is not None and unit in following.done:
            continue
        for language, last in numbers["steps"][-1]["by_language"].items():
            rows, size = last["rows_kept"], last["bytes_kept"]
            final = following is None
            books.move(
                language,
                rows_in=rows,
                bytes_in=size,
                rows_kept=rows if final else 0,
                bytes_kept=size if final else 0,
            )


def _add_ingest(run: RunState, ledgers: list[StepLedger]) -> None:
    """Records that ingest could not read entered the run, and the reader's step, without a language."""
    bad = 0
    for phase in run.phases:
        if phase.phase.kind == "ingest":
            for _, counters in read_counters(run.folder, phase.phase.name, phase.done):
                for step in counters["steps"]:
                    bad += sum(t["rows_quarantined"] for t in step["by_language"].values())
    if bad:
        tally = ledgers[0].by_language.setdefault(UNDETERMINED, Tally())
        tally.rows_in += bad
        tally.rows_quarantined += bad


def _reading_faults(run: RunState, phase: PhaseState, ledgers: list[StepLedger]) -> list[str]:
    """Rows that the first pass met, against what the input holds: by the footers, or by what ingest wrote."""
    met = {unit: done.rows for unit, done in phase.done.items()}
    expected: dict[int, int] = {}
    found = []
    for shard in run.manifest.shards:
        if shard.number in met and shard.ingest is None and shard.rows is not None:
            expected[shard.number] = shard.rows
    for unit, rows in expected.items():
        if met[unit] != rows:
            found.append(f"shard {unit} holds {rows} rows, {met[unit]} were read")
    for ingest in (p for p in run.phases if p.phase.kind == "ingest"):
        for number, counters in read_counters(run.folder, ingest.phase.name, ingest.done):
            shards = run.manifest.ingest[number].shards
            if all(s in met for s in shards):
                rows = _kept(counters)
                if rows != sum(met[s] for s in shards):
                    found.append(
                        f"ingest unit {number} wrote {rows} rows, {sum(met[s] for s in shards)} were read"
                    )
    if ledgers[0].total().rows_in != sum(met.values()):
        found.append(f"{sum(met.values())} rows were read, the ledger has {ledgers[0].total().rows_in}")
    return found


def _between(run: RunState, counters: Counters, following: PhaseState) -> list[str]:
    """From a pass to the next: what it kept of a shard must be what the next one met."""
    return [
        f"shard {unit}: {kept} rows were kept, {following.phase.name} received {following.done[unit].rows}"
        for unit, kept in ((u, _kept(numbers)) for u, numbers in counters.items())
        if unit in following.done and following.done[unit].rows != kept
    ]


def _kept(counters: Mapping[str, Any]) -> int:
    """Rows that a unit's last step kept."""
    return sum(t["rows_kept"] for t in counters["steps"][-1]["by_language"].values())


def _output_faults(run: RunState, steps: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> list[str]:
    """The quarantine, and outputs without a `where`, must hold what the steps put there."""
    found = []
    bad = sum(s["rows_quarantined"] for s in steps)
    if bad != quarantined_rows(run):
        found.append(f"{bad} rows were quarantined, the quarantine has {quarantined_rows(run)}")
    if not all(p.complete for p in run.passes):
        return found
    for plan, output in zip(run.plan.outputs, outputs, strict=True):
        if plan.unit is not None and output["complete"]:
            found += _passage_faults(plan.name, output, steps[-1]["rows_kept"] if steps else None)
        elif output["complete"] and plan.where is None and steps and output["rows"] != steps[-1]["rows_kept"]:
            found.append(f"output {plan.name} has {output['rows']} rows, {steps[-1]['rows_kept']} were kept")
    return found


def _passage_faults(name: str, output: Mapping[str, Any], kept: int | None) -> list[str]:
    """Passages cut must be those dropped, not asked for, and published; their documents those that were kept."""
    fates, found = output["passages"], []
    gone = sum(fates["dropped"].values()) + fates["where"]
    if fates["cut"] != gone + fates["published"] or fates["published"] != output["rows"]:
        found.append(
            f"output {name}: {fates['cut']} passages were cut, {gone} left out, {fates['published']} counted to publish, "
            f"and it has {output['rows']} rows"
        )
    if kept is not None and fates["documents"] != kept:
        found.append(f"output {name} is cut from {fates['documents']} documents, {kept} were kept")
    return found


def _step_entry(run: RunState, ledger: StepLedger) -> dict[str, Any]:
    plan = next((s for s in run.plan.steps if s.name == ledger.step), None)
    languages = sorted(ledger.by_language.items())
    return {
        "step": ledger.step,
        "use": plan.use if plan is not None else READ,
        "title": plan.title if plan is not None else _READ_TITLE,
        "when": plan.when if plan is not None else None,
        **_tally_entry(ledger.total()),
        "by_language": {language: _tally_entry(tally) for language, tally in languages},
    }


def _tally_entry(tally: Tally) -> dict[str, Any]:
    return {
        "rows_in": tally.rows_in,
        "rows_kept": tally.rows_kept,
        "rows_dropped": tally.rows_dropped,
        "rows_quarantined": tally.rows_quarantined,
        "bytes_in": tally.bytes_in,
        "bytes_kept": tally.bytes_kept,
        "dropped": most_frequent(tally.dropped),
        "reasons": most_frequent(tally.reasons),
    }


def most_frequent(counts: Mapping[str, int]) -> dict[str, int]:
    """The same counts, largest first; equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _bad_by_file(run: RunState) -> dict[str, int]:
    """Quarantined rows of each input file, most first."""
    found: dict[str, int] = {}
    for path in quarantine_files(run):
        for name in pq.read_table(parquet_source(path), columns=["file"]).column("file").to_pylist():
            found[name] = found.get(name, 0) + 1
    return most_frequent(found)


def quarantine_files(run: RunState) -> Iterable[Path | Stretch]:
    """The quarantine's Parquet files that count."""
    for phase in run.phases:
        for unit in sorted(phase.done):
            if "quarantine" in phase.done[unit].outputs:
                yield run.place(phase, unit, "quarantine")
