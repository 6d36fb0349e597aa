"""Answers of teachers to merged spans, passage for passage: grounding and merging over Arrow columns.

In: the passages' texts, and for each teacher a column of what it said of each:

    list<struct<text: string, label: string>>                              strings, to be grounded
    list<struct<text: string, label: string, start: int32, end: int32>>    offsets, to be checked (text may be null)

A null instead of a list is a passage that the teacher gave no answer to: it does not count in the agreement there. Out:

    spans     list<SPAN>   the flat layer, ascending; SPAN: start, end (int32, code points), text, label, standard, core,
                           teachers: list<string>, agreement: float32, votes: list<struct<teacher, label, how>>
    nested    list<SPAN>   spans within or around those
    rejects   a table: passage (int64, row), teacher, mention, label, start, end (null: strings), reason; the reasons are
              those of `ground`, and `overlaps_better`: it overlaps a better span in part

Every mention of every teacher is in the votes of a span or in the rejects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

import pyarrow as pa

from filters.ner.ground import Grounded, Mention, Mode, Passage, ground
from filters.ner.merge import MergedSpan, Merger
from filters.ner.types import TypeMap

VOTE: Final = pa.struct([(name, pa.string()) for name in ("teacher", "label", "how")])
MERGED_SPAN: Final = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        *((name, pa.string()) for name in ("text", "label", "standard", "core")),
        ("teachers", pa.list_(pa.string())),
        ("agreement", pa.float32()),
        ("votes", pa.list_(VOTE)),
    ]
)
REJECTS: Final = pa.schema(
    [
        ("passage", pa.int64()),
        *((name, pa.string()) for name in ("teacher", "mention", "label")),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("reason", pa.string()),
    ]
)


class Annotated(NamedTuple):
    """spans, nested: one list a passage. rejects: one row a mention that has no span."""

    spans: pa.ListArray
    nested: pa.ListArray
    rejects: pa.Table


def annotate(
    texts: pa.StringArray,
    answers: Mapping[str, pa.Array],
    types: TypeMap,
    mode: Mode = "cursor",
    similar: Callable[[str, str], bool] | None = None,
) -> Annotated:
    """answers: a column by teacher, in the order of preference, each as long as texts. ValueError if one is not.

    similar: whether two labels that the type map does not both know mean the same; None: they do not.
    """
    short = [teacher for teacher, column in answers.items() if len(column) != len(texts)]
    if short:
        raise ValueError(f"the answers of {short[0]} are {len(answers[short[0]])} for {len(texts)} passages")
    merger = Merger(types, similar)
    columns = {teacher: column.to_pylist() for teacher, column in answers.items()}
    spans, nested, rejects = [], [], []
    for row, text in enumerate(texts.to_pylist()):
        said = {teacher: column[row] for teacher, column in columns.items() if column[row] is not None}
        flat, inner, failed = _passage(text, said, merger, types, mode)
        spans.append(flat)
        nested.append(inner)
        rejects += [{"passage": row, **reject} for reject in failed]
    table = pa.Table.from_pylist(rejects, REJECTS)
    return Annotated(_column(texts, spans, types), _column(texts, nested, types), table)


def _passage(
    text: str, said: Mapping[str, Sequence[Mapping[str, Any]]], merger: Merger, types: TypeMap, mode: Mode
) -> tuple[list[MergedSpan], list[MergedSpan], list[dict[str, Any]]]:
    """Spans, nested spans and rejects of one passage."""
    passage = Passage(text)
    rejects: list[dict[str, Any]] = []
    places: dict[str, list[Grounded]] = {}
    for teacher, answer in said.items():
        mentions = [
            Mention(m["text"] or "", m["label"] or "", m.get("start"), m.get("end"))
            for m in answer
            if m is not None
        ]
        places[teacher], failed = ground(passage, mentions, mode)
        for reject in failed:
            mention = {
                "mention": reject.text,
                "label": reject.label,
                "start": reject.start,
                "end": reject.end,
            }
            rejects.append({"teacher": teacher, **mention, "reason": reject.reason})
    merged = merger.merge(places)
    for span, _, _ in merged.dropped:
        place = {"mention": text[span.start : span.end], "start": span.start, "end": span.end}
        for teacher, label, _ in span.votes:
            rejects.append({"teacher": teacher, "label": label, **place, "reason": "overlaps_better"})
    return merged.flat, merged.nested, rejects


def _column(texts: pa.StringArray, found: Sequence[Sequence[MergedSpan]], types: TypeMap) -> pa.ListArray:
    """list<SPAN> of the spans of each passage, built column by column."""
    spans = [span for row in found for span in row]
    votes = [vote for span in spans for vote in span.votes]
    mentions = [
        text[s.start : s.end] for text, row in zip(texts.to_pylist(), found, strict=True) for s in row
    ]
    standard = [types.standard(span.label) for span in spans]
    named = pa.array([teacher for span in spans for teacher in span.teachers], pa.string())
    vote = pa.StructArray.from_arrays(
        [pa.array([v[i] for v in votes], pa.string()) for i in range(VOTE.num_fields)], fields=list(VOTE)
    )
    columns = [
        pa.array([span.start for span in spans], pa.int32()),
        pa.array([span.end for span in spans], pa.int32()),
        pa.array(mentions, pa.string()),
        pa.array([span.label for span in spans], pa.string()),
        pa.array(standard, pa.string()),
        pa.array([None if name is None else types.cores[name] for name in standard], pa.string()),
        pa.ListArray.from_arrays(_offsets(len(span.teachers) for span in spans), named),
        pa.array([span.agreement for span in spans], pa.float32()),
        pa.ListArray.from_arrays(_offsets(len(span.votes) for span in spans), vote),
    ]
    rows = pa.StructArray.from_arrays(columns, fields=list(MERGED_SPAN))
    return pa.ListArray.from_arrays(_offsets(map(len, found)), rows)


def _offsets(lengths: Iterable[int]) -> pa.Int32Array:
    """Where lists of such lengths begin, and the end."""
    return pa.array([0, *accumulate(lengths)], pa.int32())
