"""The first half of a classifier as kernels take it: dictionary, buckets, input matrix.

A word's own row is found in the dictionary, by FNV-1a with fastText's signed bytes. A run of characters or of
words is hashed into a bucket. In a pruned model few buckets have a row (2 % of lid.176.ftz's): whether one has
is a bit, and which row follows from how many bits are set before it.

Memory: the matrix, as float32 unless that is more than DECODED_BYTES; a bit and a half for each bucket (375 KB
for lid.176.ftz); 12 to 24 bytes an entry and its letters.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.text.hashing import ALL
from curate.core.text.memory import (
    address_of,
    inlined,
    kernel,
    view_int32,
    view_int64,
    view_uint8,
    view_uint32,
    view_uint64,
)
from lid import vectors
from lid.limits import DECODED_BYTES
from lid.model_file import Classifier, Quantised, aligned
from lid.vectors import BLOCK, one_bits, remainder
from lid.word_cache import key_of

#: What a bucket is worth: all have a row, the kept ones have, none has.
ALL_KEPT, SOME_KEPT, NONE_KEPT = 0, 1, 2

#: What the library puts at the end of a line, and stops at.
MARK: Final = np.frombuffer(b"</s>", np.uint8)
_PREFIX: Final = np.frombuffer(b"__label__", np.uint8)

FNV_START: Final = np.uint64(vectors.FNV_START)
_FNV_PRIME: Final = np.uint64(vectors.FNV_PRIME)
_LOW32: Final = np.uint64(0xFFFFFFFF)
_u = np.uint64  # numba looks for negative indices unless an index is unsigned


class Weights(NamedTuple):
    """Addresses of arrays, and numbers.

    matrix: float32[rows, columns], columns padded with zeros to a multiple of BLOCK; 0 if it stays quantised:
    codes uint8[rows, parts], table float32[parts, 256, width], norms float32[rows].
    letters, starts, ends, hashes (uint32): the entries of the dictionary. slots: int32[slot_count], which of
    them, found by FNV-1a with open addressing, -1 for none. bits: uint64 per 64 buckets: which are kept, before:
    int32, how many are before them; kept_rows: int32 in that order. end_row: of the end of a line, or -1.
    bit_mask: of a bucket, what finds its bit; 63 where one word of ones stands for all. inverse: of bucket, for
    `remainder`, as an int64. known: uint64[known_words], a bit by `key_of` for each entry: most words have none.
    """

    matrix: int
    codes: int
    table: int
    norms: int
    letters: int
    starts: int
    ends: int
    hashes: int
    slots: int
    known: int
    bits: int
    before: int
    kept_rows: int
    rows: int
    columns: int
    parts: int
    width: int
    letter_count: int
    entries: int
    slot_count: int
    known_words: int
    bit_words: int
    kept_count: int
    keeps: int
    bit_mask: int
    words: int
    end_row: int
    bucket: int
    inverse: int
    minn: int
    maxn: int
    word_ngrams: int


def weights_of(model: Classifier) -> tuple[Weights, list[npt.NDArray[Any]]]:
    """What the kernel takes, and the arrays that it points to; the model's matrix itself where it fits."""
    columns, bucket = -(-model.dim // BLOCK) * BLOCK, max(1, model.bucket)
    inverse = int(np.uint64((int(ALL) // bucket + 1) & int(ALL)).astype(np.int64))
    matrix = aligned(0, columns)
    codes, table, norms = np.empty((0, 1), np.uint8), np.empty((1, 1, 1), np.float32), np.empty(0, np.float32)
    rows = model.input.shape[0]
    if isinstance(model.input, Quantised) and 4 * rows * columns > DECODED_BYTES:
        codes, table, norms = model.input.codes, model.input.table, model.input.norms
    elif isinstance(model.input, Quantised) or columns != model.dim:
        matrix = aligned(rows, columns)
        matrix[:, model.dim :] = 0
        matrix[:, : model.dim] = model.input.rows() if isinstance(model.input, Quantised) else model.input
    else:
        matrix = model.input
    entries = len(model.starts)
    slots = np.full(1 << max(4, int(2 * entries).bit_length()), -1, np.int32)
    hashes = np.empty(entries, np.uint32)
    known = np.zeros(slots.size // 4, np.uint64)
    _enter(model.letters, model.starts, model.ends, hashes, slots, known)
    bits, before, kept_rows = np.full(1, ALL), np.zeros(1, np.int32), np.zeros(1, np.int32)
    keeps, bit_mask = ALL_KEPT, 63
    if model.kept is not None:
        keeps, bit_mask = SOME_KEPT if len(model.kept) else NONE_KEPT, (1 << 31) - 1
        bits, before, kept_rows = _kept(model.kept, model.bucket, model.words)
    arrays: dict[str, npt.NDArray[Any]] = {
        "matrix": matrix, "codes": codes, "table": table, "norms": norms, "letters": model.letters,
        "starts": model.starts, "ends": model.ends, "hashes": hashes, "slots": slots, "known": known, "bits": bits,
        "before": before, "kept_rows": kept_rows,
    }  # fmt: skip
    weights = Weights(
        **{name: address_of(array) if array.size else 0 for name, array in arrays.items()},
        rows=rows,
        columns=columns,
        parts=codes.shape[1],
        width=table.shape[2],
        letter_count=model.letters.size,
        entries=entries,
        slot_count=slots.size,
        known_words=known.size,
        bit_words=bits.size,
        kept_count=kept_rows.size,
        keeps=keeps,
        bit_mask=bit_mask,
        words=model.words,
        end_row=-1,
        bucket=bucket,
        inverse=inverse,
        minn=model.minn,
        maxn=model.maxn,
        word_ngrams=model.word_ngrams,
    )
    end_row = int(_entry_of(address_of(MARK), MARK.size, weights))
    return weights._replace(end_row=end_row if end_row < model.words else -1), [*arrays.values()]


def _kept(
    kept: npt.NDArray[np.int32], bucket: int, words: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """A bit for each bucket that is kept, how many are kept in the words of 64 bits before, and their rows."""
    # A bucket named twice has the row that is named last, as in the library.
    backwards = kept[(kept[:, 0] >= 0) & (kept[:, 0] < bucket)][::-1]
    buckets, first = np.unique(backwards[:, 0], return_index=True)
    bits, before = np.zeros(bucket // 64 + 1, np.uint64), np.zeros(bucket // 64 + 1, np.int32)
    np.bitwise_or.at(bits, buckets >> 6, np.uint64(1) << (buckets & 63).astype(np.uint64))
    held, start = np.unique(buckets >> 6, return_index=True)
    before[held] = start
    rows = np.zeros(len(buckets) + 1, np.int32)
    rows[:-1] = backwards[first, 1] + words
    return bits, before, rows


@inlined
def step(hashed, byte):  # type: ignore[no-untyped-def]  # numba infers
    """A step of FNV-1a in 32 bits of a uint64, with the byte's sign extended as fastText has it."""
    return ((hashed ^ (_u(np.int64(np.int8(byte))) & _LOW32)) * _FNV_PRIME) & _LOW32


@inlined
def fnv(data, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """FNV-1a of data[start:end], in 32 bits of a uint64."""
    hashed = FNV_START
    for at in range(start, end):
        hashed = step(hashed, data[_u(at)])
    return hashed


@inlined
def find(data, start, end, hashed, weights):  # type: ignore[no-untyped-def]  # numba infers
    """The dictionary's entry of a word, or -1."""
    slots, hashes = (
        view_int32(weights.slots, weights.slot_count),
        view_uint32(weights.hashes, weights.entries),
    )
    starts, ends = view_int64(weights.starts, weights.entries), view_int64(weights.ends, weights.entries)
    letters = view_uint8(weights.letters, weights.letter_count)
    slot = np.int64(hashed) & (weights.slot_count - 1)
    while True:
        entry = np.int64(slots[_u(slot)])
        if entry < 0:
            return entry
        if _u(hashes[_u(entry)]) == hashed:
            at, same = starts[_u(entry)], ends[_u(entry)] - starts[_u(entry)] == end - start
            if same:
                for k in range(end - start):
                    same &= letters[_u(at + k)] == data[_u(start + k)]
            if same:
                return entry
        slot = (slot + 1) & (weights.slot_count - 1)


@kernel
def _enter(letters, starts, ends, hashes, slots, known):  # type: ignore[no-untyped-def]  # numba infers
    """Fills hashes, slots and known. Of entries that are equal the last one is found, as in the library."""
    mask = slots.size - 1
    for entry in range(starts.size):
        if ends[entry] > starts[entry]:  # no word is empty
            mixed = key_of(letters, np.int64(letters.ctypes.data), starts[entry], ends[entry])[2]
            place = known_place(mixed, known.size)
            known[place >> 6] |= _u(1) << _u(place & 63)
        hashed = fnv(letters, starts[entry], ends[entry])
        hashes[entry] = np.uint32(hashed)
        slot = np.int64(hashed) & mask
        while slots[slot] >= 0:
            other = np.int64(slots[slot])
            at, length = starts[other], ends[other] - starts[other]
            same = np.uint64(hashes[other]) == hashed and length == ends[entry] - starts[entry]
            if same:
                for k in range(length):
                    same &= letters[at + k] == letters[starts[entry] + k]
            if same:
                break
            slot = (slot + 1) & mask
        slots[slot] = entry


@kernel
def _entry_of(address, size, weights):  # type: ignore[no-untyped-def]  # numba infers
    """The dictionary's entry of the bytes at an address."""
    data = view_uint8(address, size)
    return find(data, np.int64(0), np.int64(size), fnv(data, np.int64(0), np.int64(size)), weights)


@inlined
def known_place(mixed, words):  # type: ignore[no-untyped-def]  # numba infers
    """The bit of a hash of `key_of` among 64 * words, a power of two."""
    return np.int64(mixed >> _u(16)) & (64 * words - 1)


@inlined
def row_of(data, start, end, mixed, weights):  # type: ignore[no-untyped-def]  # numba infers
    """A word's own row; -1 if the model does not know it, -2 if it is a label. mixed: of `key_of`."""
    entry, place = np.int64(-1), known_place(mixed, weights.known_words)
    if view_uint64(weights.known, weights.known_words)[_u(place >> 6)] >> _u(place & 63) & _u(1):
        entry = find(data, start, end, fnv(data, start, end), weights)
    if entry >= weights.words:
        return np.int64(-2)
    if entry < 0 and data[_u(start)] == _PREFIX[0] and end - start >= _PREFIX.size:
        same = True
        for k in range(_PREFIX.size):
            same &= data[_u(start + k)] == _PREFIX[k]
        if same:
            return np.int64(-2)
    return entry


@inlined
def bucket_of(hashed, weights):  # type: ignore[no-untyped-def]  # numba infers
    """The bucket of a hash below 2^32."""
    return np.int32(remainder(hashed, _u(weights.inverse), _u(weights.bucket)))


@inlined
def is_kept(weights, bucket):  # type: ignore[no-untyped-def]  # numba infers
    """1 if a bucket has a row, else 0."""
    bits = view_uint64(weights.bits, weights.bit_words)
    return np.int64(bits[_u(bucket & weights.bit_mask) >> _u(6)] >> _u(bucket & 63) & _u(1))


@inlined
def rows_of(weights, target, first, n):  # type: ignore[no-untyped-def]  # numba infers
    """Turns the buckets target[first:n], which are kept, into rows; n."""
    if weights.keeps == ALL_KEPT:
        for k in range(first, n):
            target[_u(k)] += np.int32(weights.words)
        return n
    bits, before = (
        view_uint64(weights.bits, weights.bit_words),
        view_int32(weights.before, weights.bit_words),
    )
    rows = view_int32(weights.kept_rows, weights.kept_count)
    for k in range(first, n):
        bucket = np.int64(target[_u(k)])
        below = bits[_u(bucket >> 6)] & ((_u(1) << _u(bucket & 63)) - _u(1))
        target[_u(k)] = rows[_u(np.int64(before[_u(bucket >> 6)]) + one_bits(below))]
    return n
