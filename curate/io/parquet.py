"""Parquet files: what the footer says, and rows in batches bounded by the batch, not by the row group.

Row groups of 1 GB are common, and the usual reader holds one whole (0.8 to 2.9 GB for 1.3 GB of text). Here a
row group is decoded `rows_at_a_time` rows at a step, from a small buffer a column, and the steps are joined
to batches of about 8 MiB, the last ones of half that. A document larger than that is a batch by itself.

The step depends on the row group alone, not on the columns asked for, so a page that cannot be read costs the
same rows whichever columns a pass reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import CurateError, error
from curate.core.packs import Stretch, StretchFile
from curate.core.store import is_url, open_binary, shown
from curate.io.storage import magic

#: A batch is closed before it grows beyond this (all columns together). 16 MiB took as much CPU, and at the end of a shard
#: threads waited longer for the last one.
BATCH_BYTES: Final = 8 * 1024 * 1024
#: Batches of which less than so many whole ones are left are half as large, so that threads end at nearly the same time.
LAST_BATCHES: Final = 4
#: A batch of short rows is closed here.
BATCH_ROWS: Final = 65_536
#: Rows decoded in one step: 64, fewer if they are large, more if they are tiny.
STEP_ROWS: Final = 64
STEP_BYTES: Final = 4 * 1024 * 1024
SMALL_STEP_ROWS: Final = 1024
SMALL_STEP_BYTES: Final = 512 * 1024
#: Read buffer of a column. A request to a store costs more than a read from a disk.
BUFFER_BYTES: Final = 256 * 1024
URL_BUFFER_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class ParquetFacts:
    """What a footer says. row_groups: (rows, uncompressed bytes) of each."""

    rows: int
    row_groups: tuple[tuple[int, int], ...]
    schema: pa.Schema


@dataclass(frozen=True)
class Unreadable:
    """Rows of a row group that could not be decoded: `rows` of them from `first_row` of the file on."""

    first_row: int
    rows: int
    row_group: int
    reason: str


@dataclass(frozen=True)
class Rows:
    """Rows `first_row`, `first_row + 1`, … of the file."""

    first_row: int
    record: pa.RecordBatch


def read_facts(location: str | Stretch) -> ParquetFacts:
    """The footer of a Parquet file. D401 with the reason if it is none, is cut short, empty or encrypted."""
    with _opened(location) as file:
        parquet = _open(str(location), file)
        metadata = parquet.metadata
        groups = tuple(
            (metadata.row_group(i).num_rows, metadata.row_group(i).total_byte_size)
            for i in range(metadata.num_row_groups)
        )
        schema = parquet.schema_arrow
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise _refuse(str(location), f"two columns are called {repeated[0]!r}")
    return ParquetFacts(sum(rows for rows, _ in groups), groups, schema)


def read_parquet(
    location: str | Stretch, row_groups: range, columns: Sequence[str] | None, *, first_row: int = 0
) -> Iterator[Rows | Unreadable]:
    """The rows of some row groups, in order, in batches of at most about 8 MiB and 65,536 rows, the last ones smaller.

    columns: top-level names, None for all; an empty list gives batches without columns that still count rows.
    first_row: number of the first row of `row_groups`. A stretch of a row group that cannot be decoded comes
    as `Unreadable` in its place. Dictionary columns come decoded, all others in the file's own types.
    """
    with _opened(location) as file:
        parquet = _open(str(location), file)
        groups = [parquet.metadata.row_group(group) for group in row_groups]
        size = sum(group.total_byte_size for group in groups)
        last = first_row + sum(group.num_rows for group in groups)
        large = last - int((last - first_row) * LAST_BATCHES * BATCH_BYTES / max(size, 1))
        yield from _join(_steps(parquet, row_groups, columns, first_row), large)


def _opened(location: str | Stretch) -> BinaryIO:
    return cast(BinaryIO, StretchFile(location)) if isinstance(location, Stretch) else open_binary(location)


def _open(location: str, file: Any) -> pq.ParquetFile:
    buffer = URL_BUFFER_BYTES if is_url(location) else BUFFER_BYTES
    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=buffer, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise _refuse(location, _reason(file, fault)) from fault


def _refuse(location: str, reason: str) -> CurateError:
    name = shown(location)
    return error(
        "D401",
        f"{name} cannot be read as Parquet: {reason}",
        help="write the file again, or take it out of the input; `on_error: quarantine` goes on without it",
        file=name,
    )


def _reason(file: Any, fault: Exception) -> str:
    """Why a file is no Parquet file, from its own bytes where they tell more than Arrow's message."""
    size = file.seek(0, 2)
    if size == 0:
        return "it is empty (0 bytes)"
    file.seek(0)
    head = file.read(8)
    file.seek(max(size - 4, 0))
    tail = file.read(4)
    if tail == b"PARE" or "encrypted" in str(fault):
        return "it is encrypted"
    if magic(head) in ("gzip", "zstd"):
        return f"it is a {magic(head)} file"
    if magic(head) != "parquet":
        return f"it is no Parquet file (it begins with {head!r})"
    if tail != b"PAR1":
        return "it is cut short: it begins as Parquet and has no footer"
    return f"its footer is damaged ({_first_line(fault)})"


