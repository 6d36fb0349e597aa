"""Words of a batch of texts: one tokenisation that every rule, MinHash and the passage cutter share.

In: the data buffer and offsets of an Arrow `string` array. Out, per token:

    starts, ends   int32[tokens]   bytes in the data buffer (absolute: `data[starts[i]:ends[i]]` is token i)
    classes        uint8[tokens]   low five bits the kind: WORD NUMBER PUNCT SIGN IDEOGRAM CLUSTER STRAY;
                                   flags LETTER, COUNTED, WIDE of `codepoints`: set if any code point has them
    docs           int64[rows+1]   tokens of row r are docs[r] … docs[r+1]
    hashes         uint64[tokens]  of the token's bytes, computed when first asked for

The word definition is called `unicode`. It is UAX #29 (Unicode's word boundaries), the same for every
language:

- whitespace, U+200B and format characters that have nothing to attach to belong to no token;
- letters, numbers and connectors (`_`) form words; `'` `.` `:` `·` join two letters (can't, e.g), `,` `.` `'`
  `;` two digits (3.14); marks and format characters belong to what precedes them; hangul forms words like any
  alphabet;
- ideographs, hiragana and katakana are words singly; Thai, Lao, Khmer, Myanmar and the other scripts without
  spaces are cut into grapheme clusters, since a dictionary would be needed to do better;
- an emoji with its modifiers and zero-width joiners is one token, two regional indicators are one flag.

It departs from UAX #29 in these points. A run of one and the same mark (`...`, `-----`, `!!!`) is one token:
rulers of eighty hyphens would otherwise decide the rules that count words. Katakana is single too, U+202F is
a space, all numbers (², ½) count as numeric, and a zero-width joiner binds emoji only.

Memory: 9 bytes a token, one token a byte at worst. Buffers are reserved for that worst case, but only pages
that tokens are written to become resident, and they are shrunk in place: about 2 bytes per byte of English,
never above 9. A single document of 60 MB is no different from a batch of that size. Hashes add 8 bytes a
token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.computed import computed
from curate.core.text.codepoints import (
    ALETTER,
    CLASS_MASK,
    COUNTED,
    DIGIT,
    DOUBLE_QUOTE,
    FORMAT,
    HEBREW,
    IDEOGRAPH,
    JOINS,
    LETTER,
    MIDLETTER,
    MIDNUM,
    MIDNUMLET,
    OTHER,
    PICTOGRAPH,
    REGIONAL,
    SINGLE_QUOTE,
    SOUTHEAST,
    SPACE,
    SYMBOL,
    TABLE,
    WIDE,
    WORDLIKE,
    ZERO_WIDTH_JOINER,
    decode,
    entry_at,
)
from curate.core.text.hashing import hash_spans
from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8

#: Kinds of token, the low five bits of its class.
STRAY: Final = 0  # controls, unassigned and private code points, U+FFFD, marks with nothing to attach to
WORD: Final = 1
NUMBER: Final = 2
PUNCT: Final = 3
SIGN: Final = 4  # symbols, emoji, flags
IDEOGRAM: Final = 5
CLUSTER: Final = 6
KIND_MASK: Final = CLASS_MASK
KINDS: Final = ("stray", "word", "number", "punct", "sign", "ideogram", "cluster")
FLAGS: Final = LETTER | COUNTED | WIDE

# Sets of classes of code points, as bits.
_SKIPPED: Final = 1 << SPACE | 1 << FORMAT
_EMOJI: Final = 1 << PICTOGRAPH | 1 << REGIONAL
_SINGLE: Final = 1 << IDEOGRAPH | 1 << SOUTHEAST
_INSIDE_LETTERS: Final = 1 << MIDLETTER | 1 << MIDNUMLET | 1 << SINGLE_QUOTE
_INSIDE_DIGITS: Final = 1 << MIDNUM | 1 << MIDNUMLET | 1 << SINGLE_QUOTE
_INSIDE: Final = _INSIDE_LETTERS | _INSIDE_DIGITS | 1 << DOUBLE_QUOTE


@dataclass(frozen=True)
class Tokens:
    """Tokens of a batch: the arrays at the top of the module, and `data`, the bytes they point into."""

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    classes: npt.NDArray[np.uint8]
    docs: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    @computed
    def hashes(self) -> npt.NDArray[np.uint64]:
        """uint64[tokens]: `hash_bytes` of each token's bytes, case and all."""
        out = np.empty(len(self.starts), np.uint64)
        hash_spans(address_of(self.data), self.data.size, self.starts, self.ends, out)
        return out

    def of(self, row: int) -> list[bytes]:
        """The tokens of one row, for tests and messages."""
        span = range(int(self.docs[row]), int(self.docs[row + 1]))
        return [self.data[self.starts[i] : self.ends[i]].tobytes() for i in span]


