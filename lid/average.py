"""From a text to the mean of its rows of the input matrix, as fastText takes it, word by word.

In: the data buffer and offsets of an Arrow `string` array and the weights of a model. Out, per text: the mean
of the rows, float32[columns], and how many there are. A text is one line: words are what stands between bytes
of ` \\n\\r\\t\\v\\f\\0` and the mark `</s>`, which the library would stop at. The rows of a word are its own, if the
model knows it, then those of its subwords (`lid.subwords`); a word with the prefix `__label__` has none. The mark
of the end of a line comes last, then the hashed runs of 2 to wordNgrams words.

Rows are summed one by one in that order, since float32 addition depends on it: so scores are the library's to
the last bit, ties included. What is saved is finding the rows: those of a word seen before come from
`lid.word_cache`. A word that is longer than the cache takes is cut up, and rows are added by turns: memory does not
depend on the text.

Costs on one core of an AMD EPYC (Zen 4) at 2.6 GHz with lid.176.ftz, English documentation: 7.2 bytes and 1.9 rows a word;
nine words in ten are in the cache, 20 ns each (3.0 ns a byte: 7 bytes scanned, two cache lines); the others, 12 bytes long,
take 200 ns, half of it `lid.subwords`. Beside it: scripts 0.3 ns a byte, `lid.scores` 0.4 us a document. Floor: an addition
waits 3 cycles for the one before, 0.3 ns a byte; lid.176.bin has 18 rows a word in 128 MB, where it is memory that is
waited for, 4 ns a row. Memory: 40 MB for a cache that is full, and the matrix.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.core.text.blocks import BLOCK as LOOK
from curate.core.text.blocks import readable, trailing_zeros
from curate.core.text.hashing import ALL
from curate.core.text.memory import inlined, kernel, view_float32, view_int32, view_int64, view_uint8
from curate.core.text.unaligned import load_word
from lid.model_file import CENTROIDS
from lid.subwords import subword_rows
from lid.vectors import add_rows, copy_eight, gaps_in, prefetch
from lid.weights import FNV_START, MARK, NONE_KEPT, fnv, is_kept, row_of, rows_of
from lid.word_cache import (
    BATCH,
    FIELDS,
    MARGIN,
    MOST_ROWS,
    PENDING,
    RECORDS,
    begin_record,
    candidate,
    end_record,
    key_of,
    rows_at,
    set_of,
)

_WORD_NGRAM_PRIME: Final = np.uint64(116049371)
_SEPARATORS: Final = np.uint64(sum(1 << ord(c) for c in " \n\r\t\v\f\0"))
_ONES: Final = np.uint64(0x0101010101010101)
_TOPS: Final = np.uint64(0x8080808080808080)
_BELOW: Final = np.uint64(0x2121212121212121)  # bytes below: control characters and the space
_ANGLES: Final = np.uint64(0x3C3C3C3C3C3C3C3C)
_u = np.uint64  # numba looks for negative indices unless an index is unsigned


@kernel
def average_rows(address, size, offset_address, first, weights, cache, out, counts):  # type: ignore[no-untyped-def]  # numba infers
    """The mean of the rows of texts first … first + out.shape[0], and their number; see the top of the module.

    out: float32[texts, weights.columns], counts: int64[texts]; cache: of `WordCache.addresses`.
    """
    texts = out.shape[0]
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, first + texts + 1)
    batch, pending = view_int64(cache.batch, FIELDS * BATCH), view_int32(cache.pending, PENDING + MARGIN)
    most = max(1, weights.maxn)
    longest = MOST_ROWS // most - 3  # bytes of a word whose rows go into the cache
    out[:] = np.float32(0)
    out_at = np.int64(out.ctypes.data)
    for text in range(texts):
        at, end = np.int64(offsets[_u(first + text)]), np.int64(offsets[_u(first + text + 1)])
        total_at = out_at + 4 * weights.columns * text
        count, waiting = np.int64(0), np.int64(0)
        # What may end a word: a bit for each of the 64 bytes before `seen` that is not done with.
        seen, ends = at, _u(0)
        while at < end:
            # Three loops over a batch of words, so that what one asks for is there when the next one needs it.
            words, stop, step = np.int64(0), at, np.int64(0)
            while at < end and words < BATCH:
                while ends == 0 and seen < end:
                    ends = gaps_in(readable(address, size, seen, LOOK, cache.word))
                    if seen + LOOK > end:
                        ends &= ALL >> _u(seen + LOOK - end)
                    seen += LOOK
                stop, step = end, np.int64(0)
                if ends != 0:
                    stop = seen - LOOK + trailing_zeros(ends)
                    ends &= ends - _u(1)
                    if not _is_end(data, stop, end):
                        continue
                    step = np.int64(MARK.size if data[_u(stop)] == 0x3C else 1)
                if stop - at > longest:
                    break
                if stop > at:
                    low, high, mixed = key_of(data, address, at, stop)
                    prefetch(set_of(mixed, cache))
                    place = FIELDS * words
                    batch[_u(place)], batch[_u(place + 1)], batch[_u(place + 2)] = at, stop, low
                    batch[_u(place + 3)], batch[_u(place + 4)] = high, mixed
                    words += 1
                at = stop + step
            for i in range(0, FIELDS * words, FIELDS):
                position = candidate(_u(batch[_u(i + 4)]), cache)
                batch[_u(i + 5)] = position
                prefetch(cache.records + 4 * (position & (RECORDS - 1)))
                prefetch(cache.records + 4 * (position & (RECORDS - 1)) + 64)
            for i in range(0, FIELDS * words, FIELDS):
                if waiting > PENDING - MOST_ROWS:
                    count += _add(weights, cache, waiting, total_at)
                    waiting = np.int64(0)
                start, end_of, position = batch[_u(i)], batch[_u(i + 1)], batch[_u(i + 5)]
                low, high, source, number = (
                    _u(batch[_u(i + 2)]),
                    _u(batch[_u(i + 3)]),
                    np.int64(0),
                    np.int64(-1),
                )
                if position >= 0:
                    source, number = rows_at(data, start, end_of, low, high, position, cache)
                if number < 0:
                    position, source = begin_record(data, start, end_of, low, high, cache)
                    mixed, number = _u(batch[_u(i + 4)]), np.int64(0)
                    row = row_of(data, start, end_of, mixed, weights)
                    if row >= 0:
                        view_int32(cache.records, RECORDS + 8)[_u(source)] = row
                        number += 1
                    if row >= -1:
                        target_at = cache.records + 4 * source
                        number = subword_rows(
                            data, address, start, start, end_of, end_of, weights, cache, target_at, number
                        )
                    end_record(end_of - start, position, source, number, mixed, cache)
                copy_eight(
                    cache.records + 4 * source, cache.pending + 4 * waiting
                )  # few have more, many none
                for k in range(8, number, 8):
                    copy_eight(cache.records + 4 * (source + k), cache.pending + 4 * (waiting + k))
                waiting += number
            if at < end and stop - at > longest:
                added, waiting = _long_word(address, size, at, stop, weights, cache, waiting, total_at)
                count += added
                at = stop + step
        if weights.end_row >= 0:
            pending[_u(waiting)] = weights.end_row
            waiting += 1
        if weights.word_ngrams > 1 and weights.keeps != NONE_KEPT:
            start = np.int64(offsets[_u(first + text)])
            added, waiting = _word_ngrams(address, size, start, end, weights, cache, waiting, total_at)
            count += added
        count += _add(weights, cache, waiting, total_at)
        counts[text] = count
        if count:
            share = np.float32(1.0 / count)
            for column in range(weights.columns):
                out[text, column] *= share


@inlined
def _is_space(byte):  # type: ignore[no-untyped-def]  # numba infers
    return byte <= 0x20 and (_SEPARATORS >> _u(byte) & _u(1)) != 0


@inlined
def _is_end(data, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """Whether no word goes on at `at`: white space or the mark `</s>`."""
    byte = data[_u(at)]
    if byte <= 0x20:
        return _is_space(byte)
    if byte != 0x3C or at + 4 > end:
        return False
    return data[_u(at + 1)] == 0x2F and data[_u(at + 2)] == 0x73 and data[_u(at + 3)] == 0x3E


@inlined
def _word_end(data, address, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """Where the word that begins at `at` < end is over; `at` if none does."""
    while at < end:
        if at + 8 <= data.size:
            word = load_word(address + at)
            angles = word ^ _ANGLES
            # The lowest bit that is set is at the first such byte; those above it may be wrong.
            found = ((word - _BELOW) & ~word | (angles - _ONES) & ~angles) & _TOPS
            if found == 0:
                at += 8
                continue
            at += trailing_zeros(found) >> 3
            if at >= end:
                break
        if _is_end(data, at, end):
            return at
        at += 1
    return end


@kernel
def _long_word(address, size, start, end, weights, cache, waiting, total_at):  # type: ignore[no-untyped-def]  # numba infers
    """Appends the rows of a word to those that wait, adding these by turns: (rows added, rows that wait)."""
    data, added, at = view_uint8(address, size), np.int64(0), start
    row = row_of(data, start, end, key_of(data, address, start, end)[2], weights)
    if row >= 0:
        view_int32(cache.pending, PENDING + MARGIN)[_u(waiting)] = row
        waiting += 1
    while at < end and row >= -1:
        if waiting > PENDING - MOST_ROWS:
            added += _add(weights, cache, waiting, total_at)
            waiting = np.int64(0)
        stop = min(end, at + MOST_ROWS // max(1, weights.maxn) - 3)
        waiting = subword_rows(data, address, start, at, stop, end, weights, cache, cache.pending, waiting)
        at = stop
    return added, waiting


@kernel
def _word_ngrams(address, size, start, end, weights, cache, waiting, total_at):  # type: ignore[no-untyped-def]  # numba infers
    """The same for runs of 2 to wordNgrams words, the mark of the end included."""
    data, pending = view_uint8(address, size), view_int32(cache.pending, PENDING + MARGIN)
    added, before = np.int64(0), waiting
    longest, bucket = np.int64(weights.word_ngrams), _u(weights.bucket)
    window = np.empty(longest, np.uint64)  # the last words' hashes, by turns
    words, done, at = np.int64(0), np.int64(0), start
    over = False
    while done < words or not over:
        if words - done < longest and not over:
            hashed = FNV_START
            if at >= end:
                over = True
                hashed = fnv(MARK, np.int64(0), np.int64(MARK.size))
            else:
                stop = _word_end(data, address, at, end)
                if stop == at:
                    at += 1 if _is_space(data[_u(at)]) else MARK.size
                    continue
                mixed, hashed = key_of(data, address, at, stop)[2], fnv(data, at, stop)
                row = row_of(data, at, stop, mixed, weights)
                at = stop
                if row == -2:
                    continue
            window[_u(words % longest)] = _u(np.int64(np.int32(hashed)))  # its sign is extended
            words += 1
            continue
        hashed = window[_u(done % longest)]
        for word in range(done + 1, words):
            if waiting >= PENDING:
                rows_of(weights, pending, before, waiting)
                added += _add(weights, cache, waiting, total_at)
                waiting, before = np.int64(0), np.int64(0)
            hashed = hashed * _WORD_NGRAM_PRIME + window[_u(word % longest)]
            pending[_u(waiting)] = np.int32(hashed % bucket)
            waiting += is_kept(weights, pending[_u(waiting)])
        done += 1
    rows_of(weights, pending, before, waiting)
    return added, waiting


@inlined
def _add(weights, cache, waiting, total_at):  # type: ignore[no-untyped-def]  # numba infers
    """Adds the rows that wait to the vector at total_at; how many they are."""
    if weights.codes:
        _add_quantised(weights, cache, waiting, total_at)
    else:
        add_rows(total_at, weights.matrix, cache.pending, waiting, weights.columns)
    return waiting


@kernel
def _add_quantised(weights, cache, waiting, total_at):  # type: ignore[no-untyped-def]  # numba infers
    """The same for rows that stay quantised: each value is the rounded product of a centroid and a norm."""
    parts, width = weights.parts, weights.width
    total, pending = view_float32(total_at, weights.columns), view_int32(cache.pending, PENDING + MARGIN)
    codes, norms = view_uint8(weights.codes, weights.rows * parts), view_float32(weights.norms, weights.rows)
    table = view_float32(weights.table, parts * CENTROIDS * width)
    for k in range(waiting):
        row = np.int64(pending[k])
        for part in range(parts):
            at = (part * CENTROIDS + np.int64(codes[row * parts + part])) * width
            for i in range(min(width, weights.columns - part * width)):
                total[part * width + i] += norms[row] * table[at + i]
