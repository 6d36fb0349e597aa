"""`--set key.path=value`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from curate.config.load import Loaded
from curate.core.errors import Problem

CONFIG = """\
input:
  - {path: a.parquet, name: docs}
steps:
  - {use: filters.gopher_quality, as: strict, min_words: 50}
  - {select: x > 1}
  - {use: filters.gopher_quality}
  - {use: filters.select, as: last, expression: a}
publish:
  - {name: pretrain, path: out}
"""

ELSEWHERE = "`curate schema` says what each key takes, docs/config.md with examples"


def test_values_are_put_in_by_key_number_and_name(read: Callable[..., Loaded]) -> None:
    config = read(
        CONFIG,
        "steps.0.min_words=5",
        "steps.gopher_quality.min_words=7",
        "steps.select.select=x > 2",
        "publish.pretrain.shard=1MB",
        "publish.0.columns=[id, text]",
        "input.docs.path=b.parquet",
        "execution.workers=3",
        "name=no",
    ).config
    assert [config.steps[i].options.model_dump().get("min_words") for i in (0, 2)] == [5, 7]
    assert config.steps[1].options.model_dump() == {"expression": "x > 2"}
    assert (config.publish[0].shard, config.publish[0].columns) == (1_000_000, ("id", "text"))
    assert config.input[0].path == ("b.parquet",)
    assert (config.execution.workers, config.name) == (3, "no")


def test_the_last_override_wins(read: Callable[..., Loaded]) -> None:
    assert read(CONFIG, "name=a", "name=b", "name=c").config.name == "c"


def test_a_null_override_brings_the_default_back(read: Callable[..., Loaded]) -> None:
    assert read(CONFIG + "run_dir: x\n", "run_dir=").config.run_dir == "runs/web"


@pytest.mark.parametrize(
    ("override", "fault", "help"),
    [
        ("name", "1:1 C110 [name] an override is key.path=value", "write it like execution.workers=4"),
        ("=3", "1:1 C110 [=3] an override is key.path=value", "write it like execution.workers=4"),
        ("a..b=3", "1:3 C110 [.] an empty key", "write it like execution.workers=4"),
        ("steps.9.x=1", "1:7 C110 [9] steps has no item 9", "its items are 0 to 3"),
        ("steps.strit.x=1", "1:7 C110 [strit] steps has no item 'strit'", "did you mean 'strict'?"),
        (
            "steps.-1.x=1",
            "1:7 C110 [-1] steps has no item '-1'",
            "its items are strict, select, gopher_quality or last",
        ),
        ("publish.0.path.x=1", "1:16 C110 [x] publish.0.path is a single value, it has no 'x'", ""),
        ("name=[a", "1:8 C110 [] the value is not YAML: expected ',' or ']', but got '<stream end>'", None),
        (
            "steps.strict.min_wrds=3",
            "1:14 C103 [min_wrds] unknown key 'min_wrds' for filters.gopher_quality",
            None,
        ),
        (
            "steps.strict.min_words=x",
            "1:24 C102 [x] min_words 'x': a whole number is wanted",
            ELSEWHERE,
        ),
        (
            "execution.workers=0",
            "1:19 C102 [0] execution.workers 0: it must be greater than or equal to 1",
            ELSEWHERE,
        ),
        ("steps.select.select=x >", "1:23 C106 [>] the expression ends too early", None),
    ],
)
def test_what_does_not_fit_is_shown_in_the_option(
    faults: Callable[..., list[str]],
    problems: Callable[..., list[Problem]],
    override: str,
    fault: str,
    help: str | None,
) -> None:
    (found,) = faults(CONFIG, override)
    assert found.startswith(fault)
    (problem,) = problems(CONFIG, override)
    assert problem.position is not None
    assert problem.position.file == "--set"
    assert help is None or problem.help == help


def test_a_config_without_steps_has_none_to_change(faults: Callable[..., list[str]]) -> None:
    (found,) = faults("input: {path: a}\n", "steps.lid.top_k=3")
    assert found == "1:7 C110 [lid] steps has no item 'lid'"


def test_options_come_after_the_file(faults: Callable[..., list[str]]) -> None:
    found = faults(CONFIG + "nmae: x\n", "name=3", "run_dir=4")
    assert [line.split(" [")[0] for line in found] == ["10:1 C103", "1:6 C102", "2:9 C102"]
