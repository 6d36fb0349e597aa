"""Sentences in a line, counted as datatrove's C4 filter counts them: spaCy's `sentencizer`.

In: the tokens of a batch and spans of its data buffer, mostly lines. Out: int32[spans], sentences in each.

A sentence ends with a terminator (`TERMINATORS`, the `punct_chars` of spaCy 3.8's sentencizer; MIT licence, (c)
ExplosionAI) and the punctuation after it: the next token that is neither punctuation nor a terminator begins
the next. spaCy makes a token of whitespace too, unless it is one single space between two words, and that
token begins a sentence like any other; so `Yes.  . No` has three. datatrove takes the number of such
sentences, 1 for a span without any.

Both word definitions can be counted. `spacy-like` gives each terminator a token of its own, and kind PUNCT is
spaCy's `is_punct`; the few tokens of several terminators that its rules leave (`a-???-b`) end none. Under `unicode`
a run of one mark is one token (`runs`): `!!!` or `。。` ends a sentence as `!` does, a run of full stops (`...`) ends
none, as spaCy's ellipsis ends none.

Figures: a span costs its tokens: two loads and two comparisons each, bytes are read only for punctuation and gaps
wider than a byte. Measured 5 ns a token, 1 GB/s of English; a pass over 9 bytes of starts, ends and classes a token.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.codepoints import CLASS_MASK, decode
from curate.core.text.memory import address_of, inlined, kernel, view_uint8
from curate.core.text.tokens import PUNCT, Tokens
from curate.core.text.unaligned import load_word

#: Order as in spaCy.
TERMINATORS: Final = (
    "!.?։؟۔܀܁܂߹।॥၊။።፧፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？𐩖𐩗𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍"
    "𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑩂𑩃𑪛𑪜𑱁𑱂𖩮𖩯𖫵𖬷𖬸𖭄𛲟𝪈｡。"
)
#: The same as a sorted table, for a kernel: int32[…].
POINTS: Final = np.array(sorted(map(ord, TERMINATORS)), np.int32)
_SPACE: Final = 32
#: Tokens between two spans that are passed over together.
_STRIDE: Final = 8
#: A one in each byte, and the highest bit of each.
_EACH: Final = np.uint64(0x0101010101010101)
_HIGH: Final = np.uint64(0x8080808080808080)
_EXCLAMATION, _FULL_STOP, _QUESTION = 33, 46, 63


@inlined
def ends_sentence(data, start, end, points, runs):  # type: ignore[no-untyped-def]  # numba infers
    """Whether a token of kind PUNCT is a terminator or, where `runs` is set, one repeated."""
    point, length = decode(data, start, end)
    if point < 0x80:
        found = point in (_FULL_STOP, _EXCLAMATION, _QUESTION)
    else:
        low, high = 0, points.size
        while low < high:
            middle = (low + high) >> 1
            if points[middle] < point:
                low = middle + 1
            else:
                high = middle
        found = low < points.size and points[low] == point
    if found and end - start > length:
        found = runs and point != _FULL_STOP
        for k in range(start + length, end):
            found &= data[k] == data[k - length]
    return found


@inlined
def sentences_in(  # type: ignore[no-untyped-def]  # numba infers
    data, starts, ends, classes, first, span_start, span_end, points, runs
):
    """(sentences of data[span_start:span_end], at least 1; the token behind it), where `first` is its first token."""
    count, i = 1, first
    ended = False
    before, class_at = np.int64(span_start), np.int64(classes.ctypes.data)
    while i < starts.size:
        if not ended:  # nothing begins before the next punctuation
            while (
                i + 8 <= starts.size and ends[i + 7] <= span_end and not _has_punct(load_word(class_at + i))
            ):
                i += 8
            if i == starts.size:
                break
        start, end = np.int64(starts[i]), np.int64(ends[i])
        if end > span_end:
            break
        i += 1
        if ended and start != before and (start != before + 1 or data[before] != _SPACE):
            count += 1
            ended = False
        before = end
        if np.int64(classes[i - 1]) & CLASS_MASK == PUNCT:
            ended |= ends_sentence(data, start, end, points, runs)
        elif ended:
            count += 1
            ended = False
    if ended and before < span_end and (before + 1 != span_end or data[before] != _SPACE):
        count += 1  # whitespace at the end
    return count, i


@inlined
def _has_punct(classes):  # type: ignore[no-untyped-def]  # numba infers
    """Whether one of eight classes is of kind PUNCT."""
    other = (classes & np.uint64(CLASS_MASK) * _EACH) ^ np.uint64(PUNCT) * _EACH
    return (other - _EACH) & ~other & _HIGH != 0


def count_sentences(
    tokens: Tokens,
    span_starts: npt.NDArray[np.int32],
    span_ends: npt.NDArray[np.int32],
    *,
    runs: bool = False,
) -> npt.NDArray[np.int32]:
    """int32[n]: sentences in each of n spans (bytes in `tokens.data`, ascending, not overlapping).

    runs: whether a run of one mark is one token, as `unicode` has it, and so may end a sentence.
    """
    out = np.empty(len(span_starts), np.int32)
    _count(
        address_of(tokens.data), tokens.data.size, tokens.starts, tokens.ends, tokens.classes,
        np.ascontiguousarray(span_starts, np.int32), np.ascontiguousarray(span_ends, np.int32), POINTS, runs, out,
    )  # fmt: skip
    return out


@kernel
def _count(  # type: ignore[no-untyped-def]  # numba infers
    address, size, starts, ends, classes, span_starts, span_ends, points, runs, out
):
    data = view_uint8(address, size)
    first = np.int64(0)
    for i in range(span_starts.size):
        begin, end = np.int64(span_starts[i]), np.int64(span_ends[i])
        while first + _STRIDE <= starts.size and starts[first + _STRIDE - 1] < begin:
            first += _STRIDE
        while first < starts.size and starts[first] < begin:
            first += 1
        out[i], first = sentences_in(data, starts, ends, classes, first, begin, end, points, runs)
