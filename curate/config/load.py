"""A config file, read: values typed, options checked by the steps themselves, every fault found at once.

    loaded = load("web.yaml", ["steps.lid.top_k=3"])
    loaded.config.steps[0].options      # the step's own `Config`
    loaded.source.value(("steps", 0, "top_k"))      # where that stands: line, column, the line's text

`{select: lid__prob >= 0.65}` is short for `{use: filters.select, expression: lid__prob >= 0.65}`; in the
source of a loaded config it stands under `expression` as well. What the columns of a step are is not known
here: `curate.planning.compile` checks that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import pyarrow as pa
from pydantic import BaseModel

from curate import stages
from curate.config import environment, overrides, yaml_source
from curate.config.best import without_top
from curate.config.entry import NAME
from curate.config.execution import Execution
from curate.config.model import ConfigFile, Input, Publish, StepEntry, written_out
from curate.config.validation import in_order, validate
from curate.config.yaml_source import KeyPath, Source
from curate.core.batch import Words
from curate.core.errors import CurateError, Problem
from curate.core.expression import parse
from curate.core.suggest import did_you_mean

SELECT: Final = "filters.select"
#: Keys of a step's entry that are not its own options.
RESERVED: Final = ("use", "as", "when", "mode", "over", "select")


@dataclass(frozen=True)
class Step:
    """One entry of `steps:`. index: its place there. options: an instance of `stage.Config`."""

    index: int
    name: str
    use: str
    stage: type[Any]
    options: BaseModel
    when: str | None
    mode: str
    over: str | None = None

    @property
    def path(self) -> KeyPath:
        """Where it stands in the source."""
        return ("steps", self.index)


@dataclass(frozen=True)
class Config:
    """A run as configured. language: a column's name. Paths are as written, variables and all."""

    name: str
    language: str | None
    words: Words
    input: tuple[Input, ...]
    steps: tuple[Step, ...]
    publish: tuple[Publish, ...]
    execution: Execution
    run_dir: str


@dataclass(frozen=True)
class Loaded:
    """A config and where its parts were written."""

    config: Config
    source: Source

    def condition_problems(
        self,
        path: KeyPath,
        schema: pa.Schema,
        language: str | None = None,
        later: Mapping[str, str] | None = None,
    ) -> list[Problem]:
        """What does not fit the condition at `path`, such as `("steps", 1, "expression")`."""
        found = parse(self.source.at(path)).check(schema, language, later)
        return [
            Problem(p.code, p.message, p.help, self.source.inside(path, p.offset, p.length)) for p in found
        ]

    def unset_variables(self, environ: Mapping[str, str]) -> list[Problem]:
        """C109 for each variable of an input, an output or the run folder that `environ` lacks."""
        problems = []
        for path, text in _paths(self.source):
            for name, offset, length in environment.unset(text, environ):
                help = f"export {name}=…, or give a default: ${{{name}:-…}}"
                place = self.source.inside(path, offset, length)
                problems.append(Problem("C109", f"the environment variable {name} is not set", help, place))
        return in_order(problems, self.source.file)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """The config at `path` with `--set` overrides put in; CurateError with all faults in line order."""
    return load_source(yaml_source.read(path), overrides)


def load_source(source: Source, changes: Sequence[str] = ()) -> Loaded:
    """The same for a source that was read already."""
    source = without_top(_without_sugar(overrides.apply(source, changes)))
    problems = list(source.problems)
    entries = source.data.get("steps", [])
    heads = [_head(entry) for entry in entries] if isinstance(entries, list) else entries
    raw = written_out(source.data) | {"steps": heads}
    file, found = validate(ConfigFile, raw, source, (), owner="the config")
    problems += found
    steps: list[Step] = []
    if isinstance(entries, list):
        names = step_names(entries)
        problems += _entry_faults(entries, names, source)
        for index, entry in enumerate(entries):
            if isinstance(entry, dict) and isinstance(entry.get("use"), str):
                step, found = _step(index, names[index], entry, source)
                problems += found
                steps += [step] if step is not None else []
    for section in ("input", "publish"):
        problems += _twice(source, section)
    stem = re.sub(r"\.ya?ml$", "", Path(source.file).name)
    if file is not None and file.name is None and not re.fullmatch(NAME, stem):
        help = "add `name: …` with letters, digits, dots, _ and -"
        problems.append(
            Problem("C104", f"the file's name, '{stem}', cannot name the run", help, source.value(()))
        )
    if problems or file is None:
        raise CurateError(in_order(problems, source.file))
    name = file.name or stem
    run_dir = file.run_dir or f"runs/{name}"
    config = Config(
        name, file.language, file.words, file.input, tuple(steps), file.publish, file.execution, run_dir
    )
    return Loaded(config, source)


def step_names(entries: Sequence[Any]) -> list[str]:
    """Names of raw steps: `as:`, else the last part of `use:`; unnamed selects are select, select_2, …"""
    names: list[str] = []
    selects = 0
    for entry in entries:
        name = overrides.step_name(entry) or ""
        if isinstance(entry, dict) and entry.get("use") == SELECT and "as" not in entry:
            selects += 1
            name = "select" if selects == 1 else f"select_{selects}"
        names.append(name)
    return names