def _first_line(fault: Exception) -> str:
    return str(fault).strip().split("\n")[0]


def rows_at_a_time(rows: int, size: int) -> int:
    """Rows to decode in one step of a row group of `rows` rows and `size` uncompressed bytes."""
    mean = max(size / max(rows, 1), 1)
    return max(1, min(STEP_ROWS, int(STEP_BYTES / mean)), min(SMALL_STEP_ROWS, int(SMALL_STEP_BYTES / mean)))


def _steps(
    parquet: pq.ParquetFile, row_groups: range, columns: Sequence[str] | None, first_row: int
) -> Iterator[Rows | Unreadable]:
    """Small pieces of one row group after the other."""
    for group in row_groups:
        metadata = parquet.metadata.row_group(group)
        done, end = 0, metadata.num_rows
        step = rows_at_a_time(metadata.num_rows, metadata.total_byte_size)
        try:
            names = None if columns is None else list(columns)
            as_read = None
            for record in parquet.iter_batches(step, row_groups=[group], columns=names, use_threads=False):
                if as_read is None:
                    as_read = _as_asked(record.schema, names)
                if as_read:
                    yield Rows(first_row + done, record)
                else:
                    # Arrow reads `a.b` too where `a` is asked for.
                    asked = record if names is None else record.select(names)
                    yield Rows(first_row + done, _decode_dictionaries(asked))
                done += record.num_rows
            if done < end:
                yield Unreadable(
                    first_row + done, end - done, group, f"row group {group} ends after {done} of {end} rows"
                )
        except (pa.ArrowException, OSError) as fault:
            yield Unreadable(first_row + done, end - done, group, f"row group {group}: {_first_line(fault)}")
        first_row += end


def _as_asked(read: pa.Schema, names: list[str] | None) -> bool:
    """Whether what Arrow reads is what was asked for. To look at every small piece would cost as much as joining them."""
    dictionaries = any(pa.types.is_dictionary(field.type) for field in read)
    return not dictionaries and (names is None or read.names == names)


def _decode_dictionaries(record: pa.RecordBatch) -> pa.RecordBatch:
    for i, field in enumerate(record.schema):
        if pa.types.is_dictionary(field.type):
            record = record.set_column(i, field.name, record.column(i).cast(field.type.value_type))
    return record


def _join(pieces: Iterator[Rows | Unreadable], large: int) -> Iterator[Rows | Unreadable]:
    """Neighbouring pieces joined up to `BATCH_BYTES`, from row `large` on up to half of it; larger ones cut by rows."""
    waiting: list[Rows] = []
    size = rows = 0
    for piece in pieces:
        if isinstance(piece, Unreadable):
            yield from _joined(waiting)
            yield piece
            waiting, size, rows = [], 0, 0
            continue
        for part, weight in _halve(piece):
            count = part.record.num_rows
            most = BATCH_BYTES if waiting and waiting[0].first_row < large else BATCH_BYTES // 2
            if waiting and (size + weight > most or rows + count > BATCH_ROWS):
                yield from _joined(waiting)
                waiting, size, rows = [], 0, 0
            waiting.append(part)
            size += weight
            rows += count
    yield from _joined(waiting)


def _joined(parts: list[Rows]) -> Iterator[Rows]:
    if parts:
        yield Rows(parts[0].first_row, pa.concat_batches([part.record for part in parts]))


def _halve(piece: Rows) -> Iterator[tuple[Rows, int]]:
    """With the bytes of each."""
    count, size = piece.record.num_rows, piece.record.nbytes
    if count <= 1 or (size <= BATCH_BYTES and count <= BATCH_ROWS):
        yield piece, size
        return
    half = count // 2
    yield from _halve(Rows(piece.first_row, piece.record.slice(0, half)))
    yield from _halve(Rows(piece.first_row + half, piece.record.slice(half)))
