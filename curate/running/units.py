"""The work of one unit, by kind of phase: what it reads, what it writes under its attempt's names, what it counts.

Nothing here decides whether a unit counts: `curate.running.task` commits what these functions return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import __version__
from curate.core.columns import TEXT, UNDETERMINED
from curate.core.commit import Done, made_files
from curate.core.exchange import ExchangeReader, ExchangeWriter
from curate.core.expression import parse
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest, Shard, row_of, shard_of
from curate.core.overlay import OverlayWriter, doc_numbers, read_overlay_schema
from curate.core.passages import Beside
from curate.core.plan import OutputPlan, Phase, Plan, StepPlan
from curate.core.stage import Context, Job, ReduceUnit
from curate.io.ingest import ingest_unit
from curate.io.passages import Fates, exploded
from curate.io.publish import (
    FileLayout,
    count_rows,
    exchanged_groups,
    file_groups,
    group_at,
    provenance,
    row_groups,
    streamed_groups,
    write_file,
)
from curate.io.published import needed_columns, published_batch, published_schema
from curate.io.source import BadRecord, read_shard
from curate.running.joined import SIZE, ShardView
from curate.running.ledger import READ, StepCounter, Tally, counters_json
from curate.running.passages import PassageNumbers, mark_reads, numbered
from curate.running.pipeline import Pipeline
from curate.running.quarantine import BadRow, Quarantine
from curate.stages import load as load_stage

#: Called after every batch with (rows, bytes of text) since the last call.
Report = Callable[[int, int], None]


class OpenExchange(Protocol):
    """Opens what a finished unit of a phase wrote: its records, or its mapper's side records."""

    def __call__(self, phase: str, unit: int, role: str = "rows", /) -> ExchangeReader: ...


@dataclass
class UnitResult:
    """What a unit wrote and counted. rows: rows that entered; outputs: role → file; facts: for the next phases.

    seals: role → seal, of those files that are exchanges.
    """

    rows: int
    outputs: dict[str, Path]
    counters: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    seals: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """What every unit of a run can look at: the plan, the manifest, and which earlier units are done."""

    plan: Plan
    manifest: Manifest
    folder: RunFolder
    done: Callable[[str], Mapping[int, Done]]
    layout: Callable[[str], FileLayout]

    def ingested(self, shard: Shard) -> str | None:
        if shard.ingest is None:
            return None
        output = self.done("ingest")[shard.ingest].outputs[f"shard{shard.number}"]
        return str(self.folder.absolute(output.path))

    def view(self, shard: int, before: Phase | None = None) -> ShardView:
        """A shard with the overlays of the passes before that phase (all passes if None)."""
        passes = self.plan.passes
        if before is not None and before.kind == "pass":
            passes = passes[: passes.index(before)]
        overlays = tuple((phase, self.done(phase.name)[shard]) for phase in passes)
        source = self.manifest.shards[shard]
        return ShardView(self.plan, self.manifest, self.folder, shard, self.ingested(source), overlays)

    def file_of(self, doc: int) -> str:
        """Path of the file a document came from."""
        shard = self.manifest.shards[shard_of(doc)]
        starts = self.file_starts(shard)
        index = int(np.searchsorted(starts, row_of(doc), side="right")) - 1
        return self.manifest.files[shard.files[max(index, 0)]].path

    def file_starts(self, shard: Shard) -> list[int]:
        """The shard's row at which each of its files begins."""
        if shard.ingest is None:
            return [0]
        starts: list[int] = self.done("ingest")[shard.ingest].facts["file_starts"][str(shard.number)]
        return starts


def run_ingest(
    space: Workspace, unit: int, attempt: str, quarantine: Quarantine, report: Report
) -> UnitResult:
    """JSONL files → one Parquet file per shard of the unit."""
    targets = {s: space.folder.ingested(s, attempt) for s in space.manifest.ingest[unit].shards}
    for path in targets.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    result = ingest_unit(
        space.manifest,
        space.plan.inputs,
        unit,
        {shard: str(path) for shard, path in targets.items()},
        quarantine=lambda record: quarantine.add(_bad_row(record, READ)),
    )
    rows = sum(s.records for s in result.shards)
    good = sum(s.good for s in result.shards)
    volume = sum(s.text_bytes for s in result.shards)
    report(rows, volume)
    counter = StepCounter("ingest")
    counter.ledger.by_language[UNDETERMINED] = Tally(
        rows_in=rows, rows_kept=good, rows_quarantined=rows - good, bytes_in=volume, bytes_kept=volume
    )
    facts = {
        "records": {str(s.shard): s.records for s in result.shards},
        "file_starts": {str(s.shard): list(s.file_starts) for s in result.shards},
    }
    outputs = {f"shard{number}": path for number, path in targets.items()}
    return UnitResult(rows, outputs, counters_json([counter]), facts)


