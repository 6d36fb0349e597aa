"""`use: filters.draw`: a sample of a fixed size from each language, the same in every run; for labels, above all.

    drawn     bool           whether the document was drawn
    reasons   list<string>   `not_drawn`

Of each language (`by:`) the `n` documents whose numbers are smallest are drawn; the number follows from `seed` and the
document's id alone (`filters.sample`). So the same documents are drawn for any number of tasks, more of them with a greater
`n` and none of the former lost, and of a language with fewer than `n` all are. Of documents with one id the smaller `doc`
comes first. The population is what reaches the step.

Numbers: a batch of documents emits at most `n` records of 24 bytes a language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from pydantic import Field, StringConstraints

from curate.core.batch import DocBatch
from curate.core.columns import DOC, ID, REASONS, UNDETERMINED
from curate.core.errors import error
from curate.core.stage import Context, Job, Mapped, Mapper, Reduce, Resources, StageConfig
from filters.rules import listed
from filters.sample import units

Int64s = npt.NDArray[np.int64]

LANGUAGE: Final = "language"
_NOT_DRAWN: Final = "not_drawn"


class DrawConfig(StageConfig):
    """Options of `filters.draw`."""

    n: int = Field(ge=1, le=2**31 - 1, description="Documents of each language at most.")
    by: Annotated[str, StringConstraints(min_length=1)] = Field(
        LANGUAGE,
        description="Column whose values are drawn from; `language` is the run's language column. Null is `und`.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Another number draws another sample.")


class DrawJob(Job[DrawConfig]):
    """Draws a fixed number of documents from each language."""

    Config = DrawConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: DrawConfig) -> None:
        self.config = config

    def resources(self) -> Resources:
        return Resources(memory_gb=0.5)

    def reads(self) -> frozenset[str]:
        return frozenset({ID, self.config.by} - {LANGUAGE})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"drawn": pa.bool_(), REASONS: pa.list_(pa.string())}

    def check(self, schema: pa.Schema, language: str | None) -> None:
        by = self.config.by
        if by == LANGUAGE and language is None:
            raise error(
                "C201",
                "`by: language` needs languages, and no step before has identified them",
                help="put a `lid` step before this one, or name the column with `language:`",
                option="by",
            )
        if by != LANGUAGE and schema.field(by).type != pa.string():
            raise error(
                "C206",
                f"'{by}' is {schema.field(by).type}, no text",
                help="name a column of texts",
                option="by",
            )

    def partitions(self, size: int) -> int:
        return 1

    def mapper(self, partitions: int) -> Mapper:
        return Numbers(self.config)

    def reduces(self, partitions: int) -> tuple[Reduce, ...]:
        return (Smallest(self.config.n),)

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        drawn = found.column("drawn").fill_null(False)
        lost = ~drawn.to_numpy(zero_copy_only=False)
        return {"drawn": drawn, REASONS: listed([_NOT_DRAWN], lost[:, None])}


STAGE = DrawJob


class Numbers(Mapper):
    """A record for each document that may be drawn: its language and its number."""

    def __init__(self, config: DrawConfig) -> None:
        self._config = config

    def schema(self) -> pa.Schema:
        fixed = [(DOC, pa.int64()), ("group", pa.uint64()), ("unit", pa.float64())]
        return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fixed])

    def emit(self, batch: DocBatch) -> Mapped:
        group = _hashes(batch.languages if self._config.by == LANGUAGE else batch.column(self._config.by))
        unit = units(batch.column(ID), self._config.seed)
        doc = batch.column(DOC).to_numpy()
        rows = np.sort(smallest(group, unit, doc, self._config.n))
        arrays = [pa.array(column[rows]) for column in (doc, group, unit)]
        return Mapped(pa.RecordBatch.from_arrays(arrays, schema=self.schema()), np.zeros(len(rows), np.int64))


class Smallest(Reduce):
    """The documents with the smallest numbers of each language."""

    name = "smallest"

    def __init__(self, n: int) -> None:
        self._n = n

    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(DOC, pa.int64(), nullable=False), pa.field("drawn", pa.bool_())])

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        kept: list[npt.NDArray[np.generic]] | None = None
        for record in records:
            found = [record.column(name).to_numpy() for name in (DOC, "group", "unit")]
            kept = found if kept is None else [np.concatenate(pair) for pair in zip(kept, found, strict=True)]
            rows = smallest(kept[1], kept[2], kept[0], self._n)
            kept = [column[rows] for column in kept]
        if kept is None:
            return
        doc = np.sort(kept[0].astype(np.int64))
        drawn = pa.array(np.ones(len(doc), np.bool_))
        yield pa.RecordBatch.from_arrays([pa.array(doc), drawn], schema=self.schema()), doc >> 32


def smallest(
    group: npt.NDArray[np.generic], unit: npt.NDArray[np.generic], doc: npt.NDArray[np.generic], n: int
) -> Int64s:
    """Rows of the n smallest numbers of each group, the smaller `doc` first among equals."""
    order = np.lexsort((doc, unit, group))
    groups = group[order]
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(order) else order
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return order[place < n]


def _hashes(column: pa.Array | None) -> npt.NDArray[np.uint64]:
    """uint64[rows]: equal for equal values, null as `und`."""
    assert column is not None  # `check` has asked for it
    codes = column.fill_null(UNDETERMINED).dictionary_encode()
    table = [xxhash.xxh3_64_intdigest(value.encode()) for value in codes.dictionary.to_pylist()]
    return np.array(table, np.uint64)[codes.indices.to_numpy()]
