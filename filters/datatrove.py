"""Any filter of datatrove as a step, by its class path.

    {use: filters.datatrove, as: adult, filter: datatrove.pipeline.filters.RegexFilter, arguments: {regex_exp: xxx}}

In: text, id, and the columns named under `metadata`, of which a `datatrove.data.Document` is made for this step only.
Out:

    kept      bool           the filter's verdict; null for a document that it raised an exception on
    reasons   list<string>   its reason; the class name (`regex_filter`) if it gives none
    stats     list<struct<name: string, value: double>>   with `stats: true`: what it counted for the document
    …         what `writes` names: keys of the metadata that the filter sets (`language_score` of LanguageFilter)
    text      where the filter rewrote a text that it keeps (C4QualityFilter)

Exact, not fast: the filter runs as it is, a Python object a document, datatrove's own tokenizers behind it (they need
spaCy: `pip install spacy`). Filters that this package has itself are many times faster and decide the same.

What differs from datatrove's own run:

- A document on which the filter raises an exception goes to the quarantine with it; datatrove loses the run. A missing
  package, file or host is nobody's document's fault and ends the task.
- Random filters (`SamplerFilter`) draw for each document from its number and their `seed` argument, which is 0 unless
  given, so a verdict does not depend on tasks or on the documents before. Random numbers of numpy that the filter holds
  as an attribute are meant; a filter that draws in another way decides by the order of documents.
- Counters (`stat_update`) become the column `stats`, or are not kept. With `stats` a filter that works on batches is
  given one document at a time.
- `exclusion_writer` is not taken: dropped documents keep their values in the run folder.

A config holds no functions, so `LambdaFilter` cannot be named; a subclass of `BaseFilter` in a module of your own can.
The fingerprint covers the options, the versions of datatrove and spaCy, the source file of the class, and files that
`arguments` name, at any depth; a folder's, if it is written with a slash, `./lists`. A filter that fetches files does so
when it is built: `curate check` builds it.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from curate.core.batch import DocBatch
from curate.core.columns import DOC, FAILED, ID, REASONS, RESERVED, REWRITE, TEXT
from curate.core.libraries import library_files
from curate.core.stage import Annotator, Context, Rule, StageConfig
from filters.class_path import (
    DEFAULT_SEED,
    SEED,
    base,
    build,
    class_of,
    files_among,
    unavailable,
)

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.filters.base_filter import BaseFilter

KEPT: Final = "kept"
STATS: Final = "stats"

_STATS_TYPE: Final = pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))
_TYPES: Final[dict[str, tuple[pa.DataType, type | tuple[type, ...]]]] = {
    "string": (pa.string(), str),
    "int": (pa.int64(), int),
    "float": (pa.float64(), (int, float)),
    "bool": (pa.bool_(), bool),
}
_CLASS_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_COLUMN: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

#: datatrove's filters and the tokenizers that they share expect a process with one thread.
_TURN: Final = threading.Lock()
#: Characters of an exception's text that are kept.
_LONGEST_MESSAGE: Final = 300


class Written(BaseModel):
    """A column made of a key of the metadata that the filter sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1, description="Key of the document's metadata.")
    type: Literal["string", "int", "float", "bool"] = Field(description="Its type.")


class DatatroveConfig(StageConfig):
    """Which filter, its arguments, and what it is told of a document."""

    filter: str = Field(
        pattern=f"^{_CLASS_PATH.pattern}$",
        description="Path of the class: datatrove.pipeline.filters.RegexFilter, or one of your own.",
    )
    arguments: Mapping[str, Any] = Field({}, description="Arguments of the class: {regex_exp: xxx}.")
    metadata: Mapping[str, str] | tuple[str, ...] = Field(
        (),
        description="Columns that the filter finds in a document's metadata, `[url]`; `{language: lid__lang}` gives a "
        "column another key. A null is no key.",
    )
    writes: Mapping[str, Written] = Field(
        {},
        description="Columns to make of metadata that the filter sets: {score: {key: language_score, type: float}}.",
    )
    stats: bool = Field(False, description="Write what the filter counts for each document as a column.")

    @field_validator("writes")
    @classmethod
    def _names_are_free(cls, value: Mapping[str, Written]) -> Mapping[str, Written]:
        for name in value:
            if not _COLUMN.fullmatch(name) or name in (KEPT, STATS, REASONS, FAILED, REWRITE, *RESERVED):
                raise ValueError(
                    f"'{name}' cannot be a column: use lower case with underscores, and no reserved name"
                )
        return value

    @property
    def columns(self) -> dict[str, str]:
        """Key of the metadata → column."""
        return dict(self.metadata) if isinstance(self.metadata, Mapping) else {c: c for c in self.metadata}


