"""Word sets find exactly their own words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.text.memory import address_of, kernel, view_uint8
from curate.core.text.wordsets import WordSets, find_word

WORDS = st.text(min_size=1, max_size=20, alphabet=st.characters(codec="utf-8"))


@kernel
def _find(address, size, number, words, starts, sets, maybe, slots):  # type: ignore[no-untyped-def]
    return find_word(view_uint8(address, size), 0, size, number, words, starts, sets, maybe, slots)


def contains(sets: WordSets, name: str, word: str) -> bool:
    data = np.frombuffer(word.encode(), np.uint8)
    number = sets.names.index(name)
    found = _find(
        address_of(data), data.size, number, sets.data, sets.starts, sets.sets, sets.maybe, sets.slots
    )
    return bool(found >= 0)


@settings(deadline=None)  # the first example may compile
@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(WORDS, max_size=20), min_size=1),
    st.lists(WORDS, max_size=10),
)
def test_a_word_is_found_in_its_own_set_only(sets: dict[str, list[str]], others: list[str]) -> None:
    built = WordSets.build(sets)
    for name, words in sets.items():
        for word in [*others, *(word for group in sets.values() for word in group)]:
            assert contains(built, name, word) == (word in words)


def test_no_sets_at_all() -> None:
    assert len(WordSets.build({})) == 0
    assert not contains(WordSets.build({"a": []}), "a", "x")
