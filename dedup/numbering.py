"""Dense numbers for the documents that have an edge, and room for what is known about each.

Bit maps: a bit for each row of a shard, up to the greatest that occurs, and before each 64 of them how many bits are
set. A document's number is the rank of its bit, so numbers ascend with `doc`; no sort, no dictionary. 2 bits of
memory for each row of the input, and two memory accesses for a number.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import inlined, kernel

Int64s = npt.NDArray[np.int64]

#: Bytes from which an array is mapped.
_MAPPED: Final = 1 << 24


class EdgeBatch(NamedTuple):
    """Some edges; similarity must be a number (0 where nobody measured)."""

    doc: Int64s
    other: Int64s
    rank: Int64s
    other_rank: Int64s
    similarity: npt.NDArray[np.float32]


class Scratch:
    """Arrays that may be large: memory-mapped files below a folder, or plain memory without one.

    The files have no name, so they are gone with the last array that uses them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def array(self, length: int, dtype: type[np.generic], fill: float) -> npt.NDArray[Any]:
        if self._folder is None or length * np.dtype(dtype).itemsize < _MAPPED:
            return np.full(length, fill, dtype)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            # A page of a file with holes that finds the disk full kills the process: space is taken now, or ENOSPC raised.
            os.posix_fallocate(file.fileno(), 0, length * np.dtype(dtype).itemsize)
            mapped = np.memmap(file, dtype, "w+", shape=(length,)).view(np.ndarray)
        if fill != 0:
            mapped[:] = fill
        return mapped


class Index:
    """Dense numbers of the documents that occur, ascending by doc."""

    def __init__(self, batches: Iterable[EdgeBatch], scratch: Scratch) -> None:
        rows: dict[int, int] = {}
        for batch in batches:
            _most_rows(batch.doc, rows)
            _most_rows(batch.other, rows)
        #: First bit of each shard: int64[shards], and the shards' numbers, ascending.
        self._shards = np.array(sorted(rows), np.int64)
        words = np.array([(rows[s] >> 6) + 1 for s in sorted(rows)], np.int64)
        self._words = np.concatenate(([0], np.cumsum(words))).astype(np.int64)
        lookup = np.full(int(self._shards.max(initial=-1)) + 2, -1, np.int64)
        lookup[self._shards] = self._words[:-1]
        self._first = lookup
        self._bits = scratch.array(int(self._words[-1]), np.uint64, 0)
        for batch in batches:
            _set_bits(batch.doc, self._first, self._bits)
            _set_bits(batch.other, self._first, self._bits)
        self._before = scratch.array(len(self._bits) + 1, np.int64, 0)
        np.cumsum(np.bitwise_count(self._bits), out=self._before[1:])

    def __len__(self) -> int:
        return int(self._before[-1])

    def of(self, docs: Int64s) -> Int64s:
        """int64[docs]: their numbers; every doc must occur."""
        out = np.empty(len(docs), np.int64)
        _numbers(docs, self._first, self._bits, self._before, out)
        return out

    def docs(self, scratch: Scratch) -> Int64s:
        """int64[len]: the documents by number."""
        out = scratch.array(len(self), np.int64, 0)
        shard_of_word = np.repeat(self._shards, np.diff(self._words))
        word_in_shard = np.arange(len(self._bits)) - np.repeat(self._words[:-1], np.diff(self._words))
        _documents(self._bits, shard_of_word, word_in_shard, out)
        return out


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
        bits[first[docs[i] >> 32] + (row >> 6)] |= np.uint64(1) << np.uint64(row & 63)


@inlined
def _popcount(x):  # type: ignore[no-untyped-def]  # numba infers
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _numbers(docs, first, bits, before, out):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(docs.size):
        row = docs[i] & 0xFFFFFFFF
        word = first[docs[i] >> 32] + (row >> 6)
        below = (np.uint64(1) << np.uint64(row & 63)) - np.uint64(1)
        out[i] = before[word] + _popcount(bits[word] & below)


@kernel
def _documents(bits, shards, words, out):  # type: ignore[no-untyped-def]  # numba infers
    n = 0
    for word in range(bits.size):
        for bit in range(64):
            if bits[word] >> np.uint64(bit) & np.uint64(1):
                out[n] = shards[word] << 32 | words[word] << 6 | bit
                n += 1
