"""Inputs in the small: specs, Parquet files and the whole way from paths to rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.manifest import ColumnSpec, InputSpec, Manifest
from curate.io.ingest import IngestResult, ingest_unit
from curate.io.listing import build_manifest
from curate.io.records import BadRecord
from curate.io.schema import source_schema
from curate.io.source import SourceBatch, read_shard


def input_spec(*paths: Path | str, **changes: Any) -> InputSpec:
    """An input with these paths; `columns` may be `{"text": "body"}` or hold `(field, type)`."""
    columns = {
        name: ColumnSpec(*column) if isinstance(column, tuple) else ColumnSpec(column)
        for name, column in changes.pop("columns", {}).items()
    }
    given = {"name": None, "list_file": None, "format": None, "constants": {}, "on_error": "fail"} | changes
    return InputSpec(paths=tuple(str(path) for path in paths), columns=columns, **given)


def write_parquet(path: Path, columns: dict[str, Any] | pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return path


def plan(*specs: InputSpec, previous: Manifest | None = None, update: bool = False) -> Manifest:
    return build_manifest(specs, previous=previous, update=update)


class Read:
    """Everything an input gives: rows as dictionaries, bad records, and the batches as they came."""

    def __init__(
        self, folder: Path, specs: tuple[InputSpec, ...], manifest: Manifest, **options: Any
    ) -> None:
        self.manifest = manifest
        self.schema = source_schema(manifest, specs)
        self.bad: list[BadRecord] = []
        self.ingested: list[IngestResult] = []
        self.batches: list[SourceBatch] = []
        for unit in manifest.ingest:
            targets = {shard: str(folder / f"{shard}.parquet") for shard in unit.shards}
            self.ingested.append(
                ingest_unit(manifest, specs, unit.number, targets, quarantine=self.bad.append)
            )
        for shard in manifest.shards:
            ingested = str(folder / f"{shard.number}.parquet") if shard.ingest is not None else None
            options = {"validate": True} | options
            self.batches += read_shard(
                manifest, specs, shard.number, schema=self.schema, ingested=ingested, **options
            )
        self.bad += [bad for batch in self.batches for bad in batch.bad]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.record.to_pylist()]

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]
