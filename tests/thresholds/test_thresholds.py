"""`curate thresholds`: every figure against numpy and polars on inputs whose measurements are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from curate.running.steps import build_step
from curate.thresholds.derive import Request, derive
from curate.views.documents import Documents
from curate.views.report import build_report
from curate.views.run_state import read_run
from tests.commands.run_folders import split_run
from tests.thresholds.measured_runs import CONFIG, RULES, Invoke, corpus, fails, in_place, reached, rules_of


def test_what_is_dropped_now_is_what_the_report_says(table: Callable[..., Any], place: Path) -> None:
    shown = table("main")
    [step] = [s for s in build_report(place / "runs" / "main")["steps"] if s["step"] == "m"]
    for language, numbers in step["by_language"].items():
        found = {rule: entry["fail_now"] for rule, entry in rules_of(shown, language).items()}
        assert {rule: count for rule, count in found.items() if count} == numbers["reasons"]
        [entry] = [f for f in shown["languages"][language]["filters"] if f["step"] == "m"]
        assert entry["fail_now"] == numbers["rows_dropped"]
    assert shown["languages"]["und"]["documents"] == 3
    assert shown["shards"] == {"done": 2, "total": 2}


@pytest.mark.parametrize("language", ["deu_Latn", "fra_Latn"])
def test_quantile_drops_the_share_that_is_dropped_in_english(
    table: Callable[..., Any], language: str
) -> None:
    english, here = reached(0, "eng_Latn"), reached(0, language)
    for name, rule in rules_of(table("main"), language).items():
        column, side, bound = RULES[name]
        known = here[column].drop_nulls()
        share = fails(english, column, side, bound) / english[column].drop_nulls().len()
        assert rule["measured"] == known.len()
        assert rule["fail_derived"] == fails(here, column, side, rule["derived"])
        if not rule["note"]:
            ties = known.value_counts()["count"].max()  # many documents have one length
            assert share * known.len() - 1 - ties <= rule["fail_derived"] <= share * known.len()
            below = share if side == "minimum" else 1 - share
            assert rule["derived"] == pytest.approx(np.quantile(known.to_numpy(), below), rel=0.05, abs=1)


@pytest.mark.parametrize("language", ["deu_Latn", "fra_Latn"])
def test_meanstd_keeps_the_distance_from_the_mean(table: Callable[..., Any], language: str) -> None:
    english, here = reached(0, "eng_Latn"), reached(0, language)
    for name, rule in rules_of(table("main", "--method", "meanstd"), language).items():
        column, side, bound = RULES[name]
        there, known = english[column].drop_nulls().to_numpy(), here[column].drop_nulls().to_numpy()
        wanted = known.mean() + (bound - there.mean()) / there.std() * known.std()
        if not rule["note"]:
            assert rule["derived"] == pytest.approx(wanted, rel=1e-3, abs=1 if column == "length" else 0)
            assert rule["derived"] <= wanted if side == "minimum" else rule["derived"] >= wanted
        assert rule["fail_derived"] == fails(here, column, side, rule["derived"])


@pytest.mark.parametrize("tail", [0.1, 0.25])
def test_tail10_drops_that_share_of_the_language_itself(table: Callable[..., Any], tail: float) -> None:
    shown = table("main", "--method", "tail10", "--tail", str(tail))
    for language in ("eng_Latn", "deu_Latn", "fra_Latn"):
        here = reached(0, language)
        for name, rule in rules_of(shown, language).items():
            column, side, _ = RULES[name]
            assert rule["fail_derived"] == fails(here, column, side, rule["derived"])
            if not rule["note"]:
                slack = 0.02 if column == "length" else 0.003  # many documents have one length
                assert tail - slack <= rule["fail_derived"] / rule["measured"] <= tail


def test_a_reference_run_gives_the_shares_or_the_bounds(table: Callable[..., Any]) -> None:
    by_share = rules_of(table("main", "--reference", "wiki"), "deu_Latn")["top_2"]
    english, here = reached(1, "eng_Latn"), reached(0, "deu_Latn")
    share = fails(english, "frac", "maximum", 0.5) / english["frac"].drop_nulls().len()
    assert by_share["fail_derived"] == pytest.approx(share * here["frac"].drop_nulls().len(), abs=2)

    shown = table("main", "--reference", "wiki", "--method", "tail10")
    clean = reached(1, "deu_Latn")["frac"].drop_nulls().to_numpy()
    rule = rules_of(shown, "deu_Latn")["top_2"]
    assert rule["derived"] == pytest.approx(np.quantile(clean, 0.9), rel=0.05)
    assert rule["fail_derived"] == fails(here, "frac", "maximum", rule["derived"])
    assert shown["reference"]["run"] == "wiki"


def test_the_language_score_is_the_median_less_a_deviation_within_limits(table: Callable[..., Any]) -> None:
    shown = table("main")
    for language in ("eng_Latn", "deu_Latn", "fra_Latn"):
        every = corpus(0).filter(pl.int_range(pl.len()) > 2, language=language)["prob"].to_numpy()
        rule = rules_of(shown, language, "lid")["language_score"]
        wanted = max(0.3, min(0.9, float(np.median(every) - every.std())))
        assert rule["derived"] == pytest.approx(wanted, rel=1e-3)
        assert rule["now"] == 0.5
        assert rule["fail_now"] == int((every < 0.5).sum())
        assert rule["fail_derived"] == int((every < rule["derived"]).sum())


def test_a_filter_on_the_language_score_is_known_by_its_key(
    table: Callable[..., Any], curate: Invoke, place: Path, tmp_path: Path
) -> None:
    options = "column: lid__prob, minimum: 0.5, key: language_score"
    config = CONFIG.format(name="main").replace(
        "{select: lid__prob >= 0.5 and text is not null}",
        f"{{use: filters.threshold, as: score, {options}}}",
    )
    (tmp_path / "score.yaml").write_text(config, encoding="utf-8")
    in_place(place, "run", str(tmp_path / "score.yaml"), "--run-dir", str(tmp_path / "score"))
    shown = table(str(tmp_path / "score"))
    assert [f["step"] for f in shown["languages"]["deu_Latn"]["filters"]] == ["score", "m"]
    rule = rules_of(shown, "deu_Latn", "score")["below"]
    there = rules_of(table("main"), "deu_Latn", "lid")["language_score"]
    assert {k: rule[k] for k in ("now", "derived", "fail_now", "fail_derived")} == {
        k: there[k] for k in ("now", "derived", "fail_now", "fail_derived")
    }
    assert shown["values"] == table("main")["values"]
    curate(str(tmp_path / "score"), "--output", str(tmp_path / "th"))
    again = {"column": "lid__prob", "key": "language_score", "thresholds": str(tmp_path / "th")}
    step: Any = build_step("filters.threshold", again)
    assert step.by_language["deu_Latn"].minimum == rule["derived"]
    only = table(str(tmp_path / "score"), "--options", "language_score")
    assert set(only["values"]["deu_Latn"]) == {"language_score"}


def test_both_bounds_of_a_column_are_one_key(table: Callable[..., Any], place: Path, tmp_path: Path) -> None:
    config = CONFIG.format(name="main").replace(
        "{use: toy_measure, as: m,",
        "{use: filters.threshold, as: edu, column: frac, minimum: 0.02, maximum: 0.5, key: edu__score,",
    )
    (tmp_path / "edu.yaml").write_text(config, encoding="utf-8")
    in_place(place, "run", str(tmp_path / "edu.yaml"), "--run-dir", str(tmp_path / "edu"))
    shown = table(str(tmp_path / "edu"), "--method", "tail10")
    rules = rules_of(shown, "deu_Latn", "edu")
    bounds = {"maximum": rules["above"]["derived"], "minimum": rules["below"]["derived"]}
    assert shown["values"]["deu_Latn"]["edu__score"] == bounds
    frac = reached(0, "deu_Latn")["frac"]
    assert rules["null"]["fail_now"] == frac.null_count()
    assert bounds["minimum"] == pytest.approx(np.quantile(frac.drop_nulls().to_numpy(), 0.1), rel=0.05)
    only = table(str(tmp_path / "edu"), "--options", "edu__score")["values"]["fra_Latn"]
    assert set(only) == {"edu__score"}


def test_rules_that_share_an_option_get_the_laxer_bound(table: Callable[..., Any]) -> None:
    shown = table("main", "--method", "tail10")
    rules = rules_of(shown, "deu_Latn")
    assert rules["frac"]["derived"] == rules["twin"]["derived"]
    assert "laxest" in rules["frac"]["note"]
    assert max(rules[n]["fail_derived"] / rules[n]["measured"] for n in ("frac", "twin")) <= 0.1


def test_languages_that_are_left_out_are_named_with_the_reason(
    curate: Invoke, table: Callable[..., Any]
) -> None:
    shown = table("main")
    count = corpus(0).filter(language="ita_Latn").height
    assert shown["left_out"]["ita_Latn"] == f"{count} documents, fewer than 100"
    assert "no language" in shown["left_out"]["und"]
    assert set(shown["values"]) == {"eng_Latn", "deu_Latn", "fra_Latn"}
    assert rules_of(shown, "ita_Latn")["short"]["derived"] is None
    assert (
        f"ita_Latn: {count} documents; nothing derived: {count} documents, fewer than 100"
        in curate("main").output
    )
    assert "ita_Latn" in table("main", "--min-docs", "2")["values"]


def test_the_reference_keeps_its_bounds_and_what_it_cannot_tell_is_kept(table: Callable[..., Any]) -> None:
    shown = table("main")
    assert set(shown["values"]["eng_Latn"]) == {"language_score"}
    assert {r["note"] for r in rules_of(shown, "eng_Latn").values()} == {"kept: it is the reference"}
    few = table("main", "--reference-language", "ita_Latn")
    assert "of ita_Latn: no rule can be derived" in few["notes"][0]
    assert all(set(values) == {"language_score"} for values in few["values"].values())


@pytest.mark.usefixtures("curate")
def test_what_the_step_says_for_a_language_is_shown_as_what_will_hold(place: Path) -> None:
    """Files would not change it: the bound is kept, not written, and what it drops is what it will drop."""
    documents = Documents(read_run(place / "runs" / "main"))
    own = {"deu_Latn": {"min_words": 25, "top_n_grams": {"3": 0.3}}}  # as JSON has it
    [phase] = [p for p in documents.plan.phases if any(s.name == "m" for s in p.steps)]
    for step in phase.steps:
        if step.name == "m":
            step.options["languages"] = own  # as if the config had said so
    shown = derive(documents, Request(method="tail10"))
    german = rules_of(shown, "deu_Latn")
    short = german["short"]
    frame = reached(0, "deu_Latn")
    assert (short["now"], short["derived"], short["set_by_step"]) == (25, None, True)
    assert short["fail_now"] == fails(frame, "length", "minimum", 25)
    assert "`languages:` of the step sets it" in short["note"]
    assert german["top_3"]["set_by_step"]
    assert german["top_3"]["derived"] is None
    assert not german["top_2"]["set_by_step"]
    assert german["top_2"]["derived"] is not None
    assert "min_words" not in shown["values"]["deu_Latn"]
    assert [n for n, _ in shown["values"]["deu_Latn"]["top_n_grams"]] == [2]
    assert "min_words" in shown["values"]["fra_Latn"]
    assert not rules_of(shown, "fra_Latn")["short"]["set_by_step"]


def test_only_what_is_asked_for(table: Callable[..., Any]) -> None:
    shown = table("main", "--languages", "deu_Latn", "--options", "min_words,top_n_grams")
    assert set(shown["languages"]) == {"deu_Latn"}
    assert set(shown["values"]["deu_Latn"]) == {"min_words", "top_n_grams"}
    assert rules_of(shown, "deu_Latn")["long"]["derived"] is None


def test_a_run_without_languages_has_one_table_for_all(table: Callable[..., Any]) -> None:
    shown = table("plain", "--method", "tail10")
    assert set(shown["values"]) == {"default"}
    assert rules_of(shown, "default")["short"]["measured"] == corpus(0).height


def test_an_unfinished_run_counts_as_far_as_it_is(
    table: Callable[..., Any], place: Path, tmp_path: Path
) -> None:
    """The filter in a pass of its own, which has seen one shard of two; languages come from the pass before."""
    half = split_run(place / "runs" / "main", tmp_path / "half", second=[0])
    shown = table(str(half))
    assert (shown["state"], shown["shards"]) == ("pending", {"done": 1, "total": 2})
    assert "the run is pending" in shown["notes"][0]
    seen = corpus(0)[:700].filter(pl.col("prob") >= 0.5, pl.col("source") != "exempt", language="deu_Latn")
    assert rules_of(shown, "deu_Latn")["short"]["measured"] == seen.height
    whole = split_run(place / "runs" / "main", tmp_path / "whole")
    assert table(str(whole))["languages"] == table("main")["languages"]


def test_languages_of_a_narrow_terminal(curate: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    console = Console(width=50, color_system=None)
    monkeypatch.setattr("curate.views.report_view.make_console", lambda: console)
    with console.capture() as capture:
        curate("main")
    lines = capture.get().splitlines()
    assert all(len(line) <= 50 for line in lines)
    assert any("language_score" in line for line in lines)


def test_overlays_are_read_as_they_are(place: Path) -> None:
    """The oracles above rest on this: the toy's measurements are the input's columns."""
    [first, _] = sorted((place / "runs" / "main" / "overlays" / "pass1").iterdir())
    assert {"m__frac", "m__length", "m__twin", "lid__prob"} <= set(pq.read_schema(first).names)
