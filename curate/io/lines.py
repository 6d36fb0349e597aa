"""Text blocks cut into runs of whole lines, with where each run stands in the file.

A line belongs to the share of the file in which it starts: `share` maps a block's position to one. A line
longer than `LINE_BYTES` is not held in memory: only its beginning and its place are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from curate.io.records import RAW_BYTES
from curate.io.text_blocks import Block, TornFileError

#: A longer line is no record.
LINE_BYTES: Final = 1 << 30
BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Run:
    """Lines as they stand in the file, the newline of the last one left out.

    share: of the line that starts it. line: number of its first line, from 1. byte: where that begins, from
    0, in the text (decompressed). fault: why this is no run of records but one bad record, of which `data` is
    the beginning; else empty. torn: the file cannot be read beyond this run.
    """

    data: bytes
    share: int
    line: int
    byte: int
    fault: str = ""
    torn: bool = False


def read_runs(blocks: Iterator[Block], share: Callable[[int], int]) -> Iterator[Run]:
    """The lines of a text. A torn file ends in a run with the `fault`, whose data is the line it broke in."""
    cutter = _Cutter()
    try:
        for block in blocks:
            yield from cutter.feed(block.data, share(block.position))
    except TornFileError as torn:
        fault = f"{torn.reason} at byte {torn.position} of the file"
        yield replace(cutter.rest(), fault=fault, torn=True)
        return
    last = cutter.rest()
    if last.data:
        yield last


class _Cutter:
    """The line that no newline has ended yet, and its place."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.share = 0
        self.line, self.byte = 1, 0
        self.fault = ""
        self.begun = False

    def feed(self, data: bytes, share: int) -> Iterator[Run]:
        if not self.begun:
            self.begun = True
            if data.startswith(BOM):
                data, self.byte = data[len(BOM) :], len(BOM)
        if not self.size:
            self.share = share
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if first < 0:
            self._hold(data)
            return
        if self.size and (share != self.share or self.fault or self.size + last > LINE_BYTES):
            self._hold(data[:first])
            yield self._close(share)
            first += 1
        else:
            first = 0
        if first <= last:
            self._hold(data[first:last])
            yield self._close(share)
        self._hold(data[last + 1 :])

    def rest(self) -> Run:
        return Run(b"".join(self.parts), self.share, self.line, self.byte, self.fault)

    def _hold(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > LINE_BYTES and not self.fault:
            self.fault = f"a line of more than {LINE_BYTES >> 20} MiB"
            self.parts = [part[:RAW_BYTES] for part in (*self.parts, data)[:1]]
        if not self.fault:
            self.parts.append(data)

    def _close(self, share: int) -> Run:
        run = self.rest()
        self.line += 1 + (0 if self.fault else run.data.count(b"\n"))
        self.byte += self.size + 1
        self.parts, self.size, self.fault, self.share = [], 0, "", share
        return run
