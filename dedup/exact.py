"""`use: dedup.exact`: of documents with equal content, equal address or an equal value, one survives.

    cluster       int64   the smallest `doc` of those that are equal; null without any other
    cluster_size  int32   how many are equal, this one included
    keep          bool    whether it survives
    survivor      int64   `doc` of the one that does; null for itself; below 0 a published one (`dedup.index`)
    weight        int32   with `rehydrate`: how often it should be seen; null for the others
    reasons       list<string>   `duplicate` for the others

`by: text` compares the text (128 bits of it, `dedup.content`), `by: url` addresses as far as they lead to one page
(`dedup.addresses`), any other name a column of text or numbers. A document whose value is null is a duplicate of none.
Which one survives, `keep` says (`dedup.survivors`); ties go to the smallest `doc`, so nothing depends on tasks, workers or
the order of work. Only documents that came this far count: what an earlier step dropped is nobody's twin.

Numbers: a document costs 16 bytes of key, 8 of rank, 8 of `doc` on disk; a partition of 8 million is sorted in memory
(about 0.6 GB). Output are only documents that have a twin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, StringConstraints, model_validator

from curate.core.batch import DocBatch
from curate.core.ceilings import Ceilings
from curate.core.columns import DOC, ID, REASONS, TEXT
from curate.core.stage import Context, Job, Mapped, Mapper, Reduce, Resources, StageConfig
from dedup.addresses import normalised
from dedup.ceiling_options import (
    CLUSTER,
    DOCUMENTS,
    FRACTION,
    MaxCluster,
    MaxRemoved,
    MaxRemovedByLanguage,
    MaxRemovedBySource,
    MinDocuments,
    ceilings_of,
)
from dedup.content import content_keys
from dedup.export import Export, side_columns, side_fields
from dedup.index import OLD, Published, check_place
from dedup.index_options import PATHS, Against, IndexPath, check_paths
from dedup.marks import marks, power_of_two
from dedup.records import first_old, fuller, looked_up, mapped_options, named
from dedup.rehydrate import REHYDRATE, Rehydrate
from dedup.scopes import SCOPE, Scope, as_text, check_scope, check_values, names_of, scope_column
from dedup.scopes import columns_of as scope_columns
from dedup.survivors import KEEP, Keep, check_keep, columns_of, ranks

KIND: Final = "dedup.exact"
DUPLICATE: Final = "duplicate"
URL: Final = "url"

#: Bytes of input to a document, guessed low, and documents that one partition may have.
_DOCUMENT_BYTES: Final = 500
_PARTITION_DOCS: Final = 8_000_000
MOST_PARTITIONS: Final = 1024

_RECORD: Final = pa.schema(
    [
        pa.field(DOC, pa.int64(), nullable=False),
        pa.field("high", pa.uint64(), nullable=False),
        pa.field("low", pa.uint64(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
    ]
)
_FOUND: Final = pa.schema(
    [
        pa.field(DOC, pa.int64(), nullable=False),
        pa.field("cluster", pa.int64()),
        pa.field("cluster_size", pa.int32()),
        pa.field("survivor", pa.int64()),
    ]
)


class ExactConfig(StageConfig):
    """Options of `dedup.exact`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = PATHS

    by: Annotated[str, StringConstraints(min_length=1)] = Field(
        TEXT, description="What must be equal: `text`, `url`, or another column."
    )
    normalise: Literal["whitespace", "none"] = Field(
        "whitespace",
        description="Whether runs of whitespace in the text count as one space; addresses are always normalised.",
    )
    scope: Scope = Field((), description=SCOPE)
    keep: Keep = Field(
        "first",
        description=KEEP,
    )
    max_cluster: MaxCluster = CLUSTER
    max_removed_frac: MaxRemoved = FRACTION
    max_removed_frac_by_source: MaxRemovedBySource = FRACTION
    max_removed_frac_by_language: MaxRemovedByLanguage = FRACTION
    ceiling_min_documents: MinDocuments = DOCUMENTS
    rehydrate: Rehydrate | None = Field(None, description=REHYDRATE)
    against: Against = ()
    index: IndexPath = None
    partitions: Annotated[int, Field(ge=1, le=MOST_PARTITIONS)] | None = Field(
        None,
        description="Into how many parts the keys are divided; a power of two, by default from the size of the input.",
    )

    @model_validator(mode="after")
    def _fits(self) -> ExactConfig:
        check_paths(self.against, self.index)
        if self.rehydrate is not None and self.keep == "none":
            raise ValueError("`rehydrate` weighs survivors, and with `keep: none` nobody is removed")
        return self


