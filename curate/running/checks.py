"""A job's check: what it is about to remove, counted by source and language before a single row is dropped.

In: the marks of one shard, and the columns `source` and language of the documents that the job was given. Out, in the
unit's counters: `removals`, the form of `curate.core.ceilings.Removals`. `curate.running.ceiling_evidence` adds them up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.batch import DocBatch
from curate.core.ceilings import LANGUAGE, SOURCE, Removals
from curate.core.columns import REASONS, UNDETERMINED
from curate.core.expression import parse
from curate.core.plan import Phase, Plan
from curate.core.stage import Job
from curate.running.jobs import Marks
from curate.running.passes import known_before
from curate.running.workspace import Report, UnitResult, Workspace


class Looked(NamedTuple):
    """Some documents that a job was given. marks: its columns by local name; removed: bool[rows]; groups: `source` and
    `language`, as far as there are any, string[rows] without nulls.
    """

    docs: pa.Array
    marks: Mapping[str, pa.Array]
    removed: npt.NDArray[np.bool_]
    groups: Mapping[str, pa.Array]


def looked_at(
    space: Workspace, phase: Phase, job: Job[Any], found: pa.RecordBatch | None, shard: int
) -> Iterator[Looked]:
    """The documents of a shard that the job was given, with its marks."""
    assert phase.job is not None
    plan = space.plan
    following = plan.passes[plan.passes.index(plan.mapping(phase.job.name)) + 1]
    named = _group_columns(plan, following)
    when = parse(phase.job.when) if phase.job.when is not None else None
    columns = {*named.values(), *(when.columns if when is not None else ())} - {"doc"}
    marks = Marks(job)
    marks.start_unit(found)
    for living in space.view(shard, before=following).batches(sorted(columns)):
        record = living if when is None else living.filter(when.evaluate(living).fill_null(False))
        if record.num_rows:
            written = marks.annotate(DocBatch(record))
            removed = pc.fill_null(pc.greater(pc.list_value_length(written[REASONS]), 0), False)
            groups = {kind: _names(kind, record.column(name)) for kind, name in named.items()}
            yield Looked(record.column("doc"), written, removed.to_numpy(zero_copy_only=False), groups)


def _group_columns(plan: Plan, following: Phase) -> dict[str, str]:
    found = {SOURCE: SOURCE} if SOURCE in plan.source_schema.names else {}
    if plan.language is not None and known_before(plan, following):
        found[LANGUAGE] = plan.language
    return found


def _names(kind: str, column: pa.Array) -> pa.Array:
    return pc.fill_null(column.cast(pa.string()), UNDETERMINED if kind == LANGUAGE else "")


def run_check(
    space: Workspace, phase: Phase, job: Job[Any], found: pa.RecordBatch | None, unit: int, report: Report
) -> UnitResult:
    """What a job would remove of one shard."""
    total = Removals()
    for part in looked_at(space, phase, job, found, unit):
        groups: dict[str, dict[str, list[int]]] = {}
        for kind, column in part.groups.items():
            encoded = column.dictionary_encode()
            codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
            documents = np.bincount(codes, minlength=len(names)).tolist()
            removed = np.bincount(codes[part.removed], minlength=len(names)).tolist()
            groups[kind] = {n: [d, r] for n, d, r in zip(names, documents, removed, strict=True)}
        counts = Removals(len(part.removed), int(part.removed.sum()), groups, _largest(part))
        total.add(counts.as_dict())
        report(len(part.removed), 0)
    return UnitResult(total.documents, {}, {"steps": [], "removals": total.as_dict()})


def _largest(part: Looked) -> list[int]:
    """Documents and number of the largest cluster here, the first of equals."""
    if "cluster" not in part.marks or "cluster_size" not in part.marks:
        return [0, -1]
    sizes = part.marks["cluster_size"].fill_null(0).to_numpy(zero_copy_only=False)
    size = int(sizes.max(initial=0))
    clusters = part.marks["cluster"].filter(pa.array(sizes == size))
    return [size, pc.min(clusters).as_py()] if clusters.null_count < len(clusters) else [0, -1]
