"""Quantiles from histograms instead of sorting, in memory that does not grow with the documents, for any number of units.

A value is known by its bucket: sign, exponent and 12 bits of the fraction, a relative 2⁻¹². All documents of a bucket have
one rank, the weight of the buckets below over the weight of all, and pass together: if the last of them would pass in
exact order. So nothing that exact ranks keep is dropped (where every document has weight), and what is kept beyond it has
the threshold's bucket.

    mapper    each document's group, weight and values stay with its shard, as side records
    sketch    each unit counts its shards; every unit gets all counts
    combine   only where ranks are ranked once more: the same for the ranks together
    decide    each unit judges the documents of its shards, a stretch at a time

Unit u of n has the shards u, u + n, …. Memory: 24 bytes for each bucket that occurs, of each column and group; there are
4,096 between two powers of 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.columns import DOC
from curate.core.stage import Context, Reduce
from filters.ranks import Float64s, Int64s, Mask, Rule, combined, together, verdict_schema, verdicts

_DROPPED_BITS: Final = 40
_BUCKETS: Final = 24
_MAGNITUDE: Final = np.int64(2**63 - 1)
#: Rows of counts after which equal ones are added up.
_HELD: Final = 1 << 20
#: Number that stands for the ranks together, in place of a column's.
_TOGETHER: Final = -1

COUNTS: Final = pa.schema(
    [
        pa.field("column", pa.int32(), nullable=False),
        pa.field("group", pa.uint64(), nullable=False),
        pa.field("bucket", pa.int64(), nullable=False),
        pa.field("weight", pa.int64(), nullable=False),
    ]
)


def buckets(values: Float64s) -> Int64s:
    """int64[n], ascending with the values."""
    bits = (values + 0.0).view(np.int64)  # -0.0 is 0.0
    return np.where(bits < 0, bits ^ _MAGNITUDE, bits) >> _DROPPED_BITS


class Counts:
    """Weight by column, group and bucket."""

    def __init__(self) -> None:
        self._parts: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, column: int, group: npt.NDArray[np.uint64], values: Float64s, weight: Int64s) -> None:
        there = ~np.isnan(values)
        size = int(there.sum())
        arrays = [np.full(size, column, np.int32), group[there], buckets(values[there]), weight[there]]
        self.extend(_settled(pa.RecordBatch.from_arrays([pa.array(a) for a in arrays], schema=COUNTS)))

    def extend(self, record: pa.RecordBatch) -> None:
        self._parts.append(record)
        self._rows += record.num_rows
        if self._rows > _HELD:
            self._parts = [self.record()]
            self._rows = self._parts[0].num_rows // 2  # so that the next time comes after as many again

    def record(self) -> pa.RecordBatch:
        """Ascending by column, group and bucket."""
        return _settled(pa.concat_batches([pa.RecordBatch.from_pylist([], COUNTS), *self._parts]))


def _settled(record: pa.RecordBatch) -> pa.RecordBatch:
    column, group, bucket, weight = (c.to_numpy() for c in record.columns)
    order = np.lexsort((bucket, group, column))
    column, group, bucket = column[order], group[order], bucket[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (column[1:] != column[:-1]) | (group[1:] != group[:-1]) | (bucket[1:] != bucket[:-1])
    starts = np.flatnonzero(new)
    weight = np.add.reduceat(weight[order], starts) if len(starts) else weight[:0]
    arrays = [pa.array(a) for a in (column[starts], group[starts], bucket[starts], weight)]
    return pa.RecordBatch.from_arrays(arrays, schema=COUNTS)


class Table(NamedTuple):
    """Ranks and verdicts of one column by bucket. keys: group's number << 24 | bucket, ascending."""

    groups: npt.NDArray[np.uint64]
    keys: Int64s
    ranks: Float64s
    passes: Mask

    def judged(self, group: npt.NDArray[np.uint64], values: Float64s) -> tuple[Float64s, Mask]:
        """Of each document: rank, nan without a value, and whether it passes."""
        ranks, passes = np.full(len(values), np.nan), np.zeros(len(values), np.bool_)
        there = np.flatnonzero(~np.isnan(values))
        at = np.searchsorted(self.keys, _keys(self.groups, group[there], buckets(values[there])))
        ranks[there], passes[there] = self.ranks[at], self.passes[at]
        return ranks, passes


