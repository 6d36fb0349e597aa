"""Shingles: hashes of all runs of n words of a document, by which near-duplicates are measured (Broder 1997).

In: the tokens of a batch. Out:

    values   uint64[shingles]   hash of n words that follow each other; a run that occurs twice stands twice
    docs     int64[rows + 1]    shingles of row r are docs[r] … docs[r+1]
    words    uint32[…], int64[rows + 1]   if asked for: what `dedup.evidence.Words` keeps of each document

What counts as a word, and when two are equal:

- punctuation, symbols, emoji and strays count for nothing;
- case is ignored, and so are accents on Latin, Greek and Cyrillic letters, Hebrew points and Arabic vowel signs (code
  points below U+2100: simple lower case, the base of the canonical decomposition, marks dropped);
- a run of digits is one `0`, apostrophes, full stops and the like inside a word are left out (`1,000.5` is `0`,
  `it’s` is `its`). In `words` a digit is itself (`10005`), of whatever script, so `12 34` and `99 1` are not equal.

What becomes of a code point stands in `dedup/shingle_table.npz`, made by `scripts/build_shingle_table.py`: hashes do not
depend on the interpreter's version of Unicode.

n is `words` (5). Scripts without spaces have a token for each character (`IDEOGRAM`, `CLUSTER`); a document that
consists of them for more than half gets the longer run `characters` (10: Chinese words have 1.5 to 2 characters). A
document of fewer words than n has one shingle, of all it has; one without any word has none.

datatrove 0.10 does the same to the text before it asks spaCy for words (`simplify_text`). It differs in this: it
makes `it s` of `it's` and `0 0` of `1.2.3`, drops combining marks of every script (vowel signs of Hindi too), folds
digits and letters above U+2100, cuts Chinese, Japanese and Thai by dictionaries, and gives documents of fewer than 5
words no signature at all.

Numbers: 8 bytes a word for the shingles, as much for the hashes of the longest document.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.text.codepoints import decode
from curate.core.text.hashing import M1, M2, P0, P1
from curate.core.text.memory import address_of, inlined, kernel, view_uint8
from curate.core.text.tokens import CLUSTER, IDEOGRAM, KIND_MASK, NUMBER, WORD, Tokens

WORDS: Final = 5
CHARACTERS: Final = 10

_ZERO: Final = ord("0")
with np.load(Path(__file__).with_name("shingle_table.npz"), allow_pickle=False) as _file:
    #: uint16[0x2100]: the code point that stands for each in a shingle, 0 for none.
    _NUMBERS: Final = np.ascontiguousarray(_file["values"])
#: The same with every digit `0`.
_FOLD: Final = np.where(np.isin(_NUMBERS, np.arange(_ZERO, _ZERO + 10)), _ZERO, _NUMBERS).astype(np.uint16)
#: Code points from here on are themselves: whole scripts without case follow, and a few symbols.
_FOLDED: Final = len(_FOLD)
#: Odd multipliers of the places in a run: distinct, so order counts (powers of the golden ratio's P0, made odd).
PLACES: Final = np.array([(0x9E3779B97F4A7C15 * (2 * k + 1) ** 3) % 2**64 | 1 for k in range(64)], np.uint64)
LONGEST: Final = len(PLACES)
#: Documents of fewer words have both halves of each in `words`, and this bit beside their width.
FEW: Final = 64
DOUBLED: Final = np.uint32(1 << 31)


class WordLists(NamedTuple):
    """Of row r hashes[rows[r]] … hashes[rows[r+1]]; nothing for a document without a word, else its width and its words.

    hashes: uint32, the width with `DOUBLED` or without; then for each word the upper half of its hash, of documents
    that are `DOUBLED`, which have fewer than `FEW` words, the lower half too. rows: int64[rows + 1].
    """

    hashes: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shingles:
    """Shingles of a batch: the arrays at the top of the module."""

    values: npt.NDArray[np.uint64]
    docs: npt.NDArray[np.int64]
    words: WordLists | None = None


def shingles(
    tokens: Tokens, *, words: int = WORDS, characters: int = CHARACTERS, listed: bool = False
) -> Shingles:
    """Shingles of runs of `words` words, or `characters` characters in scripts without spaces; both at most LONGEST.

    listed: whether the words are wanted too.
    """
    rows = len(tokens.docs) - 1
    values, docs = np.empty(len(tokens), np.uint64), np.empty(rows + 1, np.int64)
    lengths = np.diff(tokens.docs)
    longest = int(lengths.max(initial=0))
    room = int((1 + lengths + np.minimum(lengths, FEW)).sum()) if listed else 0
    kept, ends = np.empty(room, np.uint32), np.empty(rows + 1, np.int64)
    count = _shingles(
        address_of(tokens.data), tokens.data.size, tokens.starts, tokens.ends, tokens.classes, tokens.docs,
        _FOLD, _NUMBERS, PLACES, words, characters, listed, np.empty(longest, np.uint64),
        np.empty(longest, np.uint64), values, docs, kept, ends,
    )  # fmt: skip
    values.resize(count, refcheck=False)
    if not listed:
        return Shingles(values, docs)
    kept.resize(int(ends[-1]), refcheck=False)
    return Shingles(values, docs, WordLists(kept, ends))


@kernel
def _shingles(  # type: ignore[no-untyped-def]  # numba infers
    address, size, starts, ends, classes, token_docs, fold, numbers, places, words, characters, listed,
    hashes, exact, values, docs, kept, kept_ends,
):  # fmt: skip
    """Fills `values`, with room for one a token, and `docs`; returns how many. hashes, exact: room for the longest document;
    kept, kept_ends: filled if `listed`, with room for the width and every token of each document, the first FEW twice.
    """
    data = view_uint8(address, size)
    n, m = np.int64(0), np.int64(0)
    docs[0] = kept_ends[0] = 0
    for row in range(docs.size - 1):
        count, single = np.int64(0), np.int64(0)
        for t in range(token_docs[row], token_docs[row + 1]):
            kind = np.int64(classes[t]) & KIND_MASK
            if not 1 << kind & (1 << WORD | 1 << NUMBER | 1 << IDEOGRAM | 1 << CLUSTER):
                continue
            at, end = np.int64(starts[t]), np.int64(ends[t])
            h, numeric = _word_hash(data, at, end, fold, np.uint64(_ZERO))
            if h != np.uint64(0):
                hashes[count] = h
                if listed:
                    exact[count] = h
                    if numeric:
                        exact[count], numeric = _word_hash(data, at, end, numbers, np.uint64(0))
                count += 1
                single += kind >= IDEOGRAM
        width = min(count, np.int64(characters) if 2 * single > count else np.int64(words))
        if width > 0:
            for first in range(count - width + 1):
                h = np.uint64(width)
                for k in range(width):
                    h += hashes[first + k] * places[k]
                values[n] = mixed(h)
                n += 1
        docs[row + 1] = n
        if listed and count > 0:
            doubled = count < FEW
            kept[m] = np.uint32(width) | DOUBLED * np.uint32(doubled)
            m += 1
            for i in range(count):
                kept[m] = np.uint32(exact[i] >> np.uint64(32))
                m += 1
                if doubled:
                    kept[m] = np.uint32(exact[i] & np.uint64(0xFFFFFFFF))
                    m += 1
        kept_ends[row + 1] = m
    return n


@inlined
def _word_hash(data, at, end, fold, once):  # type: ignore[no-untyped-def]  # numba infers
    """Hash of a word's folded code points, 0 if none is left; and whether `once`, which stands once for a run of it, is
    among them."""
    h = P0
    last = np.uint64(0)
    among = False
    while at < end:
        point = np.int64(data[at])
        length = np.int64(1)
        if point >= 0x80:
            point, length = decode(data, at, end)
        at += length
        c = np.uint64(fold[point]) if point < _FOLDED else np.uint64(point)
        if c == np.uint64(0) or (c == once and last == c):
            continue
        h = (h ^ c) * P1
        h ^= h >> np.uint64(32)
        last = c
        among |= c == once
    return h if last else np.uint64(0), among


@inlined
def mixed(h):  # type: ignore[no-untyped-def]  # numba infers
    h = (h ^ (h >> np.uint64(30))) * M1
    h = (h ^ (h >> np.uint64(27))) * M2
    return h ^ (h >> np.uint64(31))
