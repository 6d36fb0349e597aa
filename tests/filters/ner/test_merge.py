"""Spans of several teachers: one flat layer, nested spans apart, partial overlaps resolved, nothing lost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.ner.annotations import MERGED_SPAN, annotate
from filters.ner.ground import Grounded
from filters.ner.merge import Merged, Merger
from filters.ner.teachers.teacher import MENTION
from filters.ner.types import type_map

LABELS = ("PER", "person", "LOC", "zork", "Zork!")
spans = st.lists(
    st.tuples(st.integers(0, 15), st.integers(1, 6), st.sampled_from(LABELS)).map(
        lambda s: Grounded(s[0], s[0] + s[1], s[2], "exact")
    ),
    max_size=6,
    unique=True,
)


def merge(**answers: list[tuple[int, int, str]]) -> Merged:
    return Merger(type_map()).merge(
        {t: [Grounded(*s, "exact") for s in found] for t, found in answers.items()}
    )


def places(found: list[object]) -> list[tuple[int, int, str]]:
    return [(s.start, s.end, s.label) for s in found]  # type: ignore[attr-defined]


def meaning(label: str) -> str:
    return {"PER": "person", "LOC": "location", "Zork!": "zork"}.get(label, label)


@given(st.lists(spans, min_size=1, max_size=3))
def test_the_laws_of_merging(found: list[list[Grounded]]) -> None:
    answers = {f"t{i}": answer for i, answer in enumerate(found)}
    merged = Merger(type_map()).merge(answers)
    everything = [*merged.flat, *merged.nested, *(dropped.span for dropped in merged.dropped)]
    said = Counter((t, s.start, s.end, s.label) for t, answer in answers.items() for s in answer)
    assert Counter((v.teacher, s.start, s.end, v.label) for s in everything for v in s.votes) == said
    assert merged.flat == sorted(merged.flat)
    for before, after in zip(merged.flat, merged.flat[1:], strict=False):
        assert before.end <= after.start
    kept = [*merged.flat, *merged.nested]
    for i, a in enumerate(kept):
        for b in kept[:i]:
            assert (
                a.end <= b.start
                or b.end <= a.start
                or a.start <= b.start < b.end <= a.end
                or (b.start <= a.start < a.end <= b.end)
            )
    for span in everything:
        best = 0.0
        for answer in answers.values():
            shares = [0.0]
            for other in answer:
                if meaning(other.label) == meaning(span.label):
                    a, b = set(range(span.start, span.end)), set(range(other.start, other.end))
                    shares.append(len(a & b) / len(a | b))
            best += max(shares)
        assert span.agreement == pytest.approx(best / len(answers))
        assert set(span.teachers) == {
            v.teacher for v in span.votes if meaning(v.label) == meaning(span.label)
        }


@given(spans, st.integers(1, 3))
def test_teachers_who_say_the_same_agree_wholly(answer: list[Grounded], teachers: int) -> None:
    one_label = [s._replace(label="PER") for s in answer]
    merged = Merger(type_map()).merge({f"t{i}": one_label for i in range(teachers)})
    assert all(span.agreement == pytest.approx(1) for span in merged.flat)


def test_identical_spans_take_the_label_most_teachers_mean() -> None:
    (span,) = merge(a=[(0, 4, "ORG")], b=[(0, 4, "PER")], c=[(0, 4, "person")]).flat
    assert (span.label, span.teachers, span.agreement) == ("PER", ("b", "c"), pytest.approx(2 / 3))
    assert [(v.teacher, v.label) for v in span.votes] == [("a", "ORG"), ("b", "PER"), ("c", "person")]
    (tie,) = merge(a=[(0, 4, "ORG")], b=[(0, 4, "PER")]).flat
    assert (tie.label, tie.teachers) == ("ORG", ("a",))


def test_of_two_that_overlap_in_part_the_better_stays() -> None:
    merged = merge(a=[(0, 5, "PER")], b=[(3, 9, "PER")])
    assert places(merged.flat) == [(3, 9, "PER")]
    assert [(d.span.start, d.better_start, d.better_end) for d in merged.dropped] == [(0, 3, 9)]
    merged = merge(a=[(0, 5, "PER")], b=[(3, 9, "PER")], c=[(0, 5, "person")])
    assert places(merged.flat) == [(0, 5, "PER")]
    assert merged.flat[0].agreement == pytest.approx((1 + 2 / 9 + 1) / 3)


def test_nested_spans_stay_apart() -> None:
    merged = merge(a=[(0, 15, "ORG"), (8, 15, "LOC")], b=[(0, 15, "ORG")])
    assert places(merged.flat) == [(0, 15, "ORG")]
    assert places(merged.nested) == [(8, 15, "LOC")]
    inner = merge(a=[(0, 15, "ORG")], b=[(8, 15, "LOC")], c=[(8, 15, "LOC")])
    assert places(inner.flat) == [(8, 15, "LOC")]
    assert places(inner.nested) == [(0, 15, "ORG")]


def test_columns_of_answers() -> None:
    texts = pa.array(["Ada Lovelace met Babbage in Köln.", "", "Ada"], pa.string())
    strings = pa.array(
        [
            [
                {"text": "Ada Lovelace", "label": "Person"},
                {"text": "Ko\u0308ln", "label": "city"},
                {"text": "Paris", "label": "city"},
            ],
            [],
            [{"text": "Ada", "label": "PER"}],
        ]
    )
    offsets = pa.array(
        [
            [
                {"text": None, "label": "PER", "start": 0, "end": 12},
                {"text": "x", "label": "PER", "start": 4, "end": 19},
            ],
            [],
            None,
        ]
    )
    spans, nested, rejects = annotate(texts, {"llm": strings, "spacy": offsets}, type_map())
    assert spans.type == nested.type == pa.list_(MERGED_SPAN)
    first, second, third = spans.to_pylist()
    assert [(s["text"], s["standard"], s["core"], s["agreement"]) for s in first] == [
        ("Ada Lovelace", "person", "PER", 1),
        ("Köln", "city", "LOC", 0.5),
    ]
    assert first[1]["votes"] == [{"teacher": "llm", "label": "city", "how": "unicode"}]
    assert (second, third[0]["agreement"]) == ([], 1)
    assert [
        (r["passage"], r["teacher"], r["mention"], r["start"], r["reason"]) for r in rejects.to_pylist()
    ] == [
        (0, "llm", "Paris", None, "not_in_text"),
        (0, "spacy", "x", 4, "another_text"),
    ]


def said_in(text: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Answers to one passage: parts of the text and what is not in it, with offsets, wrong ones too, and without."""
    at = st.integers(0, len(text))
    part = st.tuples(at, at).map(lambda ends: text[min(ends) : max(ends)])
    strings = st.builds(dict, text=part | st.sampled_from(["Zoe", " "]), label=st.sampled_from([*LABELS, ""]))
    offsets = st.builds(dict, text=st.none(), label=st.sampled_from(LABELS), start=at, end=at)
    return st.lists(strings, max_size=5) | st.lists(offsets, max_size=5)


