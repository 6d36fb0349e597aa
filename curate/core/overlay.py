"""Overlays: what a pass found out about the rows of one shard, beside the shard instead of in it.

One row for every row that entered the pass, in the order of `doc`:

    doc           int64
    <step>__…     the new columns; null once the row was dropped
    text          string, only where the pass rewrote the text (null: unchanged)
    text_bytes    int64, bytes of UTF-8 of the text as it leaves the pass; null without text
    drop          string, the step that dropped the row; null: kept; `quarantine`: a bad record
    drop_reasons  list<string>, why; null: kept

A dropped row keeps its values, so `explain` and the question "what would a threshold of 3 have kept" need no rerun. The
next phase reads the source shard joined with its overlays on `doc`, only the columns it asks for.

Parquet's bytes depend on how rows arrive, so exactly one row group is combined and written at a time; where it ends is
decided by the shard's rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import error
from curate.core.packs import Stretch, parquet_source

DROP: Final = "drop"
DROP_REASONS: Final = "drop_reasons"
TEXT_BYTES: Final = "text_bytes"
#: Value of `drop` for bad records.
QUARANTINED: Final = "quarantine"

_GROUP_ROWS = 131_072
_GROUP_BYTES = 32 * 1024 * 1024
_READ_ROWS = 16_384


def overlay_schema(columns: Sequence[pa.Field]) -> pa.Schema:
    """Schema of the overlay of a pass whose steps write these fields (global names, metadata kept)."""
    return pa.schema(
        [
            pa.field("doc", pa.int64(), nullable=False),
            *columns,
            pa.field("text", pa.string()),
            pa.field(TEXT_BYTES, pa.int64()),
            pa.field(DROP, pa.string()),
            pa.field(DROP_REASONS, pa.list_(pa.string())),
        ]
    )


class OverlayWriter:
    """Writes one overlay; `append` in order of doc, then `close`. Use as a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=1, write_page_checksum=True
        )
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def append(self, record: pa.RecordBatch) -> None:
        self._held.append(record.select(self._schema.names).cast(self._schema))
        self._rows += record.num_rows
        self._bytes += record.get_total_buffer_size()
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._held, self._schema).combine_chunks()
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._held, self._rows, self._bytes = [], 0, 0

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def read_overlay_schema(path: Path | Stretch) -> pa.Schema:
    """The schema of an overlay, from its footer; R306 if it is damaged."""
    try:
        return pq.read_schema(parquet_source(path))
    except (OSError, pa.ArrowException) as cause:
        raise _damaged(path, cause) from cause


class OverlayReader:
    """Reads an overlay forwards: `take_until(doc)` gives the rows not yet taken, up to and including that doc."""

    def __init__(self, path: Path | Stretch, columns: Sequence[str]) -> None:
        try:
            self._file = pq.ParquetFile(
                parquet_source(path), pre_buffer=False, page_checksum_verification=True
            )
        except (OSError, pa.ArrowException) as cause:
            raise _damaged(path, cause) from cause
        self._path = path
        self._columns = ["doc", *(c for c in columns if c != "doc")]
        self._batches = self._read()
        self._rest = pa.RecordBatch.from_pylist([], schema=self._empty_schema())

    def _empty_schema(self) -> pa.Schema:
        schema = self._file.schema_arrow
        return pa.schema([schema.field(c) for c in self._columns])

    def _read(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._file.iter_batches(_READ_ROWS, columns=self._columns, use_threads=False):
                yield batch.select(self._columns)
        except (OSError, pa.ArrowException) as cause:
            raise _damaged(self._path, cause) from cause

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """All remaining rows, a stretch at a time."""
        if self._rest.num_rows:
            yield self._rest
        yield from self._batches

    def take_until(self, doc: int) -> pa.RecordBatch:
        parts = [self._rest]
        while parts[-1].num_rows == 0 or parts[-1].column(0)[-1].as_py() <= doc:
            batch = next(self._batches, None)
            if batch is None:
                break
            parts.append(batch)
        held = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        end = int(np.searchsorted(doc_numbers(held), doc, side="right"))
        self._rest = held.slice(end)
        return held.slice(0, end)


def doc_numbers(record: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The `doc` column: int64[rows], a view."""
    return record.column("doc").to_numpy(zero_copy_only=True)


def _damaged(path: Path | Stretch, cause: Exception) -> Exception:
    return error(
        "R306",
        f"the overlay {path} cannot be read: {cause}",
        help="remove the file and run again: its unit will be computed again",
        file=str(path),
    )
