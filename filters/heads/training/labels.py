"""Texts with labels: Parquet and JSON Lines in, columns out.

    texts       string[n]    not blank; equal texts stay, and are put into one fold
    columns     name → float64[n], nan where there is no label
    languages   string[n], or None

Files are read whole: labels are made for thousands of texts, or some hundred thousand.
"""

from __future__ import annotations

import glob
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.errors import CurateError, error

Float64s = npt.NDArray[np.float64]
_PARQUET: Final = (".parquet", ".pq")
_LINES: Final = (".jsonl", ".json", ".ndjson")


@dataclass(frozen=True)
class Labels:
    """What was read. blank: texts that were left out because there was nothing in them."""

    texts: pa.StringArray
    columns: dict[str, Float64s]
    languages: pa.StringArray | None
    blank: int = 0

    def take(self, rows: npt.NDArray[Any]) -> Labels:
        """Some of the rows: numbers, or a mask."""
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Labels(
            self.texts.take(pa.array(at)),
            {name: values[at] for name, values in self.columns.items()},
            self.languages.take(pa.array(at)) if self.languages is not None else None,
            self.blank,
        )

    def groups(self) -> npt.NDArray[np.int64]:
        """int64[n]: a number for each different text, in the order in which they come."""
        return self.texts.dictionary_encode().indices.to_numpy().astype(np.int64)


def label_files(path: str) -> list[Path]:
    """The files of a path: itself, those in the folder, or those that the pattern matches. D401 if there are none."""
    here = Path(path).expanduser()
    if here.is_dir():
        found = [p for p in sorted(here.rglob("*")) if p.is_file() and not p.name.startswith((".", "_"))]
        found = [p for p in found if _plain(p).suffix in (*_PARQUET, *_LINES)]
    else:
        found = [Path(p) for p in sorted(glob.glob(str(here), recursive=True)) if Path(p).is_file()]
    if not found:
        raise error("D401", f"there are no labels at {path}", help="give a file, a folder or a pattern")
    return found


def read_labels(path: str, *, text: str, columns: Sequence[str] | None, language: str | None) -> Labels:
    """columns: names of the labels; None: every column of numbers whose name ends in `score`.

    D401 a file that cannot be read, D402 a column that is not there, D403 one that is no number.
    """
    parts = [_read(file, text, columns, language) for file in label_files(path)]
    return together(parts)


def together(parts: Sequence[Labels]) -> Labels:
    """All rows; a column that one part lacks is nan there."""
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    columns = {
        name: np.concatenate([p.columns.get(name, np.full(len(p.texts), np.nan)) for p in parts])
        for name in names
    }
    languages = None
    if any(part.languages is not None for part in parts):
        languages = pa.concat_arrays(
            [p.languages if p.languages is not None else pa.nulls(len(p.texts), pa.string()) for p in parts]
        )
    texts = pa.concat_arrays([part.texts for part in parts])
    return Labels(texts, columns, languages, sum(part.blank for part in parts))


def _read(file: Path, text: str, columns: Sequence[str] | None, language: str | None) -> Labels:
    table = _table(file)
    if columns is None:
        columns = [f.name for f in table.schema if f.name.endswith("score") and _is_number(f.type)]
    if not columns:
        raise error("D402", f"{file} has no column of scores", help=_has(table), file=str(file))
    for name in [text, *columns, *([language] if language is not None else [])]:
        if name not in table.column_names:
            raise error("D402", f"{file} has no column '{name}'", help=_has(table), file=str(file))
    texts = _strings(table, text, file)
    some = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    return Labels(
        texts.filter(some),
        {name: _numbers(table, name, file)[some.to_numpy(zero_copy_only=False)] for name in columns},
        _strings(table, language, file).filter(some) if language is not None else None,
        len(texts) - int(pc.sum(some).as_py() or 0),
    )


def _has(table: pa.Table) -> str:
    return f"name one that it has: {', '.join(table.column_names[:20])}"


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _strings(table: pa.Table, name: str, file: Path) -> pa.StringArray:
    column = table.column(name)
    if not (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_null(column.type)
    ):
        raise error(
            "D403", f"{file}: '{name}' is {column.type}, no text", help="name another column", file=str(file)
        )
    return pa.concat_arrays(column.cast(pa.string()).chunks or [pa.array([], pa.string())])


def _numbers(table: pa.Table, name: str, file: Path) -> Float64s:
    """float64[rows], nan for null and what is not finite."""
    column = table.column(name)
    if not (_is_number(column.type) or pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
        raise error(
            "D403",
            f"{file}: '{name}' is {column.type}, no number",
            help="name another column",
            file=str(file),
        )
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values = np.array(column.cast(pa.float64()).to_numpy(), np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _plain(file: Path) -> Path:
    return file.with_suffix("") if file.suffix in (".gz", ".zst") else file


def _table(file: Path) -> pa.Table:
    try:
        if file.suffix in _PARQUET:
            return pq.ParquetFile(file).read()
        if _plain(file).suffix in _LINES:
            return _json_lines(file)
    except (OSError, EOFError, pa.ArrowException) as cause:
        raise _unreadable(file, str(cause)) from cause
    raise _unreadable(file, "it is neither Parquet nor JSON Lines by its name")


def _json_lines(file: Path) -> pa.Table:
    import msgspec
    import zstandard

    data = file.read_bytes()
    try:
        if file.suffix == ".zst":
            data = (
                zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
            )
        elif file.suffix == ".gz":
            data = gzip.decompress(data)
    except zstandard.ZstdError as cause:
        raise _unreadable(file, str(cause)) from cause
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as cause:
            raise _unreadable(file, f"line {number}: {cause}") from cause
        if not isinstance(row, dict):
            raise _unreadable(file, f"line {number} is no JSON object")
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    """Values of one kind; others than text and numbers only say that they are there."""
    for kind in (pa.string(), pa.float64()):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, OverflowError):
            continue
    return pa.array([None if v is None else [0] for v in values], pa.list_(pa.int8()))


def _unreadable(file: Path, why: str) -> CurateError:
    return error(
        "D401", f"{file} cannot be read: {why}", help="correct the file, or leave it out", file=str(file)
    )
