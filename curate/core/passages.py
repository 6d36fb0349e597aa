"""Passages of a batch of documents as a batch of their own, and what is found out about them as lists beside the documents.

A column of spans (`passages__spans`: list<struct<start, end>>, code points of the text as it stands) says which passages a
document has. A step with `over: passages__spans` is given the passages in the place of documents:

    text            the passage
    id              of the document and the passage's place in it: `doc-7#0`, `doc-7#1`, …
    start, end      int32, of the span
    source_doc      int64, the document's number
    others          of the document; columns that a step before wrote over the same spans, the passage's own value

What it returns stands beside the spans, a value for each passage: `ner__score: list<float>`. A passage that a filter, a
selector or a job drops stays where it is, since no list may lose its order; later steps over the same spans do not see it
and have null for it, and it is not published. `when:` is asked about each passage.

    Beside      which columns stand beside a column of spans, and which of them drop passages
    flatten     documents → passages that are alive
    listed      a column of those passages → a list a document
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.batch import DocBatch
from curate.core.columns import DOC, ID, REASONS, TEXT, qualified, step_of
from curate.core.errors import error
from curate.core.expression import Expression
from curate.core.plan import StepPlan

START: Final = "start"
END: Final = "end"
#: The number of a passage's document.
SOURCE_DOC: Final = "source_doc"
#: The local column in which a selector over passages says what it keeps.
KEEP: Final = "keep"

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Beside:
    """What steps before wrote beside the passages of `spans`.

    columns: global names of their lists. drops: of those that drop passages, in order. language: the list that holds the
    passages' languages, None if no step identified them.
    """

    spans: str
    columns: frozenset[str] = frozenset()
    drops: tuple[str, ...] = ()
    language: str | None = None

    @staticmethod
    def of(steps: Iterable[StepPlan], spans: str) -> Beside:
        """After these steps."""
        over = [s for s in steps if s.over == spans]
        columns = frozenset(c for s in over for c in s.writes)
        drops = tuple(drop_column(s) for s in over if s.filters)
        language = next((qualified(s.name, "lang") for s in over if s.use.startswith("lid.")), None)
        return Beside(spans, columns, drops, language)

    def fields(self, schema: pa.Schema) -> pa.Schema:
        """Of a passage's columns, where `schema` is the documents'."""
        made = {START: pa.int32(), END: pa.int32(), SOURCE_DOC: pa.int64()}
        fields = [pa.field(name, kind) for name, kind in made.items()]
        for field in schema:
            if field.name in self.columns:
                fields.append(field.with_type(field.type.value_type))
            elif field.name not in made and field.name != self.spans:
                fields.append(field)
        return pa.schema(fields)

    def needs(self, columns: Iterable[str]) -> frozenset[str]:
        """Columns of documents that are read to give passages these columns."""
        own = {self.spans, *self.drops, *([self.language] if self.language is not None else [])}
        return frozenset(columns) - {START, END, SOURCE_DOC} | own


def drop_column(step: StepPlan) -> str:
    """The column by which a step over passages says which of them it drops."""
    return qualified(step.name, KEEP if step.kind == "selector" else REASONS)


def is_spans(kind: pa.DataType) -> bool:
    """Whether a column's type is one of spans: list<struct<start, end>> of integers."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    value = kind.value_type
    names = [value.field(i).name for i in range(value.num_fields)] if pa.types.is_struct(value) else []
    return {START, END} <= set(names) and all(
        pa.types.is_integer(value.field(name).type) for name in (START, END)
    )


class Flat(NamedTuple):
    """Passages of documents. batch: those that are alive. places: int64, which of all passages of the documents each is.
    offsets: int32[documents + 1], passages of document r are offsets[r] … offsets[r + 1]. known: bool[documents], whether a
    document was cut at all."""

    batch: DocBatch
    places: Int64s
    offsets: npt.NDArray[np.int32]
    known: Mask

    @property
    def passages(self) -> int:
        return int(self.offsets[-1])


def flatten(batch: DocBatch, beside: Beside, columns: Iterable[str], when: Expression | None = None) -> Flat:
    """The passages that no step dropped and for which `when` is true, with `doc` (their document's) and these columns."""
    spans = batch.column(beside.spans)
    offsets = list_offsets(spans)
    each = pc.list_flatten(spans)
    alive = np.flatnonzero(_alive(batch, beside, int(offsets[-1])))
    if when is not None:
        asked = _passages(batch, beside, each, offsets, alive, when.columns)
        true = when.evaluate(asked).fill_null(False).to_numpy(zero_copy_only=False)
        alive = alive[true]
    wanted = {DOC, *columns, *([language] if (language := _language(batch, beside)) is not None else [])}
    record = _passages(batch, beside, each, offsets, alive, wanted)
    known = spans.is_valid().to_numpy(zero_copy_only=False)
    return Flat(DocBatch(record, language=language, words=batch.words), alive, offsets, known)


