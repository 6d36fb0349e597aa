"""The units of a pass: a shard through the fused steps, to an overlay, and to the records of the job whose mapper ends it.

One thread reads and writes, in the order of `doc`; batches go through the steps in as many as there are
(`curate.running.threads`), so a unit's files are the same bytes for any number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pyarrow as pa

from curate.core.columns import TEXT
from curate.core.exchange import ExchangeWriter
from curate.core.expression import parse
from curate.core.overlay import OverlayWriter
from curate.core.passages import Beside
from curate.core.plan import Phase, Plan, StepPlan
from curate.core.stage import Job, Work
from curate.io.source import read_shard
from curate.running.joined import SIZE
from curate.running.ledger import READ, counters_json
from curate.running.passages import PassageNumbers, mark_reads, numbered
from curate.running.pipeline import Pipeline
from curate.running.quarantine import BadRow, Quarantine
from curate.running.threads import Threads
from curate.running.workspace import Report, UnitResult, Workspace, bad_row
from curate.stages import load as load_stage


def run_pass(
    space: Workspace,
    phase: Phase,
    pipeline: Pipeline,
    threads: Threads,
    found: pa.RecordBatch | None,
    unit: int,
    attempt: str,
    quarantine: Quarantine,
    report: Report,
) -> UnitResult:
    """One shard through the steps of a pass, to an overlay, and to the exchange of the job whose mapper ends the pass.

    found: what the job before the pass found out about the shard.
    """
    path = space.folder.overlay(phase.name, unit, attempt)
    pipeline.start_unit(found, _passage_numbers(space, phase, unit))
    encoders = _Encoders(pipeline)
    rows = rewritten = 0
    outputs = {"overlay": path}
    facts: dict[str, Any] = {}
    with ExitStack() as files:
        writer = files.enter_context(OverlayWriter(path, pipeline.schema))
        exchange = side = None
        mapped = passages = 0
        if pipeline.mapper is not None:
            outputs["rows"] = space.folder.exchange(phase.name, unit, attempt)
            exchange = files.enter_context(ExchangeWriter(outputs["rows"], pipeline.mapper.schema()))
            side_schema = pipeline.mapper.side_schema()
            if side_schema is not None:
                outputs["side"] = space.folder.side(phase.name, unit, attempt)
                side = files.enter_context(ExchangeWriter(outputs["side"], side_schema))
        batches = _pass_input(space, phase, pipeline, unit)
        outcomes = threads.in_order(batches, lambda b: pipeline.work(*b), lambda b: int(b[0].nbytes))
        for outcome in files.enter_context(closing(outcomes)):
            pipeline.count(outcome)
            writer.append(outcome.overlay)
            if exchange is not None and outcome.mapped is not None:
                emitted = numbered(outcome.mapped, unit, passages)
                exchange.append(emitted.records, emitted.partitions)
                mapped += emitted.documents
                passages += emitted.passages or 0
                if side is not None and emitted.side is not None:
                    side.append(emitted.side, np.zeros(emitted.side.num_rows, np.int64))
            rows += outcome.overlay.num_rows
            rewritten += outcome.rewritten
            for bad in outcome.bad:
                quarantine.add(bad)
            report(outcome.overlay.num_rows, outcome.bytes_in, encoders.look())
    if exchange is not None:
        facts["mapped"] = mapped
    facts["rewritten"] = rewritten
    if counts := pipeline.finish_unit():
        facts["counts"] = counts
    if used := encoders.facts():
        facts["encoders"] = used
    seals = {role: file.seal for role, file in (("rows", exchange), ("side", side)) if file is not None}
    return UnitResult(rows, outputs, counters_json(pipeline.counters), facts, seals)


class _Encoders:
    """What the encoders of a pass do in one unit, and how long the unit takes."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._found: dict[str, Work] = {}
        self._start = time.perf_counter()

    def look(self) -> Work:
        """What they did since the last look, all together."""
        total = Work()
        for name, work in self._pipeline.worked().items():
            self._found[name] = self._found.get(name, Work()).plus(work)
            total = total.plus(work)
        return total

    def facts(self) -> dict[str, dict[str, float]]:
        """Encoder → `tokens`, `busy_seconds` of computing, `seconds` of the unit; of those that had something to do."""
        self.look()
        seconds = round(time.perf_counter() - self._start, 6)
        return {
            name: {"tokens": work.tokens, "busy_seconds": round(work.busy, 6), "seconds": seconds}
            for name, work in self._found.items()
            if work.tokens
        }


