"""One document's life: where it came from, what each step found, who dropped it, and by how much it missed.

A filter says what its rules are (`Annotator.rules`), so a failed one is shown with the value, the bound and
the distance. A `select` is taken apart into its conditions, each with its value and verdict. All of it is
read from the overlays, which keep the values of dropped rows too: nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.columns import DOC, REASONS, TEXT, UNDETERMINED, qualified, step_of
from curate.core.errors import CurateError, error
from curate.core.expression import parse
from curate.core.expression.evaluate import evaluate
from curate.core.expression.tree import Between, Column, Compare, Literal, Logic, Negate, Node, Not
from curate.core.manifest import row_of, shard_of
from curate.core.objects import Place, as_place
from curate.core.packs import parquet_source
from curate.core.plan import OutputPlan, StepPlan
from curate.core.stage import Annotator, Rule
from curate.core.suggest import did_you_mean
from curate.io.publish import file_name, row_groups
from curate.running.finish import read_published
from curate.running.joined import SIZE
from curate.running.ledger import READ
from curate.running.steps import build_job, build_step
from curate.views.documents import Document, Documents, raise_if_another, raw_text
from curate.views.run_state import read_run

#: Characters of the text that are shown.
EXCERPT: Final = 300

_NUMBER: Final = "doc:"


def explain(root: Place, wanted: str) -> list[dict[str, Any]]:
    """The life of every document with that id (or of `doc:<number>`), in the order of their numbers; R308 if
    there is none.
    """
    documents = Documents(read_run(root))
    docs = _numbered(documents, wanted) if wanted.startswith(_NUMBER) else []
    docs = docs or documents.find(wanted)
    if not docs:
        raise _unknown(documents, wanted)
    return [_life(documents, document) for document in documents.fetch(docs)]


def _numbered(documents: Documents, wanted: str) -> list[int]:
    digits = wanted.removeprefix(_NUMBER)
    number = int(digits) if digits.isdecimal() and len(digits) < 20 else -1
    return [number] if documents.exists(number) else []


def _unknown(documents: Documents, wanted: str) -> CurateError:
    near = did_you_mean(wanted, documents.near_ids(wanted))
    waiting = len(documents.manifest.shards) - len(list(documents.readable_shards()))
    if near is not None:
        help = f"did you mean '{near}'?"
    elif waiting:
        help = f"{waiting} shards have not been ingested yet: run on and ask again"
    else:
        help = "an id is the input's, `path#row` where it has none, or doc:<number>; see `curate inspect`"
    return error("R308", f"no document of this run has the id '{wanted}'", help=help)


def _life(documents: Documents, document: Document) -> dict[str, Any]:
    """Everything about one document, ready for JSON."""
    record = _record(documents, document)
    fate = document.fate
    bad = None
    if fate.name == "quarantined":
        bad = {"step": fate.step, "reason": fate.reasons[0], "file": fate.file, "position": fate.position}
        bad["raw"] = raw_text(fate)
    return {
        "id": document.id,
        "doc": document.doc,
        "shard": shard_of(document.doc),
        "shard_row": row_of(document.doc),
        "file": document.file,
        "row": document.row,
        "language": document.language,
        "state": fate.name,
        "columns": {name: value for name, value in document.own.items() if name != "id"},
        "text": document.text,
        "text_bytes": document.text_bytes,
        "rewritten": document.rewritten,
        "steps": list(_steps(documents, document, record)),
        "quarantine": bad,
        "published": list(_published(documents, document, record)),
    }


def _record(documents: Documents, document: Document) -> pa.RecordBatch:
    """The document as one row of every column known, for conditions."""
    fields: dict[str, pa.DataType] = {f.name: f.type for f in documents.source}
    for _, path in documents.overlays(shard_of(document.doc)):
        fields |= {f.name: f.type for f in pq.read_schema(parquet_source(path)) if f.name in document.values}
    row = {**document.own, **document.values, DOC: document.doc, TEXT: document.text}
    schema = pa.schema(list(fields.items()))
    return pa.RecordBatch.from_pylist([{name: row.get(name) for name in schema.names}], schema=schema)


def _steps(documents: Documents, document: Document, record: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    fate = document.fate
    names = documents.step_names
    gone = names.index(fate.step) if fate.step is not None else len(names)
    overlays = documents.overlays(shard_of(document.doc))
    seen = {READ, *(s.name for phase, _ in overlays for s in phase.steps)} if overlays else set()
    plans = {s.name: s for s in documents.plan.steps}
    for number, name in enumerate(names):
        plan = plans.get(name)
        reached = name in seen
        if number > gone:
            verdict = "not reached"
        elif number == gone:
            verdict = fate.name
        elif not reached:
            verdict = "pending"
        elif plan is not None and plan.when is not None and not _holds(plan.when, record):
            verdict = "outside when"
        else:
            verdict = "kept"
        entry: dict[str, Any] = {"step": name, "use": plan.use if plan else READ, "verdict": verdict}
        if plan is not None and plan.when is not None:
            entry["when"] = plan.when
        entry["values"] = {
            k: v for k, v in document.values.items() if step_of(k) == name and number <= gone and reached
        }
        entry["reasons"] = list(fate.reasons) if number == gone else []
        if plan is not None and verdict in ("kept", "dropped"):
            entry |= _judgement(documents, document, plan, record, entry["reasons"])
        yield entry


def _judgement(
    documents: Documents, document: Document, plan: StepPlan, record: pa.RecordBatch, reasons: list[str]
) -> dict[str, Any]:
    """How a step came to its verdict: failed rules of a filter, conditions of a selector."""
    if plan.kind == "selector":
        text = plan.options.get("expression")
        return {"expression": text, "conditions": conditions(text, record)} if isinstance(text, str) else {}
    if plan.kind == "job":
        return _twins(documents, document, plan)
    failed = reasons or document.values.get(qualified(plan.name, REASONS)) or []
    return {"failed": failed_rules(documents, document, plan, failed)} if failed else {}


def _twins(documents: Documents, document: Document, plan: StepPlan) -> dict[str, Any]:
    """The documents that a job of deduplication names beside this one: who survived it, and its nearest partner."""
    twins = []
    for role in ("survivor", "partner"):
        doc = document.values.get(qualified(plan.name, role))
        if isinstance(doc, int) and doc < 0:
            twins.append({"role": role, **_published_twin(document, plan, doc, role)})
        elif isinstance(doc, int) and doc != document.doc:
            twin = documents.fetch([doc])[0]
            entry = {"role": role, "id": twin.id, "doc": doc, "first_line": first_line(twin.text)}
            similarity = document.values.get(qualified(plan.name, "similarity"))
            if similarity is not None and role == "survivor":
                entry["similarity"] = similarity
            twins.append(entry)
    return {"first_line": first_line(document.text), "twins": twins} if twins else {}


def _published_twin(document: Document, plan: StepPlan, number: int, role: str) -> dict[str, Any]:
    """A document of an index, as far as it can still be read."""
    try:
        found = build_job(plan).describe(number) if plan.kind == "job" else None
    except CurateError as cause:
        raise_if_another(cause)
        return {"id": f"published {number}", "doc": number, "first_line": "", "unreadable": str(cause)}
    if found is None:
        return {
            "id": f"published {number}",
            "doc": number,
            "first_line": "",
            "unreadable": "the index has no such document",
        }
    entry = {"id": found["id"], "doc": number, "first_line": found["first_line"]}
    entry |= {"published": {"index": found["index"], "run": found["run"], "doc": found["doc"]}}
    similarity = document.values.get(qualified(plan.name, "similarity"))
    return entry | ({"similarity": similarity} if similarity is not None and role == "survivor" else {})


def first_line(text: str | None) -> str:
    """The first line of a text that is not blank; empty if there is none."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), "")


