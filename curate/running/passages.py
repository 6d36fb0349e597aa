"""`over:`: steps and jobs that are given passages in the place of documents (`curate.core.passages`).

    annotator   its columns, a list a document
    filter      the same; passages with reasons are dropped: later steps over these spans do not see them
    selector    `keep: list<bool>`; passages that are not kept are dropped
    job         its mapper's records are about passages, its marks stand in lists

To the runner each of them is a step over documents, so none can lose one. A step that cannot handle a passage sends its
document to the quarantine. Texts cannot be rewritten passage by passage.

Jobs know passages by number, `shard << 32 | n` for the n-th passage of the shard's documents as they stand where the job
does. A mapper counts from 0 in each batch; `numbered` puts in what came before, batches in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.batch import DocBatch
from curate.core.columns import DOC, FAILED, REWRITE
from curate.core.errors import CurateError, error
from curate.core.expression import parse
from curate.core.passages import KEEP, Beside, Flat, flatten, list_offsets, listed
from curate.core.plan import StepPlan
from curate.core.stage import Annotator, Context, Job, Mapped, Mapper, Resources, Rule
from curate.running.contract import AnyStep, checked_column

Int64s = npt.NDArray[np.int64]


class OverPassages(Annotator[Any]):
    """An annotator or selector over passages as an annotator over documents."""

    def __init__(self, step: AnyStep, name: str, beside: Beside, when: str | None) -> None:
        self.Config, self.VERSION = step.Config, step.VERSION
        self.SERIAL = getattr(step, "SERIAL", False)
        self.step = step
        self._name = name
        self._beside = beside
        self._when = parse(when) if when is not None else None

    def resources(self) -> Resources:
        return self.step.resources()

    def reads(self) -> frozenset[str]:
        asked = self._when.columns if self._when is not None else frozenset()
        return self._beside.needs(self.step.reads() | asked)

    def writes(self) -> Mapping[str, pa.DataType]:
        return {name: pa.list_(kind) for name, kind in self._local().items()}

    def _local(self) -> Mapping[str, pa.DataType]:
        return self.step.writes() if isinstance(self.step, Annotator) else {KEEP: pa.bool_()}

    def artifacts(self, context: Context) -> Mapping[str, Any]:
        return self.step.artifacts(context) if isinstance(self.step, Annotator) else {}

    def provenance(self) -> Mapping[str, str]:
        own = self.step.provenance() if isinstance(self.step, Annotator) else {}
        return {**own, "over": self._beside.spans}

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        return ()  # its rules are about values of passages, not of documents

    def open(self, context: Context) -> None:
        self.step.open(context)

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        flat = flatten(batch, self._beside, self.step.reads(), self._when)
        if not isinstance(self.step, Annotator):
            return {KEEP: listed(self._checked(KEEP, self._kept(flat), pa.bool_(), flat), flat)}
        returned = dict(self.step.annotate(flat.batch))
        failed = returned.pop(FAILED, None)
        if returned.pop(REWRITE, None) is not None:
            raise rewrites(self._name)
        declared = self._local()
        if returned.keys() != declared.keys():
            raise self._broken(f"declared the columns {sorted(declared)} and returned {sorted(returned)}")
        columns = {
            name: listed(self._checked(name, column, declared[name], flat), flat)
            for name, column in returned.items()
        }
        if failed is not None:
            columns[FAILED] = _first_failure(self._checked(FAILED, failed, pa.string(), flat), flat)
        return columns

    def _kept(self, flat: Flat) -> pa.BooleanArray:
        assert not isinstance(self.step, Annotator)
        return pc.fill_null(self.step.keep(flat.batch), False)

    def _checked(self, name: str, column: pa.Array, kind: pa.DataType, flat: Flat) -> pa.Array:
        return checked_column(self._name, name, column, kind, flat.batch)

    def _broken(self, what: str) -> CurateError:
        help = "this is a fault of the step: it breaks the contract in curate/core/stage.py"
        return error("R303", f"step '{self._name}' {what}", help=help, step=self._name)


def rewrites(name: str) -> CurateError:
    return error(
        "C208",
        f"step '{name}' rewrites texts, which cannot be done passage by passage",
        help="remove `over:`, and put the step before the one that cuts passages",
    )


def _first_failure(failed: pa.Array, flat: Flat) -> pa.Array:
    """Why a document's first passage that failed did; null for documents without one."""
    at = np.flatnonzero(failed.is_valid().to_numpy(zero_copy_only=False))
    places = flat.places[at]
    parents = np.searchsorted(flat.offsets, places, side="right") - 1
    documents, first = np.unique(parents, return_index=True)
    why = [
        f"passage {int(places[i] - flat.offsets[d])}: {failed[int(at[i])].as_py()}"
        for d, i in zip(documents.tolist(), first.tolist(), strict=True)
    ]
    reasons: list[str | None] = [None] * (len(flat.offsets) - 1)
    for document, reason in zip(documents.tolist(), why, strict=True):
        reasons[document] = reason
    return pa.array(reasons, pa.string())


