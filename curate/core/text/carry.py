"""Tokens and lines of the rows that a filter keeps, without looking at the text again.

`RecordBatch.filter` copies the kept texts into a new data buffer, so the spans of each row move by that row's
own shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.text.lines import Lines
from curate.core.text.memory import kernel
from curate.core.text.tokens import Tokens

Offsets = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Move:
    """Where the rows of a batch went.

    kept: int64[rows kept], their numbers before. shifts: int64[rows kept], new minus old byte offset of each.
    data: uint8[bytes], the new buffer.
    """

    kept: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    @classmethod
    def between(
        cls, mask: npt.NDArray[np.bool_], old: Offsets, new: Offsets, data: npt.NDArray[np.uint8]
    ) -> Move:
        """From offsets `old` int32[rows+1] to `new` int32[rows kept + 1] into `data`, by mask bool[rows]."""
        kept = np.flatnonzero(mask)
        return cls(kept, new[:-1].astype(np.int64) - old[kept], data)

    def tokens(self, tokens: Tokens) -> Tokens:
        """The tokens of the rows kept, their hashes too if they were computed."""
        docs, starts, ends = self._spans(tokens.docs, tokens.starts, tokens.ends)
        classes = np.empty(len(starts), np.uint8)
        _copy_rows(tokens.docs, self.kept, docs, tokens.classes, classes)
        carried = Tokens(self.data, starts, ends, classes, docs)
        if "hashes" in tokens.__dict__:
            hashes = np.empty(len(starts), np.uint64)
            _copy_rows(tokens.docs, self.kept, docs, tokens.hashes, hashes)
            carried.__dict__["hashes"] = hashes
        return carried

    def lines(self, lines: Lines) -> Lines:
        """The lines of the rows kept."""
        docs, starts, ends = self._spans(lines.docs, lines.starts, lines.ends)
        return Lines(self.data, starts, ends, docs)

    def _spans(
        self, docs: npt.NDArray[np.int64], starts: Offsets, ends: Offsets
    ) -> tuple[npt.NDArray[np.int64], Offsets, Offsets]:
        """Ranges, starts and ends of the spans of the rows kept."""
        ranges = np.zeros(len(self.kept) + 1, np.int64)
        np.cumsum(np.diff(docs)[self.kept], out=ranges[1:])
        new_starts, new_ends = np.empty(ranges[-1], np.int32), np.empty(ranges[-1], np.int32)
        _shift_rows(docs, self.kept, ranges, self.shifts, starts, new_starts)
        _shift_rows(docs, self.kept, ranges, self.shifts, ends, new_ends)
        return ranges, new_starts, new_ends


@kernel
def _shift_rows(docs, kept, ranges, shifts, source, out):  # type: ignore[no-untyped-def]  # numba infers
    """out[ranges[i] + k] = source[docs[kept[i]] + k] + shifts[i]."""
    for i in range(kept.size):
        first, start, shift = docs[kept[i]], ranges[i], np.int32(shifts[i])
        for k in range(ranges[i + 1] - start):
            out[start + k] = source[first + k] + shift


@kernel
def _copy_rows(docs, kept, ranges, source, out):  # type: ignore[no-untyped-def]  # numba infers
    """out[ranges[i] + k] = source[docs[kept[i]] + k]."""
    for i in range(kept.size):
        first, start = docs[kept[i]], ranges[i]
        for k in range(ranges[i + 1] - start):
            out[start + k] = source[first + k]