def run_pass(
    space: Workspace,
    phase: Phase,
    pipeline: Pipeline,
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
        for record, unread in _pass_input(space, phase, pipeline, unit):
            outcome = pipeline.run(record, unread)
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
            report(outcome.overlay.num_rows, outcome.bytes_in)
    if exchange is not None:
        facts["mapped"] = mapped
    facts["rewritten"] = rewritten
    seals = {role: file.seal for role, file in (("rows", exchange), ("side", side)) if file is not None}
    return UnitResult(rows, outputs, counters_json(pipeline.counters), facts, seals)


def _passage_numbers(space: Workspace, phase: Phase, unit: int) -> PassageNumbers | None:
    """Numbers of a shard's passages, for a pass that begins with the marks of a job over them."""
    over = phase.steps[0].over if phase.steps and phase.steps[0].kind == "job" else None
    if over is None:
        return None
    return PassageNumbers.of(space.view(unit, before=phase).batches([over]), over, unit)


def run_reduce(
    space: Workspace,
    phase: Phase,
    job: Job[Any],
    unit: int,
    attempt: str,
    context: Context,
    open_exchange: OpenExchange,
    report: Report,
) -> UnitResult:
    """One partition of a job's records, to the exchange that the next phase reads."""
    assert phase.source is not None
    assert phase.job is not None
    source = space.plan.phase(phase.source)
    mapping = space.plan.mapping(phase.job.name)
    reduces = job.reduces(mapping.partitions)
    reduce = next(r for r in reduces if phase.name == f"{phase.job.name}.{r.name}")
    path = space.folder.exchange(phase.name, unit, attempt)
    rows = 0
    counts: dict[str, int] = {}

    def count(name: str, number: int) -> None:
        counts[name] = counts.get(name, 0) + number

    def side(shard: int) -> Iterator[pa.RecordBatch]:
        yield from open_exchange(mapping.name, shard, "side").batches(0)

    mapped = space.done(mapping.name)
    looked_at = ReduceUnit(
        number=unit,
        shards=sorted(mapped),
        documents=sum(done.facts["mapped"] for done in mapped.values()),
        side=side,
        count=count,
        drops=phase.job.filters,
    )

    def records() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for other in sorted(space.done(source.name)):
            for record in open_exchange(source.name, other).batches(unit):
                rows += record.num_rows
                report(record.num_rows, int(record.nbytes))
                yield record

    with ExchangeWriter(path, reduce.schema()) as writer:
        for record, partitions in reduce.reduce(records(), replace(context, unit=looked_at)):
            writer.append(record, partitions)
    facts: dict[str, Any] = {"counts": counts}
    if phase.makes is not None:
        facts["made"] = made_files(Path(phase.makes))
    return UnitResult(rows, {"rows": path}, {"steps": []}, facts, {"rows": writer.seal})


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
        yield record, [_bad_row(b, READ) for b in batch.bad]


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


def run_count(space: Workspace, phase: Phase, unit: int, report: Report) -> UnitResult:
    """Rows and bytes of one shard per partition of an output."""
    output = space.plan.output(phase.output or "")
    counts: dict[str, tuple[int, int]] = {}
    rows = 0
    fates = Fates()
    for record, _ in _selected(space, output, unit, [SIZE], fates):
        count_rows(_partition(output, record), record.column(SIZE), counts)
        rows += record.num_rows
    report(rows, 0)
    facts: dict[str, Any] = {"counts": {k: list(v) for k, v in sorted(counts.items())}}
    if output.unit is not None:
        facts["passages"] = fates.as_dict()
    return UnitResult(rows, {}, {"steps": []}, facts)


def _selected(
    space: Workspace, output: OutputPlan, shard: int, columns: Sequence[str], fates: Fates | None = None
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """Rows of a shard that are published, with their numbers: living documents, or passages of theirs, that pass the
    output's `where`. fates: counts what became of passages."""
    where = parse(output.where) if output.where is not None else None
    wanted = [*columns, *([output.partition_by] if output.partition_by is not None else [])]
    asked = sorted(where.columns) if where is not None else []
    if output.unit is not None:
        beside = Beside.of(space.plan.steps, output.unit)
        needed = beside.needs({*wanted, *asked}) | {SIZE}
        records = space.view(shard).batches(sorted(needed))
        yield from exploded(records, beside, wanted, where, shard, fates)
        return
    for record in space.view(shard).batches(list(dict.fromkeys([*wanted, *asked]))):
        chosen = record if where is None else record.filter(where.evaluate(record).fill_null(False))
        yield chosen, doc_numbers(chosen)


def _partition(output: OutputPlan, record: pa.RecordBatch) -> pa.StringArray | None:
    return record.column(output.partition_by) if output.partition_by is not None else None


def run_exchange(space: Workspace, phase: Phase, unit: int, attempt: str, report: Report) -> UnitResult:
    """The kept rows of one shard, as they will be published, each under the row group it goes to."""
    output = space.plan.output(phase.output or "")
    schema = exchange_schema(_schema_of(space, output))
    path = space.folder.exchange(phase.name, unit, attempt)
    rows = 0
    with ExchangeWriter(path, schema) as writer:
        for numbers, published, groups in _published_rows(space, output, space.layout(output.name), unit):
            writer.append(pa.RecordBatch.from_arrays([numbers, *published.columns], schema=schema), groups)
            rows += published.num_rows
            report(published.num_rows, int(published.nbytes))
    return UnitResult(rows, {"rows": path}, {"steps": []}, seals={"rows": writer.seal})


def exchange_schema(published: pa.Schema) -> pa.Schema:
    """`__doc`, by which rows are sorted, and the published columns."""
    return pa.schema([pa.field("__doc", pa.int64(), nullable=False), *published])


def _schema_of(space: Workspace, output: OutputPlan) -> pa.Schema:
    """Types of an output's columns."""
    return published_schema(output.columns, _available(space, output)[0], output.preset)


def _available(space: Workspace, output: OutputPlan) -> tuple[pa.Schema, str | None]:
    """The columns that an output can have, and which of them holds the language."""
    available = available_schema(space)
    if output.unit is None:
        return available, space.plan.language
    beside = Beside.of(space.plan.steps, output.unit)
    return beside.fields(available), beside.language or space.plan.language


def available_schema(space: Workspace) -> pa.Schema:
    """Every global column there is after the last pass, with its type and metadata."""
    fields = list(space.plan.source_schema)
    for phase in space.plan.passes:
        overlay = _any_overlay(space, phase)
        fields += [overlay.field(c) for step in phase.steps for c in step.writes]
    return pa.schema(fields)


def _any_overlay(space: Workspace, phase: Phase) -> pa.Schema:
    """The schema that all overlays of a pass share."""
    done = next(iter(space.done(phase.name).values()))
    return _overlay_schema(space.folder.absolute(done.outputs["overlay"].path))


@lru_cache(maxsize=64)
def _overlay_schema(path: Path) -> pa.Schema:
    return read_overlay_schema(path)


def run_write(
    space: Workspace,
    phase: Phase,
    unit: int,
    target: Path,
    open_exchange: Callable[[str, int], ExchangeReader],
    report: Report,
) -> UnitResult:
    """One published file, from the exchange files of all shards."""
    output = space.plan.output(phase.output or "")
    layout = space.layout(output.name)
    facts = {"curate": __version__, "config": space.plan.config, "output": output.provenance()}
    schema = _schema_of(space, output)
    schema = schema.with_metadata(provenance(facts))
    target.parent.mkdir(parents=True, exist_ok=True)
    if output.exchanged:
        source = f"{output.name}.exchange"
        shards = sorted(space.done(source))
        groups = exchanged_groups(output, layout, unit, lambda: (open_exchange(source, s) for s in shards))
    else:
        groups = streamed_groups(_rows_in_order(space, output, layout, unit), layout, unit)
    rows, volume = write_file(target, groups, schema)
    report(rows, volume)
    return UnitResult(rows, {"file": target}, {"steps": []}, {"bytes": volume})


def _rows_in_order(
    space: Workspace, output: OutputPlan, layout: FileLayout, file: int
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """Published rows of the shards that reach into a file, with the numbers of their row groups."""
    wanted = file_groups(layout, file)
    partition = layout.partition_of_file(file)
    end = partition.bytes
    reaching = []
    for shard in reversed(space.manifest.shards):
        start = layout.starts[shard.number].get(partition.value)
        if start is not None:
            first, last = partition.first_group + group_at(partition, np.array([start, max(start, end - 1)]))
            if first < wanted.stop and last >= wanted.start:
                reaching.append(shard.number)
            end = start
    for number in reversed(reaching):
        for _, published, groups in _published_rows(space, output, layout, number):
            yield published, groups


def _published_rows(
    space: Workspace, output: OutputPlan, layout: FileLayout, unit: int
) -> Iterator[tuple[pa.Int64Array, pa.RecordBatch, npt.NDArray[np.int64]]]:
    """The kept rows of one shard as they will be published: number, columns, and the row group each one goes to."""
    available, language = _available(space, output)
    schema = published_schema(output.columns, available, output.preset)
    wanted = needed_columns(output.columns, available, language)
    shard = space.manifest.shards[unit]
    starts = np.asarray(space.file_starts(shard))
    names = pa.array([space.manifest.files[f].path for f in shard.files], pa.string())
    seen: dict[str, int] = {}
    for record, numbers in _selected(space, output, unit, [*wanted, SIZE]):
        docs = doc_numbers(record)
        sizes = record.column(SIZE).to_numpy(zero_copy_only=False)
        groups = row_groups(layout, output, unit, _partition(output, record), numbers, sizes, seen)
        paths = names.take(pa.array(np.searchsorted(starts, docs & 0xFFFFFFFF, side="right") - 1))
        published = published_batch(record, output.columns, schema, language, paths)
        yield pa.array(numbers), published, groups


def _bad_row(bad: BadRecord, step: str) -> BadRow:
    return BadRow(bad.doc, step, bad.reason, bad.file, bad.position, bad.raw)
