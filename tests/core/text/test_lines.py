"""Lines are what `str.splitlines` gives, whatever the bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hostile import BYTES, TEXTS, arrow
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.batch import text_buffers
from curate.core.text.lines import skip_spaces, split_lines, trim_spaces
from curate.core.text.memory import address_of, kernel, view_uint8

BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
NEARLY = ["\x1f", "\x84", "\u2027", "\u202a", "\u00a0", "â", " ", "a"]
SPACES = [chr(c) for c in range(0x3001) if chr(c).isspace()]


def lines(*texts: bytes) -> list[list[bytes]]:
    found = split_lines(*text_buffers(arrow(list(texts))))
    return [found.of(row) for row in range(len(texts))]


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts(name: str) -> None:
    assert lines(TEXTS[name].encode()) == [[line.encode() for line in TEXTS[name].splitlines()]]


def test_invalid_bytes_keep_everything_but_the_separators() -> None:
    for text, found in zip(BYTES.values(), lines(*BYTES.values()), strict=True):
        assert len(text) - 3 * (len(found) + 1) <= sum(map(len, found)) <= len(text)


@settings(deadline=None)  # the first example may compile
@given(
    st.lists(
        st.lists(st.sampled_from(BREAKS + NEARLY) | st.text(max_size=5), max_size=20).map("".join), max_size=5
    )
)
def test_lines_are_splitlines(texts: list[str]) -> None:
    expected = [[line.encode() for line in text.splitlines()] for text in texts]
    assert lines(*(text.encode() for text in texts)) == expected


def test_a_million_newlines() -> None:
    found = split_lines(*text_buffers(arrow([b"\n" * 1_000_000])))
    assert len(found) == 1_000_000
    assert np.array_equal(found.starts, found.ends)


def test_no_rows() -> None:
    assert split_lines(*text_buffers(arrow([]))).docs.tolist() == [0]


@kernel
def _stripped(address, size):  # type: ignore[no-untyped-def]
    data = view_uint8(address, size)
    start = skip_spaces(data, np.int64(0), np.int64(size))
    return start, trim_spaces(data, start, np.int64(size))


@settings(deadline=None)  # the first example may compile
@given(
    st.lists(
        st.sampled_from(SPACES + NEARLY + ["\u200b", "\u180e"]) | st.characters(codec="utf-8"), max_size=12
    ).map("".join)
)
def test_spaces_are_stripped_as_python_strips(text: str) -> None:
    data = np.frombuffer(text.encode(), np.uint8)
    start, end = _stripped(address_of(data), data.size)
    assert text.encode()[start:end].decode() == text.strip()