def tokenize(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> Tokens:
    """Tokens of texts: offsets int32[rows+1] into data uint8[bytes], of which they may cover a part."""
    rows = len(offsets) - 1
    worst = int(offsets[-1]) - int(offsets[0])
    starts, ends = np.empty(worst, np.int32), np.empty(worst, np.int32)
    classes, docs = np.empty(worst, np.uint8), np.empty(rows + 1, np.int64)
    count = _tokenize(
        address_of(data), data.size, address_of(offsets), rows, TABLE.block, TABLE.entry, TABLE.ascii,
        starts, ends, classes, docs,
    )  # fmt: skip
    for array in (starts, ends, classes):
        array.resize(count, refcheck=False)
    return Tokens(data, starts, ends, classes, docs)


@kernel
def _tokenize(  # type: ignore[no-untyped-def]  # numba infers
    address, size, offset_address, rows, block, entry, ascii, starts, ends, classes, docs
):
    """Fills the outputs, which have room for a token a byte, and returns the number of tokens."""
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, rows + 1)
    n = 0
    docs[0] = 0
    for row in range(rows):
        at, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        while at < end:
            first = np.int64(ascii[data[at]])
            after = at + 1
            if first == 0:
                first, length = entry_at(data, at, end, block, entry)
                after = at + length
            group = first & CLASS_MASK
            if 1 << group & _SKIPPED:
                at = after
                continue
            if first & WORDLIKE:
                after, kind, seen = _word(data, after, end, block, entry, ascii, first)
            elif 1 << group & _EMOJI:
                after, seen = _emoji(data, after, end, block, entry, first)
                kind = SIGN
            elif 1 << group & _SINGLE:
                after, seen = _marks(data, after, end, block, entry, first)
                kind = IDEOGRAM if group == IDEOGRAPH else CLUSTER
            else:
                after, seen = _run(data, at, after, end, block, entry, first)
                kind = STRAY if group == OTHER or first & JOINS else SIGN if group == SYMBOL else PUNCT
            starts[n] = at
            ends[n] = after
            classes[n] = kind | seen & FLAGS
            n += 1
            at = after
        docs[row + 1] = n
    return n


@inlined
def _word(data, at, end, block, entry, ascii, seen):  # type: ignore[no-untyped-def]  # numba infers
    """Rules WB5–WB13b from the second character of a word on: (end of the word, kind, flags seen)."""
    last = seen
    while at < end:
        step = np.int64(ascii[data[at]])
        after = at + 1
        if step == 0:
            step, length = entry_at(data, at, end, block, entry)
            after = at + length
        if step & WORDLIKE:
            last = step
        elif not step & JOINS:
            kind = step & CLASS_MASK
            if not 1 << kind & _INSIDE:
                break
            # What follows decides whether it is inside the word; marks on it belong to it (WB4).
            ahead, ahead_seen = _marks(data, after, end, block, entry, step)
            following = np.int64(0)
            if ahead < end:
                following, _ = entry_at(data, ahead, end, block, entry)
            letters = last & following & ALETTER and 1 << kind & _INSIDE_LETTERS
            digits = last & following & DIGIT and 1 << kind & _INSIDE_DIGITS
            hebrew = last & CLASS_MASK == HEBREW
            quoted = hebrew and kind == DOUBLE_QUOTE and following & CLASS_MASK == HEBREW
            if not (letters or digits or quoted):
                if hebrew and kind == SINGLE_QUOTE:  # WB7a: a geresh may end its word
                    seen |= ahead_seen
                    at = ahead
                break
            step, after = ahead_seen, ahead
        seen |= step
        at = after
    return at, WORD if seen & ALETTER else NUMBER if seen & DIGIT else PUNCT, seen


@inlined
def _marks(data, at, end, block, entry, seen):  # type: ignore[no-untyped-def]  # numba infers
    """Skips marks and format characters: (where they end, flags seen)."""
    while at < end:
        step, length = entry_at(data, at, end, block, entry)
        if not step & JOINS:
            break
        seen |= step
        at += length
    return at, seen


@inlined
def _emoji(data, at, end, block, entry, seen):  # type: ignore[no-untyped-def]  # numba infers
    """A pictograph, its modifiers and what is joined to it (WB3c), or two regional indicators (WB15)."""
    regional = seen & CLASS_MASK == REGIONAL
    joined = False
    while at < end:
        point, length = decode(data, at, end)
        step, _ = entry_at(data, at, end, block, entry)
        kind = step & CLASS_MASK
        if step & JOINS:
            joined = point == ZERO_WIDTH_JOINER
        elif regional and kind == REGIONAL:
            regional = False
        elif not (joined and kind == PICTOGRAPH):
            break
        else:
            joined = False
        seen |= step
        at += length
    return at, seen


@inlined
def _run(data, start, at, end, block, entry, seen):  # type: ignore[no-untyped-def]  # numba infers
    """A symbol, punctuation mark or stray, repeated, and marks on the last: (where it ends, flags seen)."""
    length = at - start
    while at + length <= end:
        same = True
        for k in range(length):
            same &= data[at + k] == data[start + k]
        if not same:
            break
        at += length
    return _marks(data, at, end, block, entry, seen)