def _keys(groups: npt.NDArray[np.uint64], group: npt.NDArray[np.uint64], bucket: Int64s) -> Int64s:
    number = np.searchsorted(groups, group).astype(np.int64)
    return number << _BUCKETS | bucket + (1 << (_BUCKETS - 1))


def table_of(counts: pa.RecordBatch, column: int, quantile: float) -> Table:
    """From all counts, settled."""
    rows = counts.filter(pa.array(counts.column("column").to_numpy() == column))
    group, bucket, weight = (rows.column(name).to_numpy() for name in ("group", "bucket", "weight"))
    groups, starts = np.unique(group, return_index=True)
    sizes = np.diff(np.append(starts, len(group)))
    ends = np.cumsum(weight)
    base = np.repeat(ends[starts] - weight[starts], sizes)
    totals = np.add.reduceat(weight, starts) if len(starts) else weight[:0]
    share = Fraction(str(quantile))
    needed = np.array([-(-share.numerator * int(t) // share.denominator) for t in totals], np.int64)
    total, need = np.repeat(totals, sizes), np.repeat(needed, sizes)
    after = ends - base
    passes = (after > need) | (total == 0)
    return Table(groups, _keys(groups, group, bucket), (after - weight) / np.maximum(total, 1), passes)


class _Phase(Reduce):
    """What the phases have in common: the documents of a unit's shards, and the counts of all."""

    def __init__(self, rule: Rule, columns: int, partitions: int) -> None:
        self._rule = rule
        self._columns = columns
        self._partitions = partitions

    def schema(self) -> pa.Schema:
        return COUNTS

    def _documents(self, context: Context) -> Iterator[pa.RecordBatch]:
        assert context.unit is not None
        for shard in context.unit.shards[context.unit.number :: self._partitions]:
            yield from context.unit.side(shard)

    def _tables(self, counts: pa.RecordBatch) -> list[Table]:
        return [table_of(counts, column, self._rule.quantile) for column in range(self._columns)]

    def _judged(self, tables: list[Table], record: pa.RecordBatch) -> tuple[Float64s, Mask]:
        """float64[documents, columns] and bool, as of exact ranks."""
        group = record.column("group").to_numpy()
        found = [t.judged(group, record.column(f"value{i}").to_numpy()) for i, t in enumerate(tables)]
        return np.stack([ranks for ranks, _ in found], axis=1), np.stack([p for _, p in found], axis=1)

    def _to_all(self, counts: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        for unit in range(self._partitions):
            yield counts, np.full(counts.num_rows, unit, np.int64)


class Sketch(_Phase):
    """Counts the documents of the unit's shards."""

    name = "sketch"

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        counts = Counts()
        for record in self._documents(context):
            group, weight = record.column("group").to_numpy(), record.column("weight").to_numpy()
            for column in range(self._columns):
                counts.add(column, group, record.column(f"value{column}").to_numpy(), weight)
        yield from self._to_all(counts.record())


class Combine(_Phase):
    """Counts the ranks together, and passes on the counts of the columns to the unit of its own number."""

    name = "combine"

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        assert context.unit is not None
        whole = _all_of(records)
        tables = self._tables(whole)
        counts = Counts()
        for record in self._documents(context):
            ranks, _ = self._judged(tables, record)
            group, weight = record.column("group").to_numpy(), record.column("weight").to_numpy()
            counts.add(_TOGETHER, group, combined(self._rule, ranks, ~np.isnan(ranks)), weight)
        yield whole, np.full(whole.num_rows, context.unit.number, np.int64)
        yield from self._to_all(counts.record())


class Decide(_Phase):
    """Judges the documents of the unit's shards."""

    name = "decide"

    def schema(self) -> pa.Schema:
        return verdict_schema()

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        whole = _all_of(records)
        tables = self._tables(whole)
        last = table_of(whole, _TOGETHER, self._rule.quantile)
        for record in self._documents(context):
            ranks, passes = self._judged(tables, record)
            known = ~np.isnan(ranks)
            stays = together(self._rule, ranks, passes, known)
            if stays is None:
                stays = last.judged(record.column("group").to_numpy(), combined(self._rule, ranks, known))[1]
            doc = record.column(DOC).to_numpy()
            yield verdicts(doc, ranks, stays, self._rule, context), doc >> 32


def _all_of(records: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
    counts = Counts()
    for record in records:
        counts.extend(record)
    return counts.record()
