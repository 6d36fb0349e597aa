"""Jobs at both ends of the streaming passes: the mapper that ends one, the marks that begin the next.

    pass n: … steps …, mapper → records by partition → reduce phases → records by shard → pass n+1: marks, … steps …

A job decides about documents by number (`doc`), so neither end can move rows: the mapper only reads, and the marks are
columns like any other step's, on which the runner drops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.columns import DOC
from curate.core.errors import error
from curate.core.exchange import ExchangeReader
from curate.core.expression import parse
from curate.core.plan import StepPlan
from curate.core.stage import Annotator, Context, Job, Mapped, Mapper
from curate.running.passages import PassageMarks, PassageNumbers


class MapperStep:
    """A job's mapper over the rows inside its `when:`; one over passages has looked at that itself."""

    def __init__(self, plan: StepPlan, mapper: Mapper) -> None:
        self._over = plan.over is not None
        self._when = parse(plan.when) if plan.when is not None and not self._over else None
        self._mapper = mapper

    @property
    def entering(self) -> bool:
        return self._mapper.entering

    def schema(self) -> pa.Schema:
        return self._mapper.schema()

    def side_schema(self) -> pa.Schema | None:
        return self._mapper.side_schema()

    def emit(self, batch: DocBatch) -> Mapped:
        """What the job's reduce phases need of a batch."""
        if self._over:
            return self._mapper.emit(batch)
        if self._when is not None:
            inside = self._when.evaluate(batch.record).fill_null(False)
            batch = batch.filter(inside.to_numpy(zero_copy_only=False))
        return self._mapper.emit(batch)._replace(documents=batch.num_rows)


class Marks(Annotator[Any]):
    """A job as a step of the pass after it: what it found out about each document of a shard."""

    def __init__(self, job: Job[Any], passages: PassageMarks | None = None) -> None:
        self.Config, self.VERSION = job.Config, job.VERSION
        self._job = job
        self._passages = passages
        self._found: pa.RecordBatch | None = None
        self._docs = np.zeros(0, np.int64)

    def resources(self) -> Any:
        return self._job.resources()

    def reads(self) -> frozenset[str]:
        return frozenset()

    def writes(self) -> Mapping[str, pa.DataType]:
        return self._job.writes() if self._passages is None else self._passages.writes()

    def open(self, context: Context) -> None:
        self._job.open(context)

    def start_unit(self, found: pa.RecordBatch | None, numbers: PassageNumbers | None = None) -> None:
        """found: the job's records about one shard, ascending by doc. numbers: of its passages, for a job over them."""
        if found is None:
            raise error("R303", "a pass begins with the marks of a job that has not run", help="run again")
        self._found = found
        self._docs = found.column(DOC).to_numpy()
        if self._passages is not None:
            self._passages.numbers = numbers

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        if self._passages is not None:
            return self._passages.annotate(batch, self._about)
        return self._job.mark_texts(self._about(batch.column(DOC)), batch)

    def _about(self, numbers: pa.Int64Array) -> pa.RecordBatch:
        """What was found out about these documents, row for row; null where nothing was."""
        assert self._found is not None
        docs = numbers.to_numpy()
        places = np.searchsorted(self._docs, docs)
        there = places < len(self._docs)
        there[there] = self._docs[places[there]] == docs[there]
        found = self._found.take(pa.array(places, pa.int64(), mask=~there))
        return found.set_column(0, found.schema.field(0).with_nullable(False), numbers)


def found_records(readers: Iterable[ExchangeReader], shard: int) -> pa.RecordBatch:
    """All records of one shard, ascending by doc; R303 if a job speaks twice about a document."""
    batches: list[pa.RecordBatch] = []
    schema = None
    for reader in readers:
        schema = reader.schema
        batches += reader.batches(shard)
    assert schema is not None
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=schema)
    both = pa.concat_batches(batches)
    docs = both.column(DOC).to_numpy()
    order = np.argsort(docs, kind="stable")
    docs = docs[order]
    twice = np.flatnonzero(docs[1:] == docs[:-1])
    if len(twice):
        raise error(
            "R303",
            f"a job decided twice about document {int(docs[twice[0]])}",
            help="this is a fault of the job: its last phase must give one record a document",
        )
    return both.take(pa.array(order))
