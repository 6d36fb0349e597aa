"""`curate check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import config_argument, overrides_option, run_dir_option, update_option

if TYPE_CHECKING:
    from curate.core.objects import Place


@click.command()
@config_argument
@overrides_option
@run_dir_option
@update_option
def command(config: Path, overrides: tuple[str, ...], run_dir: Place | None, update: bool) -> None:
    """Find every fault of a config before any work starts.

    Inputs are listed and their schemas compared, models looked for, columns followed from step to step, outputs tried. All
    faults are shown at once, in the order of the config's lines; the exit status is then 2. Warned of are rules that can
    never fire, or always do; they change no exit status.

    \b
    Example: curate check configs/web.yaml
    """
    from curate.planning.lint import lint_plan
    from curate.planning.session import Request, prepare

    session = prepare(Request(config, overrides, run_dir, update))
    manifest, plan = session.compiled.manifest, session.compiled.plan
    size = sum(f.size for f in manifest.files)
    click.echo(
        f"{config}: good. {_many(len(manifest.files), 'file')}, {size / 1e6:,.1f} MB; "
        f"{_many(len(plan.steps), 'step')}, {_many(len(plan.outputs), 'output')}. Next: curate run {config}"
    )
    for finding in lint_plan(plan):
        click.echo(f"{click.style('warning', fg='yellow', bold=True)}: {finding.message}", err=True)
        click.echo(f"   = help: {finding.help}", err=True)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
