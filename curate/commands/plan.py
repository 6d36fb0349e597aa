"""`curate plan`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.commands.options import config_argument, overrides_option, run_dir_option, update_option


@click.command()
@config_argument
@overrides_option
@run_dir_option
@update_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(
    config: Path, overrides: tuple[str, ...], run_dir: Path | None, update: bool, as_json: bool
) -> None:
    """Show what a run would do, and what it would reuse.

    Per phase: units, how many are done and stay, how many are pending, bytes to read, bytes and files on disk. Nothing is
    written.

    \b
    Example: curate plan configs/web.yaml
    """
    import json

    from curate.planning.preview import preview
    from curate.planning.session import Request, prepare

    session = prepare(Request(config, overrides, run_dir, update))
    found = preview(session.compiled.plan, session.compiled.manifest, session.folder)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    from rich.table import Table

    from curate.views.report_view import make_console

    table = Table(box=None, pad_edge=False)
    for heading, justify in (("phase", "left"), ("steps", "left"), ("units", "right"), ("reused", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich wants a Literal
    for heading in ("pending", "to read", "disk", "files"):
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
            f"≤ {_size(phase['disk_bytes'])}",
            "" if unknown else str(phase["files"]),
        )
    console = make_console()
    console.print(
        f"{found['name']}: {found['files']} files, {found['shards']} shards, {_size(found['bytes'])}"
    )
    console.print(table)
    console.print(f"run folder {found['run_dir']}; disk at most {_size(found['disk_bytes'])}")
    pending = any(p["pending"] is None or p["pending"] for p in found["phases"])
    console.print(f"next: curate run {config}" if pending else "everything is done")


def _size(size: int) -> str:
    number = float(size)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
