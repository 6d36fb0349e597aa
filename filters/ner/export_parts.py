"""Annotated texts to files for training: parts by host and document, sentences, and `datasets`' layout of folders.

In: a table that `export.read_tokens` gives. Columns beside the text that matter: `language`; `url` and `source_doc`, or
`source` and `document`, by which parts are made; `split`, the part where no shares are given. Out:

    a file, or a folder of train, dev and test files   bio, gliner, spacy
    a folder for `datasets`                            README.md, the dataset card, and data/LANGUAGE/PART.parquet

Each language is a configuration of the card, so `load_dataset(folder, "deu_Latn")` loads German; the files are named one by
one, so that three hundred languages load as fast as one. All columns are kept. Rows keep their order within a file.

Memory: the table as Arrow holds it, and a thousand rows as Python objects.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.columns import UNDETERMINED
from curate.core.errors import error
from curate.core.layout import new_attempt
from filters.ner.card import Counts, data_file, dataset_card, judge_columns
from filters.ner.export import FORMATS, NESTED, By, Format, export_rows, rows_of
from filters.ner.sentences import split_row
from filters.ner.splits import PARTS, TRAIN, Group, Shares, assign, host_of
from filters.ner.types import TypeMap

CARD: Final = "README.md"
DATA: Final = "data"
#: Rows that are written at a time, a row group.
_ROWS: Final = 20_000


@dataclass(frozen=True)
class Request:
    """What is exported and how. shares: of the dev and test part; None: as the column `split` says. anew: standard and core
    types are those of the map, whatever stands in the spans. group: with `document`, pages of one host may be in several."""

    by: By
    types: TypeMap
    shares: Shares | None = None
    seed: int = 1
    sentences: bool = False
    title: str = ""
    license: str | None = None
    group: Group = "host"
    anew: bool = False


@dataclass
class Exported:
    """What was written: rows by part, and what export counts. alone: texts of which neither host nor document is known, each
    of which went to a part of its own."""

    parts: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    alone: int = 0


def export_file(table: pa.Table, output: Path, kind: Format, request: Request) -> Exported:
    """One file."""
    done = Exported()
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            done.counts = _written(table, file, kind, request)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return done


def export_parts(table: pa.Table, output: Path, kind: Format, request: Request) -> Exported:
    """A folder of train, dev and test files; a part without rows has a file too."""
    done = Exported()
    names, done.alone = parts_of(table, request)
    with _Folder(output) as folder:
        for part in sorted({*PARTS, *names}):
            mine = table.filter(pa.array(np.array(names, object) == part, pa.bool_()))
            with (folder / f"{part}.{FORMATS[kind]}").open("wb") as file:
                counts = _written(mine, file, kind, request)
            done.parts[part] = counts["sentences"]
            done.counts += counts
    return done


def _written(table: pa.Table, file: BinaryIO, kind: Format, request: Request) -> Counter[str]:
    return export_rows(_rows(table, request), file, kind, request.by, request.types)


def export_datasets(table: pa.Table, output: Path, request: Request) -> Exported:
    """A folder that `datasets.load_dataset` loads, a configuration for each language."""
    done = Exported()
    languages = _column(table, "language").fill_null(UNDETERMINED)
    table = _with(table, "language", languages)
    parts, done.alone = parts_of(table, request)
    table = _with(table, "split", pa.array(parts, pa.string()))
    counts = Counts()
    for row in rows_of(table.select(["language", "spans", *judge_columns(table.column_names)])):
        counts.add_judgement(row["language"], row)
    with _Folder(output) as folder:
        for language in sorted(set(languages.to_pylist())):
            (folder / data_file(language, TRAIN)).parent.mkdir(parents=True)
            mine = table.filter(pc.equal(languages, language))
            for part in sorted(set(mine["split"].to_pylist())):
                rows = _rows(mine.filter(pc.equal(mine["split"], part)), request)
                file = folder / data_file(language, part)
                with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
                    for chunk in _chunks(rows):
                        writer.write_table(pa.Table.from_pylist(chunk, table.schema))
                        counts.add(language, part, chunk, request.types)
                done.parts[part] += counts.rows[language][part]
        (folder / CARD).write_text(
            dataset_card(counts, table.schema, request.title, request.license), encoding="utf-8"
        )
    done.counts = Counter(sentences=counts.total_rows, spans=counts.total_spans)
    return done


def parts_of(table: pa.Table, request: Request) -> tuple[list[str], int]:
    """The part of each row, and how many rows are a group of their own for want of a host and a document."""
    if request.shares is None:
        return [part or TRAIN for part in _column(table, "split").to_pylist()], 0
    by_host = request.group == "host"
    hosts = [host_of(url) if by_host else None for url in _column(table, "url").to_pylist()]
    documents = _documents(table)
    alone = sum(host is None and document is None for host, document in zip(hosts, documents, strict=True))
    return assign(hosts, documents, request.shares, request.seed), alone


def _documents(table: pa.Table) -> list[str | None]:
    """What names the document of each row: `source_doc`, else `source` and `document`, else, of a passage (`start` and `end`
    are there), its `id`, which is its document's with `#` and a number."""
    passage = {"start", "end"} <= set(table.column_names)
    passages = [_passage_of(name) if passage else None for name in _column(table, "id").to_pylist()]
    if "source_doc" in table.column_names:
        own = _column(table, "source_doc").to_pylist()
    else:
        sources = _column(table, "source").to_pylist()
        own = [
            None if document is None else f"{source or ''}\t{document}"
            for source, document in zip(sources, _column(table, "document").to_pylist(), strict=True)
        ]
    return [name if name is not None else passage for name, passage in zip(own, passages, strict=True)]


