"""Which script each text is written in: the one with most letters, straight from the Arrow buffers.

In: text `string[rows]`. Out: int16[rows], indices into `SCRIPTS` (ISO 15924 codes), -1 for a row without
letters.

A letter is a code point of general category L whose script (UAX #24, Unicode version in `UNICODE_VERSION`) is
neither Common nor Inherited; the table comes from `scripts/build_language_tables.py`. Three rules make
writing systems of it:

- Japanese: hiragana and katakana are one script `Jpan`, and Han letters beside them belong to it.
- Korean: hangul is `Hang`, and so are Han letters beside it. Han alone is `Hani`.
- Letters weigh what they say: a Han letter as much as 3 Latin ones (NTREX-128: 2.7 English letters to a
  Chinese one, 1,988 sentences), a kana or hangul syllable as much as 2 (a consonant and a vowel). So a
  Chinese page with Latin names and menus stays Chinese.

Text is valid UTF-8 by contract; on other bytes the kernel skips one byte at a time and never reads beyond a
row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import text_buffers
from curate.core.text.blocks import BLOCK, at_least, letters_in, one_bits, trailing_zeros
from curate.core.text.hashing import ALL
from curate.core.text.memory import address_of, kernel, view_uint8

#: Kana (or hangul) from this part of kana and Han together make the text Japanese (or Korean): Japanese prose
#: has a third and more, a headline may have a tenth, and the quoted name in a Chinese article stays below it.
SYLLABARY_SHARE: Final = 0.05

HAN_WEIGHT: Final = 3
SYLLABLE_WEIGHT: Final = 2

#: Bytes that are looked at together: if all are ASCII their Latin letters are counted in one go.
STRIDE: Final = 16


def _load() -> tuple[tuple[str, ...], npt.NDArray[np.uint8], str]:
    """Names of the scripts; uint8[0x110000], 1 + script of a letter and 0 for the rest; Unicode version."""
    with np.load(Path(__file__).with_name("script_table.npz"), allow_pickle=False) as file:
        lengths = np.diff(file["starts"].astype(np.int64), append=0x110000)
        return tuple(map(str, file["names"][1:])), np.repeat(file["scripts"], lengths), str(file["unicode"])


SCRIPTS, _LETTERS, UNICODE_VERSION = _load()
_SPECIAL: Final = tuple(SCRIPTS.index(script) + 1 for script in ("Hani", "Jpan", "Hang", "Latn"))


def dominant_script(text: pa.StringArray) -> npt.NDArray[np.int16]:
    """The script with most letters of each row, an index into `SCRIPTS`; -1 without letters and for nulls."""
    if text.type != pa.string():
        raise TypeError(f"text must be string, not {text.type}")
    out = np.full(len(text), -1, np.int16)
    if len(text):
        offsets, data = text_buffers(text)
        _dominant(address_of(data), data.size, offsets, _LETTERS, len(SCRIPTS) + 1, _SPECIAL, out)
    if text.null_count:
        out[text.is_null().to_numpy(zero_copy_only=False)] = -1
    return out


@kernel
def _dominant(address, size, offsets, letters, scripts, special, out):  # type: ignore[no-untyped-def]  # numba infers
    """Writes the script of each row to out: int16[rows]; letters: uint8[0x110000], 0 or 1 + script."""
    data = view_uint8(address, size)
    hani, jpan, hang, latn = special
    # Two rows of counters by turns: a letter need not wait for the increment before it. A letter never weighs
    # more than its bytes, of which a text has less than 2³¹.
    counts = np.zeros((2, scripts), np.int32)
    for row in range(out.size):
        untouched = True  # counters are needed where a text is not all ASCII
        at, end = np.int64(offsets[row]), min(np.int64(offsets[row + 1]), np.int64(size))
        latin = np.int64(0)
        turn = 0
        mixed = at  # no block is looked for before
        while at < end:
            if at >= mixed and at + BLOCK <= size:
                inside = ALL >> np.uint64(max(np.int64(0), at + BLOCK - end))
                wide = at_least(address + at, np.uint8(128)) & inside
                if wide == 0:
                    latin += one_bits(letters_in(address + at) & inside)
                    at += BLOCK
                    continue
                mixed = at + BLOCK
                plain = trailing_zeros(wide)
                latin += one_bits(
                    letters_in(address + at) & ((np.uint64(1) << np.uint64(plain)) - np.uint64(1))
                )
                at += plain
            if at + STRIDE <= end:
                every, found = np.uint8(0), np.uint8(0)
                for i in range(STRIDE):
                    byte = data[at + i]
                    every |= byte
                    found += np.uint8(np.uint8((byte | np.uint8(32)) - np.uint8(97)) < np.uint8(26))
                if every < np.uint8(128):
                    latin += found
                    at += STRIDE
                    continue
            stop = min(at + STRIDE, end)
            if untouched:
                counts[:] = 0
                untouched = False
            while at < stop:
                lead = np.int64(data[at])
                point = np.int64(0)
                if lead < 0xE0:  # one and two bytes without a branch: Cyrillic words and spaces take turns
                    two = np.int64(lead >= 0xC0)
                    second = np.int64(data[min(at + 1, end - 1)])
                    point = (lead & 0x1F) << 6 | second & 0x3F if two else lead
                    at += 1 + two
                elif lead < 0xF0 and at + 2 < end:
                    second, third = np.int64(data[at + 1]), np.int64(data[at + 2])
                    point = (lead & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F
                    at += 3
                elif lead < 0xF5 and at + 3 < end:
                    second, third, fourth = (
                        np.int64(data[at + 1]),
                        np.int64(data[at + 2]),
                        np.int64(data[at + 3]),
                    )
                    point = (lead & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F
                    at += 4
                else:
                    at += 1
                counts[turn, letters[min(point, np.int64(letters.size - 1))]] += 1
                turn ^= 1

        if untouched:
            out[row] = latn - 1 if latin else -1
            continue
        letters_of = counts[0]
        letters_of += counts[1]
        letters_of[0] = 0
        letters_of[latn] += latin
        han, kana, hangul = letters_of[hani], letters_of[jpan], letters_of[hang]
        letters_of[hani] *= HAN_WEIGHT
        letters_of[jpan] *= SYLLABLE_WEIGHT
        letters_of[hang] *= SYLLABLE_WEIGHT
        host = 0
        if kana >= hangul and kana > SYLLABARY_SHARE * (kana + han):
            host = jpan
        elif hangul > SYLLABARY_SHARE * (hangul + han):
            host = hang
        if host:
            letters_of[host] += letters_of[hani]
            letters_of[hani] = 0
        most = letters_of.max()
        best = 0
        while letters_of[best] != most:
            best += 1
        out[row] = best - 1
