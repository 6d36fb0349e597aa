"""YAML 1.2, with the place of every key and value; hostile files are one C101, never a traceback."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.config.yaml_source import Source, parse, read
from curate.core.errors import CurateError


def data(text: str) -> Any:
    return parse(text, "web.yaml").data


def fault(content: str | bytes) -> str:
    """`line:column message` of the one problem."""
    with pytest.raises(CurateError) as caught:
        parse(content, "web.yaml")
    (problem,) = caught.value.problems
    assert problem.code == "C101"
    at = problem.position
    return f"{at.line}:{at.column} {problem.message}" if at else problem.message


def marked(source: Source, *path: str | int, key: bool = False) -> str:
    """`line:column text` of a value or key."""
    at = source.key(path) if key else source.value(path)
    return f"{at.line}:{at.column} {at.text[at.column - 1 : at.column - 1 + at.length]}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("12", 12),
        ("-7", -7),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("0.65", 0.65),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!float 1", 1.0),
        ('"a\\tb"', "a\tb"),
        ('"\\ud83d\\ude00"', "😀"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: Any) -> None:
    found = data(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(data("a: .nan")["a"])


def test_keys_are_strings_as_written() -> None:
    assert data("{no: 1, 12: 2, true: 3, ~: 4}") == {"no": 1, "12": 2, "true": 3, "~": 4}


def test_a_yaml_1_1_directive_changes_nothing() -> None:
    assert data("%YAML 1.1\n---\na: no\n") == {"a": "no"}


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    source = parse("\ufeffname: web\n".encode(), "web.yaml")
    assert source.data == {"name": "web"}
    assert marked(source, "name", key=True) == "1:1 name"


def test_every_key_and_value_has_its_place() -> None:
    source = parse(
        "# a comment\n"
        "name: 'web'\n"
        "steps:\n"
        "  - use: dedup.minhash   # near duplicates\n"
        "    treshold: 0.8\n"
        "  - {select: lid__prob >= 0.65, as: sure}\n"
        "ü: |\n"
        "  many\n"
        "  lines\n",
        "web.yaml",
    )
    assert marked(source, "name", key=True) == "2:1 name"
    assert marked(source, "name") == "2:7 'web'"
    assert marked(source, "steps", 0, "treshold", key=True) == "5:5 treshold"
    assert marked(source, "steps", 0, "treshold") == "5:15 0.8"
    assert marked(source, "steps", 0) == "4:5 use: dedup.minhash"
    assert marked(source, "steps", 1) == "6:5 {select: lid__prob >= 0.65, as: sure}"
    assert marked(source, "steps", 1, "as", key=True) == "6:33 as"
    assert marked(source, "ü") == "7:4 |"
    assert marked(source, "steps", 1, "nothing", "here") == marked(source, "steps", 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(end: str) -> None:
    source = parse(end.join(["a: 1", "b:", "  c: x"]), "web.yaml")
    assert marked(source, "b", "c") == "3:6 x"


def test_a_place_inside_a_text_is_told_where_the_text_stands_as_it_is() -> None:
    source = parse("a: x > 1\nb: 'x > 1'\nc: \"x \\u003e 1\"\nd: >-\n  x >\n  1\n", "web.yaml")
    assert source.inside(("a",), 4, 1).column == 8
    assert source.inside(("b",), 4, 1).column == 9
    assert (source.inside(("c",), 4, 1).column, source.inside(("c",), 4, 1).length) == (4, 12)
    assert source.inside(("d",), 4, 1).line == 4


def test_anchors_aliases_and_merges() -> None:
    text = "a: &base {x: 1, y: 2}\nb: *base\nc: {<<: *base, y: 3}\nd: {<<: [{x: 5}, *base]}\n"
    found = data(text)
    assert found["b"] == {"x": 1, "y": 2}
    assert found["c"] == {"x": 1, "y": 3}
    assert found["d"] == {"x": 5, "y": 2}
    source = parse(text, "web.yaml")
    assert marked(source, "b") == "2:4 *base"
    assert marked(source, "b", "x") == "1:14 1"


def test_a_key_given_twice_names_both_places_and_the_rest_is_read() -> None:
    source = parse("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\na: 5\n", "web.yaml")
    assert source.data == {"a": 1, "b": {"c": 2, "d": 3}}
    first, second = source.problems
    assert first.position is not None
    assert (first.position.line, first.position.column) == (5, 3)
    assert first.message == "the key 'c' is given twice"
    assert "line 3, column 3" in first.help
    assert second.position is not None
    assert second.position.line == 6


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a:\n\t- b", "2:1 a tab cannot be used for indentation"),
        ("a: b: c", "1:5 a second `:` in one value"),
        ("a: 'x", "1:6 found unexpected end of stream"),
        ("a: [1, 2\nb: 3", "2:2 expected ',' or ']', but got ':'"),
        ("a: @x", "1:4 found character '@' that cannot start any token"),
        ("a: *x", "1:4 the alias *x has no anchor &x before it"),
        ("a: &x [*x]", "1:8 the alias *x stands inside its own anchor"),
        ("a: 1\n---\nb: 2", "2:1 the file holds a second YAML document"),
        ("[a, b]: 1", "1:1 a key must be a single word, not a list or a mapping"),
        ("a: &x b\n*x : 1", "2:1 a key must be a single word, not an alias"),
        ("a: !!python/object:os.system {}", "1:4 the tag !!python/object:os.system is not allowed"),
        ("a: !secret x", "1:4 the tag !secret is not allowed"),
        ("a: !!int x", "1:4 'x' is not !!int"),
        ("<<: 3", "1:5 `<<` takes a mapping or a list of mappings"),
        ("a: 1\nb: \x00", "2:4 character U+0000 is not allowed in YAML"),
        ("a: \x1b[31m", "1:4 character U+001B is not allowed in YAML"),
        ('a: "\\0"', "1:4 a text holds the character U+0000"),
        ('a: "\\ud83d"', "1:4 a text holds half of a surrogate pair"),
        ("a: " + "9" * 200, "1:4 a number of more than 100 digits"),
        ("name: w\nübung: x\xff".encode("latin-1"), "2:1 not UTF-8: byte 0xFC at position 8"),
        ("name: web".encode("utf-16"), "1:1 not UTF-8: byte 0xFF at position 0"),
    ],
)
def test_what_is_no_yaml_is_named_with_its_place(content: str | bytes, expected: str) -> None:
    assert fault(content) == expected


BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'x'}]\n" for i in range(12))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}], k{i}: 1}}\n" for i in range(1, 3000)
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (BOMB, "aliases expand to more than 50,000 values"),
        (MERGE_BOMB, "more than 50,000 values"),
        ("[" * 100_000, "nested more than 50 levels deep"),
        ("{a: " * 100_000, "nested more than 50 levels deep"),
        ("- " * 3000, "nested more than 50 levels deep"),
        ("a: [" + "x," * 400_000 + "]", "more than 50,000 values"),
    ],
)
def test_bombs_are_refused_in_seconds(content: str, expected: str) -> None:
    started = time.monotonic()
    assert expected in fault(content)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a config is a mapping of keys; web.yaml holds nothing"),
        (b"# only a comment\n", "a config is a mapping of keys; web.yaml holds nothing"),
        (b"- a\n- b\n", "a config is a mapping of keys; web.yaml holds a list"),
        (b"just words\n", "a config is a mapping of keys; web.yaml holds text"),
        (b"12\n", "a config is a mapping of keys; web.yaml holds a single value"),
        (b"a: " + b"x" * 10_000_000, "web.yaml is larger than 1 MB"),
    ],
)
def test_a_config_is_a_mapping(write: Callable[[bytes], Path], content: bytes, message: str) -> None:
    with pytest.raises(CurateError) as caught:
        read(write(content), "web.yaml")
    assert [p.message for p in caught.value.problems] == [message]
    assert caught.value.problems[0].code == "C101"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none.yaml", "there is no file"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "a\0b", "cannot be read"),
    ):
        with pytest.raises(CurateError, match=message):
            read(path)


PIECES = [
    "a",
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&x ",
    "*x",
    "'",
    '"',
    "|",
    ">",
    "#",
    "!",
    "%",
    "? ",
    "~",
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
        st.text(max_size=30),
        st.binary(max_size=30),
    )
)
def test_whatever_the_bytes_the_answer_is_data_or_c101(content: str | bytes) -> None:
    codes = {"C101"}
    try:
        source = parse(content, "web.yaml")
    except CurateError as fault:
        codes = {problem.code for problem in fault.problems}
    else:
        assert source.value(()).line >= 1
    assert codes == {"C101"}
