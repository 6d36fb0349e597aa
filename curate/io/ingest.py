"""Ingest: JSON Lines to Parquet, one file a shard, before anything reads the documents.

In: the files of one ingest unit, plain, gzip or zstd by their first bytes. Out: a Parquet file for each shard
of the unit, empty ones too, with `doc` and the columns of `jsonl_columns` (zstd level 1, row groups of about
32 MiB); equal input gives equal bytes. `set:` values are not stored: the reader adds them. Bad records are
numbered as all records are, handed to `quarantine` in the order of `doc`, and not written.

A unit with several shards is one giant file cut by stored position: shard i has the records that begin while
the reader is in the i-th part of the file.

One core does about 140 MB/s of uncompressed JSON with 3 KB documents: 300 to read it, 260 to write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.columns import DOC, ID, TEXT
from curate.core.errors import CurateError, error
from curate.core.manifest import InputSpec, Manifest, SourceFile, doc_id
from curate.core.store import create_binary, open_binary
from curate.io.json_records import BadLine, RecordReader, Records
from curate.io.lines import Run, read_runs
from curate.io.records import RAW_BYTES, BadRecord, made_ids
from curate.io.schema import jsonl_columns
from curate.io.text_blocks import read_blocks
from curate.io.unchanged import require_unchanged

#: A row group is closed when it has this much (all columns together).
ROW_GROUP_BYTES: Final = 32 * 1024 * 1024
#: A page is closed at the end of a batch: with Parquet's usual 1,024 rows it could be a gigabyte.
WRITE_BATCH_ROWS: Final = 64


@dataclass(frozen=True)
class IngestedShard:
    """records: all, bad ones included. good: written. bytes: of the file. text_bytes: of the good texts.

    file_starts: the shard's row at which each of the unit's files begins.
    """

    shard: int
    records: int
    good: int
    bytes: int
    text_bytes: int
    file_starts: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class IngestResult:
    """One entry per shard of the unit, in order."""

    shards: tuple[IngestedShard, ...]


def ingest_unit(
    manifest: Manifest,
    specs: Sequence[InputSpec],
    unit: int,
    targets: Mapping[int, str],
    *,
    quarantine: Callable[[BadRecord], None],
) -> IngestResult:
    """Writes the shards of a unit. targets: shard → where its file is written.

    Raises R301 if a file changed since it was planned; D401, after all records before the break, if a
    compressed file is damaged or cut short and its input says `on_error: fail`.
    """
    entry = manifest.ingest[unit]
    files = [manifest.files[index] for index in entry.files]
    spec = specs[files[0].input]
    columns = jsonl_columns(spec)
    schema = pa.schema([(DOC, pa.int64()), *columns.types.items()])
    reader = RecordReader(columns)
    done: list[IngestedShard] = []
    with contextlib.ExitStack() as open_files:

        def start() -> _ShardWriter:
            shard = entry.shards[len(done)]
            opened = _ShardWriter(shard, open_files.enter_context(create_binary(targets[shard])), schema)
            open_files.enter_context(opened.parquet)  # closed before its sink, whatever happens
            return opened

        writer = start()
        starts: list[int] = []
        for file in files:
            starts.append(writer.records)
            row = 0
            for run in _runs(file, len(entry.shards)):
                while run.share > len(done):
                    done.append(writer.close())
                    writer = start()
                if run.fault:
                    if run.torn and spec.on_error == "fail":
                        raise _torn(file, run)
                    records = Records(
                        {}, np.zeros(0, np.int64), [BadLine(0, 0, 0, run.data[:RAW_BYTES], run.fault)], 1
                    )
                else:
                    records = reader.read(run)
                for bad in records.bad:
                    doc = doc_id(writer.shard, writer.records + bad.record)
                    place = f"line {run.line + bad.line}, byte {run.byte + bad.byte}"
                    quarantine(BadRecord(doc, row + bad.record, file.path, place, bad.reason, bad.raw))
                writer.add(records, made_ids(file.path, row + records.numbers))
                row += records.count
        done.append(writer.close())
        while len(done) < len(entry.shards):
            done.append(start().close())
    if len(files) > 1:  # then they share one shard
        done = [replace(done[0], file_starts=tuple(starts))]
    return IngestResult(tuple(done))


def _runs(file: SourceFile, shares: int) -> Iterator[Run]:
    if file.bad is not None:
        yield Run(b"", 0, 1, 0, file.bad)
        return
    require_unchanged(file)
    with open_binary(file.location) as opened:
        yield from read_runs(read_blocks(opened), lambda position: position * shares // file.size)


def _torn(file: SourceFile, run: Run) -> CurateError:
    return error(
        "D401",
        f"{file.path} cannot be read beyond line {run.line}: {run.fault}",
        help="fetch the file again, or set `on_error: quarantine` to go on with what can be read",
        exit_code=1,
        file=file.path,
        row=run.line,
    )


class _ShardWriter:
    """One shard's Parquet file, written a row group at a time."""

    def __init__(self, shard: int, sink: BinaryIO, schema: pa.Schema) -> None:
        self.shard = shard
        self.schema = schema
        self.sink = sink
        self.parquet = pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=[DOC],
            write_batch_size=WRITE_BATCH_ROWS,
            write_page_checksum=True,
        )
        self.waiting: list[pa.RecordBatch] = []
        self.records = self.good = self.text_bytes = self.size = 0

    def add(self, records: Records, ids: pa.Array) -> None:
        """The next records of the shard. ids: what they are called if they have no id of their own."""
        if len(records.numbers):
            arrays = records.columns | {DOC: pa.array(doc_id(self.shard, self.records) + records.numbers)}
            if arrays[ID].null_count:
                arrays[ID] = pc.coalesce(arrays[ID], ids)
            batch = pa.RecordBatch.from_arrays(
                [arrays[name] for name in self.schema.names], schema=self.schema
            )
            self.waiting.append(batch)
            self.good += batch.num_rows
            self.text_bytes += pc.sum(pc.binary_length(arrays[TEXT])).as_py() or 0
            self.size += batch.nbytes
        self.records += records.count
        if self.size >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> IngestedShard:
        self._flush()
        self.parquet.close()
        size = self.sink.tell()
        self.sink.close()
        return IngestedShard(self.shard, self.records, self.good, size, self.text_bytes)

    def _flush(self) -> None:
        if self.waiting:
            table = pa.Table.from_batches(self.waiting).combine_chunks()
            self.parquet.write_table(table, row_group_size=table.num_rows)
            self.waiting, self.size = [], 0
