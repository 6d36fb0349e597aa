"""The units that publish: rows counted by partition, kept rows sent to their row group, published files written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import __version__
from curate.core.exchange import ExchangeReader, ExchangeWriter
from curate.core.expression import parse
from curate.core.overlay import doc_numbers, read_overlay_schema
from curate.core.packs import Stretch
from curate.core.passages import Beside
from curate.core.plan import OutputPlan, Phase
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
from curate.running.finish import staging_folder
from curate.running.joined import SIZE
from curate.running.workspace import Report, UnitResult, Workspace


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
    """The kept rows of a run of shards, as they will be published, each under the row group it goes to."""
    output = space.plan.output(phase.output or "")
    schema = exchange_schema(_schema_of(space, output))
    path = space.folder.exchange(phase.name, unit, attempt)
    rows = 0
    with ExchangeWriter(path, schema) as writer:
        for shard in space.manifest.groups[unit]:
            for numbers, published, groups in _published_rows(
                space, output, space.layout(output.name), shard
            ):
                writer.append(
                    pa.RecordBatch.from_arrays([numbers, *published.columns], schema=schema), groups
                )
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
    return _overlay_schema(done.outputs["overlay"].place(space.folder))


@lru_cache(maxsize=64)
def _overlay_schema(path: Path | Stretch) -> pa.Schema:
    return read_overlay_schema(path)


def run_write(
    space: Workspace,
    phase: Phase,
    unit: int,
    attempt: str,
    open_exchange: Callable[[str, int], ExchangeReader],
    report: Report,
) -> UnitResult:
    """One published file, from the exchange files of all runs of shards.

    It waits until all are there, in a hidden folder in the output's own; one for a store is written here before.
    """
    output = space.plan.output(phase.output or "")
    staged = staging_folder(space.folder, output) / f"{unit:06d}.{attempt}"
    target = staged if isinstance(staged, Path) else space.folder.scratch.root / "staged" / staged.name
    layout = space.layout(output.name)
    facts = {"curate": __version__, "config": space.plan.config, "output": output.provenance()}
    schema = _schema_of(space, output)
    schema = schema.with_metadata(provenance(facts))
    target.parent.mkdir(parents=True, exist_ok=True)
    if output.exchanged:
        source = f"{output.name}.exchange"
        sent = sorted(space.done(source))
        groups = exchanged_groups(output, layout, unit, lambda: (open_exchange(source, s) for s in sent))
    else:
        groups = streamed_groups(_rows_in_order(space, output, layout, unit), layout, unit)
    rows, volume = write_file(target, groups, schema)
    report(rows, volume)
    return UnitResult(rows, {"file": target}, {"steps": []}, {"bytes": volume}, places={"file": staged})


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
