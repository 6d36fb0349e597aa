"""`curate thresholds`: every figure against numpy and polars on inputs whose measurements are known, what is written, and
what it refuses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from commands.run_folders import split_run
from commands.toy_filters import install
from curate import stages
from curate.cli import cli
from curate.core.errors import CurateError
from curate.running.steps import build_step
from curate.thresholds.derive import Request, derive, rounded
from curate.thresholds.distribution import DISTINCT, Distribution
from curate.thresholds.files import MARK
from curate.thresholds.rules import Side
from curate.views.documents import Documents
from curate.views.report import build_report
from curate.views.run_state import read_run
from filters.thresholds import check_keys, read_thresholds

Invoke = Callable[..., Result]

CONFIG = """\
name: {name}
language: lid__lang
input: {{path: {name}/*.parquet}}
steps:
  - {{use: toy_lid, as: lid}}
  - {{select: lid__prob >= 0.5 and text is not null}}
  - {{use: toy_measure, as: m, when: source != 'exempt'}}
execution: {{workers: 1}}
"""
#: A run without language identification.
PLAIN = """\
name: plain
input: {path: main/*.parquet}
steps: [{use: toy_measure, as: m}]
execution: {workers: 1}
"""

#: Column, side and bound of each rule in English, as the toy has them.
RULES: dict[str, tuple[str, str, float]] = {
    "short": ("length", "minimum", 10),
    "long": ("length", "maximum", 90),
    "frac": ("frac", "maximum", 0.4),
    "twin": ("twin", "maximum", 0.4),
    "top_2": ("frac", "maximum", 0.5),
    "top_3": ("twin", "maximum", 0.4),
}


def corpus(seed: int, size: int = 1_500) -> pl.DataFrame:
    """Documents in four languages of which each is a little different; some measurements are null or nan."""
    random = np.random.default_rng(seed)
    names = ["eng_Latn", "deu_Latn", "fra_Latn", "ita_Latn"]
    which = random.choice(4, size, p=[0.4, 0.3, 0.28, 0.02])
    frac = random.beta(1.0 + which, 5, size)
    frac[random.random(size) < 0.05] = np.nan
    frame = pl.DataFrame(
        {
            "text": "some text",
            "language": [names[w] for w in which],
            "prob": np.clip(random.normal(0.8 - 0.1 * which, 0.15, size), 0, 1),
            "length": random.integers(0, 100 + 20 * which, size),
            "frac": frac,
            "twin": random.beta(2, 5, size),
            "source": np.where(random.random(size) < 0.1, "exempt", "web"),
        }
    )
    twin = pl.when(pl.int_range(pl.len()) % 10 > 0).then("twin")
    return frame.with_columns(twin, language=pl.when(pl.int_range(pl.len()) > 2).then("language"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished runs `main`, `wiki` (a reference corpus) and `plain`. Tests only read it."""
    root = tmp_path_factory.mktemp("thresholds")
    (root / "packages").mkdir()
    install(root / "packages")
    for seed, name in enumerate(("main", "wiki")):
        (root / name).mkdir()
        frame = corpus(seed)
        frame[:700].write_parquet(root / name / "a.parquet")
        frame[700:].write_parquet(root / name / "b.parquet")
        (root / f"{name}.yaml").write_text(CONFIG.format(name=name), encoding="utf-8")
    (root / "plain.yaml").write_text(PLAIN, encoding="utf-8")
    for name in ("main", "wiki", "plain"):
        in_place(root, "run", f"{name}.yaml")
    return root


def in_place(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "packages")}
    command = [sys.executable, "-m", "curate", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def curate(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place / "packages")
    stages._outside.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli, ["thresholds", *arguments], catch_exceptions=False)
    stages._outside.cache_clear()


@pytest.fixture
def table(curate: Invoke) -> Callable[..., dict[str, Any]]:
    def read(*arguments: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(curate(*arguments, "--json").stdout)
        return shown

    return read


def reached(seed: int, language: str) -> pl.DataFrame:
    """Documents that the filter measured, with null for nan."""
    seen = (pl.col("prob") >= 0.5) & (pl.col("source") != "exempt")
    return corpus(seed).filter(seen, language=language).with_columns(pl.col("frac").fill_nan(None))


def fails(frame: pl.DataFrame, column: str, side: str, bound: float) -> int:
    value = pl.col(column)
    return frame.filter(value < bound if side == "minimum" else value > bound).height


def rules_of(table: Mapping[str, Any], language: str, step: str = "m") -> dict[str, dict[str, Any]]:
    [entry] = [f for f in table["languages"][language]["filters"] if f["step"] == step]
    return {rule["rule"]: rule for rule in entry["rules"]}


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


@pytest.mark.parametrize("output", ["folder", "one.yaml"])
@pytest.mark.parametrize("method", ["quantile", "meanstd", "tail10"])
def test_what_is_written_is_what_the_filters_read(
    curate: Invoke, table: Callable[..., Any], tmp_path: Path, method: str, output: str
) -> None:
    place = tmp_path / output
    curate("main", "--method", method, "--output", str(place))
    values = table("main", "--method", method)["values"]
    tables = read_thresholds(str(place))
    assert {code: dict(t.values) for code, t in tables.items()} == values
    for one in tables.values():
        assert not check_keys(one)
    step: Any = build_step("toy_measure", {"thresholds": str(place)})
    for code, wanted in values.items():
        config = step.by_language[code]
        assert config.min_words == wanted.get("min_words", 10)
        assert config.top_n_grams == {2: 0.5, 3: 0.4, **dict(wanted.get("top_n_grams", []))}


def test_a_run_with_the_written_bounds_drops_what_was_shown(
    curate: Invoke, table: Callable[..., Any], place: Path, tmp_path: Path
) -> None:
    curate("main", "--method", "meanstd", "--output", str(tmp_path / "th"))
    shown = table("main", "--method", "meanstd")
    config = CONFIG.format(name="main").replace("as: m,", f"as: m, thresholds: {tmp_path}/th,")
    (tmp_path / "again.yaml").write_text(config, encoding="utf-8")
    in_place(place, "run", str(tmp_path / "again.yaml"), "--run-dir", str(tmp_path / "again"))
    [step] = [s for s in build_report(tmp_path / "again")["steps"] if s["step"] == "m"]
    for code in ("deu_Latn", "fra_Latn"):
        [entry] = [f for f in shown["languages"][code]["filters"] if f["step"] == "m"]
        assert step["by_language"][code]["rows_dropped"] == entry["fail_derived"]


def test_files_are_equal_each_time_and_say_where_they_come_from(
    curate: Invoke, place: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        curate("main", "--output", str(tmp_path / name))
    first = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}
    lines = first["deu_Latn.yaml"].decode().splitlines()
    assert lines[0].startswith(f"{MARK}: method quantile, reference eng_Latn of run main (")
    assert lines[1].startswith("# Run main, ")
    assert str(place) not in lines[0] + lines[1]
    assert list(YAML(typ="safe").load("\n".join(lines))) == sorted(YAML(typ="safe").load("\n".join(lines)))


def test_files_of_others_are_not_replaced(curate: Invoke, tmp_path: Path) -> None:
    (tmp_path / "deu_Latn.yaml").write_text("min_words: 3\n", encoding="utf-8")
    (tmp_path / "swe_Latn.yaml").write_text("min_words: 3\n", encoding="utf-8")
    with pytest.raises(CurateError, match=r"deu_Latn\.yaml was not written by") as caught:
        curate("main", "--output", str(tmp_path))
    assert caught.value.problems[0].code == "C205"
    assert len(list(tmp_path.iterdir())) == 2
    said = curate("main", "--output", str(tmp_path), "--force").output
    assert "wrote 3 files" in said
    assert "1 file of other languages" in said
    assert curate("main", "--output", str(tmp_path), "--method", "meanstd").exit_code == 0


def test_nothing_is_written_unless_asked_for(curate: Invoke, place: Path) -> None:
    before = sorted(place.rglob("*"))
    assert "next: curate thresholds main" in curate("main").output
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--languages", "de"), "did you mean 'deu_Latn'?"),
        (("--languages", "swe_Latn"), "the run has no documents in 'swe_Latn'"),
        (("--reference-language", "English"), "did you mean 'eng_Latn'?"),
        (("--options", "min_word"), "did you mean 'min_words'?"),
        (("--method", "median"), "'quantile'"),
        (("--tail", "1"), "--tail"),
        (("--min-docs", "100000", "--output", "never"), "nothing to write"),
    ],
)
def test_usage_errors(curate: Invoke, arguments: tuple[str, ...], said: str) -> None:
    result = curate("main", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_run_without_rules_and_a_reference_without_the_columns(
    curate: Invoke, place: Path, tmp_path: Path
) -> None:
    config = "name: bare\ninput: {path: main/*.parquet}\nsteps: [{select: length > 5}]\n"
    (tmp_path / "bare.yaml").write_text(config, encoding="utf-8")
    in_place(place, "run", str(tmp_path / "bare.yaml"), "--run-dir", str(tmp_path / "bare"))
    with pytest.raises(CurateError, match="no step with rules"):
        curate(str(tmp_path / "bare"))
    with pytest.raises(CurateError, match="has not measured m__frac, m__length, m__twin"):
        curate("main", "--reference", str(tmp_path / "bare"))


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


numbers = st.floats(-1e6, 1e6) | st.integers(0, 30).map(float) | st.sampled_from([0.0, -0.0, 0.5])


@given(st.lists(numbers, min_size=1, max_size=200), st.floats(0, 1))
def test_bounds_of_a_distribution_are_the_strictest_allowed(values: list[float], share: float) -> None:
    found = Distribution()
    found.add(np.array([*values[::2], np.nan, np.inf]))
    found.add(np.array(values[1::2]))
    allowed = int(share * len(values))
    distinct = sorted({v + 0.0 for v in values})
    least = max(v for v in distinct if sum(w < v for w in values) <= allowed)
    most = min(v for v in distinct if sum(w > v for w in values) <= allowed)
    assert (found.minimum_for(allowed), found.maximum_for(allowed)) == (least, most)
    assert found.median == np.median(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values), abs=1e-6)


@pytest.mark.parametrize("low", [-1.0, -0.5])
def test_negative_values_beyond_memory_lose_no_more_than_is_allowed(low: float) -> None:
    values = np.random.default_rng(5).beta(2, 3, 300_000) + low
    found = Distribution()
    for part in np.array_split(values, 11):
        found.add(part)
    assert len(np.unique(values)) > DISTINCT
    exact = np.sort(values)
    for allowed in (30, 300, 3_000, 30_000, 150_000):
        least, most = found.minimum_for(allowed), found.maximum_for(allowed)
        assert (values < least).sum() <= allowed
        assert (values > most).sum() <= allowed
        assert least == pytest.approx(exact[allowed], rel=3e-3, abs=1e-6)
        assert most == pytest.approx(exact[-allowed - 1], rel=3e-3, abs=1e-6)


def test_many_different_values_stay_within_memory_whatever_their_order() -> None:
    values = np.random.default_rng(3).beta(1, 5, 200_000)
    orders = [values, values[::-1], np.sort(values)]
    found = [Distribution() for _ in orders]
    for distribution, order in zip(found, orders, strict=True):
        for part in np.array_split(order, 37):
            distribution.add(part)
    bounds = [(d.minimum_for(20_000), d.maximum_for(2_000), d.median) for d in found]
    assert len(set(bounds)) == 1
    exact = np.sort(values)
    low, high, middle = bounds[0]
    assert low == pytest.approx(exact[20_000], rel=3e-3)
    assert high == pytest.approx(exact[-2_001], rel=3e-3)
    assert middle == pytest.approx(np.median(values), rel=3e-3)
    assert (values < low).sum() <= 20_000
    assert (values > high).sum() <= 2_000
    assert len(found[0]._values) <= DISTINCT


@given(st.floats(0, 1e7), st.sampled_from(["minimum", "maximum"]), st.booleans())
def test_rounding_never_drops_more(value: float, name: Any, whole: bool) -> None:
    bound = rounded(value, Side("rule", "m__x", name, "x", whole=whole))
    assert bound <= value if name == "minimum" else bound >= value
    assert bound == pytest.approx(value, rel=1.01e-3, abs=1 if whole else 0)
    assert not whole or bound == int(bound)
    assert rounded(0.1, Side("rule", "m__x", name, "x")) == 0.1


def test_overlays_are_read_as_they_are(place: Path) -> None:
    """The oracles above rest on this: the toy's measurements are the input's columns."""
    [first, _] = sorted((place / "runs" / "main" / "overlays" / "pass1").iterdir())
    assert {"m__frac", "m__length", "m__twin", "lid__prob"} <= set(pq.read_schema(first).names)


def test_quantiles_show_what_thresholds_would_keep(curate: Invoke, place: Path) -> None:
    """Every count against polars, for whole numbers with many ties and for fractions, also of what was dropped."""
    columns = "m__length,m__frac"
    shown = json.loads(curate("main", "--quantiles", "--columns", columns, "--json").stdout)
    whole = pl.concat([pl.read_parquet(path) for path in sorted((place / "main").glob("*.parquet"))])
    reached = whole.filter((pl.col("prob") >= 0.5) & (pl.col("source") != "exempt"))
    assert set(shown["columns"]) == {"m__length", "m__frac"}
    for column in ("length", "frac"):
        frame = reached.with_columns(
            pl.col("language").fill_null("und"), pl.col(column).fill_nan(None)
        ).drop_nulls(column)
        counts = dict(frame["language"].value_counts().rows())
        found = shown["columns"][f"m__{column}"]
        assert {name: entry["documents"] for name, entry in found.items()} == {
            name: count for name, count in counts.items() if count >= 100
        }
        assert shown["left_out"][f"m__{column}"] == {n: c for n, c in counts.items() if c < 100}
        assert list(found) == sorted(found, key=lambda name: -counts[name])
        for language, entry in found.items():
            values = np.sort(frame.filter(language=language)[column].to_numpy())
            assert entry["bytes"] == 9 * len(values)
            assert [line["quantile"] for line in entry["thresholds"]] == [
                *(n / 10 for n in range(1, 10)),
                0.95,
            ]
            for line in entry["thresholds"]:
                best = max(v for v in values if (values < v).sum() <= line["quantile"] * len(values))
                assert line["threshold"] == best
                assert line["documents"] == (values >= best).sum()
                assert line["bytes"] == 9 * line["documents"]


def test_quantiles_for_people_and_what_they_refuse(curate: Invoke) -> None:
    text = curate("main", "--quantiles", "--columns", "m__frac", "--languages", "deu_Latn").stdout
    assert "m__frac, deu_Latn: " in text
    assert "eng_Latn" not in text
    assert len([line for line in text.splitlines() if "≥" in line]) == 10
    for arguments, message in (
        (("--quantiles", "--tail", "0.2"), "--tail does not go with --quantiles"),
        (("--quantiles", "--output", "x"), "--output does not go with --quantiles"),
        (("--columns", "m__frac"), "--columns goes with --quantiles"),
    ):
        result = curate("main", *arguments)
        assert result.exit_code == 2
        assert message in result.output
    with pytest.raises(CurateError, match="no step of the run wrote a column of numbers 'm__frak'"):
        curate("main", "--quantiles", "--columns", "m__frak")
    with pytest.raises(CurateError, match="no step of the run wrote a score"):
        curate("main", "--quantiles")
