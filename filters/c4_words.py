"""What a line of C4 has, 64 bytes at a time: where it begins and ends, its words, what may be a phrase or end a sentence.

Of nearly every line one look at each byte says all that its rules ask. Only a line with characters beyond ASCII, which may
be spaces, has its words counted byte by byte.
"""

from __future__ import annotations

import numpy as np

from curate.core.text.blocks import (
    BLOCK,
    at_least,
    equal_to,
    marks_in,
    one_bits,
    readable,
    spaces_in,
    trailing_zeros,
)
from curate.core.text.hashing import ALL
from curate.core.text.lines import skip_spaces, trim_spaces
from curate.core.text.memory import inlined
from filters.c4_phrases import BEHIND, phrase_marks


@inlined
def stripped(data, address, size, start, end, scratch):  # type: ignore[no-untyped-def]  # numba infers
    """Where a line begins and ends that is stripped; nearly all end in a visible character of ASCII."""
    if start < end and not 0x20 < data[start] < 0x7F:
        start += min(end - start, trailing_zeros(~spaces_in(readable(address, size, start, BLOCK, scratch))))
        start = skip_spaces(data, start, end)
    if start < end and not 0x20 < data[end - 1] < 0x7F:
        end = trim_spaces(data, start, end)
    return start, end


@inlined
def look(address, size, start, end, scratch):  # type: ignore[no-untyped-def]  # numba infers
    """What a stripped line has: (runs of ASCII spaces, whether there is anything that is no ASCII, a `[`, what may be a
    phrase, a mark that may end a sentence anywhere but at its end). 64 bytes at a time."""
    runs, behind = np.int64(0), np.uint64(0)
    wide, brackets, phrases, marks = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for at in range(start, end, BLOCK):
        place = readable(address, size, at, BLOCK + BEHIND, scratch)
        inside, last = ALL, np.uint64(0)
        if at + BLOCK >= end:
            inside >>= np.uint64(at + BLOCK - end)
            last = np.uint64(1) << np.uint64(end - at - 1)
        spaces = spaces_in(place) & inside
        runs += one_bits(spaces & ~(spaces << np.uint64(1) | behind))
        behind = spaces >> np.uint64(63)
        wide |= at_least(place, np.uint8(0x80)) & inside
        brackets |= equal_to(place, np.uint8(0x5B)) & inside
        phrases |= phrase_marks(place) & inside
        marks |= marks_in(place) & inside & ~last
    return runs, wide != 0, brackets != 0, phrases != 0, (marks | wide) != 0


@inlined
def has_longer_word(data, start, end, most):  # type: ignore[no-untyped-def]  # numba infers
    """Whether a word of data[start:end] has more than `most` code points."""
    at = start
    while at < end:
        length = np.int64(0)
        at = skip_spaces(data, at, end)
        while at < end:
            byte = data[at]
            if (byte <= 0x20 or byte == 0xC2 or 0xE1 <= byte <= 0xE3) and skip_spaces(
                data, at, at + 1 if byte < 0x80 else end
            ) > at:
                break
            length += byte & 0xC0 != 0x80
            at += 1
        if length > most:
            return True
    return False


@inlined
def has_words(data, start, end, least):  # type: ignore[no-untyped-def]  # numba infers
    """Whether data[start:end], which is stripped, has so many words."""
    if start >= end:
        return False
    words, at = np.int64(1), start
    while at < end and words < least:
        byte = data[at]
        if byte <= 0x20 or byte == 0xC2 or 0xE1 <= byte <= 0xE3:
            after = skip_spaces(data, at, end)
            if after > at:
                words += 1
                at = after
                continue
        at += 1
    return words >= least
