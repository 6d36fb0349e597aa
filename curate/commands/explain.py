"""`curate explain`: one document's life."""

from __future__ import annotations

import click


@click.command("explain")
@click.argument("run")
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, the whole text included.")
def command(run: str, id: str, as_json: bool) -> None:
    """Tell one document's life: what each step found, who dropped it, by how much it missed.

    RUN is a run folder, a run's name, or its config file. ID is the document's id, or doc: and its number. If
    several documents have that id, all are shown.

    \b
    Example: curate explain runs/web doc:42
    """
    import json

    from curate.commands.find_run import find_run
    from curate.views.explain import explain

    lives = explain(find_run(run), id)
    if as_json:
        click.echo(json.dumps(lives, indent=2, ensure_ascii=False, default=str))
        return
    from curate.views.document_view import show_life
    from curate.views.report_view import make_console

    console = make_console()
    for number, life in enumerate(lives):
        if number:
            console.print()
        show_life(life, console)
    if len(lives) > 1:
        console.print(f"\n{len(lives)} documents have this id", markup=False)