def listed(column: pa.Array, flat: Flat) -> pa.ListArray:
    """list[documents] of a column over the passages of `flat.batch`; null for other passages, and where spans are null."""
    values = column
    if len(column) != flat.passages:
        at = np.zeros(flat.passages, np.int32)
        absent = np.ones(flat.passages, np.bool_)
        at[flat.places] = np.arange(len(flat.places), dtype=np.int32)
        absent[flat.places] = False
        values = column.take(pa.array(at, mask=absent))
    kind = pa.list_(column.type)
    mask = None if flat.known.all() else pa.array(~flat.known)
    return pa.ListArray.from_arrays(pa.array(flat.offsets), values, type=kind, mask=mask)


def list_offsets(lists: pa.Array) -> npt.NDArray[np.int32]:
    """int32[rows + 1] into the values that `list_flatten` gives: a null counts as an empty list."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _language(batch: DocBatch, beside: Beside) -> str | None:
    """The passages' own languages, else their documents'."""
    if beside.language is not None:
        return beside.language
    return batch.language if batch.languages is not None else None


def alive_after(batch: DocBatch, beside: Beside, passages: int) -> Iterator[tuple[str, int]]:
    """Of each step that drops passages, in order: its name, and how many of all passages are alive after it."""
    alive = np.ones(passages, np.bool_)
    for name in beside.drops:
        alive &= _kept(batch, name, passages)
        yield step_of(name) or name, int(alive.sum())


def _alive(batch: DocBatch, beside: Beside, passages: int) -> Mask:
    """bool[passages]: whether no step has dropped it."""
    alive = np.ones(passages, np.bool_)
    for name in beside.drops:
        alive &= _kept(batch, name, passages)
    return alive


def _kept(batch: DocBatch, name: str, passages: int) -> Mask:
    """bool[passages]: whether a column of reasons, or of what is kept, leaves it alive; null says nothing."""
    values = _values(batch, name, passages)
    if pa.types.is_boolean(values.type):
        return np.asarray(pc.fill_null(values, True).to_numpy(zero_copy_only=False))
    reasons = pc.fill_null(pc.list_value_length(values), 0)
    return np.asarray(pc.equal(reasons, 0).to_numpy(zero_copy_only=False))


def _values(batch: DocBatch, name: str, passages: int) -> pa.Array:
    """The values of a list column beside the spans, one a passage; all null where no row of the batch has any."""
    column = batch.column(name)
    values = pc.list_flatten(column)
    if len(values) == passages:
        return values
    raise error(
        "R303",
        f"'{name}' has {len(values):,} values for {passages:,} passages",
        help="a column beside spans has a value for each; cut passages and score them in one config",
    )


def _passages(
    batch: DocBatch,
    beside: Beside,
    each: pa.StructArray,
    offsets: npt.NDArray[np.int32],
    chosen: Int64s,
    columns: Iterable[str],
) -> pa.RecordBatch:
    """Columns of the chosen ones among all passages; `each` are the spans of all."""
    everything = len(chosen) == int(offsets[-1])
    parents = np.searchsorted(offsets, chosen, side="right") - 1
    arrays: dict[str, pa.Array] = {}
    take = pa.array(chosen)
    for name in sorted(set(columns) | {DOC}):
        if name in (START, END):
            values = pc.struct_field(each, name).cast(pa.int32(), safe=False)
            arrays[name] = values if everything else values.take(take)
        elif name == SOURCE_DOC:
            arrays[name] = batch.column(DOC).take(pa.array(parents))
        elif name == TEXT:
            arrays[name] = _texts(batch.text, each, chosen, parents)
        elif name == ID:
            ordinals = pa.array(chosen - offsets[parents]).cast(pa.string())
            ids = pc.fill_null(batch.column(ID), "").take(pa.array(parents))
            arrays[name] = pc.binary_join_element_wise(ids, ordinals, "#")
        elif name in beside.columns:
            values = _values(batch, name, int(offsets[-1]))
            arrays[name] = values if everything else values.take(take)
        else:
            arrays[name] = batch.column(name).take(pa.array(parents))
    return pa.RecordBatch.from_pydict(arrays)


def _texts(text: pa.StringArray, each: pa.StructArray, chosen: Int64s, parents: Int64s) -> pa.StringArray:
    from curate.core.text.slices import pieces

    starts, ends = (
        pc.struct_field(each, name).cast(pa.int32(), safe=False).fill_null(0).to_numpy(zero_copy_only=False)
        for name in (START, END)
    )
    rows = np.searchsorted(parents, np.arange(len(text) + 1)).astype(np.int64)
    return pieces(text, rows, starts[chosen], ends[chosen])
