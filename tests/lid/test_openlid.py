"""OpenLID's cleaning, against the model card's own recipe in Python."""

import re
import unicodedata

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lid.openlid import clean


def by_the_card(text: str) -> str:
    """Trim, one line, lower case, single spaces, then only word characters that are no digits, and spaces."""
    text = text.strip().replace("\n", " ").lower()
    text = re.sub(r"[^\S\x1c-\x1f]{2,}", " ", text)
    return "".join(c for c in text if word(c))


def word(c: str) -> bool:
    kind = unicodedata.category(c)
    return kind[0] in "LM" or kind in {"Nl", "Pc", "Zs"} or c in "\u200c\u200d" or "Ⓐ" <= c <= "ⓩ"


#: No letters that change length or depend on context in lower case, none that this Python lacks, and not
#: the separators of ASCII that `strip` removes and Arrow does not.
LEFT_OUT = "İΣ\x1c\x1d\x1e\x1f"
CHARACTERS = st.sampled_from(" \t\n\r\v\f\x85\u2028\u3000aÄ1٣.,-_’漢字😀") | st.characters(
    codec="utf-8", exclude_categories=["Cn", "Cs"], exclude_characters=LEFT_OUT
)


@given(st.lists(st.text(CHARACTERS, max_size=30), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_is_the_recipe(texts: list[str]) -> None:
    texts = [text for text in texts if not any(0x1F130 <= ord(c) <= 0x1F189 for c in text)]
    assert clean(pa.array(texts, pa.string())).to_pylist() == [by_the_card(text) for text in texts]


def test_an_example() -> None:
    texts = pa.array(["  In 2024,\n\nGRÖSSE  zählt -- doch!  ", "", "12"])
    assert clean(texts).to_pylist() == ["in  grösse zählt  doch", "", ""]