def failed_rules(
    documents: Documents, document: Document, plan: StepPlan, failed: list[str]
) -> list[dict[str, Any]]:
    """`reason column value minimum maximum missed_by` of each failed rule; only `reason` where the step tells
    no more.
    """
    step = build_step(plan.use, plan.options)
    known: tuple[Rule, ...] = ()
    if isinstance(step, Annotator) and plan.over is None:
        known = step.rules(_language_then(documents, document, plan))
    entries = []
    for reason in failed:
        entry: dict[str, Any] = {"reason": reason}
        for rule in known:
            if rule.reason == reason:
                value = document.values.get(qualified(plan.name, rule.column))
                missed = missed_by(value, rule.minimum, rule.maximum)
                entry = {
                    "reason": reason,
                    "column": qualified(plan.name, rule.column),
                    "value": value,
                    "minimum": rule.minimum,
                    "maximum": rule.maximum,
                    "missed_by": missed,
                }
                if missed is not None:
                    break
        entries.append(entry)
    return entries


def missed_by(value: Any, minimum: float | None, maximum: float | None) -> float | None:
    """By how much a value is out of bounds; None if it is within, or no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if minimum is not None and value < minimum:
        return minimum - value
    return value - maximum if maximum is not None and value > maximum else None


def _language_then(documents: Documents, document: Document, plan: StepPlan) -> str | None:
    """The document's language if it was known when the step saw it."""
    column = documents.plan.language
    if column is None or document.language == UNDETERMINED:
        return None
    writer = step_of(column)
    names = documents.step_names
    if writer in names and names.index(writer) >= names.index(plan.name):
        return None
    return document.language


