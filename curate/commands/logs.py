"""`curate logs`: the last lines of each task's log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from curate.core.objects import Place


@click.command("logs")
@click.argument("run")
@click.option("--failed", is_flag=True, help="Only tasks on Slurm that ended before they were done.")
@click.option("--lines", type=click.IntRange(min=1), default=20, show_default=True, help="Lines of each log.")
def command(run: str, failed: bool, lines: int) -> None:
    """Show the last lines of the logs of a run's tasks, newest last.

    RUN is a run folder, a run's name, or its config file.

    \b
    Example: curate logs runs/web --failed
    """
    from curate.commands.find_run import find_run
    from curate.core.layout import RunFolder
    from curate.executors.slurm.follow import refuse_if_not_here
    from curate.executors.slurm.notice import as_submitted

    folder = as_submitted(RunFolder(find_run(run)))
    refuse_if_not_here(folder)
    shown = 0
    for title, path in _failed(folder.root) if failed else _all(folder.logs):
        click.secho(f"== {title}", bold=True)
        for line in _last(path, lines) if path is not None else ["it has no log: it never began"]:
            click.echo(line)
        shown += 1
    if not shown:
        click.echo("no task has failed" if failed else "there are no logs")


def _failed(root: Place) -> Iterator[tuple[str, Path | None]]:
    from curate.core.layout import RunFolder
    from curate.executors.slurm.follow import failed_tasks

    for task in failed_tasks(RunFolder(root)):
        units = ", ".join(map(str, task.units[:8])) + (", …" if len(task.units) > 8 else "")
        title = f"{task.phase}, task {task.task} (units {units}), job {task.job}: {task.state}"
        yield title + (f", {task.log}" if task.log is not None else ""), task.log


def _all(logs: Path) -> Iterator[tuple[str, Path | None]]:
    for path in sorted(logs.rglob("*.log"), key=lambda p: (p.stat().st_mtime, p.name)):
        yield str(path), path


def _last(path: Path, lines: int) -> list[str]:
    """The last lines of a file, of its last 256 KiB."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 18)))
        return file.read().decode("utf-8", "replace").splitlines()[-lines:]
