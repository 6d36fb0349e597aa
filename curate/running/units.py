"""The units of ingest and of reduce phases: what each reads, what it writes under its attempt's names, what it counts.

Those of passes are in `curate.running.passes`, those that publish in `curate.running.publishing`. Nothing in these modules
decides whether a unit counts: `curate.running.task` commits what their functions return.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate.core.columns import UNDETERMINED
from curate.core.commit import made_files
from curate.core.exchange import ExchangeWriter
from curate.core.plan import Phase
from curate.core.stage import Context, Job, ReduceUnit
from curate.io.ingest import ingest_unit
from curate.running.ledger import READ, StepCounter, Tally, counters_json
from curate.running.quarantine import Quarantine
from curate.running.workspace import OpenExchange, Report, UnitResult, Workspace, bad_row


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
        quarantine=lambda record: quarantine.add(bad_row(record, READ)),
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
            reader = open_exchange(source.name, other)
            for partition in (unit,) if phase.makes is None else reader.partitions():
                for record in reader.batches(partition):
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
