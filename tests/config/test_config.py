"""A config as a user writes it: what it becomes, and what is said of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from curate.config.load import Loaded, load, load_source
from curate.config.yaml_source import parse
from curate.core.errors import CurateError, Problem
from curate.core.manifest import ColumnSpec

Read = Callable[..., Loaded]
Faults = Callable[..., list[str]]

GOOD = """\
language: lid__lang
input:
  - {path: data/*.parquet, set: {source: docs, year: 2024}}
  - path: [a.jsonl, b.jsonl]
    name: crawl
    columns: {text: body, score: {field: s, type: float64}}
    on_error: quarantine
steps:
  - {select: len(text) > 0}
  - {use: filters.gopher_quality, when: source != 'docs', min_words: 20}
  - {select: text is not null, as: filled}
  - {select: len(text) < 10}
  - {use: filters.gopher_quality, as: strict, mode: annotate}
publish:
  - {name: pretrain, path: $OUT/pretrain, partition_by: language, shard: 1.5GB, columns: [id, text]}
  - {name: all, path: out/all, where: filled__x = 1, columns: {text: body}, row_group: 64MiB}
execution: {workers: 4, retries: 0, local_tmp: $TMPDIR, memory: 16GB}
"""


def test_a_good_config_is_typed(read: Read) -> None:
    config = read(GOOD).config
    assert (config.name, config.language, config.run_dir) == ("web", "lid__lang", "runs/web")
    assert [step.name for step in config.steps] == [
        "select",
        "gopher_quality",
        "filled",
        "select_2",
        "strict",
    ]
    gopher = config.steps[1]
    assert (gopher.use, gopher.when, gopher.mode) == ("filters.gopher_quality", "source != 'docs'", "filter")
    assert gopher.options.model_dump()["min_words"] == 20
    assert gopher.stage.Config is type(gopher.options)
    assert config.steps[4].mode == "annotate"
    assert [output.shard for output in config.publish] == [1_500_000_000, 256_000_000]
    assert config.publish[1].row_group == 64 * 1024 * 1024
    assert config.publish[0].columns == ("id", "text")
    assert config.publish[1].columns == {"text": "body"}
    assert (config.execution.workers, config.execution.memory) == (4, 16_000_000_000)


def test_inputs_become_what_the_manifest_takes(read: Read) -> None:
    first, second = (entry.spec() for entry in read(GOOD).config.input)
    assert first.paths == ("data/*.parquet",)
    assert first.constants == {"source": "docs", "year": 2024}
    assert second.paths == ("a.jsonl", "b.jsonl")
    assert second.columns == {"text": ColumnSpec("body"), "score": ColumnSpec("s", "float64")}
    assert (second.name, second.on_error) == ("crawl", "quarantine")


def test_the_least_config(read: Read) -> None:
    config = read("input: {path: a.parquet}").config
    assert config.input[0].path == ("a.parquet",)
    assert (config.steps, config.publish, config.execution.workers) == ((), (), "auto")


def test_paths_keep_their_variables(read: Read) -> None:
    assert read(GOOD).config.publish[0].path == "$OUT/pretrain"


def test_all_faults_are_told_at_once_in_the_order_of_the_lines(faults: Faults) -> None:
    text = """\
nmae: web
input:
  - {path: data/*.parquet, on_error: ignore, columns: {text: {field: body, type: str}}}
  - name: crawl
steps:
  - {select: lid__prob >= }
  - {use: filters.gopher_quality, min_wrds: 20, wen: text = 'a'}
  - use: filters.gopher_quality
    as: Big
    min_words: "20"
    max_words: 2.5
  - {use: filters.gopher, min_words: 3}
  - {uses: filters.gopher_quality}
  - {as: nothing}
  - minhash
publish:
  - {name: a b, path: "", shard: 9m, shuffle: -1, columns: fineweb, top: [k]}
execution: {workers: some, retries: true}
"""
    assert faults(text) == [
        "1:1 C103 [nmae] unknown key 'nmae' for the config",
        "3:38 C102 [ignore] input.on_error 'ignore': it is fail or quarantine",
        "3:82 C102 [str] input.columns.text.type 'str': it is string, int64, float64, bool or list<string>",
        "4:5 C104 [name: crawl] an input needs the key 'path'",
        "6:25 C106 [=] the expression ends too early: expected a column, a number or a quoted text",
        "7:35 C103 [min_wrds] unknown key 'min_wrds' for filters.gopher_quality",
        "7:49 C103 [wen] unknown key 'wen' for filters.gopher_quality",
        "9:9 C102 [Big] steps.as 'Big': a step's name has letters a-z, digits and single _ between them",
        "10:16 C102 [\"20\"] min_words '20': a whole number is wanted",
        "11:16 C102 [2.5] max_words 2.5: a whole number is wanted",
        "12:11 C105 [filters.gopher] there is no step 'filters.gopher'",
        "13:6 C103 [uses] unknown key 'uses' for a step",
        "14:5 C104 [{as: nothing}] a step needs the key 'use'",
        "15:5 C102 [minhash] steps 'minhash': a mapping is wanted",
        "17:12 C102 [a b] publish.name 'a b': a name has letters A-Z and a-z, digits, dots, _ and -",
        "17:23 C102 [\"\"] publish.path '': it must not be empty",
        "17:34 C102 [9m] publish.shard '9m': a size is a number and a unit, such as 256MB, 1.5GB or 64MiB",
        "17:47 C102 [-1] publish.shuffle -1: it must be greater than or equal to 0",
        "17:60 C102 [fineweb] there is no preset of columns 'fineweb'",
        "17:74 C102 [[k]] publish.top: a mapping is wanted",
        "18:22 C102 [some] workers is `auto` or a number of processes",
        "18:37 C102 [true] execution.retries true: a whole number is wanted",
    ]


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("inptu: {path: a}", "did you mean 'input'?"),
        ("input: {path: a, on_eror: fail}", "did you mean 'on_error'?"),
        ("input: {path: a}\npublish: [{name: a, path: b, license: x}]", "did you mean 'licence'?"),
        (
            "input: {path: a}\nsteps: [{use: filters.gopher_quality, min_wrds: 3}]",
            "did you mean 'min_words'?",
        ),
        ("input: {path: a}\nsteps: [{use: filters.gopher_quality, wehn: b}]", "did you mean 'when'?"),
        ("input: {path: a}\nsteps: [{use: gopher_quality}]", "did you mean 'filters.gopher_quality'?"),
        ("input: {path: a}\nsteps: [{use: filters.selct}]", "did you mean 'filters.select'?"),
        ("input: {path: a}\nsteps: [{selct: x > 1}]", "did you mean 'select'?"),
        ("input: {path: a, on_error: quarantin}", "did you mean 'quarantine'?"),
        ("input: {path: a}\nname: 2024", 'put it in quotes: "2024"'),
    ],
)
def test_the_help_says_what_is_probably_meant(
    problems: Callable[[str], list[Problem]], text: str, help: str
) -> None:
    assert help in [problem.help for problem in problems(text)]


def test_an_option_is_unknown_for_its_step_not_for_another(problems: Callable[[str], list[Problem]]) -> None:
    (problem,) = problems("input: {path: a}\nsteps: [{use: filters.select, expression: a = 1, keep: 2}]")
    assert problem.message == "unknown key 'keep' for filters.select"
    assert problem.help == "it takes expression"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "steps:\n- {use: filters.gopher_quality}\n- {use: filters.gopher_quality}",
            "3:9 C108 [filters.gopher_quality] two steps are called 'gopher_quality'",
        ),
        (
            "steps:\n- {select: a = 1, as: lid}\n- {use: filters.gopher_quality, as: lid}",
            "3:37 C108 [lid] two steps are called 'lid'",
        ),
        (
            "publish:\n- {name: x, path: a}\n- {path: b, name: x}",
            "3:19 C108 [x] two entries of publish are called 'x'",
        ),
        ("steps:\n- {select: a, use: filters.select}", "2:15 C102 [use] a step has both 'select' and 'use'"),
        ("steps: {use: filters.select}", "1:8 C102 [{use: filters.select}] steps: a list is wanted"),
        ("steps: [null]", "1:9 C102 [null] steps null: a mapping is wanted"),
        ("steps: [{use: 3}]", "1:15 C102 [3] steps.use 3: text is wanted"),
        ("publish: [{path: a}]", "1:11 C104 [{path: a}] publish needs the key 'name'"),
        ("execution: 3", "1:12 C102 [3] execution 3: a mapping is wanted"),
        ("publish: [{name: a, path: b, columns: []}]", "1:39 C102 [[]] no column is published"),
        (
            "publish: [{name: a, path: b, columns: {x: y, z: y}}]",
            "1:39 C102 [{x: y, z: y}] two columns are published as 'y'",
        ),
        ("publish: [{name: a, path: b, where: 'x ='}]", "1:40 C106 [=] the expression ends too early: "),
    ],
)
def test_one_fault(faults: Faults, text: str, fault: str) -> None:
    (found,) = faults(text + "\ninput: {path: a}\n")
    assert found.startswith(fault)


def test_two_steps_of_one_name_are_both_named(problems: Callable[[str], list[Problem]]) -> None:
    (problem,) = problems(
        "input: {path: a}\nsteps:\n  - use: filters.gopher_quality\n  - use: filters.gopher_quality\n"
    )
    assert problem.help == "the first is in line 3, column 5; add `as: …` to one of them"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{}", "an input needs the key 'path'"),
        ("{path: []}", "an input needs the key 'path'"),
        ("{path: a, list: b}", "an input has both 'path' and 'list'"),
        ("{path: a, set: {doc: 1}}", "the column 'doc' cannot be given; curate numbers the documents"),
        ("{path: a, set: {x: 1}, columns: {x: y}}", "the column 'x' is in `set:` and in `columns:`"),
        ("{path: [a, 3]}", "input.path 3: text is wanted"),
        ("{path: a, set: {x: [1]}}", "input.set.x: text is wanted"),
        ("[]", "input: at least 1 is needed"),
        ("3", "input 3: a list is wanted"),
    ],
)
def test_inputs_that_cannot_be(problems: Callable[[str], list[Problem]], entry: str, message: str) -> None:
    assert [p.message for p in problems(f"input: {entry}")] == [message]


def test_a_key_twice_is_told_with_the_other_faults(faults: Faults) -> None:
    assert faults("input: {path: a}\nname: x\nname: y\nstep: []\n") == [
        "3:1 C101 [name] the key 'name' is given twice",
        "4:1 C103 [step] unknown key 'step' for the config",
    ]


def test_no_input_is_told_at_the_start_of_the_config(faults: Faults) -> None:
    assert faults("name: web\n") == ["1:1 C104 [name: web] the config needs the key 'input'"]


def test_the_file_names_the_run_if_it_can(tmp_path: Path) -> None:
    (tmp_path / "my run.yaml").write_text("input: {path: a}\n")
    with pytest.raises(CurateError) as caught:
        load(tmp_path / "my run.yaml")
    assert [p.code for p in caught.value.problems] == ["C104"]
    assert caught.value.problems[0].help == "add `name: …` with letters, digits, dots, _ and -"
    assert load(tmp_path / "my run.yaml", ["name=fine"]).config.run_dir == "runs/fine"


def test_the_faults_of_a_condition_point_into_the_config(read: Read) -> None:
    loaded = read("input: {path: a}\nsteps:\n  - {select: \"lid__prob > 0.5 and sorce = 'wiki'\"}\n")
    schema = pa.schema({"source": pa.string(), "lid__prob": pa.float64()})
    (problem,) = loaded.condition_problems(("steps", 0, "expression"), schema)
    assert (problem.code, problem.message) == ("C201", "there is no column 'sorce' here")
    assert problem.help == "did you mean 'source'?"
    assert problem.position is not None
    assert (problem.position.line, problem.position.column, problem.position.length) == (3, 35, 5)


def test_unset_variables_of_paths_are_told_before_work_starts(read: Read) -> None:
    loaded = read(
        "input: [{path: $A/x.parquet}, {path: [b, '${B}/y']}]\n"
        "publish: [{name: p, path: '${C:-out}/$D'}]\n"
        "run_dir: $E\n"
        "execution: {local_tmp: $TMPDIR}\n"
    )
    found = loaded.unset_variables({"A": "1"})
    assert [(p.code, p.message, p.position and (p.position.line, p.position.column)) for p in found] == [
        ("C109", "the environment variable B is not set", (1, 43)),
        ("C109", "the environment variable D is not set", (2, 38)),
        ("C109", "the environment variable E is not set", (3, 10)),
    ]
    assert loaded.unset_variables({"A": "1", "B": "", "D": "x", "E": "y"}) == []


def test_anchors_share_options_between_steps(read: Read) -> None:
    config = read(
        "input: {path: a}\n"
        "steps:\n"
        "  - &gopher {use: filters.gopher_quality, as: loose, min_words: 5}\n"
        "  - {<<: *gopher, as: strict, min_words: 50}\n"
    ).config
    assert [(s.name, s.options.model_dump()["min_words"]) for s in config.steps] == [
        ("loose", 5),
        ("strict", 50),
    ]


def test_over_is_an_option_of_a_step_that_has_one_and_names_passages_otherwise() -> None:
    step = "{{use: filters.quantile, columns: [n], keep: {{all: 0.5}}{}}}"
    for written, option, spans in (
        ("", "reaching", None),
        (", over: entering", "entering", None),
        (", over: reaching", "reaching", None),
        (", over: passages__spans", "reaching", "passages__spans"),
    ):
        text = f"input: {{path: a}}\nsteps:\n  - {step.format(written)}\n"
        (found,) = load_source(parse(text, "web.yaml")).config.steps
        assert (found.options.over, found.over) == (option, spans)
