"""A pass: batches of one shard through the fused steps, to one overlay row for every row that entered.

    source or joined batch → [bad records, no text] → step → step → … → overlay batch, ledger counts, quarantine rows

Steps see only the rows that are still alive (and inside their `when:`); what they return is put back at the rows' places
here, so no step can lose, reorder or duplicate a document. The runner checks what a step returns: the declared columns,
the declared types, one value per row (`curate.running.contract`).

Batches do not depend on each other, so `work` may be called by several threads at once; `count` is for one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.batch import UNICODE, DocBatch, Words, text_buffers
from curate.core.columns import FAILED, REASONS, REWRITE, TEXT, qualified
from curate.core.errors import CurateError, error
from curate.core.expression import Expression, parse
from curate.core.overlay import DROP, DROP_REASONS, QUARANTINED, TEXT_BYTES, overlay_schema
from curate.core.plan import StepPlan
from curate.core.stage import Annotator, Caching, Context, Encoding, Mapped, Work
from curate.running.contract import AnyStep, checked_column, checked_columns, step_fields
from curate.running.jobs import MapperStep, Marks
from curate.running.ledger import READ, StepCounter, language_codes
from curate.running.passages import OverPassages, PassageNumbers
from curate.running.quarantine import BadRow
from curate.running.rows import Indices, Mask, Rows, inverse

NO_TEXT = "no_text"


@dataclass
class Outcome:
    """What a batch came to: its overlay rows, the rows for the quarantine, how many texts were rewritten, bytes of text
    that entered, what the job's mapper made of them, and what each step did to them."""

    overlay: pa.RecordBatch
    bad: list[BadRow]
    rewritten: int
    bytes_in: int
    mapped: Mapped | None = None
    counters: list[StepCounter] = field(default_factory=list)


def _moves_places(step: str, column: str) -> CurateError:
    return error(
        "R303",
        f"step '{step}' rewrites texts whose places '{column}' already holds: they would no longer be what they were",
        help=f"put '{step}' before the step that writes {column}",
        step=step,
    )


def _caching(step: AnyStep) -> Caching | None:
    """The step that keeps what it makes, if it is one that does; also one over passages."""
    inner = step.step if isinstance(step, OverPassages) else step
    return inner if isinstance(inner, Caching) else None


def _encoding(step: AnyStep) -> Encoding | None:
    """The step with an encoder, if it is one; also one over passages."""
    inner = step.step if isinstance(step, OverPassages) else step
    return inner if isinstance(inner, Encoding) else None