HOSTILE = [
    "Ada Ada in Köln, Ko\u0308ln",
    "北京東京 ไทยแลนด์",
    "ذهب محمد إلى القاهرة",
    "नमस्ते दिल्ली",
    "👩‍👩‍👧 e\u0323\u0301 🇩🇪",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(HOSTILE), st.data())
def test_every_mention_of_every_teacher_is_a_vote_or_a_reject(text: str, data: st.DataObject) -> None:
    answers = {teacher: data.draw(said_in(text)) for teacher in "abc"}
    columns = {teacher: pa.array([said], pa.list_(MENTION)) for teacher, said in answers.items()}
    found = annotate(pa.array([text]), columns, type_map())
    spans = [*found.spans.to_pylist()[0], *found.nested.to_pylist()[0]]
    rejects = found.rejects.to_pylist()
    counted = Counter((vote["teacher"], vote["label"]) for span in spans for vote in span["votes"])
    counted += Counter((reject["teacher"], reject["label"]) for reject in rejects)
    assert counted == Counter((teacher, m["label"]) for teacher, said in answers.items() for m in said)
    for span in spans:
        assert text[span["start"] : span["end"]] == span["text"] != ""
    for reject in rejects:
        if reject["reason"] == "overlaps_better":
            assert text[reject["start"] : reject["end"]] == reject["mention"]


def test_overlaps_of_merging_are_among_the_rejects() -> None:
    texts = pa.array(["New York Times Square"])
    said = {
        "a": pa.array([[{"text": "New York Times", "label": "ORG"}]]),
        "b": pa.array([[{"text": "Times Square", "label": "LOC"}]]),
    }
    spans, _, rejects = annotate(texts, said, type_map())
    assert [s["text"] for s in spans.to_pylist()[0]] == ["New York Times"]
    (reject,) = rejects.to_pylist()
    assert (reject["teacher"], reject["mention"], reject["reason"]) == (
        "b",
        "Times Square",
        "overlaps_better",
    )


def test_each_teacher_of_an_overlapped_span_has_a_reject() -> None:
    long, short = [{"text": "New York Times", "label": "ORG"}], [{"text": "Times Square", "label": "LOC"}]
    said = {
        name: pa.array([answer])
        for name, answer in zip("abcde", (long, long, long, short, short), strict=True)
    }
    _, _, rejects = annotate(pa.array(["New York Times Square"]), said, type_map())
    assert [(r["teacher"], r["reason"]) for r in rejects.to_pylist()] == [
        ("d", "overlaps_better"),
        ("e", "overlaps_better"),
    ]


def test_answers_of_another_length() -> None:
    with pytest.raises(ValueError, match="1 for 2 passages"):
        annotate(pa.array(["a", "b"]), {"a": pa.array([[{"text": "a", "label": "x"}]])}, type_map())
