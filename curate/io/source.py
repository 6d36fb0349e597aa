"""The one reader of documents: a shard in, record batches out, ready for the steps.

A batch has `doc: int64`, and of `id`, `text` and the other columns of `source_schema` those that are asked
for, rows in ascending order of `doc`. It is at most about 8 MiB, or one document. Rows that are no documents
(invalid UTF-8 in any column, a value that does not convert, a page that cannot be decoded) are not in it:
they come beside it as `BadRecord`s, with their own `doc`, so that the books balance.

A row is judged once, in the first pass (`validate=True`), on all columns: otherwise two passes over different
columns would see different rows. Later passes leave those rows in, and the runner leaves them out by the
first pass's verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import DOC, ID
from curate.core.errors import CurateError, error
from curate.core.manifest import InputSpec, Manifest, Shard, SourceFile, doc_id
from curate.core.packs import Stretch
from curate.core.utf8 import first_invalid_byte, invalid_rows
from curate.io.parquet import Rows, Unreadable, read_facts, read_parquet
from curate.io.records import RAW_BYTES, BadRecord, made_ids
from curate.io.schema import parquet_columns, source_schema
from curate.io.unchanged import require_unchanged

__all__ = ["BadRecord", "SourceBatch", "read_shard", "source_schema"]


@dataclass(frozen=True)
class SourceBatch:
    """record: the good rows, ascending by doc. bad: the others of the same stretch, ascending by doc."""

    record: pa.RecordBatch
    bad: tuple[BadRecord, ...]


def read_shard(
    manifest: Manifest,
    specs: Sequence[InputSpec],
    shard: int,
    *,
    schema: pa.Schema,
    columns: frozenset[str] | None = None,
    ingested: str | Stretch | None = None,
    validate: bool = False,
) -> Iterator[SourceBatch]:
    """The documents of a shard.

    schema: of `source_schema`. columns: which of its columns to give (None: all), `doc` always. ingested:
    where the shard's ingested Parquet lies, for shards that have an ingest unit. validate: read and check all
    columns, whatever is asked for. Unreadable stretches come as bad records in every pass.

    Raises R301 if the file is not the one the manifest names, D401 if a stretch cannot be decoded and the
    input says `on_error: fail`.
    """
    names = [name for name in schema.names if name == DOC or columns is None or name in columns]
    wanted = pa.schema([schema.field(name) for name in names])
    entry = manifest.shards[shard]
    file = manifest.files[entry.files[0]]
    spec = specs[file.input]
    if entry.ingest is not None:
        if ingested is None:
            raise ValueError(f"shard {shard} is read from its ingested Parquet, whose location is missing")
        yield from _read_ingested(ingested, spec, wanted)
    elif file.bad is not None:
        bad = BadRecord(doc_id(shard, 0), 0, file.path, "whole file", file.bad, b"")
        yield SourceBatch(pa.RecordBatch.from_pylist([], wanted), (bad,))
    else:
        require_unchanged(file)
        yield from _read_parquet_shard(file, entry, spec, wanted, schema if validate else None)


def _read_ingested(location: str | Stretch, spec: InputSpec, wanted: pa.Schema) -> Iterator[SourceBatch]:
    facts = read_facts(location)
    fields = {name: name for name in facts.schema.names if name not in spec.constants}
    reading = _Reading(spec, fields, "")
    for rows in read_parquet(location, range(len(facts.row_groups)), reading.fields(wanted.names)):
        if isinstance(rows, Unreadable):
            raise error(
                "D401",
                f"the ingested file {location} cannot be read: {rows.reason}",
                help="remove it and run again",
                exit_code=1,
                file=str(location),
            )
        arrays = [reading.column(field, rows)[0] for field in wanted]
        yield SourceBatch(pa.RecordBatch.from_arrays(arrays, schema=wanted), ())


def _read_parquet_shard(
    file: SourceFile, entry: Shard, spec: InputSpec, wanted: pa.Schema, judged: pa.Schema | None
) -> Iterator[SourceBatch]:
    """judged: the columns that every row is judged by; None: no row is judged."""
    assert entry.row_groups is not None
    reading = _Reading(spec, parquet_columns(read_facts(file.location).schema, spec).fields, file.path)
    groups, needed = range(*entry.row_groups), judged or wanted
    for rows in read_parquet(file.location, groups, reading.fields(needed.names), first_row=entry.first_row):
        base = doc_id(entry.number, rows.first_row - entry.first_row)
        if isinstance(rows, Unreadable):
            if spec.on_error == "fail":
                raise _undecodable(file, rows)
            bad = dict.fromkeys(range(rows.rows), (rows.reason, b""))
            record = pa.RecordBatch.from_pylist([], wanted)
        else:
            record, bad = _convert(rows, base, reading, wanted, judged)
        places = ((base + row, rows.first_row + row, *fault) for row, fault in sorted(bad.items()))
        yield SourceBatch(
            record,
            tuple(BadRecord(doc, row, file.path, f"row {row}", why, raw) for doc, row, why, raw in places),
        )


def _convert(
    rows: Rows, base: int, reading: _Reading, wanted: pa.Schema, judged: pa.Schema | None
) -> tuple[pa.RecordBatch, dict[int, tuple[str, bytes]]]:
    """The wanted columns of the good rows; the others by row, with the reason and the raw value."""
    arrays: dict[str, pa.Array] = {
        DOC: pa.array(np.arange(base, base + rows.record.num_rows, dtype=np.int64))
    }
    bad: dict[int, tuple[str, bytes]] = {}
    for field in judged or wanted:
        if field.name == DOC:
            continue
        arrays[field.name], failed = reading.column(field, rows)
        if judged is not None:
            for row in failed:
                bad.setdefault(row, reading.fault(field, rows, row))
            _find_invalid(field.name, arrays[field.name], bad)
    record = pa.RecordBatch.from_arrays([arrays[name] for name in wanted.names], schema=wanted)
    if bad:
        good = np.ones(record.num_rows, np.bool_)
        good[list(bad)] = False
        record = record.filter(pa.array(good))
    return record, bad


def _undecodable(file: SourceFile, rows: Unreadable) -> CurateError:
    return error(
        "D401",
        f"{file.path}: {rows.rows} rows from row {rows.first_row} on cannot be read: {rows.reason}",
        help="write the file again, or set `on_error: quarantine` to go on without these rows",
        exit_code=1,
        file=file.path,
        row=rows.first_row,
        row_group=rows.row_group,
    )


@dataclass(frozen=True)
class _Reading:
    """How one file's columns are turned into global ones. sources: global name → the file's field."""

    spec: InputSpec
    sources: Mapping[str, str]
    path: str

    def fields(self, names: Sequence[str]) -> list[str]:
        """The file's fields behind these global columns."""
        return list(dict.fromkeys(self.sources[name] for name in names if name in self.sources))

    def column(self, field: pa.Field, rows: Rows) -> tuple[pa.Array, list[int]]:
        """The global column of these rows, and the rows whose value does not convert (null there)."""
        count = rows.record.num_rows
        if field.name in self.spec.constants:
            return pa.repeat(pa.scalar(self.spec.constants[field.name]).cast(field.type), count), []
        failed: list[int] = []
        if field.name in self.sources:
            array, failed = _cast(rows.record.column(self.sources[field.name]), field.type)
        else:
            array = pa.nulls(count, field.type)
        if field.name == ID and array.null_count:
            numbers = np.arange(rows.first_row, rows.first_row + count)
            array = pc.coalesce(array, made_ids(self.path, numbers))
        if field.name == "source" and array.null_count and self.spec.name is not None:
            array = pc.fill_null(array, self.spec.name)
        return array, failed

    def fault(self, field: pa.Field, rows: Rows, row: int) -> tuple[str, bytes]:
        """Why a value did not convert, and the value."""
        value = rows.record.column(self.sources[field.name])[row]
        raw = value.as_buffer().to_pybytes() if hasattr(value, "as_buffer") else str(value).encode()
        reason = f"column {self.sources[field.name]!r} does not convert from {value.type} to {field.type}"
        return reason, raw[:RAW_BYTES]


def _cast(array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The array as `kind`. Rows that do not convert are null and listed; UTF-8 is not checked here."""
    if array.type.equals(kind, check_metadata=True):
        return array, []
    options = pc.CastOptions(target_type=kind, allow_invalid_utf8=True)
    try:
        return array.cast(options=options), []
    except pa.ArrowInvalid:
        if len(array) == 1:
            return pa.nulls(1, kind), [0]
    middle = len(array) // 2
    left, left_failed = _cast(array.slice(0, middle), kind)
    right, right_failed = _cast(array.slice(middle), kind)
    return pa.concat_arrays([left, right]), left_failed + [middle + row for row in right_failed]


def _find_invalid(name: str, array: pa.Array, bad: dict[int, tuple[str, bytes]]) -> None:
    rows: npt.NDArray[np.bool_] | None = invalid_rows(array)
    for row in np.flatnonzero(rows) if rows is not None else ():
        raw = b""
        reason = f"invalid UTF-8 in column {name!r}"
        if pa.types.is_string(array.type):
            raw = array[int(row)].as_buffer().to_pybytes()
            reason += f" at byte {first_invalid_byte(raw)}"
        bad.setdefault(int(row), (reason, raw[:RAW_BYTES]))