class Datatrove(Annotator[DatatroveConfig]):
    """Runs any filter of datatrove, by its class path."""

    Config = DatatroveConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: DatatroveConfig) -> None:
        self.config = config
        self.reason = snake_case(config.filter.rpartition(".")[2])
        self._filter: BaseFilter | None = None
        self._counted: dict[str, float] = {}

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT, ID, *self.config.columns.values()})

    def writes(self) -> Mapping[str, pa.DataType]:
        columns = {KEPT: pa.bool_(), REASONS: pa.list_(pa.string())}
        columns |= {name: _TYPES[written.type][0] for name, written in self.config.writes.items()}
        return columns | ({STATS: _STATS_TYPE} if self.config.stats else {})

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        """One: that the filter keeps the document. Reasons that it names itself are known when it names them."""
        return (Rule(self.reason, KEPT, minimum=1, lowest=0, highest=1),)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        found = class_of(self.config.filter)
        build(found, self.config.arguments)
        source = inspect.getsourcefile(found)
        files = {"module": Path(source)} if source is not None else {}
        # Its tokenizers are spaCy's; which filter uses one is not known before it works.
        return {**files, **library_files("datatrove", "spacy"), **dict(files_among(self.config.arguments))}

    def provenance(self) -> Mapping[str, str]:
        return {"filter": self.config.filter, "datatrove": importlib.metadata.version("datatrove")}

    def open(self, context: Context) -> None:
        self._filter = built = build(class_of(self.config.filter), self.config.arguments)
        built.stat_update = self._count  # datatrove's would add up over the whole process

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        with _TURN:
            verdicts = [verdict for documents in self._batches(batch) for verdict in self._judge(documents)]
        return self._columns(verdicts, batch.text.to_pylist())

    def _count(self, *labels: str, value: float = 1, unit: str | None = None) -> None:
        for label in labels:
            self._counted[label] = self._counted.get(label, 0) + value

    def _batches(self, batch: DocBatch) -> Iterator[list[_Numbered]]:
        """The documents in as many at a time as the filter takes."""
        found = self._opened()
        takes_batches = type(found).filter_batch is not base().filter_batch
        alone = self.config.stats or not takes_batches or any(True for _ in generators(found))
        size = 1 if alone else max(1, int(found.batch_size))
        texts, ids = batch.text.to_pylist(), batch.column(ID).to_pylist()
        numbers = batch.column(DOC).to_pylist()
        metadata = {key: batch.column(column).to_pylist() for key, column in self.config.columns.items()}
        rows = [
            _Numbered(
                number, text, str(id), {key: v[row] for key, v in metadata.items() if v[row] is not None}
            )
            for row, (number, text, id) in enumerate(zip(numbers, texts, ids, strict=True))
        ]
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _opened(self) -> BaseFilter:
        assert self._filter is not None, "open() comes before annotate()"
        return self._filter

    def _judge(self, rows: list[_Numbered]) -> list[_Verdict]:
        """Verdicts of documents that go through the filter together; of each alone if that fails."""
        found = self._opened()
        documents = [row.document() for row in rows]
        for which, generator in enumerate(generators(found)):
            seed = (int(self.config.arguments.get(SEED) or DEFAULT_SEED), rows[0].number, which)
            generator.bit_generator.state = type(generator.bit_generator)(seed).state
        self._counted = {}
        try:
            answers = list(found.filter_batch(documents))
            if len(answers) != len(documents):
                raise ValueError(f"the filter gave {len(answers)} verdicts for {len(documents)} documents")
            return [
                _Verdict.of(answer, document, self.reason, dict(self._counted))
                for answer, document in zip(answers, documents, strict=True)
            ]
        except (ImportError, OSError, MemoryError) as cause:
            raise unavailable(self.config.filter, cause) from cause
        except Exception as cause:  # noqa: BLE001  # anything may go wrong in it; the document tells where
            if len(rows) > 1:
                return [verdict for row in rows for verdict in self._judge([row])]
            message = f"{type(cause).__name__}: {cause}"[:_LONGEST_MESSAGE]
            return [_Verdict(failed=message)]

    def _columns(self, verdicts: list[_Verdict], texts: list[str]) -> dict[str, pa.Array]:
        made: dict[str, list[Any]] = {name: [] for name in self.config.writes}
        for verdict in verdicts:
            for name, written in self.config.writes.items():
                value = verdict.metadata.get(written.key)
                wanted = _TYPES[written.type][1]
                fits = isinstance(value, wanted) and (written.type == "bool" or not isinstance(value, bool))
                if value is not None and not fits:
                    verdict.failed = (
                        f"the filter set '{written.key}' to {value!r:.60}, which is no {written.type}"
                    )
                made[name].append(value if fits else None)
        reasons = [[] if v.reason is None or v.failed is not None else [v.reason] for v in verdicts]
        columns = {
            KEPT: pa.array(
                [None if v.failed is not None else v.reason is None for v in verdicts], pa.bool_()
            ),
            REASONS: pa.array(reasons, pa.list_(pa.string())),
            **{name: pa.array(values, self.writes()[name]) for name, values in made.items()},
        }
        if self.config.stats:
            counted = [[{"name": n, "value": c} for n, c in verdict.counted.items()] for verdict in verdicts]
            columns[STATS] = pa.array(counted, _STATS_TYPE)
        if any(verdict.failed is not None for verdict in verdicts):
            columns[FAILED] = pa.array([verdict.failed for verdict in verdicts], pa.string())
        rewritten = [
            v.text if v.failed is None and v.reason is None and v.text != text else None
            for v, text in zip(verdicts, texts, strict=True)
        ]
        if any(text is not None for text in rewritten):
            columns[REWRITE] = pa.array(rewritten, pa.string())
        return columns


