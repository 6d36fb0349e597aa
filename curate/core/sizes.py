"""Sizes in bytes as people write them: `256MB`, `1.5 GiB`, `4096`.

KB, MB, GB, TB are powers of 1,000; KiB, MiB, GiB, TiB are powers of 1,024. Case does not count.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

UNITS: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE: Final = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]{0,3})\s*", re.ASCII)


def parse_size(text: str | int) -> int:
    """Bytes, at least 1: `parse_size("256MB") == 256_000_000`. ValueError says what a size looks like."""
    match = _SIZE.fullmatch(str(text)) if not isinstance(text, bool) else None
    if match is None or match[2].casefold() not in UNITS:
        raise ValueError("a size is a number and a unit, such as 256MB, 1.5GB or 64MiB")
    size = int(Fraction(match[1]) * UNITS[match[2].casefold()])
    if size < 1:
        raise ValueError("a size is at least one byte")
    return size
