"""Dense numbers for the documents that have an edge, and room for what is known about each.

Bit maps: a bit for each row of a shard, up to the greatest that occurs, and beside each 64 of them how many bits are
set before. A document's number is the rank of its bit, so numbers ascend with `doc`; no sort, no dictionary. 2 bits of
memory for each row of the input, and one memory access for a number. Back from numbers: 4 bytes for each, its row.

Numbers are uint32 as long as fewer than 2³² documents have an edge, else int64, and so are arrays of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import inlined, kernel
from dedup.edge_file import EdgeBatch

Int64s = npt.NDArray[np.int64]
#: Numbers of documents, uint32 or int64.
Numbers = npt.NDArray[Any]

#: Bytes from which an array is mapped.
_MAPPED: Final = 1 << 24
#: Up to so many documents numbers have 32 bits; the count itself, which stands for no document, must fit too.
_NARROW: Final = (1 << 32) - 1
#: Numbers that share a hint at their shard, as a power of two.
_HINTED: Final = 12


class Scratch:
    """Arrays that may be large: memory-mapped files below a folder, or plain memory without one.

    The files have no name, so they are gone with the last array that uses them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def array(self, length: int, dtype: npt.DTypeLike, fill: float) -> npt.NDArray[Any]:
        size = length * np.dtype(dtype).itemsize
        if self._folder is None or size < _MAPPED:
            return np.full(length, fill, dtype)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            # A page of a file with holes that finds the disk full kills the process: space is taken now, or ENOSPC raised.
            os.posix_fallocate(file.fileno(), 0, size)
            mapped = np.memmap(file, dtype, "w+", shape=(length,)).view(np.ndarray)
        if fill != 0:
            mapped[:] = fill
        return mapped


class Constant:
    """Whether all values of a column are equal, of any number of batches. value: the first one, None of no values."""

    def __init__(self) -> None:
        self.value: Any = None
        self.varies = False

    def see(self, column: npt.NDArray[Any]) -> None:
        if self.varies or not len(column):
            return
        if self.value is None:
            self.value = column[0]
        self.varies = not bool((column == self.value).all())


class Documents:
    """Documents by their numbers."""

    def __init__(self, rows: npt.NDArray[np.uint32], shards: Int64s, firsts: Int64s) -> None:
        """rows: of each number; shards: ascending; firsts: int64[shards + 1], the first number of each, and the count."""
        self._rows, self._shards, self._firsts = rows, shards, firsts
        every = np.arange((len(rows) >> _HINTED) + 1) << _HINTED
        self._hints = np.searchsorted(firsts, every, side="right") - 1

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, numbers: Numbers) -> Int64s:
        """int64[numbers]: their docs; every number must be one."""
        out = np.empty(len(numbers), np.int64)
        _documents(numbers, self._rows, self._shards, self._firsts, self._hints, out)
        return out

    def below(self, shard: int) -> int:
        """How many documents are of shards before this one."""
        return int(self._firsts[np.searchsorted(self._shards, shard)])


class Index:
    """Dense numbers of the documents that occur, ascending by doc; and what all edges have in common.

    ranked: whether ranks differ. similarity: of all edges, None where they differ.
    """

    def __init__(self, batches: Iterable[EdgeBatch], scratch: Scratch) -> None:
        rows: dict[int, int] = {}
        rank, similarity = Constant(), Constant()
        for batch in batches:
            _most_rows(batch.doc, rows)
            _most_rows(batch.other, rows)
            rank.see(batch.rank)
            rank.see(batch.other_rank)
            similarity.see(batch.similarity)
        self.ranked = rank.varies
        self.similarity = None if similarity.varies else float(similarity.value or 0)
        #: First word of each shard, int64[shards + 1], and the shards' numbers, ascending.
        self._shards = np.array(sorted(rows), np.int64)
        words = np.array([(rows[s] >> 6) + 1 for s in sorted(rows)], np.int64)
        self._words = np.concatenate(([0], np.cumsum(words))).astype(np.int64)
        self._first = np.full(int(self._shards.max(initial=-1)) + 2, -1, np.int64)
        self._first[self._shards] = self._words[:-1]
        #: 64 bits, and how many are set before them; in turn, since whoever needs one needs the other.
        self._bits = scratch.array(2 * int(self._words[-1]), np.uint64, 0)
        for batch in batches:
            _set_bits(batch.doc, self._first, self._bits)
            _set_bits(batch.other, self._first, self._bits)
        self._count = int(_count_before(self._bits))
        #: What an array of numbers is of; the count itself fits too.
        self.number = np.dtype(np.uint32 if self._count <= _NARROW else np.int64)

    def __len__(self) -> int:
        return self._count

    def of(self, docs: Int64s) -> Numbers:
        """number[docs]: their numbers; every doc must occur."""
        out = np.empty(len(docs), self.number)
        _numbers(docs, self._first, self._bits, out)
        return out

    def documents(self, scratch: Scratch) -> Documents:
        """The way back."""
        rows = scratch.array(self._count, np.uint32, 0)
        _rows(self._bits, self._words, rows)
        firsts = np.append(self._bits[2 * self._words[:-1] + 1].astype(np.int64), self._count)
        return Documents(rows, self._shards, firsts)


def _most_rows(docs: Int64s, rows: dict[int, int]) -> None:
    """rows: shard → greatest row seen."""
    most = np.full(int(docs.max(initial=-1) >> 32) + 1, -1, np.int64)
    _most(docs, most)
    for shard in np.flatnonzero(most >= 0).tolist():
        rows[shard] = max(rows.get(shard, 0), int(most[shard]))


@kernel
def _most(docs, most):  # type: ignore[no-untyped-def]  # numba infers
    for doc in docs:
        most[doc >> 32] = max(most[doc >> 32], doc & 0xFFFFFFFF)


@kernel
def _set_bits(docs, first, bits):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(docs.size):
        row = docs[i] & 0xFFFFFFFF
        bits[2 * (first[docs[i] >> 32] + (row >> 6))] |= np.uint64(1) << np.uint64(row & 63)


@inlined
def _popcount(x):  # type: ignore[no-untyped-def]  # numba infers
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _count_before(bits):  # type: ignore[no-untyped-def]  # numba infers
    """Fills the counts beside the bits; how many bits are set in all."""
    total = np.int64(0)
    for word in range(bits.size // 2):
        bits[2 * word + 1] = np.uint64(total)
        total += _popcount(bits[2 * word])
    return total


@kernel
def _numbers(docs, first, bits, out):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(docs.size):
        row = docs[i] & 0xFFFFFFFF
        word = 2 * (first[docs[i] >> 32] + (row >> 6))
        below = (np.uint64(1) << np.uint64(row & 63)) - np.uint64(1)
        out[i] = np.int64(bits[word + 1]) + _popcount(bits[word] & below)


@kernel
def _rows(bits, words, out):  # type: ignore[no-untyped-def]  # numba infers
    """The row of each number; words: where each shard's begin, and the end."""
    n = 0
    for shard in range(words.size - 1):
        for word in range(words[shard], words[shard + 1]):
            left = bits[2 * word]
            while left:
                lowest = left & (~left + np.uint64(1))
                out[n] = (word - words[shard]) << 6 | _popcount(lowest - np.uint64(1))
                left ^= lowest
                n += 1


@kernel
def _documents(numbers, rows, shards, firsts, hints, out):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(numbers.size):
        number = np.int64(numbers[i])
        shard = hints[number >> _HINTED]
        while firsts[shard + 1] <= number:
            shard += 1
        out[i] = shards[shard] << 32 | np.int64(rows[number])
