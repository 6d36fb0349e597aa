"""C4's line rules over a batch of texts: which lines are kept, what becomes of them, the new text.

In: the lines of a batch (`curate.core.text.lines`). Out: `Reading`, counts per document and cause, the kept lines as spans,
and the new texts.

A line is stripped, looked at in datatrove's order, and the first rule that it fails is counted:

    too_long_word       a word, as `str.split` finds them, of more code points than allowed
    [citations]         `\\[\\d*]|\\[edit]|\\[citation needed]` is removed; what follows sees the line without them
    no_terminal_punct   it does not end in . ? ! " or ', or it ends in `...`
    too_few_words       fewer words than asked for, counted before citations were removed
    lorem_ipsum         the text is dropped and the rest of it not read
    javascript
    curly_bracket       as lorem_ipsum
    policy              one of six phrases about cookies and terms of use

The phrases are those of `filters.c4_phrases`. Most lines are looked at 64 bytes at a time, for all of this together
(`filters.c4_words`), and those that need it once more. Kept lines are copied as they stand together, if the text changes.

Memory: 24 bytes a line and twice the batch's texts, which become resident where they are written: only texts that change and
lines that had citations are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.blocks import BLOCK, copy_block, readable
from curate.core.text.codepoints import decode
from curate.core.text.lines import Lines, skip_spaces, trim_spaces
from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8
from curate.core.text.unaligned import load_word
from filters.c4_phrases import BEHIND, find_phrases
from filters.c4_words import has_longer_word, has_words, look, stripped

#: Columns of `Reading.counts`: lines read, and lines by what became of them.
COUNTS: Final = (
    "lines",
    "lines_kept",
    "too_long_word",
    "no_terminal_punct",
    "too_few_words",
    "lorem_ipsum",
    "javascript",
    "curly_bracket",
    "policy",
)
_LINES, _KEPT, _LONG, _PUNCT, _FEW, _LOREM, _JAVASCRIPT, _CURLY, _POLICY = range(len(COUNTS))

#: Switches, as bits.
CITATIONS: Final = 1
TERMINAL_PUNCT: Final = 2
LOREM_IPSUM: Final = 4
JAVASCRIPT: Final = 8
CURLY_BRACKET: Final = 16
POLICY: Final = 32

#: A switch that is off: no line has fewer words, no word so many characters.
NO_LEAST: Final = -1
NO_MOST: Final = np.iinfo(np.int64).max

#: Code points of the digits zero; nine digits follow each (general category Nd of Unicode 14, which Python 3.11 has).
ZEROS: Final = np.array(
    [0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20,
     0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0,
     0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0,
     0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50,
     0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0],
    np.int32,
)  # fmt: skip

_EDIT: Final = np.frombuffer(b"edit]", np.uint8)
_NEEDED: Final = np.frombuffer(b"citation needed]", np.uint8)


@dataclass(frozen=True)
class Reading:
    """What was read.

    counts: int64[rows, len(COUNTS)]. A row that was dropped has one lorem_ipsum or curly_bracket, and no kept spans.
    changed: bool[rows]; text, text_ends: the new texts of these, one after the other: int64[rows] ends in uint8[bytes].
    plain: int64[rows]: kept lines without a mark that may end a sentence, but for their last character: one sentence each.
    rows, starts, ends: int32[kept lines]: the others that had no citations, in the data of the batch.
    cited_rows, cited_ends: int32[kept lines] that had, and cited: uint8[bytes], what is left of them.
    """

    counts: npt.NDArray[np.int64]
    changed: npt.NDArray[np.bool_]
    text: npt.NDArray[np.uint8]
    text_ends: npt.NDArray[np.int64]
    plain: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    cited: npt.NDArray[np.uint8]
    cited_rows: npt.NDArray[np.int32]
    cited_ends: npt.NDArray[np.int32]


def read_lines(
    offsets: npt.NDArray[np.int32],
    lines: Lines,
    switches: int,
    least_words: npt.NDArray[np.int64],
    most_characters: npt.NDArray[np.int64],
) -> Reading:
    """Reads the lines of texts.

    offsets: int32[rows+1] of the texts in `lines.data`. switches: the bits above. least_words, most_characters:
    int64[rows], words of each text's lines and characters of their words.
    """
    rows, size = len(offsets) - 1, int(offsets[-1]) - int(offsets[0])
    counts, changed = np.zeros((rows, len(COUNTS)), np.int64), np.zeros(rows, np.bool_)
    # A kept line is no longer than it was, and what separates it from the next is one byte instead of one or more.
    text, cited = np.empty(size + BLOCK, np.uint8), np.empty(size + BLOCK, np.uint8)
    scratch = np.empty(BLOCK + BEHIND, np.uint8)
    text_ends, plain = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    kept = [np.empty(len(lines), np.int32) for _ in range(5)]
    sizes = np.zeros(4, np.int64)
    _read(
        address_of(lines.data), lines.data.size, address_of(offsets), lines.starts, lines.ends, lines.docs,
        switches, least_words, most_characters, counts, changed, address_of(text), text.size, text_ends,
        plain, kept[0], kept[1], kept[2], address_of(cited), cited.size, kept[3], kept[4], address_of(scratch), sizes,
    )  # fmt: skip
    text.resize(sizes[0], refcheck=False)
    cited.resize(sizes[1], refcheck=False)
    for array, used in zip(kept, sizes[[2, 2, 2, 3, 3]], strict=True):
        array.resize(used, refcheck=False)
    return Reading(
        counts, changed, text, text_ends, plain, kept[0], kept[1], kept[2], cited, kept[3], kept[4]
    )


@kernel
def _read(  # type: ignore[no-untyped-def]  # numba infers
    address, size, offset_address, line_starts, line_ends, docs, switches, least_words, most_characters,
    counts, changed, text, text_size, text_ends, plain, kept_rows, kept_starts, kept_ends,
    cited, cited_size, cited_rows, cited_ends, scratch, sizes,
):  # fmt: skip
    """text, cited, scratch: addresses. sizes: bytes of the first two, and how many kept and cited lines there are."""
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, docs.size)
    written, cited_bytes, kept, cited_lines = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for row in range(docs.size - 1):
        before, cited_bytes_before, kept_before, cited_before = written, cited_bytes, kept, cited_lines
        first, after, stopped = np.int64(offsets[row]), np.int64(offsets[row + 1]), False
        # Kept lines that follow each other as they stand in the text are copied together, if anything is.
        run, run_end = np.int64(-1), np.int64(-1)
        for line in range(docs[row], docs[row + 1]):
            start, end = stripped(
                data, address, size, np.int64(line_starts[line]), np.int64(line_ends[line]), scratch
            )
            counts[row, _LINES] += 1
            if end - start > most_characters[row] and has_longer_word(data, start, end, most_characters[row]):
                counts[row, _LONG] += 1
                continue
            spaces, wide, bracket, phrase, mark = look(address, size, start, end, scratch)
            few = least_words[row] > 0 and (start == end or spaces + 1 < least_words[row])
            if wide:
                few = least_words[row] > 0 and not has_words(data, start, end, least_words[row])
            place, at, length = address, start, end - start
            if switches & CITATIONS and bracket:
                length = _without_citations(data, address, size, start, end, cited + cited_bytes, scratch)
                if length < end - start:
                    place, at, phrase = cited, cited_bytes, True
                else:
                    length = end - start
            if switches & TERMINAL_PUNCT and not _is_finished(place, at, length):
                verdict = _PUNCT
            elif few:
                verdict = _FEW
            elif phrase:
                verdict = _phrase_rule(place + at, length, switches)
            else:
                verdict = _KEPT
            counts[row, verdict] += 1
            if verdict in (_LOREM, _CURLY):
                stopped = True
                break
            if verdict != _KEPT:
                continue
            if place == cited:
                if run >= 0:
                    written = _append(address, size, run, run_end - run, text, before, written, scratch)
                    run = np.int64(-1)
                written = _append(cited, cited_size, at, length, text, before, written, scratch)
                cited_bytes += length
                cited_rows[cited_lines] = row
                cited_ends[cited_lines] = cited_bytes
                cited_lines += 1
                continue
            if run < 0 or start != run_end + 1 or data[run_end] != 0x0A:
                if run >= 0:
                    written = _append(address, size, run, run_end - run, text, before, written, scratch)
                run = start
            run_end = end
            if mark:
                kept_rows[kept] = row
                kept_starts[kept] = start
                kept_ends[kept] = end
                kept += 1
            else:
                plain[row] += 1
        if stopped:
            written, cited_bytes, kept, cited_lines = before, cited_bytes_before, kept_before, cited_before
        elif (
            run != first
            or run_end != after
            or stripped(data, address, size, first, after, scratch)
            != (
                first,
                after,
            )
        ):
            if run >= 0:
                written = _append(address, size, run, run_end - run, text, before, written, scratch)
            written = _strip(text, text_size, before, written)
            length = after - first
            changed[row] = written - before != length or not _same(address + first, text + before, length)
            if not changed[row]:
                written = before
        text_ends[row] = written
    sizes[0], sizes[1], sizes[2], sizes[3] = written, cited_bytes, kept, cited_lines


@inlined
def _without_citations(data, address, size, start, end, target, scratch):  # type: ignore[no-untyped-def]  # numba infers
    """Writes data[start:end] without citations and returns its length."""
    length, at, since = np.int64(0), start, start
    while at < end:
        if data[at] == 0x5B:
            after = _citation(data, at + 1, end)
            if after > at:
                _copy(address, size, since, at - since, target + length, scratch)
                length += at - since
                at = after
                since = after
                continue
        at += 1
    if since > start:
        _copy(address, size, since, end - since, target + length, scratch)
    return length + end - since


@inlined
def _citation(data, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """Where a citation ends whose `[` stands before `at`, or -1."""
    after = at
    while after < end:
        if data[after] < 0x80:
            if not 0x30 <= data[after] <= 0x39:
                break
            after += 1
            continue
        point, length = decode(data, after, end)
        zero = np.searchsorted(ZEROS, point, side="right") - 1
        if zero < 0 or point - ZEROS[zero] > 9:
            break
        after += length
    if after < end and data[after] == 0x5D:
        return after + 1
    view = data[at:end]
    if _starts(view, _EDIT):
        return at + _EDIT.size
    if _starts(view, _NEEDED):
        return at + _NEEDED.size
    return np.int64(-1)


@inlined
def _starts(view, phrase):  # type: ignore[no-untyped-def]  # numba infers
    if view.size < phrase.size:
        return False
    same = True
    for k in range(phrase.size):
        same &= view[k] == phrase[k]
    return same


@inlined
def _is_finished(address, at, length):  # type: ignore[no-untyped-def]  # numba infers
    """Whether a line ends in a mark that ends sentences."""
    if length == 0:
        return False
    line = view_uint8(address + at, length)
    last = line[length - 1]
    if last == 0x2E:
        return not (length >= 3 and line[length - 2] == 0x2E and line[length - 3] == 0x2E)
    return last == 0x3F or last == 0x21 or last == 0x22 or last == 0x27  # noqa: PLR1714


@inlined
def _phrase_rule(address, length, switches):  # type: ignore[no-untyped-def]  # numba infers
    """The first rule about phrases that a line fails, or _KEPT."""
    lorem, script, curly, policy = find_phrases(address, length)
    if lorem and switches & LOREM_IPSUM:
        return _LOREM
    if script and switches & JAVASCRIPT:
        return _JAVASCRIPT
    if curly and switches & CURLY_BRACKET:
        return _CURLY
    if policy and switches & POLICY:
        return _POLICY
    return _KEPT


@inlined
def _append(address, size, at, length, text, before, written, scratch):  # type: ignore[no-untyped-def]  # numba infers
    """Writes a newline, unless nothing is written behind `before`, and bytes of a buffer; how much is written then."""
    if written > before:
        view_uint8(text + written, 1)[0] = 0x0A
        written += 1
    _copy(address, size, at, length, text + written, scratch)
    return written + length


@inlined
def _copy(address, size, at, length, target, scratch):  # type: ignore[no-untyped-def]  # numba infers
    """Copies bytes of a buffer of `size` bytes; up to 63 more are written."""
    for k in range(0, length, BLOCK):
        copy_block(readable(address, size, at + k, BLOCK, scratch), target + k)


@inlined
def _strip(text, size, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """Strips what was written between two places, moving it to the first one, and returns where it ends."""
    data = view_uint8(text, size)
    first = skip_spaces(data, start, end)
    end = trim_spaces(data, first, end)
    if first > start:
        for k in range(end - first):
            data[start + k] = data[first + k]
    return end - (first - start)


@inlined
def _same(one, other, length):  # type: ignore[no-untyped-def]  # numba infers
    """Whether `length` bytes at two addresses are the same."""
    k = np.int64(0)
    while k + 8 <= length:
        if load_word(one + k) != load_word(other + k):
            return False
        k += 8
    first, second = view_uint8(one, length), view_uint8(other, length)
    while k < length:
        if first[k] != second[k]:
            return False
        k += 1
    return True