def conditions(text: str, record: pa.RecordBatch) -> list[dict[str, Any]]:
    """The parts of an expression that are joined by `and`, `or`, `not`, each with its verdict on a one-row
    record.

    condition, holds (null: unknown), values of its columns; missed_by for a comparison of a column with a
    number.
    """
    entries = []
    for node in _parts(parse(text).root):
        names = dict.fromkeys(n.name for n in node.walk() if isinstance(n, Column))
        holds = evaluate(node, record)[0].as_py()
        entry = {
            "condition": str(node),
            "holds": holds,
            "values": {n: record.column(n)[0].as_py() for n in names},
        }
        distance = _distance(node, record)
        if distance is not None and not holds:
            entry["missed_by"] = distance
        entries.append(entry)
    return entries


def _parts(node: Node) -> Iterator[Node]:
    if isinstance(node, (Logic, Not)):
        for part in node.children():
            yield from _parts(part)
    else:
        yield node


def _distance(node: Node, record: pa.RecordBatch) -> float | None:
    """How far a column's value is from the number it is compared with."""
    if isinstance(node, Between) and not node.negated and isinstance(node.value, Column):
        value = record.column(node.value.name)[0].as_py()
        return missed_by(value, _number(node.low), _number(node.high))
    if not isinstance(node, Compare) or node.operator == "!=":
        return None
    column, other = (node.left, node.right) if isinstance(node.left, Column) else (node.right, node.left)
    bound = _number(other)
    if not isinstance(column, Column) or bound is None:
        return None
    value = record.column(column.name)[0].as_py()
    return abs(bound - value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _number(node: Node) -> float | None:
    if isinstance(node, Negate):
        value = _number(node.part)
        return None if value is None else -value
    if (
        isinstance(node, Literal)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
    ):
        return node.value
    return None


def _holds(text: str, record: pa.RecordBatch) -> bool:
    return parse(text).evaluate(record)[0].as_py() is True


def _published(documents: Documents, document: Document, record: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Outputs that a kept document is in, and the file it stands in once the output is arranged."""
    if document.fate.name != "kept":
        return
    for output in documents.plan.outputs:
        if output.where is not None and not _holds(output.where, record):
            continue
        partition = None
        if output.partition_by is not None:
            partition = record.column(output.partition_by).cast(pa.string())[0].as_py()
            partition = UNDETERMINED if partition is None else partition
        try:
            name = _file_of(documents, document, output, record)
        except LookupError:
            name = None
        complete = read_published(documents.folder, output)[1]
        path = str(as_place(output.path) / name) if name is not None else None
        yield {"output": output.name, "complete": complete, "partition": partition, "path": path}


def _file_of(documents: Documents, document: Document, output: OutputPlan, record: pa.RecordBatch) -> str:
    """The published file, below the output's folder. LookupError before rows are counted."""
    layout = documents.layout(output.name)
    shard = shard_of(document.doc)
    # The place of a shuffled row follows from its number; otherwise the rows before it in its shard count.
    records = [record] if output.seed is not None else _before(documents, document, output)
    seen: dict[str, int] = {}
    for batch in records:
        docs = batch.column(DOC).to_numpy()
        values = batch.column(output.partition_by) if output.partition_by is not None else None
        # A shuffled row's place does not depend on sizes.
        sizes = batch.column(SIZE).to_numpy() if output.seed is None else np.zeros(len(docs), np.int64)
        groups = row_groups(layout, output, shard, values, docs, sizes, seen)
        at = int(np.searchsorted(docs, document.doc))
        if at < len(docs) and docs[at] == document.doc:
            group = int(groups[at])
            partition = next(p for p in layout.partitions if 0 <= group - p.first_group < p.files * p.groups)
            return file_name(
                output, layout, partition.first_file + (group - partition.first_group) // partition.groups
            )
    raise LookupError(document.doc)


def _before(documents: Documents, document: Document, output: OutputPlan) -> Iterator[pa.RecordBatch]:
    """The rows of the document's shard that the output takes, in order."""
    where = parse(output.where) if output.where is not None else None
    columns = {
        SIZE,
        *(where.columns if where is not None else ()),
        *([output.partition_by] if output.partition_by else []),
    }
    for record in documents.space.view(shard_of(document.doc)).batches(sorted(columns)):
        yield record if where is None else record.filter(pc.fill_null(where.evaluate(record), False))
