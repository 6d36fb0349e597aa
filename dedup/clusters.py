"""Clusters: from edges between documents to one survivor each.

In: edges (doc, other, rank of both, similarity), in any order, any edge any number of times. Out, for each document
of a cluster of two or more, ascending by doc:

    doc          int64
    cluster      int64     smallest doc of its cluster
    size         int64     documents in it
    survivor     int64     the document that survives: smallest (rank, doc); for the survivor itself its own doc
    partner      int64     a document that an edge joins it to: the survivor if there is such an edge, else the most
                           similar one
    similarity   float32   of the edge to the survivor; NaN where there is none

`components` follows edges through any number of documents. `stars` goes through the documents from the best (rank,
doc) on: one that is not removed yet survives, and removes those that an edge joins to it; so every removed one has an
edge to its own survivor, and which one it is does not depend on the order of edges either.

Documents are numbered densely first (`dedup.numbering`). Union-find (Tarjan 1975) halves paths and hangs the worse root
under the better, so the root *is* the survivor and the answer is the same for any order. In all, 8 arrays of a number
for each document of an edge, 56 bytes, lie on local scratch, and the edges themselves: 36 bytes each. Stars need 16 bytes
more for an edge, and 24 for a document while they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.stage import Context, Reduce
from curate.core.text.memory import inlined, kernel
from dedup.index import Published
from dedup.numbering import EdgeBatch, Index, Scratch
from dedup.records import FOUND, Emitted, first_old, group_of, looked_up, named

Int64s = npt.NDArray[np.int64]

#: Documents that go on at a time.
_AT_ONCE: Final = 1 << 21
#: Bits of a rank to sort by at a time; six times as many are 66.
_DIGIT: Final = 11


class Clusters(NamedTuple):
    """The columns at the top of the module."""

    doc: Int64s
    cluster: Int64s
    size: Int64s
    survivor: Int64s
    partner: Int64s
    similarity: npt.NDArray[np.float32]

    def first(self, count: int) -> Clusters:
        """The first documents of them."""
        doc, cluster, size, survivor, partner = (column[:count] for column in self[:5])
        return Clusters(doc, cluster, size, survivor, partner, self.similarity[:count])


class Decided(NamedTuple):
    """What is known about every document that has an edge, by number; survivor, smallest and partner are numbers too."""

    docs: Int64s
    survivor: Int64s
    size: Int64s
    smallest: Int64s
    partner: Int64s
    similarity: npt.NDArray[np.float32]

    @property
    def removed(self) -> int:
        """How many documents another one survives."""
        return len(self.survivor) - int(np.count_nonzero(self.size))

    def parts(self, at_once: int = _AT_ONCE) -> Iterator[Clusters]:
        """Documents of clusters of two or more, ascending, of at most so many documents at a time."""
        for start in range(0, len(self.docs), at_once):
            root = self.survivor[start : start + at_once]
            several = np.flatnonzero(self.size[root] > 1)
            root, number = root[several], several + start
            yield Clusters(
                self.docs[number],
                self.docs[self.smallest[root]],
                self.size[root],
                self.docs[root],
                self.docs[self.partner[number]],
                self.similarity[number],
            )


def components(batches: Iterable[EdgeBatch], scratch: Scratch | None = None) -> Decided:
    """Connected components. batches are gone through several times, so they must be a sequence or a file."""
    scratch = scratch or Scratch()
    index = Index(batches, scratch)
    parent = scratch.array(len(index), np.int64, 0)
    for start in range(0, len(index), _AT_ONCE):  # an array of all of them would be in memory
        parent[start : start + _AT_ONCE] = np.arange(start, min(start + _AT_ONCE, len(index)))
    rank = scratch.array(len(index), np.int64, 0)
    for one, other, batch in _numbered(batches, index):
        rank[one], rank[other] = batch.rank, batch.other_rank
        _unite(one, other, rank, parent)
    _flatten(parent)
    return _described(index, parent, batches, scratch)


def stars(batches: Iterable[EdgeBatch], scratch: Scratch | None = None) -> Decided:
    """A star around each survivor. Every edge stands on scratch in both directions, 16 bytes."""
    scratch = scratch or Scratch()
    index = Index(batches, scratch)
    rank = scratch.array(len(index), np.int64, 0)
    ends = scratch.array(len(index) + 1, np.int64, 0)
    for one, other, batch in _numbered(batches, index):
        rank[one], rank[other] = batch.rank, batch.other_rank
        _degrees(one, other, ends)
    _add_up(ends)
    free, near = scratch.array(len(index), np.int64, 0), scratch.array(int(ends[-1]), np.int64, 0)
    free[:] = ends[:-1]
    for one, other, _ in _numbered(batches, index):
        _adjacent(one, other, free, near)
    survivor = scratch.array(len(index), np.int64, -1)
    _remove(_best_first(rank, free, scratch), ends, near, survivor)
    del ends, free, near
    return _described(index, survivor, batches, scratch)


def _best_first(rank: Int64s, spare: Int64s, scratch: Scratch) -> Int64s:
    """int64[rank]: numbers by rank, equal ones ascending: radix sort, since `argsort` would answer in plain memory.

    spare: int64[rank], overwritten, and perhaps returned.
    """
    order = scratch.array(len(rank), np.int64, 0)
    counts = np.zeros((6, 1 << _DIGIT), np.int64)
    _count_digits(rank, order, counts)
    for digit in np.flatnonzero(np.count_nonzero(counts, axis=1) > 1):
        _by_digit(rank, digit * _DIGIT, np.cumsum(counts[digit]) - counts[digit], order, spare)
        order, spare = spare, order
    return order


def _numbered(batches: Iterable[EdgeBatch], index: Index) -> Iterable[tuple[Int64s, Int64s, EdgeBatch]]:
    for batch in batches:
        yield index.of(batch.doc), index.of(batch.other), batch


def _described(index: Index, survivor: Int64s, batches: Iterable[EdgeBatch], scratch: Scratch) -> Decided:
    """survivor: int64[len(index)], numbers of the documents that survive each."""
    size, smallest = (scratch.array(len(index), np.int64, 0) for _ in range(2))
    _sizes(survivor, size, smallest)
    partner = scratch.array(len(index), np.int64, -1)
    closest = scratch.array(len(index), np.float32, -1)
    to_survivor = scratch.array(len(index), np.float32, np.nan)
    for one, other, batch in _numbered(batches, index):
        _partners(one, other, batch.similarity, survivor, partner, closest, to_survivor)
    return Decided(index.docs(scratch), survivor, size, smallest, partner, to_survivor)


@kernel
def _sizes(survivor, size, smallest):  # type: ignore[no-untyped-def]  # numba infers
    """Documents of each survivor, and the first of them."""
    for i in range(survivor.size):
        root = survivor[i]
        if size[root] == 0:
            smallest[root] = i
        size[root] += 1


@kernel
def _degrees(ones, others, degree):  # type: ignore[no-untyped-def]  # numba infers
    for k in range(ones.size):
        degree[ones[k] + 1] += 1
        degree[others[k] + 1] += 1


@inlined
def _root(parent, i):  # type: ignore[no-untyped-def]  # numba infers
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _unite(ones, others, rank, parent):  # type: ignore[no-untyped-def]  # numba infers
    for k in range(ones.size):
        a, b = _root(parent, ones[k]), _root(parent, others[k])
        if a == b:
            continue
        if rank[b] < rank[a] or (rank[b] == rank[a] and b < a):
            a, b = b, a
        parent[b] = a


@kernel
def _flatten(parent):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(parent.size):
        parent[i] = _root(parent, i)


@kernel
def _add_up(numbers):  # type: ignore[no-untyped-def]  # numba infers
    """Running sums, in place."""
    for i in range(1, numbers.size):
        numbers[i] += numbers[i - 1]


@kernel
def _count_digits(rank, order, counts):  # type: ignore[no-untyped-def]  # numba infers
    """How often each digit has each value; and order as it is before the first one is sorted by."""
    for i in range(rank.size):
        order[i] = i
        value = np.uint64(rank[i]) ^ np.uint64(1 << 63)
        for digit in range(counts.shape[0]):
            counts[digit, np.int64(value >> np.uint64(digit * _DIGIT)) & ((1 << _DIGIT) - 1)] += 1


@kernel
def _by_digit(rank, shift, free, order, out):  # type: ignore[no-untyped-def]  # numba infers
    """order, stably by the digit of rank that begins at bit `shift`; free: where each value's numbers begin, moved on."""
    for k in range(order.size):
        i = order[k]
        value = np.uint64(rank[i]) ^ np.uint64(1 << 63)
        digit = np.int64(value >> np.uint64(shift)) & ((1 << _DIGIT) - 1)
        out[free[digit]] = i
        free[digit] += 1