def _passage_numbers(space: Workspace, phase: Phase, unit: int) -> PassageNumbers | None:
    """Numbers of a shard's passages, for a pass that begins with the marks of a job over them."""
    over = phase.steps[0].over if phase.steps and phase.steps[0].kind == "job" else None
    if over is None:
        return None
    return PassageNumbers.of(space.view(unit, before=phase).batches([over]), over, unit)


def _pass_input(
    space: Workspace, phase: Phase, pipeline: Pipeline, unit: int
) -> Iterator[tuple[pa.RecordBatch, list[BadRow]]]:
    """Batches with doc, text and what the steps read; with the bad records among them in the first pass."""
    columns = pass_columns(space.plan, phase)
    if not pipeline.first:
        for record in space.view(unit, before=phase).batches(columns):
            yield record, []
        return
    shard = space.manifest.shards[unit]
    batches = read_shard(
        space.manifest,
        space.plan.inputs,
        unit,
        schema=space.plan.source_schema,
        columns=frozenset(columns),
        ingested=space.ingested(shard),
        validate=True,
    )
    for batch in batches:
        record = batch.record.select(["doc", *(c for c in columns if c != "doc")])
        yield record, [bad_row(b, READ) for b in batch.bad]


def pass_columns(plan: Plan, phase: Phase) -> list[str]:
    """What a pass reads: the text (or its size, if that is enough), its steps' columns that no step of its own writes,
    and the language."""
    wanted = [SIZE if _sizes_are_enough(plan, phase) else TEXT]
    written: set[str] = set()
    for step in phase.steps:
        needed = step.reads if step.kind != "job" else _mark_columns(plan, step)
        wanted += [c for c in needed if c not in written]
        written |= step.writes.keys()
    if phase.job is not None:
        wanted += [c for c in phase.job.reads if c not in written]
    if plan.language is not None and plan.language not in written and known_before(plan, phase):
        wanted.append(plan.language)
    return [c for c in dict.fromkeys(wanted) if c != "doc"]


def _mark_columns(plan: Plan, step: StepPlan) -> Sequence[str]:
    """What a job's marks look at: the columns of a job were for its mapper, in the pass before; its marks need those of its
    `when`, and one over passages the spans."""
    if step.over is not None:
        return sorted(mark_reads(Beside.of(plan.steps_before(step.name), step.over), step.when))
    return sorted(parse(step.when).columns) if step.when is not None else ()


def _sizes_are_enough(plan: Plan, phase: Phase) -> bool:
    """Whether nothing in the pass looks at texts: only selectors, and marks of jobs that do not ask for texts."""
    if phase == plan.passes[0] or (phase.job is not None and TEXT in phase.job.reads):
        return False
    return all(
        TEXT not in (parse(step.when).columns if step.when is not None else ())
        and (_marks_alone(step) if step.kind == "job" else step.kind == "selector" and TEXT not in step.reads)
        for step in phase.steps
    )


def _marks_alone(step: StepPlan) -> bool:
    """Whether a job's marks come from its records alone; one with a `mark_texts` of its own looks at the texts again."""
    own = getattr(load_stage(step.use), "mark_texts", None)
    return own is None or own is getattr(Job, "mark_texts", None)


def known_before(plan: Plan, phase: Phase) -> bool:
    """Whether the language column exists when the phase starts: no pass from this one on writes it."""
    later = plan.passes[plan.passes.index(phase) :]
    return not any(plan.language in step.writes for p in later for step in p.steps)
