"""`--set key.path=value`: values put into a config before it is validated.

    execution.workers=4          a key; missing mappings on the way are made
    steps.1.top_k=3              an item of a list, counted from 0
    steps.lid.top_k=3            an item by its name: `as:` or the last part of `use:`; elsewhere `name:`

The value is YAML 1.2. What is wrong with it is shown with the option's own text.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from curate.config.yaml_nodes import Span
from curate.config.yaml_source import Key, Source, parse
from curate.core.errors import CurateError, Position, Problem, error
from curate.core.suggest import did_you_mean, or_list

FILE: Final = "--set"
#: Keys of the config that hold lists of named entries.
LISTS: Final = ("steps", "publish")


def apply(source: Source, overrides: Sequence[str]) -> Source:
    """`source` with every override put in, in turn. C110 for those that do not fit, all at once."""
    problems: list[Problem] = []
    for line, override in enumerate(overrides, start=1):
        try:
            source = _Override(override, line).put(source)
        except CurateError as cause:
            problems.extend(cause.problems)
    if problems:
        raise CurateError([*source.problems, *problems])
    return source


def step_name(entry: Any) -> str | None:
    """The name of a raw entry of `steps:`, `input:` or `publish:`, if it can be told."""
    if not isinstance(entry, dict):
        return None
    for key in ("as", "name"):
        if isinstance(entry.get(key), str):
            return str(entry[key])
    if isinstance(entry.get("use"), str):
        return str(entry["use"]).rpartition(".")[2]
    return "select" if "select" in entry else None


@dataclass(frozen=True)
class _Override:
    """One `key.path=value`. line: its number among the overrides, from 1."""

    text: str
    line: int

    def refuse(self, message: str, help: str, offset: int, length: int) -> NoReturn:
        place = Position(FILE, self.line, offset + 1, max(1, length), self.text)
        raise error("C110", message, help=help, position=place)

    def put(self, source: Source) -> Source:
        """`source` with the value put in."""
        left, equals, _ = self.text.partition("=")
        if not equals or not left:
            help = "write it like execution.workers=4"
            self.refuse("an override is key.path=value", help, 0, len(self.text))
        data = copy.deepcopy(source.data)
        path: list[Key] = []
        here: Any = data
        offset = 0
        parts = left.split(".")
        for index, part in enumerate(parts):
            if not part:
                self.refuse("an empty key", "write it like execution.workers=4", offset, 1)
            key = self.key(here, part, offset)
            path.append(key)
            if index + 1 < len(parts):
                if isinstance(here, dict) and here.get(part) is None:
                    here[part] = [] if not index and part in LISTS else {}
                here = here[key]
                offset += len(part) + 1
        value = self.value(len(left) + 1)
        here[path[-1]] = value.data
        return source.replaced(data, tuple(path), value, Span(offset, offset + len(parts[-1])))

    def key(self, here: Any, part: str, offset: int) -> Key:
        """What `part`, which stands at `offset`, names in `here`: a key, or an item's index."""
        where = self.text[: offset - 1] if offset else "the config"
        if isinstance(here, dict):
            return part
        if not isinstance(here, list):
            self.refuse(f"{where} is a single value, it has no '{part}'", "", offset, len(part))
        if part.isascii() and part.isdigit() and len(part) < 10:
            if int(part) >= len(here):
                help = f"its items are 0 to {len(here) - 1}" if here else "it is empty"
                self.refuse(f"{where} has no item {part}", help, offset, len(part))
            return int(part)
        names = [step_name(entry) for entry in here]
        if names.count(part) == 1:
            return names.index(part)
        if part in names:
            help = "give its number, counted from 0, or name them with `as:`"
            self.refuse(f"{where} has several items '{part}'", help, offset, len(part))
        known = [name for name in names if name is not None]
        near = did_you_mean(part, known)
        help = f"its items are {or_list(known)}" if known else "its items have no names; count them from 0"
        if near is not None:
            help = f"did you mean '{near}'?"
        self.refuse(f"{where} has no item '{part}'", help, offset, len(part))

    def value(self, start: int) -> Source:
        """The value, which begins at `start`; its positions point into the override."""
        try:
            part = parse(" " * start + self.text[start:], FILE)
        except CurateError as cause:
            fault = cause.problems[0]
            column = fault.position.column if fault.position and fault.position.line == 1 else start + 1
            self.refuse(f"the value is not YAML: {fault.message}", fault.help, column - 1, 1)
        return part.relocated(self.text, self.line)
