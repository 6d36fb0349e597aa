"""Files cut into shards of about 256 MB, numbered once.

Parquet    runs of row groups of one file, greedily up to `SHARD_BYTES` by their uncompressed size;
           a file without rows has one empty shard, a `bad` file one shard of one bad record
JSONL      small files of one input packed in order into one shard; a file estimated at more than
           `SHARD_BYTES` alone into as many as that takes; compressed files count four times
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from curate.core.errors import CurateError
from curate.core.manifest import SHARD_BYTES, IngestUnit, InputSpec, Manifest, Shard, SourceFile
from curate.core.store import each, open_binary
from curate.io.parquet import ParquetFacts, read_facts
from curate.io.storage import magic

#: Text to compressed text, about, for gzip and zstd at usual levels.
PACKED_RATIO: Final = 4


def cut(known: Manifest, new: list[SourceFile], specs: Sequence[InputSpec]) -> Manifest:
    """`known` with new files appended, in shards and ingest units of their own."""
    facts = each(lambda file: _facts(file, specs[file.input]), new)
    files, shards, units = list(known.files), list(known.shards), list(known.ingest)
    pending: list[int] = []  # small JSONL files of one input
    pending_bytes = 0

    def flush() -> None:
        nonlocal pending, pending_bytes
        if pending:
            _append_unit(shards, units, tuple(pending), [pending_bytes])
            pending, pending_bytes = [], 0

    for file, fact in zip(new, facts, strict=True):
        index = len(files)
        if isinstance(fact, ParquetFacts):
            files.append(replace(file, rows=fact.rows))
            shards += _parquet_shards(len(shards), index, fact)
        elif isinstance(fact, str):
            files.append(replace(file, bad=fact, rows=1))
            shards.append(Shard(len(shards), (index,), (0, 0), 0, 1, 0))
        elif fact > SHARD_BYTES:
            files.append(file)
            count = -(-fact // SHARD_BYTES)
            _append_unit(shards, units, (index,), [fact // count] * count)
        else:
            if pending and (files[pending[0]].input != file.input or pending_bytes + fact > SHARD_BYTES):
                flush()
            files.append(file)
            pending.append(index)
            pending_bytes += fact
    flush()
    return Manifest(tuple(files), tuple(shards), tuple(units))


def _facts(file: SourceFile, spec: InputSpec) -> ParquetFacts | str | int:
    """Parquet: its facts, or why it is bad. JSONL: its estimated uncompressed size."""
    if file.format == "jsonl":
        with open_binary(file.location) as opened:
            packed = magic(opened.read(4)) in ("gzip", "zstd")
        return file.size * (PACKED_RATIO if packed else 1)
    try:
        return read_facts(file.location)
    except CurateError as fault:
        if spec.on_error == "fail":
            raise
        return fault.problems[0].message


def _parquet_shards(number: int, file: int, facts: ParquetFacts) -> list[Shard]:
    shards: list[Shard] = []
    start = first_row = rows = size = 0
    for group, (group_rows, group_size) in enumerate(facts.row_groups):
        if group > start and size + group_size > SHARD_BYTES:
            shards.append(Shard(number + len(shards), (file,), (start, group), first_row, rows, size))
            start, first_row, rows, size = group, first_row + rows, 0, 0
        rows += group_rows
        size += group_size
    shards.append(Shard(number + len(shards), (file,), (start, len(facts.row_groups)), first_row, rows, size))
    return shards


def _append_unit(
    shards: list[Shard], units: list[IngestUnit], files: tuple[int, ...], sizes: list[int]
) -> None:
    """One ingest unit that writes as many shards as there are sizes."""
    first = len(shards)
    shards += [
        Shard(first + i, files, None, 0, None, size, ingest=len(units)) for i, size in enumerate(sizes)
    ]
    units.append(IngestUnit(len(units), files, tuple(range(first, first + len(sizes)))))