class Exact(Job[ExactConfig]):
    """Removes documents that another one equals."""

    Config = ExactConfig
    VERSION: ClassVar[int] = 2

    def __init__(self, config: ExactConfig) -> None:
        self.config = config
        self._published: Published | None = None
        if config.against:
            self._published = Published(config.against, KIND)

    def resources(self) -> Resources:
        return Resources(memory_gb=0.8)

    def reads(self) -> frozenset[str]:
        exported = {ID, TEXT} if self.config.index is not None else set()
        columns = scope_columns(self.config.scope) | columns_of(self.config.keep)
        return frozenset({self.config.by}) | columns | exported

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "cluster": pa.int64(),
            "cluster_size": pa.int32(),
            "keep": pa.bool_(),
            "survivor": pa.int64(),
            **({"weight": pa.int32()} if self.config.rehydrate is not None else {}),
            REASONS: pa.list_(pa.string()),
        }

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        config, parameters = self.config, self._index_parameters()
        files: Mapping[str, Path] = {}
        if self._published is not None:
            files = self._published.check(parameters, whole=not context.artifacts)
        if config.index is not None:
            check_place(config.index, KIND, parameters, self._published, config.against, context.run)
        return files

    def check(self, schema: pa.Schema, language: str | None) -> None:
        check_keep(self.config.keep, schema)
        check_scope(self.config.scope, schema, language)
        if self.config.by not in (TEXT, URL):
            check_values(schema.field(self.config.by).type, self.config.by, "by")

    def ceilings(self) -> Ceilings | None:
        return ceilings_of(self.config) if self.config.keep != "none" else None

    def open(self, context: Context) -> None:
        self.expect(context.artifacts)

    def expect(self, artifacts: Mapping[str, str]) -> None:
        if self._published is not None:
            self._published.expect(artifacts)

    def describe(self, number: int) -> Mapping[str, Any] | None:
        return self._published.describe(number) if self._published is not None else None

    def _index_parameters(self) -> dict[str, Any]:
        """What must be equal for two documents' keys to be comparable."""
        config = self.config
        return {
            "version": self.VERSION,
            "by": config.by,
            "normalise": config.normalise,
            "scope": list(names_of(config.scope)),
        }

    def partitions(self, size: int) -> int:
        return power_of_two(self.config.partitions, self._documents(size) / _PARTITION_DOCS, MOST_PARTITIONS)

    def mapping(self) -> Mapping[str, Any]:
        return mapped_options(self.config) | {"indexed": self.config.index is not None}

    def _documents(self, size: int) -> int:
        return size // _DOCUMENT_BYTES + (self._published.documents if self._published else 0)

    def reduce_resources(self, size: int, partitions: int) -> Resources:
        """More where a partition has more than it should: from so many documents on that there are no more partitions."""
        fullness = self._documents(size) / (partitions * _PARTITION_DOCS)
        return fuller(self.resources(), 0.8, fullness)

    def mapper(self, partitions: int) -> Mapper:
        return ExactKeys(self.config, partitions)

    def reduces(self, partitions: int) -> tuple[Reduce, ...]:
        old, path = self._published, self.config.index
        if path is None:
            return (Group(old, partitions),)
        removes, parameters = self.config.keep != "none", self._index_parameters()
        export = Export(path, KIND, parameters, before=old, key_names=["high", "low"], removes=removes)
        return (Group(old, partitions), export)

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        removes = self.config.keep != "none"
        return marks(found, DUPLICATE, removes=removes, rehydrate=self.config.rehydrate)


STAGE = Exact


