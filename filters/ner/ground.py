"""Mentions to offsets: where in the passage stands what a teacher says it found.

In: the text of a passage and a teacher's mentions in the order it gave them: a string and a label, or offsets and a label.
Out:

    grounded   start, end (code points), label, how; `text[start:end]` is the mention, exactly or as `how` says
    rejected   mention, label, reason; every mention is in one of the two

A string is sought as it is; if it is nowhere, under the foldings of `folding`, weakest first: `quotes`, `unicode`, `case`.
The first of these under which it occurs is `how`. Nothing else is tried. An occurrence counts if it does not cut a word or,
failing such, if it begins or ends one (Arabic و, Korean particles, Turkish suffixes: `part_of_word` in `how`); within a word
it does not (`US` in `BUSINESS`), nor if it parts a letter from its mark. In scripts without spaces any place counts.

    cursor   one place for each mention: the first behind the end of the last mention's; else inside or over that one; else
             the first before it that is not taken (FiNERweb, arXiv 2512.13884, has the first of these rules only)
    all      every occurrence, those of the same mention not overlapping

Offsets that a teacher gives are checked, never searched again. Reasons:

    empty                 no character but whitespace
    no_label              no label
    not_in_text           not there, under no folding
    inside_word           only within words, or parting a letter from its mark
    no_more_occurrences   (cursor) as often in the answer as in the text, and once more
    duplicate             the same place and label again
    outside_text          (offsets) not within the text, or empty
    another_text          (offsets) the text there is not the mention
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from filters.ner.folding import LEVELS, Folded, fold, fold_with_places, skeleton
from filters.ner.join import written_without_spaces

Mode = Literal["cursor", "all"]
EXACT: Final = "exact"
OFFSETS: Final = "offsets"
_PART: Final = ", part_of_word"


class Mention(NamedTuple):
    """What a teacher says: a string and a label; start and end if it gives offsets, None if not."""

    text: str
    label: str
    start: int | None = None
    end: int | None = None


class Grounded(NamedTuple):
    """A place in the text, in code points."""

    start: int
    end: int
    label: str
    how: str


class Rejected(NamedTuple):
    """A mention that has no place, and why; start and end as the teacher gave them."""

    text: str
    label: str
    reason: str
    start: int | None = None
    end: int | None = None


Place = tuple[int, int]


def ground(
    passage: str | Passage, mentions: Iterable[Mention], mode: Mode = "cursor"
) -> tuple[list[Grounded], list[Rejected]]:
    """Places of the mentions, in the order of the mentions, and those that have none.

    passage: its text, or a `Passage` if several teachers' mentions are grounded in it.
    """
    passage = Passage(passage) if isinstance(passage, str) else passage
    text = passage.text
    grounded: list[Grounded] = []
    rejected: list[Rejected] = []
    taken: set[tuple[int, int, str]] = set()
    used: dict[str, set[Place]] = {}  # places by mention
    last: Place = (0, 0)
    for mention in mentions:
        string, label = mention.text.strip(), mention.label.strip()
        if mention.start is not None or mention.end is not None:
            places, how, reason = _checked(text, mention)
        elif not string:
            places, how, reason = [], "", "empty"
        else:
            places, how, reason = passage.places(string)
            if places and mode == "cursor":
                mine = used.setdefault(string, set())
                places = _next(places, last, mine)
                reason = "" if places else "no_more_occurrences"
                mine.update(places if label else ())  # what has no label takes no place from what has one
        if not reason and not label:
            reason = "no_label"
        new = [(start, end, label) for start, end in places if (start, end, label) not in taken]
        if not reason and not new:
            reason = "duplicate"
        if reason:
            rejected.append(Rejected(mention.text, mention.label, reason, mention.start, mention.end))
            continue
        taken.update(new)
        grounded += [Grounded(start, end, label, how) for start, end, _ in new]
        last = places[-1]
    return grounded, rejected


def _checked(text: str, mention: Mention) -> tuple[list[Place], str, str]:
    """The place that the teacher gives, if it is one."""
    start, end = mention.start, mention.end
    if start is None or end is None or not 0 <= start < end <= len(text):
        return [], "", "outside_text"
    if mention.text and text[start:end] != mention.text:
        return [], "", "another_text"
    if not text[start:end].strip():
        return [], "", "empty"
    return [(start, end)], OFFSETS, ""


def _next(places: list[Place], last: Place, used: set[Place]) -> list[Place]:
    """The place that the cursor comes to, or none."""
    free = [place for place in places if place not in used]
    for rule in (lambda p: p[0] >= last[1], lambda p: p[1] > last[0], lambda p: True):
        for place in free:
            if rule(place):
                return [place]
    return []


class Passage:
    """A text and its foldings, made when they are needed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._folded: dict[str, Folded] = {}
        self._skeleton: str | None = None
        self._places: dict[str, tuple[list[Place], str, str]] = {}

    def places(self, mention: str) -> tuple[list[Place], str, str]:
        """Where a mention stands, ascending; how it was found; or nothing and the reason."""
        found = self._places.get(mention)
        if found is None:
            found = self._places[mention] = self._sought(mention)
        return found

    def _sought(self, mention: str) -> tuple[list[Place], str, str]:
        reason = "not_in_text"
        for how, found in self._occurrences(mention):
            whole, parts, seen = [], [], False
            for start, end in found:
                seen = True
                left, right = _cuts(self.text, start), _cuts(self.text, end)
                if left == right == "":
                    whole.append((start, end))
                elif "character" not in (left, right) and not (left and right):
                    parts.append((start, end))
            if whole:
                return _apart(whole), how, ""
            if parts:
                return _apart(parts), how + _PART, ""
            if seen:
                reason = "inside_word"
        return [], "", reason

    def _occurrences(self, mention: str) -> Iterator[tuple[str, list[Place]]]:
        """For each way of looking, the places; overlapping ones too."""
        yield EXACT, [(start, start + len(mention)) for start in _find(self.text, mention)]
        if self._skeleton is None:
            self._skeleton = skeleton(self.text)
        if skeleton(mention) not in self._skeleton:
            return
        for level in LEVELS:
            folded = self._folded.get(level)
            if folded is None:
                folded = self._folded[level] = fold_with_places(self.text, level)
            wanted = fold(mention, level).strip()
            if wanted:
                places = (folded.original(start, start + len(wanted)) for start in _find(folded.text, wanted))
                yield level, [place for place in places if place is not None]


def _find(text: str, part: str) -> list[int]:
    """Every place where a part begins."""
    found = []
    at = text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def _apart(places: list[Place]) -> list[Place]:
    """Those that overlap none before them."""
    kept: list[Place] = []
    for place in places:
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


def _cuts(text: str, at: int) -> str:
    """What a place between two code points cuts: '', 'word', or 'character' (a letter and its mark)."""
    if at <= 0 or at >= len(text):
        return ""
    after = text[at]
    if _is_mark(after):
        return "character"
    return "word" if _in_word(after) and _in_word(_letter_before(text, at)) else ""


def _letter_before(text: str, at: int) -> str:
    """The code point before a place, or before the marks there."""
    at -= 1
    while at > 0 and _is_mark(text[at]):
        at -= 1
    return text[at]


@lru_cache(maxsize=1 << 14)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character == "\u200d"


@lru_cache(maxsize=1 << 14)
def _in_word(character: str) -> bool:
    """A letter or digit, unless of a script without spaces."""
    return character.isalnum() and not written_without_spaces(character)
