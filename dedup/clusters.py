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
under the better, so the root *is* the survivor and the answer is the same for any order.

Numbers: on local scratch lie arrays for the documents that have an edge, of 32 bits each while there are fewer than 2³² of
them: survivor, partner, size and row, 16 bytes; 4 for similarities and 4 for the smallest document of a cluster, if
similarities or ranks differ, and 8 for ranks until the survivors are known, 24 at most. Stars need 24 more until then,
and 8 bytes an edge. The edges themselves have 36 bytes, less what all of a part have in common: 16 with `verify: none`.
What one pass goes through at random are two of the arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.stage import Context, Reduce
from curate.core.text.memory import inlined, kernel
from dedup.edge_file import EdgeBatch, EdgeFile
from dedup.index import Published
from dedup.numbering import Documents, Index, Numbers, Scratch
from dedup.radix import best_first
from dedup.records import FOUND, Emitted, first_old, group_of, looked_up, named

Int64s = npt.NDArray[np.int64]

#: Documents that go on at a time.
_AT_ONCE: Final = 1 << 21
#: Edges whose documents are looked at before the first of them is worked on; two cache lines of each in a core's first.
_AHEAD: Final = 128


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
    """What is known about every document that has an edge, by number; survivor, smallest and partner are numbers too.

    size and smallest: of a cluster, at the number of its survivor; no smallest where that is the survivor itself.
    similarity: to the partner, or no array and `alike` for all of them.
    """

    docs: Documents
    survivor: Numbers
    size: Numbers
    smallest: Numbers | None
    partner: Numbers
    similarity: npt.NDArray[np.float32] | None
    alike: float

    @property
    def removed(self) -> int:
        """How many documents another one survives."""
        return len(self.survivor) - int(np.count_nonzero(self.size))

    @property
    def clusters(self) -> int:
        """How many clusters have two documents or more."""
        parts = (self.size[start : start + _AT_ONCE] for start in range(0, len(self.size), _AT_ONCE))
        return sum(int(np.count_nonzero(part > 1)) for part in parts)

    def parts(self, at_once: int = _AT_ONCE) -> Iterator[Clusters]:
        """Documents of clusters of two or more, ascending, of at most so many documents at a time."""
        for start in range(0, len(self.docs), at_once):
            root = self.survivor[start : start + at_once]
            size = self.size[root]
            several = np.flatnonzero(size > 1)
            root, number = root[several], (several + start).astype(root.dtype)
            partner = self.partner[number]
            survivor = self.docs.of(root)
            similarity = self.similarity[number] if self.similarity is not None else np.float32(self.alike)
            yield Clusters(
                self.docs.of(number),
                survivor if self.smallest is None else self.docs.of(self.smallest[root]),
                size[several].astype(np.int64),
                survivor,
                self.docs.of(partner),
                np.where(partner == root, similarity, np.float32(np.nan)),
            )


def components(batches: Iterable[EdgeBatch], scratch: Scratch | None = None) -> Decided:
    """Connected components. batches are gone through several times, so they must be a sequence or a file."""
    scratch = scratch or Scratch()
    index = Index(batches, scratch)
    parent = scratch.array(len(index), index.number, 0)
    for start in range(0, len(index), _AT_ONCE):  # an array of all of them would be in memory
        parent[start : start + _AT_ONCE] = np.arange(start, min(start + _AT_ONCE, len(index)))
    rank = scratch.array(len(index) if index.ranked else 0, np.int64, 0)
    for one, other, batch in _numbered(batches, index):
        if index.ranked:
            rank[one], rank[other] = batch.rank, batch.other_rank
        _unite(one, other, rank, parent)
    del rank
    _flatten(parent)
    return _described(index, parent, batches, scratch)


def stars(batches: Iterable[EdgeBatch], scratch: Scratch | None = None) -> Decided:
    """A star around each survivor. Every edge stands on scratch in both directions, 8 bytes (16 where numbers are int64)."""
    scratch = scratch or Scratch()
    index = Index(batches, scratch)
    rank = scratch.array(len(index) if index.ranked else 0, np.int64, 0)
    ends = scratch.array(len(index) + 1, np.int64, 0)
    for one, other, batch in _numbered(batches, index):
        if index.ranked:
            rank[one], rank[other] = batch.rank, batch.other_rank
        _degrees(one, other, ends)
    order = best_first(rank, index.number, scratch)
    del rank
    _add_up(ends)
    near = scratch.array(int(ends[-1]), index.number, 0)
    for one, other, _ in _numbered(batches, index):
        _adjacent(one, other, ends, near)
    survivor = scratch.array(len(index), index.number, len(index))
    _remove(order, ends, near, survivor)
    del order, ends, near
    return _described(index, survivor, batches, scratch)


def _numbered(batches: Iterable[EdgeBatch], index: Index) -> Iterator[tuple[Numbers, Numbers, EdgeBatch]]:
    for batch in batches:
        for part in batch.slices():
            yield index.of(part.doc), index.of(part.other), part