class Pipeline:
    """The steps of one pass, built and opened once per process; `start_unit` begins a shard with fresh counters.

    first: whether this pass reads the source, and so drops documents without text. mapper: of the job that follows.
    """

    def __init__(
        self,
        steps: Sequence[tuple[StepPlan, AnyStep]],
        context: Context,
        language: str | None,
        *,
        first: bool,
        words: Words = UNICODE,
        mapper: MapperStep | None = None,
        cut: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """cut: of steps that come after one which wrote places in the text, its column: they may not rewrite it."""
        self._cut = cut
        self.language = language
        self.words = words
        self.first = first
        self.mapper = mapper
        self._steps = steps
        self._when: list[Expression | None] = [
            parse(p.when) if p.when is not None and p.over is None else None for p, _ in steps
        ]
        self.schema = overlay_schema([f for plan, step in steps for f in step_fields(plan, step)])
        self.names = ([READ] if first else []) + [plan.name for plan, _ in steps]
        self.counters: list[StepCounter] = []
        self._turns: list[AbstractContextManager[Any]] = [
            Lock() if getattr(step, "SERIAL", False) else nullcontext() for _, step in steps
        ]
        self._encoding = [found for _, step in steps if (found := _encoding(step)) is not None]
        for plan, step in steps:
            step.open(replace(context, snapshot=plan.snapshot))

    def start_unit(self, found: pa.RecordBatch | None = None, numbers: PassageNumbers | None = None) -> None:
        """Begin a shard. found: what the job whose marks begin this pass found out about it; numbers: of its passages, for a
        job over them."""
        self.counters = [StepCounter(name) for name in self.names]
        for _, step in self._steps:
            if isinstance(step, Marks):
                step.start_unit(found, numbers)
            elif (caching := _caching(step)) is not None:
                caching.begin()

    def finish_unit(self) -> dict[str, dict[str, int]]:
        """End a shard: what its steps keep is committed. Step → what it counted, for the done-file."""
        steps = [(plan.name, _caching(step)) for plan, step in self._steps]
        counts = {name: dict(step.finish()) for name, step in steps if step is not None}
        return {name: numbers for name, numbers in counts.items() if numbers}

    def worked(self) -> dict[str, Work]:
        """Encoder → what it did since this was asked last, tokens and busy seconds."""
        found: dict[str, Work] = {}
        for step in self._encoding:
            for name, work in step.worked().items():
                found[name] = found.get(name, Work()).plus(work)
        return found

    def run(self, record: pa.RecordBatch, bad: Sequence[BadRow] = ()) -> Outcome:
        """One batch through the steps, and counted."""
        outcome = self.work(record, bad)
        self.count(outcome)
        return outcome

    def count(self, outcome: Outcome) -> None:
        """Add a batch to the unit's counters."""
        for counter, more in zip(self.counters, outcome.counters, strict=True):
            counter.add(more)

    def work(self, record: pa.RecordBatch, bad: Sequence[BadRow] = ()) -> Outcome:
        """One batch (doc, text and what the steps read), with the bad records that lie between its rows."""
        rows = Rows(record, self.language, self.words)
        broken: list[BadRow] = list(bad)
        if self.first:
            self._read(rows)
        for index, (plan, step) in enumerate(self._steps):
            broken += self._apply(index, plan, step, rows)
        outcome = self._outcome(rows, broken)
        outcome.counters = self._counted(rows, len(bad))
        if self.mapper is not None:
            outcome.mapped = self.mapper.emit(rows.everything() if self.mapper.entering else rows.batch)
        return outcome

    def _read(self, rows: Rows) -> None:
        """The reader's own rule: a document without text (null, empty, blank) is dropped as `no_text`."""
        lost = blank_rows(rows.batch.text)
        reasons = _one_each(pa.array([NO_TEXT]).take(pa.array(np.zeros(len(lost), np.int32))))
        rows.finish_step(0, rows.size, lost, reasons, np.zeros(len(rows.alive), bool), len(self.names))

    def _apply(self, index: int, plan: StepPlan, step: AnyStep, rows: Rows) -> list[BadRow]:
        """One step on the living rows; returns the rows it could not handle."""
        number = index + int(self.first)
        before = rows.size
        broken = np.zeros(len(rows.alive), bool)
        inside = self._inside(index, rows.batch)
        local = np.arange(len(rows.alive)) if inside is None else np.flatnonzero(inside)
        sub = rows.batch if inside is None else rows.batch.filter(inside)
        bad: list[BadRow] = []
        if isinstance(step, Annotator):
            with self._turns[index]:
                returned = dict(step.annotate(sub))
            failed = returned.pop(FAILED, None)
            rewrite = returned.pop(REWRITE, None)
            written = checked_columns(plan, step, returned, sub)
            rows.append({name: rows.put(column, local) for name, column in written.items()})
            if rewrite is not None:
                if plan.name in self._cut and rewrite.null_count < len(rewrite):
                    raise _moves_places(plan.name, self._cut[plan.name])
                rows.rewrite(rows.put(checked_column(plan, REWRITE, rewrite, pa.string(), sub), local))
            lost, reasons = _failed_rules(plan, written)
            if failed is not None:
                wrong = checked_column(plan, FAILED, failed, pa.string(), sub)
                at = np.flatnonzero(pc.is_valid(wrong).to_numpy(zero_copy_only=False))
                docs = rows.doc.take(pa.array(rows.alive[local[at]])).to_pylist()
                bad = [
                    BadRow(d, plan.name, w)
                    for d, w in zip(docs, wrong.take(pa.array(at)).to_pylist(), strict=True)
                ]
                broken[local[at]] = True
                sane = ~np.isin(lost, at)
                lost, reasons = lost[sane], reasons.filter(pa.array(sane))
        else:
            with self._turns[index]:
                verdicts = step.keep(sub)
            keep = checked_column(plan, "keep", verdicts, pa.bool_(), sub)
            lost = np.flatnonzero(~pc.fill_null(keep, False).to_numpy(zero_copy_only=False))
            unknown = pc.is_null(keep).to_numpy(zero_copy_only=False)[lost]
            reasons = _one_each(pa.array(["false", "null"]).take(pa.array(unknown.astype(np.int32))))
        rows.finish_step(number, before, local[lost], reasons, broken, len(self.names))
        return bad

    def _inside(self, index: int, batch: DocBatch) -> Mask | None:
        """Rows inside `when:`, or None when all are."""
        when = self._when[index]
        if when is None:
            return None
        mask = pc.fill_null(when.evaluate(batch.record), False).to_numpy(zero_copy_only=False)
        return None if mask.all() else mask

    def _counted(self, rows: Rows, bad: int) -> list[StepCounter]:
        counters = [StepCounter(name) for name in self.names]
        column = rows.columns.get(self.language, rows.incoming) if self.language else None
        languages, codes = language_codes(column, len(rows.drop))
        for counter, seen in zip(counters, rows.seen, strict=True):
            counter.count(
                languages,
                codes[seen.alive],
                bytes_in=seen.bytes_in,
                bytes_kept=seen.bytes_kept,
                kept=seen.kept,
                quarantined=seen.quarantined,
                dropped=seen.dropped,
                reasons=seen.reasons,
            )
        if bad:
            counters[0].count_unreadable(bad)
        return counters

    def _outcome(self, rows: Rows, bad: list[BadRow]) -> Outcome:
        names = pa.array([*self.names, QUARANTINED])
        drop = names.take(pa.array(np.where(rows.drop < 0, 0, rows.drop), mask=rows.drop < 0))
        size = pa.array(rows.size, mask=~rows.has_text.to_numpy(zero_copy_only=False))
        arrays = {
            "doc": rows.doc,
            **rows.columns,
            TEXT: rows.rewritten if rows.rewritten is not None else pa.nulls(len(rows.drop), pa.string()),
            TEXT_BYTES: size,
            DROP: drop,
            DROP_REASONS: _spread_reasons(rows.dropped, bad, rows),
        }
        overlay = pa.RecordBatch.from_pydict(
            {f.name: arrays[f.name] for f in self.schema}, schema=self.schema
        )
        known = set(rows.doc.to_pylist()) if bad else set()
        unread = [b for b in bad if b.doc not in known]
        if unread:
            overlay = _insert(overlay, unread)
        rewritten = 0 if rows.rewritten is None else len(rows.rewritten) - rows.rewritten.null_count
        return Outcome(overlay, bad, rewritten, rows.bytes_in)


def blank_rows(text: pa.StringArray) -> Indices:
    """Rows whose text is null, empty or nothing but whitespace, ascending: int64."""
    offsets, data = text_buffers(text)
    some = text.is_valid().to_numpy(zero_copy_only=False) & (offsets[1:] > offsets[:-1])
    first = data[offsets[:-1][some]]
    # Most texts begin with a visible character of ASCII, and Arrow would read them to the end.
    some[some] = (first > 0x20) & (first < 0x7F)
    at = np.flatnonzero(~some)
    few = text.take(pa.array(at))
    blank = pc.or_(pc.equal(pc.binary_length(few), 0), pc.utf8_is_space(few))
    return at[pc.fill_null(blank, True).to_numpy(zero_copy_only=False)]


def _failed_rules(plan: StepPlan, written: Mapping[str, pa.Array]) -> tuple[Indices, pa.ListArray]:
    """Rows with reasons, if the step is a filter: positions and their lists."""
    if not plan.filters or plan.over is not None:
        return np.zeros(0, np.int64), pa.array([], pa.list_(pa.string()))
    listed = written[qualified(plan.name, REASONS)]
    lengths = pc.fill_null(pc.list_value_length(listed), 0).to_numpy(zero_copy_only=False)
    lost = np.flatnonzero(lengths > 0)
    return lost, listed.take(pa.array(lost))


def _one_each(values: pa.StringArray) -> pa.ListArray:
    """list<string> with one value in each."""
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32)), values)


