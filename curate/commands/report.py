"""`curate report`: what a run kept and dropped."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("run")
@click.option("--all", "everything", is_flag=True, help="Show every reason, language and file.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(run: str, everything: bool, as_json: bool) -> None:
    """Show what a run kept and dropped, by step, reason and language.

    RUN is a run folder, a run's name, or its config file. Unfinished runs are shown as far as they are.

    \b
    Example: curate report runs/web --json
    """
    import json

    from curate.commands.find_run import find_run
    from curate.views.report import build_report

    report = build_report(find_run(run))
    if as_json:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    from curate.views.report_view import make_console, render

    render(report, make_console(), run=run, everything=everything)
