"""128-bit keys of texts: equal keys for equal content, whitespace aside if wanted.

In: an Arrow `string` array. Out: uint64[rows, 2]. With `whitespace`, runs of whitespace (`str.isspace`, U+200B) count as one
space and none at the ends, so two extractions of one page are equal; otherwise the bytes decide.

How a key is made of bytes: `curate.core.text.content`.

Numbers: a text is read once (and, with `whitespace`, written once into a buffer as long as the longest text of the batch);
16 bytes a document come out. Floor: one pass over memory, some GB/s.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import text_buffers
from curate.core.text.codepoints import CLASS_MASK, SPACE, TABLE, entry_at
from curate.core.text.content import key128
from curate.core.text.hashing import load64
from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8

#: Bytes that are looked at together.
BLOCK: Final = 128
#: 8 bytes of 1, and of 0x80.
_ONES: Final = np.uint64(0x0101010101010101)
_HIGH: Final = np.uint64(0x8080808080808080)


def content_keys(text: pa.StringArray, *, whitespace: bool) -> npt.NDArray[np.uint64]:
    """uint64[rows, 2]. whitespace: whether runs of it count as one space. Nulls count as the empty text."""
    offsets, data = text_buffers(text)
    rows = len(offsets) - 1
    out = np.empty((rows, 2), np.uint64)
    longest = int(np.diff(offsets).max(initial=0)) if whitespace else 0
    _content_keys(
        address_of(data), data.size, address_of(offsets), rows, TABLE.block, TABLE.entry, TABLE.ascii,
        whitespace, np.empty(longest + 8, np.uint8), out,
    )  # fmt: skip
    return out


@kernel
def _content_keys(  # type: ignore[no-untyped-def]  # numba infers
    address, size, offset_address, rows, block, entry, ascii, whitespace, buffer, out
):
    """buffer: uint8, as long as the longest text, for its normalised form."""
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, rows + 1)
    for row in range(rows):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        if whitespace:
            length = _normalise(address, data, start, end, block, entry, ascii, buffer)
            out[row, 0], out[row, 1] = key128(buffer, np.int64(0), length)
        else:
            out[row, 0], out[row, 1] = key128(data, start, end)


@inlined
def _normalise(address, data, at, end, block, entry, ascii, buffer):  # type: ignore[no-untyped-def]  # numba infers
    """Copies data[at:end] with one space for each run of whitespace, none at the ends; returns the length."""
    n = np.int64(0)
    pending = False
    mixed = at  # no block is looked at before
    while at < end:
        if at >= mixed and end - at >= BLOCK and n > 0 and not pending:
            if _single_spaced(address + at):
                for k in range(0, BLOCK, 8):
                    _store64(buffer, n + k, _lines_joined(load64(data, at + k)))
                at += BLOCK
                n += BLOCK
                pending = bool(buffer[n - 1] == 0x20)
                n -= np.int64(pending)
                continue
            mixed = at + BLOCK
        if end - at >= 8:
            word = _lines_joined(load64(data, at))
            same = _unchanged(word, pending or n == 0)
            if same > 0:
                if pending:
                    buffer[n] = 0x20
                    n += 1
                _store64(buffer, n, word)
                n += same
                at += same
                pending = bool((word >> np.uint64(8 * (same - 1))) & np.uint64(0xFF) == np.uint64(0x20))
                n -= np.int64(pending)
                continue
        first = np.int64(ascii[data[at]])
        length = np.int64(1)
        if first == 0:
            first, length = entry_at(data, at, end, block, entry)
        if first & CLASS_MASK == SPACE:
            pending = bool(n > 0)
            at += length
            continue
        if pending:
            buffer[n] = 0x20
            n += 1
            pending = False
        for k in range(length):
            buffer[n + k] = data[at + k]
        n += length
        at += length
    return n


@inlined
def _single_spaced(address):  # type: ignore[no-untyped-def]  # numba infers
    """Whether a block of bytes after one that is no space stands in the normalised text as it is, line feeds aside.

    So it has no other control character, no two spaces in a row, and no byte with which a space beyond ASCII begins.
    Arithmetic of 8 bits all through, of which LLVM makes vectors.
    """
    first, second = view_uint8(address, BLOCK), view_uint8(address + 1, BLOCK - 1)
    found = np.uint8(0)
    for k in range(BLOCK):
        byte = first[k]
        control = np.uint8(byte < np.uint8(0x20)) & np.uint8(byte != np.uint8(0x0A))
        two = np.uint8(np.uint8(byte | np.uint8(0x20)) == np.uint8(0xE2))
        three = np.uint8(np.uint8(byte | np.uint8(0x02)) == np.uint8(0xE3))
        found = np.uint8(found | np.uint8(control | two | three))
    for k in range(BLOCK - 1):
        one = np.uint8(first[k] == np.uint8(0x20)) | np.uint8(first[k] == np.uint8(0x0A))
        other = np.uint8(second[k] == np.uint8(0x20)) | np.uint8(second[k] == np.uint8(0x0A))
        found = np.uint8(found | np.uint8(one & other))
    return found == np.uint8(0)


@inlined
def _lines_joined(word):  # type: ignore[no-untyped-def]  # numba infers
    """8 bytes with a space for each line feed: the commonest whitespace after the space itself."""
    if (word - _ONES * np.uint64(0x20)) & ~word & _HIGH:
        other = word ^ (_ONES * np.uint64(0x0A))
        feeds = ~(((other & ~_HIGH) + ~_HIGH) | other) & _HIGH
        word ^= (feeds >> np.uint64(7)) * np.uint64(0x2A)
    return word


@inlined
def _unchanged(word, after_space):  # type: ignore[no-untyped-def]  # numba infers
    """How many of 8 bytes stand in the normalised text as they are: those before a control character, a second space in a
    row, or a byte with which a space beyond ASCII begins (C2, E1, E2, E3). A character that the last of them begins goes on
    with bytes that are no space either.
    """
    spaces = word ^ (_ONES * np.uint64(0x20))
    spaces = ~(((spaces & ~_HIGH) + ~_HIGH) | spaces) & _HIGH
    stops = spaces & (spaces << np.uint64(8) | np.uint64(0x80) * np.uint64(after_space))
    # A byte is below the bound where taking it away borrows; a borrow goes on upwards, so the lowest hit is a true one.
    stops |= (word - _ONES * np.uint64(0x20)) & ~word & _HIGH
    if word & _HIGH:
        one = (word | (_ONES * np.uint64(0x20))) ^ (_ONES * np.uint64(0xE2))  # 0 for C2 and E2
        two = (word | (_ONES * np.uint64(0x02))) ^ (_ONES * np.uint64(0xE3))  # 0 for E1 and E3
        stops |= ((one - _ONES) & ~one | (two - _ONES) & ~two) & _HIGH
    if stops == 0:
        return np.int64(8)
    below = ((stops & (~stops + np.uint64(1))) - np.uint64(1)) >> np.uint64(
        7
    )  # 8 ones for each byte below the hit
    return np.int64(((below & _ONES) * _ONES) >> np.uint64(56))


@inlined
def _store64(buffer, at, word):  # type: ignore[no-untyped-def]  # numba infers
    """Puts 8 bytes, little-endian; one store, because the indices are unsigned (as in `load64`)."""
    first = np.uint64(at)
    for k in range(8):
        buffer[first + np.uint64(k)] = np.uint8(word >> np.uint64(8 * k))
