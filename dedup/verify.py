"""Verify: candidates are compared before they count, by the evidence that the mapper left with their shards.

The two documents of a pair lie in different shards, so the records go to the evidence and not the other way round.
Shards are dealt to `groups` (shard mod groups), and every unit reads the evidence of its own group once:

    attach   edges at the group of `doc`: each pair once, with the evidence of `doc`     → group of `other`
    verify   compared with the evidence of `other`; those at or over the bound go on     → cluster
    fetch    clusters at the group of `survivor`: with the survivor's evidence           → group of `doc`
    measure  the similarity of each removed document to its survivor                     → shards

`fetch` and `measure` exist for `cluster: components` only, where the survivor may be several edges away.

Members that one star rejects may still be alike: they get a star of their own around the best of them, and so on,
`ROUNDS` times. The unit's counts say how many pairs there were (`candidates`), how many were under the bound
(`rejected`), and how many of these found another centre (`restarred`).

Numbers: 8 bytes and its evidence in memory for every document of a group, and 56 bytes and the evidence for each rejected
edge. Pairs are compared where the evidence lies, and copied for the next phase 32 MB at a time: one may have 40 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.columns import DOC
from curate.core.stage import Context, Reduce, ReduceUnit
from dedup.evidence import Evidence
from dedup.index import Published
from dedup.records import EDGE, FOUND, VERIFIED, Emitted, first_old, group_of, looked_up, named

Int64s = npt.NDArray[np.int64]

#: How often the rejected members of a star are gathered around another centre.
ROUNDS: Final = 4
EVIDENCE: Final = "evidence"
#: Bytes of evidence that are copied into records at a time, but for one document that has more.
_COPIED: Final = 32 << 20
#: Smaller arrays of evidence are joined to one of so many bytes: a kernel is called for each.
_JOINED: Final = 4 << 20


def side_schema(evidence: Evidence | None) -> pa.Schema:
    """The mapper's side records: one a document that has a signature; without evidence, `doc` alone."""
    doc = pa.field(DOC, pa.int64(), nullable=False)
    return pa.schema([doc] if evidence is None else [doc, pa.field(EVIDENCE, evidence.type, nullable=False)])


class Store:
    """The evidence of one group of shards, read when some of it is asked for."""

    def __init__(
        self, unit: ReduceUnit, groups: int, evidence: Evidence, published: Published | None = None
    ) -> None:
        self._unit, self._groups = unit, groups
        self._evidence, self._published = evidence, published
        self._first_old = first_old(unit)
        #: Evidence of virtual shards of an index, as far as it was needed.
        self._old: dict[int, pa.Array] = {}

    @cached_property
    def _kept(self) -> tuple[Int64s, Int64s, list[pa.Array]]:
        """Of all documents, ascending: their numbers, where each array of evidence begins among them, and the arrays.

        Large arrays stay as they were read: to join them would take as much memory again.
        """
        docs, kept = [np.zeros(0, np.int64)], []
        small: list[pa.Array] = []
        for shard in self._unit.shards:
            if shard % self._groups == self._unit.number:
                for batch in self._unit.side(shard):
                    docs.append(batch.column(DOC).to_numpy())
                    small.append(batch.column(EVIDENCE))
                    if sum(array.nbytes for array in small) >= _JOINED:
                        kept.append(pa.concat_arrays(small) if len(small) > 1 else small[0])
                        small = []
        kept.append(pa.concat_arrays(small) if small else pa.array([], self._evidence.type))
        starts = np.concatenate(([0], np.cumsum([len(array) for array in kept]))).astype(np.int64)
        return np.concatenate(docs), starts, kept

    def of(self, docs: Int64s) -> pa.Array:
        """The evidence of each, copied; every document must have some."""
        parts = self._places(docs)
        kept = [array.take(pa.array(at)) for _, array, at in parts]
        if len(kept) <= 1:
            return kept[0] if kept else pa.array([], self._evidence.type)
        order = np.empty(len(docs), np.int64)
        order[np.concatenate([rows for rows, _, _ in parts])] = np.arange(len(docs))
        return pa.concat_arrays(kept).take(pa.array(order))

    def sizes(self, docs: Int64s) -> Int64s:
        """int64[docs]: bytes of the evidence of each."""
        out = np.empty(len(docs), np.int64)
        for rows, array, at in self._places(docs):
            out[rows] = self._evidence.sizes(array)[at]
        return out

    def compare(self, evidence: pa.Array, at: Int64s | None, docs: Int64s) -> npt.NDArray[np.float32]:
        """float32[docs]: each with the evidence in a row of `at`, or in its own; nothing large is copied."""
        mine = np.arange(len(docs)) if at is None else at
        out = np.empty(len(docs), np.float32)
        for rows, array, places in self._places(docs):
            out[rows] = self._evidence.compare(evidence, array, mine[rows], places)
        return out

    def _places(self, docs: Int64s) -> list[tuple[Int64s, pa.Array, Int64s]]:
        """Where the evidence lies: of which rows of docs, in which array, at which places of it; all rows, each once."""
        if self._published is None:
            return self._new(docs, np.arange(len(docs)))
        old = docs >= self._first_old << 32
        parts = self._new(docs, np.flatnonzero(~old))
        shards = docs >> 32
        for shard in np.unique(shards[old]).tolist():
            if shard not in self._old:
                self._old[shard] = self._published.evidence(self._first_old, shard, self._evidence.type)
            here = np.flatnonzero(shards == shard)
            parts.append((here, self._old[shard], docs[here] & 0xFFFFFFFF))
        return parts

    def _new(self, docs: Int64s, rows: Int64s) -> list[tuple[Int64s, pa.Array, Int64s]]:
        """The same for those rows, which are documents of the run."""
        if len(rows) == 0:
            return []
        known, starts, kept = self._kept
        at = np.searchsorted(known, docs[rows])
        at[at == len(known)] = 0
        if not (len(known) and bool((known[at] == docs[rows]).all())):
            raise ValueError("a candidate has no evidence: the run folder holds side records of another run")
        array = np.searchsorted(starts, at, side="right") - 1
        order = np.argsort(array, kind="stable")
        numbers, first = np.unique(array[order], return_index=True)
        return [
            (rows[here], kept[number], at[here] - starts[number])
            for number, here in zip(numbers.tolist(), np.split(order, first[1:]), strict=True)
        ]


