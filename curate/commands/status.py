"""`curate status`: how far a run is."""

from __future__ import annotations

import click


@click.command("status")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the status, with the whole report, as JSON.")
@click.pass_context
def command(context: click.Context, run: str, as_json: bool) -> None:
    """Show how far a run is: its phases, its outputs, why it stopped.

    RUN is a run folder, a run's name, or its config file. The exit status is 0 when the run is done, 1 when
    it failed, and 3 while tasks are pending or at work.

    \b
    Example: curate status runs/web
    """
    import json

    from curate.commands.find_run import find_run
    from curate.views.status import EXIT, build_status, render

    root = find_run(run)
    status = build_status(root)
    if as_json:
        from curate.views.report import build_report

        status = {**status, **build_report(root)}
        click.echo(json.dumps(status, indent=2, ensure_ascii=False))
    else:
        from curate.views.report_view import make_console

        render(status, run, make_console())
    context.exit(EXIT[status["state"]])
