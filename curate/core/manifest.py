"""The manifest: which files a run reads, frozen when the run is first planned, and how they are cut into shards.

A document's identity is `doc = shard << 32 | row`, an int64 given once. `row` counts records of the shard, bad ones
included, so a quarantined record keeps its number. Shards are numbered here and never renumbered: `--update` keeps the
numbers of files it knows and appends the new ones.

    Parquet                      a shard is a run of row groups of about 256 MB (uncompressed) of one file
    JSONL (plain, .gz, .zst)     ingested to Parquet first: an ingest unit reads small files into one shard, or one
                                 giant file into several

`path` is the file's name below the fixed part of the input's pattern (`de/a.parquet` for `data/*/*.parquet`): it is what
ids, `file_path` and reports show, and it does not change when the data moves. `location` is where the file lies now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from curate.core.runs import even_runs

#: Runs of shards at most, of `Manifest.groups`.
GROUPS: Final = 500
#: Uncompressed bytes of a shard that the cutting aims at.
SHARD_BYTES: Final = 256 * 1024 * 1024
ROW_BITS: Final = 32

Format = Literal["parquet", "jsonl"]
OnError = Literal["fail", "quarantine"]


@dataclass(frozen=True)
class ColumnSpec:
    """Where a column comes from: `field` of the input, read as `type` (None: as it is)."""

    field: str
    type: str | None = None


@dataclass(frozen=True)
class InputSpec:
    """One `input:` entry, checked. `columns` maps global names to the input's own; `constants` are `set:` values."""

    name: str | None
    paths: tuple[str, ...]
    list_file: str | None
    format: Format | None
    columns: Mapping[str, ColumnSpec]
    constants: Mapping[str, str | int | float | bool]
    on_error: OnError


@dataclass(frozen=True)
class SourceFile:
    """One input file as it was when the manifest was frozen.

    stamp: mtime in ns or the store's etag. edges: SHA-256 of the first and last 64 KiB. rows: records, once known (Parquet).
    bad: why the file cannot be read at all (only with `on_error: quarantine`), else None.
    """

    input: int
    path: str
    location: str
    format: Format
    size: int
    stamp: str
    edges: str
    rows: int | None = None
    bad: str | None = None


@dataclass(frozen=True)
class Shard:
    """A unit of the streaming passes. files: indices into the manifest; row_groups: [first, last) of a Parquet file.

    first_row: the file's row number of the shard's first row (Parquet). bytes: uncompressed, estimated for JSONL.
    ingest: the ingest unit that writes it, or None when it is read in place.
    """

    number: int
    files: tuple[int, ...]
    row_groups: tuple[int, int] | None
    first_row: int
    rows: int | None
    bytes: int
    ingest: int | None = None


@dataclass(frozen=True)
class IngestUnit:
    """Files that one ingest task reads, in order, and the shards it writes (empty ones too)."""

    number: int
    files: tuple[int, ...]
    shards: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything a run reads. Equal manifests give equal bytes."""

    files: tuple[SourceFile, ...]
    shards: tuple[Shard, ...]
    ingest: tuple[IngestUnit, ...]

    def to_json(self) -> str:
        """A line for each file, shard and ingest unit: 100,000 of them are written in a second or two."""
        encode = json.JSONEncoder().encode
        parts = {"files": self.files, "shards": self.shards, "ingest": self.ingest}
        lines = {name: ",\n".join(f" {encode(vars(row))}" for row in rows) for name, rows in parts.items()}
        return "{" + ",\n".join(f'"{name}": [\n{text}\n]' for name, text in lines.items()) + "}\n"

    @staticmethod
    def from_json(text: str) -> Manifest:
        raw = json.loads(text)
        return Manifest(
            files=tuple(SourceFile(**f) for f in raw["files"]),
            shards=tuple(
                Shard(
                    **{
                        **s,
                        "files": tuple(s["files"]),
                        "row_groups": tuple(s["row_groups"]) if s["row_groups"] is not None else None,
                    }
                )
                for s in raw["shards"]
            ),
            ingest=tuple(
                IngestUnit(number=u["number"], files=tuple(u["files"]), shards=tuple(u["shards"]))
                for u in raw["ingest"]
            ),
        )

    @cached_property
    def groups(self) -> tuple[range, ...]:
        """Shards in at most `GROUPS` runs of about equal bytes: units of phases that need the whole corpus anyway, and whose
        files would be too many with one a shard.
        """
        if len(self.shards) <= GROUPS:
            return tuple(range(s.number, s.number + 1) for s in self.shards)
        return tuple(even_runs([s.bytes + 1 for s in self.shards], GROUPS))

    def shard_identity(self, number: int) -> str:
        """What decides a shard's content: its files' sizes and edges, and its rows; not where they lie. Hex digest."""
        shard = self.shards[number]
        parts: list[object] = [
            number,
            shard.row_groups,
            shard.first_row,
            shard.ingest is not None,
            [
                (f.input, f.path, f.format, f.size, f.edges, f.bad)
                for f in (self.files[i] for i in shard.files)
            ],
        ]
        if shard.ingest is not None:
            parts.append(self.ingest[shard.ingest].shards)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def doc_id(shard: int, row: int) -> int:
    """`shard << 32 | row`."""
    return shard << ROW_BITS | row


def shard_of(doc: int) -> int:
    return doc >> ROW_BITS


def row_of(doc: int) -> int:
    return doc & ((1 << ROW_BITS) - 1)
