"""The rows of words seen before: which rows of the input matrix a word adds depends on its bytes and the model only.

    sets      uint64[SETS, WAYS]   tag of a word << 32 | where its record is; 0: never used. A set is a cache line
    records   int32[RECORDS + 8]   a ring of records: length << 16 | number of rows; four int32 with the word's
                                   bytes, padded with zeros (no word holds a NUL), or if it is longer than 16 bytes
                                   as many as it takes; the rows
    used      int64[2]             where the next record goes, words kept

Positions only grow; the index is the remainder, and what lies more than a ring behind `used` was written over.
At 2^31 everything starts afresh, so 32 bits tell them apart. A new word takes a place in its set that was never
used, or one by turns. A hit is verified byte for byte, so a result never depends on what was seen before. A cache
belongs to one thread at a time.

Memory: 8 MB of sets, 32 MB of records (900,000 words for lid.176.ftz, 400,000 for lid.176.bin), resident as they
fill. What common words need stays in the second-level cache: two lines a word. A tenth of the size costs a sixth of
the speed on English, and a third where 49 languages take turns.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.text.hashing import ALL, M1, P0, P1
from curate.core.text.memory import address_of, inlined, view_int32, view_int64, view_uint8, view_uint64
from curate.core.text.unaligned import load_word, store_word
from lid.model_file import LONGEST_SUBWORD
from lid.vectors import LANES, matches, trailing_zeros

SETS_BITS: Final = 17
SETS: Final = 1 << SETS_BITS
WAYS: Final = 8
RECORDS: Final = 1 << 23
#: Words that may have more rows are not kept.
MOST_ROWS: Final = 1024
#: int32 of the longest record: a word has fewer bytes than it may have rows.
LONGEST_RECORD: Final = 2 * MOST_ROWS
#: Words looked up together, and what is noted of each: start, end, two words of `key_of` and the hash, position.
BATCH: Final = 64
FIELDS: Final = 6
#: Rows that wait to be added, and room for one more word n-gram.
PENDING: Final = 4096
MARGIN: Final = 128
#: Bytes of a word whose subwords are found together, and room for what follows them, the angles, and a copy's end.
CHUNK: Final = 1024
AHEAD: Final = 4 * LONGEST_SUBWORD + 32

_AFRESH: Final = 1 << 31
_LOW32: Final = np.uint64(0xFFFFFFFF)
_u = np.uint64  # numba looks for negative indices unless an index is unsigned


class Addresses(NamedTuple):
    """Of the arrays of a cache, for kernels; pending: int32[PENDING + MARGIN], the rest is scratch space."""

    sets: int
    records: int
    used: int
    pending: int
    batch: int
    word: int
    starts: int
    buckets: int


class WordCache:
    """An empty cache."""

    def __init__(self) -> None:
        # One allocation: large enough for large pages.
        block = np.zeros(SETS * WAYS + RECORDS // 2 + 16, np.uint64)
        block = block[-address_of(block) % 64 // 8 :]
        self._arrays: list[npt.NDArray[Any]] = [
            block[: SETS * WAYS],
            block[SETS * WAYS :].view(np.int32),
            np.zeros(2, np.int64),
            np.empty(PENDING + MARGIN, np.int32),
            np.empty(FIELDS * BATCH, np.int64),
            np.zeros(CHUNK + AHEAD, np.uint8),
            np.empty(CHUNK + AHEAD, np.int32),
            np.empty(LONGEST_SUBWORD * LANES, np.int32),
        ]
        #: Where the next record goes, and how many words were kept: int64[2].
        self.used = self._arrays[2]
        self.addresses = Addresses(*map(address_of, self._arrays))


@inlined
def load_some(data, address, at, count):  # type: ignore[no-untyped-def]  # numba infers
    """The `count` (1 … 8) bytes at `at` of data, which is at `address`, as a uint64 padded with zeros."""
    if at + 8 <= data.size:
        return load_word(address + at) & (ALL >> _u(64 - 8 * count))
    word = _u(0)
    for k in range(count):
        word |= _u(data[_u(at + k)]) << _u(8 * k)
    return word


@inlined
def _hash(address, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """uint64 of more than 8 bytes."""
    hashed = _u(end - start) * P0
    for at in range(start, end - 8, 8):
        hashed = (hashed ^ load_word(address + at)) * P1
        hashed ^= hashed >> _u(32)
    hashed = (hashed ^ load_word(address + end - 8)) * P1
    return hashed ^ (hashed >> _u(32))


@inlined
def key_of(data, address, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """The bytes of a word as two uint64, of a long one a hash and 0, and a hash of both."""
    length, high = end - start, _u(0)
    if length > 16:
        low = _hash(address, start, end)
    elif start + 16 <= data.size:  # no branch: one word in four is longer than 8 bytes
        low, high = load_word(address + start), load_word(address + start + 8)
        low &= ALL >> _u(8 * max(0, 8 - length))
        high = high & (ALL >> _u(8 * (16 - max(9, length)))) if length > 8 else _u(0)
    elif length <= 8:
        low = load_some(data, address, start, length)
    else:
        low, high = load_word(address + start), load_some(data, address, start + 8, length - 8)
    mixed = (low ^ (high * P0)) * P1
    mixed = (mixed ^ (mixed >> _u(32))) * M1
    return low, high, mixed ^ (mixed >> _u(29))


@inlined
def set_of(mixed, cache):  # type: ignore[no-untyped-def]  # numba infers
    """The address of a word's set."""
    return cache.sets + 8 * WAYS * np.int64(mixed >> _u(64 - SETS_BITS))


