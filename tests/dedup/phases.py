"""A job's phases in memory, as the runner does them, with records that arrive in any order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.stage import Context, Job, Reduce, ReduceUnit

Parts = dict[int, list[pa.RecordBatch]]


def batch_of(texts: Sequence[str], first: int = 0, **columns: pa.Array) -> DocBatch:
    doc = pa.array(range(first, first + len(texts)), pa.int64())
    return DocBatch(pa.RecordBatch.from_pydict({"doc": doc, "text": pa.array(texts, pa.string()), **columns}))


def shuffled(batches: list[pa.RecordBatch], chance: random.Random | None) -> list[pa.RecordBatch]:
    """The same records in another order and other batches."""
    if chance is None or not batches:
        return batches
    whole = pa.concat_batches(batches)
    order = list(range(whole.num_rows))
    chance.shuffle(order)
    cut = chance.randint(0, len(order))
    return [whole.take(pa.array(part, pa.int64())) for part in (order[:cut], order[cut:])]


def unit_of(
    number: int,
    side: dict[int, list[pa.RecordBatch]],
    documents: int,
    counts: Counter[str],
    drops: bool = True,
) -> ReduceUnit:
    def read(shard: int) -> Iterator[pa.RecordBatch]:
        yield from side[shard]

    return ReduceUnit(number, sorted(side), documents, read, lambda name, n: counts.update({name: n}), drops)


def run_phase(
    reduce: Reduce, parts: Parts, unit: ReduceUnit, scratch: Path, chance: random.Random | None = None
) -> Parts:
    """One unit of a reduce phase: its output by partition."""
    out: Parts = defaultdict(list)
    context = replace(Context(models=scratch, scratch=scratch), unit=unit)
    for record, to in reduce.reduce(iter(shuffled(parts.get(unit.number, []), chance)), context):
        assert record.schema.equals(reduce.schema())
        assert len(to) == record.num_rows
        for partition in np.unique(to):
            out[int(partition)].append(record.filter(pa.array(to == partition)))
    return out


def run_job(
    job: Job[Any],
    shards: Sequence[DocBatch],
    scratch: Path,
    *,
    partitions: int = 1,
    seed: int | None = None,
    drops: bool = True,
) -> tuple[dict[int, dict[str, Any]], Counter[str]]:
    """doc → marks of every document, and the counts of all units."""
    chance = random.Random(seed) if seed is not None else None
    mapper = job.mapper(partitions)
    parts: Parts = defaultdict(list)
    side: dict[int, list[pa.RecordBatch]] = {}
    for number, shard in enumerate(shards):
        mapped = mapper.emit(shard)
        assert mapped.records.schema.equals(mapper.schema())
        side[number] = [mapped.side] if mapped.side is not None else []
        for partition in np.unique(mapped.partitions):
            assert 0 <= partition < partitions
            parts[int(partition)].append(mapped.records.filter(pa.array(mapped.partitions == partition)))
    documents = sum(shard.num_rows for shard in shards)
    counts: Counter[str] = Counter()
    for reduce in job.reduces(partitions):
        if reduce.makes is not None:  # it reads everything, and writes nothing
            every: Parts = {0: [batch for batches in parts.values() for batch in batches]}
            looked_at = unit_of(0, side, documents, counts, drops)
            assert not run_phase(reduce, every, looked_at, scratch, chance)
            continue
        following: Parts = defaultdict(list)
        for unit in range(reduce.units(partitions)):
            looked_at = unit_of(unit, side, documents, counts, drops)
            for partition, batches in run_phase(reduce, parts, looked_at, scratch, chance).items():
                following[partition] += batches
        parts = following
    marks: dict[int, dict[str, Any]] = {}
    for number, shard in enumerate(shards):
        found: dict[int, dict[str, Any]] = {}
        for batch in parts.get(number, []):
            for row in batch.to_pylist():
                assert row["doc"] not in found, "a document twice"
                found[row["doc"]] = row
        docs = shard.column("doc").to_pylist()
        assert found.keys() <= set(docs)
        schema = [reduce for reduce in job.reduces(partitions) if reduce.makes is None][-1].schema()
        empty = dict.fromkeys(schema.names)
        rows = [found.get(doc, empty) | {"doc": doc} for doc in docs]
        table = pa.RecordBatch.from_pylist(rows, schema=schema)
        columns = dict(job.mark_texts(table, shard))
        declared = {name: column.type for name, column in columns.items() if name != "text"}
        assert declared == dict(job.writes())
        for position, doc in enumerate(docs):
            marks[doc] = {name: column[position].as_py() for name, column in columns.items()}
    return marks, counts
