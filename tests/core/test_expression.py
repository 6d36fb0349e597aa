"""The language of `select:`, `when:` and `where:`: what it computes, what it refuses, and where it points."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.expression import ExpressionError, parse

NAN = math.nan
ROWS = pa.record_batch(
    {
        "prob": pa.array([0.5, None, NAN, 1.0]),
        "n": pa.array([1, 2, None, -7], pa.int32()),
        "text": pa.array(["a", "bb", None, "ä€"]),
        "flag": pa.array([True, False, None, True]),
        "reasons": pa.array([["x"], [], None, ["a", "b"]]),
        "lid__lang": pa.array(["deu_Latn", "eng_Latn", None, "und"]),
        "hash": pa.array([2**64 - 1, 0, None, 2**53], pa.uint64()),
        "doc": pa.array([2**53 + 1, 2**53, None, 0], pa.int64()),
        "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
        "none": pa.nulls(4),
        "seen": pa.array([0, 1, None, 86400], pa.timestamp("s")),
        "big": pa.array(["a", "b", None, "c"], pa.large_string()),
        "odd name": pa.array([1, 2, 3, None], pa.int8()),
        "half": pa.array([0.5, 1.5, None, 2.5], pa.float16()),
        "money": pa.array([1, 2, None, 3], pa.decimal128(5, 2)),
    }
)
T, F, N = True, False, None


def value(text: str, rows: pa.RecordBatch = ROWS) -> list[bool | None]:
    condition = parse(text)
    assert condition.check(rows.schema) == []
    found = condition.evaluate(rows)
    assert isinstance(found, pa.BooleanArray)
    return found.to_pylist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prob >= 0.5", [T, N, F, T]),
        ("prob = 1", [F, N, F, T]),
        ("prob == 1", [F, N, F, T]),
        ("prob != 1", [T, N, F, F]),
        ("prob <> 1", [T, N, F, F]),
        ("not prob > 0.5", [T, N, T, F]),
        ("prob in (0.5, 1)", [T, N, F, T]),
        ("prob not in (0.5)", [F, N, F, T]),
        ("prob between 0.5 and 0.9", [T, N, F, F]),
        ("prob not between 0.5 and 0.9", [F, N, F, T]),
        ("prob is null", [F, T, F, F]),
        ("prob is not null", [T, F, T, T]),
        ("n = 2 or prob > 0.9", [F, T, N, T]),
        ("n = 1 and prob > 0.9", [F, F, F, F]),
        ("flag", [T, F, N, T]),
        ("not flag", [F, T, N, F]),
        ("flag = false", [F, T, N, F]),
        ("flag != true", [F, T, N, F]),
        ("n + 1 between 2 and 3", [T, T, N, F]),
        ("n * 2 - 1 = 1", [T, F, N, F]),
        ("n / 2 = 0.5", [T, F, N, F]),
        ("n / 0 > 0 or n > 0", [T, T, N, N]),
        ("n / 0 is null", [T, T, T, T]),
        ("prob / 0.0 is null", [T, T, T, T]),
        ("n % 0 is null", [T, T, T, T]),
        ("n % 3 = 2", [F, T, N, T]),
        ("n % -3 = -1", [F, T, N, T]),
        ("prob % 0.3 < 0.21", [T, N, F, T]),
        ("-n > 5", [F, F, N, T]),
        ("abs(n) > 5", [F, F, N, T]),
        ("abs(prob) = 1", [F, N, F, T]),
        ("1 + 2 * 3 = 7 and (1 + 2) * 3 = 9 and 7 - 2 - 1 = 4", [T, T, T, T]),
        ("n * 9223372036854775807 is null", [F, T, T, T]),
        ("9223372036854775806 + n is null", [F, T, T, F]),
        ("-9223372036854775807 - n is null", [F, T, T, F]),
        ("-9223372036854775808 % -1 = 0", [T, T, T, T]),
        ("abs(-9223372036854775808) is null", [T, T, T, T]),
        ("text in ('a', \"bb\")", [T, T, N, F]),
        ("text not in ['a']", [F, T, N, T]),
        ("text = 'a' or text is null", [T, F, T, F]),
        ("text < 'b'", [T, F, N, F]),
        ("len(text) = 2", [F, T, N, T]),
        ("len(reasons) = 0", [F, T, N, F]),
        ("lower('BB') = text", [F, T, N, F]),
        ("starts_with(text, 'ä')", [F, F, N, T]),
        ("ends_with(text, 'b')", [F, T, N, F]),
        ("contains(text, '.')", [F, F, N, F]),
        ("matches(text, '^.$')", [T, F, N, F]),
        ("matches(text, '\\w{2}')", [F, T, N, F]),
        ("contains(text, '''')", [F, F, N, F]),
        ("hash > 9000000000000000000", [T, F, N, F]),
        ("hash = 9007199254740992", [F, F, N, T]),
        ("hash > doc", [T, F, N, T]),
        ("hash + 1 > 1", [T, F, N, T]),
        ("doc = 9007199254740993", [T, F, N, F]),
        ("doc = 9007199254740992", [F, T, N, F]),
        ("kind = 'a'", [T, F, T, N]),
        ("kind in ('b')", [F, T, F, N]),
        ("none = 'a'", [N, N, N, N]),
        ("none > 1 or flag", [T, N, N, T]),
        ("none and flag", [N, F, N, N]),
        ("len(none) > 1", [N, N, N, N]),
        ("contains(none, 'a')", [N, N, N, N]),
        ("none + 1 = 1", [N, N, N, N]),
        ("none in (1, 2)", [N, N, N, N]),
        ("seen >= '1970-01-01 00:00:01'", [F, T, N, T]),
        ("seen = '1970-01-02'", [F, F, N, T]),
        ("big in ('a', 'c')", [T, F, N, T]),
        ("big = kind", [T, T, N, N]),
        ("`odd name` > 1", [F, T, T, N]),
        ("half > 1", [F, T, N, T]),
        ("money >= 2", [F, T, N, T]),
        ("prob > 0.4 AND NOT (n = 1 Or n = 2)", [F, F, F, T]),
        ("true", [T, T, T, T]),
        ("null", [N, N, N, N]),
        ("1 in (1, 2)", [T, T, T, T]),
        ("(flag = true) is null", [F, F, T, F]),
    ],
)
def test_values(text: str, expected: list[bool | None]) -> None:
    assert value(text) == expected
    assert value(parse(text).text) == expected
    assert value(text, ROWS.slice(1, 2)) == expected[1:3]
    assert value(text, ROWS.slice(0, 0)) == []


def test_columns_are_those_it_names() -> None:
    assert parse("a__x > 1 and (b in (1) or len(`c d`) = b) or true").columns == {"a__x", "b", "c d"}


def test_conditions_that_say_the_same_are_equal() -> None:
    left, right = parse("( a>1 )AND b  in ['x']"), parse('a > 1 and b in ("x")')
    assert left == right
    assert hash(left) == hash(right)
    assert left.text == "a > 1 and b in ('x')"
    assert parse("a > 1") != parse("a > 2")


@pytest.mark.parametrize(
    ("text", "marked", "message", "help"),
    [
        ("", "", "the expression is empty", "write a condition, such as lid__prob >= 0.65"),
        (
            "a >",
            ">",
            "the expression ends too early: expected a column, a number or a quoted text",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        (
            "(a",
            "a",
            "the expression ends too early: expected ')' for the '(' at character 1",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        (
            "a b",
            "b",
            "unexpected 'b': expected an operator, such as `and`",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        ("a = 'x", "'x", "the text that begins here has no closing quote", "end it with '"),
        ("a && b", "&", "'&' has no meaning here", "write `and`"),
        ("a | b", "|", "'|' has no meaning here", "write `or`"),
        ("!a", "!", "'!' has no meaning here", "write `not`"),
        ("a = 3x", "3x", "'3x' is neither a number nor a name", "put text in quotes"),
        ("a = null", "null", "nothing equals null, not even null", "write `is null`"),
        ("null != a", "null", "nothing equals null, not even null", "write `is not null`"),
        ("a in (1, null)", "null", "null in a list matches nothing", "write `or … is null`"),
        ("a in ()", "()", "the list after `in` is empty", "put values between the brackets"),
        (
            "a in (b)",
            "b",
            "unexpected 'b': a list after `in` holds numbers and quoted texts",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        (
            "a in 3",
            "3",
            "unexpected '3': expected a list in parentheses after `in`",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        (
            "1 < a < 2",
            "<",
            "comparisons cannot be chained",
            "join them with `and`, or write `between … and …`",
        ),
        (
            "a is 3",
            "3",
            "unexpected '3': expected `null` or `not null` after `is`",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        (
            "a between 1",
            "1",
            "the expression ends too early: expected `and` between the two ends of `between`",
            "write it like lid__prob >= 0.65 and source = 'wiki'",
        ),
        ("lenn(a) > 1", "lenn", "there is no function 'lenn'", "did you mean 'len'?"),
        ("len(a, b) > 1", "len(a, b)", "len takes 1 argument(s)", "write len(column)"),
        ("contains(a, b)", "b", "this must be a quoted text", "write contains(column, 'text')"),
        (
            "a = 9223372036854775808",
            "9223372036854775808",
            "the number is too large for 64 bits",
            "write it as a float, such as 1e30",
        ),
        ("a = 1e999", "1e999", "the number is too large for 64 bits", "write it as a float, such as 1e30"),
    ],
)
def test_what_is_no_expression(text: str, marked: str, message: str, help: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    problem = caught.value.problem
    assert (problem.code, problem.message, problem.help) == ("C106", message, help)
    assert text[problem.offset : problem.offset + problem.length] == marked
    place = caught.value.problems[0].position
    if text:
        assert place is not None
        assert (place.line, place.column, place.text) == (1, problem.offset + 1, text)


def test_a_pattern_that_is_none_is_told_before_any_row_is_read() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("matches(text, '(a')")
    assert caught.value.problem.message.startswith("not a regular expression: missing )")
    assert caught.value.problem.offset == 14


@pytest.mark.parametrize(
    ("text", "code", "marked", "message", "help"),
    [
        ("porb > 1", "C201", "porb", "there is no column 'porb' here", "did you mean 'prob'?"),
        (
            "edu__score > 3",
            "C201",
            "edu__score",
            "there is no column 'edu__score' here",
            "the step 'edu' below writes it; move this step behind it",
        ),
        (
            "prob > '0.5'",
            "C206",
            "prob > '0.5'",
            "column prob (double) cannot be compared with '0.5' (text)",
            "write 0.5 without quotes",
        ),
        (
            "text = 5",
            "C206",
            "text = 5",
            "column text (string) cannot be compared with 5 (a number)",
            "put it in quotes: '5'",
        ),
        (
            "n",
            "C206",
            "n",
            "column n (int32) stands where true or false is needed",
            "compare it, such as n > 0",
        ),
        ("text and flag", "C206", "text", "column text (string) stands where true or false is needed", None),
        (
            "n + text > 1",
            "C206",
            "text",
            "`+` takes numbers, and column text (string) is none",
            "give it a a number, or a column of that type",
        ),
        (
            "-text = 1",
            "C206",
            "text",
            "`-` takes a number, and column text (string) is none",
            "give it a a number, or a column of that type",
        ),
        (
            "lower(n) = 'a'",
            "C206",
            "n",
            "lower takes text, and column n (int32) is none",
            "give it a text, or a column of that type",
        ),
        (
            "len(n) = 1",
            "C206",
            "n",
            "len takes text or a list, and column n (int32) is neither",
            "compare the value itself",
        ),
        (
            "reasons = reasons",
            "C206",
            "reasons = reasons",
            "column reasons (list<item: string>) cannot be compared",
            "use `len(…)` or `is null`",
        ),
        ("flag < true", "C206", "flag < true", "`<` cannot compare true and false", "use `=` or `!=`"),
        ("seen > 'yesterday'", "C206", "seen > 'yesterday'", None, "compare values of one type"),
        (
            "n in (1, 'a')",
            "C206",
            "n in (1, 'a')",
            "column n (int32) cannot be compared with 'a' (text)",
            "compare it with a number",
        ),
        ("lid__lang = 'de'", "C107", "'de'", "there is no language 'de'", "did you mean 'deu_Latn'?"),
        ("lid__lang in ('eng_Latn', 'German')", "C107", "'German'", None, "did you mean 'deu_Latn'?"),
        ("'zh' != lid__lang", "C107", "'zh'", None, "did you mean 'cmn_Hani'?"),
        (
            "lid__lang = 'qqqqqq'",
            "C107",
            "'qqqqqq'",
            None,
            "languages are written like deu_Latn (ISO 639-3 and script)",
        ),
    ],
)
def test_what_does_not_fit_the_columns(
    text: str, code: str, marked: str, message: str | None, help: str | None
) -> None:
    (problem,) = parse(text).check(ROWS.schema, "lid__lang", {"edu__score": "edu"})
    assert problem.code == code
    assert text[problem.offset : problem.offset + problem.length] == marked
    assert message is None or problem.message == message
    assert help is None or problem.help == help


def test_languages_are_checked_only_in_the_column_that_holds_them() -> None:
    assert parse("lid__lang in ('deu_Latn', 'und') and text = 'de'").check(ROWS.schema, "lid__lang") == []
    assert parse("lid__lang = 'de'").check(ROWS.schema) == []


def test_every_problem_is_told_in_the_order_of_the_text() -> None:
    found = parse("x > 1 and n = 'a' and lid__lang = 'de'").check(ROWS.schema, "lid__lang")
    assert [p.code for p in found] == ["C201", "C206", "C107"]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 90_000,
        "not " * 20_000 + "a",
        "-" * 5_000 + "1 > 0",
        "1" + "+1" * 40_000 + " > 0",
        "len(" * 20_000,
        "a" * 1_000_000,
        "(1 + " * 20_000 + "1" + ")" * 20_000,
        "a = (" * 10_000,
        "a in (1) = " * 5_000,
        "a or (b and " * 8_000,
    ],
)
def test_hostile_expressions_are_errors_like_any_other(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.problem.code == "C106"


def test_long_but_flat_is_fine() -> None:
    names = ", ".join(f"'{i}'" for i in range(9_000))
    assert value(f"text in ({names}, 'a')") == [T, F, N, F]
    assert value(" or ".join(["text = 'a'"] * 3_000)) == [T, F, N, F]


#: The same language as a tree of Python values, computed row by row: the oracle.
NUMBERS = st.recursive(
    st.one_of(
        st.integers(-5, 5).map(lambda i: (str(i) if i >= 0 else f"({i})", lambda row, i=i: float(i))),
        st.sampled_from(["a", "b"]).map(lambda c: (c, lambda row, c=c: row[c])),
    ),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda p: _arithmetic(*p)),
    max_leaves=4,
)


def _arithmetic(left: Any, operator: str, right: Any) -> Any:
    def compute(row: dict[str, Any]) -> float | None:
        x, y = left[1](row), right[1](row)
        if x is None or y is None or (operator in "/%" and y == 0):
            return None
        return {
            "+": lambda: x + y,
            "-": lambda: x - y,
            "*": lambda: x * y,
            "/": lambda: x / y,
            "%": lambda: x % y,
        }[operator]()

    return f"({left[0]} {operator} {right[0]})", compute


def _comparison(left: Any, operator: str, right: Any) -> Any:
    def compute(row: dict[str, Any]) -> bool | None:
        x, y = left[1](row), right[1](row)
        if x is None or y is None:
            return None
        return {"=": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator]

    return f"{left[0]} {operator} {right[0]}", compute


def _junction(left: Any, operator: str, right: Any) -> Any:
    decisive = operator == "or"

    def compute(row: dict[str, Any]) -> bool | None:
        sides = (left[1](row), right[1](row))
        if decisive in sides:
            return decisive
        return None if None in sides else not decisive

    return f"({left[0]}) {operator} ({right[0]})", compute


def _negation(part: Any) -> Any:
    def compute(row: dict[str, Any]) -> bool | None:
        found = part[1](row)
        return None if found is None else not found

    return f"not ({part[0]})", compute


CONDITIONS = st.recursive(
    st.tuples(NUMBERS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), NUMBERS).map(
        lambda p: _comparison(*p)
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: _junction(*p)),
        inner.map(_negation),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(
    CONDITIONS,
    st.lists(st.tuples(st.none() | st.integers(-3, 3), st.none() | st.integers(-3, 3)), max_size=6),
)
def test_it_computes_what_python_computes_row_by_row(
    condition: Any, rows: list[tuple[int | None, int | None]]
) -> None:
    text, oracle = condition
    record = pa.record_batch(
        {"a": pa.array([r[0] for r in rows], pa.int64()), "b": pa.array([r[1] for r in rows], pa.float64())}
    )
    expected = [oracle({"a": a, "b": b}) for a, b in rows]
    assert value(text, record) == expected
    assert value(parse(text).text, record) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab1.'\"()[], =<>!+-*/%`~é\n\0andornotinisull", max_size=30))
def test_whatever_the_text_the_answer_is_a_condition_or_c106(text: str) -> None:
    try:
        condition = parse(text)
    except ExpressionError as fault:
        problem = fault.problem
        assert problem.code == "C106"
        assert 0 <= problem.offset <= len(text)
    else:
        assert parse(condition.text).text == condition.text


def test_dates_compare_with_dates() -> None:
    rows = pa.record_batch({"day": pa.array([datetime.date(2024, 1, 1), None])})
    assert value("day < '2024-02-01'", rows) == [T, N]
