"""`curate calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import config_argument, overrides_option, run_dir_option

if TYPE_CHECKING:
    from curate.core.objects import Place


@click.command()
@config_argument
@overrides_option
@run_dir_option
@click.option(
    "--megabytes",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="How much of the input to measure on.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file that keeps the rates; default: ~/.cache/curate/rates.json.",
)
def command(
    config: Path, overrides: tuple[str, ...], run_dir: Place | None, megabytes: int, output: Path | None
) -> None:
    """Measure what each phase of a config costs on this machine, for `curate plan`.

    Runs the config twice on a small part of its input, in a scratch folder. Your run folder and outputs are not touched.

    \b
    Example: curate calibrate configs/web.yaml
    """
    import shutil
    import tempfile

    from curate.kernels import use_kernel_cache

    use_kernel_cache()
    from curate.core.layout import RunFolder
    from curate.kernels import kernel_environment
    from curate.planning.rates import add_rates, rates_file
    from curate.planning.session import Request, prepare
    from curate.running.calibrate import calibrate, elsewhere
    from curate.running.driver import compile_kernels
    from curate.running.run import lay_out
    from curate.running.task import scratch_base

    session = prepare(Request(config, overrides, run_dir))
    plan, manifest = session.compiled.plan, session.compiled.manifest
    scratch = Path(tempfile.mkdtemp(prefix="curate-calibrate-", dir=scratch_base(plan.local_tmp)))
    try:
        folder = RunFolder(scratch / "kernels")
        folder.work.mkdir()
        lay_out(elsewhere(plan, scratch / "kernels"), manifest, folder)
        compile_kernels(folder, plan, kernel_environment())
        measured = calibrate(plan, manifest, megabytes, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    path = output or rates_file()
    add_rates(path, plan, measured)
    size = next(iter(measured.values())).input_bytes if measured else 0
    total = sum(r.cpu_seconds for r in measured.values())
    click.echo(
        f"{plan.name}: {size / 1e6:,.1f} MB took {total:.1f} s of CPU; {len(measured)} phases in {path}"
    )
    click.echo(f"next: curate plan {config}")