@kernel
def _adjacent(ones, others, free, near):  # type: ignore[no-untyped-def]  # numba infers
    for k in range(ones.size):
        a, b = ones[k], others[k]
        near[free[a]] = b
        free[a] += 1
        near[free[b]] = a
        free[b] += 1


@kernel
def _remove(order, ends, near, survivor):  # type: ignore[no-untyped-def]  # numba infers
    for i in order:
        if survivor[i] >= 0:
            continue
        survivor[i] = i
        for k in range(ends[i], ends[i + 1]):
            if survivor[near[k]] < 0:
                survivor[near[k]] = i


@inlined
def _consider(doc, other, similarity, survivor, partner, closest, to_survivor):  # type: ignore[no-untyped-def]  # numba infers
    """Makes `other` the partner if it is a better one: the survivor, else the more similar, else the smaller doc."""
    if survivor[doc] != survivor[other]:
        return  # a star's edge to another star
    if survivor[doc] == other:
        partner[doc] = other
        if not to_survivor[doc] >= similarity:
            to_survivor[doc] = similarity
        return
    if partner[doc] >= 0 and partner[doc] == survivor[doc]:
        return
    if similarity > closest[doc] or (similarity == closest[doc] and other < partner[doc]) or partner[doc] < 0:
        partner[doc] = other
        closest[doc] = similarity


