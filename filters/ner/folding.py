"""A text folded for comparison, with the way back to its code points.

In: a text and a level. Out: the folded text, and for each of its code points the segment of the original that it comes
from; a place in the folded text goes back to the original only where a segment begins or ends.

    quotes    quotation marks, apostrophes, hyphens and dashes are one each; a run of whitespace is a space
    unicode   also: compatibility decomposition (NFKD), so that é is é however it is written and １ is 1; format characters
              (soft hyphen, zero-width and direction marks) count for nothing
    case      also: Unicode case folding

A segment is a run of whitespace, or a code point with the combining marks behind it, so that marks are put in order within
it and no match can end between a letter and its mark.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Final, Literal

import regex

Level = Literal["quotes", "unicode", "case"]
LEVELS: Final[tuple[Level, ...]] = ("quotes", "unicode", "case")

_SEGMENT: Final = regex.compile(r"\s+|.\p{M}*", regex.DOTALL)
_ALIKE: Final = {
    **dict.fromkeys("‘’‚‛′ʼ＇`´ʹ՚׳", "'"),
    **dict.fromkeys("“”„‟″«»＂״〝〞", '"'),
    **dict.fromkeys("‐‑‒–—―−－﹣", "-"),
}


@dataclass(frozen=True)
class Folded:
    """text: the folded text. starts, ends: code points of the original, by segment. begin, end: the segment that begins or
    ends at a place of `text`; segments that count for nothing are in neither."""

    text: str
    starts: list[int]
    ends: list[int]
    begin: dict[int, int]
    end: dict[int, int]

    def original(self, start: int, end: int) -> tuple[int, int] | None:
        """The place in the original of text[start:end]; None if it cuts a segment."""
        first, last = self.begin.get(start), self.end.get(end)
        if first is None or last is None or first > last:
            return None
        return self.starts[first], self.ends[last]


def skeleton(text: str) -> str:
    """What no folding changes, without whitespace: a mention whose skeleton is not in that of the text is nowhere in it.

    Made by a few passes of C over the whole text, where `fold_with_places` takes its segments one by one.
    """
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return decomposed.translate(_skeleton_table())


@cache
def _skeleton_table() -> dict[int, str | None]:
    """For `str.translate`: whitespace, format characters, combining marks and quotes go, dashes become one.

    Quotes go, and marks with them, because NFKD makes of some quotes a space and a mark (´), and of others two (″).
    """
    gone = [p for p in range(0x110000) if chr(p).isspace() or unicodedata.category(chr(p)) in ("Cf", "Mn")]
    quotes = [ord(c) for c, alike in _ALIKE.items() if alike in "'\""]
    dashes = {ord(a): b for a, b in _ALIKE.items() if b == "-"}
    return {**dashes, **dict.fromkeys([*gone, *quotes, ord("'"), ord('"')])}


def fold(text: str, level: Level) -> str:
    """The folded text alone."""
    return "".join([_folded(segment, level) for segment in _SEGMENT.findall(text)])


def fold_with_places(text: str, level: Level) -> Folded:
    """The folded text and where its parts come from."""
    segments = _SEGMENT.findall(text)
    parts = [_folded(segment, level) for segment in segments]
    ends = list(accumulate(map(len, segments)))
    starts = [0, *ends[:-1]]
    at = [0, *accumulate(map(len, parts))]
    full = [i for i, part in enumerate(parts) if part]
    begin = {at[i]: i for i in full}
    end = {at[i + 1]: i for i in full}
    return Folded("".join(parts), starts, ends, begin, end)


@lru_cache(maxsize=1 << 16)
def _folded(segment: str, level: Level) -> str:
    if segment.isspace():
        return " "
    if level != "quotes":
        segment = unicodedata.normalize("NFKD", segment)
        segment = "".join(c for c in segment if unicodedata.category(c) != "Cf")
        if segment.isspace():
            return " "
    if level == "case":
        segment = unicodedata.normalize("NFKD", segment.casefold())
    return _ALIKE.get(segment, segment)
