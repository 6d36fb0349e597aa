"""Mentions without a span, as one table: what teachers said that is not so, and why.

In: Parquet with a column of rejects (`filters.ner_merge`), as a run publishes it: one row a passage. Out: one row a mention:

    id         string   of the passage; null if it was not published
    language   string   null if it was not published
    teacher, mention, label   string
    start, end                int32    where the teacher said that it was; null if it gave a string
    reason                    string   (`filters.ner.ground`, `filters.ner.annotations`)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.errors import error

SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "language", "teacher", "mention", "label")),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("reason", pa.string()),
    ]
)
_NAME: Final = "rejects"
_HELP: Final = "publish the column `ner__rejects` of filters.ner_merge, as configs/ner.yaml does"


def read_rejects(path: Path) -> pa.Table:
    """The table, of a Parquet file or all in a folder. D401, D402."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise error("D401", f"there are no Parquet files in {path}", help=_HELP)
    return pa.concat_tables([_of_file(file) for file in files])


def _of_file(file: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(file).read()
    except (pa.ArrowInvalid, FileNotFoundError) as cause:
        raise error("D401", f"{file} cannot be read as Parquet: {cause}", help=_HELP) from cause
    name = next((n for n in table.column_names if n == _NAME or n.endswith(f"__{_NAME}")), None)
    if name is None:
        raise error("D402", f"{file} has no column '{_NAME}' or '…__{_NAME}'", help=_HELP)
    lists = table[name].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    rows = pa.array(np.repeat(np.arange(len(lists)), lengths))
    found = pc.list_flatten(lists)
    columns = []
    for field in SCHEMA:
        if field.name in ("id", "language"):
            whole = (
                table[field.name] if field.name in table.column_names else pa.nulls(len(table), pa.string())
            )
            columns.append(whole.take(rows).cast(field.type))
        else:
            columns.append(pc.struct_field(found, field.name).cast(field.type))
    return pa.table(columns, schema=SCHEMA)


def counts_of(table: pa.Table) -> list[tuple[str, str, str, int]]:
    """(teacher, reason, an example, how often), the commonest first."""
    groups = table.group_by(["teacher", "reason"]).aggregate([("mention", "count"), ("mention", "min")])
    rows = zip(*(groups[name].to_pylist() for name in groups.column_names), strict=True)
    found = [(teacher, reason, example or "", count) for teacher, reason, count, example in rows]
    return sorted(found, key=lambda row: (-row[3], row[0], row[1]))