def slices(sizes: Int64s, most: int) -> Iterator[slice]:
    """Consecutive rows that have at most so many bytes together; a row that has more is alone."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield slice(start, stop)
        start = stop


class _Compared(Reduce):
    """A phase whose units have the evidence of a group of shards, and of the published documents among theirs."""

    def __init__(self, groups: int, evidence: Evidence, published: Published | None = None) -> None:
        self._groups, self._evidence, self._published = groups, evidence, published

    def _parts(
        self, records: Iterator[pa.RecordBatch], unit: ReduceUnit
    ) -> Iterator[tuple[pa.RecordBatch, Store]]:
        """The records, and the store, which is read if there are any."""
        store: Store | None = None
        for batch in records:
            store = store or Store(unit, self._groups, self._evidence, self._published)
            yield batch, store


class Attach(_Compared):
    """Each pair once, with the evidence of `doc`, to the group of `other`."""

    name = "attach"
    passing = True

    def schema(self) -> pa.Schema:
        return EDGE.append(pa.field(EVIDENCE, self._evidence.type, nullable=False))

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        unit = looked_up(context)
        batches = list(records)
        if not batches:
            return
        doc, other, rank, other_rank = (
            np.concatenate([b.column(name).to_numpy() for b in batches]) for name in EDGE.names
        )
        del batches
        order = np.lexsort((other, doc))
        doc, other = doc[order], other[order]
        once = np.concatenate(([True], (doc[1:] != doc[:-1]) | (other[1:] != other[:-1])))
        order = order[once]
        columns = [pa.array(column) for column in (doc[once], other[once], rank[order], other_rank[order])]
        pairs = pa.RecordBatch.from_arrays(columns, schema=EDGE)
        unit.count("candidates", pairs.num_rows)
        for _, store in self._parts(iter([pairs]), unit):
            for rows in slices(store.sizes(doc[once]), _COPIED):
                part = pairs.slice(rows.start, rows.stop - rows.start)
                arrays = [*part.columns, store.of(part.column(DOC).to_numpy())]
                to = group_of(part.column("other").to_numpy(), self._groups)
                yield pa.RecordBatch.from_arrays(arrays, schema=self.schema()), to


class Pairs(NamedTuple):
    """Edges, int64[pairs] each, with the evidence of `doc`: row `place` of an array that all parts of them share."""

    doc: Int64s
    other: Int64s
    rank: Int64s
    other_rank: Int64s
    evidence: pa.Array
    place: Int64s

    def at(self, chosen: Int64s) -> Pairs:
        return Pairs(
            self.doc[chosen],
            self.other[chosen],
            self.rank[chosen],
            self.other_rank[chosen],
            self.evidence,
            self.place[chosen],
        )

    def alone(self) -> Pairs:
        """With an array of its own, of no more evidence than it needs."""
        return self._replace(
            evidence=self.evidence.take(pa.array(self.place)), place=np.arange(len(self.place))
        )


def _joined(parts: list[Pairs]) -> Pairs:
    """Of parts that are `alone`."""
    return Pairs(
        np.concatenate([pairs.doc for pairs in parts]),
        np.concatenate([pairs.other for pairs in parts]),
        np.concatenate([pairs.rank for pairs in parts]),
        np.concatenate([pairs.other_rank for pairs in parts]),
        pa.concat_arrays([pairs.evidence for pairs in parts]),
        np.arange(sum(len(pairs.place) for pairs in parts)),
    )


class Verify(_Compared):
    """Edges whose documents are alike enough, with their similarity."""

    name = "verify"

    def __init__(
        self, groups: int, evidence: Evidence, bound: float, published: Published | None = None
    ) -> None:
        super().__init__(groups, evidence, published)
        # A similarity is a float32: 0.8 has to be one too, or J = 0.8 would be below it.
        self._bound = np.float32(bound)

    def schema(self) -> pa.Schema:
        return VERIFIED

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        unit = looked_up(context)
        rejected: list[Pairs] = []
        new = first_old(unit) << 32
        for part, store in self._parts(records, unit):
            doc, other, rank, other_rank = (part.column(name).to_numpy() for name in EDGE.names)
            pairs = Pairs(doc, other, rank, other_rank, part.column(EVIDENCE), np.arange(len(doc)))
            alike = store.compare(pairs.evidence, None, other)
            good = alike >= self._bound
            found = good & (doc < new)  # two published documents both stay
            yield _verified(doc[found], other[found], rank[found], other_rank[found], alike[found])
            if not good.all():
                rejected.append(pairs.at(np.flatnonzero(~good)).alone())
        if rejected:
            left = _joined(rejected)
            rejected.clear()
            yield from self._again(left, unit)

    def _again(self, left: Pairs, unit: ReduceUnit) -> Emitted:
        """Stars among those that a star rejected; `other` stays the centre that did, by which they are grouped."""
        unit.count("rejected", len(left.doc))
        for _ in range(ROUNDS):
            left = left.at(np.lexsort((left.doc, left.rank, left.other)))
            first = np.concatenate(([True], left.other[1:] != left.other[:-1]))[: len(left.doc)]
            members = np.flatnonzero(~first)
            if len(members) == 0:
                break
            around = np.flatnonzero(first)[np.cumsum(first) - 1][members]
            alike = self._evidence.compare(
                left.evidence, left.evidence, left.place[members], left.place[around]
            )
            good = alike >= self._bound
            found = good & (left.doc[members] < first_old(unit) << 32)
            one, centre = members[found], around[found]
            unit.count("restarred", len(one))
            yield _verified(left.doc[one], left.doc[centre], left.rank[one], left.rank[centre], alike[found])
            left = left.at(members[~good])


def _verified(
    doc: Int64s, other: Int64s, rank: Int64s, other_rank: Int64s, alike: npt.NDArray[np.float32]
) -> tuple[pa.RecordBatch, Int64s]:
    arrays = [pa.array(column) for column in (doc, other, rank, other_rank, alike)]
    return pa.RecordBatch.from_arrays(arrays, schema=VERIFIED), np.zeros(len(doc), np.int64)


class Fetch(_Compared):
    """Clusters, with the survivor's evidence where the similarity to it is unknown, to the group of `doc`."""

    name = "fetch"
    passing = True

    def schema(self) -> pa.Schema:
        return FOUND.append(pa.field(EVIDENCE, self._evidence.type))

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        for batch, store in self._parts(records, looked_up(context)):
            every = _unknown(batch)
            sizes = np.zeros(batch.num_rows, np.int64)
            sizes[every] = store.sizes(batch.column("survivor").fill_null(0).to_numpy()[every])
            for rows in slices(sizes, _COPIED):
                part, unknown = batch.slice(rows.start, rows.stop - rows.start), every[rows]
                survivors = part.column("survivor").fill_null(0).to_numpy()[unknown]
                places = np.where(unknown, np.cumsum(unknown) - 1, 0)
                kept = store.of(survivors).take(pa.array(places, mask=~unknown))
                to = group_of(part.column(DOC).to_numpy(), self._groups)
                yield pa.RecordBatch.from_arrays([*part.columns, kept], schema=self.schema()), to


class Measure(_Compared):
    """The similarity to the survivor where it was unknown; to the shard of each document."""

    name = "measure"

    def schema(self) -> pa.Schema:
        return FOUND

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        unit = looked_up(context)
        for part, store in self._parts(records, unit):
            docs = part.column(DOC).to_numpy()
            unknown = np.flatnonzero(_unknown(part))
            alike = part.column("similarity").fill_null(0).to_numpy().copy()
            alike[unknown] = store.compare(part.column(EVIDENCE), unknown, docs[unknown])
            missing = part.column("survivor").is_null().to_numpy(zero_copy_only=False)
            column = pa.array(alike, mask=missing)
            found = part.select(FOUND.names).set_column(5, FOUND.field(5), column)
            yield named(found, self._published, unit), docs >> 32


def _unknown(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Removed documents whose similarity to their survivor is not known yet."""
    removed = batch.column("survivor").is_valid().to_numpy(zero_copy_only=False)
    return removed & batch.column("similarity").is_null().to_numpy(zero_copy_only=False)
