"""`curate annotate`: documents drawn and judged by language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import config_argument, overrides_option, run_dir_option, update_option

if TYPE_CHECKING:
    from rich.console import Console

    from curate.core.objects import Place
    from curate.views.annotations import Annotations

_JUDGE = "filters.llm_judge"
_DRAW = "filters.draw"


@click.command("annotate")
@config_argument
@overrides_option
@run_dir_option
@update_option
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that work at once; default: from the machine."
)
@click.option("--force", is_flag=True, help="Forget what the run folder holds, but not the answers.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    run_dir: Place | None,
    update: bool,
    workers: int | None,
    force: bool,
) -> None:
    """Make labels: draw documents of each language and let language models judge them.

    CONFIG is a run's config with the steps filters.draw and filters.llm_judge, one for each judge, and an output. It runs
    like any other: run it again to continue, and only what was not answered yet is asked. Then the labels are shown by
    judge and language, with how far judges agree.

    \b
    Example: curate annotate configs/annotate.yaml --set steps.draw.n=50
    """
    from curate.config.load import load
    from curate.planning.session import Request, folder_of
    from curate.running.driver import run_config
    from curate.views.annotations import read_annotations
    from curate.views.documents import Documents
    from curate.views.report_view import make_console
    from curate.views.run_state import read_run

    loaded = load(config, overrides)
    uses = [step.use for step in loaded.config.steps]
    if _JUDGE not in uses:
        raise click.UsageError(f"{config} has no step {_JUDGE}, so nothing would be judged")
    if not loaded.config.publish:
        raise click.UsageError(f"{config} has no `publish:`, so the labels would be nowhere")
    if _DRAW not in uses:
        click.echo(f"{config} has no step {_DRAW}: every document that reaches the judge is judged", err=True)
    request = Request(config, overrides, run_dir, update, force)
    run_config(request, workers=workers, tasks=None)
    found = read_annotations(Documents(read_run(folder_of(request).root)))
    _show(found, make_console())


def _show(found: Annotations, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    for judge in found.judges:
        values = [f"{value:g}" for value in judge.values]
        table = Table(box=None, pad_edge=False)
        table.add_column(f"labels of {judge.name}", overflow="fold")
        for heading in ("documents", *values, "between", "none", "mean"):
            table.add_column(heading, justify="right")
        for language, row in judge.languages.items():
            cells = [f"{row.documents:,}", *(f"{count:,}" for count in row.counts)]
            mean = "–" if row.mean is None else f"{row.mean:.2f}"
            table.add_row(Text(language), *cells, f"{row.between:,}", f"{row.none:,}", mean)
        console.print()
        console.print(table)
    for one, other, share, documents in found.agreement:
        console.print(Text(f"{one} and {other} say the same of {share:.1%} of {documents:,} documents"))
    outputs = " ".join(found.outputs)
    console.print(Text(f"next: curate evaluate {outputs}, or curate train with path: {outputs}"))
