"""Surface features against a count in plain Python, for every script and whatever the text."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.core.batch import DocBatch, text_buffers
from curate.core.text.sentences import TERMINATORS
from curate.core.text.tokens import CLUSTER, IDEOGRAM, KIND_MASK, NUMBER, PUNCT, SIGN, WORD
from filters.ner.surface import CASE, COUNTS, surface
from filters.ner_surface import STAGE
from tests.core.text.hostile import TEXTS
from tests.filters.rule_cases import assigned_only, batch_of

PIECES = [
    "Angela", "Merkel", "met", "J.", "Smith", "in", "Köln", ". ", ".", "! ", "?", " ", " ", " ", "\n", "\r\n", "NASA",
    "U.S.", "3", "3.14", "北京", "ไทย", "Москва", "иван", "ǅep", "ß", "İzmir", "“", "”", "...", "。", "Ωmega", "McDonald",
    "-", "@", "A", "É", "E\u0301", "😀",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
texts |= st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(codec="utf-8"), max_size=4), max_size=20
).map(" ".join)
texts |= st.sampled_from([text[:500] for text in TEXTS.values()])


def counted(batch: DocBatch, row: int) -> dict[str, int]:
    """The features as the story of `filters.ner.surface` tells them."""
    tokens = batch.tokens
    data = batch.text[row].as_py().encode()
    offset = int(text_buffers(batch.text)[0][row])
    some = range(int(tokens.docs[row]), int(tokens.docs[row + 1]))
    out: dict[str, int] = dict.fromkeys(COUNTS, 0)
    out["tokens"] = len(some)
    seen: set[str] = set()
    begins, run, initial, before = True, 0, False, None
    for i in some:
        start, end = int(tokens.starts[i]) - offset, int(tokens.ends[i]) - offset
        gap = data[start if before is None else before : start]
        before = end
        if b"\n" in gap or b"\r" in gap:
            begins, run = True, 0
        word, kind = data[start:end].decode(), int(tokens.classes[i]) & KIND_MASK
        if kind == WORD:
            out["words"] += 1
            out["cased"] += is_capital(word[0]) or unicodedata.category(word[0]) == "Ll"
            out["sentences"] += begins
            initial = False
            if is_capital(word[0]):
                run += 1
                out["sequences"] += run == 2
                out["all_capitals"] += sum(map(is_capital, word)) > 1 and not any(
                    unicodedata.category(c) == "Ll" for c in word
                )
                initial = len(word) == 1
                if begins:
                    out["initial"] += 1
                else:
                    out["capitalised"] += 1
                    seen.add(word)
            else:
                run = 0
            begins = False
            continue
        dot = kind == PUNCT and word[0] == "." and initial
        initial = False
        out["numbers"] += kind == NUMBER
        out["signs"] += kind in (IDEOGRAM, CLUSTER)
        out["marks"] += kind in (PUNCT, SIGN)
        if kind in (NUMBER, IDEOGRAM, CLUSTER):
            out["sentences"] += begins
            begins = False
        if kind == PUNCT and not dot:
            ends = word[0] in TERMINATORS and (len(word) == 1 or (word[0] != "." and set(word) == {word[0]}))
            begins = begins or ends
        if not dot:
            run = 0
    out["distinct"] = len(seen)
    return out


def is_capital(character: str) -> bool:
    return unicodedata.category(character) in ("Lu", "Lt")


@given(st.lists(texts.map(assigned_only), max_size=4))
@example(["Angela Merkel met J. Smith in Köln. He saw NASA, and NASA saw him!\nDas Ende"])
def test_every_count_is_what_python_counts(rows: list[str]) -> None:
    batch = batch_of(rows)
    found = surface(batch.tokens)
    for row in range(len(rows)):
        assert dict(zip(COUNTS, found[row].tolist(), strict=True)) == counted(batch, row)


def test_the_table_has_the_case_of_every_letter_that_python_knows() -> None:
    for point in range(len(CASE)):
        kind = unicodedata.category(chr(point))
        if kind != "Cn" and point != 0x295:  # a small letter until Unicode 15
            assert CASE[point] == {"Lu": 1, "Lt": 1, "Ll": 2}.get(kind, 0), hex(point)


def test_the_story_of_a_sentence() -> None:
    found: Any = surface(
        batch_of(["Angela Merkel met J. Smith in Köln. He saw NASA, and NASA saw him!\nDas Ende"]).tokens
    )
    counts = dict(zip(COUNTS, found[0].tolist(), strict=True))
    assert counts["capitalised"] == 7  # Merkel, J, Smith, Köln, NASA twice, Ende
    assert counts["distinct"] == 6
    assert counts["sequences"] == 3  # Angela Merkel, J. Smith, Das Ende
    assert (counts["all_capitals"], counts["sentences"], counts["initial"]) == (2, 3, 3)


@pytest.mark.parametrize("text", ["", "北京的桥。"])
def test_texts_without_words_have_no_cased_share(text: str) -> None:
    step = STAGE(STAGE.Config())
    step.open(None)  # type: ignore[arg-type]  # it asks for nothing
    found = step.annotate(batch_of([text]))
    assert found["cased_frac"].to_pylist() == [None]
    assert 1 <= found["score"][0].as_py() <= 4
    assert np.isfinite(found["score"][0].as_py())
