"""`curate thresholds`: what is written, what it refuses, and the table of quantiles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML

from curate.core.errors import CurateError
from curate.running.steps import build_step
from curate.thresholds.files import MARK
from curate.views.report import build_report
from filters.thresholds import check_keys, read_thresholds
from tests.thresholds.measured_runs import CONFIG, Invoke, in_place


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