class OverMapper:
    """A job's mapper over the passages of documents. Numbers in `Mapped` count the passages of the batch from 0."""

    def __init__(self, mapper: Mapper, reads: frozenset[str], beside: Beside, when: str | None) -> None:
        self._mapper = mapper
        self.entering = mapper.entering
        self._reads = reads
        self._beside = beside
        self._when = parse(when) if when is not None else None

    def schema(self) -> pa.Schema:
        return self._mapper.schema()

    def side_schema(self) -> pa.Schema | None:
        return self._mapper.side_schema()

    def emit(self, batch: DocBatch) -> Mapped:
        flat = flatten(batch, self._beside, self._reads, self._when)
        numbers = pa.array(flat.places, pa.int64())
        mapped = self._mapper.emit(flat.batch.append({DOC: numbers}))
        return mapped._replace(documents=flat.batch.num_rows, passages=flat.passages)


def numbered(mapped: Mapped, shard: int, before: int) -> Mapped:
    """The same with the numbers of passages: `before` of them came in earlier batches of the shard."""
    if mapped.passages is None:
        return mapped
    first = (shard << 32) + before
    records, side = _shifted(mapped.records, first), mapped.side
    return mapped._replace(records=records, side=_shifted(side, first) if side is not None else None)


def _shifted(record: pa.RecordBatch, by: int) -> pa.RecordBatch:
    docs = pa.array(record.column(0).to_numpy() + by, pa.int64())
    return record.set_column(0, record.schema.field(0), docs)


@dataclass(frozen=True)
class PassageNumbers:
    """Of the documents of a shard: docs int64[documents], ascending, and the number of each one's first passage."""

    docs: Int64s
    first: Int64s

    @staticmethod
    def of(records: Iterable[pa.RecordBatch], spans: str, shard: int) -> PassageNumbers:
        """records: all living documents of the shard, in order, with `doc` and the spans."""
        docs, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for record in records:
            docs.append(record.column(DOC).to_numpy())
            counts.append(np.diff(list_offsets(record.column(spans))).astype(np.int64))
        lengths = np.concatenate(counts)
        return PassageNumbers(np.concatenate(docs), (shard << 32) + np.cumsum(lengths) - lengths)

    def of_passages(self, docs: pa.Int64Array, flat: Flat) -> Int64s:
        """The number of each living passage of a batch with these documents."""
        parents = np.searchsorted(flat.offsets, flat.places, side="right") - 1
        rows = np.searchsorted(self.docs, docs.to_numpy())
        return self.first[rows[parents]] + flat.places - flat.offsets[parents]


class PassageMarks:
    """A job over passages in the pass after it; `curate.running.jobs.Marks` asks it."""

    def __init__(self, job: Job[Any], plan: StepPlan, beside: Beside) -> None:
        self._job = job
        self._beside = beside
        self._when = parse(plan.when) if plan.when is not None else None
        self.numbers: PassageNumbers | None = None

    def writes(self) -> Mapping[str, pa.DataType]:
        return {name: pa.list_(kind) for name, kind in self._job.writes().items()}

    def annotate(self, batch: DocBatch, found: Any) -> Mapping[str, pa.Array]:
        """found: numbers → the job's records about them, row for row."""
        assert self.numbers is not None
        flat = flatten(batch, self._beside, (), self._when)
        numbers = pa.array(self.numbers.of_passages(batch.column(DOC), flat), pa.int64())
        return {name: listed(column, flat) for name, column in self._job.mark(found(numbers)).items()}


def mark_reads(beside: Beside, when: str | None) -> frozenset[str]:
    """Columns of documents that the marks of a job over passages look at."""
    return beside.needs(parse(when).columns if when is not None else ())
