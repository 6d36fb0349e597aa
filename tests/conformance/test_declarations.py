"""What every step says about itself: a version, options that explain themselves, columns with legal names and units.

These tests run over the steps found on disk, so a new file in `filters/` is held to them without being registered.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from curate.core.columns import FAILED, REASONS, RESERVED, REWRITE, SUFFIXES
from curate.core.stage import Annotator, Resources, Rule, Selector
from curate.running.contract import AnyStep
from curate.stages import kind, load, names
from tests.conformance.cases import MORE, REQUIRED, Case, declared, many, steps

#: Modules that cost much to import: a step is imported whenever a config is checked.
HEAVY = (
    "polars",
    "torch",
    "transformers",
    "fasttext",
    "datatrove",
    "datasets",
    "datasketch",
    "sklearn",
    "pandas",
)

LOCAL_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@pytest.fixture(params=steps())
def stage(request: pytest.FixtureRequest) -> type:
    found: type = load(request.param)
    return found


def test_there_are_steps_to_test() -> None:
    assert {"lid.fasttext", "filters.gopher_quality", "filters.select"} <= set(steps())


def test_the_tables_of_options_name_only_steps_that_exist() -> None:
    assert set(REQUIRED) | set(MORE) <= set(steps())


@pytest.mark.parametrize("name", steps())
def test_a_step_is_built_with_its_defaults_unless_an_option_is_required(name: str) -> None:
    stage = load(name)
    needs = [key for key, field in stage.Config.model_fields.items() if field.is_required()]
    given = REQUIRED.get(name, {})
    assert set(given) >= set(needs), "give required options in cases.REQUIRED"
    for spare in set(given) - set(needs):  # one of several that a step cannot be built without
        with pytest.raises(ValidationError):
            Case(name, {key: value for key, value in given.items() if key != spare}).build()
    assert Case(name, given).build() is not None


def test_a_module_tells_its_story_and_a_class_what_it_does(stage: type) -> None:
    assert (sys.modules[stage.__module__].__doc__ or "").strip()
    assert "__doc__" in vars(stage), (
        "the class needs a docstring of its own: it is the line in `curate stages`"
    )
    first = (stage.__doc__ or "").strip().splitlines()[0]
    assert first.endswith(".")
    assert len(first) < 110


def test_version_is_a_positive_integer(stage: type) -> None:
    version = stage.VERSION  # type: ignore[attr-defined]
    assert type(version) is int
    assert version >= 1


def test_options_are_strict_frozen_and_described(stage: type) -> None:
    config: type[BaseModel] = stage.Config  # type: ignore[attr-defined]
    assert config.model_config.get("extra") == "forbid"
    assert config.model_config.get("frozen") is True
    for name, field in config.model_fields.items():
        assert field.description, f"the option '{name}' has no description"
        assert field.description.strip().endswith((".", "?", ")")) or ":" in field.description
        assert LOCAL_NAME.fullmatch(name), f"the option '{name}' is not in lower case with underscores"
        assert name not in ("use", "as", "when", "mode", "over", "select"), f"'{name}' is a key of every step"


def test_unknown_options_are_refused(stage: type) -> None:
    name = f"{stage.__module__}"
    with pytest.raises(ValidationError):
        stage.Config.model_validate({**REQUIRED.get(name, {}), "no_such_option": 1})  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", steps())
def test_no_option_takes_an_integer_that_no_kernel_can_hold(name: str) -> None:
    config, given = load(name).Config, REQUIRED.get(name, {})
    for option, schema in config.model_json_schema()["properties"].items():
        kinds = [schema, *schema.get("anyOf", [])]
        if any(kind.get("type") == "integer" for kind in kinds):
            with pytest.raises(ValidationError, match=option):
                config.model_validate({**given, option: 2**63})


def test_options_survive_the_json_of_a_plan(case: Case) -> None:
    config = load(case.name).Config
    options = config.model_validate(dict(case.options))
    assert config.model_validate(json.loads(json.dumps(options.model_dump(mode="json")))) == options


def test_a_step_is_of_the_kind_it_looks_like(step: AnyStep, case: Case) -> None:
    assert isinstance(step, Annotator if kind(load(case.name)) == "annotator" else Selector)
    assert not (isinstance(step, Annotator) and isinstance(step, Selector))


def test_resources_are_stated(step: AnyStep) -> None:
    resources = step.resources()
    assert isinstance(resources, Resources)
    assert 0 < resources.memory_gb < 1000
    assert resources.gpus >= 0


def test_reads_names_columns_that_the_documents_of_this_suite_have(step: AnyStep) -> None:
    reads = step.reads()
    assert isinstance(reads, frozenset)
    assert reads <= set(many(1).schema.names), "add the column to cases.record"


def test_written_columns_have_legal_names_types_and_units(step: AnyStep) -> None:
    if not isinstance(step, Annotator):
        return
    for name, kind_of in step.writes().items():
        assert isinstance(kind_of, pa.DataType)
        assert LOCAL_NAME.fullmatch(name), f"'{name}' is not in lower case with underscores"
        assert "__" not in name
        assert name not in (FAILED, REWRITE), f"'{name}' is reserved and never declared"
        assert name not in RESERVED, f"'{name}' is a column of documents"
        if name == REASONS:
            assert kind_of == pa.list_(pa.string())
        if f"_{name}".endswith("_prob") or f"_{name}".endswith("_frac") or f"_{name}".endswith("_score"):
            assert pa.types.is_floating(kind_of), f"'{name}' is {kind_of}; {SUFFIXES['_prob']}"
        if f"_{name}".endswith(("_count", "_bytes")):
            assert pa.types.is_integer(kind_of)


def test_what_is_declared_does_not_change(step: AnyStep, case: Case) -> None:
    again = case.build()
    assert declared(again) == declared(step)
    assert again.reads() == step.reads()


def test_rules_are_about_columns_that_are_written(step: AnyStep) -> None:
    if not isinstance(step, Annotator):
        return
    written = step.writes()
    for language in (None, "und", "deu_Latn", "cmn_Hani", "tlh_Latn"):
        for rule in step.rules(language):
            assert isinstance(rule, Rule)
            assert rule.column in written
            assert rule.minimum is not None or rule.maximum is not None
    if REASONS in written:
        assert step.rules(None) or step.rules("eng_Latn"), (
            "a filter says what its rules are, for `curate explain`"
        )


@pytest.mark.parametrize("name", names(outside=False))
def test_importing_a_step_alone_imports_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
