"""Lines of a batch of texts, as `str.splitlines` cuts them.

In: the data buffer and offsets of an Arrow `string` array. Out: starts, ends: int32[lines] (bytes in the data
buffer, the separator left out) and docs: int64[rows+1] (lines of row r are docs[r] … docs[r+1]). Separators
are \\n \\r \\r\\n \\v \\f \\x1c \\x1d \\x1e U+0085 U+2028 U+2029; a separator at the end of a text starts no
further line.

Memory: 8 bytes a line, a line a byte at worst (a text of newlines only). Buffers are reserved for that,
become resident only where lines are written, and are shrunk in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import address_of, inlined, kernel, view_int32, view_uint8


@dataclass(frozen=True)
class Lines:
    """Lines of a batch: the arrays at the top of the module, and `data`, the bytes they point into."""

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    docs: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, row: int) -> list[bytes]:
        """The lines of one row, for tests and messages."""
        span = range(int(self.docs[row]), int(self.docs[row + 1]))
        return [self.data[self.starts[i] : self.ends[i]].tobytes() for i in span]


def split_lines(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> Lines:
    """Lines of texts: offsets int32[rows+1] into data uint8[bytes], of which they may cover a part."""
    rows = len(offsets) - 1
    worst = int(offsets[-1]) - int(offsets[0])
    starts, ends = np.empty(worst, np.int32), np.empty(worst, np.int32)
    docs = np.empty(rows + 1, np.int64)
    count = _split_lines(address_of(data), data.size, address_of(offsets), rows, starts, ends, docs)
    starts.resize(count, refcheck=False)
    ends.resize(count, refcheck=False)
    return Lines(data, starts, ends, docs)


@kernel
def _split_lines(address, size, offset_address, rows, starts, ends, docs):  # type: ignore[no-untyped-def]  # numba infers
    """Fills the outputs and returns the number of lines. Each line takes at least a byte, its separator."""
    data = view_uint8(address, size)
    offsets = view_int32(offset_address, rows + 1)
    n = 0
    docs[0] = 0
    for row in range(rows):
        at, end = np.int64(offsets[row]), np.int64(offsets[row + 1])
        start = at
        while at < end:
            byte = data[at]
            # Only control characters and the lead bytes of U+0085 and U+2028 can start a separator.
            if byte > 0x1E and byte != 0xC2 and byte != 0xE2:  # noqa: PLR1714  # a set costs the kernel more
                at += 1
                continue
            length = _separator(data, at, end)
            if length == 0:
                at += 1
                continue
            starts[n] = start
            ends[n] = at
            n += 1
            at += length
            start = at
        if start < end:
            starts[n] = start
            ends[n] = end
            n += 1
        docs[row + 1] = n
    return n


@inlined
def _separator(data, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """Bytes of the line separator at `at`, or 0."""
    byte = data[at]
    if byte == 0x0D:
        return 2 if at + 1 < end and data[at + 1] == 0x0A else 1
    if 0x0A <= byte <= 0x0C or 0x1C <= byte <= 0x1E:
        return 1
    if byte == 0xC2 and at + 1 < end and data[at + 1] == 0x85:
        return 2
    if byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80 and 0xA8 <= data[at + 2] <= 0xA9:
        return 3
    return 0


@inlined
def skip_spaces(data, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """Where `str.lstrip` would begin in data[at:end]."""
    while at < end:
        length = _space(data, at, end)
        if length == 0:
            break
        at += length
    return at


@inlined
def trim_spaces(data, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """Where `str.rstrip` would end in data[start:end]."""
    while end > start:
        # Spaces are one, two or three bytes long; none ends in the bytes of another.
        if _space(data, end - 1, end) == 1:
            end -= 1
        elif end - start >= 2 and _space(data, end - 2, end) == 2:
            end -= 2
        elif end - start >= 3 and _space(data, end - 3, end) == 3:
            end -= 3
        else:
            break
    return end


@inlined
def _space(data, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """Bytes of the whitespace (`str.isspace`) at `at`, or 0."""
    byte = data[at]
    if byte < 0x80:
        return 1 if byte == 0x20 or 0x09 <= byte <= 0x0D or 0x1C <= byte <= 0x1F else 0
    if byte == 0xC2:
        return 2 if at + 1 < end and (data[at + 1] == 0x85 or data[at + 1] == 0xA0) else 0
    if byte < 0xE1 or byte > 0xE3 or at + 2 >= end:
        return 0
    second, third = data[at + 1], data[at + 2]
    if byte == 0xE1:  # U+1680
        return 3 if second == 0x9A and third == 0x80 else 0
    if byte == 0xE3:  # U+3000
        return 3 if second == 0x80 and third == 0x80 else 0
    if second == 0x81:  # U+205F
        return 3 if third == 0x9F else 0
    # U+2000 to U+200A, U+2028, U+2029, U+202F
    return 3 if second == 0x80 and (0x80 <= third <= 0x8A or 0xA8 <= third <= 0xA9 or third == 0xAF) else 0
