"""`curate plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from curate.commands.options import config_argument, overrides_option, run_dir_option, update_option

if TYPE_CHECKING:
    from curate.core.objects import Place


#: Files that are named because they cannot be cut.
_UNCUT: Final = 5


@click.command()
@config_argument
@overrides_option
@run_dir_option
@update_option
@click.option(
    "--rates",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Rates that `curate calibrate --output` wrote, perhaps elsewhere; default: this machine's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    run_dir: Place | None,
    update: bool,
    rates: Path | None,
    as_json: bool,
) -> None:
    """Show what a run would do, and what it would reuse.

    Per phase: units, how many are done and stay, how many are pending, bytes to read, bytes and files on disk; and, once
    `curate calibrate` has measured the config, hours of CPU and GPU and a worker's memory. Nothing is written.

    \b
    Example: curate plan configs/web.yaml
    """
    import json

    from curate.planning.preview import preview
    from curate.planning.rates import rates_file, read_rates
    from curate.planning.session import Request, prepare

    session = prepare(Request(config, overrides, run_dir, update))
    found = preview(
        session.compiled.plan, session.compiled.manifest, session.folder, read_rates(rates or rates_file())
    )
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    from rich.table import Table

    from curate.views.report_view import make_console

    table = Table(box=None, pad_edge=False)
    for heading, justify in (("phase", "left"), ("steps", "left"), ("units", "right"), ("reused", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich wants a Literal
    estimate = found["estimate"]
    gpus = estimate is not None and estimate["gpu_seconds"] > 0
    costs = ("CPU", *(("GPU",) if gpus else ()), "memory") if estimate is not None else ()
    for heading in ("pending", "to read", *costs, "disk", "files"):
        table.add_column(heading, justify="right")
    for phase in found["phases"]:
        unknown = phase["units"] is None
        table.add_row(
            phase["name"],
            " ".join(phase["steps"]),
            "after count" if unknown else str(phase["units"]),
            str(phase["reused"]),
            "all" if unknown else str(phase["pending"]),
            _size(phase["bytes"]),
            *(_costs(phase["estimate"], gpus) if estimate is not None else ()),
            f"{'~' if phase['estimate'] else '≤'} {_size(phase['disk_bytes'])}",
            "" if unknown else str(phase["files"]),
        )
    console = make_console()
    console.print(
        f"{found['name']}: {found['files']} files, {found['shards']} shards, {_size(found['bytes'])}"
    )
    console.print(table)
    console.print(
        f"run folder {found['run_dir']}; disk at most {_size(found['disk_bytes'])}, {found['run_files']:,} files"
    )
    for entry in found["uncut"][:_UNCUT]:
        console.print(f"{entry['file']}, {_size(entry['bytes'])}: {entry['why']}")
    if len(found["uncut"]) > _UNCUT:
        console.print(f"and {len(found['uncut']) - _UNCUT:,} more files that are not cut as small as others")
    console.print(_sum(estimate, config))
    pending = any(p["pending"] is None or p["pending"] for p in found["phases"])
    console.print(f"next: curate run {config}" if pending else "everything is done")


def _costs(estimate: dict[str, Any] | None, gpus: bool) -> list[str]:
    """Cells of one phase."""
    if estimate is None:
        return ["?"] * (3 if gpus else 2)
    mark = "" if estimate["exact"] else "~"
    hours = [_duration(estimate["cpu_seconds"])]
    if gpus:
        hours.append(_duration(estimate["gpu_seconds"]) if estimate["gpu_seconds"] else "")
    return [mark + hours[0], *hours[1:], _size(estimate["peak_bytes"])]


def _sum(estimate: dict[str, Any] | None, config: Path) -> str:
    """What the whole run costs, or how to find out."""
    if estimate is None:
        return f"what it costs is not known: curate calibrate {config}"
    parts = [f"{_duration(estimate['cpu_seconds'])} of CPU"]
    if estimate["gpu_seconds"]:
        parts.append(f"{_duration(estimate['gpu_seconds'])} of GPU")
    text = f"{', '.join(parts)} and {_duration(estimate['start_seconds'])} of CPU for each worker's start, as measured on"
    if estimate["unknown"]:
        return f"{text} {estimate['machine']}, but for {', '.join(estimate['unknown'])}: curate calibrate {config}"
    return f"{text} {estimate['machine']}"


def _duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3.1 min`, `2.0 h`, `1,200 h`."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def _size(size: int) -> str:
    number = float(size)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
