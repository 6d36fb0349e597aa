"""From raw data and a pydantic model to the model, or to problems that name the place in the file.

pydantic finds all faults of a model at once; here each becomes one `Problem`: unknown keys C103 with a
did-you-mean, missing keys C104, everything else C102 with the value that was given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from curate.config.yaml_source import KeyPath, Source
from curate.core.errors import CurateError, Problem
from curate.core.suggest import did_you_mean, or_list

#: What to do about a value of which no more is known than that it is wrong.
_ELSEWHERE: Final = "`curate schema` says what each key takes, docs/config.md with examples"

Model = TypeVar("Model", bound=BaseModel)


def validate(
    model: type[Model],
    raw: Mapping[str, Any],
    source: Source,
    path: KeyPath,
    *,
    owner: str,
    also: Sequence[str] = (),
) -> tuple[Model | None, list[Problem]]:
    """The model of `raw`, which stands at `path`, or what is wrong with it.

    owner: what unknown keys are unknown for. also: keys that may stand there besides the model's.

    The data go through JSON because pydantic's strict JSON mode is what a config needs: no text is taken for
    a number, while a list may become a tuple and a text an enum.
    """
    try:
        return model.model_validate_json(json.dumps(raw), strict=True), []
    except ValidationError as cause:
        faults = _Faults(model, source, path, owner, also)
        return None, [faults.problem(detail) for detail in _distinct(cause, raw)]
    except CurateError as cause:
        place = source.value(path)
        return None, [p if p.position else Problem(p.code, p.message, p.help, place) for p in cause.problems]


def in_order(problems: list[Problem], file: str) -> list[Problem]:
    """By line and column; what the command line set comes after what the file says."""

    def key(problem: Problem) -> tuple[bool, int, int]:
        at = problem.position
        return (at is not None and at.file != file, at.line if at else 0, at.column if at else 0)

    return sorted((p for i, p in enumerate(problems) if p not in problems[:i]), key=key)


def shown(value: Any) -> str:
    """A value as it would stand in YAML, cut to a line."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 60 else text[:57] + "..."


def _distinct(cause: ValidationError, raw: Mapping[str, Any]) -> list[ErrorDetails]:
    """One error for each place: of a union's branches, the one that got furthest."""
    best: dict[tuple[int | str, ...], ErrorDetails] = {}
    for detail in cause.errors(include_url=False):
        place = _place(detail, raw)
        if place not in best or (_is_shallow(best[place]) and not _is_shallow(detail)):
            best[place] = {**detail, "loc": place}
    return [
        detail
        for place, detail in best.items()
        if not (_is_shallow(detail) and any(p != place and p[: len(place)] == place for p in best))
    ]


def _is_shallow(detail: ErrorDetails) -> bool:
    """Whether an error says nothing of a value's inside: not its type, no such choice, too few good items."""
    return detail["type"].endswith("_type") or detail["type"] in ("literal_error", "too_short")


def _place(detail: ErrorDetails, raw: Any) -> tuple[int | str, ...]:
    """pydantic's location without the parts that name a branch of a union or a validator."""
    place: list[int | str] = []
    here: Any = raw
    for part in detail["loc"]:
        if isinstance(part, int) if isinstance(here, list) else isinstance(here, dict) and part in here:
            here = here[part]
            place.append(part)
    if detail["type"] == "missing":
        place.append(detail["loc"][-1])
    return tuple(place)