@inlined
def _tag(mixed):  # type: ignore[no-untyped-def]  # numba infers
    return (mixed & _LOW32) | _u(1)


@inlined
def candidate(mixed, cache):  # type: ignore[no-untyped-def]  # numba infers
    """The position of the record that may be the word's, -1 if there is none."""
    ways = set_of(mixed, cache)
    found = matches(ways, _tag(mixed))
    if found == 0:
        return np.int64(-1)
    return np.int64(load_word(ways + 8 * trailing_zeros(found)) & _LOW32)


@inlined
def rows_at(data, start, end, low, high, position, cache):  # type: ignore[no-untyped-def]  # numba infers
    """(index into records, number) of a word's rows; -1 for the number if the record is another's or gone."""
    length, records = end - start, view_int32(cache.records, RECORDS + 8)
    at = position % RECORDS
    about = np.int64(records[_u(at)])
    # A record in the making reaches up to LONGEST_RECORD beyond `used`, into the oldest ones of the ring.
    if view_int64(cache.used, 2)[_u(0)] - position > RECORDS - LONGEST_RECORD or about >> 16 != length:
        return at, np.int64(-1)
    kept_at = cache.records + 4 * (at + 1)
    if length <= 16:
        same = load_word(kept_at) == low and load_word(kept_at + 8) == high
        at += 5
    else:
        kept, same = view_uint8(kept_at, length), True
        for k in range(length):
            same &= kept[_u(k)] == data[_u(start + k)]
        at += 1 + (length + 3) // 4
    return at, about & 0xFFFF if same else np.int64(-1)


@inlined
def begin_record(data, start, end, low, high, cache):  # type: ignore[no-untyped-def]  # numba infers
    """Writes a word at the end of the ring: (position of its record, index of its rows)."""
    used = view_int64(cache.used, 2)
    if used[_u(0)] >= _AFRESH:
        view_uint64(cache.sets, SETS * WAYS)[:] = _u(0)
        used[_u(0)] = 0
    position = used[_u(0)]
    if position % RECORDS + LONGEST_RECORD > RECORDS:  # a record is not parted
        position += RECORDS - position % RECORDS
    length, at = end - start, position % RECORDS
    kept_at = cache.records + 4 * (at + 1)
    if length <= 16:
        store_word(kept_at, low)
        store_word(kept_at + 8, high)
        return position, at + 5
    kept = view_uint8(kept_at, length)
    for k in range(length):
        kept[_u(k)] = data[_u(start + k)]
    return position, at + 1 + (length + 3) // 4


@inlined
def end_record(length, position, rows, number, mixed, cache):  # type: ignore[no-untyped-def]  # numba infers
    """Counts the record in and enters it into its set."""
    used = view_int64(cache.used, 2)
    used[_u(0)] = position + rows + number - position % RECORDS
    used[_u(1)] += 1
    view_int32(cache.records, RECORDS + 8)[_u(position % RECORDS)] = length << 16 | number
    ways = set_of(mixed, cache)
    unused = matches(ways, _u(0))
    way = trailing_zeros(unused) if unused else used[_u(1)] % WAYS
    store_word(ways + 8 * way, _tag(mixed) << _u(32) | _u(position))
