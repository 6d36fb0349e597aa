"""The linter: bounds at or beyond what a measurement can be, and rules that failed none or all of a language."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from commands.toy_filters import install
from curate import stages
from curate.commands.find_run import find_run
from curate.core.plan import Phase, Plan, StepPlan
from curate.planning.lint import ENOUGH, lint_counts, lint_plan, lint_report, named
from curate.thresholds.rules import Side
from curate.views.report_view import render

Step = Callable[..., Plan]

CONFIG = """\
name: {name}
language: lid__lang
input: {{path: in/*.parquet}}
steps:
  - {{use: toy_lid, as: lid}}
  - {{use: toy_measure, as: m{options}}}
execution: {{workers: 1}}
"""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def plan(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Step]:
    """A plan with the toy filter behind language identification, with these options."""
    monkeypatch.syspath_prepend(packages)
    stages._outside.cache_clear()

    def build(*, filters: bool = True, **options: Any) -> Plan:
        lid = StepPlan("lid", "toy_lid", {}, 1, "annotator", None, False, (), {"lid__lang": "string"}, "")
        step = StepPlan(
            "m", "toy_measure", options, 1, "annotator", None, filters, (), {"m__frac": "double"}, ""
        )
        phase = Phase("pass1", "pass", "", (lid, step))
        return Plan("made", "1", "lid__lang", "", (), (phase,), (), "models", None, True, {})

    yield build
    stages._outside.cache_clear()


def entry(**by_language: tuple[int, dict[str, int]]) -> list[dict[str, Any]]:
    """A report's entry of the toy filter: language → rows in, reasons."""
    return [
        {
            "step": "m",
            "by_language": {k: {"rows_in": n, "reasons": reasons} for k, (n, reasons) in by_language.items()},
        }
    ]


def test_good_bounds_are_not_warned_of(plan: Step) -> None:
    assert lint_plan(plan()) == []
    assert lint_plan(plan(languages={"deu_Latn": {"min_words": 3}})) == []


def test_a_rule_that_is_off_is_not_warned_of(plan: Step) -> None:
    assert lint_plan(plan(min_words=None, languages={"deu_Latn": {"max_words": None}})) == []


@pytest.mark.parametrize(
    ("side", "bound", "expected"),
    [
        ("minimum", -1, "never"), ("minimum", 0, "never"), ("minimum", 0.1, None), ("minimum", 1, None),
        ("minimum", 1.1, "always"), ("maximum", 1.7, "never"), ("maximum", 1, "never"), ("maximum", 0.9, None),
        ("maximum", 0, None), ("maximum", -1, "always"),
    ],
)  # fmt: skip
def test_a_bound_against_the_range_of_its_measurement(side: Any, bound: float, expected: str | None) -> None:
    assert Side("rule", "m__x", side, "x", 0, 1).idle(bound) == expected
    assert Side("rule", "m__x", side, "x").idle(bound) is None


def test_what_a_warning_says(plan: Step) -> None:
    [never] = lint_plan(plan(min_words=0))
    assert never.message == (
        "m: the rule short can never fire: min_words is 0, and m__length is always at least 0"
    )
    assert "`min_words: null`" in never.help
    frac, twin = lint_plan(plan(languages={"deu_Latn": {"max_symbol_word_ratio": 1.5}}))
    assert frac.message == (
        "m: the rule frac can never fire in deu_Latn: max_symbol_word_ratio is 1.5, and m__frac is always at most 1"
    )
    assert twin.side.reason == "twin"


def test_a_warning_that_languages_share_is_one_with_a_few_of_them(plan: Step) -> None:
    codes = ["deu_Latn", "fra_Latn", "ita_Latn", "swe_Latn", "nob_Latn", "pol_Latn"]
    bounds = dict(zip(codes, [0, 0, 0, 0, 0, 5], strict=True))
    [found] = lint_plan(plan(languages={code: {"min_words": bound} for code, bound in bounds.items()}))
    assert "in deu_Latn, fra_Latn, ita_Latn and 2 more languages: min_words is 0" in found.message
    assert len(found.languages) == 5
    [spread] = lint_plan(plan(languages={code: {"top_n_grams": {2: 1}} for code in codes}))
    assert spread.side.option == "top_n_grams.2"


def test_languages_that_only_have_what_the_step_has_are_not_listed(plan: Step) -> None:
    [found] = lint_plan(plan(min_words=0, languages={"deu_Latn": {"max_words": 50}}))
    assert found.languages == {}
    [some] = lint_plan(
        plan(min_words=0, languages={"deu_Latn": {"min_words": 5}, "fra_Latn": {"max_words": 9}})
    )
    assert set(some.languages) == {"default", "fra_Latn"}


def test_threshold_files_are_looked_at_too(plan: Step, tmp_path: Path) -> None:
    for code in ("deu_Latn", "fra_Latn"):
        (tmp_path / f"{code}.yaml").write_text("top_n_grams: [[2, 1]]\nmin_words: 4\n", encoding="utf-8")
    [found] = lint_plan(plan(thresholds=str(tmp_path)))
    assert set(found.languages) == {"deu_Latn", "fra_Latn"}
    assert "top_n_grams.2 is 1" in found.message


@pytest.mark.parametrize(
    ("rows", "failed", "kind"),
    [(ENOUGH, 0, "none"), (ENOUGH, ENOUGH, "all"), (ENOUGH, 1, None), (ENOUGH - 1, 0, None)],
)
def test_rules_that_failed_none_or_all(plan: Step, rows: int, failed: int, kind: str | None) -> None:
    others = {"long": 1, "frac": 1, "twin": 1, "top_2": 1, "top_3": 1}
    found = lint_counts(plan(), entry(deu_Latn=(rows, {"short": failed, **others})))
    assert [(f.kind, f.side.reason, dict(f.languages)) for f in found] == (
        [(kind, "short", {"deu_Latn": rows})] if kind else []
    )


def test_counts_of_a_step_with_a_condition_say_what_they_count(plan: Step) -> None:
    others = {"long": 1, "frac": 1, "twin": 1, "top_2": 1, "top_3": 1}
    whole = plan()
    some = dataclasses.replace(whole.steps[-1], when="source != 'wiki'")
    phase = dataclasses.replace(whole.phases[0], steps=(whole.steps[0], some))
    conditional = dataclasses.replace(whole, phases=(phase,))
    [found] = lint_counts(conditional, entry(deu_Latn=(ENOUGH, others)))
    assert found.message.endswith("documents in deu_Latn, those outside `when: source != 'wiki'` too")


def test_counts_say_nothing_of_what_is_off_idle_or_kept(plan: Step) -> None:
    off = dict.fromkeys(("max_words", "max_symbol_word_ratio"))
    silent = plan(min_words=0, top_n_grams={2: 1, 3: 1}, **off)
    assert lint_counts(silent, entry(deu_Latn=(5_000, {}))) == []
    assert lint_counts(plan(filters=False), entry(deu_Latn=(5_000, {}))) == []


def of(use: str, **options: Any) -> Plan:
    """A plan with this step behind language identification."""
    lid = StepPlan("lid", "lid.fasttext", {}, 1, "annotator", None, False, (), {"lid__lang": "string"}, "")
    step = StepPlan("m", use, options, 1, "annotator", None, True, (), {}, "")
    phase = Phase("pass1", "pass", "", (lid, step))
    return Plan("made", "1", "lid__lang", "", (), (phase,), (), "models", None, True, {})


@pytest.mark.parametrize(
    ("use", "reason", "options"),
    [
        ("filters.gopher_repetition", "empty", {}),
        ("filters.fineweb_quality", "empty", {}),
        ("filters.threshold", "null", {"column": "lid__prob", "minimum": 0.5}),
    ],
)
def test_a_rule_without_an_option_that_failed_nothing_is_not_warned_of(
    use: str, reason: str, options: dict[str, Any]
) -> None:
    plan = of(use, **options)
    none = lint_counts(plan, entry(deu_Latn=(5_000, {})))
    assert none
    assert reason not in {found.side.reason for found in none}
    assert all(found.side.option for found in none)
    [everything] = [
        found for found in lint_counts(plan, entry(deu_Latn=(5_000, {reason: 5_000}))) if found.kind == "all"
    ]
    assert everything.side.reason == reason
    assert everything.help == "correct the step m or leave it out: nothing passes it"


def test_an_option_that_takes_no_null_is_off_at_its_bound() -> None:
    dump = {"deu_Latn": {"rate": 0.1}}
    assert lint_plan(of("filters.sample", rate=1, languages=dump)) == []
    assert lint_plan(of("filters.sample", rate=0.5, languages={"deu_Latn": {"rate": 1}})) == []
    [never] = lint_plan(of("filters.fineweb_quality", short_line_thr=1.0))
    assert never.help.startswith("`short_line_thr: null`")


def test_languages_with_most_documents_come_first(plan: Step) -> None:
    rest = {"short": 1, "frac": 1, "twin": 1, "top_2": 1, "top_3": 1}
    [found] = lint_counts(plan(), entry(deu_Latn=(2_000, rest), fra_Latn=(9_000, rest)))
    assert found.message == "m: the rule long failed none of the 11,000 documents in fra_Latn and deu_Latn"


def test_a_report_comes_out_where_a_step_is_gone(plan: Step) -> None:
    for options in ({"thresholds": "gone"}, {"an_option_of_old": 3}):
        [warning] = lint_report(plan(**options), entry())
        assert warning["kind"] == "unknown"
        assert "could not be looked at" in warning["message"]


def test_a_rule_is_the_same_rule_where_its_range_differs() -> None:
    assert Side("rule", "m__x", "minimum", "x", 0, 8) == Side("rule", "m__x", "minimum", "x", 0, 15)


def test_names_of_languages() -> None:
    assert named(["a"]) == "a"
    assert named("abc") == "a, b and c"
    assert named("abcd") == "a, b, c and 1 more language"


def test_check_and_report_show_them(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    size = ENOUGH + 10
    columns = {"text": "x", "language": "deu_Latn", "prob": 0.9, "length": 500, "frac": 0.1, "twin": 0.1}
    pl.DataFrame({k: [v] * size for k, v in columns.items()}).write_parquet(tmp_path / "in" / "a.parquet")
    (tmp_path / "c.yaml").write_text(CONFIG.format(name="c", options=", min_words: 0"), encoding="utf-8")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(packages)}
        command = [sys.executable, "-m", "curate", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )

    checked = call("check", "c.yaml")
    assert "c.yaml: good" in checked.stdout
    assert "warning: m: the rule short can never fire" in checked.stderr
    assert "= help: `min_words: null`" in checked.stderr
    shown = call("run", "c.yaml").stdout
    assert "to look at" in shown
    assert f"the rule long failed all of the {size:,} documents in deu_Latn" in shown
    assert "1 more with --all" in shown
    report = json.loads(call("report", "c", "--json").stdout)
    assert [w["kind"] for w in report["warnings"]] == ["never", "all", "none", "none", "none", "none"]
    assert report["warnings"][1]["languages"] == {"deu_Latn": size}
    monkeypatch.chdir(tmp_path)
    assert find_run("c").name == "c"
    console = Console(width=50, color_system=None)
    with console.capture() as capture:
        render(report, console, run="c", everything=True)
    assert "top_3" in capture.get()
    assert all(len(line) <= 50 for line in capture.get().splitlines())
