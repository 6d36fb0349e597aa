"""Annotated passages to annotated sentences, where a trainer wants those.

In: a passage's text, tokens and spans. Out: for each of its sentences the same, with offsets into the sentence, and where
the sentence stands in the passage.

A sentence ends at a line's end, and behind a terminator (`curate.core.text.sentences`) with the closing marks behind it:
an ASCII one if whitespace follows and then no small letter (`approx. ten`, `e.g. this`), any other (。 ！ ।) at once. It
does not end within a token or a span, whatever stands there: `St. Gallen` is not cut if it is a mention. No character of a
token or a mention is lost; whitespace around sentences is.

FiNERweb (arXiv 2512.13884) splits by a model, Segment-Any-Text, which knows `Dr. Smith` too; this rule does not, unless a
mention spans it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from curate.core.text.sentences import TERMINATORS

_ASCII: Final = "".join(c for c in TERMINATORS if c.isascii())
_WIDE: Final = "".join(c for c in TERMINATORS if not c.isascii())
_CLOSERS: Final = r"""["'”’»›)\]}）］｝」』》〉】〕〗]"""
_END: Final = re.compile(
    rf"[{re.escape(_ASCII)}]+{_CLOSERS}*(?=\s)|[{re.escape(_WIDE)}]+{_CLOSERS}*|[\n\r\x85\u2028\u2029]+"
)
_NEXT: Final = re.compile(r"\S")

Place = tuple[int, int]


def sentence_places(text: str, keep: Sequence[Place]) -> list[Place]:
    """Where the sentences stand, ascending, without whitespace around them. keep: places within which none ends."""
    ends = [at for at in _ends(text) if not any(start < at < end for start, end in keep)]
    places = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        part = text[start:end]
        inside = [place for place in keep if start <= place[0] < end]
        left = min([end - len(part.lstrip()), *(place[0] for place in inside)])
        right = max([start + len(part.rstrip()), *(place[1] for place in inside)])
        if left < right:
            places.append((left, right))
    return places


def _ends(text: str) -> Iterator[int]:
    for found in _END.finditer(text):
        following = _NEXT.search(text, found.end())
        if found[0][0] in _ASCII and following is not None and following[0].islower():
            continue
        yield found.end()


def split_row(
    row: Mapping[str, Any], layers: Sequence[str], whole: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """A row for each sentence of a row. layers: its columns of offsets into the text, `tokens` and spans; `start` and `end`,
    where it has them, are the passage's place in its document, and become the sentence's. whole: columns that say something
    of the passage as a whole, such as a judgement; they are null in its sentences."""
    row = {**row, **dict.fromkeys(whole)}
    marked = [item for layer in layers for item in row[layer] or ()]
    for start, end in sentence_places(row["text"], [(item["start"], item["end"]) for item in marked]):
        part = {**row, "text": row["text"][start:end]}
        for layer in layers:
            part[layer] = [
                {**item, "start": item["start"] - start, "end": item["end"] - start}
                for item in row[layer] or ()
                if start <= item["start"] and item["end"] <= end
            ]
        if row.get("start") is not None and row.get("end") is not None:
            part["start"], part["end"] = row["start"] + start, row["start"] + end
        yield part
