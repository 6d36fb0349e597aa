"""`curate stages`: which steps there are, and what one does.

The list is made from the sources' text, so it imports no step: a step's line is the first of its class's
docstring.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click


@click.command("stages")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the list, or the description, as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the steps that `use:` accepts, or describe one: options, columns, reasons.

    \b
    Example: curate stages filters.gopher_quality
    """
    import json

    if name is None:
        listed = list_stages()
        if as_json:
            click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
            return
        width = max((len(s["name"]) for s in listed), default=0)
        for stage in listed:
            click.echo(f"{stage['name']:<{width}}  {stage['title']}".rstrip())
        click.echo("\nOptions and columns of one: curate stages NAME")
        return
    described = describe_stage(name)
    if as_json:
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        _show(described)


def list_stages() -> list[dict[str, str]]:
    """`name title` of every step, by name."""
    from curate.stages import names

    return [{"name": name, "title": _title(name)} for name in names()]


def _title(name: str) -> str:
    """The first line of the docstring of the class that `STAGE` names; empty if the source says none."""
    source = _source(name)
    tree = ast.parse(source.read_bytes()) if source is not None else ast.Module([], [])
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in reversed(tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Name):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "STAGE" for t in targets) and node.value.id in classes:
                return first_line(ast.get_docstring(classes[node.value.id]))
    return ""


def _source(name: str) -> Path | None:
    """The file of a step, found without importing it; a step of another package is looked up by its entry
    point.
    """
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    from curate.stages import GROUP, PACKAGES

    package, _, rest = name.partition(".")
    if package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for end in (".py", "/__init__.py"):
                path = Path(folder) / (rest.replace(".", "/") + end)
                if path.is_file():
                    return path
        return None
    for point in entry_points(group=GROUP, name=name):
        try:
            spec = find_spec(point.module)
        except ImportError:
            return None
        return Path(spec.origin) if spec is not None and spec.origin else None
    return None


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return text.strip().splitlines()[0].strip() if text and text.strip() else ""


def describe_stage(name: str) -> dict[str, Any]:
    """`name title kind version docs options[] columns[] reasons[]`.

    columns and reasons are null where they depend on options that have no default.
    """
    import sys

    from pydantic import ValidationError

    from curate.stages import kind, load

    stage = load(name)
    module = sys.modules[stage.__module__]
    schema = stage.Config.model_json_schema()
    columns: list[dict[str, Any]] | None = []
    reasons: list[str] | None = ["false", "null"]
    if kind(stage) != "selector":
        try:
            step = stage(stage.Config())
            columns, reasons = _columns(step, name), _reasons(step)
        except ValidationError:
            columns = reasons = None
    return {
        "name": name,
        "title": first_line(stage.__doc__),
        "kind": kind(stage),
        "version": stage.VERSION,
        "docs": (module.__doc__ or "").strip(),
        "options": [_option(key, field, schema) for key, field in schema.get("properties", {}).items()],
        "columns": columns,
        "reasons": reasons,
    }


def _option(name: str, field: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    required = name in schema.get("required", ())
    entry = {"name": name, "type": type_text(field, schema), "required": required}
    return {**entry, "default": field.get("default"), "description": field.get("description", "")}


def _columns(step: Any, name: str) -> list[dict[str, Any]]:
    from curate.core.columns import SUFFIXES, qualified

    entries = []
    for local, kind in step.writes().items():
        unit = next((unit for suffix, unit in SUFFIXES.items() if f"_{local}".endswith(suffix)), None)
        entries.append({"name": qualified(name.rpartition(".")[2], local), "type": str(kind), "unit": unit})
    return entries


def _reasons(step: Any) -> list[str]:
    """Reasons in the order of the rules."""
    rules = step.rules(None) if hasattr(step, "rules") else ()
    return list(dict.fromkeys(rule.reason for rule in rules))


def type_text(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A JSON Schema type in words: `integer, 0 or more, or null`."""
    if "$ref" in field:
        return type_text(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    for union in ("anyOf", "oneOf"):
        if union in field:
            return " or ".join(dict.fromkeys(type_text(part, schema) for part in field[union]))
    if "enum" in field:
        return " or ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    kind = field.get("type", "anything")
    if kind == "array":
        return f"list of {type_text(field.get('items', {}), schema)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"map to {type_text(field['additionalProperties'], schema)}"
    return str(kind) + _bounds(field)


def _bounds(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    text = ""
    if low is not None and high is not None:
        text = f" {low} to {high}"
    elif low is not None:
        text = f" from {low}"
    elif high is not None:
        text = f" up to {high}"
    if "exclusiveMinimum" in field:
        text += f" above {field['exclusiveMinimum']}"
    if "exclusiveMaximum" in field:
        text += f" below {field['exclusiveMaximum']}"
    return text


def _show(described: Mapping[str, Any]) -> None:
    import json

    click.echo(
        f"{described['name']}: {described['kind']}, version {described['version']}\n\n{described['docs']}"
    )
    click.echo("\nOptions" if described["options"] else "\nIt has no options.")
    for option in described["options"]:
        default = "required" if option["required"] else json.dumps(option["default"], ensure_ascii=False)
        click.echo(f"  {option['name']}: {option['type']}; {default}")
        if option["description"]:
            click.echo(f"      {option['description']}")
    if described["columns"] is None:
        click.echo("\nIts columns depend on its options.")
    elif described["columns"]:
        click.echo("\nColumns")
        width = max(len(c["name"]) for c in described["columns"])
        for column in described["columns"]:
            unit = f"  {column['unit']}" if column["unit"] else ""
            click.echo(f"  {column['name']:<{width}}  {column['type']}{unit}")
    if described["reasons"]:
        click.echo("\nReasons")
        for reason in described["reasons"]:
            click.echo(f"  {reason}")