def _passage_of(name: str | None) -> str | None:
    """The document in the id of a passage; None if it is no passage's."""
    document, _, number = (name or "").rpartition("#")
    return document if document and number.isdecimal() else None


def _rows(table: pa.Table, request: Request) -> Iterator[dict[str, Any]]:
    rows = rows_of(table)
    spans = [name for name in ("spans", NESTED) if name in table.column_names]
    if request.anew:
        rows = (_typed(row, spans, request.types) for row in rows)
    if not request.sentences:
        return rows
    whole = judge_columns(table.column_names)
    return (part for row in rows for part in split_row(row, ["tokens", *spans], whole))


def _typed(row: dict[str, Any], layers: Sequence[str], types: TypeMap) -> dict[str, Any]:
    """A row whose spans have the types of the map."""
    for layer in layers:
        for span in row[layer] or ():
            for kind, found in (("standard", types.standard), ("core", types.core)):
                if kind in span:
                    span[kind] = found(span["label"] or "")
    return row


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of strings; nulls where the table has none of that name."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(len(table), pa.string())])
    return table[name].cast(pa.string())


def _with(table: pa.Table, name: str, column: Any) -> pa.Table:
    """The table with a column replaced or appended."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


class _Folder:
    """A folder that appears whole or not at all; it replaces an earlier export, and nothing else. C205."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._part = output.with_name(output.name + ".part")

    def __enter__(self) -> Path:
        check_replaceable(self._output)
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        return self._part

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._replace()
        else:
            shutil.rmtree(self._part, ignore_errors=True)

    def _replace(self) -> None:
        """The earlier export is aside until the new one is in its place, so that a kill loses neither."""
        if not self._output.exists():
            self._part.replace(self._output)
            return
        aside = self._output.with_name(f"{self._output.name}.{new_attempt()}.old")
        self._output.replace(aside)
        try:
            self._part.replace(self._output)
        except OSError:
            aside.replace(self._output)
            raise
        shutil.rmtree(aside)


def check_replaceable(output: Path) -> None:
    """C205 if a folder holds what no export writes."""
    if not output.exists():
        return
    if not output.is_dir():
        raise error("C205", f"{output} is a file", help="choose another folder")
    ours = {CARD, DATA, *(f"{part}.{end}" for part in PARTS for end in FORMATS.values())}
    strange = sorted(path.name for path in output.iterdir() if path.name not in ours)
    if strange:
        help = "choose another folder, or move it away"
        raise error("C205", f"{output} holds '{strange[0]}', which no export wrote", help=help)
