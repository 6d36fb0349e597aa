"""The quarantine: bad records of one unit as Parquet, with file, position and reason, written as they are met.

A gigabyte in the wrong encoding is a million bad records, so they are not held: a thousand at a time go to the file, which
exists only if there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.manifest import row_of, shard_of

#: raw: up to 4 KiB of the record as it stands in the file.
SCHEMA: Final = pa.schema(
    [
        pa.field("doc", pa.int64(), nullable=False),
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.binary()),
    ]
)
_HELD: Final = 1000


@dataclass
class BadRow:
    """A row for the quarantine. step: who says so; position: where in the file, if that is known."""

    doc: int
    step: str
    reason: str
    file: str = ""
    position: str = ""
    raw: bytes = b""


class Quarantine:
    """Writes bad rows in the order they are added, which is that of `doc`. Use as a context manager.

    file_of: gives the file of a document where the one who reports it does not know.
    """

    def __init__(self, path: Path, file_of: Callable[[int], str]) -> None:
        self.path = path
        self.rows = 0
        self._file_of = file_of
        self._held: list[BadRow] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: BadRow) -> None:
        self._held.append(row)
        self.rows += 1
        if len(self._held) >= _HELD:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self.path, SCHEMA, compression="zstd")
        rows = [
            {
                "doc": bad.doc,
                "shard": shard_of(bad.doc),
                "row": row_of(bad.doc),
                "file": bad.file or self._file_of(bad.doc),
                "position": bad.position or f"row {row_of(bad.doc)} of shard {shard_of(bad.doc)}",
                "step": bad.step,
                "reason": bad.reason,
                "raw": bad.raw,
            }
            for bad in self._held
        ]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        self._held = []

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()
