"""The table of `curate thresholds` for people: a block for each language, a line for each rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.views.report_view import WIDE, plural, share

#: Languages shown unless all are asked for.
TOP_LANGUAGES: Final = 10


def render(table: Mapping[str, Any], console: Console, *, everything: bool = False) -> None:
    """Print a table of `derive`."""
    console.print(Text(f"{table['run']}: {_method(table)}", style="bold"))
    for note in table["notes"]:
        console.print(Text(f"note: {note}", style="yellow"))
    shown = list(table["languages"].items())
    listed = shown if everything else shown[:TOP_LANGUAGES]
    for language, entry in listed:
        console.print()
        why = table["left_out"].get(language)
        left_out = f"; nothing derived: {why}" if why else ""
        console.print(Text(f"{language}: {plural(entry['documents'], 'document')}{left_out}", style="bold"))
        console.print(_rules(entry["filters"], console.width))
        if language in table["stop_words"]:
            found = table["stop_words"][language]
            words = " ".join(found["list"])
            console.print(
                Text(
                    f"stop words, of {plural(found['words'], 'word')} in {plural(found['documents'], 'document')}: {words}"
                )
            )
        elif language in table["no_stop_words"]:
            console.print(Text(f"no stop words: {table['no_stop_words'][language]}", style="dim"))
    if len(listed) < len(shown):
        console.print(Text(f"\n{plural(len(shown) - len(listed), 'more language')} with --all", style="dim"))


def _method(table: Mapping[str, Any]) -> str:
    reference = table["reference"]
    if table["method"] == "tail10":
        return f"bounds that drop {table['tail']:.0%} of {plural(reference['documents'], 'document')} of {reference['run']}"
    of = f"{reference['language']} ({plural(reference['documents'], 'document')} of {reference['run']})"
    return f"bounds like those of {of} by {table['method']}"


def _rules(filters: list[Mapping[str, Any]], width: int) -> Table:
    """Narrow terminals see no notes."""
    wide = width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    table.add_column("rule", overflow="fold")
    for heading in ("now", "drops", "derived", "drops"):
        table.add_column(heading, justify="right", overflow="fold")
    if wide:
        table.add_column("", overflow="fold")
    for filter in filters:
        documents = filter["documents"]
        then = "" if filter["fail_derived"] is None else share(filter["fail_derived"], documents)
        row = [
            Text(filter["step"], style="bold"),
            Text(),
            Text(share(filter["fail_now"], documents)),
            Text(),
            Text(then),
        ]
        table.add_row(*row, *([Text("any rule", style="dim")] if wide else []))
        for rule in filter["rules"]:
            measured = rule["measured"]
            cells = [
                f"  {rule['rule']}",
                _bound(rule, rule["now"]),
                share(rule["fail_now"], measured),
                _bound(rule, rule["derived"]),
                "" if rule["fail_derived"] is None else share(rule["fail_derived"], measured),
            ]
            table.add_row(
                *(Text(cell) for cell in cells), *([Text(rule["note"], style="dim")] if wide else [])
            )
    return table


def _bound(rule: Mapping[str, Any], bound: float | None) -> str:
    return "" if bound is None else f"{'≥' if rule['side'] == 'minimum' else '≤'} {bound:g}"
