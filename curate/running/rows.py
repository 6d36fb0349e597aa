"""The rows of a batch on their way through the steps of a pass: who is still in it, what was written, who fell where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.batch import DocBatch, Words
from curate.core.columns import TEXT
from curate.core.overlay import DROP
from curate.running.joined import SIZE

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass
class Seen:
    """What a step did to the rows that entered it; all arrays are over those rows, `dropped` holds positions."""

    alive: Indices
    bytes_in: Indices
    bytes_kept: Indices
    kept: Mask
    quarantined: Mask
    dropped: Indices
    reasons: pa.ListArray


class Rows:
    """A batch on its way through the steps. It has `text`, or where no step of the pass looks at texts only their sizes.

    batch: the rows still in the pass; alive: their positions among all rows that entered, ascending. size: bytes of
    the text now; drop: number of the step that dropped a row, -1 kept; both are over all rows.
    """

    def __init__(self, record: pa.RecordBatch, language: str | None, words: Words) -> None:
        sized = SIZE in record.schema.names
        sizes = record.column(SIZE) if sized else pc.binary_length(record.column(TEXT))
        if sized:
            record = record.drop_columns([SIZE])
        self.batch = self._entered = DocBatch(record, language=language, words=words)
        self.doc: pa.Array = record.column("doc")
        self.incoming = self.batch.languages
        self.alive: Indices = np.arange(record.num_rows)
        self.size: Indices = sizes.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.bytes_in = int(self.size.sum())
        self.has_text = sizes.is_valid()
        self.drop: Indices = np.full(record.num_rows, -1, np.int64)
        self.columns: dict[str, pa.Array] = {}
        self.rewritten: pa.Array | None = None
        self.dropped: list[tuple[Indices, pa.ListArray]] = []
        self.seen: list[Seen] = []

    def put(self, column: pa.Array, local: Indices) -> pa.Array:
        """A column over some of the living rows (`local`), stretched over all of them with nulls."""
        return column if len(column) == len(self.alive) else column.take(inverse(local, len(self.alive)))

    def spread(self, column: pa.Array) -> pa.Array:
        """A column over the living rows, stretched over all rows with nulls."""
        return column if len(column) == len(self.drop) else column.take(inverse(self.alive, len(self.drop)))

    def everything(self) -> DocBatch:
        """All rows that entered, with what the steps wrote, null where a row was dropped before; and `drop: bool`, whether
        it is gone."""
        batch = self._entered.append({**self.columns, DROP: pa.array(self.drop >= 0)})
        batch.__dict__["text_bytes"] = self.size
        return batch

    def append(self, columns: Mapping[str, pa.Array]) -> None:
        self.batch = self.batch.append(dict(columns))
        self.columns.update({name: self.spread(column) for name, column in columns.items()})

    def rewrite(self, text: pa.StringArray) -> None:
        """text: string[living rows], null where unchanged."""
        self.batch = self.batch.rewritten(text)
        lengths = pc.binary_length(text).fill_null(-1).to_numpy(zero_copy_only=False)
        self.size = self.size.copy()
        self.size[self.alive] = np.where(lengths >= 0, lengths, self.size[self.alive])
        spread = self.spread(text)
        self.rewritten = spread if self.rewritten is None else pc.coalesce(spread, self.rewritten)

    def finish_step(
        self,
        number: int,
        before: Indices,
        lost: Indices,
        reasons: pa.ListArray,
        broken: Mask,
        quarantine: int,
    ) -> None:
        """Close a step: rows `lost` (positions among the living) are dropped, rows where `broken` are quarantined.

        before: size of every row when the step began. quarantine: the number that stands for quarantined rows.
        """
        gone = broken.copy()
        gone[lost] = True
        self.seen.append(
            Seen(self.alive, before[self.alive], self.size[self.alive], ~gone, broken, lost, reasons)
        )
        self.drop[self.alive[lost]] = number
        self.drop[self.alive[broken]] = quarantine
        self.dropped.append((self.alive[lost], reasons))
        if gone.any():
            self.alive = self.alive[~gone]
            self.batch = self.batch.filter(~gone)


def inverse(positions: Indices, length: int) -> pa.Array:
    """Take-indices that put rows at `positions` of a longer column: int32[length], null elsewhere."""
    places = np.zeros(length, np.int32)
    absent = np.ones(length, bool)
    places[positions] = np.arange(len(positions), dtype=np.int32)
    absent[positions] = False
    return pa.array(places, mask=absent)
