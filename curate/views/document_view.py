"""Documents for people: the life that `explain` tells, and the sample that `inspect` takes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from curate.core.columns import ID, TEXT
from curate.diagnostics import printable
from curate.views.documents import Document, excerpt, raw_text
from curate.views.explain import EXCERPT
from curate.views.inspection import Sample
from curate.views.report_view import plural

_COLUMN_CHARACTERS: Final = 200
_CONDITION_CHARACTERS: Final = 40
_TWIN_CHARACTERS: Final = 100
_STYLES: Final = {"kept": "green", "dropped": "red", "quarantined": "red"}


def show_life(life: Mapping[str, Any], console: Console) -> None:
    """Print one document's life."""
    console.print(Text(excerpt(life["id"], _COLUMN_CHARACTERS), style="bold"))
    facts = {
        "is": life["state"],
        "from": f"{excerpt(life['file'], _COLUMN_CHARACTERS)}, row {life['row']:,}",
        "doc": f"{life['doc']} (shard {life['shard']}, row {life['shard_row']:,})",
        "language": life["language"],
        **{name: shown(value) for name, value in life["columns"].items() if value is not None},
    }
    if life["text"] is not None:
        facts["text"] = excerpt(life["text"], EXCERPT)
    if life["text_bytes"] is not None:
        facts["size"] = f"{life['text_bytes']:,} bytes" + (
            ", rewritten by the run" if life["rewritten"] else ""
        )
    if life["quarantine"] is not None:
        facts["bad"] = f"{printable(life['quarantine']['reason'])}, at {life['quarantine']['position']}"
        facts["bytes"] = excerpt(life["quarantine"]["raw"], EXCERPT)
    width = max(map(len, facts))
    for name, value in facts.items():
        line = Text(f"{printable(name):<{width}}  ")
        console.print(line.append(value, style=_STYLES.get(value, "") if name == "is" else ""))
    console.print()
    width = max(len(s["step"]) for s in life["steps"])
    for step in life["steps"]:
        _show_step(step, width, console)
    for output in life["published"]:
        where = output["path"] or f"output {output['output']}"
        done = "published in" if output["complete"] else "will be published in"
        console.print(Text(f"{done} {where}"))


def _show_step(step: Mapping[str, Any], width: int, console: Console) -> None:
    line = Text(f"{step['step']:<{width}}  ")
    line.append(step["verdict"], style=_STYLES.get(step["verdict"], "dim"))
    if step["verdict"] == "outside when":
        line.append(f" {step['when']}")
    console.print(line)
    for condition in step.get("conditions", ()):
        holds = {True: "true", False: "false", None: "null"}[condition["holds"]]
        values = ", ".join(
            f"{name} is {shown(value, _CONDITION_CHARACTERS)}" for name, value in condition["values"].items()
        )
        line = Text(f"    {condition['condition']} is {holds}" + (f": {values}" if values else ""))
        if "missed_by" in condition:
            line.append(f", off by {number(condition['missed_by'])}")
        console.print(line)
    for twin in step.get("twins", ()):
        like = f", similarity {number(twin['similarity'])}" if "similarity" in twin else ""
        console.print(Text(f"    {twin['role']} {excerpt(twin['id'], _COLUMN_CHARACTERS)}{like}"))
        if "published" in twin:
            of = twin["published"]
            console.print(
                Text(f"      published by {of['run']} as doc:{of['doc']}, in the index {of['index']}")
            )
        if "unreadable" in twin:
            console.print(Text(f"      of an index that cannot be read: {twin['unreadable']}"))
            continue
        console.print(Text(f"      it begins   {excerpt(twin['first_line'], _TWIN_CHARACTERS)}"))
        console.print(Text(f"      this begins {excerpt(step['first_line'], _TWIN_CHARACTERS)}"))
    for rule in step.get("failed", ()):
        console.print(Text(f"    {failed_text(rule)}"))
    if "failed" not in step and "conditions" not in step:
        for reason in step["reasons"]:
            console.print(Text(f"    {reason}"))
    for name, value in step["values"].items():
        if value is not None:
            console.print(Text(f"    {name}  {shown(value)}", style="dim"))


def failed_text(rule: Mapping[str, Any]) -> str:
    """`gopher_short_doc: gopher__words_count is 12, at least 50 needed, 38 short`."""
    if rule.get("missed_by") is None:
        return f"failed {rule['reason']}"
    low = rule["minimum"] is not None and rule["value"] < rule["minimum"]
    bound = (
        f"at least {number(rule['minimum'])} needed" if low else f"at most {number(rule['maximum'])} allowed"
    )
    off = f"{number(rule['missed_by'])} too {'little' if low else 'much'}"
    return f"failed {rule['reason']}: {rule['column']} is {number(rule['value'])}, {bound}, {off}"


def number(value: float) -> str:
    """Whole numbers with thousands separators, others with four significant digits."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def shown(value: Any, limit: int = _COLUMN_CHARACTERS) -> str:
    """A value on one line, at most `limit` characters of it."""
    if isinstance(value, str):
        return excerpt(value, limit)
    if isinstance(value, float):
        return f"{value:.6g}"
    return excerpt(json.dumps(value, ensure_ascii=False, default=str), limit)


def values_of(document: Document, columns: Sequence[str] | None) -> dict[str, Any]:
    """Own and step columns of a document, all or those asked for; the text last."""
    known = {**document.own, **document.values, TEXT: document.text}
    return known if columns is None else {name: known.get(name) for name in columns}


def as_json_row(document: Document, columns: Sequence[str] | None) -> dict[str, Any]:
    """One row of `curate inspect --json`."""
    fate = document.fate
    return {
        "id": document.id,
        "doc": document.doc,
        "file": document.file,
        "row": document.row,
        "language": document.language,
        "state": fate.name,
        "step": fate.step,
        "reasons": list(fate.reasons),
        "position": fate.position,
        "raw": raw_text(fate) if fate.raw is not None else None,
        "values": {
            name: value for name, value in values_of(document, columns).items() if name != ID or columns
        },
    }


def show_sample(sample: Sample, columns: Sequence[str] | None, run: str, console: Console) -> None:
    """Print a sample: a block for each document, and what to type next."""
    for document in sample.documents:
        fate = document.fate
        line = Text(excerpt(document.id, _COLUMN_CHARACTERS), style="bold")
        line.append(f"  {document.language}  ", style="not bold")
        line.append(fate.name, style=_STYLES.get(fate.name, ""))
        if fate.step is not None:
            line.append(f" by {fate.step}: {printable(', '.join(fate.reasons))}", style="not bold")
        console.print(line)
        if fate.position is not None:
            console.print(Text(f"    {printable(fate.file or '')}, {fate.position}"))
            if document.text is None and fate.raw:
                console.print(Text(f"    {shown(raw_text(fate))}"))
        for name, value in values_of(document, columns).items():
            if value is not None and (name != ID or columns is not None):
                dim = "" if name == TEXT else "dim"
                console.print(Text(f"    {name}  {shown(value)}", style=dim))
    console.print(Text(f"{len(sample.documents):,} of {plural(sample.found, 'document')}"))
    if sample.documents:
        console.print(
            Text(f"one document's life: curate explain {run} {shlex.quote(sample.documents[0].id)}")
        )
