"""Builds `filters/ner/case_table.npz`: which code points are capital and which small letters (`filters.ner.surface`).

    pip install regex numpy
    python scripts/build_case_table.py [--check]

Out: `capital` and `small`, uint8[16384] each, a bit for each code point below U+20000, most significant first; `unicode`. A
capital letter has the general category Lu or Lt, a small one Ll, as the `regex` package has them. No letter above has case.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import regex

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.build_text_tables import FIRST_OF  # noqa: E402  # after path or kernel cache is set

OUT = ROOT / "filters" / "ner" / "case_table.npz"
CODE_POINTS = 0x20000


def members(pattern: str) -> np.ndarray:
    """bool[0x110000]: code points that the pattern matches."""
    matches = regex.compile(pattern).match
    return np.array([matches(chr(c)) is not None for c in range(0x110000)])


def table() -> dict[str, np.ndarray]:
    capital, small = members(r"\p{Lu}|\p{Lt}"), members(r"\p{Ll}")
    assert not (capital | small)[CODE_POINTS:].any()
    known = [name for name, point in FIRST_OF.items() if regex.match(r"\p{Assigned}", chr(point))]
    packed = {
        name: np.packbits(bits[:CODE_POINTS]) for name, bits in (("capital", capital), ("small", small))
    }
    return {**packed, "unicode": np.array(max(known))}


def main() -> None:
    made = table()
    if "--check" in sys.argv:
        with np.load(OUT, allow_pickle=False) as file:
            if not all(np.array_equal(file[name], value) for name, value in made.items()):
                sys.exit(f"{OUT} is out of date")
        return
    np.savez_compressed(OUT, **made)  # type: ignore[arg-type]
    print(OUT, OUT.stat().st_size, "bytes, Unicode", made["unicode"])


if __name__ == "__main__":
    main()