def _spread_reasons(
    dropped: Sequence[tuple[Indices, pa.ListArray]], bad: Sequence[BadRow], rows: Rows
) -> pa.ListArray:
    """`drop_reasons` over all rows of the batch: the dropping step's, or why a row is in the quarantine."""
    positions = [p for p, _ in dropped]
    lists = [r.cast(pa.list_(pa.string())) for _, r in dropped]
    if bad:
        index = {doc: at for at, doc in enumerate(rows.doc.to_pylist())}
        here = [b for b in bad if b.doc in index]
        positions.append(np.array([index[b.doc] for b in here], np.int64))
        lists.append(pa.array([[b.reason] for b in here], pa.list_(pa.string())))
    if not any(len(p) for p in positions):
        return pa.nulls(len(rows.drop), pa.list_(pa.string()))
    return pa.concat_arrays(lists).take(inverse(np.concatenate(positions), len(rows.drop)))


def _insert(overlay: pa.RecordBatch, unread: Sequence[BadRow]) -> pa.RecordBatch:
    """Rows for records that could not be read at all, put in the order of doc."""
    count = len(unread)
    extra = {f.name: pa.nulls(count, f.type) for f in overlay.schema}
    extra["doc"] = pa.array([b.doc for b in unread], pa.int64())
    extra[DROP] = pa.array([QUARANTINED] * count)
    extra[DROP_REASONS] = pa.array([[b.reason] for b in unread], pa.list_(pa.string()))
    both = pa.concat_batches([overlay, pa.RecordBatch.from_pydict(extra, schema=overlay.schema)])
    return both.take(pc.sort_indices(both.column("doc")))
