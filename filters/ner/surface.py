"""Surface features of passages: what capitals, digits and punctuation say of the names in them, from the tokens alone.

In: the tokens of a batch. Out: int32[rows, 12], the columns of `COUNTS`:

    tokens      all of them
    words       written with letters that are put together to words (`WORD`)
    signs       ideographs, kana, and clusters of scripts without spaces
    numbers     tokens of digits
    marks       punctuation and symbols
    cased       words that begin with a capital or a small letter: 0 in scripts without case
    sentences   that begin: at a terminator, a line's end, the text's beginning
    capitalised inside   words with a capital first that do not begin a sentence
    distinct    different ones among those
    sequences   of two capitalised words and more, the first word of a sentence too
    all_capitals         words of two capitals and more without a small letter
    initial     sentences that begin with a capitalised word

A word begins a sentence if only punctuation stands between it and the sentence's beginning. An initial (`J.`) ends no
sentence. A first word that is followed by another capitalised one (`Angela Merkel`) is part of a sequence.

Figures: two loads a token; a word's first character is decoded, its bytes are read only if it is a capital.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.codepoints import CLASS_MASK, decode
from curate.core.text.hashing import hash_bytes
from curate.core.text.memory import address_of, inlined, kernel, view_uint8
from curate.core.text.sentences import POINTS, ends_sentence
from curate.core.text.tokens import CLUSTER, IDEOGRAM, NUMBER, PUNCT, SIGN, WORD, Tokens

COUNTS: Final = (
    "tokens", "words", "signs", "numbers", "marks", "cased", "sentences", "capitalised", "distinct", "sequences",
    "all_capitals", "initial",
)  # fmt: skip
(
    _TOKENS, _WORDS, _SIGNS, _NUMBERS, _MARKS, _CASED, _SENTENCES, _CAPITALISED, _DISTINCT, _SEQUENCES, _ALL, _INITIAL,
) = range(len(COUNTS))  # fmt: skip

_NONE, _CAPITAL, _SMALL = 0, 1, 2
_LINE_FEED, _RETURN, _FULL_STOP = 10, 13, 46

Int32s = npt.NDArray[np.int32]


def _case() -> tuple[npt.NDArray[np.uint8], str]:
    """uint8[0x20000]: 1 capital, 2 small, 0 neither; Unicode version."""
    with np.load(Path(__file__).with_name("case_table.npz"), allow_pickle=False) as file:
        return np.unpackbits(file["capital"]) + 2 * np.unpackbits(file["small"]), str(file["unicode"])


CASE, UNICODE_VERSION = _case()


def surface(tokens: Tokens, *, runs: bool = True) -> Int32s:
    """int32[rows, 12]: `COUNTS` of every row. runs: whether a run of one mark is one token (`unicode` words)."""
    rows = len(tokens.docs) - 1
    out = np.zeros((rows, len(COUNTS)), np.int32)
    longest = int(np.diff(tokens.docs).max(initial=0))
    slots = 1 << max(3, (2 * longest).bit_length())
    keys, stamps = np.zeros(slots, np.uint64), np.full(slots, -1, np.int64)
    if len(tokens):
        _count(
            address_of(tokens.data), tokens.data.size, tokens.starts, tokens.ends, tokens.classes, tokens.docs,
            CASE, POINTS, runs, keys, stamps, out,
        )  # fmt: skip
    return out


@kernel
def _count(  # type: ignore[no-untyped-def]  # numba infers
    address, size, starts, ends, classes, docs, case, points, runs, keys, stamps, out
):
    """keys, stamps: a hash table of a power of two of slots, more than twice the tokens of any row; stamps are -1."""
    data = view_uint8(address, size)
    mask = np.int64(keys.size - 1)
    for row in range(out.shape[0]):
        first, last = docs[row], docs[row + 1]
        begins = True  # a sentence: nothing but marks has come
        run = np.int64(0)  # capitalised words that end here
        words = signs = numbers = marks = cased = sentences = capitalised = distinct = sequences = (
            all_capitals
        ) = 0
        initial = 0
        before = np.int64(starts[first]) if first < last else np.int64(0)
        letter = False  # the token before is one capital letter
        for i in range(first, last):
            start, end = np.int64(starts[i]), np.int64(ends[i])
            for at in range(before, start):
                if data[at] == _LINE_FEED or data[at] == _RETURN:
                    begins = True
                    run = np.int64(0)
            before = end
            kind = np.int64(classes[i]) & CLASS_MASK
            if kind == WORD:
                words += 1
                point, length = decode(data, start, end)
                here = np.int64(case[point]) if point < case.size else np.int64(_NONE)
                cased += here != _NONE
                sentences += begins
                single = False
                if here == _CAPITAL:
                    run += 1
                    sequences += run == 2
                    capitals, smalls = _letters(data, start, end, case)
                    all_capitals += capitals > 1 and smalls == 0
                    single = end - start == length
                    if begins:
                        initial += 1
                    else:
                        capitalised += 1
                        key = hash_bytes(data, start, end)
                        slot = np.int64(key & np.uint64(mask))
                        while stamps[slot] == row and keys[slot] != key:
                            slot = (slot + 1) & mask
                        if stamps[slot] != row:
                            stamps[slot] = row
                            keys[slot] = key
                            distinct += 1
                else:
                    run = np.int64(0)
                begins = False
                letter = single
                continue
            if kind == NUMBER:
                numbers += 1
                sentences += begins
                begins = False
            elif kind in (IDEOGRAM, CLUSTER):
                signs += 1
                sentences += begins
                begins = False
            elif kind in (PUNCT, SIGN):
                marks += 1
                if kind == PUNCT and ends_sentence(data, start, end, points, runs):
                    begins |= not (letter and data[start] == _FULL_STOP)
            if not (letter and kind == PUNCT and data[start] == _FULL_STOP):  # `J. Smith` is one sequence
                run = np.int64(0)
            letter = False
        counts = out[row]
        counts[_TOKENS] = last - first
        counts[_WORDS] = words
        counts[_SIGNS] = signs
        counts[_NUMBERS] = numbers
        counts[_MARKS] = marks
        counts[_CASED] = cased
        counts[_SENTENCES] = sentences
        counts[_CAPITALISED] = capitalised
        counts[_DISTINCT] = distinct
        counts[_SEQUENCES] = sequences
        counts[_ALL] = all_capitals
        counts[_INITIAL] = initial


@inlined
def _letters(data, start, end, case):  # type: ignore[no-untyped-def]  # numba infers
    """Capital and small letters of a word, as far as the first small one."""
    capitals, smalls, at = np.int64(0), np.int64(0), start
    while at < end and smalls == 0:
        point, length = decode(data, at, end)
        here = np.int64(case[point]) if point < case.size else np.int64(_NONE)
        capitals += here == _CAPITAL
        smalls += here == _SMALL
        at += length
    return capitals, smalls
