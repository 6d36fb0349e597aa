"""`use: dedup.lines`: lines (or paragraphs) that many documents have are taken out of their texts.

    removed_lines_count  int32   lines (with `unit: paragraph`, paragraphs) that were taken out
    removed_bytes        int64   their bytes, separators included
    reasons              list<string>   `empty` for a document of which nothing but whitespace is left

and the text without them. A line goes if more than `max_count` documents have it; how often it stands in one document does
not matter. `keep: first` leaves it in the first of them (the smallest `doc`), `keep: none` in no document. Blank lines are
never taken out, and neither is a line whose normalised form is shorter than `min_bytes`. What counts as equal, `normalise`
says (`dedup.line_keys`).

CCNet takes out paragraphs (lines, in its code) that two documents of a group of shards have, and also what repeats within
one document (Wenzek et al. 2020, arXiv 1911.00359, section 3.2; `keep: none` and `max_count: 1` are its paper's pass over
hashes). Dolma takes out paragraphs that it has seen before, by a Bloom filter, with a least length (Soldaini et al. 2024,
arXiv 2402.00159); a Bloom filter also takes out some that it has not seen, which cannot happen here. The phases:

    keys      in the pass before: a record (doc int64, key uint64) for each different line of a document
    count     by key: documents that have it; a record for each that must let it go
    gather    by shards: the keys that a document must let go, ascending, as one list
    mark      in the pass after: the text is cut again and written without those lines

Numbers: 16 bytes of disk for each different line of each document (a tenth to a third of the text), 16 again for each that
goes. A partition is made for 16 million records of 50 bytes of text; `count` reads it twice, with 8 million records in
memory at a time and 24 bytes for each different key, so a line that every document has costs no memory: 0.9 GB.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core.batch import DocBatch, text_buffers
from curate.core.columns import DOC, REASONS, REWRITE, TEXT
from curate.core.stage import Context, Job, Mapped, Mapper, Reduce, Resources, StageConfig
from curate.core.text.memory import address_of
from dedup.line_keys import (
    Normalise,
    Passages,
    Unit,
    distinct,
    lengths,
    marked,
    passages,
    without,
)
from dedup.records import Emitted, fuller, group_of, looked_up, mapped_options

EMPTY: Final = "empty"

#: Bytes of a line, guessed low, and records that one partition may have.
_LINE_BYTES: Final = 50
_PARTITION_RECORDS: Final = 16_000_000
MOST_PARTITIONS: Final = 1024
#: Records in memory at a time.
_AT_ONCE: Final = 8_000_000

_RECORD: Final = pa.schema(
    [pa.field(DOC, pa.int64(), nullable=False), pa.field("key", pa.uint64(), nullable=False)]
)
_FOUND: Final = pa.schema(
    [pa.field(DOC, pa.int64(), nullable=False), pa.field("keys", pa.list_(pa.uint64()))]
)

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


class LinesConfig(StageConfig):
    """Options of `dedup.lines`."""

    unit: Unit = Field(
        "line", description="What is taken out: a `line`, or a `paragraph`: lines up to a blank one."
    )
    max_count: int = Field(1, ge=1, description="Documents that may have a line; if more do, it goes.")
    keep: Literal["first", "none"] = Field(
        "first", description="Who keeps a line that goes: the `first` document that has it, or `none`."
    )
    normalise: Normalise = Field(
        "ccnet",
        description="Lines are equal if they are so in lower case, with `0` for digits and without typographic punctuation "
        "(`ccnet`), or byte for byte (`none`).",
    )
    min_bytes: int = Field(
        1, ge=1, description="Shorter lines, in bytes of their normalised form, are never taken out."
    )
    partitions: Annotated[int, Field(ge=1, le=MOST_PARTITIONS)] | None = Field(
        None,
        description="Into how many parts the keys are divided; a power of two, by default from the size of the input.",
    )


class LinesJob(Job[LinesConfig]):
    """Takes repeated lines out of texts."""

    Config = LinesConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: LinesConfig) -> None:
        self.config = config

    def resources(self) -> Resources:
        return Resources(memory_gb=1.0)

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "removed_lines_count": pa.int32(),
            "removed_bytes": pa.int64(),
            REASONS: pa.list_(pa.string()),
        }

    def open(self, context: Context) -> None:
        pass

    def compile(self) -> None:
        record = pa.RecordBatch.from_pydict({DOC: pa.array([0], pa.int64()), TEXT: pa.array(["one\ntwo"])})
        batch = DocBatch(record)
        keys = self.mapper(1).emit(batch).records.column("key").slice(0, 1)
        found = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), keys)
        self.mark_texts(pa.RecordBatch.from_arrays([record.column(DOC), found], schema=_FOUND), batch)

    def partitions(self, size: int) -> int:
        if self.config.partitions is not None:
            return 1 << (self.config.partitions - 1).bit_length()
        parts = size // (_LINE_BYTES * _PARTITION_RECORDS)
        return min(MOST_PARTITIONS, 1 << int(parts).bit_length())

    def mapping(self) -> Mapping[str, Any]:
        return mapped_options(self.config, "max_count", "keep")

    def reduce_resources(self, size: int, partitions: int) -> Resources:
        """More where a partition has more than it should: from so many lines on that there are no more partitions."""
        fullness = size / (_LINE_BYTES * _PARTITION_RECORDS * partitions)
        return fuller(self.resources(), 1.0, fullness)

    def mapper(self, partitions: int) -> Mapper:
        return LineKeys(self.config, partitions)

    def reduces(self, partitions: int) -> tuple[Reduce, ...]:
        return (Count(self.config.max_count, self.config.keep == "first", partitions), Gather())

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        raise TypeError("the marks of dedup.lines need the texts: see mark_texts")

    def mark_texts(self, found: pa.RecordBatch, batch: DocBatch) -> Mapping[str, pa.Array]:
        config, rows = self.config, batch.num_rows
        cut = passages(batch, config.unit, config.normalise, config.min_bytes)
        listed = found.column("keys")
        offsets = np.zeros(rows + 1, np.int64)
        np.cumsum(pc.list_value_length(listed).fill_null(0).to_numpy(zero_copy_only=False), out=offsets[1:])
        taken = listed.flatten().to_numpy()
        gone = np.zeros(len(cut.keys), np.bool_)
        count = np.zeros(rows, np.int32)
        marked(cut.keys, cut.docs, offsets, address_of(taken), len(taken), gone, count)
        left = np.zeros(rows, np.int64)
        lengths(cut.starts, cut.ends, cut.docs, gone, count, batch.text_bytes, left)
        changed = count > 0
        text = _without(batch, cut, gone, count, left)
        blank = pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text)).fill_null(False)
        ends = np.zeros(rows + 1, np.int32)
        np.cumsum(blank.to_numpy(zero_copy_only=False), out=ends[1:])
        reasons = pa.ListArray.from_arrays(pa.array(ends), pa.array([EMPTY] * int(ends[-1]), pa.string()))
        removed = np.where(changed, batch.text_bytes - left, 0)
        return {
            "removed_lines_count": pa.array(count),
            "removed_bytes": pa.array(removed),
            REASONS: reasons,
            REWRITE: text,
        }


STAGE = LinesJob


def _without(
    batch: DocBatch, cut: Passages, gone: npt.NDArray[np.bool_], count: npt.NDArray[np.int32], left: Int64s
) -> pa.StringArray:
    """string[rows]: the texts without the passages that are gone, null where none is."""
    offsets, data = text_buffers(batch.text)
    made = np.zeros(len(count) + 1, np.int32)
    np.cumsum(left, out=made[1:])  # no more than the texts themselves have
    out = np.empty(int(made[-1]), np.uint8)
    without(
        address_of(data), data.size, address_of(offsets), cut.starts, cut.ends, cut.docs, gone, count, made, out
    )  # fmt: skip
    kept = pa.array(count > 0)
    validity = kept.buffers()[1] if len(kept) else None
    return pa.StringArray.from_buffers(len(count), pa.py_buffer(made), pa.py_buffer(out), validity)


class LineKeys(Mapper):
    """A record for each different line of a document."""

    def __init__(self, config: LinesConfig, partitions: int) -> None:
        self._config = config
        self._shift = np.uint64(64 - (partitions.bit_length() - 1))
        self._whole = partitions == 1

    def schema(self) -> pa.Schema:
        return _RECORD

    def emit(self, batch: DocBatch) -> Mapped:
        cut = passages(batch, self._config.unit, self._config.normalise, self._config.min_bytes)
        most = int(np.diff(cut.docs).max(initial=0))
        seen = np.empty(1 << max(4, (2 * most).bit_length()), np.uint64)
        rows, found = np.empty(len(cut.keys), np.int64), np.empty(len(cut.keys), np.uint64)
        count = distinct(cut.keys, cut.docs, seen, rows, found)
        rows, found = rows[:count], found[:count]
        arrays = [batch.column(DOC).take(pa.array(rows)), pa.array(found)]
        partition = np.zeros(count, np.int64) if self._whole else (found >> self._shift).astype(np.int64)
        return Mapped(pa.RecordBatch.from_arrays(arrays, schema=_RECORD), partition)


class Count(Reduce):
    """Which documents must let go of which keys: those that more than `max_count` documents have."""

    name = "count"

    def __init__(self, max_count: int, keep_first: bool, groups: int) -> None:
        self._max_count, self._keep_first, self._groups = max_count, keep_first, groups

    def schema(self) -> pa.Schema:
        return _RECORD

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        unit = looked_up(context)
        path = context.scratch / "line-keys"
        try:
            stored = Stored(path, records)
            keys, first = self._repeated(stored)
            unit.count("repeated", len(keys))
            for doc, key in stored if len(keys) else ():
                at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
                goes = keys[at] == key
                if self._keep_first:
                    goes &= first[at] != doc
                unit.count("removed", int(goes.sum()))
                arrays = [pa.array(doc[goes]), pa.array(key[goes])]
                yield pa.RecordBatch.from_arrays(arrays, schema=_RECORD), group_of(doc[goes], self._groups)
        finally:
            path.unlink(missing_ok=True)

    def _repeated(self, stored: Stored) -> tuple[UInt64s, Int64s]:
        """Keys of more than `max_count` documents, ascending, and the first document of each."""
        keys, counts, first = np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
        for doc, key in stored:
            keys = np.concatenate((keys, key))
            counts = np.concatenate((counts, np.ones(len(key), np.int64)))
            first = np.concatenate((first, doc))
            order = np.argsort(keys)
            keys, counts, first = keys[order], counts[order], first[order]
            starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
            keys, counts = keys[starts], np.add.reduceat(counts, starts)
            first = np.minimum.reduceat(first, starts)
        repeated = counts > self._max_count
        return keys[repeated], first[repeated]


class Stored:
    """Records of a partition, to be gone through twice: in memory if they are few, else in a file on scratch.

    Gives (doc: int64[n], key: uint64[n]) with n about `at_once`; never with n = 0.
    """

    def __init__(self, path: Path, records: Iterator[pa.RecordBatch], at_once: int | None = None) -> None:
        self._path = path
        self._lengths: list[int] = []
        self._held: list[tuple[Int64s, UInt64s]] = []
        chunks = _chunks(records, at_once or _AT_ONCE)
        self._held = list(itertools.islice(chunks, 2))
        if len(self._held) < 2:
            return
        with path.open("wb") as file:
            for doc, key in itertools.chain(self._held, chunks):
                file.write(np.ascontiguousarray(doc).data)  # unlike `tofile`, says ENOSPC
                file.write(np.ascontiguousarray(key).data)
                self._lengths.append(len(doc))
        self._held = []

    def __iter__(self) -> Iterator[tuple[Int64s, UInt64s]]:
        if not self._lengths:
            yield from self._held
            return
        with self._path.open("rb") as file:
            for length in self._lengths:
                yield np.fromfile(file, np.int64, length), np.fromfile(file, np.uint64, length)


def _chunks(records: Iterator[pa.RecordBatch], at_once: int) -> Iterator[tuple[Int64s, UInt64s]]:
    """Records of several batches together."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in itertools.chain(records, (None,)):
        if batch is not None:
            held.append(batch)
            rows += batch.num_rows
        if rows and (batch is None or rows >= at_once):
            whole = pa.concat_batches(held)
            held, rows = [], 0
            yield whole.column(DOC).to_numpy(), whole.column("key").to_numpy()


class Gather(Reduce):
    """The keys that each document must let go, as one list."""

    name = "gather"

    def schema(self) -> pa.Schema:
        return _FOUND

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        batches = [batch for batch in records if batch.num_rows]
        if not batches:
            return
        whole = pa.concat_batches(batches)
        del batches
        doc, key = whole.column(DOC).to_numpy(), whole.column("key").to_numpy()
        order = np.lexsort((key, doc))
        doc, key = doc[order], key[order]
        starts = np.flatnonzero(np.concatenate(([True], doc[1:] != doc[:-1])))
        offsets = np.append(starts, len(doc)).astype(np.int32)
        arrays = [pa.array(doc[starts]), pa.ListArray.from_arrays(pa.array(offsets), pa.array(key))]
        yield pa.RecordBatch.from_arrays(arrays, schema=_FOUND), doc[starts] >> 32
