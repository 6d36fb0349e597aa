"""A partition's value becomes one folder name, whatever it holds: below the output's folder, visible, and its own."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.io.publish import folder_name

#: Anything that Arrow can hold in a string, and what file systems and globs trip over.
values = st.text(st.characters(exclude_categories=("Cs",)), max_size=300) | st.text(
    "./\\_~%*?[] \0é", max_size=12
)

#: File systems allow 255 bytes; the rest is left for what tools put before and behind a name.
LONGEST = 200


@given(value=values)
@example("")
@example(".")
@example("..")
@example("../../etc/passwd")
@example("/absolute")
@example("a/b")
@example(".hidden")
@example("_private")
@example("__x")
@example("\0")
@example("CON")
@example("x" * 1000)
@example("é" * 200)
@example("deu_Latn")
def test_a_name_stays_in_its_folder_and_is_seen_there(value: str) -> None:
    name = folder_name(value)
    assert name
    assert len(PurePosixPath(name).parts) == 1
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith((".", "_"))
    root = os.path.abspath("/out")
    assert os.path.dirname(os.path.abspath(os.path.join(root, name))) == root
    assert not set(name) & set("*?[]"), "a loader would take it for a pattern"
    assert name.isascii()


@given(value=values)
@example("x" * 1000)
@example("é" * 200)
def test_a_name_is_short_enough_for_a_file_system(value: str) -> None:
    assert len(folder_name(value).encode()) <= LONGEST


@given(one=values, two=values)
@example("", "\0")
@example(".a", "%2Ea")
@example("a/b", "a%2Fb")
@example("_", "%5F")
@example("x" * 1000, "x" * 1001)
@example("A", "a b")
def test_different_values_have_different_names(one: str, two: str) -> None:
    assert (folder_name(one) == folder_name(two)) == (one == two)


@pytest.mark.parametrize("value", ["deu_Latn", "cmn_Hani", "wiki", "2024-02-29", "und", "CC-BY-4.0", "1.5"])
def test_a_plain_value_is_its_own_name(value: str) -> None:
    assert folder_name(value) == value


def test_a_name_can_be_made(tmp_path: Path) -> None:
    for value in ("", "..", "a/b", "é" * 300, "x" * 5000, "\0", "new\nline", "🏴"):
        (tmp_path / folder_name(value)).mkdir()
