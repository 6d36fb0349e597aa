"""What the kernels know about a code point, and how they read one from UTF-8.

`codepoints.npz` (Unicode version in `UNICODE_VERSION`; built by `scripts/build_text_tables.py`) holds a class
and three flags for each code point as a two-level table. `TABLE` widens it to uint16, with a few bits that
let a kernel test a property without comparing classes. Tables are arguments of the kernels, never globals:
numba would freeze a global into its cached machine code and not notice a new file.

    bits 0-4   class: SPACE, LETTER_CLASS, …
    bit 5      LETTER    `str.isalpha`: general category L
    bit 6      COUNTED   not in datatrove's punctuation set: makes a token a word for Gopher's rules
    bit 7      WIDE      U+0080 and above
    bit 8      ALETTER   joins words: letters of scripts that put spaces between words (hangul too), Hebrew
    bit 9      DIGIT     numbers
    bit 10     WORDLIKE  ALETTER, DIGIT or a connector such as `_`
    bit 11     JOINS     marks and format characters: belong to whatever stands before them

Text is valid UTF-8 by contract. Kernels still stay inside a row on any bytes: what is not valid (a truncated
sequence, an overlong one, a surrogate, 0xFF) is U+FFFD, one byte at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import inlined

CLASSES: Final = (
    "other", "space", "letter", "hebrew", "numeric", "extendnumlet", "extend", "format", "midletter",
    "midnum", "midnumlet", "single_quote", "double_quote", "ideograph", "southeast", "pictograph",
    "regional", "punctuation", "symbol",
)  # fmt: skip
(
    OTHER, SPACE, LETTER_CLASS, HEBREW, NUMERIC, EXTENDNUMLET, EXTEND, FORMAT, MIDLETTER, MIDNUM,
    MIDNUMLET, SINGLE_QUOTE, DOUBLE_QUOTE, IDEOGRAPH, SOUTHEAST, PICTOGRAPH, REGIONAL, PUNCTUATION,
    SYMBOL,
) = range(len(CLASSES))  # fmt: skip

CLASS_MASK: Final = 0x1F
LETTER: Final = 0x20
COUNTED: Final = 0x40
WIDE: Final = 0x80
ALETTER: Final = 0x100
DIGIT: Final = 0x200
WORDLIKE: Final = 0x400
JOINS: Final = 0x800

BLOCK_BITS: Final = 7
REPLACEMENT: Final = 0xFFFD
ZERO_WIDTH_JOINER: Final = 0x200D


@dataclass(frozen=True)
class CodePoints:
    """The table as kernels take it.

    block: uint16[8704], entry: uint16[blocks * 128]; code point c has `entry[block[c >> 7] << 7 | c & 127]`.
    ascii: uint16[256], the entries of one-byte code points, and 0 for the bytes of longer ones.
    """

    block: npt.NDArray[np.uint16]
    entry: npt.NDArray[np.uint16]
    ascii: npt.NDArray[np.uint16]
    unicode: str


def _load(path: Path) -> CodePoints:
    with np.load(path, allow_pickle=False) as file:
        if tuple(file["classes"]) != CLASSES:
            raise ValueError(f"{path} was built for other classes than {CLASSES}: rebuild it")
        block, unicode = file["block"], str(file["unicode"])
        entry = file["entry"].reshape(-1).astype(np.uint16)
    number = entry & CLASS_MASK
    for bit, members in (
        (ALETTER, (LETTER_CLASS, HEBREW)),
        (DIGIT, (NUMERIC,)),
        (WORDLIKE, (LETTER_CLASS, HEBREW, NUMERIC, EXTENDNUMLET)),
        (JOINS, (EXTEND, FORMAT)),
    ):
        entry[np.isin(number, members)] |= bit
    ascii = np.zeros(256, np.uint16)
    ascii[:128] = entry[int(block[0]) << BLOCK_BITS :][:128]
    return CodePoints(block, entry, ascii, unicode)


TABLE: Final = _load(Path(__file__).with_name("codepoints.npz"))
UNICODE_VERSION: Final = TABLE.unicode


@inlined
def decode(data, at, end):  # type: ignore[no-untyped-def]  # numba infers
    """(code point, bytes) of the character at `at < end`; (U+FFFD, 1) where it is not valid UTF-8."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        if lead >= 0xC2 and at + 1 < end:
            second = np.int64(data[at + 1])
            if second & 0xC0 == 0x80:
                return (lead & 0x1F) << 6 | second & 0x3F, 2
    elif lead < 0xF0:
        if at + 2 < end:
            second, third = np.int64(data[at + 1]), np.int64(data[at + 2])
            point = (lead & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F
            valid = second & 0xC0 == 0x80 and third & 0xC0 == 0x80
            if valid and point >= 0x800 and point & 0xF800 != 0xD800:
                return point, 3
    elif lead < 0xF5 and at + 3 < end:
        second, third, fourth = np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
        point = (lead & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F
        valid = second & 0xC0 == 0x80 and third & 0xC0 == 0x80 and fourth & 0xC0 == 0x80
        if valid and 0x10000 <= point < 0x110000:
            return point, 4
    return np.int64(REPLACEMENT), 1


@inlined
def entry_at(data, at, end, block, entry):  # type: ignore[no-untyped-def]  # numba infers
    """(table entry, bytes) of the character at `at < end`."""
    point, size = decode(data, at, end)
    return np.int64(entry[np.int64(block[point >> BLOCK_BITS]) << BLOCK_BITS | point & 127]), size
