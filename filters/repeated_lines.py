"""Lines and paragraphs of each text that occurred before, as datatrove's Gopher filter counts them.

In: the data buffer and offsets of an Arrow `string` array. Out, per document:

    characters                          code points of the text
    paragraphs, repeated, their chars   of `re.split(r"\\n{2,}", text.strip())`
    lines, repeated, their chars        of `re.split(r"\\n+", text)`, empty ones at the ends included

Only `\\n` ends a line here, and runs of it count once: these are not the lines of `curate.core.text.lines`. A line is
remembered by a hash of all its bytes, a paragraph by one of its lines' hashes; equal hashes are compared byte by byte,
so the counts are exact.

Memory: 16 bytes a line of the longest document and up to 64 where no two lines are equal.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.blocks import BLOCK, equal_to, trailing_zeros
from curate.core.text.hashing import P0
from curate.core.text.lines import skip_spaces, trim_spaces
from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8
from filters.spans import characters_of, hash_span, same_span, slot_bits

#: Columns of the result.
CHARACTERS: Final = 0
PARAGRAPHS: Final = 1
REPEATED_PARAGRAPHS: Final = 2
REPEATED_PARAGRAPH_CHARACTERS: Final = 3
LINES: Final = 4
REPEATED_LINES: Final = 5
REPEATED_LINE_CHARACTERS: Final = 6

_FIRST_SLOTS: Final = 14


def count_repeated(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """int64[rows, 7], the columns named above. offsets: int32[rows+1] into data uint8[bytes]."""
    rows = len(offsets) - 1
    out = np.zeros((rows, 7), np.int64)
    if rows:
        longest = int(np.diff(offsets).max())
        _count(address_of(data), data.size, address_of(offsets), rows, longest, out)
    return out


@kernel
def _count(address, size, offset_address, rows, longest, out):  # type: ignore[no-untyped-def]  # numba infers
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, rows + 1)
    # A line takes two bytes at least, its separator and one more, but for those at the ends.
    starts, ends = np.empty(longest // 2 + 2, np.int32), np.empty(longest // 2 + 2, np.int32)
    keys = np.empty(starts.size, np.uint64)
    table = np.empty(1 << slot_bits(2 * starts.size, 40), np.int64)
    for row in range(rows):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        out[row, CHARACTERS] = characters_of(address + start, end - start)
        lines = _split(address, size, start, end, starts, ends)
        for k in range(lines):
            keys[k] = hash_span(address, size, np.int64(starts[k]), np.int64(ends[k]) - np.int64(starts[k]))
        repeated, length = _repeated(address, size, starts, ends, keys, lines, table)
        out[row, LINES], out[row, REPEATED_LINES], out[row, REPEATED_LINE_CHARACTERS] = (
            lines,
            repeated,
            length,
        )
        first = skip_spaces(data, start, end)
        last = trim_spaces(data, first, end)
        paragraphs = _join_lines(address, size, starts, ends, keys, lines, first, last)
        repeated, length = _repeated(address, size, starts, ends, keys, paragraphs, table)
        out[row, PARAGRAPHS], out[row, REPEATED_PARAGRAPHS] = paragraphs, repeated
        out[row, REPEATED_PARAGRAPH_CHARACTERS] = length


@inlined
def _split(address, size, at, end, starts, ends):  # type: ignore[no-untyped-def]  # numba infers
    """Spans between runs of newlines; returns how many there are, one at least."""
    n = np.int64(0)
    starts[0] = at
    while at < end:
        # 64 bytes at a time; the last ones of the buffer one by one.
        if at + BLOCK <= size:
            hits = equal_to(address + at, np.uint8(0x0A))
            if at + BLOCK > end:
                hits &= (np.uint64(1) << np.uint64(end - at)) - np.uint64(1)
            step = np.int64(BLOCK)
        else:
            hits = np.uint64(view_uint8(address + at, 1)[0] == 0x0A)
            step = np.int64(1)
        while hits != 0:
            newline = at + trailing_zeros(hits)
            hits &= hits - np.uint64(1)
            if n == 0 or newline > np.int64(starts[n]):
                ends[n] = newline
                n += 1
            starts[n] = newline + 1
        at += step
    ends[n] = end
    return n + 1


@inlined
def _join_lines(address, size, starts, ends, keys, lines, first, last):  # type: ignore[no-untyped-def]  # numba infers
    """Makes paragraphs of lines, in place: spans of data[first:last] between two newlines or more. keys: made of the lines'.

    Between two lines of a paragraph is one newline, so paragraphs are equal where all their lines are.
    """
    n, key = np.int64(0), np.uint64(0)
    start = first
    for k in range(lines):
        begin, end = np.int64(starts[k]), np.int64(ends[k])
        if begin < first or end > last:  # what is stripped is no part of it
            begin, end = max(begin, first), min(end, last)
            if begin <= end:
                key = (key ^ hash_span(address, size, begin, end - begin)) * P0
        else:
            key = (key ^ keys[k]) * P0
        end = np.int64(ends[k])
        if k + 1 < lines and end >= first:
            following = np.int64(starts[k + 1])
            if following <= last and following - end >= 2:
                starts[n], ends[n], keys[n] = start, end, key ^ key >> np.uint64(32)
                n += 1
                start, key = following, np.uint64(0)
    starts[n], ends[n], keys[n] = start, last, key ^ key >> np.uint64(32)
    return n + 1


@inlined
def _repeated(address, size, starts, ends, keys, spans, table):  # type: ignore[no-untyped-def]  # numba infers
    """(spans that occurred before, their code points)."""
    if spans < 2:
        return np.int64(0), np.int64(0)
    enough = slot_bits(2 * spans, 40)
    bits = min(enough, _FIRST_SLOTS)
    while True:
        repeated, length = _tallied(address, size, starts, ends, keys, spans, table, bits)
        if repeated >= 0:
            return repeated, length
        bits = min(enough, bits + 2)


@inlined
def _tallied(address, size, starts, ends, keys, spans, table, bits):  # type: ignore[no-untyped-def]  # numba infers
    """As above; -1 if the table is too small. table: int64[≥ 2**bits], 31 bits of the hash above the span's number + 1."""
    slots = np.int64(1) << bits
    last = np.uint64(slots - 1)
    table[:slots] = 0
    room = slots >> 1
    repeated, characters = np.int64(0), np.int64(0)
    for number in range(spans):
        start = np.int64(starts[number])
        length = np.int64(ends[number]) - start
        key = keys[number]
        mark = np.int64(key >> np.uint64(33))
        slot = key & last
        found = False
        while table[slot] != 0:
            entry = table[slot]
            if entry >> 32 == mark:
                there = np.int64(starts[(entry & 0xFFFFFFFF) - 1])
                if np.int64(ends[(entry & 0xFFFFFFFF) - 1]) - there == length and same_span(
                    address, size, start, there, length
                ):
                    found = True
                    break
            slot = (slot + np.uint64(1)) & last
        if found:
            repeated += 1
            characters += characters_of(address + start, length)
        elif room == 0:
            return np.int64(-1), np.int64(0)
        else:
            room -= 1
            table[slot] = mark << 32 | (number + 1)
    return repeated, characters
