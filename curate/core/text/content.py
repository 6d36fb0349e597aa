"""128-bit keys of content: of whole spans of bytes, or of the first characters of texts.

Two 64-bit multiply-and-fold lanes with different constants run over the bytes, 8 at a time. With n different texts two
share a key with probability about n² / 2¹²⁹: 10⁻¹⁹ for ten billion. Equal on every platform; not cryptographic, so a
collision can be built.

`prefix_keys` reads of each text only what it takes a key of: 1 ms for 1,000 texts of 2,000 characters.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import text_buffers
from curate.core.text.hashing import M1, M2, P0, P1, load64, tail64
from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8

#: Second lane: other odd constants (of xxh64, Yann Collet's PRIME64_2 and PRIME64_3).
Q0: Final = np.uint64(0xC2B2AE3D27D4EB4F)
Q1: Final = np.uint64(0x165667B19E3779F9)
#: 8 bytes of 1.
_ONES: Final = np.uint64(0x0101010101010101)


def prefix_keys(texts: pa.StringArray, most: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Of the first `most` characters of each text: uint64[rows, 2], and bool[rows], whether that is not all of it."""
    offsets, data = text_buffers(texts)
    rows = len(offsets) - 1
    keys, cut = np.empty((rows, 2), np.uint64), np.empty(rows, np.bool_)
    _prefix_keys(address_of(data), data.size, address_of(offsets), rows, most, keys, cut)
    return keys, cut


@kernel
def _prefix_keys(address, size, offset_address, rows, most, keys, cut):  # type: ignore[no-untyped-def]  # numba infers
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, rows + 1)
    for row in range(rows):
        start, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        last = _end_of(data, start, end, most)
        cut[row] = last < end
        keys[row, 0], keys[row, 1] = key128(data, start, last)


@inlined
def _end_of(data, at, end, most):  # type: ignore[no-untyped-def]  # numba infers
    """Where the first `most` characters of data[at:end] end. A character begins where a byte is not 10xxxxxx."""
    left = np.int64(most)
    while end - at >= 8 and left >= 8:
        word = load64(data, at)
        begins = (~word >> np.uint64(7) | word >> np.uint64(6)) & _ONES
        left -= np.int64((begins * _ONES) >> np.uint64(56))
        at += 8
    while at < end:
        if data[at] & np.uint8(0xC0) != np.uint8(0x80):
            if left == 0:
                return at
            left -= 1
        at += 1
    return end


@inlined
def key128(data, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """Two uint64 of data[start:end]."""
    one = np.uint64(end - start) * P0
    two = np.uint64(end - start) * Q0 + Q1
    at = start
    while end - at > 8:
        word = load64(data, at)
        one = (one ^ word) * P1
        one ^= one >> np.uint64(32)
        two = (two + word) * Q0
        two ^= two >> np.uint64(29)
        at += 8
    word = tail64(data, at, end - at)
    one = (one ^ word) * P1
    two = (two + word) * Q0
    one ^= one >> np.uint64(32)
    two ^= two >> np.uint64(29)
    return _finish(one, two), _finish(two + Q1, one)


@inlined
def _finish(h, other):  # type: ignore[no-untyped-def]  # numba infers
    h ^= other >> np.uint64(33)
    h = (h ^ (h >> np.uint64(30))) * M1
    h = (h ^ (h >> np.uint64(27))) * M2
    return h ^ (h >> np.uint64(31))
