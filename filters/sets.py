"""Test sets: the texts that no document of a corpus may share passages with, and the languages they are in.

Sets are Parquet files or JSON Lines (plain, .gz, .zst) with a column of texts, or folders: of `curate ner import`, or of
Parquet files. `splits` takes only rows whose `split` is one of them: an import holds the training part of a corpus too.
Out, per file of a set, a batch of a row a text:

    doc        int64     its number in the file, texts that are null left out
    text       string
    language   string    as the file writes it; null where it has none. `in_our_codes` makes it ours: `eng_Latn` of `en`
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.core.errors import error
from curate.core.languages import canonical, is_language, suggest

#: The column of a set that says which language a text is in.
LANGUAGE: Final = "language"
#: The file of an import that holds its texts.
_SENTENCES: Final = "sentences.parquet"
#: Letters of a script's code, by which it is told from a country's.
_SCRIPT: Final = 4


def set_files(sets: Sequence[str]) -> list[tuple[str, Path]]:
    """(name, file) of every file of the sets; `$VAR` and `~` are expanded. D401 if there is none."""
    found: list[tuple[str, Path]] = []
    for place in sets:
        path = Path(os.path.expandvars(place)).expanduser()
        files = [path]
        if path.is_dir():
            files = [path / _SENTENCES] if (path / _SENTENCES).is_file() else sorted(path.glob("*.parquet"))
        if not files or not files[0].is_file():
            raise error(
                "D401", f"there is no test set at {path}", help="correct `sets` of filters.decontaminate"
            )
        found += [(path.name if len(files) == 1 else f"{path.name}/{file.name}", file) for file in files]
    return found


def read_texts(file: Path, column: str, splits: Sequence[str] | None) -> pa.RecordBatch:
    """`text` and `language` (null where the file has none) of a set's rows. D401, D402, D403."""
    wanted = [column] if splits is None else [column, "split"]
    rows = _parquet(file, wanted) if file.suffix == ".parquet" else _json_lines(file, wanted)
    if splits is not None:
        rows = [row for row in rows if row["split"] in splits]
    texts = [row[column] for row in rows if row[column] is not None]
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise error("D403", f"'{column}' of {file} is no text: {wrong!r}", help="name another `column`")
    languages = [row.get(LANGUAGE) for row in rows if row[column] is not None]
    return pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(len(texts)), pa.int64()),
            "text": pa.array(texts, pa.string()),
            LANGUAGE: pa.array([code if isinstance(code, str) else None for code in languages], pa.string()),
        }
    )


def _parquet(file: Path, wanted: list[str]) -> list[dict[str, Any]]:
    try:
        parquet = pq.ParquetFile(file)
    except pa.ArrowInvalid as cause:
        raise error(
            "D401", f"{file} cannot be read as Parquet: {cause}", help="give a Parquet file"
        ) from cause
    for name in wanted:
        if name not in parquet.schema_arrow.names:
            raise _missing(file, name)
    more = [LANGUAGE] if LANGUAGE in parquet.schema_arrow.names and LANGUAGE not in wanted else []
    rows: list[dict[str, Any]] = parquet.read(columns=[*wanted, *more]).to_pylist()
    return rows


def _json_lines(file: Path, wanted: list[str]) -> list[dict[str, Any]]:
    opener = {".gz": gzip.open, ".zst": zstandard.open}.get(file.suffix, open)
    rows = []
    decoder = msgspec.json.Decoder()
    number = 0
    try:
        with opener(file, "rb") as lines:  # type: ignore[operator]  # one of three openers, typed apart
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = decoder.decode(line)
                for name in wanted:
                    if not isinstance(row, dict) or name not in row:
                        raise _missing(file, name, number)
                rows.append(row)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        gzip.BadGzipFile,
        zstandard.ZstdError,
        EOFError,
    ) as cause:
        raise error("D401", f"{file}, line {number}: {cause}", help="give Parquet or JSON Lines") from cause
    return rows


def _missing(file: Path, name: str, line: int | None = None) -> Exception:
    where = f"line {line} of {file}" if line is not None else str(file)
    return error(
        "D402", f"{where} has no '{name}'", help="correct `column` or `splits` of filters.decontaminate"
    )


def our_code(code: str) -> str | None:
    """A language as we write it: `eng_Latn` for `en`, `eng`, `en-US`; None if it is none."""
    if is_language(code):
        return code
    head, *rest = code.replace("-", "_").split("_")
    script = next((part.title() for part in rest if len(part) == _SCRIPT), None)
    try:
        return canonical(head.lower(), script)
    except KeyError:
        return None


def in_our_codes(name: str, record: pa.RecordBatch, language: str | None) -> pa.RecordBatch:
    """A set's rows with their languages as we write them. language: of rows without one. D402, D403."""
    codes = record.column(LANGUAGE).dictionary_encode()
    ours = []
    for code in codes.dictionary.to_pylist():
        if code.strip() and our_code(code) is None:
            near = suggest(code)
            help = f"did you mean '{near}'?" if near else "write it like deu_Latn"
            raise error(
                "D403", f"'{LANGUAGE}' of the test set {name} is no language: '{code[:80]}'", help=help
            )
        ours.append(our_code(code) if code.strip() else None)
    found = pa.array(ours, pa.string()).take(codes.indices)
    if found.null_count and language is None:
        raise error(
            "D402",
            f"nothing says which language {found.null_count:,} texts of the test set {name} are in",
            help=f"add `{LANGUAGE}: eng_Latn` to filters.decontaminate, or a column '{LANGUAGE}' to the set",
        )
    filled = found if language is None else found.fill_null(language)
    return record.set_column(record.schema.get_field_index(LANGUAGE), LANGUAGE, filled)