@dataclass(frozen=True)
class _Faults:
    """From pydantic's errors of one model to problems."""

    model: type[BaseModel]
    source: Source
    path: KeyPath
    owner: str
    also: Sequence[str]

    def problem(self, detail: ErrorDetails) -> Problem:
        place = _located(self.source, self.path, detail["loc"])
        keys = [str(part) for part in detail["loc"] if isinstance(part, str)]
        context = detail.get("ctx", {})
        if detail["type"] == "extra_forbidden":
            return self.unknown_key(detail, keys, place)
        if detail["type"] == "missing":
            message = f"{'.'.join(keys[:-1]) or self.owner} needs the key '{keys[-1]}'"
            return Problem("C104", message, f"add `{keys[-1]}: …`", self.source.value(place))
        if "code" in context:
            at = self.source.value(place)
            if "offset" in context:
                at = self.source.inside(place, context["offset"], context["length"])
            return Problem(context["code"], context["message"], context.get("help", ""), at)
        message, help = _wrong_value(detail)
        given = f" {shown(detail['input'])}" if not isinstance(detail["input"], dict | list) else ""
        message = f"{'.'.join(keys) or self.owner}{given}: {message}"
        return Problem("C102", message, help or _ELSEWHERE, self.source.value(place))

    def unknown_key(self, detail: ErrorDetails, keys: list[str], place: KeyPath) -> Problem:
        *parts, name = keys
        inside = _model_at(self.model, detail["loc"][:-1])
        known = _keys_of(inside) if inside is not None else []
        near = did_you_mean(name, known if parts else [*known, *self.also])
        if near is not None:
            help = f"did you mean '{near}'?"
        else:
            help = f"it takes {or_list(known).replace(' or ', ' and ')}" if known else "it takes no keys"
        message = f"unknown key '{name[:80]}' for {'.'.join(parts) or self.owner}"
        return Problem("C103", message, help, self.source.key(place))


def _located(source: Source, path: KeyPath, loc: tuple[int | str, ...]) -> KeyPath:
    """The path in the file for pydantic's location: short forms were written out, missing keys end it."""
    here = path
    for part in loc:
        data = source.at(here)
        known = isinstance(data, dict) and part in data
        known = known or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if known:
            here = (*here, part)
        elif isinstance(part, int) and isinstance(data, dict):
            continue
        else:
            break
    return here


def _keys_of(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that a location inside `model` is validated by."""
    here: type[BaseModel] | None = model
    for part in loc:
        if here is not None and isinstance(part, str) and part in here.model_fields:
            here = _model_in(here.model_fields[part].annotation)
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def _wrong_value(detail: ErrorDetails) -> tuple[str, str]:
    """What is wanted instead, and a help."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind in ("literal_error", "enum"):
        options = [o.strip().strip("'") for o in str(context["expected"]).replace(" or ", ", ").split(",")]
        near = did_you_mean(value, options) if isinstance(value, str) else None
        return f"it is {or_list(options)}", f"did you mean '{near}'?" if near else ""
    if kind == "value_error":
        return str(context.get("error", detail["msg"])), ""
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(context["pattern"]), f"it must match {context['pattern']}"), ""
    if kind == "string_type" and isinstance(value, int | float):
        written = json.dumps(value)
        return "text is wanted", f'put it in quotes: "{written}"'
    if kind in ("int_type", "float_type") and isinstance(value, str):
        numeric = value.replace(".", "", 1).replace("-", "", 1).isdigit()
        wanted = "a whole number is wanted" if kind == "int_type" else "a number is wanted"
        return wanted, "remove the quotes" if numeric else ""
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(**context), ""
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return (f"it must be {message}" if message != detail["msg"] else message), ""


_MESSAGES = {
    "int_type": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "string_type": "text is wanted",
    "bool_type": "true or false is wanted",
    "tuple_type": "a list is wanted",
    "list_type": "a list is wanted",
    "frozen_set_type": "a list is wanted",
    "set_type": "a list is wanted",
    "dict_type": "a mapping is wanted",
    "model_type": "a mapping is wanted",
    "string_too_short": "it must not be empty",
    "too_short": "at least {min_length} is needed",
    "finite_number": "a finite number is wanted",
}
_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._\-]*$": "a name has letters A-Z and a-z, digits, dots, _ and -",
    r"^(\d+-)?\d+(:\d{1,2}){0,2}$": "a time limit is written like 90 (minutes), 4:00:00 or 1-00:00:00",
    "^--[a-z]": "an option of sbatch begins with --",
    r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$": "a step's name has letters a-z, digits and single _ between them",
}
