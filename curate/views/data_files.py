"""A data file or a folder of them, described: schema, rows, row groups, bytes of each column, and how it was
made.

Parquet is described from its footers alone. Of JSON Lines (plain, gzip, zstd) every line is counted, and the
keys are those of the first thousand records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.core.errors import error
from curate.core.store import open_binary
from curate.diagnostics import printable
from curate.io.lines import read_runs
from curate.io.storage import magic
from curate.io.text_blocks import read_blocks
from curate.views.report_view import WIDE, plural, share, size

#: Records of a JSON Lines file whose keys are looked at.
KEY_RECORDS: Final = 1_000

#: Schema metadata under which published files say how they were made.
PROVENANCE: Final = "curate"


def describe_data(path: Path) -> dict[str, Any]:
    """`path format files rows bytes row_groups columns curate`, or for JSON Lines `path format files rows
    bytes keys bad`.

    A folder is described as the Parquet files below it, hidden ones left out, by the schema of the first.
    D401 if nothing can be read.
    """
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*.parquet")) if not _hidden(p.relative_to(path))]
        if not files:
            raise error(
                "D401", f"{path} holds no Parquet file", help="give a file, or a folder of Parquet files"
            )
        return _describe_parquet(path, files)
    with open_binary(str(path)) as file:
        kind = magic(file.read(4))
    named = path.suffix in (".parquet", ".pq")
    return _describe_parquet(path, [path]) if kind == "parquet" or named else _describe_jsonl(path)


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _describe_parquet(path: Path, files: Sequence[Path]) -> dict[str, Any]:
    schema: pa.Schema | None = None
    rows = groups = 0
    largest = 0
    stored: dict[str, int] = {}
    plain: dict[str, int] = {}
    for file in files:
        metadata, found = _footer(file)
        schema = found if schema is None else schema
        rows += metadata.num_rows
        groups += metadata.num_row_groups
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            largest = max(largest, group.total_byte_size)
            for index in range(group.num_columns):
                column = group.column(index)
                name = column.path_in_schema.split(".")[0]
                stored[name] = stored.get(name, 0) + column.total_compressed_size
                plain[name] = plain.get(name, 0) + column.total_uncompressed_size
    assert schema is not None
    provenance = (schema.metadata or {}).get(PROVENANCE.encode())
    columns = [
        {
            "name": field.name,
            "type": str(field.type),
            "bytes": stored.get(field.name, 0),
            "uncompressed": plain.get(field.name, 0),
            "metadata": {
                k.decode(errors="replace"): v.decode(errors="replace")
                for k, v in (field.metadata or {}).items()
            },
        }
        for field in schema
    ]
    return {
        "path": str(path),
        "format": "parquet",
        "files": len(files),
        "rows": rows,
        "bytes": sum(f.stat().st_size for f in files),
        "row_groups": {"count": groups, "largest_bytes": largest},
        "columns": columns,
        "curate": json.loads(provenance) if provenance is not None else None,
    }


def _footer(file: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        found = pq.ParquetFile(file)
        return found.metadata, found.schema_arrow
    except (OSError, pa.ArrowException) as cause:
        raise error(
            "D401", f"{file} cannot be read: {cause}", help="write the file again", file=str(file)
        ) from cause


def _describe_jsonl(path: Path) -> dict[str, Any]:
    rows = looked = bad = 0
    keys: dict[str, dict[str, int]] = {}
    fault = ""
    with open_binary(str(path)) as file:
        for run in read_runs(read_blocks(file), lambda _: 0):
            fault = run.fault or fault
            lines = [line for line in run.data.split(b"\n") if line.strip()]
            rows += len(lines)
            for line in lines[: KEY_RECORDS - looked]:
                looked += 1
                bad += not _look_at(line, keys)
    return {
        "path": str(path),
        "format": "jsonl",
        "files": 1,
        "rows": rows,
        "bytes": path.stat().st_size,
        "looked_at": looked,
        "bad": bad,
        "fault": fault or None,
        "keys": keys,
    }


def _look_at(line: bytes, keys: dict[str, dict[str, int]]) -> bool:
    """Count the keys of one record by the type of their value; false if it is no JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(record, dict):
        return False
    for key, value in record.items():
        kind = "null" if value is None else type(value).__name__
        types = keys.setdefault(key, {})
        types[kind] = types.get(kind, 0) + 1
    return True


def show_data(facts: Mapping[str, Any], console: Console) -> None:
    """Print what `describe_data` found."""
    console.print(Text(printable(facts["path"]), style="bold"))
    files = f"{plural(facts['files'], 'file')}, {plural(facts['rows'], 'row')}"
    console.print(Text(f"{facts['format']}, {files}, {size(facts['bytes'])}"))
    if facts["format"] == "jsonl":
        _show_keys(facts, console)
        return
    groups = facts["row_groups"]
    console.print(
        Text(
            f"{plural(groups['count'], 'row group')}, the largest {size(groups['largest_bytes'])} uncompressed"
        )
    )
    total = sum(c["bytes"] for c in facts["columns"])
    headings = ("bytes", "share", "uncompressed") if console.width >= WIDE else ("bytes",)
    table = Table(box=None, pad_edge=False)
    table.add_column("column", overflow="fold")
    table.add_column("type", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for column in facts["columns"]:
        name, kind = Text(printable(column["name"])), Text(printable(column["type"]))
        numbers = (size(column["bytes"]), share(column["bytes"], total), size(column["uncompressed"]))
        table.add_row(name, kind, *numbers[: len(headings)])
    console.print(table)
    if facts["curate"] is not None:
        made = facts["curate"]
        console.print(
            Text(
                f"made by curate {made['curate']}: output {made['output']['name']} of {made['config']['name']}"
            )
        )
        console.print(Text("its config: curate inspect --json"))


def _show_keys(facts: Mapping[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("key", overflow="fold")
    table.add_column("types", overflow="fold")
    for key, types in facts["keys"].items():
        table.add_row(Text(printable(key)), ", ".join(f"{kind} {count:,}" for kind, count in types.items()))
    console.print(table)
    if facts["bad"]:
        console.print(Text(f"{facts['bad']:,} of the first {facts['looked_at']:,} lines are no JSON objects"))
    if facts["fault"]:
        console.print(Text(f"it cannot be read to its end: {facts['fault']}", style="red"))
