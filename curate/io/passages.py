"""Publishing passages: a row for each passage of a column of spans that no step dropped, beside which its document's columns
stand.

    id           string   the document's and the passage's place in it: `doc-7#0`
    text         string   the passage
    start, end   int32    code points of the document's text as it stood at the end of the run
    source_doc   int64    the document's number in the run
    url language licence dump source date    the document's; `language` is the passage's own where a step has identified it
    <step>__…    what steps over these spans found out, the passage's own value

are published by default; `columns:` may name any column of documents and passages. `where` is asked about each passage.

Rows stand in the order of documents and passages. A passage's number, by which a shuffle sorts, is `shard << 32 | n` for the
n-th passage of the shard's documents. Sizes of files are planned by each passage's share of its document's code points, so
that counting needs no texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.columns import ID, TEXT
from curate.core.expression import Expression
from curate.core.passages import END, SOURCE_DOC, START, Beside, alive_after, flatten
from curate.io.published import NULL
from curate.running.joined import SIZE

_BY_DEFAULT: Final = ("url", "language", "licence", "dump", "source", "date")

Int64s = npt.NDArray[np.int64]


def passage_columns(
    available: pa.Schema, beside: Beside, language: str | None
) -> tuple[tuple[str, str], ...]:
    """(published name, source) of what is published by default, of a passage's columns."""
    pairs = [(name, name) for name in (ID, TEXT, START, END, SOURCE_DOC)]
    for name in _BY_DEFAULT:
        source = language if name == "language" and language is not None else name
        pairs.append((name, source if source in available.names else f"{NULL}string"))
    named = {source for _, source in pairs}
    return (*pairs, *((n, n) for n in available.names if n in beside.columns and n not in named))


@dataclass
class Fates:
    """What became of the passages of documents. dropped: by step; where: those that the output did not ask for."""

    documents: int = 0
    cut: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    where: int = 0
    published: int = 0

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class Exploded(NamedTuple):
    """Passages to publish. record: the columns asked for and SIZE; numbers: int64[rows]."""

    record: pa.RecordBatch
    numbers: Int64s


def exploded(
    records: Iterable[pa.RecordBatch],
    beside: Beside,
    columns: Iterable[str],
    where: Expression | None,
    shard: int,
    fates: Fates | None = None,
) -> Iterator[Exploded]:
    """The passages of a shard's living documents, in order. records: with `doc`, SIZE and what the columns need."""
    wanted = {START, END, *columns} - {SIZE}
    before = 0
    for record in records:
        batch = DocBatch(record)
        flat = flatten(batch, beside, wanted, where)
        parents = np.searchsorted(flat.offsets, flat.places, side="right") - 1
        made = {
            SIZE: pa.array(_sizes(record, beside, flat.offsets)[flat.places]),
        }
        numbers = (shard << 32) + before + flat.places
        before += flat.passages
        if fates is not None:
            _count(fates, batch, beside, flat.offsets, len(parents))
        yield Exploded(flat.batch.append(made).record, numbers)


def _sizes(record: pa.RecordBatch, beside: Beside, offsets: npt.NDArray[np.int32]) -> Int64s:
    """int64[passages]: bytes, as the passage's share of what was cut from its document says."""
    spans = record.column(beside.spans).flatten()
    start, end = (
        spans.field(n).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) for n in (START, END)
    )
    lengths = np.maximum(end - start, 0)
    sums = np.concatenate([[0], np.cumsum(lengths)])
    each = np.repeat(np.maximum(np.diff(sums[offsets]), 1), np.diff(offsets))
    bytes_of = record.column(SIZE).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.repeat(bytes_of, np.diff(offsets)) * lengths // each


def _count(
    fates: Fates, batch: DocBatch, beside: Beside, offsets: npt.NDArray[np.int32], published: int
) -> None:
    alive = passages = int(offsets[-1])
    for step, left in alive_after(batch, beside, passages):
        fates.dropped[step] = fates.dropped.get(step, 0) + alive - left
        alive = left
    fates.documents += batch.num_rows
    fates.cut += passages
    fates.where += alive - published
    fates.published += published
