"""Mentions are found where they stand, under stated foldings or not at all, in every script; none is lost."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from filters.ner.folding import LEVELS, fold, fold_with_places, skeleton
from filters.ner.ground import Grounded, Mention, Mode, ground
from tests.core.text.hostile import TEXTS

CLUSTER = regex.compile(r"\X")
PIECES = [
    "Bank", "of", "America", "Ámérica", "A\u0301mérica", "STRASSE", "Straße", "’s", "'s", "“x”", " ", "\u00a0 ", "\n",
    "北京", "和", "東京タワー", "ไทยแลนด์", "नमस्ते", "दिल्ली", "שלום", "مرحبا", "\u200fיום", "안녕", "ကမ္ဘာ",
    "👩‍👩‍👧", "🇩🇪", "e\u0323\u0301",
    "１２", "12", "ﬁn", "co\u00adop", "-", "–", ".", "İ", "ǅ", "\u0345", "ΐ",
]  # fmt: skip
texts = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(codec="utf-8"), max_size=3), max_size=12
).map("".join)
texts |= st.sampled_from([text[:200] for text in TEXTS.values()])


@given(texts, st.data())
def test_what_stands_in_the_text_is_found_there(text: str, data: st.DataObject) -> None:
    """A run of whole words, or of characters in scripts without spaces, is always found, and exactly."""
    words = [m.span() for m in regex.finditer(r"\S+", text)]
    if not words:
        return
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    mention = text[words[first][0] : words[last][1]]
    for mode in ("cursor", "all"):
        grounded, rejected = ground(text, [Mention(mention, "x")], mode)
        if unicodedata.category(mention[0])[0] == "M" or mention[0] == "\u200d" or not mention.strip():
            continue  # a mark or joiner belongs to the space before it
        assert not rejected
        assert grounded
        assert all(text[start:end] == mention.strip() for start, end, _, _ in grounded)


mentions = st.builds(Mention, st.sampled_from(PIECES) | texts, st.sampled_from(["PER", "LOC", ""]))


@given(texts, st.lists(mentions, max_size=6), st.sampled_from(["cursor", "all"]))
def test_every_mention_is_grounded_or_rejected_and_places_say_what_was_said(
    text: str, said: list[Mention], mode: Mode
) -> None:
    grounded, rejected = ground(text, said, mode)
    for start, end, _, how in grounded:
        found, level = text[start:end], how.removesuffix(", part_of_word")
        assert found.strip()
        names = {m.text.strip() for m in said}
        if level == "exact":
            assert found in names
        else:
            assert fold(found, level).strip() in {fold(name, level).strip() for name in names}  # type: ignore[arg-type]
        assert CLUSTER.match(text, end) is None or unicodedata.category(text[end])[0] != "M"
    assert len({place[:3] for place in grounded}) == len(grounded)
    if mode == "cursor":
        assert len(grounded) + len(rejected) == len(said)


@given(texts, st.sampled_from(LEVELS))
def test_folded_places_lead_back_to_the_text(text: str, level: str) -> None:
    folded = fold_with_places(text, level)  # type: ignore[arg-type]
    assert folded.text == fold(text, level)  # type: ignore[arg-type]
    for start in folded.begin:
        for end in folded.end:
            if start < end:
                place = folded.original(start, end)
                assert place is not None
                assert fold(text[slice(*place)], level) == folded.text[start:end]  # type: ignore[arg-type]


@given(texts, st.data())
def test_the_skeleton_never_hides_a_mention(text: str, data: st.DataObject) -> None:
    for level in LEVELS:
        folded = fold_with_places(text, level)
        if folded.begin:
            start = data.draw(st.sampled_from(sorted(folded.begin)))
            end = data.draw(st.sampled_from(sorted(folded.end)))
            place = folded.original(start, end) if start < end else None
            if place is not None:
                assert skeleton(text[slice(*place)]) in skeleton(text)


def found(text: str, *said: str, mode: Mode = "cursor") -> list[tuple[int, int, str]]:
    return [(s, e, how) for s, e, _, how in ground(text, [Mention(m, "x") for m in said], mode)[0]]


@pytest.mark.parametrize(
    ("text", "said", "place", "how"),
    [
        ("America’s", "America's", (0, 9), "quotes"),
        ("New \n York", "New York", (0, 10), "quotes"),
        ("Sean O´Brien", "Sean O'Brien", (0, 12), "quotes"),
        ("27″ Monitor", '27" Monitor', (0, 11), "quotes"),
        ("in Ko\u0308ln.", "Köln", (3, 8), "unicode"),
        ("Ａ１ Ltd", "A1", (0, 2), "unicode"),
        ("co\u00adop", "coop", (0, 5), "unicode"),
        ("STRASSE", "Straße", (0, 7), "case"),
        ("ΟΔΟΣ", "οδος", (0, 4), "case"),
        ("서울은 수도", "서울", (0, 2), "exact, part_of_word"),
        ("وباريس", "باريس", (1, 6), "exact, part_of_word"),
        ("我爱北京天安门", "北京", (2, 4), "exact"),
        ("artists of art", "art", (11, 14), "exact"),
    ],
)
def test_how_it_was_found(text: str, said: str, place: tuple[int, int], how: str) -> None:
    assert found(text, said) == [(*place, how)]


@pytest.mark.parametrize(
    ("text", "said", "reason"),
    [
        ("BUSINESS", "USI", "inside_word"),
        ("cafe\u0301", "cafe", "inside_word"),
        ("नमस्ते", "नमस", "inside_word"),
        ("Berlin", "Bärlin", "not_in_text"),
        ("Berlin", " \n", "empty"),
        ("", "x", "not_in_text"),
    ],
)
def test_why_it_was_not(text: str, said: str, reason: str) -> None:
    grounded, (rejected,) = ground(text, [Mention(said, "x")])
    assert grounded == []
    assert rejected.reason == reason


def test_the_cursor() -> None:
    text = "Bank of America is big. America is bigger. Bank of America."
    bank, america, inner, last = (0, 15, "exact"), (24, 31, "exact"), (8, 15, "exact"), (43, 58, "exact")
    assert found(text, "Bank of America", "America", "Bank of America") == [bank, america, last]
    assert found(text, "America", "America", "Bank of America") == [inner, america, last]
    assert found("a b a", "b", "a", "a") == [(2, 3, "exact"), (4, 5, "exact"), (0, 1, "exact")]
    assert found("ab cd", "ab cd", "cd") == [(0, 5, "exact"), (3, 5, "exact")]
    _, rejected = ground("a b a", [Mention("a", "x")] * 3)
    assert [r.reason for r in rejected] == ["no_more_occurrences"]


def test_all_occurrences() -> None:
    assert found("a b a ba", "a", mode="all") == [(0, 1, "exact"), (4, 5, "exact")]
    places = found("aa aa aa", "aa aa", mode="all")
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    assert [r.reason for r in ground("a", [Mention("a", "x")] * 2, "all")[1]] == ["duplicate"]
    assert len(ground("a", [Mention("a", "x"), Mention("a", "y")], "all")[0]) == 2


def test_offsets_are_checked_and_not_sought() -> None:
    said = [
        Mention("Bonn", "x", 3, 7),
        Mention("", "x", 0, 2),
        Mention("Bonn", "x", 2, 6),
        Mention("Bonn", "x", 3, 70),
        Mention("Bonn", "x", 3, None),
        Mention("", "x", 2, 3),
        Mention("Bonn", "", 3, 7),
        Mention("Bonn", "x", 3, 7),
    ]
    grounded, rejected = ground("in Bonn", said)
    assert grounded == [Grounded(3, 7, "x", "offsets"), Grounded(0, 2, "x", "offsets")]
    reasons = ["another_text", "outside_text", "outside_text", "empty", "no_label", "duplicate"]
    assert [r.reason for r in rejected] == reasons
    assert (rejected[1].start, rejected[1].end) == (3, 70)
