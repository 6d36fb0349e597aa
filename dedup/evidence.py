"""Evidence: what the mapper keeps of a document, so that candidates can be compared later without their texts.

    Sketches   `verify: signature`   binary[places]        8 bits of each place of the signature (`dedup.signature`)
    Words      `verify: exact`       large_list<uint32>    its words in order (`dedup.shingles.WordLists`)

`compare` gives the similarity of pairs: an estimate with a standard error of √(J(1−J)/places), or the Jaccard
similarity of the two sets of shingles. Numbers have their digits in words, and are all equal in signatures, by which
candidates are found: pages that differ in figures only are compared, and not taken for equal.

Shingles are made of the words when two documents are compared, so what most documents never need costs them nothing but
4 bytes a word. 32 bits of a word are enough: two shingles with a different word at one place are taken for equal once in
2³², and two documents that an editor made of each other have few places where that can happen. For a pair with ten of
them, the similarity is wrong once in 400 million. What may have a single word counts with all 64 bits of it: documents
of fewer than 64 words, compared with each other.

Numbers: 112 bytes a document at 14 × 8; a text of 3 KB has 450 words and 1.8 KB. To compare takes 8 bytes for each two
shingles of the pair, at most 32 MB.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.text.memory import inlined, kernel
from dedup.records import read_only
from dedup.shingles import DOUBLED, PLACES, Shingles, mixed
from dedup.signature import similarity, sketches

Int64s = npt.NDArray[np.int64]

#: Sketches to gather at a time.
_ROWS: Final = 1 << 16
#: Shingles of a pair that are held at a time, at most, twice.
_SLOTS: Final = 1 << 22


class Evidence(Protocol):
    """A kind of evidence. worded: whether `keep` needs `Shingles.words`."""

    worded: bool

    @property
    def type(self) -> pa.DataType: ...

    def keep(self, shingles: Shingles, signatures: npt.NDArray[np.uint32]) -> pa.Array:
        """Of each document of a batch."""
        ...

    def sizes(self, kept: pa.Array) -> Int64s:
        """int64[len]: bytes of each."""
        ...

    def compare(
        self, one: pa.Array, other: pa.Array, at: Int64s | None = None, other_at: Int64s | None = None
    ) -> npt.NDArray[np.float32]:
        """float32[pairs], 0 to 1; neither side may have nulls.

        at, other_at: int64[pairs], which row of each side; None for row for row. Nothing is gathered that is not small:
        a pair may be of two sets of 40 MB each, and one document in any number of pairs.
        """
        ...


class Sketches(Evidence):
    """8 bits a place."""

    worded = False

    def __init__(self, places: int) -> None:
        self._places = places

    @property
    def type(self) -> pa.DataType:
        return pa.binary(self._places)

    def keep(self, shingles: Shingles, signatures: npt.NDArray[np.uint32]) -> pa.Array:
        data = np.ascontiguousarray(sketches(signatures))
        return pa.FixedSizeBinaryArray.from_buffers(self.type, len(data), [None, pa.py_buffer(data)])

    def sizes(self, kept: pa.Array) -> Int64s:
        return np.full(len(kept), self._places, np.int64)

    def compare(
        self, one: pa.Array, other: pa.Array, at: Int64s | None = None, other_at: Int64s | None = None
    ) -> npt.NDArray[np.float32]:
        sides = [(self._bytes(one), _rows(one, at)), (self._bytes(other), _rows(other, other_at))]
        out = np.empty(len(sides[0][1]), np.float32)
        for start in range(0, len(out), _ROWS):
            part = slice(start, start + _ROWS)
            out[part] = similarity(*(data[rows[part]] for data, rows in sides))
        return out

    def _bytes(self, array: pa.Array) -> npt.NDArray[np.uint8]:
        data = np.frombuffer(array.buffers()[1], np.uint8) if len(array) else np.zeros(0, np.uint8)
        first, last = array.offset * self._places, (array.offset + len(array)) * self._places
        return data[first:last].reshape(-1, self._places)


class Words(Evidence):
    """All words in order, numbers by their digits."""

    worded = True

    @property
    def type(self) -> pa.DataType:
        return pa.large_list(pa.uint32())

    def keep(self, shingles: Shingles, signatures: npt.NDArray[np.uint32]) -> pa.Array:
        assert shingles.words is not None
        return pa.LargeListArray.from_arrays(pa.array(shingles.words.rows), pa.array(shingles.words.hashes))

    def sizes(self, kept: pa.Array) -> Int64s:
        return np.diff(kept.offsets.to_numpy()) * self.type.value_type.bit_width // 8

    def compare(
        self, one: pa.Array, other: pa.Array, at: Int64s | None = None, other_at: Int64s | None = None
    ) -> npt.NDArray[np.float32]:
        rows = [read_only(_rows(one, at)), read_only(_rows(other, other_at))]
        out = np.zeros(len(rows[0]), np.float32)
        if len(out):
            sides = [
                (read_only(side.offsets.to_numpy()), read_only(side.values.to_numpy()))
                for side in (one, other)
            ]
            one_words, other_words = (
                np.diff(starts)[at] for (starts, _), at in zip(sides, rows, strict=True)
            )
            most = int((one_words + other_words).max())
            room = min(_SLOTS, 1 << max(4, (2 * most).bit_length()))
            _jaccard(*sides[0], rows[0], *sides[1], rows[1], PLACES, np.empty(room, np.uint64), out)
        return out


def _rows(side: pa.Array, at: Int64s | None) -> Int64s:
    """Row numbers that a kernel may follow; IndexError if one is not there."""
    if at is None:
        return np.arange(len(side))
    if len(at) and not (at.min() >= 0 and at.max() < len(side)):
        raise IndexError(f"a row out of {len(side)}")
    return at


@kernel
def _jaccard(starts, words, at, other_starts, other_words, other_at, places, table, out):  # type: ignore[no-untyped-def]  # numba infers
    """Of the shingles of two lists of words; 0 if one is empty. table: as many slots as it takes, or `_SLOTS`.

    Slots hold the upper 62 bits of a shingle, and in whose set it is: 1, 2, or 3 for both. Where the table is too small
    for a pair, the shingles go through it in several rounds, by bits of theirs.
    """
    for pair in range(out.size):
        start, end = starts[at[pair]], starts[at[pair] + 1]
        other_start, other_end = other_starts[other_at[pair]], other_starts[other_at[pair] + 1]
        if start == end or other_start == other_end:
            out[pair] = 0
            continue
        total = (end - start) + (other_end - other_start)
        slots, rounds = np.int64(16), np.int64(1)
        while slots < 2 * total and slots < table.size:
            slots *= 2
        while rounds * slots < 2 * total:
            rounds *= 2
        whole = bool(words[start] & other_words[other_start] & DOUBLED)
        distinct, common = np.int64(0), np.int64(0)
        for number in range(rounds):
            table[:slots] = 0
            found, _ = _enter(words, start, end, whole, places, table, slots, rounds, number, np.uint64(1))
            distinct += found
            found, both = _enter(
                other_words, other_start, other_end, whole, places, table, slots, rounds, number, np.uint64(2)
            )
            distinct += found
            common += both
        out[pair] = common / distinct


@inlined
def _enter(words, start, end, whole, places, table, slots, rounds, number, side):  # type: ignore[no-untyped-def]  # numba infers
    """Puts the shingles of one list that belong to a round into the table; how many were new, and how many the other side
    alone had."""
    new, shared = np.int64(0), np.int64(0)
    width = np.int64(words[start] & ~DOUBLED)
    step = np.int64(2) if words[start] & DOUBLED else np.int64(1)
    for first in range(start + 1, end - (width - 1) * step, step):
        h = np.uint64(width)
        for k in range(width):
            word = np.uint64(words[first + k * step])
            if whole:
                word = word << np.uint64(32) | np.uint64(words[first + k * step + 1])
            h += word * places[k]
        h = mixed(h)
        if np.int64(h >> np.uint64(40)) & (rounds - 1) != number:
            continue
        key = max(h & ~np.uint64(3), np.uint64(4))
        slot = np.int64(key >> np.uint64(2)) & (slots - 1)
        while table[slot] != 0 and table[slot] & ~np.uint64(3) != key:
            slot = (slot + 1) & (slots - 1)
        if table[slot] == 0:
            new += 1
        elif table[slot] & np.uint64(3) == np.uint64(3) - side:
            shared += 1
        table[slot] |= key | side
    return new, shared