class ExactKeys(Mapper):
    """A record for each document that has a value: its key and its rank."""

    def __init__(self, config: ExactConfig, partitions: int) -> None:
        self._config = config
        self._shift = np.uint64(64 - (partitions.bit_length() - 1))
        self._whole = partitions == 1

    def schema(self) -> pa.Schema:
        return _RECORD

    def side_schema(self) -> pa.Schema | None:
        if self._config.index is None:
            return None
        return pa.schema([pa.field(DOC, pa.int64(), nullable=False), *side_fields(2)])

    def emit(self, batch: DocBatch) -> Mapped:
        by = self._config.by
        values = batch.text if by == TEXT else batch.column(by)
        if by == URL:
            values = normalised(values)
        elif by != TEXT:
            values = as_text(values)
        keys = content_keys(values, whitespace=by == TEXT and self._config.normalise == "whitespace")
        for name in names_of(self._config.scope):
            keys = _scoped(keys, scope_column(batch, name))
        known = values.is_valid().to_numpy(zero_copy_only=False)
        arrays = [
            batch.column(DOC).filter(pa.array(known)),
            pa.array(keys[known, 0]),
            pa.array(keys[known, 1]),
            pa.array(ranks(self._config.keep, batch)[known]),
        ]
        high = keys[known, 0]
        partition = np.zeros(len(high), np.int64) if self._whole else (high >> self._shift).astype(np.int64)
        side = None
        if self._config.index is not None:
            columns = [arrays[0], *side_columns(batch.filter(known), keys[known])]
            side = pa.RecordBatch.from_arrays(columns, schema=self.side_schema())
        return Mapped(pa.RecordBatch.from_arrays(arrays, schema=_RECORD), partition, side)


def _scoped(keys: npt.NDArray[np.uint64], column: pa.Array) -> npt.NDArray[np.uint64]:
    """Keys that are equal only where the column is too."""
    values = content_keys(as_text(column).fill_null(""), whitespace=False)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    # A rotation, so that equal keys in two columns do not cancel; null differs from the empty text.
    turned = values << np.uint64(23) | values >> np.uint64(41)
    return keys * np.uint64(0x9E3779B97F4A7C15) ^ turned ^ missing[:, None].astype(np.uint64)


class Group(Reduce):
    """Equal keys together: the best rank survives, then the smallest `doc`.

    published: documents whose keys take part, and which all survive.
    """

    name = "group"

    def __init__(self, published: Published | None = None, partitions: int = 1) -> None:
        self._published, self._partitions = published, partitions

    def schema(self) -> pa.Schema:
        return _FOUND

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
        batches = list(records)
        if not batches:
            return
        whole = pa.concat_batches(batches)
        del batches
        high, low, rank, doc = (whole.column(n).to_numpy() for n in ("high", "low", "rank", DOC))
        unit = looked_up(context)
        if self._published is not None:
            names, behind = ["high", "low"], first_old(unit)
            old = [
                [column.to_numpy() for column in columns]
                for columns in self._published.records(names, behind, unit.number, self._partitions)
            ]
            rank = np.maximum(rank, OLD + 1)
            rank = np.concatenate([rank, *(np.full(len(columns[0]), OLD) for columns in old)])
            doc, high, low = (
                np.concatenate([mine, *(columns[n] for columns in old)])
                for n, mine in enumerate((doc, high, low))
            )
        order = np.lexsort((doc, rank, low, high))
        high, low, doc = high[order], low[order], doc[order]
        same = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        first = np.flatnonzero(np.concatenate(([True], ~same)))
        sizes = np.diff(np.append(first, len(doc)))
        several = sizes > 1
        first, sizes = first[several], sizes[several]
        if len(first) == 0:
            return
        members = np.repeat(first, sizes) + _within(sizes)
        twins = doc[members]
        survivors = np.repeat(doc[first], sizes)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        new = twins < first_old(unit) << 32
        unit.count("clusters", len(sizes))
        unit.count("removed", int(np.count_nonzero(new & (survivors != twins))))
        clusters = np.repeat(np.minimum.reduceat(twins, starts), sizes)
        arrays = [
            pa.array(twins),
            pa.array(clusters),
            pa.array(np.repeat(sizes, sizes).astype(np.int32)),
            pa.array(survivors, mask=survivors == twins),
        ]
        found = pa.RecordBatch.from_arrays(arrays, schema=_FOUND)
        if not new.all():
            found, twins = found.filter(pa.array(new)), twins[new]
        yield named(found, self._published, unit), twins >> 32


def _within(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 … size-1 for each group, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1])) - np.repeat(ends - sizes, sizes)
