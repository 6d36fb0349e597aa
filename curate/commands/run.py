"""`curate run`."""

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
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that work at once; default: from the machine."
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of each process; default: 1, and more where there are fewer shards than cores.",
)
@click.option(
    "--tasks", type=click.IntRange(min=1), help="Tasks to divide each phase into; default: one per unit."
)
@click.option(
    "--on",
    "place",
    type=click.Choice(["local", "slurm", "ray"]),
    default="local",
    show_default=True,
    help="Where to work: this machine, jobs of a Slurm cluster (`execution.slurm`), or a Ray cluster (`execution.ray`).",
)
@click.option(
    "--wait", is_flag=True, help="With --on slurm: stay until the jobs have ended, and show the report."
)
@click.option("--force", is_flag=True, help="Forget what the run folder holds and start anew.")
def command(
    config: Path,
    overrides: tuple[str, ...],
    run_dir: Place | None,
    update: bool,
    workers: int | None,
    threads: int | None,
    tasks: int | None,
    place: str,
    wait: bool,
    force: bool,
) -> None:
    """Run a config: read, filter, publish.

    Run it again to continue after an interruption, or to bring the output up to date after a change of the config: only
    what the change touches is computed again. The result never depends on workers, threads or tasks, or where it runs.

    \b
    Example: curate run configs/web.yaml
    Example: curate run configs/web.yaml --set steps.gopher.min_words=60
    Example: curate run configs/web.yaml --on slurm --wait
    """
    from curate.planning.session import Request
    from curate.running.driver import run_config, submit_config

    request = Request(config, overrides, run_dir, update, force, here=place == "local")
    if place == "slurm":
        if workers is not None or threads is not None:
            raise click.UsageError(
                "--workers and --threads are not for Slurm; there `max_running` and `cpus` of the config are"
            )
        submit_config(request, tasks=tasks, wait=wait)
        return
    if wait:
        raise click.UsageError("--wait is for --on slurm")
    run_config(request, workers=workers, threads=threads, tasks=tasks, on=place)