STAGE = Datatrove


class _Numbered:
    """A row before it is a document: a filter that fails may have changed the document it was given."""

    def __init__(self, number: int, text: str, id: str, metadata: dict[str, Any]) -> None:
        self.number, self.text, self.id, self.metadata = number, text, id, metadata

    def document(self) -> Document:
        from datatrove.data import Document

        return Document(text=self.text, id=self.id, metadata=dict(self.metadata))


class _Verdict:
    """reason: why a document is dropped, None if it is kept. failed: why there is no verdict."""

    def __init__(
        self,
        reason: str | None = None,
        text: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        counted: Mapping[str, float] | None = None,
        failed: str | None = None,
    ) -> None:
        self.reason, self.text, self.failed = reason, text, failed
        self.metadata, self.counted = metadata or {}, counted or {}

    @classmethod
    def of(cls, answer: Any, document: Document, name: str, counted: Mapping[str, float]) -> _Verdict:
        """From what `filter` returns: a bool or (bool, reason)."""
        keep, reason = answer if isinstance(answer, tuple) else (answer, None)
        document.text.encode()  # a lone surrogate is no text: UnicodeEncodeError
        why = None if keep else (str(reason).strip() if reason else "") or name
        return cls(why, document.text, document.metadata, counted)


def snake_case(name: str) -> str:
    """`C4QualityFilter` → `c4_quality_filter`."""
    return _WORD_START.sub("_", name).lower()


def generators(found: BaseFilter) -> Iterator[np.random.Generator]:
    """numpy's random generators among a filter's attributes, and those whose bound methods are."""
    for value in vars(found).values():
        owner = getattr(value, "__self__", value)
        if isinstance(owner, np.random.Generator):
            yield owner