@kernel
def _partners(ones, others, similarities, survivor, partner, closest, to_survivor):  # type: ignore[no-untyped-def]  # numba infers
    for k in range(ones.size):
        _consider(ones[k], others[k], similarities[k], survivor, partner, closest, to_survivor)
        _consider(others[k], ones[k], similarities[k], survivor, partner, closest, to_survivor)


class EdgeFile:
    """Edges on local scratch, one column after the other in each batch; to be gone through as often as needed."""

    def __init__(self, path: Path, records: Iterator[pa.RecordBatch]) -> None:
        self._path = path
        self._lengths: list[int] = []
        with path.open("wb") as file:
            for record in records:
                self._lengths.append(record.num_rows)
                for column in record.columns:
                    file.write(np.ascontiguousarray(column.to_numpy()).data)  # unlike `tofile`, says ENOSPC

    def __iter__(self) -> Iterator[EdgeBatch]:
        with self._path.open("rb") as file:
            for length in self._lengths:
                doc, other, rank, other_rank = (np.fromfile(file, np.int64, length) for _ in range(4))
                yield EdgeBatch(doc, other, rank, other_rank, np.fromfile(file, np.float32, length))


class Cluster(Reduce):
    """All edges, in one unit: clusters and survivors; to the groups of survivors, or to shards if groups is None.

    star: `stars` instead of `components`. measured: whether edges have similarities.
    published: documents of an index, all of which survive.
    """

    name = "cluster"

    def __init__(
        self,
        *,
        star: bool,
        measured: bool,
        groups: int | None,
        published: Published | None = None,
    ) -> None:
        self._star, self._measured, self._groups = star, measured, groups
        self._published = published

    def units(self, partitions: int) -> int:
        return 1

    def schema(self) -> pa.Schema:
        return FOUND

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        unit = looked_up(context)
        path = context.scratch / "minhash-edges"
        try:
            batches = EdgeFile(path, records)
            found = (stars if self._star else components)(batches, Scratch(context.scratch))
        finally:
            path.unlink(missing_ok=True)
        new = first_old(unit) << 32
        _keep_old(found, new)
        unit.count("clusters", int(np.count_nonzero(found.size > 1)))
        unit.count("removed", found.removed)
        for every in found.parts():
            part = every.first(int(np.searchsorted(every.doc, new)))
            removed = part.survivor != part.doc
            known = removed & ~np.isnan(part.similarity) & self._measured
            arrays = [
                pa.array(part.doc),
                pa.array(part.cluster),
                pa.array(part.size.astype(np.int32)),
                pa.array(part.survivor, mask=~removed),
                pa.array(part.partner),
                pa.array(part.similarity, mask=~known),
            ]
            record = pa.RecordBatch.from_arrays(arrays, schema=FOUND)
            if self._groups is not None:
                yield record, group_of(part.survivor, self._groups)
            else:
                yield named(record, self._published, unit), part.doc >> 32


def _keep_old(found: Decided, new: int) -> None:
    """Published documents, which come last, survive all of them: one that another one's component took in is given back."""
    numbers = np.arange(int(np.searchsorted(found.docs, new)), len(found.docs))
    taken = numbers[found.survivor[numbers] != numbers]
    found.survivor[taken] = taken
    found.size[taken] = 1
