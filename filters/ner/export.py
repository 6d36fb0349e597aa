"""Annotated texts to the formats that taggers train on.

In: a table with `text`, `tokens: list<struct<start, end>>`, `spans: list<struct<start, end, label …>>` and perhaps `nested`,
spans within or around those: an import, or what a run published. Out:

    bio      a token a line, tab, tag (IOB2); `# text =` before each sentence, so that an import gives the offsets again
    gliner   JSON Lines of {"tokenized_text": [word …], "ner": [[first, last, label] …]}; last is included, as in GLiNER
    spacy    a DocBin (`filters.ner.export_spacy`)

`gliner` and `spacy` have the nested spans too. A span that does not begin and end with tokens, or (bio, spacy's entities)
shares a token with one before it, cannot be written there: it is left out and counted by the reason. `by` chooses what
stands as label: the label itself, its translation (`filters.ner_translate`), its standard or core type, as the span has
them, else as the type map says; spans without one are left out and counted too. Of tabs and line ends in a label `bio`, a
format of lines, makes a space, and counts them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import msgspec
import pyarrow as pa

from filters.ner import tables
from filters.ner.bio import tags_of
from filters.ner.export_spacy import SpacyWriter
from filters.ner.types import TypeMap, span_type

Format = Literal["bio", "gliner", "spacy"]
By = Literal["label", "translation", "standard", "core"]
#: Formats that are one file, and how its name ends.
FORMATS: Final[Mapping[Format, str]] = {"bio": "bio", "gliner": "jsonl", "spacy": "spacy"}

Located = list[tuple[int, int, str]]  # first token, one behind the last, label
Row = Mapping[str, Any]

#: Rows that are Python objects at a time.
_CHUNK: Final = 1_000
NESTED: Final = "nested"
#: What is counted that is not left out: labels of which a format of lines needed the whitespace changed.
LABELS_CHANGED: Final = "labels_with_other_whitespace"


class Writer(Protocol):
    """Writes one text after another; `end` writes what is left."""

    def add(self, row: Row, flat: Located, every: Located, counts: Counter[str]) -> None: ...
    def end(self) -> None: ...


def export(table: pa.Table, output: BinaryIO, kind: Format, by: By, types: TypeMap) -> Counter[str]:
    """Writes the texts; counts `sentences`, `spans`, and spans that were left out by reason."""
    return export_rows(rows_of(table), output, kind, by, types)


def export_rows(rows: Iterable[Row], output: BinaryIO, kind: Format, by: By, types: TypeMap) -> Counter[str]:
    """The same of rows."""
    writer = _WRITERS[kind](output)
    counts: Counter[str] = Counter()
    for row in rows:
        located = _located(row["tokens"], row["spans"] or [], by, types, counts)
        nested = _located(row["tokens"], row.get(NESTED) or [], by, types, counts)
        if kind == "gliner":
            flat = every = sorted({*located, *nested})
        else:
            flat, every = _flat(located, counts), sorted({*located, *nested})
        writer.add(row, flat, every, counts)
    writer.end()
    return counts


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The table's rows as Python objects, a few at a time."""
    for batch in table.to_batches(max_chunksize=_CHUNK):
        yield from batch.to_pylist()


def read_tokens(path: Path) -> pa.Table:
    """An import, or what a run published: a Parquet file or a folder of them, with all columns. D401, D402, D403, D410."""
    help = "give the folder of `curate ner import` or of a run, or a Parquet file with text, tokens and spans"
    found = [
        (file, tables.read(file, ("text", "tokens", "spans"), help)) for file in tables.files_of(path, help)
    ]
    joined = tables.joined([table for _, table in found], path, help)
    for file, table in found:
        tables.check(table, file, {"tokens": (), "spans": ("label",), NESTED: ("label",)}, full=("tokens",))
    return joined.replace_schema_metadata()


def _located(
    tokens: Sequence[Mapping[str, int]],
    spans: Sequence[Mapping[str, Any]],
    by: By,
    types: TypeMap,
    counts: Counter[str],
) -> Located:
    """Spans by their tokens, ascending."""
    first = {token["start"]: i for i, token in enumerate(tokens)}
    last = {token["end"]: i + 1 for i, token in enumerate(tokens)}
    located: Located = []
    for span in spans:
        label = span_type(span, by, types)
        begin, end = first.get(span["start"]), last.get(span["end"])
        if not label:
            counts["spans_without_type"] += 1
        elif begin is None or end is None or begin >= end:
            counts["spans_within_tokens"] += 1
        else:
            located.append((begin, end, label))
    return sorted(located)


def _flat(located: Located, counts: Counter[str]) -> Located:
    """Those that share no token with one before them."""
    kept: Located = []
    for place in located:
        if kept and place[0] < kept[-1][1]:
            counts["spans_overlapping"] += 1
        else:
            kept.append(place)
    return kept


def _words(row: Row, counts: Counter[str]) -> list[str] | None:
    """The tokens' texts; None, and counted, if a format of lines cannot hold one."""
    words = [row["text"][token["start"] : token["end"]] for token in row["tokens"]]
    if any(separator in word for word in words for separator in "\t\n\r"):
        counts["sentences_with_a_tab_or_line_end_in_a_token"] += 1
        return None
    return words


class _Lines(ABC):
    """A format whose file is written as it is made."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def add(self, row: Row, flat: Located, every: Located, counts: Counter[str]) -> None:
        words = _words(row, counts)
        if words is None:
            return
        located = self.writable(flat, counts)
        self._output.write(self.lines(row["text"], words, located).encode())
        counts["sentences"] += 1
        counts["spans"] += len(located)

    def writable(self, located: Located, counts: Counter[str]) -> Located:
        """The spans as this format can hold them."""
        return located

    @abstractmethod
    def lines(self, text: str, words: Sequence[str], located: Located) -> str:
        """What stands in the file for one text."""

    def end(self) -> None:  # noqa: B027  # every line is written already
        """All rows were added."""


class _Bio(_Lines):
    def writable(self, located: Located, counts: Counter[str]) -> Located:
        kept: Located = []
        for first, last, label in located:
            line = " ".join(label.split())
            if line != label:
                counts[LABELS_CHANGED] += 1
            if line:
                kept.append((first, last, line))
            else:
                counts["spans_without_type"] += 1
        return kept

    def lines(self, text: str, words: Sequence[str], located: Located) -> str:
        head = "" if any(separator in text for separator in "\t\n\r") else f"# text = {text}\n"
        tags = tags_of(located, len(words))
        return head + "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


class _Gliner(_Lines):
    def lines(self, text: str, words: Sequence[str], located: Located) -> str:
        row = {"tokenized_text": words, "ner": [[first, last - 1, label] for first, last, label in located]}
        return msgspec.json.encode(row).decode() + "\n"


_WRITERS: Final[Mapping[Format, Callable[[BinaryIO], Writer]]] = {
    "bio": _Bio,
    "gliner": _Gliner,
    "spacy": SpacyWriter,
}
