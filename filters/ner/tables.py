"""Tables of annotated texts, looked at before anything is made of them: what columns they have, and that every place in
them lies in its text.

In: Parquet files with `text` and lists of structs with `start` and `end`, in code points: what `curate ner import` wrote,
what a run published, or somebody's own. Out: the tables, or the first fault with its file and row:

    D401   no Parquet file, or none there
    D402   a column or a field that is needed is missing
    D403   a column is of another type
    D410   a null where none may be; a start or an end that is null, or not 0 <= start < end <= length of the text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.errors import CurateError, error
from filters.ner.gold import SENTENCES_FILE

_PLACE: Final = ("start", "end")
_COUNTED: Final = "offsets count code points of the text, from 0, end excluded"


def files_of(path: Path, help: str) -> list[Path]:
    """The file of an import, the Parquet files of a folder by name, or the file itself. D401 if there are none."""
    if not path.is_dir():
        return [path]
    single = path / SENTENCES_FILE
    files = [single] if single.is_file() else sorted(path.rglob("*.parquet"))
    if not files:
        raise error("D401", f"there are no Parquet files in {path}", help=help)
    return files


def read(file: Path, columns: Sequence[str], help: str) -> pa.Table:
    """A file that has these columns, with all that it has. D401, D402."""
    try:
        table = pq.ParquetFile(file).read()
    except (pa.ArrowInvalid, FileNotFoundError) as cause:
        raise error("D401", f"{file} cannot be read as Parquet: {cause}", help=help) from cause
    missing = sorted({*columns} - set(table.column_names))
    if missing:
        raise error("D402", f"{file} has no column '{missing[0]}'", help=help)
    return table


def check(table: pa.Table, file: Path, lists: Mapping[str, Sequence[str]], full: Sequence[str] = ()) -> None:
    """D402, D403 or D410 unless the table is as the story says.

    lists: columns of places, those that there are, each with the fields that its structs have beside `start` and `end`.
    full: columns that are never null.
    """
    kind = table.schema.field("text").type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise error("D403", f"'text' of {file} is {kind}, no string", help="write it as a string")
    present = {name: fields for name, fields in lists.items() if name in table.column_names}
    for name, fields in present.items():
        _check_type(table.schema.field(name).type, name, fields, file)
    first = 0
    for batch in table.to_batches():
        for name in ("text", *full):
            row = _first(batch[name].is_null())
            if row is not None:
                raise _fault(file, first + row, f"'{name}' is null", help="leave the row out, or fill it")
        for name in present:
            _check_places(batch, name, file, first)
        first += batch.num_rows


def joined(found: Sequence[pa.Table], path: Path, help: str) -> pa.Table:
    """The tables of a folder's files, one behind the other; a column that a file lacks is null in it. D403."""
    try:
        return pa.concat_tables(found, promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as cause:
        raise error("D403", f"the files in {path} differ in their columns: {cause}", help=help) from cause


def _check_type(kind: pa.DataType, name: str, fields: Sequence[str], file: Path) -> None:
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    if inner is None or not pa.types.is_struct(inner):
        help = "make it list<struct<start, end, …>>"
        raise error("D403", f"'{name}' of {file} is {kind}, no list of structs", help=help)
    types = {field.name: field.type for field in inner}
    lacking = sorted({*_PLACE, *fields} - set(types))
    if lacking:
        help = f"the fields that are needed: {', '.join((*_PLACE, *fields))}"
        raise error("D402", f"'{name}' of {file} has no field '{lacking[0]}'", help=help)
    for place in _PLACE:
        if not pa.types.is_integer(types[place]):
            raise error(
                "D403", f"'{place}' in '{name}' of {file} is {types[place]}, no integer", help=_COUNTED
            )


def _check_places(batch: pa.RecordBatch, name: str, file: Path, first: int) -> None:
    rows = pc.list_parent_indices(batch[name])
    items = pc.list_flatten(batch[name])
    start, end = (pc.struct_field(items, place).cast(pa.int64()) for place in _PLACE)
    length = pc.utf8_length(batch["text"]).cast(pa.int64()).take(rows)
    within = pc.and_(pc.and_(pc.greater_equal(start, 0), pc.less(start, end)), pc.less_equal(end, length))
    at = _first(pc.invert(within.fill_null(False)))
    if at is not None:
        place = f"{start[at].as_py()} … {end[at].as_py()}"
        row = first + rows[at].as_py()
        raise _fault(file, row, f"{place} in '{name}' is not within its text", help=_COUNTED)


def _first(mask: pa.BooleanArray) -> int | None:
    """Where the first true is."""
    found = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
    return int(found[0]) if len(found) else None


def _fault(file: Path, row: int, what: str, *, help: str) -> CurateError:
    return error("D410", f"{file}, row {row}: {what}", help=help)
