"""The JSON Schema of a config (draft 2020-12), for editors: every key, every step and every step's options.

In: names of steps. Out: a schema in which an entry of `steps:` is one step's entry, told apart by `use`, or
a `select`. `configs/schema.json` is this for our own steps; `curate schema` prints it for the installed ones
as well.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from curate import stages
from curate.config.load import SELECT
from curate.config.model import ConfigFile, StepEntry

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def config_schema(names: Iterable[str]) -> dict[str, Any]:
    """The schema of configs whose steps are among `names`. E502 if one of them cannot be imported."""
    definitions: dict[str, Any] = {}
    schema = _schema_of(ConfigFile, "config", definitions)
    head = _schema_of(StepEntry, "step", {})["properties"]
    del definitions["config.StepEntry"]
    entries = []
    for name in names:
        definitions[name] = _entry(name, head, definitions)
        entries.append({"$ref": f"#/$defs/{name}"})
        if name == SELECT:
            definitions["select"] = _sugar(definitions[name])
            entries.append({"$ref": "#/$defs/select"})
    schema["properties"]["steps"]["items"] = {"oneOf": entries}
    ordered = {name: definitions[name] for name in sorted(definitions)}
    return {"$schema": DIALECT, **schema, "title": "curate config", "$defs": ordered}


def _schema_of(model: type[BaseModel], owner: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's schema; those it refers to go into `definitions` under `<owner>.<model>`."""
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{owner}.{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        definitions[f"{owner}.{name}"] = inner
    return schema


def _entry(name: str, head: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """An entry of `steps:` that uses this step."""
    stage = stages.load(name)
    options = _schema_of(stage.Config, name, definitions)
    story = inspect.getdoc(sys.modules[stage.__module__]) or ""
    use = {"const": name, "description": story.partition("\n\n")[0].replace("\n", " ")}
    return {
        "type": "object",
        "properties": {**head, "use": use, **options.get("properties", {})},
        "required": ["use", *options.get("required", [])],
        "additionalProperties": False,
    }


def _sugar(entry: dict[str, Any]) -> dict[str, Any]:
    """`{select: …}` instead of `{use: filters.select, expression: …}`."""
    properties = {
        key: value for key, value in entry["properties"].items() if key not in ("use", "expression")
    }
    return {
        **entry,
        "properties": {"select": entry["properties"]["expression"], **properties},
        "required": ["select"],
    }
