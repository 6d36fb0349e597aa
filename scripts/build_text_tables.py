"""Builds `curate/core/text/codepoints.npz`: what the tokeniser knows about every code point.

    pip install regex datatrove==0.10.1 numpy
    python scripts/build_text_tables.py [--check]

Out, as a two-level table (1.1 million entries in about 50 KB, and 5 KB on disk):

    block    uint16[8704]         number of the block that holds code points 128·i … 128·i + 127
    entry    uint8[blocks, 128]   class (`CLASSES`) in the low five bits, flags LETTER, COUNTED, WIDE above
    unicode, source               the Unicode version and where each property comes from

Properties come from the `regex` package (its own copy of the Unicode Character Database: Word_Break,
Line_Break, Extended_Pictographic, Ideographic, general category), whitespace from `str.isspace`, and the one
property that is not Unicode's, datatrove's punctuation set (Apache-2.0), from datatrove. `--check` compares
instead of writing.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import regex
from datatrove.utils.text import PUNCTUATION_SET

OUT = Path(__file__).parents[1] / "curate" / "core" / "text" / "codepoints.npz"
CODE_POINTS = 0x110000
BLOCK = 128

#: Order is the number in the file; `curate/core/text/codepoints.py` gives each its meaning.
CLASSES = [
    "other",
    "space",
    "letter",
    "hebrew",
    "numeric",
    "extendnumlet",
    "extend",
    "format",
    "midletter",
    "midnum",
    "midnumlet",
    "single_quote",
    "double_quote",
    "ideograph",
    "southeast",
    "pictograph",
    "regional",
    "punctuation",
    "symbol",
]
LETTER, COUNTED, WIDE = 0x20, 0x40, 0x80

#: Unicode version → a code point it introduced, to tell which version `regex` carries.
FIRST_OF = {"15.0.0": 0x11F00, "15.1.0": 0x2EBF0, "16.0.0": 0x105C0, "17.0.0": 0x1E6C0}


def members(pattern: str) -> np.ndarray:
    """bool[0x110000]: the code points that one property pattern matches."""
    matches = regex.compile(pattern).match
    return np.fromiter((matches(chr(c)) is not None for c in range(CODE_POINTS)), bool, CODE_POINTS)


def entries() -> np.ndarray:
    """uint8[0x110000]: class and flags. Later assignments win over earlier ones."""
    number = {name: i for i, name in enumerate(CLASSES)}
    out = np.full(CODE_POINTS, number["other"], np.uint8)
    letter, southeast = members(r"\p{L}"), members(r"\p{LB=SA}")
    every = np.arange(CODE_POINTS)
    rules = [
        ("punctuation", members(r"\p{P}")),
        ("symbol", members(r"\p{S}")),
        ("numeric", members(r"\p{N}")),
        ("pictograph", members(r"\p{ExtPict}")),
        # Letters without a Word_Break class (Hiragana, Han, Thai …) form words unless claimed below.
        ("letter", letter | members(r"\p{WB=ALetter}")),
        ("hebrew", members(r"\p{WB=Hebrew_Letter}")),
        ("numeric", members(r"\p{WB=Numeric}")),
        ("extendnumlet", members(r"\p{WB=ExtendNumLet}")),
        (
            "ideograph",
            members(r"\p{Ideographic}") | (members(r"[\p{WB=Katakana}\p{Script=Hiragana}]") & letter),
        ),
        ("southeast", southeast & letter),
        ("midletter", members(r"\p{WB=MidLetter}")),
        ("midnum", members(r"\p{WB=MidNum}")),
        ("midnumlet", members(r"\p{WB=MidNumLet}")),
        ("single_quote", members(r"\p{WB=Single_Quote}")),
        ("double_quote", members(r"\p{WB=Double_Quote}")),
        ("regional", members(r"\p{WB=Regional_Indicator}")),
        (
            "extend",
            members(r"\p{M}") | members(r"\p{WB=Extend}") | (southeast & members(r"\p{GCB=SpacingMark}")),
        ),
        (
            "format",
            members(r"\p{Cf}")
            & (members(r"\p{WB=Format}") | members(r"\p{WB=Extend}") | members(r"\p{WB=ZWJ}")),
        ),
        ("space", np.array([chr(c).isspace() for c in every]) | (every == 0x200B)),
        ("other", (every >= 0xD800) & (every < 0xE000)),
    ]
    for name, where in rules:
        out[where] = number[name]
    counted = np.ones(CODE_POINTS, bool)
    counted[[ord(c) for c in PUNCTUATION_SET]] = False
    return (
        out | np.where(letter, LETTER, 0) | np.where(counted, COUNTED, 0) | np.where(every >= 0x80, WIDE, 0)
    )


def table() -> dict[str, np.ndarray]:
    """The arrays of the file."""
    entry, block = np.unique(entries().astype(np.uint8).reshape(-1, BLOCK), axis=0, return_inverse=True)
    newest = [v for v, c in FIRST_OF.items() if regex.match(r"\P{Cn}", chr(c))]
    source = f"regex {version('regex')}, datatrove {version('datatrove')} PUNCTUATION_SET (Apache-2.0)"
    return {
        "block": block.reshape(-1).astype(np.uint16),
        "entry": entry,
        "classes": np.array(CLASSES),
        "unicode": np.array(newest[-1]),
        "source": np.array(source),
    }


def main() -> int:
    new = table()
    if "--check" in sys.argv[1:]:
        with np.load(OUT, allow_pickle=False) as old:
            differing = [
                name
                for name in ("block", "entry", "classes", "unicode")
                if not np.array_equal(old[name], new[name])
            ]
        print(f"{OUT.name}: {'differs in ' + ', '.join(differing) if differing else 'up to date'}")
        return 1 if differing else 0
    np.savez_compressed(OUT, **new)
    print(f"{OUT.name}: Unicode {new['unicode']}, {len(new['entry'])} blocks, {OUT.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
