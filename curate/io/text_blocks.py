"""Bytes of a text file, plain, gzip or zstd, in blocks of at most 16 MiB, whatever its name says.

The file is read in steps of exactly 1 MiB, and a block holds what one step decompresses to (more than one
block if that is much). `position` is where in the file the step began, so cutting a file by position gives
the same cuts every time. gzip members and zstd frames that follow each other are one text. A file that ends
or breaks inside one gives everything that could be decompressed, and then raises `TornFileError`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import zstandard

from curate.io.storage import magic

STEP_BYTES: Final = 1024 * 1024
BLOCK_BYTES: Final = 16 * 1024 * 1024
#: Compressed bytes decompressed at once. zstd reaches 1:32,000 on runs of one byte, gzip 1:1,000.
SLICE_BYTES: Final = 4096
#: zstd's own limit is 128 MiB; `zstd --long=31` writes windows of 2 GiB.
ZSTD_WINDOW_BYTES: Final = 1 << 31


@dataclass(frozen=True)
class Block:
    """data: decompressed. position: of the step it comes from, in bytes of the file as it is stored."""

    data: bytes
    position: int


class TornFileError(Exception):
    """A compressed file cannot be read beyond `position`, a byte of it as it is stored."""

    def __init__(self, reason: str, position: int) -> None:
        self.reason = reason
        self.position = position
        super().__init__(f"{reason} at byte {position}")


def read_blocks(file: BinaryIO) -> Iterator[Block]:
    """The text of a file that was just opened. Raises `TornFileError` after the last readable block."""
    step = file.read(STEP_BYTES)
    kind = magic(step)
    if kind in ("gzip", "zstd"):
        yield from _decompress(file, step, kind)
        return
    position = 0
    while step:
        yield Block(step, position)
        position += len(step)
        step = file.read(STEP_BYTES)


def _decompress(file: BinaryIO, step: bytes, kind: str) -> Iterator[Block]:
    position = 0
    stream: Any = None
    while step:
        output: list[bytes] = []
        size = 0
        for start in range(0, len(step), SLICE_BYTES):
            rest = step[start : start + SLICE_BYTES]
            while rest:
                if stream is None:
                    rest = (
                        rest.lstrip(b"\0") if kind == "gzip" else rest
                    )  # gzip files may be padded with zeros
                    if not rest:
                        break
                    stream = _new_stream(kind)
                try:
                    output.append(stream.decompress(rest))
                except (zlib.error, zstandard.ZstdError) as fault:
                    yield from _blocks(output, position)
                    raise TornFileError(f"damaged {kind} data ({fault})", position + start) from fault
                size += len(output[-1])
                rest, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
            if size >= BLOCK_BYTES:
                yield from _blocks(output, position)
                output, size = [], 0
        yield from _blocks(output, position)
        position += len(step)
        step = file.read(STEP_BYTES)
    if stream is not None:
        raise TornFileError(f"{kind} data cut short", position)


def _new_stream(kind: str) -> Any:
    if kind == "gzip":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()


def _blocks(output: list[bytes], position: int) -> Iterator[Block]:
    data = b"".join(output)
    for start in range(0, len(data), BLOCK_BYTES):
        yield Block(data[start : start + BLOCK_BYTES], position)
