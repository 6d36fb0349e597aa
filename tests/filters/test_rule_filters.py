"""Bounds by language: which of several places counts, what is refused and where, and the reasons that follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from curate.config.load import load as load_config
from curate.core.errors import CurateError, Problem
from curate.core.stage import Context, Rule
from curate.running.steps import build_step
from curate.stages import load
from filters.rules import RuleConfig, RuleFilter, check_language, listed, measured_array, positions, ratio
from filters.thresholds import DEFAULT
from tests.filters.rule_cases import batch_of, opened


class ToyConfig(RuleConfig):
    """Options under the names of real ones, so that files may hold them."""

    ALIASES: ClassVar[Mapping[str, str]] = {"min_doc_words": "min_words"}
    GLOBAL: ClassVar[frozenset[str]] = frozenset({"max_chars"})

    min_words: Annotated[int, Field(ge=0)] | None = Field(5, description="A bound.")
    rate: float | None = Field(None, description="Another.")
    top_n_grams: Mapping[int, float | None] = Field({2: 0.2, 3: 0.3}, description="A table.")
    max_chars: int | None = Field(None, description="One for all languages.")

    def check_whole(self) -> None:
        if self.max_chars == 0:
            raise ValueError("nothing could pass")


class Toy(RuleFilter[ToyConfig]):
    """Two rules on one column, one on another."""

    Config = ToyConfig
    VERSION: ClassVar[int] = 1

    def every_rule(self, config: ToyConfig) -> tuple[Rule, ...]:
        return (
            Rule("few", "a", config.min_words, None, 0, None, "min_words"),
            Rule("many", "a", None, config.rate, 0, None, "rate"),
            Rule("top", "b", None, config.top_n_grams.get(2), 0, 1, "top_n_grams.2"),
        )

    def from_file(self, option: str, value: Any) -> Any:
        if option != "top_n_grams":
            return value
        if not isinstance(value, list):
            raise ValueError("pairs are wanted")
        return dict(value)


def toy(**options: Any) -> Toy:
    step = opened(Toy, **options)
    assert isinstance(step, Toy)
    return step


def invalid(**options: Any) -> list[tuple[tuple[int | str, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        ToyConfig.model_validate_json(json.dumps(options), strict=True)
    return [(detail["loc"], detail["msg"]) for detail in caught.value.errors()]


def test_a_language_has_its_own_options_over_the_defaults_over_the_steps(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "default: {rate: 2}\ndeu_Latn: {min_doc_words: 7, rate: 3, stop_words: [der]}\nfra_Latn: {top_n_grams: [[3, .9]]}\n"
    )
    step = toy(
        min_words=1,
        thresholds=str(file),
        languages={
            "default": {"min_words": 2},
            "deu_Latn": {"rate": 4},
            "ita_Latn": {"top_n_grams": {"2": None}, "rate": None},
        },
    )
    found = {code: (c.min_words, c.rate, dict(c.top_n_grams)) for code, c in step.by_language.items()}
    assert found == {
        DEFAULT: (2, 2, {2: 0.2, 3: 0.3}),
        "deu_Latn": (7, 4, {2: 0.2, 3: 0.3}),
        "fra_Latn": (2, 2, {2: 0.2, 3: 0.9}),
        "ita_Latn": (2, None, {2: None, 3: 0.3}),
    }
    assert [rule.reason for rule in step.rules("ita_Latn")] == ["few"]
    assert [rule.minimum for rule in step.rules("deu_Latn")] == [7, None, None]
    assert step.rules("spa_Latn") == step.rules(None) == step.rules("und")
    assert step.artifacts(Context(tmp_path, tmp_path)) == {"thresholds/t.yaml": file}


def test_without_tables_every_language_has_the_steps_options() -> None:
    step = toy(min_words=3)
    assert list(step.by_language) == [DEFAULT]
    assert step.artifacts(Context(Path(), Path())) == {}
    assert [rule.minimum for rule in step.rules("deu_Latn")] == [3, None]


def test_options_survive_the_json_of_a_plan_with_tables_of_numbers() -> None:
    config = ToyConfig.model_validate(
        {"languages": {"deu_Latn": {"top_n_grams": {2: 0.5}, "min_words": None}}}
    )
    again = ToyConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert Toy(again).by_language == Toy(config).by_language
    assert Toy(again).by_language["deu_Latn"].top_n_grams == {2: 0.5, 3: 0.3}


def test_every_fault_of_languages_is_found_at_its_place() -> None:
    found = invalid(
        languages={
            "german": {"min_words": 1},
            "deu_Latn": {"min_word": 3, "rate": "3"},
            "fra_Latn": {"min_words": -1, "max_chars": 3, "thresholds": "x"},
        }
    )
    assert dict(found) == {
        ("languages", "german"): "'german' is not a language",
        ("languages", "deu_Latn", "min_word"): "unknown option 'min_word' for deu_Latn",
        ("languages", "deu_Latn", "rate"): "Input should be a valid number",
        ("languages", "fra_Latn", "min_words"): "Input should be greater than or equal to 0",
        ("languages", "fra_Latn", "max_chars"): "fra_Latn: 'max_chars' cannot differ between languages",
        ("languages", "fra_Latn", "thresholds"): "fra_Latn: 'thresholds' cannot differ between languages",
    }


def test_a_whole_config_is_checked_as_a_whole() -> None:
    assert invalid(max_chars=0) == [((), "Value error, nothing could pass")]
    assert invalid(languages={"deu_Latn": None})[0][0] == ("languages", "deu_Latn")


def test_what_no_plan_can_hold_is_refused() -> None:
    with pytest.raises(ValidationError, match="plain data"):
        ToyConfig(languages={"deu_Latn": {"rate": {1, 2}}})


def test_check_language() -> None:
    check_language(DEFAULT)
    check_language("und")
    with pytest.raises(ValueError, match="did you mean 'deu_Latn'"):
        check_language("de")


CONFIG = """\
name: web
input: [{{path: in/*.parquet}}]
steps:
  - use: filters.gopher_quality
    languages:
      german: {{min_words: 1}}
      deu_Latn:
        min_wrds: 1
        max_bullet_lines_frac: 2
        stop_words: []
publish: [{{name: all, path: out}}]
"""


def test_a_config_shows_every_fault_of_languages_in_its_line(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(CONFIG.format())
    with pytest.raises(CurateError) as caught:
        load_config(path, ())
    found = [(p.code, p.position.line if p.position else 0, p.help) for p in caught.value.problems]
    assert [(code, line) for code, line, _ in found] == [("C107", 6), ("C103", 8), ("C102", 9), ("C102", 10)]
    assert found[0][2] == "did you mean 'deu_Latn'?"
    assert found[1][2] == "did you mean 'min_words'?"
    assert "use `min_stop_words: null`" in caught.value.problems[3].message


def file_faults(tmp_path: Path, text: str, **options: Any) -> list[Problem]:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(CurateError) as caught:
        toy(thresholds=str(file), **options)
    assert all(p.code == "C111" and p.help and p.position for p in caught.value.problems)
    return list(caught.value.problems)


def test_every_fault_of_files_is_found_with_its_line(tmp_path: Path) -> None:
    text = """\
deu_Latn:
  min_doc_words: -3
  rate: yes
  top_n_grams: 0.2
  max_wrds: 3
fra_Latn:
  min_words: 2
  min_doc_words: 3
  top_n_grams: [[2, x], [a, 3]]
"""
    found = file_faults(tmp_path, text)
    assert [(p.position.line, p.message.partition(": ")[2]) for p in found if p.position] == [
        (5, ""),
        (4, "deu_Latn: 'top_n_grams': pairs are wanted"),
        (2, "deu_Latn: 'min_doc_words' cannot be -3: Input should be greater than or equal to 0"),
        (3, "deu_Latn: 'rate' cannot be 'yes': Input should be a valid number"),
        (8, "fra_Latn: 'min_words' and 'min_doc_words' are the same threshold"),
        (9, "fra_Latn: 'top_n_grams' cannot be 'x': Input should be a valid number"),
    ]
    assert found[0].message == "unknown threshold 'max_wrds'"
    assert found[0].help == "did you mean 'max_words'?"


def test_a_file_may_not_set_what_is_one_for_all_languages(tmp_path: Path) -> None:
    """Keys of other filters are passed over; `max_chars` is one of filters.length."""
    (tmp_path / "deu_Latn.yaml").write_text("max_chars: 3\nnew_line_ratio: 1\n")
    assert toy(thresholds=str(tmp_path)).by_language["deu_Latn"] == ToyConfig(thresholds=None)


def test_a_run_is_planned_with_files_and_stopped_by_bad_ones(tmp_path: Path) -> None:
    """As `curate check` and a worker do it."""
    (tmp_path / "deu_Latn.yaml").write_text("stop_words: []\n")
    options = {"thresholds": str(tmp_path)}
    step = build_step(
        "filters.gopher_quality", load("filters.gopher_quality").Config(**options).model_dump(mode="json")
    )
    with pytest.raises(
        CurateError, match=r"deu_Latn: 'stop_words' cannot be \[\]: .*use `min_stop_words: null`"
    ):
        step.artifacts(Context(tmp_path, tmp_path))  # type: ignore[union-attr]
    with pytest.raises(CurateError, match="stop_words"):
        step.open(Context(tmp_path, tmp_path))


CODES = st.sampled_from([None, "und", "deu_Latn", "fra_Latn", "ita_Latn", "", "xx"])


@given(
    st.lists(st.tuples(CODES, st.none() | st.integers(-2, 12), st.none() | st.floats(0, 1))), st.booleans()
)
def test_reasons_are_the_rules_that_fail(
    rows: list[tuple[str | None, int | None, float | None]], known: bool
) -> None:
    languages = [code for code, _, _ in rows]
    a: npt.NDArray[np.float64] = np.array([np.nan if v is None else v for _, v, _ in rows], np.float64)
    b: npt.NDArray[np.float64] = np.array([np.nan if v is None else v for _, _, v in rows], np.float64)
    step = toy(
        languages={
            "deu_Latn": {"min_words": 2, "rate": 6},
            "fra_Latn": {"min_words": None, "top_n_grams": {"2": None}},
            "default": {"rate": 9},
        }
    )
    batch = batch_of(["x"] * len(rows), languages if known else None)
    found = step.reasons(step.tables_of(batch), {"a": a, "b": b})
    found.validate(full=True)
    assert found.type == pa.list_(pa.string())
    wanted = []
    for code, x, y in rows:
        rules = step.rules(code if known else None)
        values = {"a": x, "b": y}
        bad = [
            r.reason
            for r in rules
            if (v := values[r.column]) is not None
            and ((r.minimum is not None and v < r.minimum) or (r.maximum is not None and v > r.maximum))
        ]
        wanted.append(bad)
    assert found.to_pylist() == wanted


def test_a_rule_that_does_not_apply_is_skipped() -> None:
    step = toy()
    tables = np.zeros(2, np.int32)
    measured = {"a": np.array([1, 1]), "b": np.array([0.5, 0.5])}
    found = step.reasons(tables, measured, {"few": np.array([True, False])})
    assert found.to_pylist() == [["top"], ["few", "top"]]


def test_small_parts() -> None:
    names = ["x", DEFAULT, "y"]
    assert positions(names, None, 3).tolist() == [1, 1, 1]
    sliced = pa.array(["x", "y", None, "z", "x"]).slice(1)
    assert positions(names, sliced, 4).tolist() == [2, 1, 1, 0]
    assert positions(names, pa.nulls(2, pa.string()), 2).tolist() == [1, 1]
    assert positions(names, pa.array([], pa.string()), 0).tolist() == []
    assert listed(["a", "b"], np.zeros((0, 2), np.bool_)).to_pylist() == []
    assert measured_array(np.array([1.0, np.nan])).to_pylist() == [1.0, None]
    assert ratio(np.array([1, 0]), np.array([4, 0])).tolist()[:1] == [0.25]