def _described(index: Index, survivor: Numbers, batches: Iterable[EdgeBatch], scratch: Scratch) -> Decided:
    """survivor: number[len(index)], numbers of the documents that survive each."""
    count = len(index)
    partner = scratch.array(count, index.number, count)
    similarity = scratch.array(count if index.similarity is None else 0, np.float32, 0)
    for one, other, batch in _numbered(batches, index):
        _partners(one, other, batch.similarity, survivor, partner, similarity)
    size = scratch.array(count, index.number, 0)
    # Without ranks the first of a cluster survives.
    smallest = scratch.array(count if index.ranked else 0, index.number, 0)
    _sizes(survivor, size, smallest)
    return Decided(
        index.documents(scratch),
        survivor,
        size,
        smallest if index.ranked else None,
        partner,
        similarity if index.similarity is None else None,
        index.similarity or 0.0,
    )


@kernel
def _sizes(survivor, size, smallest):  # type: ignore[no-untyped-def]  # numba infers
    """Documents of each survivor, and the first of them, if there is an array for it."""
    for i in range(survivor.size):
        root = survivor[i]
        if smallest.size and size[root] == 0:
            smallest[root] = i
        size[root] += 1


@kernel
def _degrees(ones, others, degree):  # type: ignore[no-untyped-def]  # numba infers
    for k in range(ones.size):
        degree[ones[k]] += 1
        degree[others[k]] += 1


@inlined
def _look(array, ones, others, start):  # type: ignore[no-untyped-def]  # numba infers
    """Reads what the next edges need. Nothing depends on what is read, so a core waits for many of them at one time; in the
    work itself each waits for the one before. To be returned, lest the compiler leaves it out."""
    seen = np.int64(0)
    for k in range(start, min(start + _AHEAD, ones.size)):
        seen ^= np.int64(array[ones[k]]) ^ np.int64(array[others[k]])
    return seen


@inlined
def _root(parent, i):  # type: ignore[no-untyped-def]  # numba infers
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _unite(ones, others, rank, parent):  # type: ignore[no-untyped-def]  # numba infers
    """rank: of each number, or empty if all are equal."""
    seen = np.int64(0)
    for k in range(ones.size):
        if k % _AHEAD == 0:
            seen ^= _look(parent, ones, others, k)
        a, b = np.int64(parent[ones[k]]), np.int64(parent[others[k]])
        if a == b:
            continue
        a, b = _root(parent, a), _root(parent, b)
        if a != b:
            better = b < a
            if rank.size and rank[a] != rank[b]:
                better = rank[b] < rank[a]
            if better:
                a, b = b, a
            parent[b] = a
        parent[ones[k]] = a
        parent[others[k]] = a
    return seen


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
def _adjacent(ones, others, ends, near):  # type: ignore[no-untyped-def]  # numba infers
    """ends: one behind each document's place in near; afterwards where it begins."""
    for k in range(ones.size):
        a, b = ones[k], others[k]
        ends[a] -= 1
        near[ends[a]] = b
        ends[b] -= 1
        near[ends[b]] = a


@kernel
def _remove(order, starts, near, survivor):  # type: ignore[no-untyped-def]  # numba infers
    """order: from the best on, or empty for ascending numbers; survivor: the count of documents where there is none yet."""
    count = survivor.size
    for k in range(count):
        i = np.int64(order[k]) if order.size else k
        if survivor[i] != count:
            continue
        survivor[i] = i
        for at in range(starts[i], starts[i + 1]):
            if survivor[near[at]] == count:
                survivor[near[at]] = i


@inlined
def _consider(doc, other, alike, survivor, partner, similarity):  # type: ignore[no-untyped-def]  # numba infers
    """Makes `other` the partner if it is a better one: the survivor, else the more similar, else the smaller doc."""
    best, old = np.int64(survivor[doc]), np.int64(partner[doc])
    if best != np.int64(survivor[other]):
        return  # a star's edge to another star
    if old == partner.size or (other == best and old != best):
        better = True
    elif old == other:  # the same pair once more
        better = similarity.size > 0 and alike > similarity[doc]
    elif old == best:
        better = False
    elif similarity.size and alike != similarity[doc]:
        better = alike > similarity[doc]
    else:
        better = other < old
    if better:
        partner[doc] = other
        if similarity.size:
            similarity[doc] = alike


@kernel
def _partners(ones, others, similarities, survivor, partner, similarity):  # type: ignore[no-untyped-def]  # numba infers
    """partner: the count of documents where there is none yet; similarity: to it, or empty if all are equal."""
    seen = np.int64(0)
    for k in range(ones.size):
        if k % _AHEAD == 0:
            seen ^= _look(survivor, ones, others, k) ^ _look(partner, ones, others, k)
        one, other = np.int64(ones[k]), np.int64(others[k])
        _consider(one, other, similarities[k], survivor, partner, similarity)
        _consider(other, one, similarities[k], survivor, partner, similarity)
    return seen


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
        _keep_old(found, first_old(unit))
        unit.count("clusters", found.clusters)
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


def _keep_old(found: Decided, shard: int) -> None:
    """Published documents, those from a shard on, survive all of them: one that another one's component took in is given
    back."""
    for start in range(found.docs.below(shard), len(found.docs), _AT_ONCE):
        numbers = np.arange(start, min(start + _AT_ONCE, len(found.docs)))
        taken = numbers[found.survivor[numbers] != numbers]
        found.survivor[taken] = taken
        found.size[taken] = 1
