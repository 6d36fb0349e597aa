"""128-bit keys: equal exactly for equal content, with or without whitespace."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.content import content_keys

TEXT = st.text(st.sampled_from("ab \t\n\u00a0\u3000é\u2028日") | st.characters(codec="utf-8"), max_size=40)


def keys(texts: list[str | None], *, whitespace: bool) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in content_keys(pa.array(texts, pa.string()), whitespace=whitespace)]


@given(st.lists(TEXT, min_size=2, max_size=8))
def test_keys_are_equal_exactly_where_the_bytes_are(texts: list[str]) -> None:
    found = keys(texts, whitespace=False)
    for one, a in zip(texts, found, strict=True):
        for other, b in zip(texts, found, strict=True):
            assert (a == b) == (one == other)


@given(st.lists(TEXT, min_size=2, max_size=8))
def test_runs_of_whitespace_are_one_space(texts: list[str]) -> None:
    found = keys(texts, whitespace=True)
    plain = [" ".join(text.split()) for text in texts]
    for one, a in zip(plain, found, strict=True):
        for other, b in zip(plain, found, strict=True):
            assert (a == b) == (one == other)


# Words of eight bytes are looked at as a whole: every space there is, its neighbours, and letters that begin like one.
SPACES = [c for c in map(chr, range(0x3001)) if c.isspace()]
LONG = st.text(
    st.sampled_from([*"abcdefgh    ", *SPACES, *"\u200b\u00a1\u1681\u2060\u3001\u30a2ßжक漢😀\x7f\0"]),
    max_size=120,
)


@given(LONG, LONG)
def test_a_text_has_the_key_of_its_normalised_form(text: str, before: str) -> None:
    plain = " ".join(text.replace("\u200b", " ").split())  # the one that `str.isspace` does not count
    found = keys([before, text, plain], whitespace=True)
    assert found[1] == found[2] == keys([plain], whitespace=False)[0]


@settings(deadline=None)
@given(LONG, st.text(st.sampled_from("abc é漢\n"), max_size=9), st.integers(1, 60), st.integers(0, 300))
def test_blocks_without_anything_special_are_taken_as_they_are(
    odd: str, text: str, times: int, place: int
) -> None:
    whole = text * times
    texts: list[str | None] = [whole[:place] + odd + whole[place:], whole]
    plain: list[str | None] = [" ".join((one or "").replace("\u200b", " ").split()) for one in texts]
    assert keys(texts, whitespace=True) == keys(plain, whitespace=False)


@given(st.lists(TEXT, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_a_slice_has_the_keys_of_its_texts(texts: list[str], start: int, length: int) -> None:
    whole = pa.array(texts, pa.string())
    for whitespace in (False, True):
        part = content_keys(whole.slice(start, length), whitespace=whitespace).tolist()
        assert part == content_keys(whole, whitespace=whitespace)[start : start + length].tolist()


def test_padding_and_length_do_not_collide() -> None:
    texts = ["", "\0", "\0\0", "a", "a\0", "a" * 8, "a" * 8 + "\0", "a" * 16, "a" * 17, "\0" * 8, "\0" * 9]
    found = keys(texts, whitespace=False)
    assert len(set(found)) == len(texts)
    halves = {part for pair in found for part in pair}
    assert len(halves) == 2 * len(texts)


def test_neighbouring_numbers_have_different_keys() -> None:
    found = keys([str(n) for n in range(200_000)], whitespace=True)
    assert len({a for a, _ in found}) == len({b for _, b in found}) == 200_000
    # The partition is the highest bits: they must be spread.
    shares = [0] * 16
    for high, _ in found:
        shares[high >> 60] += 1
    assert max(shares) < 1.1 * min(shares)


def test_keys_never_change() -> None:
    """They are in run folders: other values are another version of the step."""
    assert keys(["", "a", "the old harbour"], whitespace=True) == [
        (17293752475399492731, 6828975568789520532),
        (9163981736947353838, 8791411483826960899),
        (13751768844457965985, 15368415074001602690),
    ]