def _without_sugar(source: Source) -> Source:
    """`select: …` in steps written out as `use: filters.select` with `expression: …`."""
    entries = source.data.get("steps")
    if not isinstance(entries, list):
        return source
    plain: list[Any] = []
    moves: dict[KeyPath, KeyPath] = {}
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        if not (isinstance(entry, dict) and "select" in entry):
            plain.append(entry)
            continue
        for other in ("use", "expression"):
            if other in entry:
                message = f"a step has both 'select' and '{other}'"
                place = source.key(("steps", index, other))
                help = "`select` is a step of its own; keep one of the two"
                problems.append(Problem("C102", message, help, place))
        kept = {key: value for key, value in entry.items() if key not in ("select", "use", "expression")}
        plain.append({"use": SELECT, "expression": entry["select"], **kept})
        moves["steps", index, "select"] = ("steps", index, "expression")
    return source.renamed({**source.data, "steps": plain}, moves, problems)


def _head(entry: Any) -> Any:
    """The part of a step's entry that every step has."""
    if not isinstance(entry, dict):
        return entry
    return {key: value for key, value in entry.items() if key in RESERVED} | {"use": entry.get("use", "-")}


def _step(index: int, name: str, entry: dict[str, Any], source: Source) -> tuple[Step | None, list[Problem]]:
    path: KeyPath = ("steps", index)
    use = str(entry["use"])
    try:
        stage = stages.load(use)
    except CurateError as cause:
        place = source.value((*path, "use"))
        return None, [Problem(p.code, p.message, p.help, p.position or place) for p in cause.problems]
    model: type[BaseModel] = stage.Config
    own = _own_over(model, entry)
    options = {key: value for key, value in entry.items() if key not in RESERVED or (own and key == "over")}
    checked, problems = validate(model, options, source, path, owner=use, also=RESERVED)
    if checked is None:
        return None, problems
    head = StepEntry.model_construct(**{"when": None, "mode": "filter", "over": None} | _head(entry))
    if own:
        head = head.model_copy(update={"over": None})
    return Step(index, name, use, stage, checked, head.when, head.mode, head.over), []


def _own_over(model: type[BaseModel], entry: Mapping[str, Any]) -> bool:
    """Whether `over:` says what a step's own option of that name can say (`entering`), and names no column of passages."""
    field = model.model_fields.get("over")
    return field is not None and entry.get("over") in get_args(field.annotation)


def _entry_faults(entries: list[Any], names: list[str], source: Source) -> list[Problem]:
    """Steps without `use:`, and names that two steps have."""
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for index, (entry, name) in enumerate(zip(entries, names, strict=True)):
        path: KeyPath = ("steps", index)
        if not isinstance(entry, dict):
            continue
        if "use" not in entry:
            problems.append(_without_use(entry, source, path))
        elif name in first:
            before = source.key((*("steps", first[name]), "as" if "as" in entries[first[name]] else "use"))
            help = f"the first is in line {before.line}, column {before.column}; add `as: …` to one of them"
            place = source.value((*path, "as" if "as" in entry else "use"))
            problems.append(Problem("C108", f"two steps are called '{name}'", help, place))
        elif name:
            first[name] = index
    return problems


def _without_use(entry: dict[str, Any], source: Source, path: KeyPath) -> Problem:
    for key in entry:
        if key not in RESERVED and did_you_mean(key, RESERVED) in ("use", "select"):
            meant = did_you_mean(key, RESERVED)
            place = source.key((*path, key))
            return Problem("C103", f"unknown key '{key}' for a step", f"did you mean '{meant}'?", place)
    help = "add `use: filters.…`, or `select: …`; `curate stages` lists the steps"
    return Problem("C104", "a step needs the key 'use'", help, source.value(path))


def _twice(source: Source, section: str) -> list[Problem]:
    """C108 for a name that two entries of `section` have."""
    entries = source.data.get(section)
    problems: list[Problem] = []
    first: dict[str, KeyPath] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        path: KeyPath = (section, index, "name")
        if name in first:
            before = source.value(first[name])
            help = f"the first is in line {before.line}, column {before.column}; rename one of them"
            message = f"two entries of {section} are called '{name}'"
            problems.append(Problem("C108", message, help, source.value(path)))
        first.setdefault(name, path)
    return problems


def _paths(source: Source) -> list[tuple[KeyPath, str]]:
    """The paths of a valid source that must be known before work starts."""
    found: list[KeyPath] = []
    inputs = source.data["input"]
    bases: list[KeyPath] = (
        [("input", i) for i in range(len(inputs))] if isinstance(inputs, list) else [("input",)]
    )
    for base in bases:
        path = source.at((*base, "path"))
        found += (
            [(*base, "path", i) for i in range(len(path))] if isinstance(path, list) else [(*base, "path")]
        )
        found.append((*base, "list"))
    found += [("publish", i, "path") for i in range(len(source.data.get("publish") or ()))]
    found.append(("run_dir",))
    return [(path, text) for path in found if isinstance(text := source.at(path), str)]
