"""Pieces of texts by code points: passages cut out of the documents of a batch.

In: texts as an Arrow `string` array, and for text r the pieces rows[r] … rows[r + 1] with starts and ends in code points.
Out: the pieces as a `string` array, one after the other. A start or end beyond the text is the text's end, and a piece that
ends before it starts is empty.

Pieces mostly follow each other, so a text is walked once: from the end of the last piece on, or again from its beginning
where a piece lies before that. Blocks of 64 bytes are counted by a loop that the compiler makes vectors of. The pieces are
measured before one byte is copied.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import text_buffers
from curate.core.errors import error
from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_BLOCK = 64
_LARGEST = 2**31 - 1


def pieces(text: pa.StringArray, rows: Int64s, starts: Int32s, ends: Int32s) -> pa.StringArray:
    """string[len(starts)]: text[r][start:end] for the pieces rows[r] … rows[r + 1] of each text r.

    rows: int64[texts + 1]; starts, ends: int32[pieces], code points. R303 if they are more than 2 GB together.
    """
    offsets, data = text_buffers(text)
    first, last = np.empty(len(starts), np.int64), np.empty(len(starts), np.int64)
    if len(starts):
        _find(
            address_of(data),
            data.size,
            address_of(offsets),
            len(offsets) - 1,
            rows,
            starts,
            ends,
            first,
            last,
        )
    sizes = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(last - first, out=sizes[1:])
    if sizes[-1] > _LARGEST:
        raise error(
            "R303",
            f"the passages of one batch have {int(sizes[-1]):,} bytes together",
            help="passages that overlap so often are a fault of the column of spans; cut them anew",
        )
    out = np.empty(int(sizes[-1]), np.uint8)
    if out.size:
        _copy(address_of(data), data.size, first, last, sizes, out)
    made = [None, pa.py_buffer(sizes.astype(np.int32)), pa.py_buffer(out)]
    return pa.Array.from_buffers(pa.string(), len(starts), made)


@kernel
def _find(  # type: ignore[no-untyped-def]  # numba infers
    address, size, offset_address, texts, rows, starts, ends, first, last
):
    """Bytes at which the pieces begin and end: int64[pieces]."""
    data, offsets = view_uint8(address, size), view_int32(offset_address, texts + 1)
    for row in range(texts):
        low, high = np.int64(offsets[row]), np.int64(offsets[row + 1])
        at, point = low, np.int64(0)
        for piece in range(rows[row], rows[row + 1]):
            start = max(np.int64(starts[piece]), np.int64(0))
            end = max(np.int64(ends[piece]), start)
            if start < point:
                at, point = low, np.int64(0)
            at = _forward(data, at, high, start - point)
            first[piece] = at
            at = _forward(data, at, high, end - start)
            last[piece] = at
            point = end


@inlined
def _forward(data, at, end, points):  # type: ignore[no-untyped-def]  # numba infers
    """Where so many code points further begin, at most `end`; `at` is where one begins."""
    while points >= _BLOCK and at + _BLOCK <= end:
        count = np.int64(0)
        for k in range(_BLOCK):
            count += data[at + k] & 0xC0 != 0x80
        at += _BLOCK
        points -= count
    # The block may have ended inside a code point: its rest belongs to what is behind us.
    while at < end and data[at] & 0xC0 == 0x80:
        at += 1
    while points > 0 and at < end:
        at += 1
        while at < end and data[at] & 0xC0 == 0x80:
            at += 1
        points -= 1
    return at


@kernel
def _copy(address, size, first, last, sizes, out):  # type: ignore[no-untyped-def]  # numba infers
    """Fills out[sizes[-1]] with data[first:last] of every piece."""
    data = view_uint8(address, size)
    for piece in range(first.size):
        to = sizes[piece]
        for at in range(first[piece], last[piece]):
            out[to + at - first[piece]] = data[at]
