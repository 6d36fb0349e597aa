"""The table of `curate thresholds --quantiles` for people: a block a column and language, a line a quantile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from curate.thresholds.view import TOP_LANGUAGES
from curate.views.report_view import plural, share, size


def render_shares(table: Mapping[str, Any], console: Console, *, everything: bool = False) -> None:
    """Print a table of `shares`."""
    console.print(Text(f"{table['run']}: what thresholds would keep of what has a score", style="bold"))
    for column, languages in table["columns"].items():
        shown = list(languages.items())
        listed = shown if everything else shown[:TOP_LANGUAGES]
        for language, entry in listed:
            console.print()
            held = f"{plural(entry['documents'], 'document')}, {size(entry['bytes'])}"
            console.print(Text(f"{column}, {language}: {held}", style="bold"))
            console.print(_lines(entry))
        if len(listed) < len(shown):
            left = plural(len(shown) - len(listed), "more language")
            console.print(Text(f"\n{column}: {left} with --all", style="dim"))
        few = table["left_out"][column]
        if few:
            names = ", ".join(f"{name} {count:,}" for name, count in few.items())
            console.print(Text(f"\n{column}: too few documents: {names}", style="dim"))


def _lines(entry: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("quantile", "threshold", "documents", "kept", "text", "kept"):
        table.add_column(heading, justify="right", overflow="fold")
    for line in entry["thresholds"]:
        cells = (
            f"{line['quantile']:g}",
            f"≥ {line['threshold']:.4g}",
            f"{line['documents']:,}",
            share(line["documents"], entry["documents"]),
            size(line["bytes"]),
            share(line["bytes"], entry["bytes"]),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table
