"""Shingles are runs of folded words, against the same in plain Python."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.text.tokens import CLUSTER, IDEOGRAM, KIND_MASK, NUMBER, WORD
from dedup import evidence
from dedup.evidence import Words
from dedup.shingles import shingles
from scripts import build_shingle_table
from tests.corpus import TEXTS
from tests.dedup.phases import batch_of

ROOT = Path(__file__).parents[2]


def folded(word: str, digits: bool = False) -> str:
    """What the module's story says about one word."""
    out = ""
    for character in word:
        if ord(character) >= 0x2100:
            out += character
            continue
        category = unicodedata.category(character)
        if category == "Nd" and digits:
            out += str(unicodedata.decimal(character))
            continue
        if category == "Nd":
            out += "" if out.endswith("0") else "0"
            continue
        marks = (
            (0x300, 0x370),
            (0x483, 0x488),
            (0x591, 0x5C8),
            (0x610, 0x61B),
            (0x64B, 0x660),
            (0x670, 0x671),
        )
        dropped = category in ("Cf", "Cc") or category[0] in "PZ"
        if dropped or any(first <= ord(character) < last for first, last in marks):
            continue
        whole = unicodedata.normalize("NFD", character.lower())
        bare = all(unicodedata.category(c) == "Mn" for c in whole[1:])
        out += whole[0] if bare else character.lower()[0]
    return out


def runs(text: str, words: int = 5, characters: int = 10, digits: bool = False) -> list[tuple[str, ...]]:
    tokens = batch_of([text]).tokens
    kept, single = [], 0
    for kind, token in zip((tokens.classes & KIND_MASK).tolist(), tokens.of(0), strict=True):
        word = folded(token.decode(), digits)
        if kind in (WORD, NUMBER, IDEOGRAM, CLUSTER) and word:
            kept.append(word)
            single += kind in (IDEOGRAM, CLUSTER)
    n = min(len(kept), characters if 2 * single > len(kept) else words)
    return [tuple(kept[i : i + n]) for i in range(len(kept) - n + 1)] if n else []


FRAGMENTS = [
    "the", "The", "Straße", "été", "e\u0301te\u0301", "ÉTÉ", "1,000.5", "42", "٤٢", "442", "10005",
    "it's", "it’s", "...", "x_1",
    "日本", "ไทย", "שָׁלוֹם", "हिन्दी", "Ὅμηρος", "İ", "ǅ", "\u200d", "👍🏽", "\x01", "_", "\u0301", "안녕", "",
]  # fmt: skip
texts = st.lists(
    st.sampled_from(FRAGMENTS) | st.text(st.characters(codec="utf-8"), max_size=5), max_size=30
).map(" ".join)


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 12), st.booleans())
def test_hashes_are_equal_where_the_runs_are(
    documents: list[str], words: int, characters: int, listed: bool
) -> None:
    batch = batch_of(documents)
    found = shingles(batch.tokens, words=words, characters=characters, listed=listed)
    seen: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(documents):
        values = found.values[found.docs[row] : found.docs[row + 1]].tolist()
        expected = runs(text, words, characters)
        assert len(values) == len(expected)
        for run, value in zip(expected, values, strict=True):
            assert seen.setdefault(run, value) == value
    assert len(set(seen.values())) == len(seen)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(texts, min_size=2, max_size=6),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([0, 1, 64]),
    st.sampled_from([16, 1 << 22]),
)
def test_words_are_enough_to_compare_documents(
    documents: list[str], words: int, characters: int, repeated: int, slots: int
) -> None:
    """By the sets of runs, with numbers by their digits; short documents and long ones, in one round and in many."""
    documents = [text + repeated * f" {text} 1{n % 7} so" for n, text in enumerate(documents)]
    batch = batch_of(documents)
    kind = Words()
    found = shingles(batch.tokens, words=words, characters=characters, listed=True)
    kept = kind.keep(found, np.zeros((len(documents), 4), np.uint32))
    assert kept.type == kind.type
    sets = [set(runs(text, words, characters, digits=True)) for text in documents]
    expected = [
        np.float32(len(a & b) / len(a | b)) if a and b else 0
        for a, b in zip(sets, sets[1:] + sets[:1], strict=True)
    ]
    turned = kept.take(pa.array([*range(1, len(documents)), 0]))
    with mock.patch.object(evidence, "_SLOTS", slots):
        assert kind.compare(kept, turned).tolist() == expected
        assert kind.compare(kept.slice(1), turned.slice(1)).tolist() == expected[1:]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The old harbour, was built.", "the OLD harbour was — built"),
        ("It’s 1,000.5 m", "its 7 M!"),
        ("Čeština Ω Ж é", "cestina ω ж e\u0301"),
        ("a  b\n\nc", "a b c 👍🏽"),
    ],
)
def test_what_does_not_matter(one: str, other: str) -> None:
    found = shingles(batch_of([one, other]).tokens)
    middle = found.docs[1]
    assert found.values[:middle].tolist() == found.values[middle:].tolist()
    assert middle > 0


def test_the_table_is_what_python_says() -> None:
    with np.load(build_shingle_table.OUT, allow_pickle=False) as file:
        values = file["values"]
        if unicodedata.unidata_version == str(file["unicode"]):
            assert np.array_equal(values, build_shingle_table.values())
    # What no version changes.
    assert [chr(values[ord(c)]) for c in "AÉΣ7٣…"] == ["a", "e", "σ", "7", "3", "\0"]


def test_hashes_do_not_depend_on_the_interpreters_unicode() -> None:
    """Another version would have another table in memory."""
    code = (
        "import unicodedata\n"
        "unicodedata.category = unicodedata.normalize = None\n"
        "import dedup.shingles\n"
        "print(dedup.shingles._NUMBERS.sum())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    with np.load(build_shingle_table.OUT, allow_pickle=False) as file:
        assert int(found.stdout) == file["values"].sum()


def test_order_of_words_matters() -> None:
    found = shingles(batch_of(["a b c d e", "b a c d e"]).tokens)
    assert len(set(found.values.tolist())) == 2


def test_short_documents_have_one_shingle_and_empty_ones_none() -> None:
    texts = [
        "one",
        "one two three four",
        "one two three four five",
        "one two three four five six",
        "",
        "... !",
        "1",
    ]
    assert np.diff(shingles(batch_of(texts).tokens).docs).tolist() == [1, 1, 1, 2, 0, 0, 1]
    values = shingles(batch_of(["one", "one one"]).tokens).values
    assert len(set(values.tolist())) == 2


def test_characters_in_scripts_without_spaces() -> None:
    counts = np.diff(shingles(batch_of(["日本語" * 10, "日本語" * 10 + " word" * 40]).tokens).docs)
    assert counts.tolist() == [30 - 9, 70 - 4]


def test_a_word_repeated_a_million_times() -> None:
    found = shingles(batch_of(["spam " * 1_000_000]).tokens)
    assert len(found.values) == 1_000_000 - 4
    assert len(set(found.values.tolist())) == 1


def test_texts_that_break_tools() -> None:
    found = shingles(batch_of(list(TEXTS.values())).tokens)
    counts = dict(zip(TEXTS, np.diff(found.docs).tolist(), strict=True))
    assert counts["blank"] == counts["empty"] == 0
    assert counts == {name: len(runs(text)) for name, text in TEXTS.items()}
