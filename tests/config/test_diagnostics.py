"""What a user sees of an error: the line, the carets, the help, whatever a hostile file holds."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import CurateError, Position, Problem
from curate.diagnostics import columns, printable, render, show, warn


def problem(text: str, column: int, length: int, line: int = 7) -> Problem:
    return Problem(
        "C103", "unknown key", "did you mean 'x'?", Position("web.yaml", line, column, length, text)
    )


def test_the_example_of_the_design(problems: Callable[[str], list[Problem]]) -> None:
    step = "  - use: filters.gopher_quality\n    as: quality\n\n    # few words\n    min_wrds: 3\n"
    config = f"input: {{path: a}}\nsteps:\n{step}"
    shown = render(problems(config))
    assert re.sub(r"\S+/web.yaml", "web.yaml", shown) == (
        "error[C103]: unknown key 'min_wrds' for filters.gopher_quality\n"
        "  --> web.yaml:7:5\n"
        "   |\n"
        " 7 |     min_wrds: 3\n"
        "   |     ^^^^^^^^\n"
        "   = help: did you mean 'min_words'?"
    )


def test_the_gutter_grows_with_the_line_number() -> None:
    assert render([problem("a: b", 1, 1, line=1234)]) == (
        "error[C103]: unknown key\n"
        "    --> web.yaml:1234:1\n"
        "     |\n"
        "1234 | a: b\n"
        "     | ^\n"
        "     = help: did you mean 'x'?"
    )


def test_a_fault_of_a_run_says_where_in_the_run() -> None:
    fault = Problem(
        "D401",
        "it is cut off",
        "fetch it again",
        None,
        {"row": 17, "file": "de/a.parquet", "phase": "pass-1", "x": 3},
    )
    assert render([fault]) == (
        "error[D401]: it is cut off\n"
        "  --> phase pass-1, file de/a.parquet, row 17, x 3\n"
        "   = help: fetch it again"
    )


def test_an_option_has_no_line_number() -> None:
    fault = Problem("C110", "no", "", Position("--set", 2, 7, 3, "steps.lid.x=1"))
    assert render([fault]) == "error[C110]: no\n  --> --set\n   |\n   | steps.lid.x=1\n   |       ^^^"


@pytest.mark.parametrize(
    ("text", "column", "length"),
    [
        ("文字文字: 値", 5, 1),
        ("cafe\u0301: x", 8, 1),
        ("\ta:\tb", 5, 1),
        ("a\x1b[31m: Z", 9, 1),
        ("\u202eabc: x", 7, 1),
        ("👍🏽: yes", 5, 3),
        ("می\u200cخواهم: x", 11, 1),
    ],
)
def test_carets_stand_under_what_they_mark(text: str, column: int, length: int) -> None:
    lines = render([problem(text, column, length)]).splitlines()
    line, carets = lines[3], lines[4]
    start = carets.index("^")
    marked = printable(text[column - 1 : column - 1 + length])
    assert columns(line[: line.index(marked, 4)]) == start
    assert carets.count("^") == columns(marked)


def test_long_lines_are_cut_around_the_carets() -> None:
    lines = render([problem("x" * 5000 + "HERE" + "y" * 5000, 5001, 4)]).splitlines()
    assert len(lines[3]) < 130
    start = lines[4].index("^")
    assert lines[3][start : start + 4] == "HERE"
    assert lines[3].count("…") == 2


@given(st.text(), st.text(), st.integers(1, 50), st.integers(1, 50))
def test_nothing_in_a_file_or_a_value_can_command_the_terminal(
    text: str, message: str, column: int, length: int
) -> None:
    shown = render(
        [Problem("C102", message, message, Position("a\x1b.yaml", 3, column, length, text), {"file": text})]
    )
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]", shown
    )


def test_show_writes_plain_text_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(CurateError([problem("a: b", 1, 1), problem("c: d", 1, 1)]))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err
    assert captured.err.count("error[C103]") == 2
    assert "\n\nerror" in captured.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_show_writes_colours_on_a_terminal_and_the_same_words() -> None:
    terminal, plain = Terminal(), io.StringIO()
    for stream in (terminal, plain):
        show(CurateError([problem("a: b", 1, 1)]), stream)
    assert "\x1b[31m" in terminal.getvalue()
    assert re.sub(r"\x1b\[\d*m", "", terminal.getvalue()) == plain.getvalue()


def test_warnings_are_called_warnings() -> None:
    stream = io.StringIO()
    warn([problem("a: b", 1, 1)], stream)
    warn([], stream)
    assert stream.getvalue().startswith("warning[C103]: unknown key\n")
    assert stream.getvalue().count("warning") == 1


def test_a_terminal_without_unicode_gets_escapes_not_a_traceback() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(CurateError([problem("é…: b", 1, 1)]), stream)
    assert b"\\xe9" in raw.getvalue()
